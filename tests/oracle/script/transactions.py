"""Transactions: producers that begin, write, end, fence each other and come back; what readers of committed records see meanwhile."""

from peer import Batch, Saved
from records import CONTROL, TRANSACTIONAL

from .commits import at, delete as delete_offsets, fetch as fetch_offsets, of as offsets_of, wanted, without
from .consume import fetch, of, part
from .groups import NOBODY, Group
from .members import coordinator, groups_deleted
from .offsets import at as place, offsets
from .produce import init_producer, produce, to
from .step import ALL, LAST, ask, create, given_up, topic

MINUTE_MS = 60_000


def at_most(version, last):
    return [min(version, last)]


class Producer:
    """A transactional id, and what its producers ask. Unless it is said otherwise they are the one that was told last."""

    def __init__(self, name, topic_=None):
        self.name = name
        self.topic = topic_ or name
        self.id, self.epoch = Saved(f"{name} id"), Saved(f"{name} epoch")

    def before(self, count=1):
        """The epoch before the present one."""
        return Saved(self.epoch.name, -count)

    def init(self, tell, versions=LAST, timeout=MINUTE_MS, keeps=True, **values):
        save = {self.id.name: ["ProducerId"], self.epoch.name: ["ProducerEpoch"]} if keeps else None
        return init_producer(f"{self.name}: {tell}", versions, save, TransactionalId=self.name, TransactionTimeoutMs=timeout, **values)

    def identity(self, id_, epoch):
        return {"ProducerId": self.id if id_ is None else id_, "ProducerEpoch": self.epoch if epoch is None else epoch}

    def add(self, tell, *topics, versions=LAST, id_=None, epoch=None, verify=False, name=None):
        """Partitions, of its topic the first if none is said."""
        name = self.name if name is None else name
        topics = [{"Name": topic_, "Partitions": list(partitions)} for topic_, *partitions in topics or [(self.topic, 0)]]
        own = self.identity(id_, epoch)
        values = {
            "V3AndBelowTransactionalId": name, "V3AndBelowProducerId": own["ProducerId"], "V3AndBelowProducerEpoch": own["ProducerEpoch"],
            "V3AndBelowTopics": topics, "Transactions": [{"TransactionalId": name, "VerifyOnly": verify, "Topics": topics, **own}],
        }
        return ask(f"AddPartitionsToTxn: {self.name}: {tell}", "AddPartitionsToTxn", values, versions)

    def write(self, tell, sequence, count=1, partition=0, versions=LAST, id_=None, epoch=None, flags=TRANSACTIONAL, name=None, **parts):
        own = self.identity(id_, epoch)
        batch = Batch(values=[b"%d" % n for n in range(count)], producer=(own["ProducerId"], own["ProducerEpoch"], sequence), flags=flags, **parts)
        name = self.name if name is None else name or None
        return produce(f"{self.name}: {tell}", to(self.topic, batch, partition=partition), versions=versions, transaction=name)

    def end(self, tell, committed, versions=LAST, id_=None, epoch=None, keeps=None, name=None):
        """Ends a transaction; from version 5 on the answer tells who goes on, if it is no refusal."""
        keeps = (versions == LAST or list(versions) == [5]) if keeps is None else keeps
        save = {self.id.name: ["ProducerId"], self.epoch.name: ["ProducerEpoch"]} if keeps else {}
        values = {"TransactionalId": self.name if name is None else name, "Committed": committed, **self.identity(id_, epoch)}
        return ask(f"EndTxn: {self.name}: {tell}", "EndTxn", values, versions, save=save)

    def refuse_end(self, tell, committed, versions=LAST, **rest):
        return self.end(tell, committed, versions, keeps=False, **rest)

    def add_offsets(self, tell, group, versions=LAST, id_=None, epoch=None, name=None):
        values = {"TransactionalId": self.name if name is None else name, "GroupId": group, **self.identity(id_, epoch)}
        return ask(f"AddOffsetsToTxn: {self.name}: {tell}", "AddOffsetsToTxn", values, versions)

    def commit_offsets(self, tell, group, *topics, versions=LAST, id_=None, epoch=None, name=None, **rest):
        values = {"TransactionalId": self.name if name is None else name, "GroupId": group,
                  "Topics": [without(topic_, "TopicId") for topic_ in topics], **self.identity(id_, epoch), **rest}
        return ask(f"TxnOffsetCommit: {self.name}: {tell}", "TxnOffsetCommit", values, versions)

    def describe(self, tell, until=None):
        way = ["TransactionStates", 0, "TransactionState"]
        return ask(f"DescribeTransactions: {self.name}: {tell}", "DescribeTransactions", {"TransactionalIds": [self.name]},
                   until=until and (way, until))

    def seen(self, tell, partition=0):
        """What readers see of its topic, of all records and of committed ones; where it ends for each; and who writes to it."""
        tell = f"{self.name}: {tell}"
        return [
            fetch(f"{tell}, all", of(self.topic, part(partition))),
            fetch(f"{tell}, committed", of(self.topic, part(partition)), versions=[4, 18], IsolationLevel=1),
            *(offsets(f"{tell}, {what} {level}", place(self.topic, time, partition=partition), versions=[10], IsolationLevel=level)
              for time, what in ((-1, "end"), (-3, "largest time")) for level in (0, 1)),
            ask(f"DescribeProducers: {tell}", "DescribeProducers", {"Topics": [{"Name": self.topic, "PartitionIndexes": [partition]}]}),
        ]


