"""Two answers held against each other field by field, and the kept list of differences that have a reason. Lists of structures are
compared by their keys: their order means nothing, except in ORDERED.
"""

import re

# What names a structure within its list, in this order of weight.
KEYS = ["ApiKey", "ResourceType", "ResourceName", "Name", "TopicName", "Topic", "TopicId", "PartitionIndex", "Partition", "Index",
        "PartitionId", "BrokerId", "NodeId", "ReplicaId", "LogDir", "Feature", "GroupId", "MemberId", "TransactionalId", "Key", "ProducerId"]
ORDERED = {"Synonyms", "Records", "RecordErrors"}
# Lists of plain values whose order means nothing.
SETS = {"Partitions", "UnknownStateFilters", "SubscribedTopicNames"}
ABSENT = "<absent>"


def label(element):
    """The name of a structure within its list."""
    return "/".join(str(element[key]) for key in KEYS if key in element) or "-"


def labelled(elements, field):
    """A list as a dict, by what its elements are called."""
    found = {}
    if field in SETS and not any(isinstance(element, dict) for element in elements):
        elements = sorted(elements)
    for place, element in enumerate(elements):
        name = label(element) if isinstance(element, dict) and field not in ORDERED else str(place)
        repeated = 1
        while (key := name if repeated == 1 else f"{name}#{repeated}") in found:
            repeated += 1
        found[key] = element
    return found


def differences(kafka, hayate, path="", field=None):
    """Each (path, Kafka's value, Hayate's value) in which they differ."""
    if isinstance(kafka, list) and isinstance(hayate, list):
        kafka, hayate = labelled(kafka, field), labelled(hayate, field)
    if isinstance(kafka, dict) and isinstance(hayate, dict):
        names = list(kafka) + [name for name in hayate if name not in kafka]
        for name in names:
            inner = f"{path}.{name}" if path else name
            yield from differences(kafka.get(name, ABSENT), hayate.get(name, ABSENT), inner, name)
    elif kafka != hayate:
        yield path, show(kafka), show(hayate)


def show(value):
    """A value in a word or two: of what is larger, that it is there."""
    if isinstance(value, (dict, list)):
        return "<present>" if value else "<empty>"
    return str(value).replace("\n", "\\n").replace("|", "¦").strip() or "<no text>"


class Listed:
    """A difference with a reason: `step | field | Kafka's | Hayate's | reason`, where * stands for anything."""

    def __init__(self, line):
        parts = [part.strip() for part in line.split(" | ")]
        if len(parts) != 5 or not all(parts):
            raise ValueError(f"five parts: {line}")
        self.line = line
        self.patterns = [re.compile(".*".join(map(re.escape, part.split("*")))) for part in parts[:4]]
        self.count = 0

    def covers(self, *difference):
        return all(pattern.fullmatch(value) for pattern, value in zip(self.patterns, difference))


def read_list(path):
    """The kept list."""
    with open(path, encoding="utf-8") as lines:
        return [Listed(line.rstrip("\n")) for line in lines if line.strip() and not line.startswith("#")]
