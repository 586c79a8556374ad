"""Client telemetry (KIP-714) from end to end: what a producer of Kafka's pushes by itself stands on the broker's page of metrics for as
long as it is there, once kafka-client-metrics has asked for it."""

import time

from tool import check

SECONDS_MAX = 90
PUSHES_MIN = 3


def of_client(tools, client):
    """The series of that client: values by the name of the metric and what else tells them apart."""
    shown = {}
    for series, value in tools.series().items():
        if series.startswith("hayate_client_metric_") and 'client_id="%s"' % client in series:
            shown[series] = value
    return shown


def wait_until(what, ask):
    """The first answer of `ask` that is not nothing."""
    deadline = time.monotonic() + SECONDS_MAX
    while not (answer := ask()):
        assert time.monotonic() < deadline, "%s not within %d s" % (what, SECONDS_MAX)
        time.sleep(0.05)
    return answer


def sent(tools, client):
    """How many records the client says to have sent."""
    start = 'hayate_client_metric_total{metric="org.apache.kafka.producer.record.send.total",'
    return sum(value for series, value in of_client(tools, client).items() if series.startswith(start))


@check("client-metrics: what a producer pushes is shown", reads_metrics=True)
def pushed(tools):
    topic, client = tools.new_topic("pushing", 1), tools.prefix + "-pushing"
    tools.run("client-metrics", "--alter", "--name", client, "--metrics", "org.apache.kafka.producer.", "--interval", "100",
              "--match", "client_id=" + client)
    settings = tools.properties("pushing.properties", {"client.id": client})
    pushes = tools.series()["hayate_client_metrics_pushes_total"]
    with tools.running("verifiable-producer", "--topic", topic, "--throughput", "50", "--command-config", settings):
        first = wait_until("a push", lambda: sent(tools, client))
        wait_until("more records in a later push", lambda: sent(tools, client) > first)
        wait_until("%d pushes" % PUSHES_MIN, lambda: tools.series()["hayate_client_metrics_pushes_total"] >= pushes + PUSHES_MIN)
        shown = of_client(tools, client)
        assert any('metric="org.apache.kafka.producer.topic.record.send.rate"' in series and 'topic="%s"' % topic in series
                   for series in shown), shown
        assert all('metric="org.apache.kafka.producer.' in series for series in shown), shown
        end = tools.run("get-offsets", "--topic", topic, "--time", "latest").strip().rpartition(":")[2]
        assert 0 < first <= int(end), (first, end)
    wait_until("the end of the series of a client that has gone", lambda: not of_client(tools, client))
    tools.run("client-metrics", "--delete", "--name", client)
