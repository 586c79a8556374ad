"""One of the two brokers that are asked: the connections of its clients, what it has named so far (ids of topics, producers, sessions,
members), and its answers with everything taken out that may differ between two brokers: those ids, times, addresses, sizes of disks.
"""

import base64
import re
import time
import uuid

import records
import schema
from connection import Connection

SETTLE_SECONDS = 30
# How long a request on one connection is given before the next one goes out on another.
TURN_SECONDS = 0.03
# COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR: a coordinator is not ready yet.
NOT_READY = {14, 15, 16}
# CONCURRENT_TRANSACTIONS: the transaction before is not complete yet.
CONCURRENT = 51
# States of transactions that a broker leaves by itself.
PASSING = {"PrepareCommit", "PrepareAbort", "PrepareEpochFence"}
MAIN = "oracle"
BARRIER = "oracle-barrier"
# Fields whose values are a broker's own, whatever they are.
OWN_FIELDS = {"Port", "TotalBytes", "UsableBytes", "FinalizedFeaturesEpoch", "LogDir", "ClientInstanceId", "LogEndOffset"}
# The same, in what describes a quorum.
OWN_OF_QUORUM = {"LeaderEpoch", "HighWatermark"}
TIME_FIELDS = {"Timestamp", "LogAppendTimeMs", "BaseTimestamp", "MaxTimestamp", "LastTimestamp", "LastFetchTimestamp",
               "LastCaughtUpTimestamp", "TransactionStartTimeMs"}
