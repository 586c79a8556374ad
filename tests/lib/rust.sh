#!/usr/bin/env bash
# The Rust client: the rskafka driver of tests/clients/rskafka, built into the cache whenever its source is new, from the
# crates that its Cargo.lock pins. Source it for the functions, or run `rust.sh FUNCTION ARG…`.

. "$(dirname "${BASH_SOURCE[0]}")/cache.sh"

RSKAFKA_SOURCE="$TESTS_DIR/clients/rskafka"
RSKAFKA_DIR="$CACHE_DIR/rskafka-$(cache_key "$RSKAFKA_SOURCE"/*.rs "$RSKAFKA_SOURCE"/Cargo.toml "$RSKAFKA_SOURCE"/Cargo.lock)"

# Only the program stays: what cargo builds on the way is thrown away.
rskafka_build() {
  cargo build --release --locked --manifest-path "$RSKAFKA_SOURCE/Cargo.toml" --target-dir "$1/target" &&
    mv "$1/target/release/hayate-test-rskafka" "$1/rskafka" && rm -rf "$1/target"
}

rust_install() {
  [ -e "$RSKAFKA_DIR" ] || need cargo cc || return 1
  cache_fill "$RSKAFKA_DIR" rskafka_build
}

# rskafka_driver BOOTSTRAP: the driver on this standard input and output.
rskafka_driver() {
  exec "$RSKAFKA_DIR/rskafka" "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  "$@"
fi
