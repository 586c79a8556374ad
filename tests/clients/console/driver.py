#!/usr/bin/env python3
"""Kafka's own command line tools against a broker: `driver.py BOOTSTRAP [WORD [METRICS]]`, WORD being in the names of the checks to run.
METRICS is the address of the broker's page of metrics; without it the checks that read it are left out.

One line a check, `ok NAME` or `FAIL NAME: why`, then `N passed, N failed`. Each check holds what a tool prints against what Apache
Kafka 4.2 says there; all pass against Kafka itself, which has no such page."""

import pathlib
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from tool import CHECKS, Tools, check  # noqa: E402
import topics, configs, client_metrics, telemetry, offsets, records, groups, transactions, cluster, admin  # noqa: E401, E402, F401: their checks, in this order


@check("topics --delete")
def delete(tools):
    for topic in tools.topics:
        tools.run("topics", "--delete", "--topic", topic)
    deadline = time.monotonic() + 30  # Kafka's broker may still show what its controller has deleted
    while left := set(tools.topics) & set(tools.run("topics", "--list").split()):
        assert time.monotonic() < deadline, left
    tools.refuse("Topic 'nope' does not exist as expected", "topics", "--delete", "--topic", "nope")
    tools.run("topics", "--delete", "--topic", "nope", "--if-exists")


def main(bootstrap, word="", metrics=""):
    tools = Tools(bootstrap, metrics)
    passed = failed = 0
    for name, function, reads_metrics in CHECKS:
        if word not in name or (reads_metrics and not metrics):
            continue
        try:
            function(tools)
            passed += 1
            print("ok   tools: " + name, flush=True)
        except Exception as e:  # whatever went wrong is this check's answer
            failed += 1
            print("FAIL tools: %s: %s" % (name, " ".join(re.sub(r"\n\tat .*", "", str(e) or repr(e)).split())[:700]), flush=True)
    tools.close()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
