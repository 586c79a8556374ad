"""Consumer groups of KIP-848: members that beat, are assigned by the broker, and are fenced; and classic members beside them."""

from peer import Saved, TopicId

from .commits import at, commit, fetch, of, wanted
from .configs import SET, describe as describe_configs, incremental
from .groups import NOBODY, Group
from .members import coordinator, groups_deleted, groups_described, groups_listed
from .step import ALL, LAST, ask, create, topic
from .topics import SOME_ID

GROUP = 32
ALONE, STATIC = -1, -2


def owned(*partitions, of_="con", id_=None):
    """Partitions that a member says it has."""
    return {"TopicId": TopicId(of_) if id_ is None else id_, "Partitions": list(partitions)}


class Consumers:
    """A group of the new protocol. Members choose their ids, as clients do since version 1."""

    def __init__(self, name):
        self.name = name

    def beat(self, tell, who, epoch, version=LAST, id_=None, **values):
        versions = [version] if isinstance(version, int) else version
        values = {"GroupId": self.name, "MemberId": f"{who}-id" if id_ is None else id_, "MemberEpoch": epoch, **values}
        return ask(f"ConsumerGroupHeartbeat: {self.name}: {tell}", "ConsumerGroupHeartbeat", values, versions, client=who)

    def join(self, tell, who, topics=("con",), **values):
        values = {"RebalanceTimeoutMs": 30_000, "SubscribedTopicNames": None if topics is None else list(topics), "TopicPartitions": [], **values}
        return self.beat(tell, who, 0, **values)

    def leave(self, tell, who, **values):
        return self.beat(f"{tell} (leaving)", who, ALONE, **values)

    def describe(self, tell, versions=LAST, until=None, epoch=None):
        way = ["Groups", 0, "GroupState" if epoch is None else "GroupEpoch"]
        until = until or epoch
        values = {"GroupIds": [self.name], "IncludeAuthorizedOperations": True}
        return ask(f"ConsumerGroupDescribe: {self.name}: {tell}", "ConsumerGroupDescribe", values, versions, until=until and (way, until))


def alone():
    """One member, from its coming to its going."""
    group = Consumers("con-alone")
    return [
        group.describe("before there is anybody", ALL),
        group.beat("before it has joined", "a", 1),
        group.leave("before it has joined", "a"),
        group.join("a joins", "a"),
        group.describe("a has joined", ALL),
        group.beat("nothing new", "a", 1),
        group.beat("what it has", "a", 1, TopicPartitions=[owned(0, 1, 2, 3)]),
        group.beat("all that it is", "a", 1, RebalanceTimeoutMs=30_000, SubscribedTopicNames=["con"], TopicPartitions=[owned(0, 1, 2, 3)]),
        group.beat("of the epoch before", "a", 0),
        group.join("joins again", "a"),
        group.beat("of an epoch to come", "a", 7),
        group.beat("of an epoch below all", "a", -3),
        group.beat("of another member", "a", 1, id_="nobody"),
        group.beat("another subscription", "a", 1, SubscribedTopicNames=["con", "con-2"], TopicPartitions=[owned(0, 1, 2, 3)]),
        group.beat("what it has of both", "a", 2, TopicPartitions=[owned(0, 1, 2, 3), owned(0, of_="con-2")]),
        group.beat("of the epoch before, with what it has", "a", 1, TopicPartitions=[owned(0, 1, 2, 3), owned(0, of_="con-2")]),
        group.beat("of the epoch before, with more than it has", "a", 1, TopicPartitions=[owned(0, 1, 2, 3, 7)]),
        group.describe("another subscription", ALL),
        group.beat("a topic that is missing", "a", 2, SubscribedTopicNames=["missing", "con-2"]),
        group.beat("what it has still", "a", 3, TopicPartitions=[owned(0, of_="con-2")]),
        group.beat("no topics", "a", 3, SubscribedTopicNames=[]),
        group.beat("it has nothing", "a", 4, TopicPartitions=[]),
        group.describe("it reads nothing"),
        group.beat("by another way of assigning", "a", 4, ServerAssignor="range", SubscribedTopicNames=["con"]),
        group.beat("by a way that is none", "a", 5, ServerAssignor="none"),
        group.describe("by another way"),
        group.beat("a time below 0", "a", 5, RebalanceTimeoutMs=-5),
        group.beat("another rack", "a", 5, RackId="r1"),
        group.beat("an empty rack", "a", 5, RackId=""),
        group.leave("a leaves", "a"),
        group.leave("a leaves again", "a"),
        group.beat("after it left", "a", 5),
        group.describe("nobody is left", ALL),
        group.join("a is back", "a"),
        group.leave("a leaves for good", "a"),
    ]


