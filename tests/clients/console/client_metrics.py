"""kafka-client-metrics (KIP-714): subscriptions are made, listed, described, refused and deleted."""

import re

from tool import check, demand, demand_equal


def run(tools, *words):
    return tools.run("client-metrics", *words)


@check("client-metrics --alter, --describe, --list, --delete")
def subscription(tools):
    name = tools.prefix + "-metrics"
    demand("^Altered client metrics config for %s.$" % re.escape(name), run(
        tools, "--alter", "--name", name, "--metrics", "org.apache.kafka.producer.", "--interval", "30000",
        "--match", "client_id=b,client_software_name=.*"))
    said = run(tools, "--describe", "--name", name)
    demand("^Client metrics configs for %s are:$" % re.escape(name), said)
    demand_equal(sorted(line.strip() for line in said.splitlines()[1:] if line), [
        "interval.ms=30000", "match=client_id=b,client_software_name=.*", "metrics=org.apache.kafka.producer."])
    assert name in run(tools, "--list").split()
    demand("^Deleted client metrics config for %s.$" % re.escape(name), run(tools, "--delete", "--name", name))
    assert name not in run(tools, "--list").split()
    demand("^The client metric resource %s doesn't exist and doesn't have dynamic config.$" % re.escape(name),
           run(tools, "--describe", "--name", name))


@check("client-metrics --generate-name")
def generated(tools):
    name, = demand(r"^Altered client metrics config for ([\w-]{22}).$", run(
        tools, "--alter", "--generate-name", "--metrics", "org.apache.kafka.consumer.", "--interval", "5000"))
    assert name in run(tools, "--list").split()
    run(tools, "--delete", "--name", name)


@check("client-metrics that cannot be")
def refused(tools):
    name = tools.prefix + "-bad"
    for why, words in [
            ("Invalid value 5 for interval.ms, interval must be between 100 and 3600000 (1 hour)", ["--interval", "5"]),
            ("Illegal client matching pattern", ["--match", "client_id"]),
            ("Illegal client matching pattern", ["--match", "client_id=["])]:
        tools.refuse(why, "client-metrics", "--alter", "--name", name, *words)
    assert name not in run(tools, "--list").split()
