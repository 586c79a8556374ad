"""What the tools tell of the cluster itself: its id, its nodes, their requests' versions, features, quorum and log folders."""

import json
import re

from tool import check, demand, demand_equal

METADATA_VERSION = "4.2-IV1"


@check("cluster cluster-id")
def cluster_id(tools):
    demand(r"\ACluster ID: [\w-]{22}\n\Z", tools.run("cluster", "cluster-id"))


@check("cluster list-endpoints")
def endpoints(tools):
    host, _, port = tools.bootstrap.rpartition(":")
    said = tools.run("cluster", "list-endpoints")
    demand(r"^ID\s+HOST\s+PORT\s+RACK\s+STATE\s+ENDPOINT_TYPE\s*$", said)
    demand(r"^1\s+%s\s+%s\s+null\s+unfenced\s+broker\s*$" % (re.escape(host), port), said)
    demand_equal(tools.run("cluster", "list-endpoints", "--include-fenced-brokers"), said)


@check("broker-api-versions")
def api_versions(tools):
    said = tools.run("broker-api-versions")
    demand(r"^%s \(id: 1 rack: null isFenced: false\) -> \($" % re.escape(tools.bootstrap), said)
    for request in [
            "Produce(0): 0 to 13 [usable: 13]", "Fetch(1): 4 to 18 [usable: 18]", "Metadata(3): 0 to 13 [usable: 13]",
            "ApiVersions(18): 0 to 4 [usable: 4]", "CreateTopics(19): 2 to 7 [usable: 7]", "DeleteTopics(20): 1 to 6 [usable: 6]",
            "DeleteRecords(21): 0 to 2 [usable: 2]", "DescribeConfigs(32): 1 to 4 [usable: 4]",
            "DescribeLogDirs(35): 1 to 4 [usable: 4]", "CreatePartitions(37): 0 to 3 [usable: 3]",
            "IncrementalAlterConfigs(44): 0 to 1 [usable: 1]", "DescribeQuorum(55): 0 to 2 [usable: 2]",
            "UpdateFeatures(57): 0 to 2 [usable: 2]", "DescribeCluster(60): 0 to 2 [usable: 2]",
            "DescribeProducers(61): 0 [usable: 0]", "DescribeTopicPartitions(75): 0 [usable: 0]"]:
        demand(r"^\t%s,?$" % re.escape(request), said)


def features(tools):
    """Feature → (lowest, highest, finalized level), from `kafka-features describe`."""
    line = r"^Feature: (\S+)\tSupportedMinVersion: (\S+)\tSupportedMaxVersion: (\S+)\tFinalizedVersionLevel: (\S+)\tEpoch: \d+$"
    return {name: levels for name, *levels in re.findall(line, tools.run("features", "describe"), re.MULTILINE)}


@check("features describe")
def features_described(tools):
    demand_equal(features(tools)["metadata.version"], ["3.3-IV3", METADATA_VERSION, METADATA_VERSION])


@check("features upgrade and downgrade, --dry-run")
def features_dry(tools):
    before = features(tools)
    demand("^metadata.version can be upgraded to 29.$",
           tools.run("features", "upgrade", "--feature", "metadata.version=29", "--dry-run"))
    demand("^metadata.version can be downgraded to 28.$",
           tools.run("features", "downgrade", "--feature", "metadata.version=28", "--dry-run"))
    demand_equal(features(tools), before)


@check("features downgrade and upgrade")
def features_changed(tools):
    before = features(tools)
    demand("^metadata.version was downgraded to 28.$",
           tools.run("features", "downgrade", "--feature", "metadata.version=28"))
    demand_equal(features(tools)["metadata.version"], ["3.3-IV3", METADATA_VERSION, "4.2-IV0"])
    demand("^metadata.version was upgraded to 29.$", tools.run("features", "upgrade", "--feature", "metadata.version=29"))
    demand_equal(features(tools), before)


