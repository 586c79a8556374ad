"""kafka-consumer-groups over a group that lives and one that is left, by both protocols; what the tools that consume leave of theirs."""

import json
import time

from tool import check, demand, demand_equal

# Keys that Kafka's partitioner puts into partitions 0 and 1 of three; partition 2 stays empty.
RECORDS = {0: ("f", 30), 1: ("a", 20)}
TOPIC, GROUPS = {}, {}
PROTOCOLS = {"classic": "range", "consumer": "uniform"}
SECONDS_MAX = 30


def rows(said, *group):
    """The lines of a table after its head, as words; of this group only."""
    return [line.split() for line in said.splitlines() if line.split()[:1] == list(group)]


def describe(tools, group, *words):
    return rows(tools.run("consumer-groups", "--describe", "--group", group, *words), group)


def offsets(tools, group):
    """Partition → committed offset, of a group without members."""
    return {int(row[2]): int(row[3]) for row in describe(tools, group)}


@check("consumer-groups of a group that lives")
def alive(tools):
    topic = TOPIC["name"] = tools.new_topic("groups", 3)
    for key, count in RECORDS.values():
        lines = "".join("%s\t%d\n" % (key, i) for i in range(count))
        tools.run("console-producer", "--topic", topic, "--timeout", "5", "--reader-property", "parse.key=true", stdin=lines)
    for protocol, assignor in PROTOCOLS.items():
        group = GROUPS[protocol] = "%s-%s" % (tools.prefix, protocol)
        words = "topic=%s group=%s assignor=%s protocol=%s session=10000 heartbeat=1000" % (topic, group, assignor, protocol)
        with tools.driver("member " + words) as (await_line, _):
            await_line(r" assigned 0,1,2 ")
            committed = set()
            while len(committed) < len(RECORDS):
                committed.update(await_line(r" committed (.*)").split(","))
                committed &= {"%d:%d" % (partition, count) for partition, (_, count) in RECORDS.items()}
            listed(tools, group, protocol)
            described(tools, group, protocol, assignor)
            refused(tools, group)


def listed(tools, group, protocol):
    kind = protocol.capitalize()
    assert group in tools.run("consumer-groups", "--list").split()
    for words, expected in [
            (["--state"], [[group, "Stable"]]), (["--state", "stable,empty"], [[group, "Stable"]]), (["--state", "empty"], []),
            (["--type"], [[group, kind]]), (["--type", protocol], [[group, kind]]),
            (["--type", {"classic": "consumer", "consumer": "classic"}[protocol]], []),
            (["--type", "--state"], [[group, kind, "Stable"]])]:
        demand_equal((words, rows(tools.run("consumer-groups", "--list", *words), group)), (words, expected))


def described(tools, group, protocol, assignor):
    topic = TOPIC["name"]
    member, = describe(tools, group, "--members", "--verbose")
    classic = protocol == "classic"
    _, identity, host, client, *more = member
    assert host == "/127.0.0.1" and client.startswith("consumer-" + group), member
    epoch = "-" if classic else more[1]
    assert classic or int(epoch) >= 1, member
    demand_equal(more, ["3", epoch, topic + ":0,1,2", epoch, "-" if classic else topic + ":0,1,2"])
    demand_equal(describe(tools, group, "--members"), [[group, identity, host, client, "3"]])
    by = [identity, host, client]
    expected = [[group, topic, "0", "30", "30", "0", *by], [group, topic, "1", "20", "20", "0", *by], [group, topic, "2", "-", "0", "-", *by]]
    demand_equal(describe(tools, group, "--offsets"), expected)
    demand_equal(describe(tools, group), expected)
    verbose = describe(tools, group, "--offsets", "--verbose")
    demand_equal([row[:3] + row[4:] for row in verbose], expected)  # a leader's epoch before the offset
    state = [group, tools.bootstrap, "(1)", assignor, "Stable"]
    demand_equal(describe(tools, group, "--state"), [state + ["1"]])
    demand_equal(describe(tools, group, "--state", "--verbose"), [state + [epoch, epoch, "1"]])
    everything = tools.run("consumer-groups", "--describe", "--all-groups", "--state")
    demand_equal(rows(everything, group), [state + ["1"]])


