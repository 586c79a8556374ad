#!/usr/bin/env python3
"""Judges what the members of one group say happened to them (tests/clients/README.md). Knows no client and no broker.

    history.py FILE…      complaints about each history, one a line; exit code 1 when there is one
    history.py --prove    the judge itself: it must accept the good histories of proofs.py and refuse each bad one for what is bad

A history has one event a line, `<milliseconds> <member> <event> [words]`; `-` stands for the world, which disturbs the group. Held are:

  one owner     no partition is owned by two members at a time; what a member that died or sleeps owned goes to another only once its
                session is over, unless its place was taken by one of the same instance
  no re-read    who comes to own a partition begins at the offset that was committed last: not below one that was acknowledged to its owner
  no gap        nor above every one that was asked for; and it goes on without gap or repetition as long as it owns the partition
  no late word  a commit of one who has lost the partition is not acknowledged
  all is read   in the end every offset of every partition was consumed, none beyond, and the committed offsets are the ends
  in time       within the time that follows a disturbance every partition is owned by a member that lives, every member has its
                assignment, and each that owns something had a commit acknowledged
  left alone    a disturbance that is none for the others moves nothing of theirs
"""

import collections
import pathlib
import sys

sys.dont_write_bytecode = True
# A heartbeat may have come this long before a member fell silent, and a session ends this much earlier on another's clock.
SESSION_SLACK_MS = 2_500

Event = collections.namedtuple("Event", "at who what words")


class Member:
    """What one member believes, and what the world did to it."""

    def __init__(self):
        self.owned = {}  # partition → where it goes on, None before its first record
        self.silent_since = None  # killed or stopped, and not yet awake and told
        self.state = "lives"  # or `sleeps`, `dead`
        self.replaced = False  # another took its instance: its partitions may go at once
        self.asked = None  # the commit under way: (when, offsets)
        self.told_since = None  # when it had its last assignment
        self.heard_since = None  # when its last acknowledged commit was asked for


