#!/usr/bin/env bash
# Kafka's own command line tools against a broker: `driver.sh BOOTSTRAP`. One line a check, `ok NAME` or
# `FAIL NAME: why`, then `N passed, N failed`. kafka-topics creates, describes, lists, alters and deletes; kafka-configs
# changes and shows what is set for the topic and for brokers; the console producer's lines come back through one console
# consumer a partition; producer-perf-test's records are counted; kafka-delete-records, kafka-log-dirs and
# kafka-transactions see what they should.

set -u
export KAFKA_TOOL_TIER="${KAFKA_TOOL_TIER:-1}" # tools that live a second: compile quickly rather than well
. "$(dirname "${BASH_SOURCE[0]}")/../../lib/kafka.sh"
bootstrap="${1:?usage: driver.sh BOOTSTRAP}"
topic="console-$$-$(date +%s)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# check NAME COMMAND…: the command's exit code decides; what it printed explains a failure.
check() {
  local name="$1" out
  shift
  if out="$("$@" 2>&1)"; then
    passed=$((passed + 1))
    echo "ok   tools: $name"
  else
    failed=$((failed + 1))
    echo "FAIL tools: $name: $(tail -n 5 <<<"$out" | tr '\n' ' ')"
  fi
}

b() {
  timeout 120 "$TESTS_DIR/lib/kafka.sh" tool "$1" --bootstrap-server "$bootstrap" "${@:2}"
}

create() {
  b topics --create --topic "$topic" --partitions 3 --replication-factor 1 --config retention.ms=86400000 &&
    b topics --create --topic "$topic-perf" --partitions 1
}

create_twice() {
  ! b topics --create --topic "$topic" --partitions 3 >"$work/twice" 2>&1 && grep -q 'already exists' "$work/twice"
}

describe() {
  b topics --describe --topic "$topic" >"$work/described" && cat "$work/described" &&
    grep -q 'PartitionCount: 3.*ReplicationFactor: 1.*retention.ms=86400000' "$work/described" &&
    [ "$(grep -c 'Partition: [0-2].*Leader: [0-9]' "$work/described")" = 3 ]
}

listed() {
  b topics --list | grep -qx "$1"
}

c() {
  b configs "$1" --entity-type "${@:2}"
}

configs_of_topic() {
  c --alter topics --entity-name "$topic" --add-config 'segment.ms=7200000,cleanup.policy=[compact,delete]' &&
    c --alter topics --entity-name "$topic" --delete-config cleanup.policy &&
    c --describe topics --entity-name "$topic" >"$work/configs" && cat "$work/configs" &&
    grep -q ' segment.ms=7200000 .*{DYNAMIC_TOPIC_CONFIG:segment.ms=7200000' "$work/configs" &&
    ! grep -q ' cleanup.policy=' "$work/configs"
}

configs_of_brokers() {
  c --alter brokers --entity-default --add-config log.roll.jitter.ms=5000 &&
    c --alter brokers --entity-name 1 --add-config log.roll.jitter.ms=6000 &&
    c --describe topics --entity-name "$topic" --all >"$work/configs" && grep segment.jitter.ms "$work/configs" &&
    grep -q 'ms=6000 .*DYNAMIC_BROKER_CONFIG:log.roll.jitter.ms=6000, DYNAMIC_DEFAULT_BROKER_CONFIG:log.roll.jitter.ms=5000' "$work/configs" &&
    c --alter brokers --entity-name 1 --delete-config log.roll.jitter.ms &&
    c --describe brokers --entity-default | grep -q log.roll.jitter.ms=5000 &&
    c --alter brokers --entity-default --delete-config log.roll.jitter.ms
}

configs_that_are_fixed() {
  ! c --alter brokers --entity-name 1 --add-config num.partitions=9 >"$work/fixed" 2>&1 && cat "$work/fixed" &&
    grep -q 'Cannot update these configs dynamically: Set(num.partitions)' "$work/fixed"
}

# 1,000 lines, each with a key, a header and its number.
console_produce() {
  seq 1 1000 | awk '{ printf "n:%d\tkey-%d\tline %d äöü\n", $1, $1 % 37, $1 }' >"$work/sent"
  b console-producer --topic "$topic" --reader-property parse.key=true --reader-property parse.headers=true <"$work/sent"
}

