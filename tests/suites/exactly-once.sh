#!/usr/bin/env bash
# Exactly once, through kill -9: a Kafka Streams application that counts words, killed in turn with the broker, ends with exact counts; Kafka's
# client copies a topic in transactions, every third aborted, under the protocol of KIP-890 and the one before, and a reader of committed
# records sees all or nothing. 3 rounds in CI, 20 in full.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci) rounds=3 records=10000 ;;
  --full) rounds=20 records=60000 ;;
  *) echo "usage: tests/suites/exactly-once.sh --ci|--full" >&2; exit 2 ;;
esac
. tests/lib/hayate.sh
. tests/lib/streams.sh
tests/lib/install java streams
hayate_build
work=$(mktemp -d)
app='' feeder=''
cleanup() {
  for pid in $app $feeder; do kill -9 "$pid" 2>/dev/null || true; done
  hayate_kill "$work" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

bootstrap=$(hayate_start "$work")
lines=$((rounds * 9000))

start_app() {
  (word_count run "$bootstrap" "$work/state") >>"$work/app.out" 2>&1 3>&- &
  app=$!
}

restart_broker() {
  hayate_kill "$work"
  hayate_start "$work" >/dev/null
}

(word_count create "$bootstrap") 2>"$work/log"
(word_count feed "$bootstrap" "$lines" 1000) >"$work/fed" 2>"$work/feeder.log" &
feeder=$!
start_app
for round in $(seq "$rounds"); do
  sleep 6
  kill -9 "$app"
  wait "$app" 2>/dev/null || true
  start_app
  sleep 2
  restart_broker
  echo "round $round: application and broker killed"
done
wait "$feeder"
(word_count check "$bootstrap" "$lines" 120) 2>"$work/log"
kill -9 "$app"

for level in 2 1; do
  tool features --bootstrap-server "$bootstrap" describe | grep -q "transaction.version.*FinalizedVersionLevel: $level" ||
    tool features --bootstrap-server "$bootstrap" downgrade --feature "transaction.version=$level" >"$work/log"
  (java $KAFKA_TOOL_HEAP -XX:+UseSerialGC -Dlog4j2.configurationFile="$TESTS_DIR/lib/kafka/log4j2-tools.xml" \
    -cp "$JAVA_DRIVER:$KAFKA_LIBS/*" Transactions "$bootstrap" "$records") >"$work/copied" 2>"$work/copy.log" &
  app=$!
  for _ in $(seq "$rounds"); do
    sleep 3
    restart_broker
  done
  wait "$app" || { tail -20 "$work/copy.log" >&2; exit 1; }
  echo "transaction.version $level: $(head -1 "$work/copied")"
done
