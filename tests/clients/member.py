"""What the members of a group in Python print: the lines of `member` in tests/clients/README.md. Knows no client."""

import sys
import threading
import time

COMMIT_SECONDS = 0.25


class Journal:
    """Says what happens to one member, and keeps what it has consumed and not committed."""

    def __init__(self):
        self.seen = {}  # partition → [first, last], consumed and not said
        self.due = {}  # partition → where to go on after what was consumed and is not committed
        self.committed_at = time.monotonic()
        self.told = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        sys.stdin.readline()
        self.told.set()

    def say(self, *words):
        print(int(time.time() * 1000), *words, flush=True)

    def consumed(self, partition, offset):
        """One record; a run of them is said as one."""
        run = self.seen.get(partition)
        if run and offset != run[1] + 1:
            self.flush()
            run = None
        if run:
            run[1] = offset
        else:
            self.seen[partition] = [offset, offset]
        self.due[partition] = offset + 1

    def flush(self):
        if self.seen:
            self.say("consumed", ",".join("%d:%d-%d" % (p, *run) for p, run in sorted(self.seen.items())))
            self.seen = {}

    def may_commit(self):
        """Whether it is time to say what was consumed, and to commit it."""
        return bool(self.due) and time.monotonic() - self.committed_at >= COMMIT_SECONDS

    def committing(self, partitions=None):
        """The offsets to commit, now said, of these partitions or of all."""
        self.flush()
        self.committed_at = time.monotonic()
        now = {p: offset for p, offset in self.due.items() if partitions is None or p in partitions}
        if now:
            self.say("commit", said(now))
        return now

    def committed(self, now):
        self.say("committed", said(now))
        self.due = {p: offset for p, offset in self.due.items() if now.get(p) != offset}

    def uncommitted(self, why):
        self.say("uncommitted", *repr(why).split())

    def assigned(self, partitions):
        self.say("assigned", numbers(partitions))

    def gone(self, how, partitions):
        """These partitions are `revoked` or `lost`: nothing of theirs is committed any more."""
        self.flush()
        self.due = {p: offset for p, offset in self.due.items() if p not in partitions}
        self.say(how, numbers(partitions))


def said(offsets):
    return ",".join("%d:%d" % item for item in sorted(offsets.items()))


def numbers(partitions):
    return ",".join(map(str, sorted(partitions))) or "-"


def words_of(rest):
    """`KEY=VALUE…` as a dictionary."""
    return dict(word.split("=", 1) for word in rest.split())
