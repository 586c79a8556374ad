// The generator and the hash of the interop tests in JavaScript; tests/clients/README.md specifies both and
// tests/clients/spec.py is their first implementation. A record is a pure function of (seed, partition, index).

"use strict";
const { createHash } = require("node:crypto");

const POOL_BYTES = 1 << 20;
const HEADER_NAMES = ["h", "h", "trace-id", "ключ"];
const HEADER_COUNTS = [0, 0, 1, 4];
const u64 = (x) => BigInt.asUintN(64, x);

function mix(state) {
  let x = u64(state + 0x9e3779b97f4a7c15n);
  x = u64((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n);
  x = u64((x ^ (x >> 27n)) * 0x94d049bb133111ebn);
  return x ^ (x >> 31n);
}

function pick(base, k, n) {
  return Number((mix(base + BigInt(k)) >> 32n) % BigInt(n));
}

function valueLength(base) {
  const c = pick(base, 1, 1000);
  if (c < 50) return c < 30 ? -1 : 0;
  if (c < 999) return 1 + pick(base, 2, c < 980 ? 1023 : c < 995 ? 16384 : 65536);
  return 524288 - (pick(base, 2, 8) !== 0 ? pick(base, 2, 524288) : 0);
}

class Spec {
  constructor(text) {
    const fields = new Map(text.split(/ +/).map((word) => word.split(/=(.*)/s, 2)));
    const number = (name, otherwise) => Number(fields.get(name) ?? otherwise);
    this.topic = fields.get("topic");
    this.seed = BigInt(fields.get("seed") ?? 1);
    this.partitions = number("partitions", 1);
    this.records = number("records", 0);
    this.ts0 = number("ts0", 1700000000000);
    this.codecs = (fields.get("codecs") ?? "none,gzip,snappy,lz4,zstd").split(",");
    this.without = new Set((fields.get("without") ?? "").split(","));
    this.pool = Buffer.alloc(POOL_BYTES);
    for (let i = 0; i < POOL_BYTES / 8; i++) {
      const word = (i >> 9) & 1 ? (i & ~511) | (i & 7) : i;
      this.pool.writeBigUInt64LE(mix(this.seed + BigInt(word)), i * 8);
    }
  }

  codec(partition) {
    return this.codecs[partition % this.codecs.length];
  }

  /** How many of the records lie in this partition. */
  count(partition) {
    return Math.floor(this.records / this.partitions) + (partition < this.records % this.partitions ? 1 : 0);
  }

  /** { key, value, headers: [[name, bytes]], timestamp }, with null for what is absent. */
  record(partition, index) {
    const at = (last) => mix(mix(this.seed) ^ ((BigInt(partition) << 40n) | BigInt(last)));
    const base = at(index);
    const length = valueLength(base);
    const kind = pick(base, 4, 10);
    let value = length < 0 ? null : this.slice(pick(base, 3, POOL_BYTES / 2), length);
    let key = kind < 2 ? [null, Buffer.alloc(0)][kind] : this.slice(pick(base, 5, POOL_BYTES / 2), 1 + pick(base, 6, 32));
    if (this.without.has("empty")) [key, value] = [key, value].map((bytes) => (bytes?.length ? bytes : null));
    if (this.without.has("null-records") && key === null && value === null) value = Buffer.alloc(0);
    const headers = this.headers(this.without.has("row-headers") ? at(0xffffffff) : base);
    const timestamp = this.without.has("timestamps") ? 0 : this.ts0 + index * 5 + pick(base, 30, 2001) - 1000;
    return { key, value, headers, timestamp };
  }

  headers(base) {
    let headers = [];
    for (let j = 0; j < HEADER_COUNTS[pick(base, 7, 4)]; j++) {
      const size = pick(base, 9 + 3 * j, 18) - 1;
      const bytes = this.slice(pick(base, 10 + 3 * j, POOL_BYTES / 2), Math.max(size, 0)).map((b) => b | 0x80);
      headers.push([HEADER_NAMES[pick(base, 8 + 3 * j, 4)], size < 0 && !this.without.has("null-headers") ? null : bytes]);
    }
    if (this.without.has("duplicate-headers")) headers = [...new Map(headers)];
    if (this.without.has("header-order")) headers.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return headers;
  }

  slice(start, length) {
    return this.pool.subarray(start, start + length);
  }

  /** `<count> <hash>` of the generator's records: what every reader must answer. */
  expect() {
    const total = createHash("sha256");
    for (let p = 0; p < this.partitions; p++) {
      const hash = createHash("sha256");
      for (let i = 0; i < this.count(p); i++) hash.update(encode(p, i, this.record(p, i)));
      total.update(hash.digest());
    }
    return `${this.records} ${total.digest("hex").slice(0, 16)}`;
  }
}

function encode(partition, offset, { key, value, headers, timestamp }) {
  const head = Buffer.alloc(20);
  head.writeInt32BE(partition, 0);
  head.writeBigInt64BE(BigInt(offset), 4);
  head.writeBigInt64BE(BigInt(timestamp), 12);
  const named = headers.flatMap(([name, bytes]) => [...field(Buffer.from(name)), ...field(bytes)]);
  return Buffer.concat([head, ...field(key), ...field(value), int32(headers.length), ...named]);
}

function field(bytes) {
  return bytes === null ? [int32(-1)] : [int32(bytes.length), bytes];
}

function int32(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(number);
  return bytes;
}

module.exports = { Spec };
