//! The paths that a benchmark would measure, on a simulated broker: the same instructions and the same allocations in every run, whatever else the
//! machine does. What the simulator and the client take is counted with the broker: figures are for comparing, not for telling.

use crate::broker_sim::{Bench, Client, HOUR, Topic, name};
use bytes::Bytes;
use hayate_storage::batch::BatchBuilder;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{FindCoordinatorRequest, GroupId, OffsetCommitRequest, ProduceRequest};
use kafka_protocol::protocol::StrBytes;

/// What is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HotPath {
    /// A batch of one record of 1 KiB, acknowledged when it is durable; the partition's shard is the connection's.
    ProduceOne,
    /// A batch of 16 records of 1 KiB.
    ProduceBatch,
    /// The same bytes in one record.
    ProduceLarge,
    /// A record of 1 KiB on two shards, to each of two partitions in turn: every other request goes to the other shard.
    ProduceHop,
    /// Five requests at a time.
    ProducePipelined,
    /// 16 KiB that are in memory.
    FetchHot,
    /// One offset of a group without members.
    CommitOffset,
}

impl HotPath {
    /// All of them.
    pub const ALL: [HotPath; 7] = [
        HotPath::ProduceOne,
        HotPath::ProduceBatch,
        HotPath::ProduceLarge,
        HotPath::ProduceHop,
        HotPath::ProducePipelined,
        HotPath::FetchHot,
        HotPath::CommitOffset,
    ];

    /// Its name in commands and figures.
    pub fn name(self) -> &'static str {
        match self {
            HotPath::ProduceOne => "produce-one",
            HotPath::ProduceBatch => "produce-batch",
            HotPath::ProduceLarge => "produce-large",
            HotPath::ProduceHop => "produce-hop",
            HotPath::ProducePipelined => "produce-pipelined",
            HotPath::FetchHot => "fetch-hot",
            HotPath::CommitOffset => "commit-offset",
        }
    }

    fn shards(self) -> u16 {
        match self {
            HotPath::ProduceHop => 2,
            HotPath::ProduceOne
            | HotPath::ProduceBatch
            | HotPath::ProduceLarge
            | HotPath::ProducePipelined
            | HotPath::FetchHot
            | HotPath::CommitOffset => 1,
        }
    }

    /// Starts a broker, goes the path `times` times, and once more between two calls of `counted` (before, after) in its steady state.
    ///
    /// # Panics
    /// When a request is refused.
    pub fn go(self, times: usize, counted: impl Fn() + 'static) {
        let bench = Bench::new(7, self.shards(), |options| {
            options.mailbox_credits = 256;
            // One file is enough: making another would be counted with whatever comes next.
            options.wal.first_file_bytes = 16 << 20;
        });
        let sim = bench.sim.clone();
        let outcome = sim.run(HOUR, async move {
            let running = bench.start().await;
            let mut client = bench.client().await;
            let mut walker = Walker::prepare(self, &mut client).await;
            for number in 0..times {
                walker.step(&mut client, number).await;
            }
            counted();
            walker.step(&mut client, times).await;
            counted();
            drop(client);
            bench.stop(running).await;
        });
        assert_eq!(outcome, Ok(()), "{}", self.name());
    }
}

/// `count` records of `bytes` each in one batch.
fn records(count: usize, bytes: usize) -> Bytes {
    let value = vec![b'v'; bytes];
    (0..count)
        .fold(BatchBuilder::new(), |batch, _| batch.record(1_767_225_600_000, None, Some(&value)))
        .build()
}

/// What the steps of a path need.
struct Walker {
    path: HotPath,
    topic: Topic,
    records: Bytes,
}

impl Walker {
    async fn prepare(path: HotPath, client: &mut Client) -> Walker {
        let records = match path {
            HotPath::ProduceOne | HotPath::ProduceHop | HotPath::CommitOffset => records(1, 1 << 10),
            HotPath::ProduceBatch | HotPath::ProducePipelined | HotPath::FetchHot => records(16, 1 << 10),
            HotPath::ProduceLarge => records(1, 16 << 10),
        };
        let topic = client.create_topic("hot", i32::from(path.shards())).await;
        let walker = Walker { path, topic, records };
        match path {
            HotPath::FetchHot => drop(client.produce_records(&walker.topic, 0, walker.records.clone()).await),
            HotPath::CommitOffset => find_coordinator(client).await,
            HotPath::ProduceOne
            | HotPath::ProduceBatch
            | HotPath::ProduceLarge
            | HotPath::ProduceHop
            | HotPath::ProducePipelined => {}
        }
        walker
    }

    async fn step(&mut self, client: &mut Client, number: usize) {
        match self.path {
            HotPath::ProduceOne | HotPath::ProduceBatch | HotPath::ProduceLarge => {
                self.produce(client, 0).await
            }
            HotPath::ProduceHop => {
                self.produce(client, 0).await;
                self.produce(client, 1).await;
            }
            HotPath::ProducePipelined => {
                for _ in 0..5 {
                    let request = Client::produce_request(&self.topic, 0, self.records.clone());
                    client.send_unheard::<ProduceRequest>(13, &request).await;
                }
                for _ in 0..5 {
                    client.receive_produce().await.expect("it is taken");
                }
            }
            HotPath::FetchHot => {
                let request = Client::fetch_request(&self.topic, &[(0, 0)], 1, 0);
                let response = client.ask(17, &request).await;
                let brought = response.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len);
                assert_eq!(brought, self.records.len());
            }
            HotPath::CommitOffset => commit(client, number as i64).await,
        }
    }

    async fn produce(&self, client: &mut Client, partition: i32) {
        let produced = client.produce_records(&self.topic, partition, self.records.clone()).await;
        produced.expect("it is taken");
    }
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("hot"))
}

async fn find_coordinator(client: &mut Client) {
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![group().0]);
    while client.ask(6, &request).await.coordinators[0].error_code != 0 {}
    while try_commit(client, 0).await != 0 {}
}

async fn try_commit(client: &mut Client, offset: i64) -> i16 {
    let partition =
        OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default().with_name(name("hot")).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    client.ask(8, &request).await.topics[0].partitions[0].error_code
}

async fn commit(client: &mut Client, offset: i64) {
    assert_eq!(try_commit(client, offset).await, 0);
}