# A time of now in a text, and one that lies the longest time there is before it.
NOW = re.compile(r"\b1[789]\d{11}\b|-922337\d{13}\b")
# An id that a coordinator draws for a member: the name of its client or instance, and a UUID.
MEMBER_ID = re.compile(r"(?<!\S)(\S{0,300})-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Times of the script's own records lie before this; a broker's clock behind it.
TIME_OWN_MS = 1_750_000_000_000


class TopicId:
    """In a request: the id of the topic of this name, also after the topic is gone."""

    def __init__(self, name):
        self.name = name


class Saved:
    """In a request: what an earlier answer said (`save` of its step)."""

    def __init__(self, name, plus=0):
        self.name = name
        self.plus = plus


class Batch:
    """In a request: a batch of records, some of whose parts are known only when it is sent."""

    def __init__(self, **parts):
        self.parts = parts


class Joined:
    """In a request: batches, or bytes, one behind the other."""

    def __init__(self, *batches):
        self.batches = batches


class Peer:
    """One broker."""

    def __init__(self, name, address, requests, answers):
        host, _, port = address.rpartition(":")
        self.name = name
        self.address = (host, int(port))
        self.requests = requests
        self.answers = answers
        self.connections = {}
        self.correlation = 0
        self.topic_ids = {}
        self.saved = {}
        self.producers = []
        self.barriers = 0
        self.cluster_id = None

    def connection(self, client=MAIN):
        """The connection of the client of that name."""
        if client not in self.connections:
            self.connections[client] = Connection(self.address, client)
        return self.connections[client]

    def begin(self, api, version, values, client=MAIN):
        """Sends a request, whose answer is heard later."""
        connection = self.connection(client)
        self.correlation += 1
        resolved = self.resolve(values, version)
        connection.send(schema.frame(self.requests[api], version, self.correlation, resolved, client))
        connection.pending.append((api, version, self.correlation))

    def hear(self, client=MAIN, answer_version=None):
        """The answer to the oldest request of a client that is not answered yet."""
        connection = self.connection(client)
        data = connection.receive()
        api, version, asked = connection.pending.pop(0)
        version = version if answer_version is None else answer_version
        correlation, answer = schema.parse_answer(self.answers[api], version, data)
        assert correlation == asked, f"{self.name} answers {correlation} to {asked}"
        return answer

    def ask(self, api, version, values, answer_version=None, client=MAIN):
        """Sends a request and gives the answer; raises NoAnswer when there is none."""
        assert not self.connection(client).pending, f"{client} waits for an answer already"
        self.begin(api, version, values, client)
        return self.hear(client, answer_version)

    def ask_until(self, is_enough, *request):
        """The same, again and again until the answer is good for something."""
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            answer = self.ask(*request)
            if is_enough(answer) or time.monotonic() > until:
                return answer
            time.sleep(0.02)

    def await_markers(self, transactional_id):
        """Waits until all partitions of a transaction that was ended know of it."""

        def is_complete(answer):
            return answer["TransactionStates"][0]["TransactionState"] not in PASSING

        self.ask_until(is_complete, "DescribeTransactions", 0, {"TransactionalIds": [transactional_id]})

    def resolve(self, value, version):
        """The value with this broker's own ids in place."""
        if isinstance(value, TopicId):
            return self.topic_ids.get(value.name, schema.NIL)
        if isinstance(value, Saved):
            saved = self.saved[value.name]
            return saved + value.plus if value.plus else saved
        if isinstance(value, Batch):
            return records.batch(**self.resolve(value.parts, version))
        if isinstance(value, Joined):
            return b"".join(self.resolve(list(value.batches), version))
        if isinstance(value, str):
            return value.replace("{v}", str(version))
        if isinstance(value, (list, tuple)):
            return type(value)(self.resolve(element, version) for element in value)
        if isinstance(value, dict):
            return {key: self.resolve(element, version) for key, element in value.items()}
        return value

    def prepare(self):
        """What every later step relies on."""
        self.ask("CreateTopics", 7, {"Topics": [{"Name": BARRIER, "NumPartitions": 1, "ReplicationFactor": 1}], "TimeoutMs": 9000})
        self.cluster_id = self.ask("Metadata", 12, {"Topics": []})["ClusterId"]
        self.settle()

    def settle(self):
        """Waits until what the controller has decided holds on the broker. Decisions are applied in their order, in groups: once
        one is seen, everything of the groups before it is in force."""
        for _ in range(2):
            self.barriers += 1
            value = str(10_000_000 + self.barriers)
            change = {"Name": "retention.ms", "ConfigOperation": 0, "Value": value}
            resource = {"ResourceType": 2, "ResourceName": BARRIER, "Configs": [change]}
            self.ask("IncrementalAlterConfigs", 1, {"Resources": [resource]})
            self.await_value("retention.ms", value)
        for topic in self.ask("Metadata", 12, {"Topics": None})["Topics"]:
            self.topic_ids[topic["Name"]] = topic["TopicId"]

    def await_value(self, key, value):
        wanted = {"ResourceType": 2, "ResourceName": BARRIER, "ConfigurationKeys": [key]}
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            results = self.ask("DescribeConfigs", 4, {"Resources": [wanted]})["Results"]
            if any(config["Value"] == value for config in results[0]["Configs"] or []):
                return
        raise TimeoutError(f"{self.name} does not apply what it has decided")

    def neutral(self, value, field=None):
        """The answer as any broker could have given it."""
        if isinstance(value, dict):
            own = OWN_OF_QUORUM if "CurrentVoters" in value else ()
            return {key: f"<{key}>" if key in own else self.neutral(element, key) for key, element in value.items()}
        if isinstance(value, list):
            return [self.neutral(element, field) for element in value]
        if field == "Records" and isinstance(value, bytes):
            return [self.neutral(batch) for batch in records.describe(value)]
        if isinstance(value, uuid.UUID):
            return self.neutral_id(value)
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, str):
            value = self.neutral_text(value)
        if field in OWN_FIELDS and value not in (0, -1, None, "", "0"):
            return f"<{field}>"
        if isinstance(value, int) and not isinstance(value, bool):
            return self.neutral_number(value, field)
        return value

    def neutral_id(self, value):
        names = [name for name, known in self.topic_ids.items() if known == value]
        return f"<id of {names[-1]}>" if names else "<no id>" if value == schema.NIL else f"<id {value.hex[-4:]}>" if \
            value.int < 1 << 64 else "<new id>"

    def neutral_text(self, text):
        for name, known in self.topic_ids.items():
            text = text.replace(base64.urlsafe_b64encode(known.bytes).decode().rstrip("="), f"<id of {name}>")
        if self.cluster_id:
            text = text.replace(self.cluster_id, "<cluster>")
        text = MEMBER_ID.sub(self.member, text)
        for name, saved in self.saved.items():
            text = text.replace(saved, f"<member {name}>") if isinstance(saved, str) and saved else text
        text = NOW.sub(lambda time_: "<now>" if not 0 < int(time_[0]) < TIME_OWN_MS else time_[0], text)
        text = re.sub(r"x{20,}", lambda run: f"x*{len(run[0])}", text)
        text = re.sub(r"/\S*/data\b", "<folder>", text)
        return text.replace(f"{self.address[0]}:{self.address[1]}", "<address>")

    def member(self, found):
        """What the script calls the member of an id."""
        names = [name for name, saved in self.saved.items() if saved == found[0]]
        return f"<member {names[-1]}>" if names else f"<new member of {found[1]}>"

    def neutral_number(self, value, field):
        if field in TIME_FIELDS and value > TIME_OWN_MS:
            return "<now>"
        if field == "ProducerId" and value in self.producers:
            return f"<producer {self.producers.index(value)}>"
        if field == "SessionId" and value > 0:
            return "<session>"
        return value


def codes(answer):
    """All error codes in an answer."""
    if isinstance(answer, list):
        for element in answer:
            yield from codes(element)
    elif isinstance(answer, dict):
        for key, value in answer.items():
            if key.endswith("ErrorCode"):
                yield value
            else:
                yield from codes(value)


def is_ready(answer):
    """Whether no coordinator was asked too early."""
    return not (NOT_READY | {CONCURRENT}).intersection(codes(answer))
