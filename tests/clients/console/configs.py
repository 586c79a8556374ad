"""kafka-configs: what is set for topics, brokers, all brokers, loggers and client metrics, where each value comes from, and which
changes are refused in which words."""

import re

from tool import check, demand, demand_equal


def configs(tools, what, entity, *words):
    return tools.run("configs", what, "--entity-type", *entity, *words)


def described(tools, entity, *words):
    """name → (value, synonyms), from the lines that kafka-configs prints."""
    said = configs(tools, "--describe", entity, *words)
    lines = re.findall(r"^  (\S+?)=(.*?) sensitive=(?:true|false) synonyms=\{(.*)\}$", said, re.MULTILINE)
    return {name: (value, synonyms) for name, value, synonyms in lines}


def alter(tools, entity, *words):
    demand(r"^Completed updating (default )?config for ", configs(tools, "--alter", entity, *words))


def refuse(tools, why, entity, *words):
    tools.refuse(why, "configs", "--alter", "--entity-type", *entity, *words)


@check("configs of a topic")
def of_topic(tools):
    topic = ["topics", "--entity-name", tools.new_topic("configs", 1)]
    alter(tools, topic, "--add-config", "segment.ms=7200000,cleanup.policy=[compact,delete]")
    found = described(tools, topic)
    demand_equal(found["segment.ms"][0], "7200000")
    demand_equal(found["cleanup.policy"], (
        "compact,delete", "DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete"))
    alter(tools, topic, "--delete-config", "cleanup.policy")
    assert described(tools, topic).keys() == {"segment.ms"}
    demand("^Dynamic configs for topic %s are:\n  segment.ms=7200000 " % re.escape(topic[-1]),
           configs(tools, "--describe", ["topics"]))


@check("configs of a topic, --all")
def of_topic_all(tools):
    found = described(tools, ["topics", "--entity-name", tools.topics[-1]], "--all")
    for name, value, synonyms in [
            ("segment.ms", "7200000", "DYNAMIC_TOPIC_CONFIG:segment.ms=7200000"),
            ("cleanup.policy", "delete", "DEFAULT_CONFIG:log.cleanup.policy=delete"),
            ("compression.type", "producer", "DEFAULT_CONFIG:compression.type=producer"),
            ("max.message.bytes", "1048588", "DEFAULT_CONFIG:message.max.bytes=1048588"),
            ("message.timestamp.type", "CreateTime", "DEFAULT_CONFIG:log.message.timestamp.type=CreateTime"),
            ("segment.bytes", "1073741824", "DEFAULT_CONFIG:log.segment.bytes=1073741824"),
            ("unclean.leader.election.enable", "false", "DEFAULT_CONFIG:unclean.leader.election.enable=false"),
            ("index.interval.bytes", "4096", "DEFAULT_CONFIG:log.index.interval.bytes=4096"),
            ("retention.bytes", "-1", "DEFAULT_CONFIG:log.retention.bytes=-1")]:
        demand_equal((name, *found[name]), (name, value, synonyms))


@check("configs of a topic that cannot be")
def of_topic_refused(tools):
    topic = ["topics", "--entity-name", tools.topics[-1]]
    refuse(tools, "Unknown topic config name: nope", topic, "--add-config", "nope=1")
    refuse(tools, "Invalid value x for configuration retention.ms: Not a number of type LONG", topic,
           "--add-config", "retention.ms=x")
    refuse(tools, "Invalid config(s): flush.ms", topic, "--delete-config", "flush.ms")
    demand("^The topic 'nope' doesn't exist and doesn't have dynamic config.$",
           configs(tools, "--describe", ["topics", "--entity-name", "nope"]))
    assert described(tools, topic).keys() == {"segment.ms"}


