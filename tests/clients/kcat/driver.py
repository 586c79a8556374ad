"""kcat behind the line protocol of tests/clients/README.md: `driver.py BOOTSTRAP`, commands on standard input, one
answer line each on standard output.

It reads everything. It produces only what its command line can say, so `produce` insists on a SPEC with
`without=timestamps,empty,row-headers`: it sets no timestamps, sends each empty key or value as null (-Z), and gives all
messages of a run the same headers. It cannot create topics.
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from serve import serve  # noqa: E402
from spec import Hash, Spec  # noqa: E402

BOOTSTRAP = sys.argv[1]
CANNOT_PRODUCE = {"timestamps", "empty", "row-headers"}
# Neither occurs in the generator's bytes; kcat splits its input at them.
KEY_END, MESSAGE_END = b"<<end-of-key>>", b"<<end-of-message>>"
SECONDS_MAX = 300


def kcat(arguments, **more):
    command = ["kcat", "-q", "-b", BOOTSTRAP, *arguments]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS_MAX, **more)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return done.stdout


def produce(spec):
    if not CANNOT_PRODUCE <= spec.without:
        raise ValueError("kcat needs without=" + ",".join(sorted(CANNOT_PRODUCE)))
    for partition in range(spec.partitions):
        produce_partition(spec, partition)
    return "ok %d" % spec.records


def produce_partition(spec, partition):
    lines, headers = [], []
    for index in range(spec.count(partition)):
        key, value, headers, _ = spec.record(partition, index)
        lines += [key or b"", KEY_END, value or b"", MESSAGE_END]
    options = []
    for name, value in headers:
        options += ["-H", name.encode() if value is None else name.encode() + b"=" + value]
    kcat(["-P", "-t", spec.topic, "-p", str(partition), "-z", spec.codec(partition), "-Z", "-K", KEY_END, "-D", MESSAGE_END,
          "-X", "enable.idempotence=true", "-X", "linger.ms=5", *options], input=b"".join(lines))


def read(spec):
    """Everything up to the end of each partition. Keys and values are cut out by their lengths, so they may hold any
    byte; headers end at a newline, and hold neither that nor a comma nor an equals sign in the generator's records."""
    data = kcat(["-C", "-t", spec.topic, "-o", "beginning", "-e", "-X", "check.crcs=true", "-f", "%p %o %T %K %S %k%s%h\\n"])
    result, at = Hash(spec), 0
    while at < len(data):
        head = data[at : at + 80].split(b" ", 5)[:5]
        at += sum(map(len, head)) + len(head)
        partition, offset, timestamp, key_bytes, value_bytes = map(int, head)
        key, at = cut(data, at, key_bytes)
        value, at = cut(data, at, value_bytes)
        end = data.index(b"\n", at)
        result.add(partition, offset, key, value, parse_headers(data[at:end]), timestamp)
        at = end + 1
    return result.answer()


def cut(data, at, length):
    return (None, at) if length < 0 else (data[at : at + length], at + length)


def parse_headers(text):
    pairs = (word.split(b"=", 1) for word in text.split(b",")) if text else ()
    return [(name.decode(), None if value == b"NULL" else value) for name, value in pairs]


serve({"produce": lambda rest: produce(Spec(rest)), "read": lambda rest: read(Spec(rest))})
