#!/usr/bin/env bash
# What an idle broker costs, as a released build: time until an empty one serves, memory, CPU; what clients cost it that do
# nothing, or read nothing. Then what keeps a broker from starting, its command line, what a panic takes with it, what
# hostile peers do to it, and the README's own examples, on the same build. Both sizes are the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci | --full) ;;
  *) echo "usage: tests/suites/start.sh --ci|--full" >&2; exit 2 ;;
esac
. tests/lib/hayate.sh
hayate_build
HAYATE_BINARY=$(hayate_binary)
export HAYATE_BINARY
# The broker alone is released: the tests are those that the unit suite has built. One at a time, for they measure.
cargo test --workspace --locked --test start --test memory -- --nocapture --test-threads 1
cargo test --workspace --locked --test preflight --test cli --test commands --test panics --test hostile --test readme -- --nocapture
