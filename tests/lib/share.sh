#!/usr/bin/env bash
# The share consumer of tests/clients/share, compiled once into the cache. Source it for the functions, or run it as
# share.sh FUNCTION ARG…  Knows nothing of Hayate: a broker is only ever a bootstrap address.

. "$(dirname "${BASH_SOURCE[0]}")/kafka.sh"

SHARE_DIR="$CACHE_DIR/share-$(cache_key "$TESTS_DIR"/clients/share/*)"

share_fetch() {
  javac -Xlint:all,-path,-classfile -cp "$KAFKA_LIBS/*" -d "$1" "$TESTS_DIR/clients/share/Share.java"
}

share_install() {
  [ -e "$SHARE_DIR" ] || need javac || return 1
  cache_fill "$SHARE_DIR" share_fetch
}

# share ARG…: the program.
share() {
  exec java -Xmx400m -XX:+UseSerialGC -Dlog4j2.configurationFile="$TESTS_DIR/lib/kafka/log4j2-tools.xml" \
    -cp "$SHARE_DIR:$KAFKA_LIBS/*" Share "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  "$@"
fi
