"""The load mode of the confluent-kafka driver, for rounds in which the broker is killed: see tests/clients/README.md."""

import select
import sys
import time

from confluent_kafka import KafkaException


class Load:
    """`load SPEC`: produces round robin until a line arrives, and prints each run of acknowledged records."""

    def __init__(self, spec, out, send):
        self.spec = spec
        self.out = out  # an idempotent producer that retries for ever
        self.send = send  # send(out, spec, partition, index, on_delivery)
        self.runs = {}  # partition → (first index, count, offset of the first), acknowledged and not yet printed
        self.acked = 0
        self.failed = []
        self.stdin_open = True

    def run(self):
        rate = int(self.spec.fields.get("rate", "5000"))
        started = printed = time.monotonic()
        for sent in range(self.spec.records):
            at = sent % self.spec.partitions, sent // self.spec.partitions
            self.send(self.out, self.spec, *at, lambda error, message, at=at: self.delivered(*at, error, message))
            while (pause := started + (sent + 1) / rate - time.monotonic()) > 0:
                self.out.poll(pause)
            if time.monotonic() - printed > 0.05:
                printed = time.monotonic()
                self.print_all()
                if self.failed or self.told_to_stop():
                    break
        self.out.flush()
        self.print_all()
        if self.failed:
            raise KafkaException(self.failed[0])
        return "ok %d" % self.acked

    def told_to_stop(self):
        if not self.stdin_open or not select.select([sys.stdin], [], [], 0)[0]:
            return False
        self.stdin_open = sys.stdin.readline() != ""
        return self.stdin_open

    def delivered(self, partition, index, error, message):
        if error:
            self.failed.append(error)
            return
        first, count, offset = self.runs.get(partition, (0, 0, 0))
        if (index, message.offset()) != (first + count, offset + count):
            self.print(partition)
            first, count, offset = index, 0, message.offset()
        self.runs[partition] = first, count + 1, offset
        self.acked += 1

    def print(self, partition):
        first, count, offset = self.runs.get(partition, (0, 0, 0))
        if count:
            print("acked", partition, first, count, offset, flush=True)
            self.runs[partition] = first + count, 0, offset + count

    def print_all(self):
        for partition in list(self.runs):
            self.print(partition)
