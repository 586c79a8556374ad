#!/usr/bin/env bash
# What the disk below a folder gives without a broker, as one number: the physical limit beside a comparison.
#   limit.sh write DIR   MB/s (10^6 bytes) of one stream of 1 MiB direct writes, flushed at the end
#   limit.sh flush DIR   writes of 16 KiB a second, each flushed before the next
set -euo pipefail
export LC_ALL=C

# told FORMULA: dd's last line, as "BYTES bytes (…) copied, SECONDS s, …", as the formula over `bytes` and `seconds`.
told() {
  awk "/ copied, / { bytes = \$1; seconds = \$(NF - 3); print $1 }"
}

case "$1" in
  write) dd if=/dev/zero of="$2/limit" bs=1M count=512 oflag=direct conv=fdatasync 2>&1 | told "bytes / seconds / 1e6" ;;
  flush) dd if=/dev/zero of="$2/limit" bs=16k count=1000 oflag=direct,dsync 2>&1 | told "bytes / 16384 / seconds" ;;
  *) echo "limit.sh write|flush DIR" >&2; exit 2 ;;
esac
