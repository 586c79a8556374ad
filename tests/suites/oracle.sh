#!/usr/bin/env bash
# Apache Kafka as the oracle: one script of requests, good and bad, in every version, played against both brokers; their answers
# are compared field by field. Differences stand in tests/oracle/differences.txt with their reasons. Both sizes are the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1:-} in
  --ci | --full) ;;
  *) echo "usage: tests/suites/oracle.sh --ci|--full" >&2; exit 2 ;;
esac
. tests/lib/hayate.sh
kafka_install
hayate_build
work=$(mktemp -d)
trap 'hayate_kill "$work/hayate" 2>/dev/null || true; kafka_broker_kill "$work/kafka"; rm -rf "$work"' EXIT

# Hayate has no eligible leader replicas: with them off, Kafka's defaults are the same.
export KAFKA_FORMAT="--feature eligible.leader.replicas.version=0" KAFKA_TOOL_TIER=1
# The script's records are old: neither broker may delete them while it is played.
# Internal topics for one broker, as Kafka needs them said.
internal=(offsets.topic.replication.factor=1 transaction.state.log.replication.factor=1 transaction.state.log.min.isr=1
  share.coordinator.state.topic.replication.factor=1 share.coordinator.state.topic.min.isr=1)
# Histories of groups and transactions: what is waited for is short, a group small.
histories=(group.initial.rebalance.delay.ms=250 group.min.session.timeout.ms=100 group.max.size=3
  group.consumer.min.session.timeout.ms=500 group.consumer.min.heartbeat.interval.ms=100
  transaction.abort.timed.out.transaction.cleanup.interval.ms=300)
kafka=$(kafka_broker_start "$work/kafka" log.retention.ms=-1 "${histories[@]}")
hayate=$(hayate_start "$work/hayate" log.retention.ms=-1 "${internal[@]}" "${histories[@]}" process.roles=broker,controller controller.listener.names=CONTROLLER \
  inter.broker.listener.name=PLAINTEXT listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT)
PYTHONDONTWRITEBYTECODE=1 python3 tests/oracle/oracle.py --jar "$KAFKA_LIBS/kafka-clients-$KAFKA_VERSION.jar" --kafka "$kafka" --hayate "$hayate"
