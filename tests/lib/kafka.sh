#!/usr/bin/env bash
# Apache Kafka 4.2: its jars (fetched once with Maven), its tools, a single-node broker to test or compare against,
# and the Java driver, which stands on the same jars. Source it for the functions, or run it as
#   kafka.sh FUNCTION ARG…        e.g.  kafka.sh dump_log data/t-0/*.log     kafka.sh tool topics --list …
# Knows nothing of Hayate: a broker is only ever a bootstrap address.

. "$(dirname "${BASH_SOURCE[0]}")/cache.sh"

KAFKA_VERSION="$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$TESTS_DIR/lib/kafka/pom.xml")"
KAFKA_LIBS="$CACHE_DIR/kafka-$KAFKA_VERSION-$(cache_key "$TESTS_DIR/lib/kafka/pom.xml")/libs"
KAFKA_BROKER_HEAP="${KAFKA_BROKER_HEAP:--Xms512m -Xmx512m}"
KAFKA_TOOL_HEAP="${KAFKA_TOOL_HEAP:--Xmx512m}"

echo_version() {
  echo "$KAFKA_VERSION"
}

# echo_home: the folder whose `libs` has the jars, as in a Kafka that was unpacked.
echo_home() {
  dirname "$KAFKA_LIBS"
}

kafka_fetch() {
  mvn -B -q -f "$TESTS_DIR/lib/kafka/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$1/libs"
}

# kafka_install: fetches the jars when they are absent.
kafka_install() {
  need java || return 1
  [ -e "$KAFKA_LIBS" ] || need mvn || return 1
  cache_fill "$(dirname "$KAFKA_LIBS")" kafka_fetch
}

# kafka_java CLASS ARG…: runs one of Kafka's main classes in this process's place when called in a subshell.
kafka_java() {
  java $KAFKA_TOOL_HEAP -XX:+UseSerialGC -XX:TieredStopAtLevel="${KAFKA_TOOL_TIER:-4}" \
    -Dlog4j2.configurationFile="$TESTS_DIR/lib/kafka/log4j2-tools.xml" -cp "$KAFKA_LIBS/*" "$@"
}

# tool_class NAME → the main class of a tool by the name of its script in Kafka's bin folder, without "kafka-" and ".sh".
tool_class() {
  local tools=org.apache.kafka.tools
  case "$1" in
    topics) echo $tools.TopicCommand ;;
    configs) echo kafka.admin.ConfigCommand ;;
    console-producer) echo $tools.ConsoleProducer ;;
    console-consumer) echo $tools.consumer.ConsoleConsumer ;;
    producer-perf-test) echo $tools.ProducerPerformance ;;
    consumer-perf-test) echo $tools.ConsumerPerformance ;;
    e2e-latency) echo $tools.EndToEndLatency ;;
    get-offsets) echo $tools.GetOffsetShell ;;
    delete-records) echo $tools.DeleteRecordsCommand ;;
    log-dirs) echo $tools.LogDirsCommand ;;
    metadata-quorum) echo $tools.MetadataQuorumCommand ;;
    features) echo $tools.FeatureCommand ;;
    cluster) echo $tools.ClusterTool ;;
    client-metrics) echo $tools.ClientMetricsCommand ;;
    replica-verification) echo $tools.ReplicaVerificationTool ;;
    verifiable-producer) echo $tools.VerifiableProducer ;;
    verifiable-consumer) echo $tools.VerifiableConsumer ;;
    broker-api-versions) echo $tools.BrokerApiVersionsCommand ;;
    console-share-consumer) echo $tools.consumer.ConsoleShareConsumer ;;
    share-groups) echo $tools.consumer.group.ShareGroupCommand ;;
    consumer-groups) echo $tools.consumer.group.ConsumerGroupCommand ;;
    transactions) echo $tools.TransactionsCommand ;;
    dump-log) echo kafka.tools.DumpLogSegments ;;
    storage) echo kafka.tools.StorageTool ;;
    *) echo "unknown tool: $1" >&2; return 2 ;;
  esac
}