class Judge:
    def __init__(self, partitions, session_ms):
        self.partitions = partitions
        self.session_ms = session_ms
        self.members = {}
        self.owners = {}  # partition → (member, since)
        self.acked, self.sent = {}, {}  # partition → the highest offset acknowledged, asked for
        self.read = collections.defaultdict(set)  # partition → ranges (first, last) that were consumed
        self.ends, self.finals = {}, {}
        self.disturbance = None  # (when, limit, what, who may be moved or None for all)
        self.settled = True
        self.slowest_ms = {}  # what → the longest time to settle
        self.complaints = []

    def complain(self, event, words):
        self.complaints.append("%d %s: %s" % (event.at, event.who, words))

    def hear(self, event):
        handler = getattr(self, ("world_" if event.who == "-" else "on_") + event.what.replace("-", "_"), None)
        if handler is not None:
            handler(event, *event.words)
        self.look(event)

    # What members say.

    def on_started(self, event, *_client):
        self.members[event.who] = Member()

    def on_assigned(self, event, partitions, *_more):
        member = self.members[event.who]
        self.mind_left_alone(event)
        for partition in numbers(partitions):
            self.take(event, member, partition)
        member.told_since = event.at
        if member.state == "lives":
            member.silent_since = None

    def take(self, event, member, partition):
        owner, since = self.owners.get(partition, (event.who, 0))
        if since <= event.at:  # while it is lived, words may come late: its next owner's may have come first
            if owner != event.who:
                self.take_over(event, partition, owner)
            self.owners[partition] = (event.who, event.at)
        member.owned[partition] = None
        member.owned[partition, "floor"] = self.acked.get(partition, 0)

    def take_over(self, event, partition, before):
        other = self.members[before]
        if other.replaced:
            return
        if other.silent_since is None:
            self.complain(event, "two own partition %d: %s too" % (partition, before))
        elif event.at - other.silent_since < self.session_ms - SESSION_SLACK_MS:
            self.complain(event, "took partition %d of %s, silent for %d ms only" % (partition, before, event.at - other.silent_since))

    def on_revoked(self, event, partitions):
        self.mind_left_alone(event)
        self.drop(event.who, numbers(partitions))

    def on_lost(self, event, partitions):
        self.on_revoked(event, partitions)

    def drop(self, who, partitions):
        member = self.members[who]
        for partition in partitions:
            member.owned.pop(partition, None)
            member.owned.pop((partition, "floor"), None)
            if self.owners.get(partition, (None,))[0] == who:
                del self.owners[partition]

    def mind_left_alone(self, event):
        if self.disturbance and self.disturbance[3] is not None and event.who not in self.disturbance[3]:
            self.complain(event, "%s, but it had to be left alone: %s" % (event.what, self.disturbance[2]))

    def on_consumed(self, event, ranges):
        member = self.members[event.who]
        for word in ranges.split(","):
            partition, _, run = word.partition(":")
            self.consume(event, member, int(partition), *map(int, run.split("-")))

    def consume(self, event, member, partition, first, last):
        self.read[partition].add((first, last))
        if partition not in member.owned:
            self.complain(event, "consumed partition %d, which it does not own" % partition)
            return
        due = member.owned[partition]
        if due is None:
            floor, ceiling = member.owned[partition, "floor"], self.sent.get(partition, 0)
            if first < floor:
                self.complain(event, "read partition %d from %d, below %d, which was committed" % (partition, first, floor))
            elif first > ceiling:
                self.complain(event, "read partition %d from %d, above %d: nobody committed that" % (partition, first, ceiling))
        elif first != due:
            self.complain(event, "partition %d goes on at %d, not at %d" % (partition, first, due))
        member.owned[partition] = last + 1

    def on_commit(self, event, offsets):
        self.members[event.who].asked = event.at
        for partition, offset in pairs(offsets):
            self.sent[partition] = max(offset, self.sent.get(partition, 0))

    def on_committed(self, event, offsets):
        member = self.members[event.who]
        for partition, offset in pairs(offsets):
            self.acked[partition] = max(offset, self.acked.get(partition, 0))
            owner, since = self.owners.get(partition, (event.who, 0))
            if owner != event.who and since < member.asked:
                self.complain(event, "was let commit partition %d, of %s by then" % (partition, owner))
        member.heard_since = member.asked

    def on_failed(self, event, *why):
        if not self.members[event.who].replaced:
            self.complain(event, "failed: " + " ".join(why))
        self.end(event)

    def on_closed(self, event):
        self.end(event)

    def end(self, event):
        self.drop(event.who, list(range(self.partitions)))
        self.members[event.who].state = "dead"

    # What the world does to them.

    def on_killed(self, event):
        self.silence(event, "dead")

    def on_stopped(self, event):
        self.silence(event, "sleeps")

    def silence(self, event, state):
        member = self.members[event.who]
        member.state = state
        member.silent_since = event.at

    def on_woken(self, event):
        """Until it is told what it owns, its partitions may still go."""
        self.members[event.who].state = "lives"

    def on_replaced(self, event):
        self.members[event.who].replaced = True
        self.members[event.who].state = "dead"

    def world_disturbed(self, event, limit_ms, what, alone="all"):
        self.require_settled(event)
        self.disturbance = (event.at, int(limit_ms), what, None if alone == "all" else alone.split(","))
        self.settled = False

    def world_settled(self, event):
        """Whoever disturbs has seen it settle; the next callbacks are no longer this disturbance's."""
        self.require_settled(event)
        self.disturbance = None

    def world_produced(self, event, partition, end):
        self.ends[int(partition)] = int(end)

    def world_offset(self, event, partition, offset):
        self.finals[int(partition)] = int(offset)

    def look(self, event):
        """Notes when everything is as it should be after a disturbance."""
        if self.settled or self.disturbance is None or not self.is_settled():
            return
        self.settled = True
        at, limit_ms, what, _ = self.disturbance
        self.slowest_ms[what] = max(event.at - at, self.slowest_ms.get(what, 0))
        if event.at - at > limit_ms:
            self.complain(event, "settled only %d ms after: %s" % (event.at - at, what))

    def is_settled(self):
        return not self.unsettled()

    def unsettled(self):
        """What is not as it should be, in words; nothing when all is."""
        since = self.disturbance[0]
        living = {name: member for name, member in self.members.items() if member.state == "lives"}
        orphans = [p for p in range(self.partitions) if self.owners.get(p, (None,))[0] not in living]
        if orphans:
            return "no member that lives owns %s" % orphans
        untold = [name for name, member in living.items() if member.told_since is None or member.silent_since is not None]
        if untold:
            return "without an assignment: %s" % untold
        owning = {owner for owner, _ in self.owners.values()}
        unheard = [name for name in owning if (living[name].heard_since or 0) < since]
        return "no commit was acknowledged to %s" % unheard if unheard else ""

    def require_settled(self, event):
        if not self.settled and self.disturbance:
            self.complain(event, "never settled after: %s: %s" % (self.disturbance[2], self.unsettled()))
            self.settled = True

    def finish(self):
        end = Event(0, "-", "end", ())
        self.require_settled(end)
        for partition, due in sorted(self.ends.items()):
            missing, beyond = uncovered(self.read[partition], due)
            if missing is not None:
                self.complain(end, "partition %d: nobody consumed %d, of %d" % (partition, missing, due))
            if beyond:
                self.complain(end, "partition %d: consumed beyond its end %d" % (partition, due))
            if self.finals and self.finals.get(partition) != due:
                self.complain(end, "partition %d: committed is %s, its end %d" % (partition, self.finals.get(partition), due))
        return self.complaints