@check("configs of brokers")
def of_brokers(tools):
    here, default = ["brokers", "--entity-name", "1"], ["brokers", "--entity-default"]
    alter(tools, default, "--add-config", "log.roll.jitter.ms=5000")
    alter(tools, here, "--add-config", "log.roll.jitter.ms=6000")
    both = "DYNAMIC_BROKER_CONFIG:log.roll.jitter.ms=6000, DYNAMIC_DEFAULT_BROKER_CONFIG:log.roll.jitter.ms=5000"
    of_here = described(tools, here)["log.roll.jitter.ms"]
    assert of_here[0] == "6000" and of_here[1].startswith(both), of_here
    demand_equal(described(tools, default)["log.roll.jitter.ms"], (
        "5000", "DYNAMIC_DEFAULT_BROKER_CONFIG:log.roll.jitter.ms=5000"))
    of_a_topic = described(tools, ["topics", "--entity-name", tools.topics[-1]], "--all")["segment.jitter.ms"]
    assert of_a_topic[0] == "6000" and of_a_topic[1].startswith(both), of_a_topic
    alter(tools, here, "--delete-config", "log.roll.jitter.ms")
    assert "log.roll.jitter.ms=5000" in configs(tools, "--describe", ["brokers"])
    alter(tools, default, "--delete-config", "log.roll.jitter.ms")
    assert "log.roll.jitter.ms" not in described(tools, default)


@check("configs of a broker, --all")
def of_broker_all(tools):
    found = described(tools, ["brokers", "--entity-name", "1"], "--all")
    demand_equal(found["node.id"][0], "1")
    assert tools.bootstrap in found["listeners"][0] and "STATIC_BROKER_CONFIG" in found["listeners"][1], found["listeners"]
    demand_equal(found["num.partitions"], ("1", "DEFAULT_CONFIG:num.partitions=1"))
    demand_equal(found["message.max.bytes"], ("1048588", "DEFAULT_CONFIG:message.max.bytes=1048588"))
    demand_equal(found["log.retention.hours"], ("168", "DEFAULT_CONFIG:log.retention.hours=168"))


@check("configs of brokers that are fixed")
def of_brokers_fixed(tools):
    here = ["brokers", "--entity-name", "1"]
    refuse(tools, "Cannot update these configs dynamically: Set(num.partitions)", here, "--add-config", "num.partitions=9")
    demand_equal(described(tools, here, "--all")["num.partitions"][0], "1")


@check("configs of broker loggers")
def of_loggers(tools):
    loggers = ["broker-loggers", "--entity-name", "1"]
    levels = {name: value for name, (value, _) in described(tools, loggers).items()}
    assert len(levels) > 1 and set(levels.values()) <= {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF"}, levels
    logger = next(name for name in levels if name != "root")
    alter(tools, loggers, "--add-config", logger + "=ERROR")
    demand_equal(described(tools, loggers)[logger][0], "ERROR")
    alter(tools, loggers, "--delete-config", logger)
    demand_equal(described(tools, loggers)[logger][0], levels["root"])


@check("configs of broker loggers that cannot be")
def of_loggers_refused(tools):
    loggers = ["broker-loggers", "--entity-name", "1"]
    levels = "Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
    refuse(tools, "Cannot set the log level of root to LOUD as it is not a supported log level. " + levels, loggers,
           "--add-config", "root=LOUD")
    refuse(tools, "Removing the log level of the root logger is not allowed", loggers, "--delete-config", "root")
    refuse(tools, "Invalid broker logger(s): no.such.logger", loggers, "--add-config", "no.such.logger=INFO")


@check("configs of client metrics")
def of_client_metrics(tools):
    name = tools.prefix + "-configs"
    subscription = ["client-metrics", "--entity-name", name]
    alter(tools, subscription, "--add-config",
          "metrics=[org.apache.kafka.producer.,org.apache.kafka.consumer.],interval.ms=1000,match=[client_id=a.*]")
    demand_equal({key: value for key, (value, _) in described(tools, subscription).items()}, {
        "metrics": "org.apache.kafka.producer.,org.apache.kafka.consumer.", "interval.ms": "1000", "match": "client_id=a.*"})
    assert name in configs(tools, "--describe", ["client-metrics"])
    alter(tools, subscription, "--delete-config", "metrics,interval.ms,match")
    assert name not in configs(tools, "--describe", ["client-metrics"])
