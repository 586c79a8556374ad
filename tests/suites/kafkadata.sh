#!/usr/bin/env bash
# One data folder, two brokers in turn: Apache Kafka 4.2 and this one. What clients produced into Kafka they read back here with the
# same topics, ids and settings, and the other way round; idempotent producers go on through kill -9 of either and through every
# change from one to the other, and every acknowledged record is there once, in order.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci) size=$1 rounds=1 ;;
  --full) size=$1 rounds=8 ;;
  *) echo "usage: tests/suites/kafkadata.sh --ci|--full" >&2; exit 2 ;;
esac
. tests/lib/hayate.sh
tests/lib/install kafka java confluent franz kcat
hayate_build
export KAFKA_TOOL_TIER=1
work=$(mktemp -d)
trap 'for dir in "$work"/*/; do kafka_broker_kill "$dir" 2>/dev/null || true; done; rm -rf "$work"' EXIT

# A folder that both brokers are started on, with one file of settings: data, configuration and process id lie as both expect.
new_node() {
  local dir=$1 http
  mkdir -p "$dir"
  http=$(free_port)
  echo "$http" >"$dir/http"
  start_kafka "$dir" "http.listeners=127.0.0.1:$http" offsets.topic.num.partitions=3 log.segment.bytes=4194304
  sed 's/.*://' "$dir/bootstrap" >"$dir/port"
}

# The same with the voters of the quorum in the file, as before KIP-853.
new_static_node() {
  format_static_node "$1"
  start_kafka "$1"
}

# No broker has been started on it: format_static_node DIR [ARG…], for kafka-storage.sh.
format_static_node() {
  local dir=$1 http port controller
  shift
  mkdir -p "$dir/data"
  http=$(free_port) port=$(free_port) controller=$(free_port)
  echo "$http" >"$dir/http"
  echo "$port" >"$dir/port"
  kafka_properties "$dir" "$port" "$controller" "http.listeners=127.0.0.1:$http" log.segment.bytes=1048576 |
    sed "s/^controller.quorum.bootstrap.servers=.*/controller.quorum.voters=1@127.0.0.1:$controller/" >"$dir/server.properties"
  tool storage format -t "$(uuid22)" -c "$dir/server.properties" "$@" >"$dir/format" 2>&1
  echo "127.0.0.1:$port" >"$dir/bootstrap"
}

start_kafka() {
  # No other descriptor of the caller's: a pipe that the broker holds open never ends.
  kafka_broker_start "$@" >/dev/null 3>&-
}

start_hayate() {
  hayate_start "$1" >/dev/null
}

# Hands the folder of a stopped broker over: hand_over DIR import|export [--dry-run]
hand_over() {
  local dir=$1
  shift
  "$(hayate_binary)" metadata "$@" --config "$dir/server.properties"
}

files() {
  find "$1/data" -type f -not -name .lock -printf '%P %s %T@\n' | sort
}

# The same, said only: dry_run DIR import|export
dry_run() {
  files "$1" >"$work/before"
  hand_over "$1" "$2" --dry-run
  files "$1" | diff "$work/before" - >&2 || { echo "a dry run of $2 changed the folder" >&2; exit 1; }
}

# What a broker says of all topics, without what changes at each start.
described() {
  tool topics --bootstrap-server "$(cat "$1/bootstrap")" --describe | sed -E 's/\t(Elr|LastKnownElr):.*//' |
    sed -E 's/Configs: (.*)/Configs: \n\1/; s/,/\n/g' | sort
}

# Where a group stands in each partition; who is in it and where its coordinator is is another matter.
committed() {
  tool consumer-groups --bootstrap-server "$(cat "$1/bootstrap")" --describe --group readers 2>/dev/null |
    awk '$1 == "readers" { print $2, $3, $4, $5, $6 }' | sort
}

same_offsets() {
  committed "$1" | diff "$work/committed" - >&2 || { echo "$2: the group's offsets differ" >&2; exit 1; }
  echo "ok   $2: $(wc -l <"$work/committed") committed offsets of a group"
}

same() {
  diff "$1" "$2" >&2 || { echo "$3: the topics differ" >&2; exit 1; }
  echo "ok   $3: $(grep -c TopicId: "$2") topics with their ids and settings"
}

node=$work/node
new_node "$node"
bootstrap=$(cat "$node/bootstrap")
echo "== produced into Kafka by every client"
tests/clients/run "$bootstrap" "$size" --clients java,confluent,franz,kcat --phase produce --state "$work/state" --no-tools
tool topics --bootstrap-server "$bootstrap" --create --topic compacted --partitions 2 \
  --config cleanup.policy=compact --config segment.bytes=1048576 --config retention.ms=-1
tool topics --bootstrap-server "$bootstrap" --create --topic gone --partitions 2
tool topics --bootstrap-server "$bootstrap" --delete --topic gone
seq 1000 | sed 's/.*/&:&/' | tool console-producer --bootstrap-server "$bootstrap" --topic compacted \
  --property parse.key=true --property key.separator=: >/dev/null
