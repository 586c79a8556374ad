#!/usr/bin/env bash
# Groups of stock clients under load: members join, leave, are killed, fall asleep and come back, and the broker is killed too, in every
# protocol and with every assignor that the clients offer. tests/clients/groups/history.py judges each group's whole history, after it has shown
# on histories made by hand that it refuses bad ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci | --full) ;;
  *) echo "usage: tests/suites/groups.sh --ci|--full [OPTION of tests/clients/groups/run…]" >&2; exit 2 ;;
esac
. tests/lib/hayate.sh
tests/lib/install java confluent franz kafkajs aiokafka
tests/clients/groups/history.py --prove
hayate_build
work=$(mktemp -d)
trap 'hayate_kill "$work" 2>/dev/null || true; rm -rf "$work"' EXIT

# What members by the classic protocol ask for themselves: sessions of six seconds, a heartbeat a second.
bootstrap=$(hayate_start "$work" group.consumer.session.timeout.ms=6000 group.consumer.min.session.timeout.ms=6000 \
  group.consumer.heartbeat.interval.ms=1000 group.consumer.min.heartbeat.interval.ms=1000)
cat >"$work/restart" <<END
set -euo pipefail
. $PWD/tests/lib/hayate.sh
hayate_kill $work
hayate_start $work >/dev/null
END
tests/clients/groups/run "$bootstrap" "$@" --restart "bash $work/restart"
