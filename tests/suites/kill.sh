#!/usr/bin/env bash
# Rounds of kill -9 under load: idempotent producers go on through every restart, and in the end every acknowledged record
# is there, once, in order. 10 rounds in CI, 100 in full.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci) rounds=10 ;;
  --full) rounds=100 ;;
  *) echo "usage: tests/suites/kill.sh --ci|--full" >&2; exit 2 ;;
esac
. tests/lib/hayate.sh
tests/lib/install java confluent
hayate_build
work=$(mktemp -d)
trap 'hayate_kill "$work" 2>/dev/null || true; rm -rf "$work"' EXIT

bootstrap=$(hayate_start "$work")
spec="seed=11 topic=kill partitions=6 records=100000000 without=timestamps"
echo "create kill 6" | tests/clients/driver java "$bootstrap"
mkfifo "$work/commands"
tests/clients/driver java "$bootstrap" <"$work/commands" >"$work/acked" &
driver=$!
exec 3>"$work/commands"
echo "load $spec rate=4000" >&3

for round in $(seq "$rounds"); do
  sleep "0.$((RANDOM % 9 + 1))"
  before=$(wc -l <"$work/acked")
  hayate_kill "$work"
  hayate_start "$work" >/dev/null
  # The load goes on before the next round: an acknowledgement has come since.
  for _ in $(seq 600); do
    [ "$(wc -l <"$work/acked")" -gt "$before" ] && break
    kill -0 "$driver"
    sleep 0.05
  done
  echo "round $round: $(wc -l <"$work/acked") acknowledgements"
done
echo stop >&3
exec 3>&-
wait "$driver"
tail -1 "$work/acked"
grep '^acked' "$work/acked" >"$work/acks"
for client in java confluent; do
  answer=$(echo "check $spec acks=$work/acks" | tests/clients/driver "$client" "$bootstrap")
  echo "$client: $answer"
  case $answer in ok\ *) ;; *) exit 1 ;; esac
done