tool console-consumer --bootstrap-server "$bootstrap" --topic compacted --group readers --from-beginning --max-messages 1000 \
  --timeout-ms 10000 >/dev/null 2>&1
committed "$node" >"$work/committed"
[ -s "$work/committed" ]
described "$node" >"$work/kafka"
kafka_broker_stop "$node"

echo "== read here, after a clean stop of Kafka"
dry_run "$node" import
hand_over "$node" import
start_hayate "$node"
described "$node" >"$work/hayate"
same "$work/kafka" "$work/hayate" "Kafka's topics here"
same_offsets "$node" "Kafka's groups here"
tests/clients/run "$bootstrap" "$size" --clients java,confluent,franz,kcat --phase read --state "$work/state" --no-tools

echo "== Kafka, started here without having been left the folder, ends, and nothing is lost"
hayate_stop "$node"
if start_kafka "$node" 2>/dev/null; then echo "Kafka has started on this broker's folder" >&2; exit 1; fi
kafka_broker_kill "$node"
start_hayate "$node"
grep -q 'Kafka was started on this folder' "$node/broker.log"
described "$node" >"$work/hayate"
same "$work/kafka" "$work/hayate" "after a Kafka that could not start"

echo "== read by Kafka again, which is left the folder"
hayate_stop "$node"
dry_run "$node" export
hand_over "$node" export
start_kafka "$node"
described "$node" >"$work/again"
same "$work/kafka" "$work/again" "back with Kafka"
same_offsets "$node" "back with Kafka"
tests/clients/run "$bootstrap" "$size" --clients java,confluent,franz,kcat --phase read --state "$work/state" --no-tools
kafka_broker_stop "$node"

echo "== idempotent producers through kill -9 of both, and from one to the other and back"
node=$work/static
new_static_node "$node"
bootstrap=$(cat "$node/bootstrap")
spec="seed=11 topic=load partitions=6 records=100000000 without=timestamps"
echo "create load 6" | tests/clients/driver java "$bootstrap"
mkfifo "$work/commands"
tests/clients/driver java "$bootstrap" <"$work/commands" >"$work/acked" &
driver=$!
exec 3>"$work/commands"
echo "load $spec rate=4000 inflight=5" >&3

# Waits until so many acknowledgements have come since the last time.
progress() {
  local before=$1
  for _ in $(seq 1200); do
    [ "$(wc -l <"$work/acked")" -gt $((before + 20)) ] && return
    kill -0 "$driver"
    sleep 0.05
  done
  echo "no acknowledgement comes any more" >&2
  exit 1
}

acknowledgements() {
  wc -l <"$work/acked"
}

progress 0
for round in $(seq "$rounds"); do
  kafka_broker_kill "$node"
  start_hayate "$node"
  progress "$(acknowledgements)"
  hayate_kill "$node"
  start_hayate "$node"
  progress "$(acknowledgements)"
  hayate_stop "$node"
  hand_over "$node" export >/dev/null
  start_kafka "$node"
  progress "$(acknowledgements)"
  kafka_broker_stop "$node"
  start_hayate "$node"
  progress "$(acknowledgements)"
  hayate_stop "$node"
  hand_over "$node" export >/dev/null
  start_kafka "$node"
  progress "$(acknowledgements)"
  echo "round $round: $(acknowledgements) acknowledgements"
done
echo stop >&3
exec 3>&-
wait "$driver"
tail -1 "$work/acked"
grep '^acked' "$work/acked" >"$work/acks"

# The log as the broker that runs serves it is the generator's sequence, with everything that was acknowledged.
check() {
  local answer
  answer=$(echo "check $spec acks=$work/acks" | tests/clients/driver java "$bootstrap")
  echo "$1: $answer"
  case $answer in ok\ *) ;; *) exit 1 ;; esac
}

check Kafka
kafka_broker_kill "$node"
start_hayate "$node"
grep -c 'the data folder is a Kafka' "$node/broker.log"
check Hayate
hayate_stop "$node"

dump=$node
echo "== formatted for Kafka, first started here: the levels of features are those of the format"
node=$work/formatted
format_static_node "$node" --release-version 4.0
levels() {
  tool features --bootstrap-server "$(cat "$node/bootstrap")" describe | grep -c \
    -e 'metadata.version.*FinalizedVersionLevel: 4.0-IV3' -e 'group.version.*FinalizedVersionLevel: 1' \
    -e 'transaction.version.*FinalizedVersionLevel: 2'
}
start_hayate "$node"
# The tool shows what a broker supports: all three.
[ "$(levels)" = 3 ]
hayate_stop "$node"
hand_over "$node" export
start_kafka "$node"
[ "$(levels)" = 3 ]
kafka_broker_stop "$node"

echo "== kafka-dump-log over what this broker leaves"
find "$dump/data" -regextype posix-extended -regex '.*/[0-9]{20}\.(log|index|timeindex|snapshot)' -size +0c \
  -not -path '*-delete/*' -not -path '*/__cluster_metadata-0/*' -print0 | xargs -0 -n 200 tests/lib/kafka.sh dump_log
echo "each broker reads what the other has written"
