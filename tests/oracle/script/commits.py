"""Offsets that groups commit, fetch and lose: of nobody, of members, of topics that are there, are not, or go."""

from peer import TopicId
from schema import NIL

from .groups import NOBODY, Group, protocols
from .members import coordinator, groups_deleted
from .step import ALL, LAST, ask, asked, create, heard, topic
from .topics import SOME_ID

COMMIT, FETCH = range(2, 11), range(1, 11)


def at(partition=0, offset=1, metadata="", **rest):
    return {"PartitionIndex": partition, "CommittedOffset": offset, "CommittedMetadata": metadata, **rest}


def of(name, *partitions, id_=None):
    return {"Name": name, "TopicId": TopicId(name) if id_ is None else id_, "Partitions": list(partitions)}


def commit(name, group, *topics, versions=LAST, who=None, generation=-1, member="", instance=None, **rest):
    """By nobody; or by `who`, a member, on its connection."""
    values = {"GroupId": group, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "GroupInstanceId": instance,
              "Topics": list(topics), **rest}
    return ask(f"OffsetCommit: {name}", "OffsetCommit", values, versions, client=who)


def wanted(name, *partitions, id_=None):
    return {"Name": name, "TopicId": TopicId(name) if id_ is None else id_, "PartitionIndexes": list(partitions)}


def without(element, *names):
    return {key: value for key, value in element.items() if key not in names}


def fetch(name, group, *topics, versions=LAST, everything=False, stable=False, others=(), until=None, **rest):
    """Of these topics, or of all. Before version 8 they stand elsewhere, and without ids."""
    topics = None if everything else list(topics)
    values = {
        "GroupId": group, "Topics": topics and [without(topic_, "TopicId") for topic_ in topics] if topics is not None else None,
        "Groups": [{"GroupId": group, "Topics": topics, **rest}, *others], "RequireStable": stable,
    }
    return ask(f"OffsetFetch: {name}", "OffsetFetch", values, versions, until=until)


def delete(name, group, *topics):
    topics = [{"Name": topic_, "Partitions": [{"PartitionIndex": index} for index in partitions]} for topic_, *partitions in topics]
    return ask(f"OffsetDelete: {name}", "OffsetDelete", {"GroupId": group, "Topics": topics})


