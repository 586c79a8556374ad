"""aiokafka behind the line protocol of tests/clients/README.md: `driver.py BOOTSTRAP`.

It refuses to send a record without key and value: `produce` insists on a SPEC with `without=null-records`. It reads them."""

import asyncio
import pathlib
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from group import Member  # noqa: E402
from member import words_of  # noqa: E402
from serve import create_words, serve  # noqa: E402
from spec import Hash, Spec  # noqa: E402

BOOTSTRAP = sys.argv[1]
QUIET_SECONDS_MAX = 60


async def create(rest):
    topic, partitions, configs = create_words(rest)
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
        for _, code, *why in answer.topic_errors:
            if code:
                raise for_code(code)(why)
    finally:
        await admin.close()
    return "ok"


async def producers_of(spec):
    """A started producer for each codec of the SPEC."""
    started = {}
    for codec in spec.codecs:
        started[codec] = AIOKafkaProducer(
            bootstrap_servers=BOOTSTRAP, compression_type=None if codec == "none" else codec, enable_idempotence=True,
            acks="all", linger_ms=5, max_batch_size=1 << 18, request_timeout_ms=300_000)
        await started[codec].start()
    return started


async def produce(rest):
    spec = Spec(rest)
    if "null-records" not in spec.without:
        raise ValueError("aiokafka needs without=null-records")
    producers = await producers_of(spec)
    sent = []
    for index in range(spec.count(0)):
        for partition in range(spec.partitions):
            if index < spec.count(partition):
                key, value, headers, timestamp = spec.record(partition, index)
                sent.append(await producers[spec.codec(partition)].send(
                    spec.topic, value=value, key=key, partition=partition, timestamp_ms=timestamp or None, headers=headers))
    for out in producers.values():
        await out.stop()
    await asyncio.gather(*sent)
    return "ok %d" % len(sent)


async def read(rest):
    spec = Spec(rest)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=BOOTSTRAP, group_id=None, enable_auto_commit=False, auto_offset_reset="none", check_crcs=True,
        fetch_max_wait_ms=100)
    await consumer.start()
    try:
        return await read_all(spec, consumer)
    finally:
        await consumer.stop()


async def read_all(spec, consumer):
    """All records up to the ends seen at the start."""
    partitions = [TopicPartition(spec.topic, p) for p in range(spec.partitions)]
    starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    left = {at for at in partitions if ends[at] > starts[at]}
    consumer.assign(left)
    for at in left:
        consumer.seek(at, starts[at])
    result, heard = Hash(spec), time.monotonic()
    while left:
        for at, records in (await consumer.getmany(timeout_ms=500)).items():
            heard = time.monotonic()
            for r in records:
                result.add(r.partition, r.offset, r.key, r.value, list(r.headers), r.timestamp)
            if records[-1].offset + 1 >= ends[at]:
                left.discard(at)
        if time.monotonic() - heard > QUIET_SECONDS_MAX:
            raise TimeoutError("no record for %d s, still to come: %s" % (QUIET_SECONDS_MAX, left))
    return result.answer()


async def member(rest):
    return await Member(BOOTSTRAP, words_of(rest)).run()


def finish(command):
    return lambda rest: asyncio.run(command(rest))


serve({"create": finish(create), "produce": finish(produce), "read": finish(read), "member": finish(member)})
