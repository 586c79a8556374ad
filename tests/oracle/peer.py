"""One of the two brokers that are asked: its connection, what it has named so far (ids of topics, producers, sessions), and its
answers with everything taken out that may differ between two brokers: those ids, times, addresses, sizes of disks.
"""

import base64
import re
import socket
import struct
import time
import uuid

import records
import schema

ANSWER_SECONDS = 5
SETTLE_SECONDS = 30
# COORDINATOR_LOAD_IN_PROGRESS
LOADING = 14
BARRIER = "oracle-barrier"
# Fields whose values are a broker's own, whatever they are.
OWN_FIELDS = {"Port", "TotalBytes", "UsableBytes", "FinalizedFeaturesEpoch", "LogDir", "ClientInstanceId", "LogEndOffset"}
# The same, in what describes a quorum.
OWN_OF_QUORUM = {"LeaderEpoch", "HighWatermark"}
TIME_FIELDS = {"Timestamp", "LogAppendTimeMs", "BaseTimestamp", "MaxTimestamp", "LastTimestamp", "LastFetchTimestamp",
               "LastCaughtUpTimestamp"}
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


class NoAnswer(Exception):
    """The broker has closed the connection, or says nothing."""


class Peer:
    """One broker."""

    def __init__(self, name, address, requests, answers):
        host, _, port = address.rpartition(":")
        self.name = name
        self.address = (host, int(port))
        self.requests = requests
        self.answers = answers
        self.socket = None
        self.correlation = 0
        self.topic_ids = {}
        self.saved = {}
        self.producers = []
        self.barriers = 0
        self.cluster_id = None

    def connect(self):
        self.close()
        self.socket = socket.create_connection(self.address, ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        if self.socket:
            self.socket.close()
            self.socket = None

    def send(self, data):
        if self.socket is None:
            self.connect()
        try:
            self.socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise NoAnswer("closed") from error

    def receive(self):
        """One answer without its length."""
        try:
            return self.exactly(struct.unpack(">i", self.exactly(4))[0])
        except ConnectionResetError as error:
            raise NoAnswer("closed") from error
        except TimeoutError as error:
            raise NoAnswer("silent") from error

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise NoAnswer("closed")
            data += part
        return data

    def ask(self, api, version, values, answer_version=None):
        """Sends a request and gives the answer; raises NoAnswer when there is none."""
        self.correlation += 1
        message = self.requests[api]
        self.send(schema.frame(message, version, self.correlation, self.resolve(values, version)))
        data = self.receive()
        version = version if answer_version is None else answer_version
        correlation, answer = schema.parse_answer(self.answers[api], version, data)
        assert correlation == self.correlation, f"{self.name} answers {correlation} to {self.correlation}"
        return answer

    def ask_until_ready(self, api, version, values, answer_version=None):
        """The same, once the broker has loaded what it needs for it."""
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            answer = self.ask(api, version, values, answer_version)
            if answer.get("ErrorCode") != LOADING or time.monotonic() > until:
                return answer
            time.sleep(0.05)

    def resolve(self, value, version):
        """The value with this broker's own ids in place."""
        if isinstance(value, TopicId):
            return self.topic_ids.get(value.name, schema.NIL)
        if isinstance(value, Saved):
            return self.saved[value.name] + value.plus
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
        text = re.sub(r"x{20,}", lambda run: f"x*{len(run[0])}", text)
        text = re.sub(r"/\S*/data\b", "<folder>", text)
        return text.replace(f"{self.address[0]}:{self.address[1]}", "<address>")

    def neutral_number(self, value, field):
        if field in TIME_FIELDS and value > TIME_OWN_MS:
            return "<now>"
        if field == "ProducerId" and value in self.producers:
            return f"<producer {self.producers.index(value)}>"
        if field == "SessionId" and value > 0:
            return "<session>"
        return value