def in_version(version):
    """Transactions that commit, abort and are empty, in each version of what asks for them."""
    producer = Producer(f"tx-{version}")
    end, add, write = at_most(version, 5), at_most(version, 5), [version + 8]
    bumps = version == 5
    return [
        producer.describe("before it began"),
        producer.init("begins", at_most(version, 5)),
        producer.describe("it has begun"),
        producer.refuse_end("commit of nothing", True, end),
        producer.end("abort of nothing", False, end) if bumps else producer.refuse_end("abort of nothing", False, end),
        producer.describe("after ends of nothing"),
        producer.add("two partitions", (producer.topic, 0, 1), versions=add),
        producer.add("the same again", (producer.topic, 1), versions=add),
        producer.describe("two partitions"),
        *producer.seen("before it has written"),
        producer.write("two records", 0, 2, versions=write),
        producer.write("another", 2, versions=write),
        producer.write("the same again", 2, versions=write),
        *producer.seen("it has written"),
        producer.end("commit", True, end),
        *([] if bumps else [producer.refuse_end("commit again", True, end), producer.refuse_end("abort after a commit", False, end)]),
        *([producer.end("commit again, by the epoch before", True, end, epoch=producer.before()),
           producer.refuse_end("abort after a commit, by the epoch before", False, end, epoch=producer.before()),
           producer.refuse_end("commit again, by the epoch now", True, end)] if bumps else []),
        producer.describe("committed"),
        *producer.seen("committed"),
        producer.add("the next", versions=add),
        producer.write("one that is aborted", 0 if bumps else 3, versions=write),
        producer.end("abort", False, end),
        *([producer.end("abort again, by the epoch before", False, end, epoch=producer.before()),
           producer.refuse_end("commit after an abort, by the epoch before", True, end, epoch=producer.before()),
           producer.end("abort again, by the epoch now", False, end)] if bumps else
          [producer.refuse_end("abort again", False, end), producer.refuse_end("commit after an abort", True, end)]),
        producer.describe("aborted"),
        *producer.seen("aborted"),
        producer.add("of nothing written", (producer.topic, 1), versions=add),
        producer.end("commit of nothing written", True, end),
        producer.describe("nothing written"),
        *producer.seen("nothing written", 1),
        producer.init("anew", at_most(version, 5)),
        producer.refuse_end("commit after it began anew", True, end),
        producer.describe("anew"),
    ]


