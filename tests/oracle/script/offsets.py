"""Offsets by time and by name, epochs, and records deleted; then what the folders hold."""

from peer import Batch
from records import T0

from .consume import fetch, of, part
from .produce import one, to, produce
from .step import ALL, LAST, ask, create, topic
from .topics import SOME_ID


def offsets(name, *topics, versions=LAST, **rest):
    values = {"ReplicaId": -1, "Topics": list(topics), "TimeoutMs": 10_000, **rest}
    return ask(f"ListOffsets: {name}", "ListOffsets", values, versions)


def at(name, *times, partition=0, epoch=-1):
    partitions = [{"PartitionIndex": partition, "Timestamp": time, "CurrentLeaderEpoch": epoch} for time in times]
    return {"Name": name, "Partitions": partitions}


def epochs(name, *topics, versions=LAST, replica=-1):
    return ask(f"OffsetForLeaderEpoch: {name}", "OffsetForLeaderEpoch", {"ReplicaId": replica, "Topics": list(topics)}, versions)


def epoch_of(name, epoch, partition=0, current=-1):
    return {"Topic": name, "Partitions": [{"Partition": partition, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch}]}


def delete(name, *topics, versions=LAST):
    values = {
        "Topics": [
            {"Name": topic_, "Partitions": [{"PartitionIndex": partition, "Offset": offset} for partition, offset in parts]}
            for topic_, parts in topics
        ],
        "TimeoutMs": 10_000,
    }
    return ask(f"DeleteRecords: {name}", "DeleteRecords", values, versions)


def folders(name, topics, versions=LAST):
    return ask(f"DescribeLogDirs: {name}", "DescribeLogDirs", {"Topics": topics}, versions)


SPECIAL = {-1: "latest", -2: "earliest", -3: "largest time", -4: "earliest here", -5: "latest tiered", -6: "earliest not tiered", -7: "-7", -100: "-100"}
TIMES = {0: "0", 1: "the start", 2: "the second", 5: "later", 10: "between", 20: "the last", 21: "beyond"}