def refused(tools, group):
    topic = TOPIC["name"]
    for words, expected in [
            (["--delete", "--group", group],
             "* Group '%s' could not be deleted due to: org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty." % group),
            (["--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute"],
             "Error: Assignments can only be reset if the group '%s' is inactive, but the current state is Stable." % group),
            (["--delete-offsets", "--group", group, "--topic", topic + ":0"],
             "org.apache.kafka.common.errors.GroupSubscribedToTopicException: Deleting offsets of a topic is forbidden while the consumer "
             "group is actively subscribed to it.")]:
        said = tools.run("consumer-groups", *words)
        assert expected in said, said


@check("consumer-groups of a group that is left")
def left(tools):
    for protocol, group in GROUPS.items():
        until = time.monotonic() + SECONDS_MAX
        while describe(tools, group, "--members") and time.monotonic() < until:
            time.sleep(0.1)
        topic = TOPIC["name"]
        answer = tools.answer("consumer-groups", "--describe", "--group", group)
        assert "Consumer group '%s' has no active members." % group in answer.err, answer
        demand_equal(rows(answer.out, group), [[group, topic, "0", "30", "30", "0", "-", "-", "-"], [group, topic, "1", "20", "20", "0", "-", "-", "-"]])
        assignor = "-" if protocol == "classic" else PROTOCOLS[protocol]
        demand_equal(describe(tools, group, "--state"), [[group, tools.bootstrap, "(1)", assignor, "Empty", "0"]])
        demand_equal(rows(tools.run("consumer-groups", "--list", "--state", "empty"), group), [[group, "Empty"]])


def reset(tools, group, *words, scope=None):
    """Partition → new offset, as the tool says it."""
    scope = scope or ["--topic", TOPIC["name"]]
    return {int(row[2]): int(row[3]) for row in rows(tools.run("consumer-groups", "--reset-offsets", "--group", group, *scope, *words), group)}


@check("consumer-groups --reset-offsets")
def resets(tools):
    topic = TOPIC["name"]
    two = ["--topic", topic + ":0,1"]
    between = time.strftime("%Y-%m-%dT%H:%M:%S.000", time.gmtime(time.time() - 86_400))
    for group in GROUPS.values():
        before = offsets(tools, group)
        for words, scope, expected in [
                (["--to-earliest"], None, {0: 0, 1: 0, 2: 0}), (["--to-latest"], None, {0: 30, 1: 20, 2: 0}),
                (["--to-offset", "25"], None, {0: 25, 1: 20, 2: 0}), (["--shift-by", "-3"], two, {0: 27, 1: 17}),
                (["--shift-by", "-99"], two, {0: 0, 1: 0}), (["--to-current"], two, {0: 30, 1: 20}),
                (["--to-current"], None, {0: 30, 1: 20, 2: 0}), (["--to-datetime", between], None, {0: 0, 1: 0, 2: 0}),
                (["--to-datetime", "2099-01-01T00:00:00.000"], None, {0: 30, 1: 20, 2: 0}), (["--by-duration", "PT1H"], None, {0: 0, 1: 0, 2: 0}),
                (["--by-duration", "PT0S"], two, {0: 30, 1: 20}), (["--to-earliest"], ["--all-topics"], {0: 0, 1: 0})]:
            demand_equal((words, scope, reset(tools, group, *words, "--dry-run", scope=scope)), (words, scope, expected))
        demand_equal(offsets(tools, group), before)
        for words, scope, expected, after in [
                (["--to-earliest"], two, {0: 0, 1: 0}, {0: 0, 1: 0}), (["--shift-by", "4"], two, {0: 4, 1: 4}, {0: 4, 1: 4}),
                (["--to-offset", "9"], ["--topic", topic + ":1"], {1: 9}, {0: 4, 1: 9}),
                (["--to-latest"], None, {0: 30, 1: 20, 2: 0}, {0: 30, 1: 20, 2: 0}),
                (["--by-duration", "PT1H"], ["--all-topics"], {0: 0, 1: 0, 2: 0}, {0: 0, 1: 0, 2: 0})]:
            demand_equal((words, reset(tools, group, *words, "--execute", scope=scope)), (words, expected))
            demand_equal((words, offsets(tools, group)), (words, after))
        from_file(tools, group)
    tools.refuse("Cannot shift offset for partition %s-2 since there is no current committed offset" % topic, "consumer-groups",
                 "--reset-offsets", "--group", tools.prefix + "-new", "--topic", topic + ":2", "--shift-by", "1", "--execute")


