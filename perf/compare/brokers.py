"""The brokers of a comparison: started fresh and pinned, frozen while it is not their turn, stopped, their files removed.

A target is Apache Kafka from Maven, or any command that starts a broker from a Kafka `server.properties` whose path
stands for `{config}`. Knows nothing of workloads.
"""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA_SH = ROOT / "tests" / "lib" / "kafka.sh"
READY_SECONDS_MAX = 90
STOP_SECONDS_MAX = 60
# Apache Kafka's own start script: heap and collector as bin/kafka-server-start.sh sets them.
KAFKA_HEAP = "-Xms1G -Xmx1G"
KAFKA_TARGETS = {"kafka": [], "kafka-flush": ["log.flush.interval.messages=1"]}
ENDED_WELL = (0, 128 + signal.SIGTERM, -signal.SIGTERM)  # after SIGTERM; a JVM answers with 143
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Target:
    """A way to start a broker: `name`, for a built-in one, or `name=COMMAND {config}`."""

    def __init__(self, text):
        self.name, _, command = text.partition("=")
        self.command = command or None
        if not self.command and self.name not in KAFKA_TARGETS:
            raise SystemExit("target %s: give %s='COMMAND {config}', or one of %s" % (text, text, ", ".join(KAFKA_TARGETS)))

    def describe(self):
        if self.command:
            return self.command
        settings = " ".join(KAFKA_TARGETS[self.name]) or "as it ships"
        return "Apache Kafka %s, heap %s, %s" % (kafka_version(), KAFKA_HEAP, settings)


def kafka_version():
    return subprocess.run([KAFKA_SH, "echo_version"], capture_output=True, text=True, check=True).stdout.strip()


class Broker:
    """A running target. `directory` is its own, and gone after `stop`."""

    def __init__(self, target, directory, core):
        self.directory = directory
        self.process = None
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        started = time.monotonic()
        if target.command:
            self._start_command(target.command, core)
        else:
            self._start_kafka(KAFKA_TARGETS[target.name], core)
        self.start_seconds = time.monotonic() - started

    def _start_kafka(self, settings, core):
        environment = dict(os.environ, KAFKA_WRAP="taskset -c %d" % core, KAFKA_BROKER_HEAP=KAFKA_HEAP)
        started = subprocess.run([KAFKA_SH, "kafka_broker_start", self.directory, *settings], env=environment,
                                 stdout=subprocess.PIPE, text=True, check=True)
        self.bootstrap = started.stdout.strip()
        self.pid = int((self.directory / "pid").read_text())

    def _start_command(self, command, core):
        port = free_port()
        config = self.directory / "server.properties"
        config.write_text("node.id=1\nlisteners=PLAINTEXT://127.0.0.1:%d\nlog.dirs=%s\n" % (port, self.directory / "data"))
        words = ["taskset", "-c", str(core), *(word.replace("{config}", str(config)) for word in command.split())]
        with open(self.directory / "out", "wb") as out:
            self.process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=ROOT)
        self.bootstrap, self.pid = "127.0.0.1:%d" % port, self.process.pid
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not answers(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit("the broker did not start: %s" % " ".join(words))
            time.sleep(0.02)

    def freeze(self):
        """Takes all CPU from the broker until `thaw`: an idle Kafka still needs a few per cent of a core."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.pid, signal.SIGCONT)

    def cpu_seconds(self):
        """User and system time of the process so far."""
        after_name = pathlib.Path("/proc/%d/stat" % self.pid).read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / TICKS_A_SECOND

    def stop(self):
        """Ends the broker; removes its files when it ended well, and leaves them to be looked at when not."""
        if self.alive():
            self.thaw()
        if self.process is None:
            subprocess.run([KAFKA_SH, "kafka_broker_stop", self.directory], check=True)
        elif self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process is None or self.process.returncode in ENDED_WELL:
            shutil.rmtree(self.directory)

    def alive(self):
        """Not ended; a child that did but was not waited for has no command line any more."""
        try:
            return pathlib.Path("/proc/%d/cmdline" % self.pid).read_text() != ""
        except OSError:
            return False


def free_port():
    """A port below the range that the kernel gives to outgoing connections, so that none of those takes it first."""
    while True:
        port = random.randrange(20_000, 32_000)
        if not answers(port):
            return port


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
