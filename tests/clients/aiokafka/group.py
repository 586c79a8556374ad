"""`member WORDS` of the aiokafka driver: one member of a group that says what happens to it (tests/clients/README.md), until a line
arrives on standard input."""

import asyncio

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

from member import Journal

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}


class Member(ConsumerRebalanceListener):
    def __init__(self, bootstrap, words):
        self.topic = words["topic"]
        self.journal = Journal()
        # Callbacks come from another task than the one that consumes. Not to be held over `getmany`, which waits for them.
        self.committing = asyncio.Lock()
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, group_id=words["group"], group_instance_id=words.get("instance"), enable_auto_commit=False,
            auto_offset_reset="earliest", check_crcs=True, fetch_max_wait_ms=100, retry_backoff_ms=100,
            session_timeout_ms=int(words["session"]), heartbeat_interval_ms=int(words["heartbeat"]), max_poll_interval_ms=60_000,
            rebalance_timeout_ms=60_000, partition_assignment_strategy=[ASSIGNORS[words["assignor"]]])

    async def run(self):
        self.consumer.subscribe([self.topic], listener=self)
        await self.consumer.start()
        try:
            while not self.journal.told.is_set():
                await self.turn()
            async with self.committing:
                await self.commit()
            await self.consumer.stop()
        except Exception as e:
            self.journal.say("failed", *repr(e).split())
            raise
        self.journal.say("closed")
        return "ok"

    async def turn(self):
        for at, records in (await self.consumer.getmany(timeout_ms=50)).items():
            for record in records:
                self.journal.consumed(at.partition, record.offset)
        if self.journal.may_commit():
            async with self.committing:
                await self.commit()

    async def on_partitions_revoked(self, revoked):
        async with self.committing:
            await self.commit()
            self.journal.gone("revoked", {at.partition for at in revoked})

    async def on_partitions_assigned(self, assigned):
        self.journal.assigned({at.partition for at in assigned})

    async def commit(self):
        now = self.journal.committing()
        if not now:
            return
        try:
            await self.consumer.commit({TopicPartition(self.topic, partition): offset for partition, offset in now.items()})
        except (KafkaError, AssertionError) as e:
            self.journal.uncommitted(e)
            return
        self.journal.committed(now)
