// kafkajs behind the line protocol of tests/clients/README.md: `driver.js BOOTSTRAP`, commands on standard input, one answer
// line each on standard output.
//
// It reads only in a group, so there is no `read` here. Its headers are an object: no null values, and the values of one
// name stand together: `produce` insists on a SPEC with `without=null-headers,header-order`. Of the codecs it brings only
// gzip; snappy is its own plug-in, lz4 (frames of independent blocks: Kafka takes no others) and zstd are put in as its
// documentation says.

"use strict";
const readline = require("node:readline");
const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, logLevel } = require("kafkajs");
const SnappyCodec = require("kafkajs-snappy");
const lz4 = require("lz4-napi");
const zstd = require("@bokuweb/zstd-wasm");
const { member } = require("./member");
const { Spec } = require("./spec");

const CANNOT_PRODUCE = ["null-headers", "header-order"];
const BATCH_BYTES_MAX = 400_000;
const CODECS = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};
const codec = (compress, decompress) => () => ({
  compress: async (encoder) => Buffer.from(compress(encoder.buffer)),
  decompress: async (bytes) => Buffer.from(decompress(bytes)),
});
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec;
CompressionCodecs[CompressionTypes.LZ4] = codec(lz4.compressFrameSync, lz4.decompressFrameSync);
CompressionCodecs[CompressionTypes.ZSTD] = codec(zstd.compress, zstd.decompress);

const kafka = new Kafka({
  brokers: [process.argv[2]],
  logLevel: logLevel.ERROR,
  logCreator: () => ({ log }) => console.error(log.message, log.error ?? ""),
});

async function create(rest) {
  const [topic, partitions, ...configs] = rest.split(/ +/);
  const configEntries = configs.map((word) => word.split(/=(.*)/s, 2)).map(([name, value]) => ({ name, value }));
  const admin = kafka.admin();
  await admin.connect();
  try {
    const topics = [{ topic, numPartitions: Number(partitions), replicationFactor: 1, configEntries }];
    if (!(await admin.createTopics({ topics, waitForLeaders: true }))) throw new Error(`${topic} exists`);
  } finally {
    await admin.disconnect();
  }
  return "ok";
}

async function produce(rest) {
  const spec = new Spec(rest);
  if (!CANNOT_PRODUCE.every((word) => spec.without.has(word))) throw new Error(`kafkajs needs without=${CANNOT_PRODUCE}`);
  await zstd.init();
  const producer = kafka.producer({
    idempotent: true, maxInFlightRequests: 1, createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  try {
    for (let p = 0; p < spec.partitions; p++) await producePartition(spec, producer, p);
  } finally {
    await producer.disconnect();
  }
  return `ok ${spec.records}`;
}

/** Each `send` is one batch: kafkajs does not gather. */
async function producePartition(spec, producer, partition) {
  let messages = [];
  let bytes = 0;
  const send = async () => {
    await producer.send({ topic: spec.topic, acks: -1, compression: CODECS[spec.codec(partition)], messages });
    messages = [];
    bytes = 0;
  };
  for (let i = 0; i < spec.count(partition); i++) {
    const message = toMessage(spec, partition, i);
    const size = message.value?.length ?? 0;
    if (messages.length && bytes + size > BATCH_BYTES_MAX) await send();
    messages.push(message);
    bytes += size;
  }
  if (messages.length) await send();
}

function toMessage(spec, partition, index) {
  const { key, value, headers, timestamp } = spec.record(partition, index);
  const named = {};
  for (const [name, bytes] of headers) (named[name] ??= []).push(bytes);
  return { partition, key, value, headers: named, timestamp: timestamp ? String(timestamp) : undefined };
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const COMMANDS = {
  create, produce, expect: async (rest) => new Spec(rest).expect(), member: (rest) => member(kafka, rest, lines),
};

async function main() {
  for (let next; !(next = await lines.next()).done; ) {
    const line = next.value;
    const [, command, rest] = line.trim().match(/^(\S*) *(.*)$/);
    try {
      if (!COMMANDS[command]) throw new Error(`unknown command ${command}`);
      console.log(await COMMANDS[command](rest));
    } catch (e) {
      console.log("error", String(e).replace(/\s+/g, " "));
    }
  }
}

main();
