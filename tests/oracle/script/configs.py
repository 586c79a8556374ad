"""Configurations: every key of a topic with good values and bad, brokers', and what they say of themselves."""

from .step import ALL, LAST, ask, create, given_up, topic

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)
LONG_MAX, INT_MAX = 2**63 - 1, 2**31 - 1

LONGS = ["0", "1", "-1", "-2", " 7 ", "+5", "x", "", "1.5", str(LONG_MAX), str(LONG_MAX + 1)]
INTS = ["0", "1", "-1", "13", "14", "1024", "x", str(INT_MAX), str(INT_MAX + 1)]
TRUTHS = ["true", "FALSE", " true ", "yes", "1", ""]

# What is tried for each key of a topic, in this order; the last good value stays.
VALUES = {
    "cleanup.policy": ["compact", "compact,delete", "delete,delete", "delete, compact", "DELETE", "none", "", " ", "delete"],
    "compression.gzip.level": ["-1", "0", "1", "9", "10", "-2", "x"],
    "compression.lz4.level": ["0", "1", "17", "18", "-1", "9"],
    "compression.type": ["gzip", "snappy", "lz4", "zstd", "uncompressed", "none", "GZIP", "", "producer"],
    "compression.zstd.level": ["-131072", "-131073", "0", "22", "23", "3"],
    "delete.retention.ms": LONGS,
    "file.delete.delay.ms": LONGS,
    "flush.messages": ["0", "-1", "x", "1", "100", str(LONG_MAX)],
    "flush.ms": ["-1", "x", "0", str(LONG_MAX)],
    "follower.replication.throttled.replicas": ["*", "0:1", "0:1,1:1", "x", "", "0:1,", "a:b"],
    "index.interval.bytes": INTS,
    "leader.replication.throttled.replicas": ["*", "0:1", "none"],
    "local.retention.bytes": ["-2", "-1", "-3", "0", "100"],
    "local.retention.ms": ["-2", "-1", "-3", "100"],
    "max.compaction.lag.ms": ["0", "1", "-1", "100000"],
    "max.message.bytes": ["-1", "0", "x", str(INT_MAX), "1000000"],
    "message.timestamp.after.max.ms": ["-1", "0", "x", "3600000"],
    "message.timestamp.before.max.ms": ["-1", "0", "x", str(LONG_MAX)],
    "message.timestamp.type": ["LogAppendTime", "logappendtime", "NoTimestampType", "", "CreateTime"],
    "min.cleanable.dirty.ratio": ["0", "1", "0.25", "1.1", "-0.1", "x", "1e-1", "NaN", "0.50", "0.5f"],
    "min.compaction.lag.ms": ["0", "-1", "200000", "10"],
    "min.insync.replicas": ["0", "2", "-1", "x", "1"],
    "preallocate": TRUTHS,
    "remote.log.copy.disable": ["true", "false", "x"],
    "remote.log.delete.on.disable": ["true", "false", "x"],
    "remote.storage.enable": ["true", "x", "false"],
    "retention.bytes": ["-1", "-2", "0", "x", "1000000000"],
    "retention.ms": LONGS,
    "segment.bytes": ["0", "13", "14", "1048575", "1048576", "x", str(INT_MAX), str(INT_MAX + 1), "2000000"],
    "segment.index.bytes": ["3", "4", "-1", "1000000"],
    "segment.jitter.ms": ["-1", "0", "1000"],
    "segment.ms": ["0", "1", "-1", "100000000"],
    "unclean.leader.election.enable": TRUTHS,
    "message.format.version": ["3.0"],
    "message.downconversion.enable": ["true"],
    "message.timestamp.difference.max.ms": ["1000"],
    "internal.segment.bytes": ["100000"],
    "num.partitions": ["3"],
    "Retention.ms": ["1000"],
    "": ["1"],
}

