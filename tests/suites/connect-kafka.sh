#!/usr/bin/env bash
# Apache Kafka Connect 4.2 on this broker: two distributed workers, exactly-once sources on, move the lines of a growing file through a topic
# into another file, while workers and the broker are killed in turn. Every line is in the topic once and in order, and in the sink's file;
# the three internal topics are compacted, and Connect tells where its source stands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci) rounds=1 ;;
  --full) rounds=6 ;;
  *) echo "usage: tests/suites/connect-kafka.sh --ci|--full" >&2; exit 2 ;;
esac
. tests/lib/hayate.sh
. tests/lib/connect.sh
tests/lib/install kafka connect
hayate_build
work=$(mktemp -d)
feeder=''
cleanup() {
  [ -z "$feeder" ] || kill "$feeder" 2>/dev/null || true
  for worker in "$work"/worker-*; do worker_kill "$worker" 2>/dev/null || true; done
  hayate_kill "$work/broker" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

bootstrap=$(hayate_start "$work/broker")
start_worker() {
  worker_start "$work/worker-$1" "$bootstrap" exactly.once.source.support=enabled \
    scheduled.rebalance.max.delay.ms=1000 session.timeout.ms=6000 heartbeat.interval.ms=1000
}

# What any worker that lives answers: ask METHOD PATH [BODY]
ask() {
  local worker
  for worker in "$work"/worker-*; do
    connect_rest "$worker" "$@" 2>/dev/null && return
  done
  return 1
}

answers() {
  connect_rest "$1" GET /connectors >/dev/null 2>&1
}

# Waits until a command succeeds: await SECONDS WHAT COMMAND…
await() {
  local seconds=$1 what=$2 until=$((SECONDS + $1))
  shift 2
  while ! "$@"; do
    if [ $SECONDS -ge $until ]; then
      echo "$what: not within $seconds s" >&2
      tail -n 30 "$work"/worker-*/out >&2
      exit 1
    fi
    sleep 0.3
  done
}

# The worker that runs the task of a connector, as HOST:PORT; nothing unless both connector and task run.
runs_at() {
  ask GET "/connectors/$1/status" | python3 -c '
import json, sys
status = json.load(sys.stdin)
tasks = status["tasks"]
if status["connector"]["state"] == "RUNNING" and tasks and tasks[0]["state"] == "RUNNING":
    print(tasks[0]["worker_id"])' 2>/dev/null
}

# Sets `place` to where it runs.
runs() {
  place=$(runs_at "$1") && [ -n "$place" ]
}

# A task that runs elsewhere than on a worker that was killed.
runs_elsewhere() {
  runs "$1" && [ "$place" != "$2" ]
}

# The folder of the worker at HOST:PORT.
worker_at() {
  local worker
  for worker in "$work"/worker-*; do
    [ "127.0.0.1:$(cat "$worker/rest")" = "$1" ] && basename "$worker" && return
  done
  return 1
}

lines_in_sink() {
  grep -ao 'line-[0-9]\{8\}' "$work/out.txt" 2>/dev/null | sort -u | wc -l
}

sink_has() {
  [ "$(lines_in_sink)" -ge "$1" ]
}

# Ten lines each 20 ms, until told to end.
feed() {
  local n=0
  while [ ! -e "$work/fed" ]; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do printf 'line-%08d\n' "$n"; n=$((n + 1)); done >>"$work/in.txt"
    sleep 0.02
  done
}

: >"$work/in.txt"
start_worker 1
start_worker 2
for worker in "$work"/worker-*; do await 90 "a worker answers" answers "$worker"; done
# Refused while the workers share their work out anew.
make() {
  ask PUT "/connectors/$1/config" "$2" >/dev/null
}
await 60 "the source is made" make source "{\"connector.class\": \"org.apache.kafka.connect.file.FileStreamSourceConnector\",
  \"tasks.max\": \"1\", \"file\": \"$work/in.txt\", \"topic\": \"lines\", \"exactly.once.support\": \"required\"}"
await 60 "the sink is made" make sink "{\"connector.class\": \"org.apache.kafka.connect.file.FileStreamSinkConnector\",
  \"tasks.max\": \"1\", \"file\": \"$work/out.txt\", \"topics\": \"lines\",
  \"consumer.override.isolation.level\": \"read_committed\"}"
feed &
feeder=$!
await 60 "the source runs" runs source
await 60 "the sink runs" runs sink
await 60 "lines arrive" sink_has 100

for round in $(seq "$rounds"); do
  for victim in source sink; do
    await 60 "the $victim runs" runs "$victim"
    worker=$(worker_at "$place")
    worker_kill "$work/$worker"
    await 60 "$victim, whose worker was killed, runs again" runs_elsewhere "$victim" "$place"
    have=$(lines_in_sink)
    await 60 "lines arrive after the worker of the $victim was killed" sink_has $((have + 100))
    start_worker "${worker#worker-}"
    await 60 "the worker is back" answers "$work/$worker"
  done
  hayate_kill "$work/broker"
  hayate_start "$work/broker" >/dev/null
  have=$(lines_in_sink)
  await 90 "lines arrive after the broker was killed" sink_has $((have + 100))
  echo "round $round: both workers and the broker killed, $(lines_in_sink) lines"
done
touch "$work/fed"
wait "$feeder"
feeder=''
lines=$(wc -l <"$work/in.txt")
await 120 "every line in the sink's file" sink_has "$lines"
echo "sink: $lines of $lines lines, $(grep -ao 'line-[0-9]\{8\}' "$work/out.txt" | wc -l) written"

(tool console-consumer --bootstrap-server "$bootstrap" --topic lines --from-beginning --isolation-level read_committed \
  --timeout-ms 5000) >"$work/topic.txt" 2>"$work/consumer.log"
diff "$work/in.txt" "$work/topic.txt" >"$work/diff" ||
  { echo "the topic is not the file: $(wc -l <"$work/topic.txt") lines of $lines" >&2; head -20 "$work/diff" >&2; exit 1; }
echo "topic: $lines lines, each once and in order"

for topic in connect-configs connect-offsets connect-status; do
  tool configs --bootstrap-server "$bootstrap" --entity-type topics --entity-name "$topic" --describe 2>/dev/null |
    grep -q 'cleanup.policy=compact' || { echo "$topic is not compacted" >&2; exit 1; }
done
at_the_end() {
  position=$(ask GET /connectors/source/offsets | python3 -c '
import json, sys
print(json.load(sys.stdin)["offsets"][0]["offset"]["position"])' 2>/dev/null) && [ "$position" = "$(stat -c %s "$work/in.txt")" ]
}
await 30 "the source stands at the end of the file" at_the_end
echo "Connect's own topics are compacted; its source stands at the end of the file"
