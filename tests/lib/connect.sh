#!/usr/bin/env bash
# Apache Kafka Connect 4.2, distributed: workers with Kafka's own file connectors, fetched once into the cache. Source it after kafka.sh for
# the functions, or run it as  connect.sh FUNCTION ARG…  Knows nothing of Hayate: a broker is only ever a bootstrap address.
#
#   worker_start DIR BOOTSTRAP [KEY=VALUE…]   starts a worker with its files in DIR, or the same one again
#   worker_kill DIR                           SIGKILL, and waits
#   connect_rest DIR METHOD PATH [BODY]       asks a worker; prints the answer; fails on a status that is no success

. "$(dirname "${BASH_SOURCE[0]}")/kafka.sh"

CONNECT_DIR="$CACHE_DIR/connect-$(cache_key "$TESTS_DIR/lib/connect/pom.xml")"

connect_fetch() {
  mvn -B -q -f "$TESTS_DIR/lib/connect/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DexcludeTransitive=true -DoutputDirectory="$1"
}

connect_install() {
  kafka_install || return 1
  [ -e "$CONNECT_DIR" ] || need mvn || return 1
  cache_fill "$CONNECT_DIR" connect_fetch
}

worker_properties() {
  local bootstrap="$1" port="$2"
  shift 2
  cat <<END
bootstrap.servers=$bootstrap
group.id=connect-cluster
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
config.storage.topic=connect-configs
config.storage.replication.factor=1
offset.storage.topic=connect-offsets
offset.storage.replication.factor=1
status.storage.topic=connect-status
status.storage.replication.factor=1
offset.flush.interval.ms=500
listeners=http://127.0.0.1:$port
plugin.discovery=only_scan
END
  printf '%s\n' "$@"
}

worker_start() {
  local dir="$1" bootstrap="$2"
  shift 2
  if [ ! -e "$dir/worker.properties" ]; then
    mkdir -p "$dir"
    free_port >"$dir/rest"
    worker_properties "$bootstrap" "$(cat "$dir/rest")" "$@" >"$dir/worker.properties"
  fi
  (exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dlog4j2.configurationFile="$TESTS_DIR/lib/kafka/log4j2-broker.xml" -cp "$CONNECT_DIR/*:$KAFKA_LIBS/*" \
    org.apache.kafka.connect.cli.ConnectDistributed "$dir/worker.properties" >>"$dir/out" 2>&1 </dev/null 9>&-) &
  echo $! >"$dir/pid"
  disown
}

worker_kill() {
  broker_signal "$1" KILL
}

connect_rest() {
  local dir="$1" method="$2" path="$3" body="${4:-}"
  curl -fsS --max-time 20 -X "$method" -H 'Content-Type: application/json' ${body:+-d "$body"} \
    "http://127.0.0.1:$(cat "$dir/rest")$path"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  "$@"
fi