def from_file(tools, group):
    topic = TOPIC["name"]
    plan = tools.text("plan.csv", "%s,0,7\n%s,1,20\n" % (topic, topic))
    demand_equal(reset(tools, group, "--execute", scope=["--from-file", plan]), {0: 7, 1: 20})
    demand_equal(offsets(tools, group), {0: 7, 1: 20, 2: 0})
    exported = tools.run("consumer-groups", "--reset-offsets", "--group", group, "--topic", topic, "--to-current", "--export", "--dry-run")
    demand_equal(sorted(exported.replace('"', '').split()), ["%s,0,7" % topic, "%s,1,20" % topic, "%s,2,0" % topic])


@check("consumer-groups --delete-offsets, --delete")
def deleted(tools):
    topic = TOPIC["name"]
    for group in GROUPS.values():
        said = tools.run("consumer-groups", "--delete-offsets", "--group", group, "--topic", topic + ":1")
        demand(r"^Request succeeded for deleting offsets from group %s\.$" % group, said)
        demand_equal(rows(said, topic), [[topic, "1", "Successful"]])
        demand_equal(offsets(tools, group), {0: 7, 2: 0})
        said = tools.run("consumer-groups", "--delete-offsets", "--group", group, "--topic", "nope:1")
        demand(r"^nope +1 +Error: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: ", said)
    both = [word for group in GROUPS.values() for word in ["--group", group]]
    demand(r"^Deletion of requested consumer groups \(.*\) was successful\.$", tools.run("consumer-groups", "--delete", *both))
    assert not set(GROUPS.values()) & set(tools.run("consumer-groups", "--list").split())
    for group in GROUPS.values():
        said = tools.run("consumer-groups", "--delete", "--group", group)
        demand(r"^\* Group '%s' could not be deleted due to: org.apache.kafka.common.errors.GroupIdNotFoundException: " % group, said)
        demand(r"GroupIdNotFoundException: Group %s not found\.$" % group, tools.run("consumer-groups", "--describe", "--group", group))


@check("consumer-perf-test")
def perf(tools):
    group = tools.prefix + "-perf"
    words = ["--topic", TOPIC["name"], "--num-records", "50", "--group", group, "--hide-header", "--timeout", "20000"]
    said = tools.run("consumer-perf-test", *words)
    demand_equal(demand(r"^[^,]*, [^,]*, [\d.]+, [\d.]+, (\d+), ", said), ("50",))
    demand_equal(offsets(tools, group), {0: 30, 1: 20, 2: 0})
    tools.run("consumer-groups", "--delete", "--group", group)


@check("verifiable-consumer")
def verifiable(tools):
    topic = TOPIC["name"]
    for protocol in PROTOCOLS:
        group = "%s-verifiable-%s" % (tools.prefix, protocol)
        said = tools.alone("verifiable-consumer", "--topic", topic, "--group-id", group, "--max-messages", "50", "--group-protocol", protocol)
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        named = {name: [event for event in events if event["name"] == name] for name in {event["name"] for event in events}}
        given = [event for event in named["partitions_assigned"] if event["partitions"]]
        demand_equal([sorted(at["partition"] for at in event["partitions"]) for event in given], [[0, 1, 2]])
        demand_equal(sum(event["count"] for event in named["records_consumed"]), 50)
        assert all(event["success"] for event in named["offsets_committed"]), events
        demand_equal(offsets(tools, group), {0: 30, 1: 20})
        tools.run("consumer-groups", "--delete", "--group", group)
