"""Record batches from their parts, good and bad, and what one says when it is read: Kafka's format by its documentation, without
any client's code. Compressors store their input as it is: what matters is that both brokers can read them.
"""

import gzip
import struct
import zlib

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL, DELETE_HORIZON = 8, 16, 32, 64
T0 = 1_700_000_000_000


def crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = crc32c_table()


def crc32c(data):
    """CRC-32C (Castagnoli) of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(value):
    """Kafka's zigzag variable-length integer."""
    value = value << 1 ^ value >> 63
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sized(data):
    """Bytes or null, behind their length."""
    return varint(-1) if data is None else varint(len(data)) + data


def record(index, key, value, delta_ms=0, headers=()):
    """One record of a batch."""
    body = b"\0" + varint(delta_ms) + varint(index) + sized(key) + sized(value) + varint(len(headers))
    for name, content in headers:
        body += sized(name) + sized(content)
    return varint(len(body)) + body


def store_snappy(data):
    """Snappy, one literal."""
    head = bytearray()
    size = len(data)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + bytes([60 << 2, len(data) - 1]) + data


def store_lz4(data):
    """An LZ4 frame of one uncompressed block. 0x82 is the checksum of this very header."""
    return bytes.fromhex("04224d18604082") + struct.pack("<I", len(data) | 0x80000000) + data + b"\0\0\0\0"


def store_zstd(data):
    """A Zstandard frame of one raw block: no checksum, the content's size in one byte."""
    return bytes.fromhex("28b52ffd20") + bytes([len(data)]) + (len(data) << 3 | 1).to_bytes(3, "little") + data


COMPRESS = {
    GZIP: lambda data: gzip.compress(data, mtime=0),
    SNAPPY: store_snappy,
    LZ4: store_lz4,
    ZSTD: store_zstd,
}


def batch(
    values=(b"v",),
    codec=NONE,
    flags=0,
    producer=(-1, -1, -1),
    base=0,
    time=T0,
    keys=None,
    headers=(),
    magic=2,
    crc=None,
    count=None,
    last_delta=None,
    epoch=-1,
    max_time=None,
    body=None,
    length=None,
    deltas=None,
):
    """A batch of `values`; whatever is given besides is put in its place, right or wrong."""
    deltas = deltas or range(len(values))
    if body is None:
        records = [record(d, keys and keys[i], v, i, headers) for i, (d, v) in enumerate(zip(deltas, values))]
        body = b"".join(records)
    if codec in COMPRESS:
        body = COMPRESS[codec](body)
    count = len(values) if count is None else count
    last_delta = len(values) - 1 if last_delta is None else last_delta
    max_time = time + max(0, len(values) - 1) if max_time is None else max_time
    checked = struct.pack(">hiqqqhii", codec | flags, last_delta, time, max_time, *producer, count) + body
    crc = crc32c(checked) if crc is None else crc
    length = len(checked) + 9 if length is None else length
    return struct.pack(">qiibI", base, length, epoch, magic, crc) + checked


def legacy(magic, value, key=None, time=T0):
    """One message of the formats before batches."""
    attributes = b"\0" if magic == 0 else b"\0" + struct.pack(">q", time)
    content = bytes([magic]) + attributes
    for data in (key, value):
        content += struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data
    content = struct.pack(">I", zlib.crc32(content)) + content
    return struct.pack(">qi", 0, len(content)) + content


def describe(data):
    """What a reader sees of batches: each as a dict, the records decompressed where Python can; and bytes that are no batch."""
    found = []
    while len(data) >= 61:
        base, length, epoch, magic, crc = struct.unpack_from(">qiibI", data)
        if 12 + length > len(data):
            break
        flags, delta, first, last, *producer, count = struct.unpack_from(">hiqqqhii", data, 21)
        body = data[61 : 12 + length]
        is_sound = crc == crc32c(data[21 : 12 + length])
        if flags & 7 == GZIP and is_sound and body[:2] == b"\x1f\x8b":
            body = zlib.decompress(body, 31)
        found.append({
            "BaseOffset": base, "Epoch": epoch, "Magic": magic, "Attributes": flags, "LastOffsetDelta": delta,
            "BaseTimestamp": first, "MaxTimestamp": last, "ProducerId": producer[0], "ProducerEpoch": producer[1],
            "BaseSequence": producer[2], "Count": count, "Records": body.hex(), "IsSound": is_sound,
        })
        data = data[12 + length :]
    if data:
        found.append({"Bytes": data.hex()})
    return found
