"""Topics: made, found, and taken away, by name and by id."""

import uuid

from peer import TopicId

from .step import ALL, LAST, ask, create, topic

SOME_ID = uuid.UUID(int=7)
OTHER_ID = uuid.UUID(int=8)


def metadata(name, topics, versions=LAST, create_missing=False, **rest):
    values = {"Topics": topics, "AllowAutoTopicCreation": create_missing, **rest}
    return ask(f"Metadata: {name}", "Metadata", values, versions)


def named(*names):
    return [{"Name": name} for name in names]


def with_id(*ids, name=None):
    return [{"TopicId": id_, "Name": name} for id_ in ids]


def delete(name, topics=(), names=(), versions=LAST):
    values = {"Topics": list(topics), "TopicNames": list(names), "TimeoutMs": 10_000}
    return ask(f"DeleteTopics: {name}", "DeleteTopics", values, versions)


def describe(name, names, limit=2000, cursor=None):
    values = {
        "Topics": named(*names),
        "ResponsePartitionLimit": limit,
        "Cursor": cursor and {"TopicName": cursor[0], "PartitionIndex": cursor[1]},
    }
    return ask(f"DescribeTopicPartitions: {name}", "DescribeTopicPartitions", values)


BAD_NAMES = ["", ".", "..", "a b", "a/b", "ä", "a\u0000", "a:b", "x" * 249, "x" * 250, "a,b", "A" * 300]

CREATED = [
    create("one, in every version", topic("made-{v}"), versions=ALL),
    create("one that is there, in every version", topic("made-{v}"), versions=ALL),
    create("validated only, in every version", topic("never-{v}", 3), versions=ALL, validate_only=True),
    create("validated only, and there", topic("made-7", 3), validate_only=True),
    create("none", versions=ALL),
    create("several", topic("several-a", 2), topic("several-b", 3), topic("made-7"), topic("", 1)),
    create("twice in a request", topic("twice"), topic("twice"), versions=ALL),
    create("twice among others", topic("twice"), topic("once"), topic("twice", 2)),
    create("twice, and bad", topic("", 1), topic("", 2)),
    *(create(f"name {name[:12]!r} of {len(name)}", topic(name), validate_only=True) for name in BAD_NAMES),
    create("a name with a dot", topic("dot.under_x")),
    create("a name that collides", topic("dot_under.x")),
    create("a name that collides otherwise", topic("dot.under.x"), versions=ALL),
    create("names that collide with each other", topic("pair.a"), topic("pair_a")),
    create("the defaults", topic("defaults", -1, -1), versions=[4, 5, 6, 7]),
    create("the defaults before they could be asked for", topic("defaults-{v}", -1, -1), versions=[2, 3]),
    create("the default partitions", topic("defaults-p", -1, 1)),
    create("the default replicas", topic("defaults-r", 2, -1)),
    *(create(f"{count} partitions", topic("count", count), validate_only=True) for count in (0, -2, -100, 10_000, 10_001, 2**31 - 1)),
    *(create(f"{count} replicas", topic("count", 1, count), validate_only=True) for count in (0, -2, 2, 3, 32_767)),
    create("nothing right", topic("", 0, 0, [("x", "y")])),
    create("bad partitions and replicas", topic("count", 0, 0)),
    create("bad partitions and a bad config", topic("count", 0, 1, [("retention.ms", "x")])),
    create("too many replicas and a bad config", topic("count", 1, 2, [("retention.ms", "x")])),
    create("assigned", topic("assigned", -1, -1, assignments=[(0, [1]), (1, [1])]), versions=ALL),
    create("assigned, out of order", topic("assigned-o", -1, -1, assignments=[(2, [1]), (0, [1]), (1, [1])])),
    create("assigned, with a gap", topic("assigned-x", -1, -1, assignments=[(0, [1]), (2, [1])])),
    create("assigned, not from 0", topic("assigned-x", -1, -1, assignments=[(1, [1])])),
    create("assigned below 0", topic("assigned-x", -1, -1, assignments=[(-1, [1])])),
    create("assigned twice", topic("assigned-x", -1, -1, assignments=[(0, [1]), (0, [1])])),
    create("assigned to an unknown broker", topic("assigned-x", -1, -1, assignments=[(0, [2])])),
    create("assigned to a broker below 0", topic("assigned-x", -1, -1, assignments=[(0, [-1])])),
    create("assigned to a broker twice", topic("assigned-x", -1, -1, assignments=[(0, [1, 1])])),
    create("assigned to nobody", topic("assigned-x", -1, -1, assignments=[(0, [])])),
    create("assigned unevenly", topic("assigned-x", -1, -1, assignments=[(0, [1]), (1, [1, 2])])),
    create("assigned, with partitions", topic("assigned-x", 1, -1, assignments=[(0, [1])])),
    create("assigned, with replicas", topic("assigned-x", -1, 1, assignments=[(0, [1])])),
    create("assigned, with both", topic("assigned-x", 1, 1, assignments=[(0, [1])])),
    create("configured", topic("configured", 1, 1, [("retention.ms", "1000000"), ("cleanup.policy", "compact")])),
    create("configured, in every version", topic("configured-{v}", 1, 1, [("segment.bytes", "2000000")]), versions=ALL),
    create("configured twice", topic("configured-t", 1, 1, [("retention.ms", "1000"), ("retention.ms", "2000")])),
    create("configured with an unknown key", topic("configured-x", 1, 1, [("no.such.key", "1")])),
    create("configured with an unknown and a bad key", topic("configured-x", 1, 1, [("no.such.key", "1"), ("retention.ms", "x")])),
    create("configured with a bad value", topic("configured-x", 1, 1, [("retention.ms", "x")])),
    create("configured with null", topic("configured-x", 1, 1, [("retention.ms", None)])),
    create("configured with two nulls", topic("configured-x", 1, 1, [("retention.ms", None), ("segment.ms", None)])),
    create("configured with nothing", topic("configured-x", 1, 1, [("retention.ms", "")])),
    create("configured without a key", topic("configured-x", 1, 1, [("", "1")])),
    create("configured, one good and one bad", topic("configured-g", 1, 1, [("retention.ms", "1")]),
           topic("configured-b", 1, 1, [("retention.ms", "-2")])),
]

