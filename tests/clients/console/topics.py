"""kafka-topics: what it makes it lists and describes, what it changes shows, and what cannot be is refused in Kafka's words."""

import re

from tool import check, demand, demand_equal

PARTITION = r"^\tTopic: %s\tPartition: (\d+)\tLeader: 1\tReplicas: 1\tIsr: 1\t"


def partitions_described(tools, topic, *words):
    return re.findall(PARTITION % re.escape(topic), tools.run("topics", "--describe", "--topic", topic, *words), re.MULTILINE)


@check("topics --create, --describe")
def create(tools):
    topic = tools.new_topic("topics", 3, "--replication-factor", "1", "--config", "retention.ms=86400000")
    said = tools.run("topics", "--describe", "--topic", topic)
    head = r"^Topic: %s\tTopicId: ([\w-]{22})\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: (\S+)$"
    topic_id, configs = demand(head % re.escape(topic), said)
    assert "retention.ms=86400000" in configs.split(","), configs
    demand_equal(partitions_described(tools, topic), ["0", "1", "2"])
    demand(r"^Topic: .*\tTopicId: %s\t" % topic_id, tools.run("topics", "--describe", "--topic-id", topic_id))


@check("topics --create of an existing topic")
def create_twice(tools):
    tools.refuse("Topic '%s' already exists." % tools.topics[0], "topics", "--create", "--topic", tools.topics[0])
    demand_equal(tools.run("topics", "--create", "--topic", tools.topics[0], "--if-not-exists"), "")
    demand_equal(partitions_described(tools, tools.topics[0]), ["0", "1", "2"])


@check("topics --create with a replica assignment")
def create_assigned(tools):
    topic = tools.prefix + "-assigned"
    demand("^Created topic", tools.run("topics", "--create", "--topic", topic, "--replica-assignment", "1,1"))
    demand_equal(partitions_described(tools, topic), ["0", "1"])
    demand_equal(tools.run("topics", "--delete", "--topic", topic), "")


@check("topics --create of what cannot be")
def create_refused(tools):
    def refuse(why, topic, *words):
        tools.refuse(why, "topics", "--create", "--topic", topic, *words)

    topic = tools.prefix + "-refused"
    refuse("Topic name is invalid: 'bad name' contains one or more characters other than ASCII alphanumerics", "bad name")
    refuse("Unknown topic config name: nope", topic, "--config", "nope=1")
    refuse("Invalid value x for configuration retention.ms: Not a number of type LONG", topic, "--config", "retention.ms=x")
    refuse("The target replication factor of 3 cannot be reached because only 1 broker(s) are registered.", topic,
           "--replication-factor", "3")
    assert topic not in tools.run("topics", "--list").split()


@check("topics --list")
def listed(tools):
    assert tools.topics[0] in tools.run("topics", "--list").split()
    demand_equal(tools.run("topics", "--list", "--topic", tools.topics[0] + "|nope").split(), [tools.topics[0]])


@check("topics --describe of what needs attention")
def describe_filtered(tools):
    topic = tools.topics[0]
    for nothing in ["--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions"]:
        demand_equal(tools.run("topics", "--describe", "--topic", topic, nothing), "")
    demand_equal(partitions_described(tools, topic, "--at-min-isr-partitions"), ["0", "1", "2"])
    demand(r"^Topic: %s\t.*retention.ms=86400000" % re.escape(topic), tools.run("topics", "--describe", "--topics-with-overrides"))
    tools.refuse("Topic 'nope' does not exist as expected", "topics", "--describe", "--topic", "nope")


@check("topics --alter")
def alter(tools):
    topic = tools.topics[0]
    demand_equal(tools.run("topics", "--alter", "--topic", topic, "--partitions", "5"), "")
    demand_equal(partitions_described(tools, topic), ["0", "1", "2", "3", "4"])


@check("topics --alter to fewer partitions")
def alter_down(tools):
    topic = tools.topics[0]
    why = "The topic %s currently has 5 partition(s); 4 would not be an increase." % topic
    tools.refuse(why, "topics", "--alter", "--topic", topic, "--partitions", "4")
    tools.refuse("Topic 'nope' does not exist as expected", "topics", "--alter", "--topic", "nope", "--partitions", "4")
