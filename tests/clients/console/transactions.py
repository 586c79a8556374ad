"""kafka-transactions over a transaction that is open: told, ended behind its producer's back on one partition, and ended by force."""

import re

from tool import check, demand, demand_equal

TOPIC = {}
HEADS = {
    "list": "TransactionalId Coordinator ProducerId TransactionState",
    "describe": "CoordinatorId TransactionalId ProducerId ProducerEpoch TransactionState TransactionTimeoutMs "
                "CurrentTransactionStartTimeMs TransactionDurationMs TopicPartitions",
    "describe-producers": "ProducerId ProducerEpoch LatestCoordinatorEpoch LastSequence LastTimestamp CurrentTransactionStartOffset",
    "find-hanging": "Topic Partition ProducerId ProducerEpoch CoordinatorEpoch StartOffset LastTimestamp Duration(min)",
}


def table(tools, command, *words):
    """The lines of the tool's table as words, below the right head."""
    head, *lines = tools.run("transactions", command, *words).strip().splitlines()
    demand_equal(head.split(), HEADS[command].split())
    return [line.split() for line in lines]


def state(tools, name):
    row, = table(tools, "describe", "--transactional-id", name)
    return row[4]


def open_start(tools):
    """Where the open transaction of the topic begins, if there is one."""
    starts = [row[5] for row in table(tools, "describe-producers", "--topic", TOPIC["name"], "--partition", "0")]
    return [start for start in starts if start != "None"]


def transaction(tools, name):
    return tools.driver("transaction topic=%s id=%s" % (TOPIC["name"], name))


@check("transactions list and describe")
def told(tools):
    topic = TOPIC["name"] = tools.new_topic("transactions", 1)
    name = topic + "-told"
    with transaction(tools, name) as (await_line, tell):
        demand_equal(await_line("^open (.*)"), "0")
        row, = table(tools, "list", "--transactional-id-pattern", re.escape(name))
        producer = row[2]
        demand_equal(row, [name, "1", producer, "Ongoing"])
        assert row in table(tools, "list")
        demand_equal(table(tools, "list", "--transactional-id-pattern", "nope-.*"), [])
        assert row not in table(tools, "list", "--duration-filter", "1000000")
        row, = table(tools, "describe", "--transactional-id", name)
        demand_equal(row[:6] + row[8:], ["1", name, producer, row[3], "Ongoing", "60000", topic + "-0"])
        assert re.fullmatch(r"\d{13}", row[6]) and 0 <= int(row[7]) < 60_000, row
        row, = table(tools, "describe-producers", "--topic", topic, "--partition", "0")
        demand_equal([row[0], row[5]], [producer, "0"])
        demand_equal(table(tools, "find-hanging", "--topic", topic), [])
        tell("commit")
        await_line("^ok$")
    tools.refuse("Failed to describe transaction state of transactional-id `nope`: DescribeTransactions request for transactionalId `nope` "
                 "failed because the ID could not be found.", "transactions", "describe", "--transactional-id", "nope")
    tools.until(lambda: demand_equal((state(tools, name), open_start(tools)), ("CompleteCommit", [])))


@check("transactions abort")
def aborted(tools):
    topic, name = TOPIC["name"], TOPIC["name"] + "-aborted"
    with transaction(tools, name) as (await_line, tell):
        start = await_line("^open (.*)")
        demand_equal(open_start(tools), [start])
        at = ["--topic", topic, "--partition", "0", "--start-offset"]
        tools.refuse("Could not find any open transactions starting at offset 999 on partition %s-0" % topic, "transactions", "abort", *at, "999")
        tools.run("transactions", "abort", *at, start)
        demand_equal((open_start(tools), state(tools, name)), ([], "Ongoing"))
        tell("abort")
        await_line("^ok$")
    said = tools.run("console-consumer", "--topic", topic, "--partition", "0", "--offset", "earliest", "--isolation-level", "read_committed",
                     "--timeout-ms", "3000")
    demand_equal(said.split(), ["x"])


@check("transactions forceTerminateTransaction")
def forced(tools):
    name = TOPIC["name"] + "-forced"
    with transaction(tools, name) as (await_line, tell):
        await_line("^open (.*)")
        tools.run("transactions", "forceTerminateTransaction", "--transactionalId", name)
        tools.until(lambda: demand_equal((state(tools, name), open_start(tools)), ("Empty", [])))
        tell("commit")
        demand(r"^error .*(ProducerFenced|InvalidProducerEpoch)", await_line("^(error .*|ok)"))
