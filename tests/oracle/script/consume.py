"""Records read: from everywhere, in sessions, and offsets that are not there."""

from peer import Batch, Saved, TopicId

from .produce import one, produce, to
from .step import ALL, LAST, ask, create, topic
from .topics import SOME_ID


def part(partition=0, offset=0, bytes_max=1_000_000, **rest):
    return {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": bytes_max, **rest}


def of(name, *parts, topic_id=None):
    return {"Topic": name, "TopicId": topic_id or TopicId(name), "Partitions": list(parts)}


def fetch(name, *topics, versions=LAST, save=None, **rest):
    values = {"MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 10_000_000, "Topics": list(topics), **rest}
    return ask(f"Fetch: {name}", "Fetch", values, versions, save=save or {})


def session(name, id_, epoch, *topics, versions=LAST, **rest):
    return fetch(name, *topics, versions=versions, SessionId=id_, SessionEpoch=epoch, **rest)


OPENED = Saved("session")
PLACES = [(0, "the first"), (1, "the second"), (2, "one within a batch"), (5, "one near the end"), (6, "the end"), (7, "one beyond the end"),
          (-1, "-1"), (-2, "-2"), (2**63 - 1, "the last there is")]

FILLED = [
    create("those that are read", topic("read", 3), topic("read-empty"), topic("read-late")),
    one("what is read", Batch(values=[b"a"]), into="read"),
    one("what is read next", Batch(values=[b"b", b"c", b"d"], codec=1), into="read"),
    one("what is read last", Batch(values=[b"e" * 100, b"f"]), into="read"),
    produce("what is read of another", to("read", Batch(values=[b"x"]), partition=1)),
]

PLAIN = [
    fetch("from the start, in every version", of("read", part()), versions=ALL),
    *(fetch(f"from {tell}", of("read", part(0, offset)), versions=ALL) for offset, tell in PLACES),
    fetch("nothing", versions=ALL),
    fetch("no partitions", of("read")),
    fetch("an empty one", of("read-empty", part()), versions=ALL),
    fetch("an empty one and another", of("read-empty", part()), of("read", part())),
    fetch("a missing partition", of("read", part(7)), versions=ALL),
    fetch("a partition below 0", of("read", part(-1))),
    fetch("a missing topic", of("missing", part(), topic_id=SOME_ID), versions=ALL),
    fetch("a topic without an id", of("missing", part())),
    fetch("a topic that is gone", of("made-7", part())),
    fetch("a bad name", of("a b", part()), of("", part()), versions=[4, 12]),
    fetch("one there, one missing", of("read", part()), of("missing", part(), topic_id=SOME_ID), versions=[4, 12, 13, 18]),
    fetch("a partition twice", of("read", part(), part(0, 4))),
    fetch("a topic twice", of("read", part()), of("read", part(1))),
    fetch("several", of("read", part(2), part(0), part(1)), of("prod-2", part(2))),
    fetch("one byte of a partition", of("read", part(0, 0, 1)), versions=ALL),
    fetch("one byte of two partitions", of("read", part(0, 0, 1), part(1, 0, 1))),
    fetch("no byte of a partition", of("read", part(0, 0, 0))),
    fetch("fewer than no bytes of a partition", of("read", part(0, 0, -1))),
    fetch("one byte in all", of("read", part(), part(1)), MaxBytes=1),
    fetch("no byte in all", of("read", part(), part(1)), MaxBytes=0),
    fetch("fewer than no bytes in all", of("read", part()), MaxBytes=-1),
    fetch("150 bytes of a partition", of("read", part(0, 0, 150))),
    fetch("150 bytes in all", of("read", part(), part(1)), MaxBytes=150),
    fetch("committed ones", of("read", part()), versions=ALL, IsolationLevel=1),
    fetch("an isolation of 2", of("read", part()), IsolationLevel=2),
    fetch("an isolation below 0", of("read", part()), IsolationLevel=-1),
    fetch("no wait and no bytes", of("read-empty", part()), MinBytes=0),
    fetch("a short wait", of("read-empty", part()), MaxWaitMs=20),
    fetch("a wait below 0", of("read-empty", part()), MaxWaitMs=-1),
    fetch("with the epoch", of("read", part(CurrentLeaderEpoch=0)), versions=range(9, 19)),
    fetch("with an epoch to come", of("read", part(CurrentLeaderEpoch=5)), versions=range(9, 19)),
    fetch("with an epoch below -1", of("read", part(CurrentLeaderEpoch=-2)), versions=[9, 18]),
    fetch("with the last epoch", of("read", part(0, 4, LastFetchedEpoch=0)), versions=[12, 18]),
    fetch("with the last epoch, beyond the end", of("read", part(0, 99, LastFetchedEpoch=0)), versions=[12, 18]),
    fetch("with a last epoch to come", of("read", part(0, 4, LastFetchedEpoch=3)), versions=[12, 18]),
    fetch("with a start of its log", of("read", part(LogStartOffset=3))),
    fetch("from a rack", of("read", part()), versions=[11, 18], RackId="r1"),
    fetch("as another replica", of("read", part()), versions=range(4, 15), ReplicaId=2),
    fetch("as this replica", of("read", part()), versions=range(4, 15), ReplicaId=1),
    fetch("as a debugger", of("read", part()), versions=[4, 14], ReplicaId=-2),
    fetch("as another replica, by its state", of("read", part()), ReplicaState={"ReplicaId": 2, "ReplicaEpoch": 1}),
    fetch("with the cluster's name", of("read", part()), ClusterId="another"),
    fetch("log append time", of("prod-time", part())),
    fetch("recompressed", of("prod-gzip", part())),
    fetch("decompressed", of("prod-plain", part())),
    fetch("idempotent", of("prod-idem", part())),
    fetch("all that was produced", of("prod", part(0, 0, 500_000))),
    fetch("compacted", of("prod-compact", part())),
]

SESSIONS = [
    session("no session", 0, -1, of("read", part())),
    session("a session", 0, 0, of("read", part(0, 6), part(1, 0)), save={"session": ["SessionId"]}),
    session("its next epoch", OPENED, 1),
    session("what it had read, again", OPENED, 2, of("read", part(1, 1))),
    session("nothing new", OPENED, 3),
    session("one more partition", OPENED, 4, of("read", part(2, 0))),
    session("one that is missing", OPENED, 5, of("missing", part(), topic_id=SOME_ID)),
    session("and again", OPENED, 6),
    session("one forgotten", OPENED, 7, ForgottenTopicsData=[{"Topic": "missing", "TopicId": SOME_ID, "Partitions": [0]}]),
    session("one forgotten that was never there", OPENED, 8, ForgottenTopicsData=[{"Topic": "read-empty", "TopicId": TopicId("read-empty"), "Partitions": [0]}]),
    session("an epoch left out", OPENED, 12),
    session("an epoch twice", OPENED, 8),
    session("one out of range", OPENED, 9, of("read", part(1, 99))),
    session("still out of range", OPENED, 10),
    session("another version than before", OPENED, 11, of("read", part(1, 1)), versions=[17]),
    session("names instead of ids", OPENED, 12, of("read", part(1, 1)), versions=[12]),
    session("an unknown session", 77, 1, versions=range(7, 19)),
    session("an unknown session that ends", 77, -1, of("read", part())),
    session("an unknown session anew", 77, 0, of("read", part())),
    session("an epoch without a session", 0, 5, of("read", part())),
    session("an epoch below -1", 0, -2, of("read", part())),
    session("a session of nothing", 0, 0),
    session("a session by names", 0, 0, of("read", part(0, 6)), versions=[7], save={"named": ["SessionId"]}),
    session("a session by names goes on", Saved("named"), 1, versions=[7]),
    session("a session by names with ids", Saved("named"), 2, versions=[13]),
    session("a session ends", OPENED, -1),
    session("a session that has ended", OPENED, 13),
]

STEPS = FILLED + PLAIN + SESSIONS
