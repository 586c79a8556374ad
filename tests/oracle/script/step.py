"""What a step of the script is, and short ways to write one."""

from dataclasses import dataclass, field

ALL = "all"
LAST = "last"
# After these the brokers are given time to apply what was decided.
CHANGING = {"CreateTopics", "DeleteTopics", "CreatePartitions", "AlterConfigs", "IncrementalAlterConfigs", "Metadata", "UpdateFeatures"}


@dataclass
class Step:
    """One request in one or more versions. `{v}` in its texts is the version."""

    name: str
    api: str = None
    values: dict = field(default_factory=dict)
    # ALL that Kafka has, the LAST that both have, or these.
    versions: object = LAST
    # The version that is answered in, where it is not the request's.
    answer_version: int = None
    # Bytes to send as they are, instead of a request; `ends` says that no more come. They are answered as `api` is.
    frame: bytes = None
    ends: bool = False
    # A request without an answer.
    is_silent: bool = False
    # Values of the answer to keep, by name: the way to each.
    save: dict = field(default_factory=dict)

    @property
    def changes(self):
        return self.frame is None and self.api in CHANGING

    def versions_of(self, requests, last):
        """The versions in which this step is played; `last` has the last that both brokers speak, by the kind's number."""
        if self.frame is not None:
            return self.versions
        message = requests[self.api]
        known = list(message.versions)
        if self.versions == LAST:
            return [last.get(message.key, known[-1])]
        return known if self.versions == ALL else list(self.versions)


def ask(name, api, values=None, versions=LAST, **rest):
    return Step(name, api, values or {}, versions, **rest)


def topic(name, partitions=1, replicas=1, configs=None, assignments=()):
    """A topic to be created."""
    return {
        "Name": name,
        "NumPartitions": partitions,
        "ReplicationFactor": replicas,
        "Assignments": [{"PartitionIndex": partition, "BrokerIds": list(brokers)} for partition, brokers in assignments],
        "Configs": [{"Name": key, "Value": value} for key, value in (configs or [])],
    }


def create(name, *topics, versions=LAST, validate_only=False):
    values = {"Topics": list(topics), "TimeoutMs": 10_000, "ValidateOnly": validate_only}
    return ask(f"CreateTopics: {name}", "CreateTopics", values, versions)