FOUND = [
    metadata("by name, in every version", named("made-7", "several-a"), ALL),
    metadata("by name, twice", named("made-7", "made-7"), ALL),
    metadata("unknown names", named("missing-a", "missing-b"), range(4, 14)),
    metadata("a bad name", named("a b"), range(4, 14), True),
    metadata("an empty name", named(""), range(4, 14)),
    metadata("a name that is too long", named("x" * 250), range(4, 14), True),
    metadata("a name that is missing is made, in every version", named("auto-{v}"), ALL, True),
    metadata("the same again", named("auto-{v}"), ALL, True),
    metadata("a name that collides is made", named("dot.under.x"), LAST, True),
    metadata("one missing, one there, one bad", named("missing-a", "made-7", "a b"), range(1, 14)),
    metadata("by id", with_id(TopicId("made-7")), [12, 13]),
    metadata("by ids", with_id(TopicId("made-7"), TopicId("several-a")), [12, 13]),
    metadata("by an unknown id", with_id(SOME_ID), [12, 13]),
    metadata("by an unknown id and a known one", with_id(SOME_ID, TopicId("made-7")), [12, 13]),
    metadata("by an id twice", with_id(TopicId("made-7"), TopicId("made-7")), [12, 13]),
    metadata("by id and name", with_id(TopicId("made-7"), name="made-7"), [12, 13]),
    metadata("by id and another name", with_id(TopicId("made-7"), name="several-a"), [12, 13]),
    metadata("by id and name, below version 12", with_id(TopicId("made-7"), name="made-7"), [10, 11]),
    metadata("by an id, below version 12", with_id(TopicId("made-7")), [10, 11]),
    metadata("neither name nor id", [{"Name": None}], [10, 11, 12, 13]),
    metadata("one by id, one by name", with_id(TopicId("made-7")) + named("several-a"), [12, 13]),
    metadata("operations of a topic", named("made-7"), range(8, 14), IncludeTopicAuthorizedOperations=True),
    metadata("operations of a topic that is missing", named("missing"), range(8, 14), IncludeTopicAuthorizedOperations=True),
    metadata("all", None, range(1, 14)),
    describe("all", []),
    describe("some", ["several-b", "several-a"]),
    describe("one twice", ["several-a", "several-a"]),
    describe("unknown", ["missing", "several-a"]),
    describe("bad names", ["a b", "", "x" * 250]),
    describe("one partition", ["several-a", "several-b"], 1),
    describe("three partitions", ["several-a", "several-b"], 3),
    describe("two partitions", ["several-a", "several-b"], 2),
    describe("no partitions", ["several-a"], 0),
    describe("fewer than no partitions", ["several-a"], -1),
    describe("more than the broker gives", ["several-a"], 2**31 - 1),
    describe("unknown, and a limit", ["missing", "several-a", "several-b"], 2),
    describe("from the middle", ["several-a", "several-b"], 2000, ("several-a", 1)),
    describe("from the middle, and a limit", ["several-a", "several-b"], 2, ("several-a", 1)),
    describe("from the second", ["several-a", "several-b"], 2000, ("several-b", 0)),
    describe("from beyond the end", ["several-a", "several-b"], 2000, ("several-a", 2)),
    describe("from far beyond the end", ["several-a"], 2000, ("several-a", 99)),
    describe("from below the first", ["several-a"], 2000, ("several-a", -1)),
    describe("from a topic that is not asked for", ["several-b"], 2000, ("several-a", 0)),
    describe("from a topic that is missing", ["missing", "several-a"], 2000, ("missing", 0)),
    describe("all, from a topic that is missing", [], 2000, ("several-aa", 0)),
    describe("all, from one", [], 2000, ("several-a", 1)),
    describe("all, and a limit", [], 5),
    describe("from an empty name", ["several-a"], 2000, ("", 0)),
]

