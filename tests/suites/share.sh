#!/usr/bin/env bash
# Share groups with Kafka's own share consumer and tools: what members accept, release, reject, keep too long and leave behind; three members
# settle a topic through kill -9 of the broker, and no two are told that they have settled the same record; groups are listed, described, reset
# and deleted. 20 rounds of kill -9 in full, two in CI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci) rounds=2 records=6000 ;;
  --full) rounds=20 records=40000 ;;
  *) echo "usage: tests/suites/share.sh --ci|--full" >&2; exit 2 ;;
esac
. tests/lib/hayate.sh
. tests/lib/share.sh
tests/lib/install java
share_install
hayate_build
work=$(mktemp -d)
members=''
cleanup() {
  [ -z "$members" ] || kill -9 "$members" 2>/dev/null || true
  hayate_kill "$work" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "$1" >&2
  tail -n 5 "$work"/*.log >&2
  exit 1
}

bootstrap=$(hayate_start "$work" group.share.record.lock.duration.ms=4000)
(share check "$bootstrap" 4000) 2>"$work/check.log" || fail "the share consumer was not served as expected"

(share run "$bootstrap" "$records" $((rounds * 10 + 10))) >"$work/run" 2>"$work/run.log" &
members=$!
for _ in $(seq 600); do
  ! grep -q joined "$work/run" || break
  sleep 0.1
done
for round in $(seq "$rounds"); do
  sleep 8
  hayate_kill "$work"
  hayate_start "$work" >/dev/null
  echo "round $round: broker killed"
done
wait "$members" || { cat "$work/run"; fail "records were lost, or settled twice"; }
members=''
tail -1 "$work/run"

groups() {
  tool share-groups --bootstrap-server "$bootstrap" "$@" 2>"$work/groups.log"
}

# A member is gone when it has been silent for 45 seconds, unless it has said so.
expect() {
  local words=$1 tries
  shift
  for tries in $(seq 20); do
    ! groups "$@" | grep -q "$words" || return 0
    sleep 3
  done
  fail "share-groups $*: no line has '$words'"
}

expect '^sharing' --list
expect '^sharing .*Empty' --list --state
end=$((records / 3))
expect "^sharing *shared *0 *$((records - 2 * end))\|^sharing *shared *0 *$end" --describe --group sharing
expect '^sharing .*Empty *0' --describe --group sharing --state
expect '^sharing *shared *0 *0 *$' --reset-offsets --group sharing --topic shared --to-earliest --execute
expect '^sharing *shared *1 *0 ' --describe --group sharing
tool configs --bootstrap-server "$bootstrap" --alter --entity-type groups --entity-name early --add-config share.auto.offset.reset=earliest >"$work/configs.log"
got=$(timeout 60 "$(command -v bash)" -c '. tests/lib/hayate.sh; tool console-share-consumer "$@"' - \
  --bootstrap-server "$bootstrap" --topic checked --group early --max-messages 11 2>"$work/console.log" | wc -l)
[ "$got" = 11 ] || fail "a console consumer got $got of 11 records"
expect '^checked *Successful' --delete-offsets --group early --topic checked
expect 'was successful' --delete --group sharing
echo "tools: as expected"
