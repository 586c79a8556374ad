#!/usr/bin/env python3
"""Plays one script of requests against Apache Kafka and Hayate and compares the answers field by field.

    oracle.py --jar kafka-clients.jar --kafka HOST:PORT --hayate HOST:PORT [--show STEP]

Fails on each difference that differences.txt does not list with its reason, and on each line of that list that no answer needed.
The last line says how many requests there were, how many were answered alike, and how many differences are listed.
"""

import argparse
import pathlib
import sys
import time

import compare
import schema
from peer import NoAnswer, Peer
from script import STEPS

HERE = pathlib.Path(__file__).parent


def play(peer, step, version):
    """What the broker makes of one step."""
    try:
        if step.frame is not None:
            return play_frame(peer, step, version)
        if step.is_silent:
            return play_silent(peer, step, version)
        answer = peer.ask_until_ready(step.api, version, step.values, step.answer_version)
    except NoAnswer as error:
        peer.close()
        return {"_connection": str(error)}
    for name, path in step.save.items():
        value = answer
        for key in path:
            value = value[key]
        peer.saved[name] = value
    if step.api == "InitProducerId" and answer["ErrorCode"] == 0:
        peer.producers.append(answer["ProducerId"])
    if step.changes:
        peer.settle()
    return peer.neutral(answer)


def play_frame(peer, step, version):
    """Bytes as they are, on a connection of their own."""
    peer.connect()
    peer.send(step.frame)
    if step.ends:
        peer.socket.shutdown(1)
    answer = peer.receive()
    peer.close()
    return peer.neutral(schema.parse_answer(peer.answers[step.api], version, answer)[1])


def play_silent(peer, step, version):
    """A request that is not answered: the next one is, or the connection is closed."""
    peer.correlation += 1
    peer.send(schema.frame(peer.requests[step.api], version, peer.correlation, peer.resolve(step.values, version)))
    peer.ask("ApiVersions", 0, {})
    return {"_connection": "open"}


class Tally:
    """What came of the comparison."""

    def __init__(self, listed):
        self.listed = listed
        self.requests = self.equal = self.found = 0
        self.unlisted = []

    def add(self, step, version, kafka, hayate):
        found = list(compare.differences(kafka, hayate))
        self.requests += 1
        self.equal += not found
        self.found += len(found)
        for difference in found:
            name = f"{step.name} v{version}"
            covering = next((entry for entry in self.listed if entry.covers(name, *difference)), None)
            if covering:
                covering.count += 1
            else:
                self.unlisted.append((name, *difference))

    def report(self):
        """Whether nothing was found that should not be."""
        stale = [entry for entry in self.listed if not entry.count]
        for difference in self.unlisted:
            print("not listed: " + " | ".join(difference))
        for entry in stale:
            print("listed, but no longer so: " + entry.line)
        print(f"{self.requests} requests of {len(STEPS)} steps; {self.equal} answered alike; "
              f"{self.found - len(self.unlisted)} differences of {len(self.listed)} kinds are listed with a reason; "
              f"{len(self.unlisted)} are not; {len(stale)} are listed in vain")
        return not self.unlisted and not stale


def main():
    parser = argparse.ArgumentParser()
    for option in ("--jar", "--kafka", "--hayate"):
        parser.add_argument(option, required=True)
    parser.add_argument("--show", help="print both answers to the steps with this in their name")
    options = parser.parse_args()
    requests, answers = schema.load(options.jar)
    peers = [Peer(name, getattr(options, name), requests, answers) for name in ("kafka", "hayate")]
    for peer in peers:
        peer.prepare()
    spoken = [{api["ApiKey"]: api["MaxVersion"] for api in peer.ask("ApiVersions", 0, {})["ApiKeys"]} for peer in peers]
    last = {key: min(version, spoken[1].get(key, version)) for key, version in spoken[0].items()}
    tally = Tally(compare.read_list(HERE / "differences.txt"))
    for step in STEPS:
        for version in step.versions_of(requests, last):
            began = time.monotonic()
            seen = [play(peer, step, version) for peer in peers]
            if time.monotonic() - began > 1:
                print(f"slow: {step.name} v{version}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
            tally.add(step, version, *seen)
            if options.show and options.show in step.name:
                print(step.name, version, *seen, sep="\n  ")
    return 0 if tally.report() else 1


if __name__ == "__main__":
    sys.exit(main())