def refused():
    """What cannot be, in every version."""
    producer, nobody = Producer("tx-refused"), Producer("tx-nobody", "tx-refused")
    return [
        *(producer.init(f"a timeout of {timeout}", ALL if timeout == 0 else LAST, timeout, keeps=False) for timeout in (0, -1, 900_001, -(2**31))),
        producer.init("the longest timeout", timeout=900_000),
        init_producer("a timeout of 0 and an empty id", TransactionalId="", TransactionTimeoutMs=0),
        producer.init("an id without an epoch", range(3, 6), keeps=False, ProducerId=5),
        producer.init("an epoch without an id", range(3, 6), keeps=False, ProducerEpoch=5),
        nobody.init("as who it never was", range(3, 6), ProducerId=4711, ProducerEpoch=3),
        Producer("ein Name — ☃").init("of a strange name"),
        *(step for versions in [range(6)] for step in (
            producer.add("nobody knows the id", versions=versions, name="tx-unknown"),
            producer.add("of no id", versions=versions, name=""),
            producer.add("another producer", versions=versions, id_=4711),
            producer.add("an epoch to come", versions=versions, epoch=Saved(producer.epoch.name, 1)),
            producer.add("an epoch below 0", versions=versions, epoch=-1),
            producer.add("a missing topic", ("missing", 0), versions=versions),
            producer.add("a missing partition and one that is there", (producer.topic, 0, 9), versions=versions),
            producer.add("nothing of a topic", (producer.topic,), versions=versions),
            producer.add("a topic twice", (producer.topic, 0), (producer.topic, 1), versions=versions),
            producer.refuse_end("abort, to be clean", False, versions=[4]),
        )),
        producer.add("what is there, by who only asks", versions=[4, 5], verify=True),
        producer.add("for one that asks later", versions=[3]),
        producer.add("what is in it, by who only asks", versions=[4, 5], verify=True),
        producer.add("what is not in it, by who only asks", (producer.topic, 0, 1), versions=[4, 5], verify=True),
        producer.add("by who only asks, and is another", versions=[4, 5], verify=True, id_=4711),
        producer.add("by who only asks, of an epoch to come", versions=[4, 5], verify=True, epoch=7),
        producer.add("by who only asks, of nobody", versions=[4, 5], verify=True, name="tx-unknown"),
        ask("AddPartitionsToTxn: several, one of them unknown", "AddPartitionsToTxn", {"Transactions": [
            {"TransactionalId": producer.name, "VerifyOnly": True, "Topics": [{"Name": producer.topic, "Partitions": [0]}], **producer.identity(None, None)},
            {"TransactionalId": "tx-unknown", "Topics": [{"Name": producer.topic, "Partitions": [0, 1]}], **producer.identity(None, None)},
        ]}, [4, 5]),
        *given_up(ask("AddPartitionsToTxn: of nobody", "AddPartitionsToTxn", {"Transactions": []}, [5])),
        *(step for versions in [range(6)] for step in (
            producer.refuse_end("nobody knows the id", True, versions, name="tx-unknown"),
            producer.refuse_end("of no id", True, versions, name=""),
            producer.refuse_end("another producer", True, versions, id_=4711),
            producer.refuse_end("an epoch to come", True, versions, epoch=7),
            producer.refuse_end("an epoch below 0", True, versions, epoch=-1),
            producer.refuse_end("an epoch before", True, versions, epoch=producer.before()),
        )),
        producer.end("abort in the end", False),
        *(step for versions in [range(5)] for step in (
            producer.add_offsets("nobody knows the id", "tx-group", versions, name="tx-unknown"),
            producer.add_offsets("of no id", "tx-group", versions, name=""),
            producer.add_offsets("another producer", "tx-group", versions, id_=4711),
            producer.add_offsets("an epoch to come", "tx-group", versions, epoch=9),
            producer.add_offsets("of no group", "", versions),
            producer.refuse_end("abort, to be clean of offsets", False, versions=[4]),
        )),
        producer.describe("after all this"),
    ]


def fenced():
    """A producer shuts out the one before it; one recovers (KIP-360)."""
    producer = Producer("tx-fenced")
    before = {"epoch": producer.before()}
    return [
        producer.init("the first"),
        producer.init("the second"),
        producer.add("by the first", versions=ALL, **before),
        producer.add_offsets("by the first", "tx-group", ALL, **before),
        producer.write("by the first", 0, versions=ALL, **before),
        producer.refuse_end("by the first", True, ALL, **before),
        producer.commit_offsets("by the first", "tx-group", offsets_of("off", at()), versions=ALL, **before),
        producer.init("the first recovers, too late", range(3, 6), keeps=False, ProducerId=producer.id, ProducerEpoch=producer.before()),
        producer.init("of an epoch to come", range(3, 6), keeps=False, ProducerId=producer.id, ProducerEpoch=Saved(producer.epoch.name, 5)),
        producer.init("of another id", range(3, 6), keeps=False, ProducerId=4711, ProducerEpoch=producer.epoch),
        producer.init("of an epoch below 0", range(3, 6), keeps=False, ProducerId=producer.id, ProducerEpoch=-2),
        producer.init("the second recovers", [4], ProducerId=producer.id, ProducerEpoch=producer.epoch),
        producer.init("it recovers again by the epoch before", [4], ProducerId=producer.id, ProducerEpoch=producer.before()),
        producer.init("it recovers by one still before", [3, 4, 5], keeps=False, ProducerId=producer.id, ProducerEpoch=producer.before(2)),
        producer.describe("after it recovered"),
        producer.write("by who recovered", 0, versions=[12]),
        producer.init("the third, while there is a transaction"),
        producer.describe("after the third came"),
        *producer.seen("aborted, as another came"),
        producer.write("by who was fenced in its transaction", 1, versions=range(3, 14), epoch=producer.before(2)),
        producer.write("by who fenced it, which nobody was told", 0, versions=[11, 12], epoch=producer.before()),
        producer.write("by the third", 0),
        producer.init("the third recovers in its transaction", ProducerId=producer.id, ProducerEpoch=producer.epoch),
        producer.describe("after it recovered in its transaction"),
        *producer.seen("aborted, as it recovered"),
    ]