# The same for a broker.
BROKER_VALUES = {
    "log.retention.ms": ["1000000", "-1", "-2", "0", "x"],
    "log.retention.bytes": ["1000000", "-2"],
    "log.segment.bytes": ["2000000", "10"],
    "message.max.bytes": ["900000", "-1"],
    "compression.type": ["gzip", "nothing"],
    "log.cleanup.policy": ["compact", "nothing"],
    "log.message.timestamp.type": ["LogAppendTime", "nothing"],
    "min.insync.replicas": ["1", "0"],
    "num.io.threads": ["9", "0", "x", "1000"],
    "num.network.threads": ["4", "0"],
    "num.recovery.threads.per.data.dir": ["3", "0"],
    "background.threads": ["11"],
    "log.cleaner.threads": ["2"],
    "max.connections": ["1000000", "-1"],
    "max.connections.per.ip": ["100000"],
    "unclean.leader.election.enable": ["true", "x"],
    "num.partitions": ["7"],
    "broker.id": ["7"],
    "node.id": ["7"],
    "log.dirs": ["/nowhere"],
    "log.retention.hours": ["7"],
    "auto.create.topics.enable": ["false"],
    "no.such.key": ["1"],
    "": ["1"],
}


def incremental(name, *resources, versions=LAST, validate_only=False):
    values = {
        "Resources": [
            {
                "ResourceType": kind,
                "ResourceName": resource,
                "Configs": [{"Name": key, "ConfigOperation": operation, "Value": value} for key, operation, value in configs],
            }
            for kind, resource, configs in resources
        ],
        "ValidateOnly": validate_only,
    }
    return ask(f"IncrementalAlterConfigs: {name}", "IncrementalAlterConfigs", values, versions)


def alter(name, *resources, versions=LAST, validate_only=False):
    values = {
        "Resources": [
            {
                "ResourceType": kind,
                "ResourceName": resource,
                "Configs": [{"Name": key, "Value": value} for key, value in configs],
            }
            for kind, resource, configs in resources
        ],
        "ValidateOnly": validate_only,
    }
    return ask(f"AlterConfigs: {name}", "AlterConfigs", values, versions)


def describe(name, *resources, versions=LAST, synonyms=False, documentation=False):
    values = {
        "Resources": [
            {"ResourceType": kind, "ResourceName": resource, "ConfigurationKeys": keys} for kind, resource, keys in resources
        ],
        "IncludeSynonyms": synonyms,
        "IncludeDocumentation": documentation,
    }
    return ask(f"DescribeConfigs: {name}", "DescribeConfigs", values, versions)


def tried(kind, resource, values, tell):
    """Each value of each key, one at a time."""
    return [
        incremental(f"{tell} {key or 'no key'} = {value!r}", (kind, resource, [(key, SET, value)]))
        for key, tried_ in values.items()
        for value in tried_
    ]


BEFORE = [
    create("those that are configured", topic("conf"), topic("conf-old"), topic("conf-list")),
    describe("a topic, in every version", (TOPIC, "conf", None), versions=ALL),
    describe("a topic with synonyms", (TOPIC, "conf", None), versions=ALL, synonyms=True),
    describe("a topic with words", (TOPIC, "conf", None), versions=ALL, documentation=True),
    describe("some keys", (TOPIC, "conf", ["retention.ms", "no.such.key", "segment.bytes"])),
    describe("no keys", (TOPIC, "conf", [])),
    describe("a key twice", (TOPIC, "conf", ["retention.ms", "retention.ms"])),
    describe("a topic twice", (TOPIC, "conf", ["retention.ms"]), (TOPIC, "conf", ["segment.bytes"])),
    describe("a topic that is missing", (TOPIC, "missing", None), versions=ALL),
    describe("bad names", (TOPIC, "", None), (TOPIC, "a b", None), (TOPIC, "x" * 250, None), (TOPIC, "..", None)),
    describe("nothing", versions=ALL),
    describe("a broker, in every version", (BROKER, "1", None), versions=ALL),
    describe("a broker with synonyms", (BROKER, "1", None), synonyms=True),
    describe("a broker with words", (BROKER, "1", None), documentation=True),
    describe("some keys of a broker", (BROKER, "1", ["log.retention.ms", "num.partitions", "no.such.key"]), synonyms=True),
    describe("keys of a broker by their other names", synonyms=True, *[
        (BROKER, "1", ["log.retention.hours", "log.retention.minutes", "log.roll.hours", "log.roll.ms", "log.dir", "log.dirs"])]),
    describe("all brokers", (BROKER, "", None), synonyms=True),
    describe("another broker", (BROKER, "2", None)),
    describe("a broker that is no number", (BROKER, "one", None)),
    describe("a broker below 0", (BROKER, "-1", None)),
    describe("a broker with a space", (BROKER, " 1", None)),
    describe("a broker with a sign", (BROKER, "+1", None), (BROKER, "01", None)),
    *(describe(f"type {kind}", (kind, "1", None)) for kind in (0, 1, 3, 5, 127, -1)),
    describe("metrics of clients", (METRICS, "some", None)),
    describe("metrics of clients without a name", (METRICS, "", None)),
    describe("a group", (GROUP, "some", None), synonyms=True),
    describe("a group without a name", (GROUP, "", None)),
    describe("loggers of another broker", (LOGGER, "2", None)),
    describe("loggers of no broker", (LOGGER, "", None)),
    describe("one good, one bad", (TOPIC, "conf", ["retention.ms"]), (TOPIC, "missing", None), (0, "x", None)),
]

