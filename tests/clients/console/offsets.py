"""kafka-get-offsets in every form, and kafka-delete-records, over partitions with known numbers of records."""

import re

from tool import check, demand, demand_equal

TOPIC = {}
# Keys that Kafka's partitioner puts into partitions 0 and 1 of three; partition 2 stays empty.
KEYS = {0: "f", 1: "a"}
ENDS = [(0, 30), (1, 20), (2, 0)]


def offsets(tools, *words):
    """`topic:partition:offset` lines as (partition, offset) pairs of the topic of these checks."""
    lines = re.findall(r"^(\S+):(\d+):(-?\d+)$", tools.run("get-offsets", *words), re.MULTILINE)
    return [(int(partition), int(offset)) for topic, partition, offset in lines if topic == TOPIC["name"]]


def send(tools, partition, count):
    lines = "".join("%s\t%d\n" % (KEYS[partition], i) for i in range(count))
    tools.run("console-producer", "--topic", TOPIC["name"], "--timeout", "5", "--reader-property", "parse.key=true", stdin=lines)


@check("get-offsets --time")
def by_time(tools):
    topic = TOPIC["name"] = tools.new_topic("offsets", 3)
    for partition, end in ENDS[:2]:
        send(tools, partition, end - 1)
        send(tools, partition, 1)  # alone, so that its time is the latest
    starts, latest_times = [(0, 0), (1, 0), (2, 0)], [(0, 29), (1, 19)]
    demand_equal(offsets(tools, "--topic", topic), ENDS)
    for name, number, expected in [
            ("latest", -1, ENDS), ("earliest", -2, starts), ("max-timestamp", -3, latest_times), ("earliest-local", -4, starts),
            ("latest-tiered", -5, []), ("earliest-pending-upload", -6, [])]:
        for time in [name, str(number)]:
            demand_equal((time, offsets(tools, "--topic", topic, "--time", time)), (time, expected))
    demand_equal(offsets(tools, "--topic", topic, "--time", "1000"), [(0, 0), (1, 0)])
    demand_equal(offsets(tools, "--topic", topic, "--time", "4102444800000"), [])
    tools.refuse("Malformed time argument x.", "get-offsets", "--topic", topic, "--time", "x")


@check("get-offsets of some partitions")
def by_filter(tools):
    topic = TOPIC["name"]
    for words, expected in [
            (["--topic", topic, "--partitions", "0,2"], [0, 2]),
            (["--topic", topic[:-1] + "."], [0, 1, 2]),
            (["--topic-partitions", topic + ":1-"], [1, 2]),
            (["--topic-partitions", topic + ":-1"], [0]),
            (["--topic-partitions", "%s:0-2" % topic], [0, 1]),
            (["--topic-partitions", "%s:0,%s:2" % (topic, topic)], [0, 2]),
            (["--exclude-internal-topics"], [0, 1, 2])]:
        demand_equal((words, offsets(tools, *words)), (words, [end for end in ENDS if end[0] in expected]))
    tools.refuse("Could not match any topic-partitions with the specified filters", "get-offsets", "--topic", "nope")


def delete(tools, *offsets_by_partition):
    wanted = [{"topic": TOPIC["name"], "partition": partition, "offset": offset} for partition, offset in offsets_by_partition]
    return tools.run("delete-records", "--offset-json-file", tools.file("offsets.json", {"version": 1, "partitions": wanted}))


@check("delete-records")
def delete_records(tools):
    topic = re.escape(TOPIC["name"])
    demand("^partition: %s-0\tlow_watermark: 5$" % topic, delete(tools, (0, 5)))
    said = delete(tools, (0, -1), (1, 7))
    demand("^partition: %s-0\tlow_watermark: 30$" % topic, said)
    demand("^partition: %s-1\tlow_watermark: 7$" % topic, said)
    demand_equal(offsets(tools, "--topic", TOPIC["name"], "--time", "earliest"), [(0, 30), (1, 7), (2, 0)])
    demand_equal(offsets(tools, "--topic", TOPIC["name"]), ENDS)


@check("delete-records that cannot be")
def delete_too_many(tools):
    said = delete(tools, (1, 21))
    demand("^partition: %s-1\terror: .*OffsetOutOfRangeException: The requested offset is not within the range of offsets "
           "maintained by the server.$" % re.escape(TOPIC["name"]), said)
    demand_equal(offsets(tools, "--topic", TOPIC["name"], "--time", "earliest"), [(0, 30), (1, 7), (2, 0)])
