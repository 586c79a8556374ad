"""Short ways to write histories of groups: what a member asks, on its own connection."""

import struct

from peer import Saved

from .step import LAST, ask

CONSUMER = "consumer"
NOBODY = "nobody-00000000-0000-0000-0000-000000000000"


def subscription(*topics, data=None):
    """What a consumer tells of itself: Kafka's ConsumerProtocolSubscription, version 0."""
    names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1 if data is None else len(data)) + (data or b"")


def protocols(*names, metadata=None):
    """Protocols of these names in this order of preference."""
    return [{"Name": name, "Metadata": subscription("grp") if metadata is None else metadata} for name in names]


class Group:
    """A group, and what its members ask. Members are called by the names of their connections; each is asked for by the id that it was
    last given, and in the last versions unless it is said otherwise."""

    def __init__(self, name, session=30_000, rebalance=30_000, join=LAST, sync=LAST, heartbeat=LAST, leave=LAST, describe=LAST):
        self.name = name
        self.session = session
        self.rebalance = rebalance
        self.versions = {"JoinGroup": join, "SyncGroup": sync, "Heartbeat": heartbeat, "LeaveGroup": leave, "DescribeGroups": describe}

    def id(self, who):
        return Saved(f"{self.name}/{who}")

    def of(self, api, tell, values, version=None, **rest):
        versions = self.versions.get(api, LAST) if version is None else [version]
        versions = [versions] if isinstance(versions, int) else versions
        return ask(f"{api}: {self.name}: {tell}", api, {"GroupId": self.name, **values}, versions, **rest)

    def join(self, tell, who, id_=None, instance=None, version=None, **values):
        """To join: under an id of its own (`None`), of nobody, or whatever is given."""
        values = {
            "SessionTimeoutMs": self.session, "RebalanceTimeoutMs": self.rebalance, "MemberId": self.id(who) if id_ is None else id_,
            "GroupInstanceId": instance, "ProtocolType": CONSUMER, "Protocols": protocols("range"), **values,
        }
        return self.of("JoinGroup", tell, values, version, client=who, save={f"{self.name}/{who}": ["MemberId"]})

    def first(self, tell, who, **values):
        """To join for the first time, without an id."""
        return self.join(tell, who, id_="", **values)

    def refused(self, tell, who, **values):
        """To join in vain: what it is called in the answer is not kept."""
        step = self.join(tell, who, **values)
        step.save.clear()
        return step

    def enter(self, who, **values):
        """Two steps: to ask for an id, and to join with it."""
        return [self.first(f"{who} asks for its id", who, **values), self.join(f"{who} comes first", who, **values)]

    def sync(self, tell, who, generation, to=(), id_=None, instance=None, version=None, **values):
        """To ask for its assignment; a leader brings those of `to`."""
        values = {
            "GenerationId": generation, "MemberId": self.id(who) if id_ is None else id_, "GroupInstanceId": instance,
            "ProtocolType": CONSUMER, "ProtocolName": "range",
            "Assignments": [{"MemberId": self.id(member), "Assignment": b"for " + member.encode()} for member in to], **values,
        }
        return self.of("SyncGroup", tell, values, version, client=who)

    def heartbeat(self, tell, who, generation, id_=None, instance=None, version=None):
        values = {"GenerationId": generation, "MemberId": self.id(who) if id_ is None else id_, "GroupInstanceId": instance}
        return self.of("Heartbeat", tell, values, version, client=who)

    def leave(self, tell, who, *others, id_=None, instance=None, version=None):
        """To leave; or, of `others` (id, instance), to take them out."""
        own = id_ if id_ is not None else "" if others else self.id(who)
        members = [{"MemberId": member, "GroupInstanceId": of} for member, of in others or [(own, instance)]]
        return self.of("LeaveGroup", tell, {"MemberId": own, "Members": members}, version, client=who)

    def describe(self, tell, version=None, until=None):
        way = ["Groups", 0, "GroupState"]
        step = self.of("DescribeGroups", tell, {}, version, until=until and (way, until))
        step.values = {"Groups": [self.name], "IncludeAuthorizedOperations": True}
        return step

    def alone(self, who="a", instance=None):
        """A stable group of one member, in generation 1."""
        joins = [self.first(f"{who} comes first", who, instance=instance)] if instance else self.enter(who)
        return [*joins, self.sync(f"{who} assigns first", who, 1, [who], instance=instance)]
