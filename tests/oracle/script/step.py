"""What a step of the script is, and short ways to write one."""

from dataclasses import dataclass, field, replace

ALL = "all"
LAST = "last"
SHARED = "shared"
# How much of a request a step is: all of it, with its answer; only its sending; whether its answer is there; only its answer; or that
# it is given up, with its connection.
WHOLE, ASKED, UNANSWERED, HEARD, DROPPED = "whole", "asked", "unanswered", "heard", "dropped"
# Bytes as they are, instead of a request; and a request that is never answered.
FRAME, SILENT = "frame", "silent"
# After these the brokers are given time to apply what was decided.
CHANGING = {"CreateTopics", "DeleteTopics", "CreatePartitions", "AlterConfigs", "IncrementalAlterConfigs", "Metadata", "UpdateFeatures"}


@dataclass
class Step:
    """One request in one or more versions. `{v}` in its texts is the version."""

    name: str
    api: str = None
    values: dict = field(default_factory=dict)
    # ALL that Kafka has, all SHARED ones, the LAST that both have, or these.
    versions: object = LAST
    # The version that is answered in, where it is not the request's.
    answer_version: int = None
    part: str = WHOLE
    # What a FRAME sends; `ends` says that no more comes. It is answered as `api` is.
    frame: bytes = None
    ends: bool = False
    # On whose connection, which bears that name; on one that all steps share when it is nobody's.
    client: str = None
    # Asked again until the way to a value in the answer leads to this one: (way, value).
    until: tuple = None
    # How long an answer is not to come.
    seconds: float = 0
    # Values of the answer to keep, by name: the way to each.
    save: dict = field(default_factory=dict)

    @property
    def changes(self):
        return self.part == WHOLE and self.api in CHANGING

    def versions_of(self, requests, last):
        """The versions in which this step is played; `last` has the last that both brokers speak, by the kind's number."""
        if self.part == FRAME:
            return self.versions
        message = requests[self.api]
        known = list(message.versions)
        if self.versions == LAST:
            return [last.get(message.key, known[-1])]
        if self.versions == SHARED:
            return [version for version in known if version <= last.get(message.key, known[-1])]
        return known if self.versions == ALL else list(self.versions)


def ask(name, api, values=None, versions=LAST, **rest):
    return Step(name, api, values or {}, versions, **rest)


def asked(step):
    """Only that a request is sent."""
    return replace(step, name=f"{step.name} (asked)", part=ASKED, save={})


def unanswered(step, seconds=0.15):
    """That a request which was asked is not answered yet, nor for so long."""
    return replace(step, name=f"{step.name} (unanswered)", part=UNANSWERED, save={}, seconds=seconds)


def dropped(step):
    """Nobody waits any more for the answer to a request that was asked."""
    return replace(step, name=f"{step.name} (dropped)", part=DROPPED, save={})


def given_up(step, seconds=0.5):
    """A request that a broker might never answer, on a connection of its own."""
    step = replace(step, client=step.client or "given-up")
    return [asked(step), unanswered(step, seconds), dropped(step)]


def heard(step):
    """Only the answer to a request that was asked."""
    return replace(step, part=HEARD)


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