ends() {
  b get-offsets --topic "$1" --time latest
}

console_consume_partition() {
  b console-consumer --topic "$topic" --partition "$1" --offset earliest --max-messages "$2" --timeout-ms 60000 \
    --formatter-property print.headers=true --formatter-property print.key=true 2>"$work/err" >"$work/read-$1" || { cat "$work/err"; return 1; }
}

# All partitions together hold each line once, and each partition holds its lines in the order sent.
console_consume() {
  local name partition count
  ends "$topic" >"$work/ends" || return 1
  while IFS=: read -r name partition count; do
    [ "$count" = 0 ] && : >"$work/read-$partition" && continue
    console_consume_partition "$partition" "$count" || return 1
    sort -t $'\t' -k1.3,1n -c "$work/read-$partition" || return 1
  done <"$work/ends"
  [ "$(wc -l <"$work/ends")" = 3 ] && cat "$work"/read-[0-2] | sort | diff - <(sort "$work/sent")
}

console_consume_tail() {
  local count
  count="$(sed -n "s/^$topic:0://p" "$work/ends")"
  b console-consumer --topic "$topic" --partition 0 --offset $((count - 3)) --max-messages 3 --timeout-ms 60000 \
    --formatter-property print.headers=true --formatter-property print.key=true >"$work/tail" 2>"$work/err" &&
    diff "$work/tail" <(tail -n 3 "$work/read-0")
}

perf() {
  b producer-perf-test --topic "$topic-perf" --num-records 5000 --record-size 100 --throughput -1 \
    --command-property acks=all compression.type=lz4 >"$work/perf" && cat "$work/perf" &&
    grep -q '^5000 records sent' "$work/perf" && [ "$(ends "$topic-perf")" = "$topic-perf:0:5000" ]
}

alter() {
  b topics --alter --topic "$topic" --partitions 5 && b topics --describe --topic "$topic" >"$work/described" &&
    cat "$work/described" && grep -q 'PartitionCount: 5' "$work/described" &&
    [ "$(grep -c 'Partition: [0-4].*Leader: [0-9]' "$work/described")" = 5 ]
}

alter_down() {
  ! b topics --alter --topic "$topic" --partitions 4 >"$work/down" 2>&1 && grep -q 'would not be an increase' "$work/down"
}

delete_records() {
  local end
  end="$(sed -n "s/^$topic:0://p" "$work/ends")"
  printf '{"partitions":[{"topic":"%s","partition":0,"offset":-1}],"version":1}' "$topic" >"$work/offsets.json"
  b delete-records --offset-json-file "$work/offsets.json" >"$work/deleted" && cat "$work/deleted" &&
    grep -q "partition: $topic-0.*low_watermark: $end\$" "$work/deleted" &&
    [ "$(b get-offsets --topic "$topic" --partitions 0 --time earliest)" = "$topic:0:$end" ]
}

log_dirs() {
  b log-dirs --describe --topic-list "$topic" >"$work/dirs" && cat "$work/dirs" &&
    [ "$(grep -o "\"partition\":\"$topic-[0-4]\"" "$work/dirs" | wc -l)" = 5 ] && ! grep -q 'Exception' "$work/dirs"
}

# producer-perf-test wrote idempotently, and in order.
producers() {
  b transactions describe-producers --topic "$topic-perf" --partition 0 >"$work/producers" && cat "$work/producers" &&
    grep -qE '^[0-9]+\s+0\s+-1\s+4999\s' "$work/producers"
}

delete() {
  b topics --delete --topic "$topic" && b topics --delete --topic "$topic-perf" && ! listed "$topic"
}

check "topics --create" create
check "topics --create of an existing topic is refused" create_twice
check "topics --describe" describe
check "topics --list" listed "$topic"
check "configs of a topic" configs_of_topic
check "configs of brokers" configs_of_brokers
check "configs that are fixed" configs_that_are_fixed
check "console producer" console_produce
check "console consumer by partition" console_consume
check "console consumer from an offset" console_consume_tail
check "producer-perf-test" perf
check "topics --alter" alter
check "topics --alter to fewer partitions is refused" alter_down
check "delete-records" delete_records
check "log-dirs" log_dirs
check "transactions describe-producers" producers
check "topics --delete" delete
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
