"""The quorum, the features of the cluster, and the levels of the broker's log."""

from .configs import APPEND, BROKER, DELETE, LOGGER, SET, TOPIC, describe, incremental
from .step import ALL, LAST, ask

METADATA = "__cluster_metadata"
UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3


def quorum(name, *partitions, versions=LAST):
    topics = [{"TopicName": topic, "Partitions": [{"PartitionIndex": index} for index in indexes]} for topic, indexes in partitions]
    return ask(f"DescribeQuorum: {name}", "DescribeQuorum", {"Topics": topics}, versions)


def features(name, *updates, versions=LAST, validate_only=False):
    """Before version 1, instead of how to change a level, whether it may go down."""
    updates = [
        {"Feature": feature, "MaxVersionLevel": level, "UpgradeType": how, "AllowDowngrade": how > UPGRADE} for feature, level, how in updates
    ]
    return ask(f"UpdateFeatures: {name}", "UpdateFeatures", {"FeatureUpdates": updates, "ValidateOnly": validate_only}, versions)


STEPS = [
    quorum("in every version", (METADATA, [0]), versions=ALL),
    quorum("another partition", (METADATA, [1]), versions=ALL),
    quorum("another topic", ("conf", [0]), versions=ALL),
    quorum("nothing", versions=ALL),
    quorum("no partitions", (METADATA, [])),
    quorum("more than one", (METADATA, [0]), ("conf", [0])),
    features("nothing", versions=ALL),
    features("one that nobody knows", ("no.such.feature", 1, UPGRADE), versions=ALL),
    features("one that nobody knows, off", ("no.such.feature", 0, UPGRADE)),
    features("no name", ("", 1, UPGRADE)),
    features("the level that is there", ("metadata.version", 29, UPGRADE), versions=ALL, validate_only=True),
    features("a level to come", ("metadata.version", 99, UPGRADE), versions=ALL),
    features("a level that is gone", ("metadata.version", 1, UNSAFE_DOWNGRADE)),
    features("a level below 0", ("metadata.version", -1, SAFE_DOWNGRADE)),
    features("a lower level, as an upgrade", ("metadata.version", 20, UPGRADE), versions=ALL),
    features("off, as an upgrade", ("metadata.version", 0, UPGRADE)),
    features("off", ("metadata.version", 0, SAFE_DOWNGRADE)),
    features("a way that is none", ("metadata.version", 29, 7), validate_only=True),
    features("one good and one bad", ("metadata.version", 29, UPGRADE), ("no.such.feature", 3, UPGRADE), validate_only=True),
    describe("a level", (LOGGER, "1", ["no.such.logger"])),
    describe("levels of a broker that is no number", (LOGGER, "one", None)),
    incremental("a level of nobody", (LOGGER, "1", [("no.such.logger", SET, "INFO")])),
    incremental("a level that is none", (LOGGER, "1", [("root", SET, "LOUD")])),
    incremental("a level of another broker", (LOGGER, "2", [("root", SET, "INFO")])),
    incremental("a level of no broker", (LOGGER, "one", [("root", SET, "INFO")])),
    incremental("levels without a broker", (LOGGER, "", [("root", SET, "INFO")])),
    incremental("the root's level deleted", (LOGGER, "1", [("root", DELETE, None)])),
    incremental("a level appended", (LOGGER, "1", [("root", APPEND, "INFO")])),
    incremental("a level of null", (LOGGER, "1", [("root", SET, None)])),
    incremental("the root's level", (LOGGER, "1", [("root", SET, "INFO")])),
    incremental("the root's level in small letters", (LOGGER, "1", [("root", SET, "info")])),
    incremental("a level, and a topic", (LOGGER, "1", [("root", SET, "INFO")]), (TOPIC, "conf", [("retention.ms", SET, "100000")])),
    describe("a broker's level and its settings", (LOGGER, "1", ["root"]), (BROKER, "1", ["node.id"])),
]
