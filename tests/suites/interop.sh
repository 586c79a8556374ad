#!/usr/bin/env bash
# The interop matrix against a released broker: every client's records read back by every client, Kafka's own tools, the
# same again after kill -9, and kafka-dump-log over the files that a clean stop leaves, one partition record by record.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci | --full) size=$1 ;;
  *) echo "usage: tests/suites/interop.sh --ci|--full" >&2; exit 2 ;;
esac
. tests/lib/hayate.sh
tests/lib/install
hayate_build
work=$(mktemp -d)
trap 'hayate_kill "$work" 2>/dev/null || true; rm -rf "$work"' EXIT

bootstrap=$(hayate_start "$work")
echo "== produced by every client, read by every client, and Kafka's tools"
tests/clients/run "$bootstrap" "$size" --state "$work/state" --metrics "http://127.0.0.1:$(cat "$work/http")/metrics"

echo "== read again after kill -9"
hayate_kill "$work"
bootstrap=$(hayate_start "$work")
tests/clients/run "$bootstrap" "$size" --phase read --state "$work/state" --no-tools

echo "== kafka-dump-log after a clean stop"
hayate_stop "$work"
find "$work/data" -regextype posix-extended -regex '.*/[0-9]{20}\.(log|index|timeindex|snapshot)' -size +0c \
  -not -path '*-delete/*' -not -path '*/__cluster_metadata-0/*' -print0 | xargs -0 -n 200 tests/lib/kafka.sh dump_log
read -r topic records < <(sed -n 's/^java topic=\([^ ]*\) .* partitions=12 records=\([0-9]*\) .*/\1 \2/p' "$work/state")
printed=$(tests/lib/kafka.sh tool dump-log --print-data-log --files "$work/data/$topic-0/00000000000000000000.log" |
  sed -n 's/^| offset: \([0-9]*\) CreateTime: .*/\1/p')
diff <(echo "$printed") <(seq 0 $(((records + 11) / 12 - 1)))
echo "kafka-dump-log accepts the files, and prints $(wc -l <<<"$printed") records of $topic-0"