def drawn():
    """Before version 1 the broker draws the ids."""
    group = Consumers("con-drawn")
    member = Saved("con-drawn/a")
    joins = group.join("a joins", "a", version=0, id_="")
    joins.save["con-drawn/a"] = ["MemberId"]
    return [
        joins,
        group.beat("nothing new", "a", 1, 0, member),
        group.beat("what it has", "a", 1, 0, member, TopicPartitions=[owned(0, 1, 2, 3)]),
        group.describe("an id that was drawn"),
        group.beat("no id behind the first epoch", "a", 1, 0, ""),
        group.join("an id of its own", "b", version=0),
        group.leave("a leaves", "a", version=0, id_=member),
        group.leave("b leaves", "b", version=0),
    ]


def together():
    """What one has another is given only when it has let it go."""
    group = Consumers("con-two")
    return [
        group.join("a joins", "a"),
        group.beat("a has all", "a", 1, TopicPartitions=[owned(0, 1, 2, 3)]),
        group.join("b joins", "b"),
        group.describe("b waits"),
        group.beat("b waits", "b", 2, TopicPartitions=[]),
        group.beat("a is to let some go", "a", 1),
        group.describe("a is to let some go"),
        group.beat("a has all still", "a", 1, TopicPartitions=[owned(0, 1, 2, 3)]),
        group.beat("a has let some go", "a", 1, TopicPartitions=[owned(0, 1)]),
        group.beat("b is given the rest", "b", 2, TopicPartitions=[]),
        group.beat("b has the rest", "b", 2, TopicPartitions=[owned(2, 3)]),
        group.beat("a has its own", "a", 2, TopicPartitions=[owned(0, 1)]),
        group.describe("each has its own", ALL),
        group.beat("a has what is not its own", "a", 2, TopicPartitions=[owned(0, 1, 2)]),
        group.beat("a has what is not there", "a", 2, TopicPartitions=[owned(0, id_=SOME_ID)]),
        commit("of a member", group.name, of("con", at(0, 5)), generation=2, member="a-id", versions=range(8, 11)),
        commit("of a member, in versions before", group.name, of("con", at(0, 5)), generation=2, member="a-id", versions=range(2, 8)),
        commit("of a member of the epoch before", group.name, of("con", at(0, 6)), generation=1, member="a-id", versions=range(2, 11)),
        commit("of a member of an epoch to come", group.name, of("con", at(0, 6)), generation=3, member="a-id", versions=[2, 8, 9, 10]),
        commit("of no member of the group", group.name, of("con", at(0, 6)), generation=2, member="nobody", versions=[2, 8, 9, 10]),
        commit("of nobody while there are consumers", group.name, of("con", at(0, 6)), versions=[2, 8, 9, 10]),
        fetch("of a consumer", group.name, wanted("con", 0), versions=[8, 9, 10], MemberId="a-id", MemberEpoch=2),
        fetch("of a consumer of the epoch before", group.name, wanted("con", 0), versions=[9, 10], MemberId="a-id", MemberEpoch=1),
        fetch("of a consumer of an epoch to come", group.name, wanted("con", 0), versions=[9, 10], MemberId="a-id", MemberEpoch=9),
        fetch("of no consumer of the group", group.name, wanted("con", 0), versions=[9, 10], MemberId="nobody", MemberEpoch=2),
        fetch("of nobody while there are consumers", group.name, wanted("con", 0), versions=range(1, 11)),
        groups_deleted("one with consumers", group.name),
        groups_listed("consumers", types=["consumer"]),
        groups_described("of consumers, as classic ones", group.name, versions=ALL),
        group.leave("a leaves", "a"),
        group.beat("b is given all", "b", 2, TopicPartitions=[owned(2, 3)]),
        group.describe("b has all"),
        group.leave("b leaves", "b"),
        commit("of nobody after consumers", group.name, of("con", at(0, 7)), versions=[2, 8, 9, 10]),
        fetch("of nobody after consumers", group.name, everything=True),
        groups_deleted("one that consumers have left", group.name),
        group.describe("it is gone", ALL),
    ]


