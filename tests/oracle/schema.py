"""Kafka's wire protocol by Kafka's own message schemas, read from the jar of its clients: any request, any version, by field
names, with nothing in common with the codec of the broker under test.

A message is a dict by Kafka's field names. What a request leaves out has its default; what a version does not have is left out
of the frame. Values that the schema would not allow can be sent: nothing is checked here.
"""

import json
import re
import struct
import uuid
import zipfile

NIL = uuid.UUID(int=0)
FOREVER = 1 << 15


class Truncated(Exception):
    """An answer ends before its schema does."""


class Versions:
    """A range of versions as schemas write it: "3", "3+", "3-9", "none"."""

    def __init__(self, text):
        first, last = re.fullmatch(r"(\d+)(\+|-\d+)?", text).groups() if text not in (None, "none") else ("1", "-0")
        self.first = int(first)
        self.last = FOREVER if last == "+" else int(last[1:]) if last else self.first

    def __contains__(self, version):
        return self.first <= version <= self.last

    def __iter__(self):
        return iter(range(self.first, self.last + 1))


class Field:
    """One field of a structure."""

    def __init__(self, spec, structs):
        # A few schemas write some of their names small.
        self.name = spec["name"][0].upper() + spec["name"][1:]
        self.is_array = spec["type"].startswith("[]")
        self.type = spec["type"].removeprefix("[]")
        self.versions = Versions(spec["versions"])
        self.nullable = Versions(spec.get("nullableVersions"))
        self.flexible = Versions(spec["flexibleVersions"]) if "flexibleVersions" in spec else None
        self.tagged = Versions(spec.get("taggedVersions"))
        self.tag = spec.get("tag")
        self.spec = spec
        self.own_struct = Struct(spec["fields"], structs) if "fields" in spec else None
        self.structs = structs

    @property
    def struct(self):
        """What the field consists of, if it is a structure: its own one, or one that is defined for all, before it or behind."""
        return self.own_struct or self.structs.get(self.type)

    def default(self):
        """The value of a field that nobody sets."""
        default = self.spec.get("default")
        if default == "null":
            return None
        if self.is_array:
            return []
        if self.struct:
            return {}
        if self.type == "string":
            return default or ""
        if self.type in ("bytes", "records"):
            return b""
        if self.type == "uuid":
            return NIL
        if self.type == "bool":
            return default in (True, "true")
        return int(str(default or 0), 0) if self.type != "float64" else float(default or 0)


class Struct:
    """Fields in their order."""

    def __init__(self, specs, structs):
        self.fields = [Field(spec, structs) for spec in specs]


class Message:
    """A request or an answer."""

    def __init__(self, spec):
        structs = {}
        for common in spec.get("commonStructs", []):
            structs[common["name"]] = Struct(common["fields"], structs)
        self.key = spec["apiKey"]
        self.name = spec["name"].removesuffix("Request").removesuffix("Response")
        self.versions = Versions(spec["validVersions"])
        if spec.get("latestVersionUnstable"):
            self.versions.last -= 1
        self.flexible = Versions(spec.get("flexibleVersions"))
        self.struct = Struct(spec["fields"], structs)


def load(jar):
    """Requests and answers by name, as the schemas in `jar` define them."""
    requests, answers = {}, {}
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if not re.fullmatch(r"common/message/\w+(Request|Response)\.json", name):
                continue
            lines = archive.read(name).decode().splitlines()
            spec = json.loads("\n".join(line for line in lines if not line.lstrip().startswith("//")))
            if spec["validVersions"] == "none":
                continue
            message = Message(spec)
            (requests if name.endswith("Request.json") else answers)[message.name] = message
    return requests, answers


