"""confluent-kafka (librdkafka) behind the line protocol of tests/clients/README.md: `driver.py BOOTSTRAP`, commands on
standard input, one answer line each on standard output."""

import pathlib
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from group import Member  # noqa: E402
from load import Load  # noqa: E402
from member import words_of  # noqa: E402
from serve import create_words, serve  # noqa: E402
from spec import Hash, Spec  # noqa: E402

BOOTSTRAP = sys.argv[1]
QUIET_SECONDS_MAX = 60


def create(rest):
    topic, partitions, configs = create_words(rest)
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP, "log_level": 2})
    for future in admin.create_topics([NewTopic(topic, partitions, 1, config=configs)]).values():
        future.result()
    # A broker may answer before its own metadata shows the topic; librdkafka takes that for a final answer.
    deadline = time.monotonic() + 30
    while len(admin.list_topics(topic, timeout=30).topics[topic].partitions) < partitions:
        if time.monotonic() > deadline:
            raise TimeoutError("the metadata does not show %s" % topic)
    return "ok"


def producer(codec):
    return Producer({
        "bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "compression.codec": codec, "linger.ms": 5,
        "message.timeout.ms": 0, "reconnect.backoff.max.ms": 200, "queue.buffering.max.kbytes": 65536, "log_level": 2,
    })


def send(out, spec, partition, index, on_delivery):
    """Hands one record to librdkafka, waiting for room in its queue."""
    key, value, headers, timestamp = spec.record(partition, index)
    while True:
        try:
            out.produce(spec.topic, value=value, key=key, partition=partition, timestamp=timestamp, headers=headers,
                        on_delivery=on_delivery)
            out.poll(0)
            return
        except BufferError:
            out.poll(0.1)


def produce(spec):
    producers = {codec: producer(codec) for codec in spec.codecs}
    failed = []

    def delivered(error, _message):
        if error:
            failed.append(error)

    for index in range(spec.count(0)):
        for partition in range(spec.partitions):
            if index < spec.count(partition):
                send(producers[spec.codec(partition)], spec, partition, index, delivered)
    for out in producers.values():
        out.flush()
    if failed:
        raise KafkaException(failed[0])
    return "ok %d" % spec.records


def read_all(spec, each):
    """Hands over all messages up to the ends seen at the start."""
    consumer = Consumer({
        "bootstrap.servers": BOOTSTRAP, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error",
        "check.crcs": True, "fetch.wait.max.ms": 100, "log_level": 2,
    })
    try:
        marks = [consumer.get_watermark_offsets(TopicPartition(spec.topic, p), 30) for p in range(spec.partitions)]
        left = {p: end for p, (start, end) in enumerate(marks) if end > start}
        consumer.assign([TopicPartition(spec.topic, p, marks[p][0]) for p in left])
        heard = time.monotonic()
        while left:
            for message in consumer.consume(500, 0.5):
                if message.error():
                    raise KafkaException(message.error())
                heard = time.monotonic()
                each(message)
                if message.offset() + 1 >= left.get(message.partition(), 0):
                    left.pop(message.partition(), None)
            if time.monotonic() - heard > QUIET_SECONDS_MAX:
                raise TimeoutError("no record for %d s, still to come: %s" % (QUIET_SECONDS_MAX, left))
    finally:
        consumer.close()


def content(spec, message):
    timestamp = 0 if "timestamps" in spec.without else message.timestamp()[1]
    return message.key(), message.value(), message.headers() or [], timestamp


def read(spec):
    result = Hash(spec)
    read_all(spec, lambda message: result.add(message.partition(), message.offset(), *content(spec, message)))
    return result.answer()


def load(rest):
    spec = Spec(rest)
    return Load(spec, producer(spec.codecs[0]), send).run()


def check(spec):
    """`check SPEC acks=FILE`: the log is the generator's sequence, each record at its own offset, and holds all of FILE."""
    ends = [0] * spec.partitions

    def compare(message):
        partition, due = message.partition(), ends[message.partition()]
        if message.offset() != due or content(spec, message) != spec.record(partition, due):
            raise ValueError("partition %d: offset %d holds something else than record %d" % (partition, message.offset(), due))
        ends[partition] += 1

    read_all(spec, compare)
    acked = 0
    for line in filter(lambda line: line.startswith("acked "), open(spec.fields["acks"])):
        partition, index, count, offset = map(int, line.split()[1:])
        if index != offset:
            raise ValueError("acknowledged at an offset that is not its index: " + line)
        if offset + count > ends[partition]:
            raise ValueError("lost: log ends at %d, but %s" % (ends[partition], line))
        acked += count
    return "ok %d %d" % (sum(ends), acked)


serve({"create": create, "produce": lambda rest: produce(Spec(rest)), "read": lambda rest: read(Spec(rest)), "load": load,
       "check": lambda rest: check(Spec(rest)), "member": lambda rest: Member(BOOTSTRAP, words_of(rest)).run()})
