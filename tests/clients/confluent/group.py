"""`member WORDS` of the confluent driver: one member of a group that says what happens to it (tests/clients/README.md), until a line
arrives on standard input."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from member import Journal


def settings(bootstrap, words):
    config = {
        "bootstrap.servers": bootstrap, "group.id": words["group"], "enable.auto.commit": False, "auto.offset.reset": "earliest",
        "check.crcs": True, "fetch.wait.max.ms": 100, "max.poll.interval.ms": 60_000, "reconnect.backoff.max.ms": 200, "log_level": 2,
    }
    if "instance" in words:
        config["group.instance.id"] = words["instance"]
    if words.get("protocol") == "consumer":
        return {**config, "group.protocol": "consumer", "group.remote.assignor": words["assignor"]}
    return {**config, "session.timeout.ms": int(words["session"]), "heartbeat.interval.ms": int(words["heartbeat"]),
            "partition.assignment.strategy": words["assignor"]}


class Member:
    def __init__(self, bootstrap, words):
        self.topic = words["topic"]
        self.journal = Journal()
        self.consumer = Consumer(settings(bootstrap, words))
        # By the consumer protocol librdkafka may hand over, of a partition that comes back, what an earlier query of its beginning
        # brought, before it goes on at the committed offset: strays, which are below it.
        self.floors = {}
        self.knows_floors = words.get("protocol") == "consumer"
        # Where partitions come and go while others stay, it may hand over the last record of one that stays a second time: a stray too.
        self.last = {}
        self.may_repeat = self.knows_floors or "cooperative" in words["assignor"]

    def run(self):
        journal = self.journal
        self.consumer.subscribe([self.topic], on_assign=self.assigned, on_revoke=self.revoked,
                                on_lost=lambda _, at: self.gone("lost", plain(at)))
        try:
            while not journal.told.is_set():
                message = self.consumer.poll(0.1)
                if message is not None and message.error() is None:
                    self.consumed(message.partition(), message.offset())
                elif message is not None and (message.error().fatal() or message.error().code() == KafkaError._FATAL):
                    raise KafkaException(message.error())
                if journal.may_commit():
                    self.commit()
            self.consumer.close()
        except Exception as e:
            journal.say("failed", *repr(e).split())
            raise
        journal.say("closed")
        return "ok"

    def consumed(self, partition, offset):
        if offset < self.floors.get(partition, 0) or (self.may_repeat and offset == self.last.get(partition)):
            self.journal.say("stray", "%d:%d-%d" % (partition, offset, offset))
        else:
            self.last[partition] = offset
            self.journal.consumed(partition, offset)

    def assigned(self, _, partitions):
        self.journal.assigned(plain(partitions))
        if self.knows_floors and partitions:
            self.floors.update((at.partition, at.offset) for at in self.consumer.committed(partitions, timeout=10))

    def revoked(self, _, partitions):
        self.commit(plain(partitions))
        self.gone("revoked", plain(partitions))

    def gone(self, how, partitions):
        self.journal.gone(how, partitions)
        for partition in partitions:
            self.last.pop(partition, None)

    def commit(self, partitions=None):
        now = self.journal.committing(partitions)
        if not now:
            return
        offsets = [TopicPartition(self.topic, partition, offset) for partition, offset in now.items()]
        try:
            answered = self.consumer.commit(offsets=offsets, asynchronous=False)
            failed = [at.error for at in answered if at.error is not None]
            if failed:
                raise KafkaException(failed[0])
        except KafkaException as e:
            self.journal.uncommitted(e)
            return
        self.journal.committed(now)


def plain(partitions):
    return {at.partition for at in partitions}
