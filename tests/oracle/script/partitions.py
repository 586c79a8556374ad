"""Topics that grow."""

from .step import ALL, LAST, ask, create, topic


def grow(name, *topics, versions=LAST, validate_only=False):
    values = {
        "Topics": [
            {"Name": name_, "Count": count, "Assignments": assigned and [{"BrokerIds": brokers} for brokers in assigned]}
            for name_, count, assigned in topics
        ],
        "TimeoutMs": 10_000,
        "ValidateOnly": validate_only,
    }
    return ask(f"CreatePartitions: {name}", "CreatePartitions", values, versions)


STEPS = [
    create("those that grow", topic("grow-0"), topic("grow-1"), topic("grow-2"), topic("grow-3"), topic("grow", 2)),
    grow("in every version", ("grow-{v}", 3, None), versions=ALL),
    grow("again, in every version", ("grow-{v}", 3, None), versions=ALL),
    grow("validated only", ("grow", 5, None), versions=ALL, validate_only=True),
    grow("fewer", ("grow", 1, None)),
    grow("as many", ("grow", 2, None)),
    grow("none", ("grow", 0, None)),
    grow("below none", ("grow", -1, None)),
    grow("an unknown topic", ("missing", 2, None)),
    grow("a bad name", ("a b", 2, None), ("", 3, None)),
    grow("twice", ("grow", 3, None), ("grow", 4, None), versions=ALL),
    grow("no topics", versions=ALL),
    grow("several", ("grow", 3, None), ("missing", 3, None), ("grow-0", 2, None)),
    grow("assigned", ("grow", 5, [[1], [1]])),
    grow("assigned too few", ("grow", 8, [[1]])),
    grow("assigned too many", ("grow", 6, [[1], [1], [1]])),
    grow("assigned an unknown broker", ("grow", 6, [[2]])),
    grow("assigned a broker twice", ("grow", 6, [[1, 1]])),
    grow("assigned nobody", ("grow", 6, [[]])),
    grow("assigned more replicas", ("grow", 6, [[1, 2]])),
    grow("assigned unevenly", ("grow", 7, [[1], [1, 2]])),
    grow("assigned, and none", ("grow", 6, [])),
    grow("many, validated only", ("grow", 9_000, None), validate_only=True),
    ask("Metadata: of those that grew", "Metadata", {"Topics": [{"Name": "grow"}, {"Name": "grow-0"}]}),
]