CHANGED = [
    *tried(TOPIC, "conf", VALUES, "topic"),
    describe("a topic after all that", (TOPIC, "conf", None), synonyms=True),
    incremental("in every version", (TOPIC, "conf-list", [("retention.ms", SET, "{v}1000")]), versions=ALL),
    incremental("validated only", (TOPIC, "conf-list", [("retention.ms", SET, "5")]), versions=ALL, validate_only=True),
    incremental("validated only, and bad", (TOPIC, "conf-list", [("retention.ms", SET, "x")]), validate_only=True),
    incremental("deleted", (TOPIC, "conf-list", [("retention.ms", DELETE, None)])),
    incremental("deleted again", (TOPIC, "conf-list", [("retention.ms", DELETE, None)])),
    incremental("deleted with a value", (TOPIC, "conf-list", [("retention.ms", DELETE, "5")])),
    incremental("an unknown key deleted", (TOPIC, "conf-list", [("no.such.key", DELETE, None)])),
    incremental("appended", (TOPIC, "conf-list", [("cleanup.policy", APPEND, "compact")])),
    incremental("appended again", (TOPIC, "conf-list", [("cleanup.policy", APPEND, "compact")])),
    describe("what was appended", (TOPIC, "conf-list", ["cleanup.policy"]), synonyms=True),
    incremental("appended what is none", (TOPIC, "conf-list", [("cleanup.policy", APPEND, "nothing")])),
    incremental("subtracted", (TOPIC, "conf-list", [("cleanup.policy", SUBTRACT, "delete")])),
    incremental("subtracted what is not there", (TOPIC, "conf-list", [("cleanup.policy", SUBTRACT, "delete")])),
    incremental("subtracted to nothing", (TOPIC, "conf-list", [("cleanup.policy", SUBTRACT, "compact")])),
    describe("what is left", (TOPIC, "conf-list", ["cleanup.policy"]), synonyms=True),
    incremental("appended to what is no list", (TOPIC, "conf-list", [("retention.ms", APPEND, "5")])),
    incremental("subtracted from what is no list", (TOPIC, "conf-list", [("retention.ms", SUBTRACT, "5")])),
    incremental("appended to an unknown key", (TOPIC, "conf-list", [("no.such.key", APPEND, "5")])),
    incremental("an operation that is none", (TOPIC, "conf-list", [("retention.ms", 4, "5")])),
    incremental("an operation below 0", (TOPIC, "conf-list", [("retention.ms", -1, "5")])),
    incremental("null set", (TOPIC, "conf-list", [("retention.ms", SET, None)])),
    incremental("null set twice over", (TOPIC, "conf-list", [("retention.ms", SET, None), ("segment.ms", APPEND, None)])),
    incremental("a key twice", (TOPIC, "conf-list", [("retention.ms", SET, "5"), ("retention.ms", DELETE, None)])),
    incremental("no keys", (TOPIC, "conf-list", [])),
    incremental("no resources", versions=ALL),
    incremental("a topic twice", (TOPIC, "conf-list", [("retention.ms", SET, "5")]), (TOPIC, "conf-list", [("segment.ms", SET, "5")])),
    incremental("one good, one bad", (TOPIC, "conf-list", [("retention.ms", SET, "7")]), (TOPIC, "conf", [("retention.ms", SET, "x")])),
    incremental("one key good, one bad", (TOPIC, "conf-list", [("segment.ms", SET, "7"), ("retention.ms", SET, "x")])),
    incremental("a missing topic", (TOPIC, "missing", [("retention.ms", SET, "5")])),
    incremental("a missing topic and a bad value", (TOPIC, "missing", [("retention.ms", SET, "x")])),
    incremental("no name", (TOPIC, "", [("retention.ms", SET, "5")])),
    incremental("bad names", (TOPIC, "a b", [("retention.ms", SET, "5")]), (TOPIC, "..", [("retention.ms", SET, "5")])),
    *(incremental(f"type {kind}", (kind, "1", [("a", SET, "b")])) for kind in (0, 1, 3, 127, -1)),
    describe("a topic after changes", (TOPIC, "conf-list", None)),
    alter("in every version", (TOPIC, "conf-old", [("retention.ms", "{v}1000"), ("segment.ms", "9")]), versions=ALL),
    describe("what was altered", (TOPIC, "conf-old", ["retention.ms", "segment.ms"])),
    alter("others", (TOPIC, "conf-old", [("max.message.bytes", "1000")])),
    describe("what was altered again", (TOPIC, "conf-old", ["retention.ms", "segment.ms", "max.message.bytes"])),
    alter("validated only", (TOPIC, "conf-old", []), versions=ALL, validate_only=True),
    alter("a bad value", (TOPIC, "conf-old", [("retention.ms", "x")])),
    alter("an unknown key", (TOPIC, "conf-old", [("no.such.key", "x")])),
    alter("null", (TOPIC, "conf-old", [("retention.ms", None)])),
    alter("a key twice", (TOPIC, "conf-old", [("retention.ms", "1"), ("retention.ms", "2")])),
    *given_up(alter("a topic twice", (TOPIC, "conf-old", [("retention.ms", "1")]), (TOPIC, "conf-old", []))),
    alter("a missing topic", (TOPIC, "missing", [("retention.ms", "1")])),
    alter("bad names", (TOPIC, "", []), (TOPIC, "a b", [])),
    alter("type 0", (0, "x", [])),
    alter("nothing left", (TOPIC, "conf-old", [])),
    describe("what is left of it", (TOPIC, "conf-old", ["retention.ms", "segment.ms", "max.message.bytes"])),
]

