#!/usr/bin/env bash
# Instructions that hot paths take on a simulated broker, counted by callgrind: no more than tests/instructions.txt knows, and five per cent.
# What a path takes is the difference of two runs of different length, so that starting and stopping do not count. Both sizes are the same.
#
#   tests/suites/instructions.sh --ci|--full    compares
#   tests/suites/instructions.sh --accept       writes what is measured now into tests/instructions.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci | --full | --accept) ;;
  *) echo "usage: tests/suites/instructions.sh --ci|--full|--accept" >&2; exit 2 ;;
esac
known=tests/instructions.txt
few=20 many=60 percent_max=5

cargo build --quiet --workspace --locked --bin instructions
binary=${CARGO_TARGET_DIR:-target}/debug/instructions
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Counts a path, gone so many times.
count() {
  valgrind --tool=callgrind --callgrind-out-file="$work/$1.$2.callgrind" "$binary" "$1" "$2" >"$work/$1.$2.log" 2>&1 ||
    { cat "$work/$1.$2.log" >&2; return 1; }
  awk '/Collected/ { print $4 }' "$work/$1.$2.log" >"$work/$1.$2"
}
export -f count
export binary work
"$binary" --list | while read -r path; do echo "$path $few"; echo "$path $many"; done |
  xargs -P "$(nproc)" -L 1 bash -c 'count "$1" "$2"' count

failed=0
: >"$work/measured"
for path in $("$binary" --list); do
  taken=$((($(cat "$work/$path.$many") - $(cat "$work/$path.$few")) / (many - few)))
  printf '%s %d\n' "$path" "$taken" >>"$work/measured"
  before=$(awk -v path="$path" '$1 == path { print $2 }' "$known")
  if [ -z "$before" ]; then
    echo "$path: $taken instructions; $known does not know it"
    failed=1
    continue
  fi
  echo "$path: $taken instructions, $before are known: $(((taken - before) * 1000 / before)) per mille"
  if [ $((taken * 100)) -gt $((before * (100 + percent_max))) ]; then
    failed=1
  fi
done
if [ "$1" = --accept ]; then
  { sed '/^[^#]/d' "$known"; cat "$work/measured"; } >"$work/new"
  cp "$work/new" "$known"
  exit 0
fi
if [ "$failed" != 0 ]; then
  echo "more than $percent_max % above what is known: mend it, or accept it with tests/suites/instructions.sh --accept"
  echo "what takes them: valgrind --tool=callgrind $binary PATH 100; callgrind_annotate callgrind.out.*"
fi
exit "$failed"
