// `member WORDS`: one member of a group that says what happens to it (tests/clients/README.md), until a line arrives on standard
// input. kafkajs has no callback for what is taken away: its events stand in, and it takes back everything at each rebalance.
// It brings one assignor, by a name that no other client knows; `range` and `roundrobin` are written here, as a user would.

"use strict";
const { AssignerProtocol, PartitionAssigners } = require("kafkajs");

const COMMIT_MS = 250;

/** Partitions to members in turn, or in runs when `runs`; members in the order of their ids. */
const assigner = (name, runs) => ({ cluster }) => ({
  name,
  version: 0,
  protocol: ({ topics }) => ({
    name,
    metadata: AssignerProtocol.MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }),
  }),
  async assign({ members, topics }) {
    const ids = members.map((member) => member.memberId).sort();
    const given = new Map(ids.map((id) => [id, {}]));
    for (const topic of topics) {
      const partitions = cluster.findTopicPartitionMetadata(topic).map((each) => each.partitionId).sort((a, b) => a - b);
      partitions.forEach((partition, i) => {
        const id = ids[runs ? Math.floor((i * ids.length) / partitions.length) : i % ids.length];
        (given.get(id)[topic] ??= []).push(partition);
      });
    }
    return ids.map((memberId) => ({
      memberId,
      memberAssignment: AssignerProtocol.MemberAssignment.encode({ version: 0, assignment: given.get(memberId), userData: Buffer.alloc(0) }),
    }));
  },
});
const ASSIGNERS = {
  RoundRobinAssigner: PartitionAssigners.roundRobin, range: assigner("range", true), roundrobin: assigner("roundrobin", false),
};

const say = (...words) => console.log(Date.now(), words.join(" ").replace(/\s+/g, " "));
const numbers = (partitions) => [...partitions].join(",") || "-";

async function member(kafka, rest, lines) {
  const words = Object.fromEntries(rest.split(/ +/).map((word) => word.split(/=(.*)/s, 2)));
  const consumer = kafka.consumer({
    groupId: words.group, partitionAssigners: [ASSIGNERS[words.assignor]], sessionTimeout: Number(words.session),
    heartbeatInterval: Number(words.heartbeat), rebalanceTimeout: 60_000, maxWaitTimeInMs: 100,
    retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 1000 },
  });
  let owned = new Set();
  let due = new Map();
  let told = false;
  let acknowledged = false;
  const gone = (how) => {
    if (owned.size) say(how, numbers(owned));
    owned = new Set();
    due = new Map();
  };
  const commit = async (offsets) => {
    if (!offsets.size) return;
    const said = [...offsets].map(([partition, offset]) => `${partition}:${offset}`).join(",");
    say("commit", said);
    acknowledged = false;
    try {
      await consumer.commitOffsets([...offsets].map(([partition, offset]) => ({ topic: words.topic, partition, offset: String(offset) })));
    } catch (e) {
      say("uncommitted", e);
      return;
    }
    // After a crash, until it runs again, kafkajs returns without having asked anybody.
    if (!acknowledged) return say("uncommitted", "the consumer does not run");
    say("committed", said);
    for (const [partition, offset] of offsets) if (due.get(partition) === offset) due.delete(partition);
  };
  consumer.on(consumer.events.REBALANCING, () => gone("revoked"));
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    gone("lost");
    owned = new Set(payload.memberAssignment[words.topic] ?? []);
    say("assigned", numbers(owned));
  });
  consumer.on(consumer.events.COMMIT_OFFSETS, () => { acknowledged = true; });
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    gone("lost"); // it starts again as another member
    say(payload.restart ? "trouble" : "failed", payload.error);
  });
  await consumer.connect();
  await consumer.subscribe({ topic: words.topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, isRunning, isStale }) => {
      // kafkajs goes on with what it has fetched while it joins again.
      if (told || !owned.has(batch.partition) || !isRunning() || isStale() || !batch.messages.length) return;
      const last = Number(batch.messages.at(-1).offset);
      say("consumed", `${batch.partition}:${batch.firstOffset()}-${last}`);
      resolveOffset(String(last));
      due.set(batch.partition, last + 1);
    },
  });
  lines.next().then(() => { told = true; });
  while (!told) {
    await new Promise((resume) => setTimeout(resume, COMMIT_MS));
    await commit(new Map(due));
  }
  await commit(new Map(due));
  gone("revoked"); // before it leaves: then others take over
  await consumer.stop();
  await consumer.disconnect();
  say("closed");
  return "ok";
}

module.exports = { member };
