"""Consumer groups (KIP-848): members that join, come to their assignments, are fenced, are static, change their protocol, and go."""

from peer import TopicId

from .configs import APPEND, DELETE, GROUP, SET
from .groups import NOBODY, Group, protocols, subscription
from .step import ALL, LAST, ask, create, topic

ONE = "cons"
OTHER = "cons-other"


def parts(*numbers, of=ONE):
    """Partitions that a member says to have."""
    return [{"TopicId": TopicId(of), "Partitions": list(numbers)}] if numbers else []


class Consumers(Group):
    """A consumer group, and what its members ask. A member's id is its name in the group; two heartbeats of one are two steps."""

    def beat(self, tell, who, epoch, id_=None, versions=LAST, **values):
        """To live, with what else is told."""
        values = {"GroupId": self.name, "MemberId": f"{self.name}-{who}" if id_ is None else id_, "MemberEpoch": epoch, **values}
        return ask(f"ConsumerGroupHeartbeat: {self.name}: {tell}", "ConsumerGroupHeartbeat", values, versions)

    def enter_as(self, tell, who, topics=(ONE,), **values):
        """To join."""
        told = {"RebalanceTimeoutMs": 60_000, "SubscribedTopicNames": list(topics), "TopicPartitions": [], **values}
        return self.beat(tell, who, 0, **told)

    def shown(self, tell, versions=LAST, state=None):
        values = {"GroupIds": [self.name], "IncludeAuthorizedOperations": True}
        until = state and (["Groups", 0, "GroupState"], state)
        return ask(f"ConsumerGroupDescribe: {self.name}: {tell}", "ConsumerGroupDescribe", values, versions, until=until)

    def commit(self, tell, who, epoch, versions=(9,), id_=None):
        topics = [{"Name": ONE, "TopicId": TopicId(ONE), "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1}]}]
        member = f"{self.name}-{who}" if id_ is None else id_
        values = {"GroupId": self.name, "MemberId": member, "GenerationIdOrMemberEpoch": epoch, "Topics": topics}
        return ask(f"OffsetCommit: {self.name}: {tell}", "OffsetCommit", values, list(versions))

    def fetch(self, tell, member, epoch):
        values = {"Groups": [{"GroupId": self.name, "MemberId": member, "MemberEpoch": epoch, "Topics": None}]}
        return ask(f"OffsetFetch: {self.name}: {tell}", "OffsetFetch", values, [9])


def wrong():
    """What is wrong in itself, or of members that are none."""
    group = Consumers("cons-wrong")
    return [
        group.beat("of a group that is not there", "a", 1),
        group.beat("to leave a group that is not there", "a", -1),
        group.shown("before there is anybody", versions=ALL),
        group.enter_as("without an id", "a", id_="", versions=[1]),
        group.enter_as("without a timeout", "a", RebalanceTimeoutMs=-1),
        group.enter_as("without partitions", "a", TopicPartitions=None),
        group.enter_as("with partitions", "a", TopicPartitions=parts(0)),
        group.enter_as("without topics", "a", SubscribedTopicNames=None),
        group.enter_as("with an empty instance", "a", InstanceId=""),
        group.enter_as("with an empty rack", "a", RackId=""),
        group.enter_as("with an assignor that is not there", "a", ServerAssignor="sticky"),
        group.enter_as("with a broken expression", "a", SubscribedTopicNames=None, SubscribedTopicRegex="[", versions=[1]),
        group.beat("to leave for a while without an instance", "a", -2),
        group.beat("of an epoch below all", "a", -3),
        group.beat("without an id, of an epoch", "a", 1, id_=""),
        group.shown("nobody came in"),
        group.enter_as("a joins", "a"),
        group.beat("of a stranger", "b", 1),
        group.beat("a stranger leaves", "b", -1),
        group.beat("of an epoch to come", "a", 2),
        group.beat("of an instance that is none", "a", 1, InstanceId="i"),
        group.enter_as("a joins once more", "a"),
        group.beat("a says everything", "a", 1, RebalanceTimeoutMs=60_000, SubscribedTopicNames=[ONE], TopicPartitions=parts(0)),
        group.beat("a changes its rack alone", "a", 1, RackId="r"),
        group.beat("a asks for an assignor", "a", 1, ServerAssignor="range"),
        group.shown("a asked for range", versions=ALL),
        ask("DescribeGroups: cons-wrong: a consumer group", "DescribeGroups", {"Groups": ["cons-wrong"]}, range(4, 7)),
        ask("DeleteGroups: cons-wrong: with a member", "DeleteGroups", {"GroupsNames": ["cons-wrong"]}),
        ask("ConsumerGroupDescribe: without a name", "ConsumerGroupDescribe", {"GroupIds": [""]}),
        group.beat("a leaves", "a", -1),
        group.beat("a leaves again", "a", -1),
        group.shown("nobody is left"),
        ask("DeleteGroups: cons-wrong: without members", "DeleteGroups", {"GroupsNames": ["cons-wrong"]}),
        group.shown("it is gone"),
    ]


def moves():
    """Partitions that go from member to member. Which ones is the assignor's choice; who has one alone has all of it."""
    group = Consumers("cons-moves")
    range_ = {"ServerAssignor": "range"}
    return [
        group.enter_as("a joins", "a", **range_),
        group.beat("a lives", "a", 1),
        group.enter_as("b joins", "b", **range_),
        group.shown("b waits"),
        group.beat("a is to give back", "a", 1),
        group.shown("a is to give back"),
        group.beat("b waits", "b", 2),
        group.beat("a has not given back", "a", 1, TopicPartitions=parts(0, 1, 2, 3)),
        group.commit("a, on its way", "a", 1),
        group.commit("a, of the epoch that it will have", "a", 2),
        group.beat("a has given back", "a", 1, TopicPartitions=parts(0, 1)),
        group.shown("a has given back"),
        group.beat("a did not hear", "a", 1, TopicPartitions=parts(0, 1)),
        group.beat("a did not hear, and may have anything", "a", 1),
        group.beat("a did not hear, and has more", "a", 1, TopicPartitions=parts(0, 1, 2)),
        group.beat("a has something that is not its own", "a", 1, TopicPartitions=parts(0, of=OTHER)),
        group.beat("b gets it", "b", 2),
        group.shown("both have their part"),
        group.commit("a", "a", 2),
        group.commit("a, of the epoch before", "a", 1),
        group.commit("a, in an old version", "a", 2, versions=range(2, 9)),
        group.commit("of a stranger", "c", 2),
        group.commit("of nobody", "a", -1, id_=""),
        group.fetch("of nobody", None, -1),
        group.fetch("of a", "cons-moves-a", 2),
        group.fetch("of a, of another epoch", "cons-moves-a", 1),
        group.fetch("of a stranger", "cons-moves-c", 2),
        group.beat("a subscribes to another", "a", 2, SubscribedTopicNames=[OTHER]),
        group.shown("a is to give back what it does not want"),
        group.beat("a gives back what it does not want", "a", 2, TopicPartitions=[]),
        group.beat("b gets the rest", "b", 2),
        group.shown("each has a topic"),
        ask("ListGroups: cons: of this kind", "ListGroups", {"TypesFilter": ["Consumer"], "StatesFilter": ["stable"]}, [5]),
        ask("ListGroups: cons: of no such state", "ListGroups", {"TypesFilter": ["consumer"], "StatesFilter": ["Assigning"]}, [5]),
        ask("OffsetDelete: cons: of a topic that is read", "OffsetDelete",
            {"GroupId": "cons-moves", "Topics": [{"Name": ONE, "Partitions": [{"PartitionIndex": 0}]}]}),
        group.beat("b leaves", "b", -1),
        ask("OffsetDelete: cons: of a topic that is not read", "OffsetDelete",
            {"GroupId": "cons-moves", "Topics": [{"Name": ONE, "Partitions": [{"PartitionIndex": 0}]}]}),
        group.beat("a leaves", "a", -1),
        group.commit("of nobody, while nobody is in", "a", -1, id_=""),
        group.shown("nobody is left"),
    ]


def statics():
    """Members that have a name over restarts."""
    group = Consumers("cons-static")
    of_i, of_j = {"InstanceId": "i"}, {"InstanceId": "j"}
    return [
        group.enter_as("a joins as i", "a", **of_i),
        group.enter_as("b joins as i", "b", **of_i),
        group.beat("b lives as i", "b", 1, **of_i),
        group.beat("a lives as j", "a", 1, **of_j),
        group.beat("a lives as nobody in particular", "a", 1),
        group.beat("b leaves as i", "b", -1, **of_i),
        group.beat("b leaves as i for a while", "b", -2, **of_i),
        group.beat("a leaves for a while", "a", -2, **of_i),
        group.shown("a is away"),
        group.beat("a lives while it is away", "a", 1, **of_i),
        group.enter_as("b comes back as i", "b", **of_i),
        group.shown("b has its place"),
        group.beat("a lives after b came", "a", 1, **of_i),
        group.beat("b lives", "b", 1, **of_i),
        group.enter_as("c joins as j", "c", **of_j),
        group.beat("b leaves for a while before it gives back", "b", -2, **of_i),
        group.enter_as("d comes back as i with another topic", "d", [OTHER], **of_i),
        group.shown("d has its place, and other topics"),
        group.beat("d leaves for ever", "d", -1, **of_i),
        group.beat("c gets all", "c", 3, **of_j),
        group.shown("c is alone"),
        group.beat("c leaves for ever", "c", -1, **of_j),
    ]


def expressions():
    """Members that are subscribed by an expression."""
    group = Consumers("cons-regex")
    by = {"SubscribedTopicNames": None, "versions": [1]}
    return [
        group.enter_as("a joins by an expression", "a", SubscribedTopicRegex="con[s]", **by),
        group.shown("it is resolved", state="Assigning"),
        group.beat("a hears of it", "a", 1),
        group.shown("a has it"),
        group.enter_as("b joins by the same", "b", SubscribedTopicRegex="con[s]", **by),
        group.beat("a gives back by it", "a", 2, TopicPartitions=[]),
        group.beat("a subscribes by name", "a", 3, SubscribedTopicNames=[OTHER], SubscribedTopicRegex=""),
        group.beat("b leaves by it", "b", -1),
        group.beat("a alone by name", "a", 3, TopicPartitions=[]),
        group.shown("a by name"),
        group.enter_as("c joins by nothing", "c", SubscribedTopicRegex="", **by),
        group.beat("c leaves by nothing", "c", -1),
        group.beat("a leaves by name", "a", -1),
    ]


def migration():
    """A classic group becomes a consumer group while it has members, and a classic one again."""
    group = Consumers("cons-change")
    of_cons = protocols("range", metadata=subscription(ONE))
    assignment = (b"\0\0\0\0\0\1\0\4" + ONE.encode() + b"\0\0\0\4" + b"".join(bytes([0, 0, 0, number]) for number in range(4))
                  + b"\xff\xff\xff\xff")
    give = {"Assignments": [{"MemberId": group.id("old"), "Assignment": assignment}]}
    return [
        group.first("asks for an id", "old", Protocols=of_cons),
        group.join("joins", "old", Protocols=of_cons),
        group.sync("assigns all to itself", "old", 1, **give),
        group.beat("one who does not join", "new", 1),
        group.enter_as("one comes with the other protocol", "new"),
        group.shown("both protocols"),
        group.describe("it is no classic group any more"),
        group.heartbeat("of the generation before", "old", 0),
        group.heartbeat("is to join again", "old", 1),
        group.heartbeat("of one with the other protocol", "c", 2, "cons-change-new"),
        group.sync("is to join again first", "old", 1),
        group.join("joins with what it has", "old", Protocols=protocols("range", metadata=with_owned(0, 1, 2, 3))),
        group.sync("keeps its part", "old", 1),
        group.heartbeat("has given back, and is to join", "old", 1),
        group.join("joins with its part", "old", Protocols=protocols("range", metadata=with_owned(0, 1))),
        group.sync("has its part", "old", 2),
        group.sync("by another protocol's name", "old", 2, ProtocolName="other"),
        group.sync("by another type of protocol", "old", 2, ProtocolType="connect"),
        group.heartbeat("lives", "old", 2),
        group.beat("the other gets its part", "new", 2),
        group.shown("both have their part"),
        group.commit("with the classic protocol", "x", 2, id_=group.id("old")),
        group.commit("with the classic protocol, of another generation", "x", 1, id_=group.id("old")),
        group.commit("with the classic protocol, in an old version", "x", 2, versions=[7], id_=group.id("old")),
        group.first("a further classic member asks for an id", "third", Protocols=of_cons),
        group.refused("a protocol that is not theirs", "fourth", id_=NOBODY, Protocols=protocols("sticky", metadata=subscription(ONE))),
        group.refused("a type that is not theirs", "fourth", id_=NOBODY, ProtocolType="connect"),
        group.leave("of a stranger", "old", id_=NOBODY),
        group.beat("the last with the other protocol leaves", "new", -1),
        group.shown("it is no consumer group any more"),
        group.describe("it is a classic group again", until="PreparingRebalance"),
        group.join("joins the classic group", "old", Protocols=of_cons),
        group.sync("assigns all to itself again", "old", 4, **give),
        group.describe("it is stable again"),
        group.leave("leaves the classic group", "old"),
        group.enter_as("one comes to the empty classic group", "new"),
        group.shown("it is a consumer group of one"),
        group.beat("it leaves", "new", -1),
        group.first("one comes to the empty consumer group", "old", Protocols=of_cons),
        group.describe("it is a classic group, and empty", until="Empty"),
        group.beat("without joining", "new", 1),
    ]


def with_owned(*numbers):
    """A subscription of version 1, of one who has these partitions."""
    owned = b"\0\0\0\1\0\4" + ONE.encode() + len(numbers).to_bytes(4, "big") + b"".join(number.to_bytes(4, "big") for number in numbers)
    return b"\0\1" + subscription(ONE)[2:] + owned


def settings():
    """What a group is set to by itself."""
    group = Consumers("cons-set")
    session, interval = "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"

    def alter(tell, *configs, name="cons-set"):
        resource = {"ResourceType": GROUP, "ResourceName": name, "Configs": [
            {"Name": key, "ConfigOperation": operation, "Value": value} for key, operation, value in configs]}
        return ask(f"IncrementalAlterConfigs: cons-set: {tell}", "IncrementalAlterConfigs", {"Resources": [resource]})

    keys = [session, interval]
    shown = {"Resources": [{"ResourceType": GROUP, "ResourceName": "cons-set", "ConfigurationKeys": keys}], "IncludeSynonyms": True}
    return [
        alter("an interval of its own", (interval, SET, "6000")),
        group.enter_as("a joins", "a"),
        alter("both", (interval, SET, " 7000 "), (session, SET, "50000")),
        group.beat("a hears of it", "a", 1),
        ask("DescribeConfigs: cons-set", "DescribeConfigs", shown),
        ask("ListConfigResources: cons-set: groups", "ListConfigResources", {"ResourceTypes": [GROUP]}, [1]),
        *(alter(f"{key} = {value}", (key, SET, value)) for key in keys for value in ("0", "-1", "4999", "60001", "soon", "", None)),
        alter("another setting", ("consumer.name", SET, "x")),
        alter("one setting twice", (session, SET, "46000"), (session, SET, "47000")),
        alter("one more word", (session, APPEND, "1")),
        alter("without a name", (session, SET, "46000"), name=""),
        ask("AlterConfigs: cons-set: one alone", "AlterConfigs", {"Resources": [
            {"ResourceType": GROUP, "ResourceName": "cons-set", "Configs": [{"Name": session, "Value": "55000"}]}]}),
        alter("none", (session, DELETE, None), (interval, DELETE, None)),
        ask("DescribeConfigs: cons-set: none", "DescribeConfigs", shown),
        group.beat("a hears of the broker's", "a", 1),
        group.beat("a leaves", "a", -1),
    ]


STEPS = [
    create("those that consumer groups read", topic(ONE, 4), topic(OTHER, 2)),
    ask("FindCoordinator: consumer groups' topic, once it is there", "FindCoordinator", {"CoordinatorKeys": ["cons"]}, [6]),
    *wrong(),
    *moves(),
    *statics(),
    *expressions(),
    *migration(),
    *settings(),
]