NUMBERS = {"bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}


def uvarint(value):
    """Kafka's unsigned variable-length integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Writer:
    """Encodes one message of one version."""

    def __init__(self, message, version):
        self.version = version
        self.message_flexible = version in message.flexible
        self.out = bytearray()

    def body(self, message, values):
        self.structure(message.struct, values)
        return bytes(self.out)

    def structure(self, struct_, values):
        unknown = set(values) - {field.name for field in struct_.fields} - {"_tags"}
        assert not unknown, f"no such field: {unknown}"
        present = [field for field in struct_.fields if self.version in field.versions]
        for field in present:
            if self.version not in field.tagged:
                self.field(field, values.get(field.name, field.default()))
        if self.message_flexible:
            self.tags([f for f in present if self.version in f.tagged and f.name in values], values)

    def tags(self, fields, values):
        tags = dict(values.get("_tags", {}))
        for field in fields:
            inner = Writer.__new__(Writer)
            inner.version, inner.message_flexible, inner.out = self.version, self.message_flexible, bytearray()
            inner.field(field, values[field.name])
            tags[field.tag] = bytes(inner.out)
        self.out += uvarint(len(tags))
        for tag in sorted(tags):
            self.out += uvarint(tag) + uvarint(len(tags[tag])) + tags[tag]

    def field(self, field, value):
        flexible = self.message_flexible if field.flexible is None else self.version in field.flexible
        if field.is_array:
            self.length(None if value is None else len(value), flexible, ">i")
            for element in value or []:
                self.value(field, element, flexible)
        else:
            self.value(field, value, flexible)

    def value(self, field, value, flexible):
        if field.struct:
            if not field.is_array and self.version in field.nullable and self.version not in field.tagged:
                self.out += struct.pack(">b", -1 if value is None else 1)
            if value is not None:
                self.structure(field.struct, value)
        elif field.type in NUMBERS:
            self.out += struct.pack(NUMBERS[field.type], value)
        elif field.type == "uuid":
            self.out += value.bytes
        else:
            data = value.encode() if isinstance(value, str) else value
            self.length(None if data is None else len(data), flexible, ">h" if field.type == "string" else ">i")
            self.out += data or b""

    def length(self, length, flexible, form):
        if flexible:
            self.out += uvarint(0 if length is None else length + 1)
        else:
            self.out += struct.pack(form, -1 if length is None else length)


class Reader:
    """Decodes one message of one version."""

    def __init__(self, message, version, data):
        self.message = message
        self.version = version
        self.message_flexible = version in message.flexible
        self.data = data
        self.at = 0

    def body(self):
        values = self.structure(self.message.struct)
        if self.at != len(self.data):
            values["_bytes left"] = self.data[self.at :].hex()
        return values

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise Truncated(f"{count} bytes at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def structure(self, struct_):
        present = [field for field in struct_.fields if self.version in field.versions]
        values = {field.name: self.field(field) for field in present if self.version not in field.tagged}
        if self.message_flexible:
            tagged = {field.tag: field for field in present if self.version in field.tagged}
            for _ in range(self.uvarint()):
                tag, size = self.uvarint(), self.uvarint()
                if tag in tagged:
                    values[tagged[tag].name] = self.field(tagged[tag])
                else:
                    values[f"_tag {tag}"] = self.take(size).hex()
        return values

    def field(self, field):
        flexible = self.message_flexible if field.flexible is None else self.version in field.flexible
        if not field.is_array:
            return self.value(field, flexible)
        count = self.length(flexible, ">i")
        return None if count is None else [self.value(field, flexible) for _ in range(count)]

    def value(self, field, flexible):
        if field.struct:
            if not field.is_array and self.version in field.nullable and self.version not in field.tagged:
                if self.number(">b") < 0:
                    return None
            return self.structure(field.struct)
        if field.type in NUMBERS:
            return self.number(NUMBERS[field.type])
        if field.type == "uuid":
            return uuid.UUID(bytes=bytes(self.take(16)))
        length = self.length(flexible, ">h" if field.type == "string" else ">i")
        if length is None:
            return None
        data = bytes(self.take(length))
        return data.decode(errors="replace") if field.type == "string" else data

    def length(self, flexible, form):
        length = self.uvarint() - 1 if flexible else self.number(form)
        return None if length < 0 else length


def frame(message, version, correlation, values, client_id="oracle"):
    """A whole request with header and length."""
    body = Writer(message, version).body(message, values)
    return raw_frame(message.key, version, correlation, body, version in message.flexible, client_id)


def raw_frame(key, version, correlation, body, flexible, client_id="oracle"):
    """A whole request around a body of any bytes."""
    name = client_id.encode()
    head = struct.pack(">hhih", key, version, correlation, len(name)) + name + (b"\0" if flexible else b"")
    return struct.pack(">i", len(head) + len(body)) + head + body


def parse_answer(message, version, data):
    """(correlation id, values) of an answer without its length."""
    reader = Reader(message, version, data)
    correlation = reader.number(">i")
    if version in message.flexible and message.name != "ApiVersions":
        for _ in range(reader.uvarint()):
            reader.uvarint()
            reader.take(reader.uvarint())
    return correlation, reader.body()