def written():
    """Records in and out of transactions."""
    producer, other = Producer("tx-writes"), Producer("tx-other", "tx-writes")
    return [
        producer.init("begins"),
        other.init("begins"),
        *(producer.write("what was never added", 0, versions=[version]) for version in [3]),
        producer.write("what was never added, in later versions", 0, versions=range(4, 12)),
        producer.describe("nothing was added"),
        producer.write("out of order at first", 5, versions=[12]),
        producer.describe("out of order at first"),
        producer.refuse_end("abort what was out of order", False, [4]),
        producer.write("added by the broker", 0, versions=[12]),
        producer.write("added by the broker to another", 0, 3, partition=1, versions=[13]),
        producer.write("out of order", 5),
        producer.write("repeated", 0),
        producer.write("without being of the transaction", 1, flags=0),
        producer.write("without a transactional id", 1, name=""),
        producer.write("in the name of another", 1, name=other.name),
        producer.write("in the name of nobody", 1, name="tx-unknown"),
        producer.write("a control batch", 1, flags=TRANSACTIONAL | CONTROL),
        producer.write("an epoch to come", 0, epoch=Saved(producer.epoch.name, 1), versions=[11, 12]),
        producer.write("an epoch to come, from the middle", 4, epoch=Saved(producer.epoch.name, 1), versions=[11, 12]),
        producer.describe("two partitions"),
        other.write("by another into the same", 0, 2),
        produce("tx-writes: by nobody into the same", to("tx-writes", Batch(values=[b"plain"]))),
        *producer.seen("two transactions"),
        producer.end("commit", True),
        *producer.seen("one transaction"),
        *producer.seen("the other partition", 1),
        fetch("committed ones from within", of("tx-writes", part(0, 2)), IsolationLevel=1),
        other.end("abort", False),
        *producer.seen("no transaction"),
        fetch("committed ones from behind an abort", of("tx-writes", part(0, 5)), IsolationLevel=1),
        fetch("committed ones, one byte", of("tx-writes", part(0, 0, 1)), IsolationLevel=1),
        producer.write("the next, from the first sequence", 0),
        producer.write("by the epoch before", 1, versions=[11, 12], epoch=producer.before()),
        producer.end("abort", False),
        *producer.seen("the second aborted"),
        producer.write("the sequence goes on where it must not", 1),
        producer.end("abort what was not written", False),
        producer.describe("in the end"),
    ]