def static():
    """Static members: for a while away, back, fenced."""
    group = Consumers("con-static")
    return [
        group.join("a joins", "a", InstanceId="i"),
        group.describe("a static one"),
        group.beat("without its instance", "a", 1),
        group.beat("with another instance", "a", 1, InstanceId="j"),
        group.join("b is the same instance", "b", InstanceId="i"),
        group.beat("a goes for a while", "a", STATIC, InstanceId="i"),
        group.describe("a is away"),
        group.join("b is back in its place", "b", InstanceId="i"),
        group.describe("b is there in its place"),
        group.beat("a is fenced", "a", 1, InstanceId="i"),
        group.beat("a goes for a while, fenced", "a", STATIC, InstanceId="i"),
        group.leave("a leaves, fenced", "a", InstanceId="i"),
        group.beat("b lives", "b", 1, InstanceId="i"),
        group.beat("c goes for a while, and is no static one", "c", STATIC),
        group.beat("an instance that is none goes for a while", "c", STATIC, InstanceId="x"),
        commit("of a static consumer", group.name, of("con", at(0, 5)), generation=1, member="b-id", instance="i", versions=[8, 10]),
        groups_described("static", group.name),
        group.leave("b leaves", "b", InstanceId="i"),
        group.describe("nobody is left"),
    ]


def refused():
    """What cannot be."""
    group, nameless = Consumers("con-refused"), Consumers("")
    return [
        *(nameless.join(f"no group, in version {version}", "a", version=version) for version in (0, 1)),
        *(nameless.describe(f"no group, in version {version}", [version]) for version in (0, 1)),
        group.join("no member", "a", id_=""),
        group.join("a blank member", "a", id_=" "),
        group.join("no topics told", "a", topics=None),
        group.join("no topics at all", "a", topics=(), version=0),
        group.leave("no topics at all", "a"),
        group.join("no time to rebalance", "a", RebalanceTimeoutMs=-1),
        group.join("a time of 0", "a", RebalanceTimeoutMs=0),
        group.join("what it has is not told", "a", TopicPartitions=None),
        group.join("it has something already", "a", TopicPartitions=[owned(0)]),
        group.join("an empty instance", "a", InstanceId=""),
        group.join("an empty rack", "a", RackId=""),
        group.join("an empty way of assigning", "a", ServerAssignor=""),
        group.join("a way of assigning that is none", "a", ServerAssignor="none"),
        group.join("an empty topic", "a", topics=("",)),
        group.leave("an empty topic", "a"),
        group.join("a bad topic", "a", topics=("a b",)),
        group.leave("a bad topic", "a"),
        group.join("a topic twice", "a", topics=("con", "con")),
        group.leave("a topic twice", "a"),
        group.beat("the first epoch below all", "a", -5),
        group.beat("away without an instance", "a", STATIC),
        group.describe("after what was refused"),
        ask("ConsumerGroupDescribe: several", "ConsumerGroupDescribe", {"GroupIds": ["con-two", "missing", "con-refused", "missing", ""]}, ALL),
        ask("ConsumerGroupDescribe: nothing", "ConsumerGroupDescribe", {}, ALL),
    ]


