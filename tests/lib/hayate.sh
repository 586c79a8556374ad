#!/usr/bin/env bash
# Starts and stops a released broker for the suites: by process id, on a port that it keeps over restarts. To be sourced.
#
#   hayate_build                    builds it, once
#   hayate_start DIR [K=V…]         data and configuration in DIR; prints the bootstrap address when it serves
#   hayate_stop DIR                 SIGTERM, and waits
#   hayate_kill DIR                 SIGKILL, and waits

HAYATE_REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
. "$HAYATE_REPOSITORY/tests/lib/kafka.sh"

# What ends a suite by `set -e` is named.
set -E
trap 'echo "$0: line $LINENO: exit $? of: $BASH_COMMAND" >&2' ERR

hayate_binary() {
  echo "${HAYATE_BINARY:-${CARGO_TARGET_DIR:-$HAYATE_REPOSITORY/target}/release/hayate}"
}

hayate_build() {
  [ -n "${HAYATE_BINARY:-}" ] || (cd "$HAYATE_REPOSITORY" && cargo build --release --locked -p hayate-engine)
}

hayate_start() {
  local dir=$1 port http pair
  shift
  mkdir -p "$dir"
  if [ ! -e "$dir/server.properties" ]; then
    port=$(free_port)
    http=$(free_port)
    {
      echo "node.id=1"
      echo "listeners=PLAINTEXT://127.0.0.1:$port"
      echo "log.dirs=$dir/data"
      echo "http.listeners=127.0.0.1:$http"
      for pair in "$@"; do echo "$pair"; done
    } >"$dir/server.properties"
    echo "$port" >"$dir/port"
    echo "$http" >"$dir/http"
  fi
  # No other descriptor of the caller's: a pipe that the broker holds open never ends.
  "$(hayate_binary)" --config "$dir/server.properties" >>"$dir/broker.log" 2>&1 3>&- &
  echo $! >"$dir/pid"
  hayate_await "$dir" || return 1
  echo "127.0.0.1:$(cat "$dir/port")"
}

# Waits until the broker answers that it serves, or has ended.
hayate_await() {
  local dir=$1 pid tries
  pid=$(cat "$dir/pid")
  for tries in $(seq 600); do
    curl -fs -o /dev/null "http://127.0.0.1:$(cat "$dir/http")/ready" && return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  echo "the broker does not serve:" >&2
  tail -20 "$dir/broker.log" >&2
  return 1
}

hayate_stop() {
  hayate_signal "$1" TERM
}

hayate_kill() {
  hayate_signal "$1" KILL
}

hayate_signal() {
  local pid
  pid=$(cat "$1/pid")
  kill "-$2" "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}
