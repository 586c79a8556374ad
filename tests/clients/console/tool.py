"""Runs Kafka's command line tools for the checks of this folder, and keeps the list of checks. Knows no check.

Nearly all tools run in one Java process (tests/clients/java/Tools.java), a tenth of a second each; one that counts on the end of
its process gets one of its own."""

import collections
import contextlib
import functools
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

DRIVER = pathlib.Path(__file__).resolve().parents[1] / "driver"
KAFKA_SH = str(pathlib.Path(__file__).resolve().parents[2] / "lib" / "kafka.sh")
ANSWER_SECONDS_MAX = 120
# Tools whose commands take the address, where others take it before their command.
ADDRESS_LAST = {"cluster"}

Answer = collections.namedtuple("Answer", "code out err")
CHECKS = []  # (name, function of a Tools, whether it reads the broker's page of metrics), in the order in which they run


def check(name, reads_metrics=False):
    """Adds a check: it fails by any exception, whose words say why."""
    def add(function):
        CHECKS.append((name, function, reads_metrics))
        return function
    return add


class Tools:
    """Kafka's tools against one broker, and a folder for the files that they read."""

    def __init__(self, bootstrap, metrics=""):
        self.bootstrap = bootstrap
        self.metrics = metrics  # the address of the broker's page of metrics, if it has one
        self.folder = tempfile.TemporaryDirectory()
        self.prefix = "console-%d-%d" % (os.getpid(), time.time())
        self.topics = []
        self.process = None

    def answer(self, name, *words, stdin=""):
        """One run of the tool `name`, as tests/lib/kafka.sh calls it."""
        if self.process is None:
            self._start()
        address = ["--bootstrap-server", self.bootstrap]
        args = [*words, *address] if name in ADDRESS_LAST else [*address, *words]
        question = {"main": main_class(name), "args": args, "stdin": stdin}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        try:
            return Answer(**json.loads(self.lines.get(timeout=ANSWER_SECONDS_MAX)))
        except queue.Empty:
            self.close()
            raise TimeoutError("%s did not end within %d s" % (name, ANSWER_SECONDS_MAX)) from None

    def run(self, name, *words, **more):
        """What the tool prints; it must succeed."""
        answer = self.answer(name, *words, **more)
        if answer.code != 0:
            raise AssertionError("exit code %d: %s%s" % (answer.code, answer.out, answer.err))
        return answer.out

    def refuse(self, words_of_refusal, name, *words, **more):
        """Runs the tool, which must fail and say `words_of_refusal`."""
        answer = self.answer(name, *words, **more)
        if answer.code == 0 or words_of_refusal not in answer.out + answer.err:
            raise AssertionError("no %r, but exit code %d: %s%s" % (words_of_refusal, *answer))

    def alone(self, name, *words):
        """What the tool prints in a process of its own; it must succeed."""
        command = [KAFKA_SH, "tool", name, "--bootstrap-server", self.bootstrap, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=ANSWER_SECONDS_MAX).stdout

    @contextlib.contextmanager
    def running(self, name, *words):
        """The tool in a process of its own, which is ended at the end, orderly if it can be."""
        command = [KAFKA_SH, "tool", name, "--bootstrap-server", self.bootstrap, *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(ANSWER_SECONDS_MAX)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def driver(self, command):
        """The Java driver with this command under way: a function that waits for a line that matches and gives its group, or itself,
        and one that tells the driver a line. In the end it is told to end, and has ended."""
        process = subprocess.Popen([str(DRIVER), "java", self.bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line.strip()) for line in process.stdout], daemon=True).start()

        def tell(line):
            process.stdin.write(line + "\n")
            process.stdin.flush()

        def await_line(pattern):
            while True:
                line = lines.get(timeout=ANSWER_SECONDS_MAX)
                found = re.search(pattern, line)
                if found:
                    return found[found.re.groups and 1]
                if line.startswith("error"):
                    raise AssertionError(line)

        try:
            tell(command)
            yield await_line, tell
            tell("stop")
            process.stdin.close()
            process.wait(ANSWER_SECONDS_MAX)
        finally:
            process.kill()
            process.wait()

    @staticmethod
    def until(passes):
        """Tries again what fails, for a while: a broker may be about to do what it has answered."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return passes()
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def series(self):
        """What the broker's page of metrics shows: values by name and labels."""
        with urllib.request.urlopen(self.metrics, timeout=ANSWER_SECONDS_MAX) as page:
            lines = page.read().decode().splitlines()
        return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}

    def new_topic(self, what, partitions, *words):
        """The name of a fresh topic; the last check deletes it."""
        topic = self.prefix + "-" + what
        said = self.run("topics", "--create", "--topic", topic, "--partitions", str(partitions), *words)
        demand(r"^Created topic %s\.$" % re.escape(topic), said)
        self.topics.append(topic)
        return topic

    def file(self, name, content):
        """The path of a file with that content as JSON."""
        path = pathlib.Path(self.folder.name, name)
        path.write_text(json.dumps(content))
        return str(path)

    def text(self, name, content):
        """The path of a file with that text."""
        path = pathlib.Path(self.folder.name, name)
        path.write_text(content)
        return str(path)

    def properties(self, name, settings):
        """The path of a file of these settings, as tools read it."""
        path = pathlib.Path(self.folder.name, name)
        path.write_text("".join("%s=%s\n" % item for item in settings.items()))
        return str(path)

    def _start(self):
        self.process = subprocess.Popen([KAFKA_SH, "tools"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=lambda out, lines: [lines.put(line) for line in out],
                         args=(self.process.stdout, self.lines), daemon=True).start()

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@functools.lru_cache
def main_class(name):
    if name == "admin-checks":  # no tool of Kafka's, but at home among their classes
        return "AdminChecks"
    return subprocess.run([KAFKA_SH, "tool_class", name], check=True, capture_output=True, text=True).stdout.strip()


def demand(pattern, text):
    """The groups of the first match of `pattern` in `text`, where `^` and `$` are a line's."""
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise AssertionError("no match of %s in: %s" % (pattern, text))
    return found.groups()


def demand_equal(got, expected):
    if got != expected:
        raise AssertionError("expected %r, got %r" % (expected, got))