def expressions():
    """Topics by an expression, which the broker looks up beside its answers."""
    group, wrong = Consumers("con-regex"), Consumers("con-wrong")
    return [
        wrong.join("an expression that is none", "a", topics=None, SubscribedTopicRegex="("),
        wrong.join("an empty expression", "a", topics=None, SubscribedTopicRegex=""),
        wrong.describe("an empty expression"),
        wrong.leave("an empty expression", "a"),
        group.join("an expression", "a", topics=None, SubscribedTopicRegex="con-[0-9]"),
        group.describe("an expression", epoch=2),
        group.beat("what it is", "a", 1),
        group.beat("what it has", "a", 2, TopicPartitions=[owned(0, of_="con-2")]),
        group.join("b has the same expression", "b", topics=None, SubscribedTopicRegex="con-[0-9]"),
        group.describe("b has the same expression"),
        group.beat("topics besides", "b", 3, SubscribedTopicNames=["con"]),
        group.describe("topics besides"),
        group.beat("no expression", "b", 4, SubscribedTopicRegex=""),
        group.describe("no expression"),
        group.leave("b leaves", "b"),
        group.leave("a leaves", "a"),
    ]


def beside():
    """Classic members in a consumer group, and consumers in a classic one."""
    classic, consumers = Group("con-classic"), Consumers("con-classic")
    both = Consumers("con-both")
    joins = Group("con-both")
    return [
        *classic.alone(),
        consumers.describe("a classic group"),
        consumers.beat("a member of a classic group beats", "a", 1, id_=classic.id("a")),
        consumers.leave("a stranger leaves a classic group", "b"),
        classic.leave("a leaves", "a"),
        consumers.join("a consumer comes to an empty classic group", "b"),
        consumers.describe("it is a group of consumers now"),
        classic.refused("a classic member under an id of its own", "c", id_=NOBODY),
        classic.heartbeat("a consumer beats as a classic member", "b", 1, "b-id"),
        classic.sync("a consumer asks as a classic member", "b", 1, id_="b-id"),
        classic.leave("a stranger leaves as a classic member", "c", id_="nobody"),
        classic.refused("of another type", "c", id_="", ProtocolType="connect"),
        consumers.leave("b leaves", "b"),
        classic.leave("the classic member leaves", "c", id_=NOBODY),
        both.join("a joins", "a"),
        both.leave("a leaves", "a"),
        joins.refused("a classic member comes to an empty group of consumers", "c", id_="", instance="i"),
        joins.leave("the classic member leaves", "c", ("", "i")),
        groups_listed("what they became", types=["classic", "consumer"], states=["Stable", "Empty", "CompletingRebalance", "PreparingRebalance"]),
    ]


def brief():
    """Sessions that end, and settings of a group."""
    group = Consumers("con-brief")
    return [
        incremental("a session of a group", (GROUP, "con-brief", [("consumer.session.timeout.ms", SET, "700"), ("consumer.heartbeat.interval.ms", SET, "200")])),
        describe_configs("a group of consumers", (GROUP, "con-brief", ["consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"])),
        describe_configs("a group of consumers, all with their synonyms", (GROUP, "con-brief", None), synonyms=True),
        incremental("a session of a group that is too short", (GROUP, "con-brief", [("consumer.session.timeout.ms", SET, "10")])),
        incremental("a session of a group that is too long", (GROUP, "con-brief", [("consumer.session.timeout.ms", SET, "99999999")])),
        group.join("a joins", "a"),
        group.describe("it is there"),
        group.describe("it was silent", until="Empty"),
        group.beat("it was silent", "a", 1),
    ]


BEGUN = [
    create("those that consumers read", topic("con", 4), topic("con-2")),
    coordinator("of groups of consumers", "con-alone"),
]
HISTORIES = [alone, drawn, together, static, refused, expressions, beside, brief]
STEPS = [*BEGUN, *(step for history in HISTORIES for step in history())]
