#!/usr/bin/env bash
# The Node.js client: kafkajs and its codecs in the cache, at the versions that tests/clients/kafkajs/package-lock.json pins.
# Source it for the functions, or run `node.sh FUNCTION ARG…`.

. "$(dirname "${BASH_SOURCE[0]}")/cache.sh"

KAFKAJS_SOURCE="$TESTS_DIR/clients/kafkajs"
KAFKAJS_DIR="$CACHE_DIR/kafkajs-$(cache_key "$KAFKAJS_SOURCE/package.json" "$KAFKAJS_SOURCE/package-lock.json")"

# No package's own script is run: none of them needs one.
kafkajs_fill() {
  cp "$KAFKAJS_SOURCE/package.json" "$KAFKAJS_SOURCE/package-lock.json" "$1" &&
    npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --no-update-notifier
}

node_install() {
  need node || return 1
  [ -e "$KAFKAJS_DIR" ] || need npm || return 1
  cache_fill "$KAFKAJS_DIR" kafkajs_fill
}

# kafkajs_driver BOOTSTRAP: the driver of tests/clients/kafkajs on this standard input and output.
kafkajs_driver() {
  NODE_PATH="$KAFKAJS_DIR/node_modules" exec node "$KAFKAJS_SOURCE/driver.js" "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  "$@"
fi
