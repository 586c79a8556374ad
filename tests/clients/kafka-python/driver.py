"""kafka-python behind the line protocol of tests/clients/README.md: `driver.py BOOTSTRAP`.

It refuses to send a record without key and value, and a header without a value: `produce` insists on a SPEC with
`without=null-records,null-headers`. It reads both."""

import pathlib
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from serve import create_words, serve  # noqa: E402
from spec import Hash, Spec  # noqa: E402

BOOTSTRAP = sys.argv[1]
QUIET_SECONDS_MAX = 60


def create(rest):
    topic, partitions, configs = create_words(rest)
    admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    try:
        new = {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}}
        admin.create_topics(new, wait_for_metadata=True)
    finally:
        admin.close()
    return "ok"


def producer(codec):
    return KafkaProducer(
        bootstrap_servers=BOOTSTRAP, compression_type=None if codec == "none" else codec, enable_idempotence=True,
        linger_ms=5, batch_size=1 << 18, delivery_timeout_ms=600_000)


def produce(rest):
    spec = Spec(rest)
    if not {"null-records", "null-headers"} <= spec.without:
        raise ValueError("kafka-python needs without=null-records,null-headers")
    producers = {codec: producer(codec) for codec in spec.codecs}
    sent = []
    for index in range(spec.count(0)):
        for partition in range(spec.partitions):
            if index < spec.count(partition):
                key, value, headers, timestamp = spec.record(partition, index)
                out = producers[spec.codec(partition)]
                sent.append(out.send(spec.topic, value=value, key=key, headers=headers, partition=partition,
                                     timestamp_ms=timestamp or None))
    for out in producers.values():
        out.flush()
        out.close()
    for future in sent:
        future.get(0)
    return "ok %d" % len(sent)


def read(rest):
    """All records up to the ends seen at the start."""
    spec = Spec(rest)
    consumer = KafkaConsumer(
        bootstrap_servers=BOOTSTRAP, group_id=None, enable_auto_commit=False, auto_offset_reset="none", check_crcs=True,
        fetch_max_wait_ms=100)
    try:
        partitions = [TopicPartition(spec.topic, p) for p in range(spec.partitions)]
        starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        left = {at for at in partitions if ends[at] > starts[at]}
        consumer.assign(left)
        for at in left:
            consumer.seek(at, starts[at])
        result, heard = Hash(spec), time.monotonic()
        while left:
            for at, records in consumer.poll(500).items():
                heard = time.monotonic()
                for r in records:
                    result.add(r.partition, r.offset, r.key, r.value, r.headers, r.timestamp)
                if records[-1].offset + 1 >= ends[at]:
                    left.discard(at)
            if time.monotonic() - heard > QUIET_SECONDS_MAX:
                raise TimeoutError("no record for %d s, still to come: %s" % (QUIET_SECONDS_MAX, left))
        return result.answer()
    finally:
        consumer.close()


serve({"create": create, "produce": produce, "read": read})