BROKERS = [
    *tried(BROKER, "1", BROKER_VALUES, "broker"),
    describe("a broker after all that", (BROKER, "1", list(BROKER_VALUES)), synonyms=True),
    describe("a topic under it", (TOPIC, "conf-old", None), synonyms=True),
    *(incremental(f"all brokers {key or 'no key'} = {values[0]!r}", (BROKER, "", [(key, SET, values[0])]))
      for key, values in BROKER_VALUES.items()),
    describe("all brokers after all that", (BROKER, "", None), synonyms=True),
    describe("a broker under them", (BROKER, "1", list(BROKER_VALUES)), synonyms=True),
    incremental("another broker", (BROKER, "2", [("log.retention.ms", SET, "5")])),
    incremental("no broker", (BROKER, "x", [("log.retention.ms", SET, "5")])),
    incremental("a broker and all", (BROKER, "1", [("log.retention.ms", DELETE, None)]), (BROKER, "", [("log.retention.ms", SET, "77")])),
    incremental("a broker appends", (BROKER, "1", [("log.cleanup.policy", APPEND, "delete")])),
    incremental("a broker's unknown key deleted", (BROKER, "1", [("no.such.key", DELETE, None)])),
    alter("a broker", (BROKER, "1", [("log.retention.ms", "9")])),
    describe("what became of the broker", (BROKER, "1", list(BROKER_VALUES)), synonyms=True),
    alter("nothing left of the broker", (BROKER, "1", [])),
    alter("nothing left of all brokers", (BROKER, "", [])),
    incremental("all brokers, nothing left", (BROKER, "", [(key, DELETE, None) for key in BROKER_VALUES if key])),
    describe("what is left of all brokers", (BROKER, "", None)),
    describe("a topic in the end", (TOPIC, "conf-old", None), synonyms=True),
]

STEPS = BEFORE + CHANGED + BROKERS
