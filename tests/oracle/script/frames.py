"""Frames that no client should send."""

import struct

from schema import raw_frame

from .step import FRAME, Step, ask

METADATA, VERSIONS = 3, 18
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(194)


def frame(name, data, ends=False):
    """Bytes, and what they would be answered as."""
    key, version = struct.unpack_from(">hh", data.ljust(8, b"\0"), 4)
    known = key == VERSIONS and version == 0 or key == METADATA and 0 <= version <= 13
    api, version = ("Metadata" if key == METADATA else "ApiVersions", version) if known else ("ApiVersions", 0)
    return Step(f"frame: {name}", api, part=FRAME, client="frame", frame=data, ends=ends, versions=[version])


def head(key, version, body=b"", flexible=False):
    return raw_frame(key, version, 5, body, flexible)


def cut(data, count):
    """A frame whose body is short of what its schema says, its length right."""
    data = data[4 : len(data) - count]
    return struct.pack(">i", len(data)) + data


WHOLE = head(METADATA, 1, struct.pack(">ih3s", 1, 3, b"abc"))

STEPS = [
    frame("a whole one", head(18, 0)),
    frame("of no bytes", struct.pack(">i", 0)),
    frame("of a negative length", struct.pack(">i", -1)),
    frame("of far too many bytes", struct.pack(">i", 2**31 - 1)),
    frame("of more bytes than a broker takes", struct.pack(">i", 104_857_601)),
    frame("a length and then the end", struct.pack(">i", 100), ends=True),
    frame("half a length and then the end", b"\0\0", ends=True),
    frame("half a header", struct.pack(">ihh", 4, 3, 1)),
    frame("a header without a client", struct.pack(">ihhi", 8, 3, 1, 5)),
    frame("a client id of null", struct.pack(">ihhih", 10, 18, 0, 5, -1)),
    frame("a client id beyond the end", struct.pack(">ihhih", 10, 18, 0, 5, 100)),
    frame("a client id of a negative length", struct.pack(">ihhih", 10, 18, 0, 5, -2)),
    frame("a client id that is no text", struct.pack(">ihhih2s", 12, 18, 0, 5, 2, b"\xff\xfe")),
    frame("an unknown kind", head(999, 0)),
    frame("a kind below 0", head(-1, 0)),
    frame("a kind between brokers", head(4, 7)),
    frame("a version that is gone", head(0, 2, struct.pack(">hii", 1, 1000, 0))),
    frame("a version that is gone, of a fetch", head(1, 3, bytes(16))),
    frame("a version to come", head(METADATA, 14, b"\1\0\0\0", True)),
    frame("a version below 0", head(METADATA, -1)),
    *(frame(f"a body cut by {count}", cut(WHOLE, count)) for count in (1, 2, 3, 4, 5, 7, 9)),
    frame("no body", head(METADATA, 1)),
    frame("bytes behind the body", head(METADATA, 1, struct.pack(">i", 0) + b"rest")),
    frame("a count of -2", head(METADATA, 1, struct.pack(">i", -2))),
    frame("a huge count", head(METADATA, 1, struct.pack(">i", 2**31 - 1))),
    frame("a huge compact count", head(METADATA, 12, b"\xff\xff\xff\xff\x0f", True)),
    frame("a text of a negative length", head(METADATA, 1, struct.pack(">ih", 1, -2))),
    frame("a text of null that may not be", head(METADATA, 1, struct.pack(">ih", 1, -1))),
    frame("a text that is no text", head(METADATA, 1, struct.pack(">ih2s", 1, 2, b"\xff\xfe")), ends=False),
    frame("a truth of 2", head(METADATA, 4, struct.pack(">ib", 0, 2))),
    frame("an unfinished variable length", head(METADATA, 12, b"\xff\xff\xff", True)),
    frame("a TLS hello", TLS_HELLO),
    frame("a line of HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ask("frame: tags that nobody knows", "Metadata", {"Topics": [], "_tags": {77: b"what", 1000: b""}}, [9, 12]),
    ask("frame: tags in a topic", "Metadata", {"Topics": [{"Name": "missing", "_tags": {3: b"x"}}], "AllowAutoTopicCreation": False}),
]