@check("features that cannot be")
def features_refused(tools):
    tools.refuse("Could not upgrade no.such to 1. The update failed for all features since the following feature had an error: "
                 "Invalid update version 1 for feature no.such. Local controller 1 does not support this feature.",
                 "features", "upgrade", "--feature", "no.such=1")
    tools.refuse("Local controller 1 only supports versions 7-29", "features", "upgrade", "--feature", "metadata.version=99")
    tools.refuse("Can not downgrade metadata.version to 21. The update failed for all features since the following feature had an "
                 "error: Unsupported metadata.version downgrade from 29 to 21. Refusing to perform the requested downgrade because "
                 "it might delete metadata information.", "features", "downgrade", "--metadata", "3.9", "--dry-run")


@check("metadata-quorum describe --status")
def quorum_status(tools):
    said = tools.run("metadata-quorum", "describe", "--status")
    cluster, = demand(r"^Cluster ID: (\S+)$", tools.run("cluster", "cluster-id"))
    for name, value in [
            ("ClusterId", re.escape(cluster)), ("LeaderId", "1"), ("LeaderEpoch", r"\d+"), ("HighWatermark", r"[1-9]\d*"),
            ("MaxFollowerLag", "0"), ("MaxFollowerLagTimeMs", "0"), ("CurrentObservers", r"\[\]")]:
        demand(r"^%s:\s+%s$" % (name, value), said)
    voter, = json.loads(demand(r"^CurrentVoters:\s+(.*)$", said)[0])
    assert voter["id"] == 1 and re.fullmatch(r"[\w-]{22}", voter["directoryId"]), voter
    address, = voter["endpoints"]
    demand(r"^\w+://\S+:\d+$", address)


@check("metadata-quorum describe --replication")
def quorum_replication(tools):
    head = r"\ANodeId\s+DirectoryId\s+LogEndOffset\s+Lag\s+LastFetchTimestamp\s+LastCaughtUpTimestamp\s+Status\s*\n"
    row = head + r"1\s+[\w-]{22}\s+[1-9]\d*\s+0\s+%s\s+%s\s+Leader\s*\n\s*\Z"
    demand(row % (r"\d{13}", r"\d{13}"), tools.run("metadata-quorum", "describe", "--replication"))
    readable = tools.run("metadata-quorum", "describe", "--replication", "--human-readable")
    demand(row % (r"\d+ ms ago", r"\d+ ms ago"), readable)


def log_dirs(tools, *words):
    said = tools.run("log-dirs", "--describe", *words)
    demand("^Received log directory information from brokers 1$", said)
    told, = json.loads(said[said.index("{"):])["brokers"]
    demand_equal(told["broker"], 1)
    return told["logDirs"]


@check("log-dirs")
def log_dirs_described(tools):
    topic = tools.new_topic("dirs", 2)
    tools.run("producer-perf-test", "--topic", topic, "--num-records", "10", "--record-size", "1000", "--throughput", "-1")
    folder, = log_dirs(tools, "--topic-list", topic, "--broker-list", "1")
    assert folder["error"] is None and folder["logDir"].startswith("/"), folder
    found = sorted(folder["partitions"], key=lambda partition: partition["partition"])
    demand_equal([(p["partition"], p["offsetLag"], p["isFuture"]) for p in found], [(topic + "-0", 0, False), (topic + "-1", 0, False)])
    assert 10_000 < sum(partition["size"] for partition in found) < 12_000, found
    everything = {partition["partition"] for folder in log_dirs(tools) for partition in folder["partitions"]}
    assert everything > {topic + "-0", topic + "-1"}, everything


@check("log-dirs of a broker that is not there")
def log_dirs_refused(tools):
    tools.refuse("ERROR: The given brokers do not exist from --broker-list: 9. Current existent brokers: 1",
                 "log-dirs", "--describe", "--broker-list", "9")
