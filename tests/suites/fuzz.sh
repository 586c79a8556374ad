#!/usr/bin/env bash
# Every parser over random inputs that a seed decides, within 1 GiB of address space: with overflow checks on, as tests are built. CI runs
# the inputs of one seed; full size more of them, of a seed that the day decides, so that no day repeats another.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci) inputs=1_000_000 seed=1 ;;
  --full) inputs=8_000_000 seed=$(date +%Y%m%d) ;;
  *) echo "usage: tests/suites/fuzz.sh --ci|--full" >&2; exit 2 ;;
esac
# The other suites' target folder: what they compiled is not compiled again.
target=${CARGO_TARGET_DIR:-$PWD/target}
cd tests/fuzz
# A backtrace in each error would be most of the work.
export RUST_LIB_BACKTRACE=0
cargo test --quiet --locked --target-dir "$target"
cargo build --quiet --locked --target-dir "$target" --bin fuzz
ulimit -v 1048576
"$target/debug/fuzz" all "$inputs" --seed "$seed" --address-space 1024