# tool NAME ARG…: runs a tool by that name.
tool() {
  local class
  class="$(tool_class "$1")" || return
  kafka_java "$class" "${@:2}"
}

# tools: the tools in one process, asked on standard input (tests/clients/java/Tools.java).
tools() {
  exec java $KAFKA_TOOL_HEAP -XX:+UseSerialGC -XX:TieredStopAtLevel="${KAFKA_TOOL_TIER:-1}" \
    -Dlog4j2.configurationFile="$TESTS_DIR/lib/kafka/log4j2-tools.xml" -cp "$JAVA_DRIVER:$KAFKA_LIBS/*" Tools
}

# free_port → a port of 127.0.0.1 that nobody listens on, below the range the kernel gives to outgoing connections.
free_port() {
  local port
  while port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# kafka_properties DIR PORT CONTROLLER_PORT KEY=VALUE…: a single node's server.properties on standard output.
kafka_properties() {
  local dir="$1" port="$2" controller="$3"
  shift 3
  cat <<END
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
END
  printf '%s\n' "$@"
}

# await_line PID FILE PATTERN SECONDS: waits until FILE, written by process PID, has a line that matches; fails when
# the process ends or the time is over first. Woken by the file's growth, not by polling.
await_line() {
  local pid="$1" file="$2" pattern="$3" seconds="$4" found tail_pid
  exec 8< <(exec timeout "$seconds" tail -n +1 -F --pid="$pid" "$file" 2>/dev/null)
  tail_pid=$!
  grep -q -m1 -E "$pattern" <&8
  found=$?
  kill "$tail_pid" 2>/dev/null
  exec 8<&-
  return $found
}

# kafka_broker_start DIR [KEY=VALUE…] → bootstrap address. A fresh single-node broker with its files, log (out) and
# pid in DIR; called again on the same DIR it starts the same broker on the same port. KAFKA_WRAP is put before
# java (e.g. "taskset -c 0"); KAFKA_BROKER_HEAP sets its heap, KAFKA_FORMAT what else its folder is formatted with.
kafka_broker_start() {
  local dir="$1" port
  shift
  mkdir -p "$dir/data"
  dir="$(cd "$dir" && pwd)"
  if [ ! -e "$dir/bootstrap" ]; then
    port="$(free_port)"
    kafka_properties "$dir" "$port" "$(free_port)" "$@" >"$dir/server.properties"
    tool storage format --standalone ${KAFKA_FORMAT:-} -t "$(uuid22)" -c "$dir/server.properties" >"$dir/format" 2>&1 ||
      { cat "$dir/format" >&2; return 1; }
    echo "127.0.0.1:$port" >"$dir/bootstrap"
  fi
  : >"$dir/out"
  # 9>&-: a broker must not keep a caller's lock or pipe open for the length of its life.
  (exec ${KAFKA_WRAP:-} java $KAFKA_BROKER_HEAP -XX:+UseG1GC -XX:MaxGCPauseMillis=20 \
    -XX:InitiatingHeapOccupancyPercent=35 -Djava.awt.headless=true \
    -Dlog4j2.configurationFile="$TESTS_DIR/lib/kafka/log4j2-broker.xml" \
    -cp "$KAFKA_LIBS/*" kafka.Kafka "$dir/server.properties" >"$dir/out" 2>&1 </dev/null 9>&-) &
  echo $! >"$dir/pid"
  disown
  await_line "$(cat "$dir/pid")" "$dir/out" 'Kafka Server started' 90 ||
    { tail -n 20 "$dir/out" >&2; kafka_broker_kill "$dir"; return 1; }
  cat "$dir/bootstrap"
}

# uuid22 → a random cluster id in Kafka's form: 16 bytes in URL-safe base64 without padding.
uuid22() {
  head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '='
}

# kafka_broker_stop DIR / kafka_broker_kill DIR: ends the broker by its pid, cleanly or with kill -9, and waits for
# the process to be gone.
kafka_broker_stop() {
  broker_signal "$1" TERM
}

kafka_broker_kill() {
  broker_signal "$1" KILL
}

broker_signal() {
  local pid
  pid="$(cat "$1/pid" 2>/dev/null)" || return 0
  kill -"$2" "$pid" 2>/dev/null && timeout 60 tail --pid="$pid" -f /dev/null
  rm -f "$1/pid"
}

# dump_log FILE…: Kafka's own reader over .log, .index, .timeindex, .txnindex and .snapshot files: logs record by record,
# indexes against their logs, which must lie beside them. Says what it complained about and fails, or accepts.
dump_log() {
  local -A kinds=()
  local file bad=0
  kafka_install || return 1
  for file in "$@"; do
    kinds[${file##*.}]+="${kinds[${file##*.}]:+,}$file"
    whole_entries "$file" || bad=1
  done
  [ -z "${kinds[log]:-}" ] || dump_checked --deep-iteration --skip-record-metadata --files "${kinds[log]}" || bad=1
  [ -z "${kinds[index]:-}" ] || dump_checked --index-sanity-check --files "${kinds[index]}" || bad=1
  [ -z "${kinds[index]:-}" ] || dump_checked --verify-index-only --files "${kinds[index]}" || bad=1
  unset 'kinds[log]' 'kinds[index]'
  for file in "${kinds[@]}"; do
    dump_checked --files "$file" || bad=1
  done
  [ "$bad" = 0 ] && echo "dump_log: $# files accepted"
  return "$bad"
}

# whole_entries FILE: an index holds whole entries; DumpLogSegments itself overlooks half a one at the end.
whole_entries() {
  local entry_bytes=1
  case "$1" in *.index) entry_bytes=8 ;; *.timeindex) entry_bytes=12 ;; esac
  [ $(($(stat -c %s "$1") % entry_bytes)) = 0 ] || { echo "$1: ends within an entry"; return 1; }
}

# dump_checked ARG…: one run of DumpLogSegments, which exits with 0 even when it finds a mismatch: its words decide.
dump_checked() {
  local out bad=0 words='mismatch|secutive|out of order|corrupt|invalid|isvalid: false|exception|error|failed|could not|larger than'
  out="$(mktemp)"
  kafka_java kafka.tools.DumpLogSegments "$@" >"$out" 2>&1 || bad=1
  awk -v words="$words" '/^Dumping / { file = $2; next } tolower($0) ~ words { print file ": " $0; bad = 1 } END { exit bad }' \
    "$out" || bad=1
  [ "$bad" = 0 ] || { echo "the last lines of DumpLogSegments $*:"; tail -n 3 "$out"; }
  rm -f "$out"
  return "$bad"
}

# The Java driver, compiled into the cache whenever its source or Kafka's version is new.
JAVA_DRIVER="$CACHE_DIR/java-driver-$(cache_key "$TESTS_DIR"/clients/java/*.java "$TESTS_DIR/lib/kafka/pom.xml")"

java_compile() {
  javac -Xlint:all -Werror -cp "$KAFKA_LIBS/*" -d "$1" "$TESTS_DIR"/clients/java/*.java
}

java_install() {
  kafka_install || return 1
  [ -e "$JAVA_DRIVER" ] || need javac || return 1
  cache_fill "$JAVA_DRIVER" java_compile
}

# java_driver BOOTSTRAP: the driver of tests/clients/java on this standard input and output.
java_driver() {
  exec java $KAFKA_TOOL_HEAP -XX:+UseSerialGC -Dlog4j2.configurationFile="$TESTS_DIR/lib/kafka/log4j2-tools.xml" \
    -cp "$JAVA_DRIVER:$KAFKA_LIBS/*" Driver "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  "$@"
fi
