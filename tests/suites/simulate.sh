#!/usr/bin/env bash
# Many lives of simulated stores, brokers, transactions and coordinators of groups, released. CI lives its share in the unit suite.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --full) ;;
  *) echo "usage: tests/suites/simulate.sh --full" >&2; exit 2 ;;
esac
simulate() {
  cargo run --quiet --release --locked --package hayate-tests --bin simulate -- "$@"
}
simulate store 0..10000
simulate broker 0..3000
simulate transactions 0..1000
simulate groups 0..50000