def uncovered(ranges, end):
    """The first offset below `end` in none of the ranges, if any, and whether one lies beyond."""
    due = 0
    for first, last in sorted(ranges):
        if first > due:
            break
        due = max(due, last + 1)
    return (due if due < end else None), any(last >= end for _, last in ranges)


def numbers(word):
    return [] if word == "-" else [int(part) for part in word.split(",")]


def pairs(word):
    return [tuple(map(int, part.split(":"))) for part in word.split(",")]


def events(lines):
    """The events in the order of their times; those of the same millisecond as they were written."""
    split = [line.split() for line in lines if line.strip()]
    return sorted((Event(int(at), who, what, tuple(words)) for at, who, what, *words in split), key=lambda event: event.at)


def judge(lines):
    """The judge after all: the first line says `0 - group <partitions> <session in ms>`."""
    head, *rest = lines
    _, _, _, partitions, session_ms = head.split()
    judged = Judge(int(partitions), int(session_ms))
    for event in events(rest):
        judged.hear(event)
    judged.finish()
    return judged


def prove():
    from proofs import BAD, GOOD
    wrong = 0
    for name, lines in GOOD.items():
        complaints = judge(lines.strip().splitlines()).complaints
        if complaints:
            wrong += 1
            print("a good history was refused: %s: %s" % (name, complaints))
    for name, (lines, expected) in BAD.items():
        complaints = judge(lines.strip().splitlines()).complaints
        if len(complaints) != 1 or expected not in complaints[0]:
            wrong += 1
            print("a bad history, %s, should be refused once for %r: %s" % (name, expected, complaints))
    print("the judge: %d good and %d bad histories, %d judged wrongly" % (len(GOOD), len(BAD), wrong))
    return 1 if wrong else 0


def main(arguments):
    if arguments == ["--prove"]:
        return prove()
    failed = 0
    for file in arguments:
        for complaint in judge(pathlib.Path(file).read_text().splitlines()).complaints:
            failed += 1
            print("%s: %s" % (file, complaint))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
