#!/usr/bin/env bash
# The Go client: the franz-go driver of tests/clients/franz, built into the cache whenever its source is new, from
# the module versions that its go.sum pins. Source it for the functions, or run `go.sh FUNCTION ARG…`.

. "$(dirname "${BASH_SOURCE[0]}")/cache.sh"

FRANZ_SOURCE="$TESTS_DIR/clients/franz"
FRANZ_DIR="$CACHE_DIR/franz-$(cache_key "$FRANZ_SOURCE"/*.go "$FRANZ_SOURCE"/go.mod "$FRANZ_SOURCE"/go.sum)"

franz_build() {
  (cd "$FRANZ_SOURCE" && GOFLAGS=-mod=readonly CGO_ENABLED=0 go build -trimpath -o "$1/franz" .)
}

go_install() {
  [ -e "$FRANZ_DIR" ] || need go || return 1
  cache_fill "$FRANZ_DIR" franz_build
}

# franz_driver BOOTSTRAP: the driver on this standard input and output.
franz_driver() {
  exec "$FRANZ_DIR/franz" "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  "$@"
fi
