"""Records sent: good, repeated, out of order, broken in every part."""

import records
from peer import Batch, Joined, Saved, TopicId
from records import GZIP, LZ4, SNAPPY, T0, ZSTD

from .step import ALL, LAST, SILENT, ask, create, given_up, topic
from .topics import SOME_ID

FAR_MS = 4_000_000_000_000
MINUTE_MS = 60_000


def to(name, *batches, partition=0, topic_id=None):
    """One topic of a produce request, with one partition."""
    records_ = Joined(*batches) if batches else None
    return {"Name": name, "TopicId": topic_id or TopicId(name), "PartitionData": [{"Index": partition, "Records": records_}]}


def parts(name, *batches):
    """One topic of a produce request: a batch for each of its partitions from the first on."""
    numbered = [{"Index": partition, "Records": Joined(batch)} for partition, batch in enumerate(batches)]
    return {"Name": name, "TopicId": TopicId(name), "PartitionData": numbered}


def produce(name, *topics, versions=LAST, acks=-1, transaction=None, **rest):
    values = {"TopicData": list(topics), "Acks": acks, "TimeoutMs": 10_000, "TransactionalId": transaction}
    return ask(f"Produce: {name}", "Produce", values, versions, **rest)


def one(name, *batches, into="prod", **rest):
    """Batches to the first partition of a topic."""
    return produce(name, to(into, *batches), **rest)


def inside(name, batch):
    """A batch whose header is sound, and whose records are not what it says."""
    return one(f"inside: {name}", batch, into="prod-inside")


def end(name):
    """Where the logs end now."""
    at = [{"PartitionIndex": 0, "Timestamp": -1}]
    topics = [{"Name": name_, "Partitions": at} for name_ in ("prod", "prod-idem", "prod-compact", "prod-time", "prod-gzip")]
    return ask(f"ListOffsets: ends {name}", "ListOffsets", {"ReplicaId": -1, "Topics": topics}, [10])


def idempotent(sequence, count=1, epoch=0, producer=Saved("producer-a"), **parts):
    """A batch of an idempotent producer."""
    return Batch(values=[b"%d" % n for n in range(count)], producer=(producer, epoch, sequence), **parts)


def init_producer(name, versions=LAST, save=None, **values):
    values = {"TransactionalId": None, "TransactionTimeoutMs": 1000, **values}
    return ask(f"InitProducerId: {name}", "InitProducerId", values, versions, save=save or {})


V = Batch()
SOUND = records.batch()