ALONE = [
    create("those whose offsets are committed", topic("off", 4), topic("off-2"), topic("off-gone", 2)),
    coordinator("of groups that commit", "simple"),
    fetch("of a group that is not there", "nobody-yet", wanted("off", 0), versions=FETCH),
    fetch("everything of a group that is not there", "nobody-yet", everything=True, versions=FETCH),
    commit("of nobody, in every version", "simple-{v}", of("off", at(0, 5, "m{v}", CommittedLeaderEpoch=0)), versions=COMMIT),
    *(fetch(f"what version {version} committed", f"simple-{version}", everything=True, versions=[7, 9]) for version in COMMIT),
    commit("one group", "simple", of("off", at(0, 10), at(1, 11, "one"), at(3, 13, None)), of("off-2", at(0, 20))),
    fetch("one group, in every version", "simple", wanted("off", 0, 1, 2, 3), versions=FETCH),
    fetch("everything, in every version", "simple", everything=True, versions=FETCH),
    fetch("stable ones of a group without transactions", "simple", wanted("off", 0), versions=range(7, 11), stable=True),
    fetch("missing partitions", "simple", wanted("off", 0, 9, -1), versions=FETCH),
    fetch("a missing topic", "simple", wanted("missing", 0), wanted("off", 0), versions=range(1, 10)),
    fetch("an id that is none", "simple", wanted("missing", 0, id_=SOME_ID), wanted("off", 0), versions=[10]),
    fetch("an id of null", "simple", wanted("missing", 0, id_=NIL), versions=[10]),
    fetch("a bad name", "simple", wanted("a b", 0), wanted("", 0), versions=[1, 9]),
    fetch("ids that are none, twice", "simple", wanted("missing", 0, id_=SOME_ID), wanted("missing", 1, id_=SOME_ID), versions=[10]),
    fetch("no topics", "simple", versions=FETCH),
    fetch("no partitions", "simple", wanted("off"), versions=FETCH),
    fetch("a partition twice", "simple", wanted("off", 1, 1), versions=[1, 9, 10]),
    fetch("a topic twice", "simple", wanted("off", 1), wanted("off", 0), versions=[1, 9, 10]),
    fetch("two groups", "simple", wanted("off", 0), versions=range(8, 11), others=[{"GroupId": "simple-5", "Topics": [wanted("off", 0)]}]),
    fetch("a group and one that is not there", "simple", wanted("off", 0), versions=range(8, 11), others=[
        {"GroupId": "nobody-yet", "Topics": [wanted("off", 0)]}, {"GroupId": "simple-2", "Topics": None}]),
    fetch("a group twice", "simple", wanted("off", 0), versions=range(8, 11), others=[{"GroupId": "simple", "Topics": [wanted("off", 1)]}]),
    ask("OffsetFetch: of no group", "OffsetFetch", {"Groups": []}, range(8, 11)),
    fetch("with a member", "simple", wanted("off", 0), versions=[9, 10], MemberId="m", MemberEpoch=3),
    fetch("with an epoch alone", "simple", wanted("off", 0), versions=[9, 10], MemberEpoch=3),
    fetch("with a member that is null and an epoch below 0", "simple", wanted("off", 0), versions=[9, 10], MemberId=None, MemberEpoch=-7),
    fetch("of a group without a name", "", wanted("off", 0), versions=FETCH),
    commit("of a group without a name", "", of("off", at(0, 7)), versions=COMMIT),
    fetch("of a group without a name, once it is there", "", wanted("off", 0), versions=FETCH),
    commit("nothing", "simple", versions=COMMIT),
    commit("nothing of a new group", "simple-empty"),
    fetch("of a group that committed nothing", "simple-empty", everything=True),
    commit("no partitions", "simple", of("off"), versions=COMMIT),
    commit("missing partitions", "simple", of("off", at(0, 30), at(9, 1), at(-1, 1)), versions=COMMIT),
    commit("a missing topic", "simple", of("missing", at()), of("off", at(0, 31)), versions=range(2, 10)),
    commit("a missing topic twice", "simple", of("missing", at()), of("missing", at(1)), of("missing", at(1)), versions=[2, 9]),
    commit("an id that is none, twice", "simple", of("missing", at(), id_=SOME_ID), of("missing", at(1), id_=SOME_ID), versions=[10]),
    commit("a missing topic alone", "simple-none", of("missing", at()), versions=range(2, 10)),
    commit("an id that is none", "simple", of("missing", at(), id_=SOME_ID), of("off", at(0, 32)), versions=[10]),
    commit("an id of null", "simple", of("missing", at(), id_=NIL), versions=[10]),
    commit("a bad name", "simple", of("a b", at()), of("", at()), versions=[2, 9]),
    commit("a partition twice", "simple", of("off", at(0, 33), at(0, 34)), versions=[2, 9, 10]),
    commit("a topic twice", "simple", of("off", at(0, 35)), of("off", at(1, 36)), versions=[2, 9, 10]),
    commit("a topic twice, and what is missing", "simple", of("off", at(0, 35)), of("off", at(1, 36), at(9)), of("off-2", at()), of("off-2", at()),
           versions=[2, 9, 10]),
    fetch("what was committed twice", "simple", everything=True, versions=[7, 10]),
    *(commit(f"an offset of {offset}", "places", of("off", at(0, offset))) for offset in (0, -1, -2, -(2**63), 2**63 - 1)),
    fetch("the last there is", "places", everything=True, versions=[5, 10]),
    *(commit(f"an epoch of {epoch}", "places", of("off", at(1, 1, CommittedLeaderEpoch=epoch)), versions=[6, 10]) for epoch in (0, 5, -1, -5)),
    fetch("an epoch that is none", "places", everything=True, versions=FETCH),
    commit("an epoch that is none in a version without", "places", of("off", at(1, 2, CommittedLeaderEpoch=9)), versions=[5]),
    fetch("an epoch of a version without", "places", everything=True, versions=[5, 10]),
    *(commit(f"with a retention of {retention}", "places", of("off", at(2, 1)), versions=[2, 4], RetentionTimeMs=retention)
      for retention in (-1, 0, 100_000_000, -5)),
    commit("metadata as large as may be", "places", of("off", at(3, 1, "x" * 4096)), versions=COMMIT),
    commit("metadata one too large", "places", of("off", at(3, 2, "x" * 4097)), versions=COMMIT),
    commit("metadata of which one is too large", "places", of("off", at(3, 3, "x" * 4097), at(2, 4, "ok"))),
    commit("metadata that is too large in bytes alone", "places", of("off", at(3, 5, "ä" * 3000))),
    commit("metadata far too large", "places", of("off", at(3, 6, "x" * 30_000))),
    fetch("with much metadata", "places", everything=True, versions=[1, 10]),
    commit("a generation of a group that is not there", "not-yet", of("off", at()), generation=0, versions=COMMIT),
    commit("a generation below -1 of a group that is not there", "not-yet-2", of("off", at()), generation=-2),
    commit("a member of a group that is not there", "not-yet-3", of("off", at()), member=NOBODY, versions=COMMIT),
    commit("a member and a generation of a group that is not there", "not-yet", of("off", at()), generation=1, member=NOBODY, versions=[2, 8, 9]),
    commit("an instance of a group that is not there", "not-yet-4", of("off", at()), instance="i", versions=[7, 10]),
    commit("a generation of a simple group", "simple", of("off", at()), generation=0, versions=[2, 8, 10]),
    commit("a member of a simple group", "simple", of("off", at()), member=NOBODY),
    ask("DescribeGroups: that have offsets alone", "DescribeGroups", {"Groups": ["simple", "simple-empty", "", "not-yet", "simple-none"]}, ALL),
]


