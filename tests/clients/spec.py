"""The generator and the hash of the interop tests, as tests/clients/README.md specifies them, for the Python drivers.

A record is a pure function of (seed, partition, index); the other languages repeat these lines of 64-bit arithmetic.
Knows nothing of any client library: a driver gives it bytes and numbers.
"""

import hashlib
import struct

MASK = (1 << 64) - 1
POOL_BYTES = 1 << 20
HEADER_NAMES = ["h", "h", "trace-id", "ключ"]
HEADER_COUNTS = [0, 0, 1, 4]
ALL_CODECS = "none,gzip,snappy,lz4,zstd"


def mix(x):
    """splitmix64: the state x advanced once and scrambled."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


class Spec:
    """One SPEC: `key=value` words; see tests/clients/README.md for each key."""

    def __init__(self, text):
        self.text = text
        fields = dict(word.split("=", 1) for word in text.split())
        self.fields = fields
        self.topic = fields["topic"]
        self.seed = int(fields.get("seed", "1"))
        self.partitions = int(fields.get("partitions", "1"))
        self.records = int(fields.get("records", "0"))
        self.ts0 = int(fields.get("ts0", "1700000000000"))
        self.codecs = fields.get("codecs", ALL_CODECS).split(",")
        self.without = set(filter(None, fields.get("without", "").split(",")))
        self._pool = None

    def codec(self, partition):
        return self.codecs[partition % len(self.codecs)]

    def count(self, partition):
        """How many of the records lie in this partition."""
        return self.records // self.partitions + (partition < self.records % self.partitions)

    @property
    def pool(self):
        """1 MiB that all keys and values are slices of: blocks of 4 KiB, in turn random and repeating each 64 bytes."""
        if self._pool is None:
            words = (mix((self.seed + (i if not (i >> 9) & 1 else (i & ~511) | (i & 7))) & MASK) for i in range(POOL_BYTES // 8))
            self._pool = struct.pack("<%dQ" % (POOL_BYTES // 8), *words)
        return self._pool

    def record(self, partition, index):
        """(key, value, headers, timestamp); key and value are bytes or None, headers (str, bytes or None) pairs."""
        base = mix(mix(self.seed) ^ (partition << 40 | index))
        header_base = base if "row-headers" not in self.without else mix(mix(self.seed) ^ (partition << 40 | 0xFFFFFFFF))

        def pick(k, n, base=base):
            return (mix((base + k) & MASK) >> 32) % n

        length = value_length(pick)
        value = None if length < 0 else self._slice(pick(3, POOL_BYTES // 2), length)
        kind = pick(4, 10)
        key = None if kind == 0 else b"" if kind == 1 else self._slice(pick(5, POOL_BYTES // 2), 1 + pick(6, 32))
        if "empty" in self.without:
            key, value = key or None, value or None
        if "null-records" in self.without and key is None and value is None:
            value = b""
        timestamp = 0 if "timestamps" in self.without else self.ts0 + index * 5 + pick(30, 2001) - 1000
        return key, value, self._headers(lambda k, n: pick(k, n, header_base)), timestamp

    def _slice(self, start, length):
        return self.pool[start : start + length]

    def _headers(self, pick):
        headers = []
        for j in range(HEADER_COUNTS[pick(7, 4)]):
            size = pick(9 + 3 * j, 18) - 1
            start = pick(10 + 3 * j, POOL_BYTES // 2)
            value = None if size < 0 else bytes(b | 0x80 for b in self._slice(start, size))
            headers.append((HEADER_NAMES[pick(8 + 3 * j, 4)], value))
        return self._said(headers)

    def _said(self, headers):
        """What a client without null header values, or without a list of them, can say of these."""
        if "null-headers" in self.without:
            headers = [(name, value or b"") for name, value in headers]
        if "duplicate-headers" in self.without:
            headers = list(dict(headers).items())
        if "header-order" in self.without:
            headers.sort(key=lambda header: header[0])
        return headers


def value_length(pick):
    """Bytes of a value, -1 for null: most under 1 KiB, a few up to 512 KiB."""
    c = pick(1, 1000)
    if c < 30:
        return -1
    if c < 50:
        return 0
    if c < 980:
        return 1 + pick(2, 1023)
    if c < 995:
        return 1 + pick(2, 16384)
    if c < 999:
        return 1 + pick(2, 65536)
    return 524288 - pick(2, 524288) * (pick(2, 8) != 0)


class Hash:
    """Order-sensitive hash of what a topic holds: a SHA-256 a partition, and one over those in partition order."""

    def __init__(self, spec):
        self.spec = spec
        self.count = 0
        self.digests = [hashlib.sha256() for _ in range(spec.partitions)]

    def add(self, partition, offset, key, value, headers, timestamp):
        if "timestamps" in self.spec.without:
            timestamp = 0
        parts = [struct.pack(">iqq", partition, offset, timestamp), *field(key), *field(value)]
        parts.append(struct.pack(">i", len(headers)))
        for name, header_value in headers:
            parts += [*field(name.encode()), *field(header_value)]
        self.digests[partition].update(b"".join(parts))
        self.count += 1

    def answer(self):
        """`<count> <hash>`, as a driver answers `read` and `expect`."""
        total = hashlib.sha256(b"".join(d.digest() for d in self.digests))
        return "%d %s" % (self.count, total.hexdigest()[:16])


def field(data):
    if data is None:
        return [struct.pack(">i", -1)]
    return [struct.pack(">i", len(data)), data]


def expect(spec):
    """What every reader must answer, from the generator alone."""
    result = Hash(spec)
    for partition in range(spec.partitions):
        for index in range(spec.count(partition)):
            result.add(partition, index, *spec.record(partition, index))
    return result.answer()