LISTED = [
    create("one with times", topic("timed", 2)),
    one("times of one", Batch(values=[b"a", b"b"], time=T0), into="timed"),
    one("times of another", Batch(values=[b"c", b"d"], time=T0 + 19, codec=1), into="timed"),
    one("times that go back", Batch(values=[b"e"], time=T0 + 5), into="timed"),
    *(offsets(f"{tell}, in every version", at("timed", time), versions=ALL) for time, tell in SPECIAL.items()),
    *(offsets(f"by time: {tell}", at("timed", T0 - 1 + time if time else 0), versions=[1, 10]) for time, tell in TIMES.items()),
    offsets("far ahead", at("timed", 2**63 - 1)),
    offsets("of an empty one", *(at("read-empty", time) for time in [-1])),
    offsets("earliest of an empty one", at("read-empty", -2)),
    offsets("largest time of an empty one", at("read-empty", -3), versions=range(7, 11)),
    offsets("by time of an empty one", at("read-empty", T0)),
    offsets("twice", at("timed", -1, -2), versions=ALL),
    offsets("a topic twice", at("timed", -1), at("timed", -2)),
    offsets("several", {"Name": "timed", "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}, {"PartitionIndex": 1, "Timestamp": -2}]}, at("read", T0)),
    offsets("nothing", versions=ALL),
    offsets("no partitions", {"Name": "timed", "Partitions": []}),
    offsets("a missing partition", at("timed", -1, partition=7), versions=ALL),
    offsets("a partition below 0", at("timed", -1, partition=-1)),
    offsets("a missing topic", at("missing", -1), versions=ALL),
    offsets("bad names", at("a b", -1), at("", -1)),
    offsets("with the epoch", at("timed", -1, epoch=0), versions=range(4, 11)),
    offsets("with an epoch to come", at("timed", -1, epoch=9), versions=range(4, 11)),
    offsets("committed", at("timed", -1), versions=range(2, 11), IsolationLevel=1),
    offsets("committed, by time", at("timed", T0), IsolationLevel=1),
    offsets("committed, largest time", at("timed", -3), IsolationLevel=1),
    offsets("an isolation of 2", at("timed", -1), IsolationLevel=2),
    offsets("as another replica", at("timed", -1), ReplicaId=2),
    offsets("as this replica", at("timed", -1), ReplicaId=1),
    offsets("as a debugger", at("timed", -1), ReplicaId=-2),
    offsets("log append time", at("prod-time", T0)),
]

EPOCHS = [
    epochs("the first", epoch_of("timed", 0), versions=ALL),
    epochs("one to come", epoch_of("timed", 5), versions=ALL),
    epochs("below 0", epoch_of("timed", -1), epoch_of("read", -2)),
    epochs("with the current one", epoch_of("timed", 0, current=0), versions=ALL),
    epochs("with a current one to come", epoch_of("timed", 0, current=7), versions=ALL),
    epochs("of an empty one", epoch_of("read-empty", 0)),
    epochs("a missing partition", epoch_of("timed", 0, 9), epoch_of("timed", 0, -1), versions=ALL),
    epochs("a missing topic", epoch_of("missing", 0), epoch_of("", 0), versions=ALL),
    epochs("as a replica", epoch_of("timed", 0), replica=2),
    epochs("as a debugger", epoch_of("timed", 0), replica=-2),
    epochs("nothing", versions=ALL),
]

DELETED = [
    delete("the first", ("timed", [(0, 1)]), versions=ALL),
    delete("within a batch", ("timed", [(0, 3)])),
    delete("what is deleted already", ("timed", [(0, 1)]), versions=ALL),
    delete("below the start", ("timed", [(0, 0)])),
    delete("beyond the end", ("timed", [(0, 99)]), versions=ALL),
    delete("below -1", ("timed", [(0, -2)])),
    delete("a missing partition", ("timed", [(9, 0), (-1, 0)]), versions=ALL),
    delete("a missing topic", ("missing", [(0, 0)]), ("a b", [(0, 0)]), versions=ALL),
    delete("of a compacted topic", ("prod-compact", [(0, 1)]), versions=ALL),
    delete("of a topic of both policies", ("prod-both", [(0, 0)])),
    delete("nothing", versions=ALL),
    delete("no partitions", ("timed", [])),
    delete("a partition twice", ("timed", [(0, 3), (0, 4)])),
    delete("one good, one bad", ("timed", [(0, 4), (1, 5)])),
    fetch("from below the start", of("timed", part(0, 0)), versions=[4, 18]),
    fetch("from the start of what is left", of("timed", part(0, 4))),
    offsets("earliest after deletion", at("timed", -2), versions=[10]),
    offsets("earliest here after deletion", at("timed", -4), versions=[10]),
    offsets("by time after deletion", at("timed", T0), versions=[10]),
    epochs("after deletion", epoch_of("timed", 0)),
    delete("all", ("timed", [(0, -1)])),
    delete("all of an empty one", ("timed", [(1, -1)])),
    fetch("what is empty now", of("timed", part(0, 5))),
    offsets("largest time after deletion", at("timed", -3), versions=[10]),
    offsets("by time after all was deleted", at("timed", T0), versions=[10]),
]

FOLDERS = [
    folders("all, in every version", None, ALL),
    folders("some", [{"Topic": "timed", "Partitions": [0, 1, 7]}, {"Topic": "missing", "Partitions": [0]}], ALL),
    folders("no topics", []),
    folders("no partitions", [{"Topic": "timed", "Partitions": []}]),
    folders("a partition twice", [{"Topic": "timed", "Partitions": [0, 0]}, {"Topic": "timed", "Partitions": [0]}]),
]

STEPS = LISTED + EPOCHS + DELETED + FOLDERS