def read():
    """Offsets that are committed in transactions."""
    producer, group = Producer("tx-offsets"), Group("tx-members")
    some, place_ = offsets_of("off", at(0, 11, "in")), wanted("off", 0, 1)
    both = [fetch_offsets(f"pending {{}}", "tx-group", place_, versions=range(1, 11)), fetch_offsets("pending {}, stable", "tx-group", place_, versions=range(7, 11), stable=True)]

    def looked(tell):
        for step in both:
            yield fetch_offsets(step.name.removeprefix("OffsetFetch: ").format(tell), "tx-group", place_, versions=step.versions,
                                stable=step.values["RequireStable"])
        yield fetch_offsets(f"pending {tell}, everything stable", "tx-group", everything=True, versions=range(7, 11), stable=True)

    steps = [producer.init("begins")]
    for version in range(6):
        end = [5 if version == 5 else 4]
        steps += [
            *([] if version == 5 else [
                producer.commit_offsets(f"of a group that was not added, in version {version}", "tx-group", some, versions=[version]),
                producer.add_offsets(f"before version {version}", "tx-group", [min(version, 4)])]),
            producer.commit_offsets(f"in version {version}", "tx-group", offsets_of("off", at(0, 100 + version, "m")), versions=[version]),
            producer.describe(f"in version {version}"),
            *(looked(f"in version {version}") if version in (0, 5) else []),
            producer.end(f"commit of version {version}", True, end),
            *looked(f"after version {version}"),
        ]
    return [
        *steps,
        producer.commit_offsets("what is aborted", "tx-group", offsets_of("off", at(0, 999), at(1, 998))),
        *looked("to be aborted"),
        delete_offsets("of what is pending", "tx-group", ("off", 1)),
        producer.end("abort", False),
        *looked("aborted"),
        producer.commit_offsets("to a group without a name", "", some, versions=ALL),
        producer.commit_offsets("of a missing topic", "tx-group", offsets_of("missing", at()), versions=ALL),
        producer.commit_offsets("of a missing topic twice", "tx-group", offsets_of("missing", at()), offsets_of("missing", at(1)), offsets_of("off", at())),
        producer.commit_offsets("of a missing partition and one that is there", "tx-group", offsets_of("off", at(0, 5), at(9))),
        producer.commit_offsets("of a topic twice", "tx-group", offsets_of("off", at(0, 6)), offsets_of("off", at(1, 7))),
        producer.commit_offsets("of nothing", "tx-group", versions=ALL),
        producer.commit_offsets("metadata that is too large", "tx-group", offsets_of("off", at(0, 8, "x" * 4097), at(1, 9))),
        producer.commit_offsets("by nobody", "tx-group", some, versions=ALL, name="tx-unknown"),
        producer.commit_offsets("of no id", "tx-group", some, versions=ALL, name=""),
        producer.commit_offsets("another producer", "tx-group", some, versions=ALL, id_=4711),
        producer.commit_offsets("a producer below 0", "tx-group", some, versions=ALL, id_=-1),
        producer.commit_offsets("an epoch to come", "tx-group", some, versions=ALL, epoch=99),
        producer.commit_offsets("a generation of a simple group", "tx-group", some, GenerationId=3, versions=[3, 5]),
        producer.commit_offsets("a member of a simple group", "tx-group", some, MemberId=NOBODY),
        producer.commit_offsets("a generation of a group that is not there", "tx-no-group", some, GenerationId=0),
        groups_deleted("one with pending offsets", "tx-group"),
        producer.end("commit after its group went", True),
        *looked("after its group went"),
        *group.alone(),
        producer.commit_offsets("by a member", group.name, some, GenerationId=1, MemberId=group.id("a"), versions=[5]),
        producer.commit_offsets("of a generation to come", group.name, some, GenerationId=2, MemberId=group.id("a"), versions=[3, 5]),
        producer.commit_offsets("by another member", group.name, some, GenerationId=1, MemberId=NOBODY, versions=[3, 5]),
        producer.commit_offsets("by a member with an instance", group.name, some, GenerationId=1, MemberId=group.id("a"), GroupInstanceId="i"),
        producer.commit_offsets("by no member", group.name, some),
        producer.commit_offsets("by a member without a generation", group.name, some, MemberId=group.id("a")),
        producer.end("commit of a member", True),
        fetch_offsets("of a member's transaction", group.name, everything=True, stable=True),
        group.leave("a leaves", "a"),
    ]


def listed(name, versions=LAST, states=(), ids=(), duration=-1, pattern=None):
    values = {"StateFilters": list(states), "ProducerIdFilters": list(ids), "DurationFilter": duration, "TransactionalIdPattern": pattern}
    return ask(f"ListTransactions: {name}", "ListTransactions", values, versions)


def markers(name, *markers_, versions=(1,)):
    """(producer, epoch, whether it commits, coordinator epoch, topics) each."""
    markers_ = [
        {"ProducerId": id_, "ProducerEpoch": epoch, "TransactionResult": committed, "CoordinatorEpoch": coordinator_,
         "Topics": [{"Name": topic_, "PartitionIndexes": list(partitions)} for topic_, *partitions in topics]}
        for id_, epoch, committed, coordinator_, topics in markers_
    ]
    return ask(f"WriteTxnMarkers: {name}", "WriteTxnMarkers", {"Markers": markers_}, versions)