def members():
    """Offsets of members, in each state of their group."""
    group = Group("off-members")
    a, b = group.id("a"), group.id("b")
    b_joins = group.join("b joins", "b")
    some = of("off", at(0, 100))
    return [
        *group.enter("a"),
        commit("while it completes", group.name, some, who="a", generation=1, member=a),
        group.sync("a assigns", "a", 1, ["a"]),
        commit("by a member, in every version", group.name, of("off", at(0, 200)), who="a", generation=1, member=a, versions=COMMIT),
        commit("of the generation before", group.name, some, who="a", generation=0, member=a, versions=COMMIT),
        commit("of a generation to come", group.name, some, who="a", generation=2, member=a),
        commit("of no generation by a member", group.name, some, who="a", member=a, versions=[2, 10]),
        commit("of a generation by no member", group.name, some, who="a", generation=1, versions=[2, 10]),
        commit("of a generation by another", group.name, some, who="a", generation=1, member=NOBODY, versions=COMMIT),
        commit("by nobody while there are members", group.name, some, versions=COMMIT),
        commit("by a member with an instance", group.name, some, who="a", generation=1, member=a, instance="i", versions=[7, 10]),
        commit("by an instance alone", group.name, some, who="a", instance="i", versions=[7, 10]),
        commit("by a member, of what is not there", group.name, of("missing", at()), of("off", at(9)), who="a", generation=0, member=a, versions=[9]),
        commit("by a member, of nothing", group.name, who="a", generation=7, member=a),
        commit("by a member, of no partitions", group.name, of("off"), who="a", generation=7, member=a),
        fetch("of a member", group.name, everything=True, versions=FETCH, MemberId=a, MemberEpoch=1),
        fetch("of another member", group.name, wanted("off", 0), versions=[9, 10], MemberId=NOBODY, MemberEpoch=9),
        delete("of a topic that members read", group.name, ("grp", 0), ("off", 0), ("off", 9), ("missing", 0)),
        group.first("b asks for an id", "b"),
        asked(b_joins),
        commit("while it prepares", group.name, of("off", at(1, 300)), who="a", generation=1, member=a, versions=[2, 10]),
        commit("while it prepares, by who comes", group.name, some, generation=1, member=b),
        delete("while it prepares", group.name, ("grp", 0), ("off", 0)),
        group.join("a joins the second", "a"),
        heard(b_joins),
        commit("while the second completes", group.name, some, who="a", generation=2, member=a, versions=COMMIT),
        delete("while the second completes", group.name, ("grp", 0), ("off", 1)),
        group.sync("a assigns to both", "a", 2, ["a", "b"]),
        commit("by a follower", group.name, of("off", at(2, 400)), who="b", generation=2, member=b),
        groups_deleted("one with members and offsets", group.name),
        group.leave("both leave", "c", (a, None), (b, None)),
        commit("by who has left", group.name, some, who="a", generation=2, member=a, versions=[2, 8, 9, 10]),
        commit("by who has left, of the last generation", group.name, some, who="a", generation=3, member=a, versions=[2, 8, 9, 10]),
        commit("by who has left, without a generation", group.name, some, who="a", member=a),
        commit("by nobody after members", group.name, of("off", at(3, 500)), versions=COMMIT),
        fetch("after all have left", group.name, everything=True, versions=[7, 10]),
        delete("after all have left", group.name, ("off", 0, 1, 9), ("missing", 0)),
        fetch("after some were deleted", group.name, wanted("off", 0, 1, 2, 3), versions=[7, 10]),
        groups_deleted("one with offsets", group.name),
        fetch("after all were deleted", group.name, wanted("off", 2, 3), versions=FETCH),
        fetch("everything after all were deleted", group.name, everything=True, versions=FETCH),
    ]