PLAIN = [
    create("those that are produced to", topic("prod", 2), topic("prod-idem"), topic("prod-2", 3), topic("prod-twice", 2), topic("prod-inside"),
           topic("prod-compact", 1, 1, [("cleanup.policy", "compact")]),
           topic("prod-time", 1, 1, [("message.timestamp.type", "LogAppendTime")]),
           topic("prod-gzip", 1, 1, [("compression.type", "gzip")]),
           topic("prod-plain", 1, 1, [("compression.type", "uncompressed")]),
           topic("prod-window", 1, 1, [("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "1000")]),
           topic("prod-small", 1, 1, [("max.message.bytes", "200")]),
           topic("prod-both", 1, 1, [("cleanup.policy", "compact,delete")])),
    one("one record, in every version", V, versions=ALL),
    one("acks of the leader, in every version", V, versions=ALL, acks=1),
    one("no acks, in every version", V, versions=ALL, acks=0, part=SILENT),
    one("acks of 2", V, versions=ALL, acks=2),
    one("acks of -2", V, acks=-2),
    one("acks of 2, of no partition", into="missing", acks=2),
    one("an unknown partition without acks", V, acks=0, part=SILENT, into="missing"),
    produce("nothing", versions=ALL),
    produce("nothing without acks", acks=0, part=SILENT),
    produce("no partitions", {"Name": "prod", "TopicId": TopicId("prod"), "PartitionData": []}, versions=ALL),
    *given_up(one("null")),
    one("no bytes", b"", versions=ALL),
    one("several batches", Batch(values=[b"a"]), Batch(values=[b"b"])),
    produce("several topics", to("prod", V), to("prod-2", V, partition=2)),
    produce("a topic twice", to("prod-twice", V), to("prod-twice", V, partition=1)),
    produce("a partition twice", {"Name": "prod-twice", "TopicId": TopicId("prod-twice"), "PartitionData": [
        {"Index": 1, "Records": Joined(V)}, {"Index": 1, "Records": Joined(V)}]}),
    produce("a missing partition", to("prod", V, partition=7), versions=ALL),
    produce("a partition below 0", to("prod", V, partition=-1)),
    produce("one good, one missing", parts("prod", V, V, V)),
    produce("a missing topic", to("missing", V, topic_id=SOME_ID), versions=ALL),
    produce("a missing topic and a broken batch", to("missing", Batch(crc=0), topic_id=SOME_ID), versions=[3, 12, 13]),
    produce("a topic of a bad name", to("a b", V), to("", V), versions=[3, 9, 12]),
    produce("a topic without an id", to("missing", V)),
    produce("a topic that is gone", to("made-7", V)),
    one("several records", Batch(values=[b"a", b"b", b"c"])),
    one("keys and headers", Batch(values=[b"a", None], keys=[b"k", None], headers=[(b"h", b"1"), (b"h", None), (b"", b"")])),
    one("headers that are no text", Batch(headers=[(b"\xff\xfe", b"1")])),
    *(one(f"codec {codec}", Batch(values=[b"a", b"b"], codec=codec), versions=[3, 6, 7, 13]) for codec in (GZIP, SNAPPY, LZ4, ZSTD)),
    *(one(f"codec {codec}", Batch(codec=codec)) for codec in (5, 6, 7)),
    *(one(f"recompressed to gzip from {codec}", Batch(values=[b"a", b"b"], codec=codec), into="prod-gzip")
      for codec in (0, GZIP, SNAPPY, LZ4, ZSTD)),
    *(one(f"decompressed from {codec}", Batch(values=[b"a", b"b"], codec=codec), into="prod-plain")
      for codec in (0, GZIP, SNAPPY, LZ4, ZSTD)),
    end("after good ones"),
]

BROKEN = [
    one("a wrong checksum", Batch(crc=1), versions=ALL),
    one("magic 0", records.legacy(0, b"v"), versions=ALL),
    one("magic 1", records.legacy(1, b"v"), versions=ALL),
    one("magic 3", Batch(magic=3), versions=ALL),
    one("magic -1", Batch(magic=-1)),
    one("magic 1 in a batch's form", Batch(magic=1)),
    one("magic 0 into a compacted topic", records.legacy(0, b"v"), into="prod-compact"),
    one("random bytes", bytes(range(1, 100))),
    one("one byte", b"x"),
    one("a header cut off", SOUND[:40]),
    one("a batch cut off", SOUND[:-1]),
    one("a batch and half another", SOUND + SOUND[:30]),
    one("a batch and a byte", SOUND + b"x"),
    one("a length of 0", Batch(length=0)),
    one("a length below 0", Batch(length=-1)),
    one("a length too small", Batch(length=20)),
    one("a length one short", Batch(length=len(SOUND) - 13)),
    one("a length one over", Batch(length=len(SOUND) - 11)),
    one("a huge length", Batch(length=2**31 - 1)),
    one("a count of 0", Batch(count=0)),
    one("a count below 0", Batch(count=-1)),
    one("a count one over", Batch(count=2)),
    one("a last offset one over", Batch(last_delta=1)),
    one("a last offset below 0", Batch(last_delta=-1)),
    one("no records", Batch(values=[], last_delta=0, count=0)),
    one("no records, consistently", Batch(values=[], last_delta=-1, count=0)),
    one("offsets with a gap", Batch(values=[b"a", b"b"], deltas=[0, 2], last_delta=2)),
    one("offsets with a gap and the last as counted", Batch(values=[b"a", b"b"], deltas=[0, 2])),
    one("offsets backwards", Batch(values=[b"a", b"b"], deltas=[1, 0])),
    one("offsets all 0", Batch(values=[b"a", b"b"], deltas=[0, 0])),
    one("a base offset", Batch(base=77)),
    one("a base offset below 0", Batch(base=-77)),
    one("a leader epoch", Batch(epoch=99)),
    one("control", Batch(flags=records.CONTROL)),
    one("control and transactional", Batch(flags=records.CONTROL | records.TRANSACTIONAL)),
    one("transactional without a producer", Batch(flags=records.TRANSACTIONAL)),
    one("transactional", idempotent(0, producer=4711, flags=records.TRANSACTIONAL)),
    one("a delete horizon", Batch(flags=records.DELETE_HORIZON)),
    one("unknown attributes", Batch(flags=128)),
    one("more unknown attributes", Batch(flags=0x4000)),
    one("marked with log append time", Batch(flags=records.LOG_APPEND_TIME)),
    one("one good and one bad", V, Batch(crc=1)),
    produce("one partition good and one bad", parts("prod", V, Batch(crc=1))),
    one("too large", Batch(values=[b"x" * 1_048_600])),
    one("just as large as may be", Batch(body=records.record(0, None, b"x" * 1_048_506))),
    one("too large for its topic", Batch(values=[b"x" * 200]), into="prod-small"),
    one("two that are together too large for their topic", Batch(values=[b"x" * 100]), Batch(values=[b"x" * 100]), into="prod-small"),
    one("no key into a compacted topic", V, into="prod-compact", versions=ALL),
    one("a key into a compacted topic", Batch(keys=[b"k"]), into="prod-compact"),
    one("one key, one without, into a compacted topic", Batch(values=[b"a", b"b"], keys=[b"k", None]), into="prod-compact"),
    one("no key into a compacted topic, compressed", Batch(codec=GZIP), into="prod-compact"),
    one("no key into a topic of both policies", V, into="prod-both"),
    one("a time far ahead", Batch(time=FAR_MS)),
    one("a time below 0", Batch(time=-1)),
    one("a time far below 0", Batch(time=-1000)),
    one("a largest time that is not", Batch(max_time=T0 + 5)),
    one("a largest time below the first", Batch(max_time=T0 - 5)),
    one("a largest time of -1", Batch(max_time=-1)),
    one("an old time where the topic minds", V, into="prod-window", versions=[3, 8, 13]),
    one("an old time among three where the topic minds", Batch(values=[b"a", b"b", b"c"]), into="prod-window"),
    one("a time ahead where the topic minds", Batch(time=FAR_MS), into="prod-window"),
    one("log append time", V, into="prod-time", versions=ALL),
    one("log append time, compressed", Batch(codec=GZIP), into="prod-time"),
    one("log append time, and a time far ahead", Batch(time=FAR_MS), into="prod-time"),
    end("after bad ones"),
]

INSIDE = [
    inside("a count one over, and its offset", Batch(count=2, last_delta=1)),
    inside("a count one short", Batch(values=[b"a", b"b"], count=1, last_delta=0)),
    inside("a body that is none", Batch(body=b"\xff\xff\xff\xff\xff")),
    inside("a body that is empty", Batch(body=b"")),
    inside("a body with bytes behind", Batch(body=records.record(0, None, b"v") + b"xx")),
    inside("a record longer than the batch", Batch(body=records.varint(100) + bytes(7))),
    inside("a record of a negative length", Batch(body=records.varint(-5) + bytes(7))),
    inside("a record too short for its parts", Batch(body=records.varint(3) + bytes(7))),
    inside("a compressed body that is none", Batch(body=b"not gzip", flags=GZIP)),
    inside("a compressed body that is none, snappy", Batch(body=b"not snappy", flags=SNAPPY)),
    inside("a compressed body that is none, lz4", Batch(body=b"not lz4", flags=LZ4)),
    inside("a compressed body that is none, zstd", Batch(body=b"not zstd", flags=ZSTD)),
    inside("compressed, a count one over", Batch(codec=GZIP, count=2, last_delta=1)),
    inside("compressed, a count one short", Batch(values=[b"a", b"b"], codec=GZIP, count=1, last_delta=0)),
    inside("compressed, offsets all 0", Batch(values=[b"a", b"b"], codec=GZIP, deltas=[0, 0])),
    inside("compressed, bytes behind", Batch(body=records.COMPRESS[GZIP](records.record(0, None, b"v") + b"xx"), flags=GZIP)),
    end("after what is wrong inside"),
]

IDEMPOTENT = [
    init_producer("a producer", save={"producer-a": ["ProducerId"]}),
    init_producer("another", save={"producer-b": ["ProducerId"]}),
    init_producer("in every version", ALL),
    init_producer("with a timeout of 0", ALL, TransactionTimeoutMs=0),
    init_producer("with a producer of before", range(3, 7), ProducerId=5, ProducerEpoch=1),
    init_producer("with a producer and no epoch", range(3, 7), ProducerId=5),
    init_producer("with an epoch and no producer", range(3, 7), ProducerEpoch=5),
    init_producer("an empty transactional id", ALL, TransactionalId=""),
    one("the first sequence", idempotent(0), into="prod-idem"),
    one("the first sequence again", idempotent(0), into="prod-idem", versions=ALL),
    one("a sequence left out", idempotent(5), into="prod-idem", versions=ALL),
    one("the next sequences", idempotent(1, 3), into="prod-idem"),
    one("the next sequences again", idempotent(1, 3), into="prod-idem"),
    one("part of the last ones again", idempotent(2, 2), into="prod-idem"),
    one("more than the last ones", idempotent(1, 5), into="prod-idem"),
    one("the first once more", idempotent(0), into="prod-idem"),
    one("two that follow", idempotent(4), idempotent(5), into="prod-idem"),
    one("a new producer from the middle", idempotent(9, producer=Saved("producer-b")), into="prod-idem"),
    one("an old epoch", idempotent(6, epoch=-1), into="prod-idem"),
    one("a new epoch from the middle", idempotent(3, epoch=1), into="prod-idem"),
    one("a new epoch", idempotent(0, epoch=1), into="prod-idem"),
    one("the epoch before", idempotent(6), into="prod-idem", versions=ALL),
    one("a sequence below 0", idempotent(-1), into="prod-idem"),
    one("a producer without an epoch", idempotent(0, producer=99, epoch=-1), into="prod-idem"),
    one("a producer below -1", idempotent(0, producer=-2), into="prod-idem"),
    one("an unknown producer", idempotent(0, producer=4712), into="prod-idem"),
    one("a sequence and no producer", Batch(producer=(-1, -1, 5)), into="prod-idem"),
    one("an epoch and no producer", Batch(producer=(-1, 5, -1)), into="prod-idem"),
    one("the last sequence there is", idempotent(2**31 - 1, producer=4713), into="prod-idem"),
    one("and the first again", idempotent(0, producer=4713), into="prod-idem"),
    one("two, of which the second is out of order", idempotent(0, producer=4714), idempotent(5, producer=4714), into="prod-idem"),
    one("two of two producers", idempotent(0, producer=4715), idempotent(0, producer=4716), into="prod-idem"),
    *(one(f"one of seven: {sequence}", idempotent(sequence, producer=4717), into="prod-idem")
      for sequence in range(7)),
    one("the oldest that is remembered", idempotent(2, producer=4717), into="prod-idem"),
    one("one that is forgotten", idempotent(0, producer=4717), into="prod-idem"),
    ask("DescribeProducers: several", "DescribeProducers", {"Topics": [
        {"Name": "prod-idem", "PartitionIndexes": [0, 7, -1]}, {"Name": "prod", "PartitionIndexes": [0, 0, 1]}]}),
    ask("DescribeProducers: missing", "DescribeProducers", {"Topics": [
        {"Name": "missing", "PartitionIndexes": [0, 1]}, {"Name": "a b", "PartitionIndexes": [0]}, {"Name": "prod", "PartitionIndexes": []}]}),
    ask("DescribeProducers: nothing", "DescribeProducers"),
    ask("DescribeProducers: a topic twice", "DescribeProducers", {"Topics": [
        {"Name": "prod", "PartitionIndexes": [0]}, {"Name": "prod", "PartitionIndexes": [1]}]}),
    end("after idempotent ones"),
]

STEPS = PLAIN + BROKEN + INSIDE + IDEMPOTENT
