#!/usr/bin/env python3
"""Plays one script of requests against Apache Kafka and Hayate and compares the answers field by field.

    oracle.py --jar kafka-clients.jar --kafka HOST:PORT --hayate HOST:PORT [--show STEP] [--part PART...]

Fails on each difference that differences.txt does not list with its reason, and on each line of that list that no answer needed.
The last line says how many requests there were, how many were answered alike, and how many differences are listed.
"""

import argparse
import pathlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import compare
import schema
from connection import NoAnswer
from peer import MAIN, TURN_SECONDS, Peer, is_ready
from script import PARTS, STEPS
from script.step import ASKED, DROPPED, FRAME, HEARD, SILENT, UNANSWERED, WHOLE

HERE = pathlib.Path(__file__).parent


def play(peer, step, version):
    """What the broker makes of one step."""
    try:
        answer = PLAYS[step.part](peer, step, version)
    except NoAnswer as error:
        peer.connection(step.client or MAIN).close()
        return {"_connection": str(error)}
    if step.part not in (WHOLE, HEARD):
        return answer
    for name, path in step.save.items():
        value = answer
        for key in path:
            value = value[key]
        peer.saved[name.replace("{v}", str(version))] = value
    note(peer, step, version, answer)
    return peer.neutral(answer)


def note(peer, step, version, answer):
    """What an answer means for the steps behind it."""
    if step.api == "InitProducerId" and answer["ErrorCode"] == 0:
        peer.producers.append(answer["ProducerId"])
    if step.api == "EndTxn" and answer["ErrorCode"] == 0:
        peer.producers.append(answer.get("ProducerId", -1))
        peer.await_markers(peer.resolve(step.values["TransactionalId"], version))
    if step.changes:
        peer.settle()


def play_whole(peer, step, version):
    """A request and its answer."""
    request = (step.api, version, step.values, step.answer_version, step.client or MAIN)
    if step.until is None:
        return peer.ask_until(is_ready, *request)
    path, wanted = step.until

    def is_reached(answer):
        for key in path:
            answer = answer[key]
        return answer == wanted

    return peer.ask_until(is_reached, *request)


def play_asked(peer, step, version):
    """A request whose answer is heard in a later step. What comes next on another connection is to come behind it."""
    peer.begin(step.api, version, step.values, step.client)
    time.sleep(TURN_SECONDS)
    return {}


def play_unanswered(peer, step, _version):
    """A request that was asked waits still."""
    return {"_answer": "not yet" if peer.connection(step.client).is_quiet(step.seconds) else "is there"}


def play_dropped(peer, step, _version):
    """The client closes its connection."""
    peer.connection(step.client).close()
    return {}


def play_heard(peer, step, _version):
    """The answer to a request that was asked in an earlier step."""
    return peer.hear(step.client)


def play_frame(peer, step, version):
    """Bytes as they are, on a connection of their own."""
    connection = peer.connection(step.client)
    connection.connect()
    connection.send(step.frame)
    if step.ends:
        connection.end()
    answer = connection.receive()
    connection.close()
    return peer.neutral(schema.parse_answer(peer.answers[step.api], version, answer)[1])


def play_silent(peer, step, version):
    """A request that is not answered: the next one is, or the connection is closed."""
    peer.begin(step.api, version, step.values)
    peer.connection().pending.clear()
    peer.ask("ApiVersions", 0, {})
    return {"_connection": "open"}


PLAYS = {WHOLE: play_whole, ASKED: play_asked, UNANSWERED: play_unanswered, DROPPED: play_dropped, HEARD: play_heard, FRAME: play_frame,
         SILENT: play_silent}


class Tally:
    """What came of the comparison."""

    def __init__(self, listed):
        self.listed = listed
        self.requests = self.equal = self.found = 0
        self.unlisted = []

    def add(self, step, version, kafka, hayate):
        found = list(compare.differences(kafka, hayate))
        self.requests += step.part not in (ASKED, DROPPED)
        self.equal += not found and step.part not in (ASKED, DROPPED)
        self.found += len(found)
        for difference in found:
            name = f"{step.name} v{version}"
            covering = next((entry for entry in self.listed if entry.covers(name, *difference)), None)
            if covering:
                covering.count += 1
            else:
                self.unlisted.append((name, *difference))

    def report(self, is_whole):
        """Whether nothing was found that should not be."""
        stale = [entry for entry in self.listed if not entry.count and is_whole]
        for difference in self.unlisted:
            print("not listed: " + " | ".join(difference))
        for entry in stale:
            print("listed, but no longer so: " + entry.line)
        print(f"{self.requests} requests of {len(STEPS)} steps; {self.equal} answered alike; "
              f"{self.found - len(self.unlisted)} differences of {len(self.listed)} kinds are listed with a reason; "
              f"{len(self.unlisted)} are not; {len(stale)} are listed in vain")
        return not self.unlisted and not stale


def steps_of(options, requests, last):
    """Each step of the script in each of its versions."""
    for part in options.part or PARTS:
        for step in PARTS[part].STEPS:
            for version in step.versions_of(requests, last):
                yield step, version


def play_all(both, peers, steps, tally, show):
    """Plays steps, on all brokers at once."""
    for step, version in steps:
        began = time.monotonic()
        seen = list(both.map(lambda peer: play(peer, step, version), peers))
        if time.monotonic() - began > 1:
            print(f"slow: {step.name} v{version}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
        tally.add(step, version, *seen)
        if show and show in step.name:
            print(step.name, version, *seen, sep="\n  ")


def main():
    parser = argparse.ArgumentParser()
    for option in ("--jar", "--kafka", "--hayate"):
        parser.add_argument(option, required=True)
    parser.add_argument("--show", help="print both answers to the steps with this in their name")
    parser.add_argument("--part", nargs="*", choices=PARTS, help="play these parts of the script alone, whatever they miss of others")
    options = parser.parse_args()
    requests, answers = schema.load(options.jar)
    peers = [Peer(name, getattr(options, name), requests, answers) for name in ("kafka", "hayate")]
    with ThreadPoolExecutor(len(peers)) as both:
        list(both.map(Peer.prepare, peers))
        spoken = [{api["ApiKey"]: api["MaxVersion"] for api in peer.ask("ApiVersions", 0, {})["ApiKeys"]} for peer in peers]
        last = {key: min(version, spoken[1].get(key, version)) for key, version in spoken[0].items()}
        tally = Tally(compare.read_list(HERE / "differences.txt"))
        try:
            play_all(both, peers, steps_of(options, requests, last), tally, options.show)
        except Exception:
            tally.report(is_whole=False)
            raise
    return 0 if tally.report(is_whole=not options.part) else 1


if __name__ == "__main__":
    sys.exit(main())
