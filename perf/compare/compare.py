#!/usr/bin/env python3
"""The comparison with Apache Kafka: the same clients, the same machine, one run, interleaved rounds.

    cargo build --release && perf/compare/compare.py [--out target/compare]
    perf/compare/compare.py --target mine='path/to/hayate --config {config}' --target kafka --rounds 3 --seconds 1

Load is kafka-producer-perf-test, and for reading the Java program in tests/clients/java with assigned partitions.
perf/README.md says how each figure is made. `tests/lib/install` must have run.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import report  # noqa: E402
from brokers import KAFKA_SH, ROOT, Broker, Target  # noqa: E402

HAYATE = "hayate=target/release/hayate --config {config}"
LOAD_HEAP = "-Xms512m -Xmx512m"
WARM_UP_SHARE = 0.5  # records sent before the measured ones, by the same process
CALIBRATION_BYTES = 12_000_000
LOAD_SECONDS_MAX = 300
RESULT = re.compile(
    r"(\d+) steady state records sent, ([\d.]+) records/sec \(([\d.]+) MB/sec\), ([\d.]+) ms avg latency, ([\d.]+) ms max latency, "
    r"(\d+) ms 50th, (\d+) ms 95th, (\d+) ms 99th, (\d+) ms 99\.9th")


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--target", action="append", help="kafka, kafka-flush or NAME='COMMAND {config}'; default: Hayate and both")
    parser.add_argument("--baseline", default="kafka")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up-rounds", type=int, default=2, help="rounds before the counted ones, at least 1")
    parser.add_argument("--seconds", type=float, default=4, help="aimed length of one measurement")
    parser.add_argument("--record-sizes", default="100,1024")
    parser.add_argument("--partitions", default="1,16")
    parser.add_argument("--broker-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target" / "compare")
    asked = parser.parse_args()
    asked.targets = [Target(text) for text in asked.target or [HAYATE, "kafka", "kafka-flush"]]
    asked.workloads = [(int(size), int(count)) for size in asked.record_sizes.split(",") for count in asked.partitions.split(",")]
    return asked


class Load:
    """The load side against one broker: producers that come and go, and one reader that stays and is warm."""

    def __init__(self, broker, core):
        self.broker = broker
        self.pinned = ["env", "KAFKA_TOOL_HEAP=" + LOAD_HEAP, "taskset", "-c", str(core), str(KAFKA_SH)]
        self.reader = subprocess.Popen([*self.pinned, "java_driver", broker.bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.reader.stdin.write(line + "\n")
        self.reader.stdin.flush()
        answer = self.reader.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError("%s: %s" % (line, answer or "the reader ended"))
        return answer

    def produce(self, topic, record_bytes, records):
        """Steady-state figures of kafka-producer-perf-test, after its own warm-up."""
        warm = int(records * WARM_UP_SHARE)
        words = [*self.pinned, "tool", "producer-perf-test", "--bootstrap-server", self.broker.bootstrap, "--topic", topic,
                 "--num-records", str(warm + records), "--warmup-records", str(warm), "--record-size", str(record_bytes),
                 "--throughput", "-1", "--command-property", "acks=all"]
        cpu = self.broker.cpu_seconds()
        done = subprocess.run(words, capture_output=True, text=True, timeout=LOAD_SECONDS_MAX)
        cpu = self.broker.cpu_seconds() - cpu
        found = RESULT.search(done.stdout)
        if done.returncode != 0 or not found:
            raise RuntimeError("producer-perf-test: %s" % (done.stdout + done.stderr)[-500:])
        rate = float(found[2])
        return {
            "records": records, "records_s": rate, "mb_s": rate * record_bytes / 1e6,
            "cpu_s_per_gb": cpu / ((warm + records) * record_bytes / 1e9),
            "latency_ms": dict(zip(["mean", "max", "p50", "p95", "p99", "p99_9"], map(float, found.groups()[3:]))),
        }

    def read(self, topic, partitions, records_min):
        cpu = self.broker.cpu_seconds()
        records, size, millis = map(int, self.ask("drain topic=%s partitions=%d" % (topic, partitions)).split())
        cpu = self.broker.cpu_seconds() - cpu
        if records < records_min:
            raise RuntimeError("%s: %d acknowledged, but only %d read" % (topic, records_min, records))
        seconds = max(millis, 1) / 1e3
        return {"records": records, "records_s": records / seconds, "mb_s": size / seconds / 1e6, "cpu_s_per_gb": cpu / (size / 1e9)}

    def close(self):
        self.reader.kill()
        self.reader.wait()


class Side:
    """One target for the whole run: its broker, which stays up and keeps its warmth, and the load against it."""

    def __init__(self, asked, target):
        self.name, self.workloads, self.seconds = target.name, asked.workloads, asked.seconds
        self.counts = {}  # topic → records that last about `seconds`
        self.load = None
        self.broker = Broker(target, asked.out / "work" / target.name, asked.broker_core)
        print("%s is up after %.1f s" % (target.name, self.broker.start_seconds), file=sys.stderr)
        self.load = Load(self.broker, asked.load_core)

    def round(self):
        """All workloads once, every other broker being frozen; yields (workload, sample)."""
        os.sync()  # what another broker left unwritten in the page cache is not this one's to wait for
        for record_bytes, partitions in self.workloads:
            topic, what = "t-%d-%d" % (record_bytes, partitions), "%d B, %d partition%s" % (record_bytes, partitions, "s" * (partitions > 1))
            self.load.ask("create %s %d" % (topic, partitions))
            records = self.counts.get(topic, CALIBRATION_BYTES // record_bytes)
            sample = self.load.produce(topic, record_bytes, records)
            self.counts[topic] = max(1000, int(sample["records_s"] * self.seconds))
            yield "produce " + what, sample
            yield "read " + what, self.load.read(topic, partitions, records)
            self.load.ask("delete " + topic)

    def stop(self):
        if self.load:
            self.load.close()
        self.broker.stop()


class Run:
    """All rounds. The first `warm_up_rounds` warm both ends and find the record counts; they are shown, not counted."""

    def __init__(self, asked):
        self.asked, self.sides, self.samples, self.failures = asked, [], [], []

    def go(self):
        try:
            for target in self.asked.targets:
                self.sides.append(Side(self.asked, target))
                self.sides[-1].broker.freeze()
            first = 1 - self.asked.warm_up_rounds
            for number in range(first, self.asked.rounds + 1):
                turn = number % len(self.asked.targets)
                for side in self.sides[turn:] + self.sides[:turn]:
                    self.take(number, side)
        finally:
            for side in self.sides:
                side.stop()

    def take(self, number, side):
        if any(failure["target"] == side.name for failure in self.failures):
            return
        try:
            side.broker.thaw()
            for workload, sample in side.round():
                print("round %2d %-12s %-26s %12.0f records/s %8.1f MB/s" % (
                    number, side.name, workload, sample["records_s"], sample["mb_s"]), file=sys.stderr, flush=True)
                if number > 0:
                    self.samples.append({"round": number, "target": side.name, "workload": workload, **sample})
            side.broker.freeze()
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:
            self.failures.append({"round": number, "target": side.name, "why": str(e)})
            print("round %d %s failed: %s" % (number, side.name, e), file=sys.stderr, flush=True)


def main():
    asked = arguments()
    asked.out = asked.out.resolve()
    asked.out.mkdir(parents=True, exist_ok=True)
    about = report.machine(asked.out)
    run = {
        "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "command_line": shlex.join(["perf/compare/compare.py", *sys.argv[1:]]),
        "rounds": asked.rounds, "warm_up_rounds": asked.warm_up_rounds, "seconds": asked.seconds, "baseline": asked.baseline, "broker_core": asked.broker_core,
        "load_core": asked.load_core, "load_heap": LOAD_HEAP, "targets": {target.name: target.describe() for target in asked.targets},
    }
    measured = Run(asked)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that no broker is left behind
    measured.go()
    run["load_average_at_end"] = os.getloadavg()[0]
    result = {"machine": about, "run": run, "summary": report.summarise(measured.samples, asked.baseline),
              "failures": measured.failures, "samples": measured.samples}
    (asked.out / "compare.json").write_text(json.dumps(result, indent=1) + "\n")
    (asked.out / "compare.md").write_text(report.markdown(result))
    print(report.markdown(result), end="")
    return 1 if measured.failures else 0


if __name__ == "__main__":
    sys.exit(main())
