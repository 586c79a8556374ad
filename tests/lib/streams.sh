#!/usr/bin/env bash
# Kafka Streams and the application of tests/clients/streams, fetched and compiled once into the cache. Source it for the functions, or
# run it as  streams.sh FUNCTION ARG…  Knows nothing of Hayate: a broker is only ever a bootstrap address.

. "$(dirname "${BASH_SOURCE[0]}")/cache.sh"

STREAMS_DIR="$CACHE_DIR/streams-$(cache_key "$TESTS_DIR"/clients/streams/*)"

streams_fetch() {
  mvn -B -q -f "$TESTS_DIR/clients/streams/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$1/libs" &&
    javac -Xlint:all -Werror -cp "$1/libs/*" -d "$1" "$TESTS_DIR/clients/streams/WordCount.java"
}

streams_install() {
  need java || return 1
  [ -e "$STREAMS_DIR" ] || need mvn javac || return 1
  cache_fill "$STREAMS_DIR" streams_fetch
}

# word_count ARG…: the application, or what feeds and checks it.
word_count() {
  exec java -Xmx400m -XX:+UseSerialGC -cp "$STREAMS_DIR:$STREAMS_DIR/libs/*" WordCount "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  "$@"
fi