def others():
    """Members by their instances, and members that are no consumers."""
    static, other = Group("off-static"), Group("off-connect")
    a, b = static.id("a"), static.id("b")
    some = of("off", at(0, 100))
    return [
        *static.alone(instance="i-a"),
        commit("by an instance", static.name, some, who="a", generation=1, member=a, instance="i-a", versions=range(7, 11)),
        commit("by a member that has an instance", static.name, some, who="a", generation=1, member=a, versions=[2, 10]),
        commit("by another instance", static.name, some, who="a", generation=1, member=a, instance="i-b", versions=[7, 10]),
        static.first("a is back as b", "b", instance="i-a"),
        commit("by an instance that is fenced", static.name, some, who="a", generation=1, member=a, instance="i-a", versions=range(7, 11)),
        commit("by the member that is fenced", static.name, some, who="a", generation=1, member=a),
        commit("by the one in its place", static.name, some, who="b", generation=1, member=b, instance="i-a"),
        commit("by an instance without a member", static.name, some, who="b", generation=1, instance="i-a"),
        static.leave("the instance leaves", "b", ("", "i-a")),
        commit("by an instance that has left", static.name, some, who="b", generation=1, member=b, instance="i-a"),
        *other.enter("a", ProtocolType="connect", Protocols=protocols("one", metadata=b"x")),
        other.sync("a assigns", "a", 1, ["a"], ProtocolType="connect", ProtocolName="one"),
        commit("by a member that is no consumer", other.name, some, who="a", generation=1, member=other.id("a")),
        delete("of members that are no consumers", other.name, ("off", 0), ("missing", 0)),
        delete("of members that are no consumers, nothing", other.name),
        other.leave("a leaves", "a"),
        delete("after members that are no consumers", other.name, ("off", 0)),
        delete("of a group that is not there", "nobody-yet", ("off", 0)),
        delete("of a group without a name", "", ("off", 0)),
        delete("of a group without a name, and what is missing", "", ("missing", 0)),
        delete("of a group that is not there, and what is missing", "nobody-yet", ("missing", 0)),
        delete("of a group that is not there, some of it missing", "nobody-yet", ("missing", 0), ("off", 0)),
        delete("of a group that is not there, nothing", "nobody-yet"),
        delete("nothing", "simple"),
        delete("no partitions", "simple", ("off",)),
        delete("a missing topic", "simple", ("missing", 0)),
        delete("a missing topic twice", "simple", ("missing", 0), ("missing", 1, 1), ("off", 0), ("off", 1)),
        delete("a bad name", "simple", ("a b", 0), ("", 0)),
        delete("a partition twice", "simple", ("off", 0, 0)),
        delete("a topic twice", "simple", ("off", 1), ("off", 3)),
        fetch("of a simple group after some were deleted", "simple", everything=True, versions=[7, 10]),
        groups_deleted("the group without a name and two others", "", "simple", "nobody-yet"),
        fetch("of groups that were deleted", "simple", everything=True, versions=[7, 10], others=[{"GroupId": "", "Topics": None}]),
    ]


GONE = [
    commit("of a topic that goes", "goes", of("off-gone", at(0, 1), at(1, 2)), of("off", at(0, 3))),
    ask("DeleteTopics: one with offsets", "DeleteTopics", {"Topics": [{"Name": "off-gone", "TopicId": NIL}], "TimeoutMs": 10_000}),
    fetch("of a topic that is gone", "goes", wanted("off-gone", 0), versions=[9],
          until=(["Groups", 0, "Topics", 0, "Partitions", 0, "CommittedOffset"], -1)),
    fetch("of a topic that is gone, in every version", "goes", wanted("off-gone", 0, 1), wanted("off", 0), versions=FETCH),
    fetch("everything with a topic that is gone", "goes", everything=True, versions=FETCH),
    commit("of a topic that is gone", "goes", of("off-gone", at(0, 1)), versions=COMMIT),
    delete("of a topic that is gone", "goes", ("off-gone", 0)),
    create("one that was gone", topic("off-gone", 2)),
    fetch("of a topic that is back", "goes", wanted("off-gone", 0), versions=[9, 10]),
    commit("of a topic that is back", "goes", of("off-gone", at(0, 7)), versions=[10]),
    fetch("of a topic that is back and committed", "goes", everything=True, versions=[9, 10]),
]

STEPS = [*ALONE, *members(), *others(), *GONE]
