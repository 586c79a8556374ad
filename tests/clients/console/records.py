"""The console producer and consumer, kafka-producer-perf-test and kafka-verifiable-producer: what they send is there, once and in
order; and what kafka-transactions knows of those who sent it."""

import json
import re

from tool import check, demand, demand_equal

LINES = ["n:%d\tkey-%d\tline %d äöü" % (i, i % 37, i) for i in range(1, 1001)]
SENT = {}  # topics of these checks by what they hold


def ends(tools, topic):
    """The end offset of each partition, in their order."""
    said = tools.run("get-offsets", "--topic", topic)
    return [int(end) for end in re.findall("^%s:\\d+:(\\d+)$" % re.escape(topic), said, re.MULTILINE)]


def consume(tools, topic, partition, offset, count):
    if count == 0:
        return []
    said = tools.run(
        "console-consumer", "--topic", topic, "--partition", str(partition), "--offset", str(offset), "--max-messages", str(count),
        "--timeout-ms", "60000", "--formatter-property", "print.headers=true", "--formatter-property", "print.key=true")
    return said.splitlines()


@check("console producer, console consumer by partition")
def console(tools):
    topic = SENT["console"] = tools.new_topic("records", 3)
    tools.run("console-producer", "--topic", topic, "--reader-property", "parse.key=true", "--reader-property", "parse.headers=true",
              stdin="".join(line + "\n" for line in LINES))
    counts = ends(tools, topic)
    demand_equal((len(counts), sum(counts)), (3, len(LINES)))
    partitions = [consume(tools, topic, p, "earliest", count) for p, count in enumerate(counts)]
    for lines in partitions:
        demand_equal(lines, sorted(lines, key=LINES.index))
    demand_equal(sorted(sum(partitions, [])), sorted(LINES))


@check("console consumer from an offset")
def console_tail(tools):
    count = ends(tools, SENT["console"])[0]
    tail = consume(tools, SENT["console"], 0, count - 3, 3)
    demand_equal(tail, consume(tools, SENT["console"], 0, "earliest", count)[-3:])


@check("producer-perf-test")
def perf(tools):
    topic = SENT["perf"] = tools.new_topic("perf", 1)
    said = tools.run("producer-perf-test", "--topic", topic, "--num-records", "5000", "--record-size", "100", "--throughput", "-1",
                     "--command-property", "acks=all", "compression.type=lz4")
    demand(r"^5000 records sent, [\d.]+ records/sec \([\d.]+ MB/sec\), [\d.]+ ms avg latency, .* 99.9th\.$", said)
    demand_equal(ends(tools, topic), [5000])


@check("producer-perf-test with a payload file")
def perf_payload(tools):
    said = tools.run("producer-perf-test", "--topic", SENT["perf"], "--num-records", "10", "--payload-file",
                     tools.file("payload", "the payload"), "--throughput", "1000", "--warmup-records", "2")
    demand("^8 steady state records sent, ", said)
    demand_equal(consume(tools, SENT["perf"], 0, 5000, 10), ['NO_HEADERS\tnull\t"the payload"'] * 10)


@check("verifiable-producer")
def verifiable(tools):
    topic = SENT["verifiable"] = tools.new_topic("verifiable", 1)
    said = tools.alone("verifiable-producer", "--topic", topic, "--max-messages", "20", "--acks", "-1", "--value-prefix", "7")
    events = [json.loads(line) for line in said.splitlines()]
    sent = [event for event in events if event["name"] == "producer_send_success"]
    demand_equal([(event["offset"], event["value"]) for event in sent], [(i, "7.%d" % i) for i in range(20)])
    totals = [(event["sent"], event["acked"]) for event in events if event["name"] == "tool_data"]
    demand_equal(totals, [(20, 20)])
    demand_equal(consume(tools, topic, 0, "earliest", 20), ["NO_HEADERS\tnull\t7.%d" % i for i in range(20)])


@check("transactions describe-producers")
def producers(tools):
    said = tools.run("transactions", "describe-producers", "--topic", SENT["perf"], "--partition", "0")
    demand(r"^ProducerId\s+ProducerEpoch\s+LatestCoordinatorEpoch\s+LastSequence\s+LastTimestamp\s+CurrentTransactionStartOffset\s*$", said)
    demand(r"^\d+\s+0\s+-1\s+4999\s+\d{13}\s+None\s*$", said)
    on_broker = tools.run("transactions", "describe-producers", "--topic", SENT["perf"], "--partition", "0", "--broker-id", "1")
    demand_equal(sorted(on_broker.splitlines()), sorted(said.splitlines()))


@check("transactions find-hanging")
def hanging(tools):
    for words in [["--broker-id", "1"], ["--topic", SENT["perf"]], ["--topic", SENT["perf"], "--partition", "0"]]:
        lines = tools.run("transactions", "find-hanging", *words).strip().splitlines()
        demand_equal((words, len(lines)), (words, 1))
        demand(r"^Topic\s+Partition\s+ProducerId\s+ProducerEpoch\s+CoordinatorEpoch\s+StartOffset\s+LastTimestamp\s+Duration\(min\)", lines[0])
