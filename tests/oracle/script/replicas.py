"""Leaders that are elected and replicas that move, where there is one broker."""

from .step import ALL, LAST, ask, create, topic

PREFERRED, UNCLEAN = 0, 1


def elect(name, *topics, versions=LAST, how=PREFERRED, every=False):
    """`every`: no partition is named, all are meant. Version 0 knows preferred leaders alone."""
    values = {
        "ElectionType": how,
        "TopicPartitions": None if every else [{"Topic": topic_, "Partitions": indexes} for topic_, indexes in topics],
        "TimeoutMs": 10_000,
    }
    return ask(f"ElectLeaders: {name}", "ElectLeaders", values, versions)


def reassign(name, *topics, versions=LAST, **values):
    topics = [
        {"Name": topic_, "Partitions": [{"PartitionIndex": index, "Replicas": replicas} for index, replicas in partitions]}
        for topic_, partitions in topics
    ]
    values = {"TimeoutMs": 10_000, "Topics": topics, **values}
    return ask(f"AlterPartitionReassignments: {name}", "AlterPartitionReassignments", values, versions)


def under_way(name, *topics, every=False):
    topics = None if every else [{"Name": topic_, "PartitionIndexes": indexes} for topic_, indexes in topics]
    return ask(f"ListPartitionReassignments: {name}", "ListPartitionReassignments", {"TimeoutMs": 10_000, "Topics": topics})


STEPS = [
    create("those that are led", topic("led", 3), topic("led-too")),
    elect("one, in every version", ("led", [0]), versions=ALL),
    elect("several", ("led", [0, 2, 1]), ("led-too", [0])),
    elect("unclean", ("led", [0]), how=UNCLEAN, versions=[1, 2]),
    elect("every one, unclean", how=UNCLEAN, every=True, versions=[1, 2]),
    elect("every one", every=True, versions=ALL),
    elect("nothing", versions=ALL),
    elect("no partitions", ("led", [])),
    elect("missing", ("led", [7, -1]), ("missing", [0, 1]), ("", [0])),
    elect("some missing", ("led", [1, 3]), ("missing", [0])),
    elect("a partition twice", ("led", [0, 0])),
    elect("a topic twice", ("led", [0]), ("led", [1])),
    *(elect(f"a way of {how}", ("led", [0]), how=how) for how in (2, -1)),
    reassign("as they are, in every version", ("led", [(0, [1]), (1, [1])]), versions=ALL),
    reassign("called off, in every version", ("led", [(0, None)]), versions=ALL),
    reassign("to nobody", ("led", [(0, [])])),
    reassign("to an unknown broker", ("led", [(0, [2])])),
    reassign("to one more, unknown", ("led", [(0, [1, 2])]), versions=ALL),
    reassign("to one more, and no more allowed", ("led", [(0, [1, 2])]), AllowReplicationFactorChange=False),
    reassign("to as many, and no more allowed", ("led", [(0, [1])]), AllowReplicationFactorChange=False),
    reassign("to fewer than none, and no more allowed", ("led", [(0, [])]), AllowReplicationFactorChange=False),
    reassign("to a broker twice", ("led", [(0, [1, 1])])),
    reassign("to a broker below 0", ("led", [(0, [-1])])),
    reassign("several at fault", ("led", [(0, [3, 2, 2, -5])])),
    reassign("missing", ("led", [(7, [1]), (-1, None)]), ("missing", [(0, [1]), (1, None)]), ("", [(0, [1])])),
    reassign("good and bad", ("led", [(0, [1]), (1, [2]), (2, None)]), ("led-too", [(0, [1])])),
    reassign("a partition twice", ("led", [(0, [1]), (0, [2])])),
    reassign("a topic twice", ("led", [(0, [1])]), ("led", [(1, [2])])),
    reassign("no partitions", ("led", [])),
    reassign("nothing", versions=ALL),
    under_way("every one", every=True),
    under_way("one", ("led", [0])),
    under_way("missing", ("led", [9, -1]), ("missing", [0]), ("", [1])),
    under_way("twice", ("led", [0, 0]), ("led", [1])),
    under_way("nothing"),
    under_way("no partitions", ("led", [])),
    ask("Metadata: of those that are led", "Metadata", {"Topics": [{"Name": "led"}, {"Name": "led-too"}]}),
]