DELETED = [
    delete("by name, in every version", names=["made-2"], versions=[1]),
    delete("by name, gone, in every version", names=["made-2", "never"], versions=range(1, 6)),
    delete("by name, several", names=["made-3", "missing", "made-4"], versions=[5]),
    delete("by name, twice", names=["made-5", "made-5"], versions=range(1, 6)),
    delete("none by name", versions=range(1, 6)),
    delete("an empty name", names=["", "a b"], versions=range(1, 6)),
    delete("by name, version 6", named("made-6")),
    delete("by name, version 6, gone", named("made-6", "never")),
    delete("by id", with_id(TopicId("made-5"))),
    delete("by an id that is gone", with_id(TopicId("made-5"))),
    delete("by an unknown id", with_id(SOME_ID, OTHER_ID)),
    delete("by an unknown id twice", with_id(SOME_ID, SOME_ID)),
    delete("by id and name", with_id(TopicId("made-7"), name="made-7")),
    delete("by neither", [{"Name": None}]),
    delete("by neither, twice", [{"Name": None}, {"Name": None}]),
    delete("by id, and by name", with_id(TopicId("made-7")) + named("made-7")),
    delete("by name twice", named("made-7", "made-7")),
    delete("by id twice", with_id(TopicId("made-7"), TopicId("made-7"))),
    delete("a bad name", named("", "a b", "x" * 250)),
    delete("none", []),
    metadata("by an id that is gone", with_id(TopicId("made-5")), [12, 13]),
    create("one that was deleted", topic("made-5")),
    metadata("after deletions", None, [12]),
]

STEPS = CREATED + FOUND + DELETED