def administered():
    """Transactions as administrators see them, and end them."""
    open_, slow = Producer("tx-open"), Producer("tx-slow")
    epoch = open_.epoch
    return [
        open_.init("begins"),
        open_.init("begins again"),
        open_.write("one", 0),
        *(listed(f"in state {state}", ALL, [state]) for state in ("Ongoing", "Empty")),
        *(listed(f"in state {state}", states=[state])
          for state in ("CompleteCommit", "CompleteAbort", "PrepareCommit", "PrepareAbort", "PrepareEpochFence", "Dead", "ongoing", "none", "")),
        listed("in a state and none", ALL, ["Ongoing", "none"]),
        listed("all", ALL),
        listed("of a producer", ids=[open_.id]),
        listed("of a producer in another state", ids=[open_.id], states=["Empty"]),
        listed("of nobody", ids=[4711, -1]),
        listed("for long", [1, 2], duration=3_600_000),
        listed("at all", [1, 2], duration=0, states=["Ongoing"]),
        listed("below 0", [1, 2], duration=-5, states=["Ongoing"]),
        *(listed(f"by a pattern {pattern}", [2], pattern=pattern) for pattern in ("tx-open", "tx-o.*", "open", ".*open", "", "(", "tx-(open|slow)", "*")),
        ask("DescribeTransactions: several", "DescribeTransactions", {"TransactionalIds": ["tx-open", "tx-unknown", "", "tx-open"]}),
        ask("DescribeTransactions: nothing", "DescribeTransactions"),
        *open_.seen("open"),
        markers("of a missing topic", (open_.id, epoch, True, 0, [("missing", 0)])),
        markers("of a missing partition", (open_.id, epoch, True, 0, [("tx-open", 9, -1)])),
        markers("of nothing", (open_.id, epoch, True, 0, [])),
        markers("none"),
        markers("of an epoch before", (open_.id, Saved(epoch.name, -1), False, 0, [("tx-open", 0)])),
        markers("of an epoch below 0", (open_.id, -1, False, 0, [("tx-open", 0)])),
        markers("of a coordinator before", (open_.id, epoch, False, -1, [("tx-open", 0)])),
        markers("of who never wrote", (4711, 0, False, 0, [("tx-open", 0)])),
        markers("an abort", (open_.id, epoch, False, 0, [("tx-open", 0, 1)])),
        *open_.seen("ended by its marker"),
        markers("an abort again", (open_.id, epoch, False, 0, [("tx-open", 0)])),
        markers("a commit of an epoch to come", (open_.id, Saved(epoch.name, 3), True, 5, [("tx-open", 0)])),
        markers("of a coordinator that is gone", (open_.id, Saved(epoch.name, 3), True, 4, [("tx-open", 0)])),
        markers("of two producers", (4712, 0, False, 9, [("tx-open", 0)]), (4713, 1, True, 9, [("tx-open", 1), ("missing", 0)])),
        *open_.seen("after markers of others"),
        open_.describe("of which its coordinator knows nothing"),
        slow.init("begins, and has little time", timeout=400),
        slow.write("one", 0),
        slow.describe("open"),
        slow.describe("its time is over", until="CompleteAbort"),
        *slow.seen("its time is over"),
        slow.write("too late", 1, versions=[11, 12]),
        slow.add("too late", versions=ALL),
        slow.refuse_end("too late", True, ALL),
        slow.init("too late, as who it was", keeps=False, ProducerId=slow.id, ProducerEpoch=slow.epoch),
        slow.init("begins anew"),
        slow.write("one, anew", 0),
        slow.end("commit", True),
        *slow.seen("anew"),
        listed("in the end"),
    ]


BEGUN = [
    # Old records and markers of now are to stand in one segment.
    create("those that transactions write to", *(topic(f"tx-{name}", 2, 1, [("segment.ms", "1000000000000000")]) for name in (
        *range(6), "refused", "fenced", "writes", "open", "slow"))),
    coordinator("of transactions that begin", "tx", kind=1),
    coordinator("of groups that transactions read for", "tx"),
]
HISTORIES = [refused, fenced, written, read, administered]
STEPS = [*BEGUN, *(step for version in range(6) for step in in_version(version)), *(step for history in HISTORIES for step in history())]
