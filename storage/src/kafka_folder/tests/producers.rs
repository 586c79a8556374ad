//! Five batches in flight on either way: what is known here of Kafka's producers after its clean stop, and what Kafka, told in small,
//! loads of ours.

use super::*;
use crate::batch::{BatchHeader, BatchScan};
use crate::kafka_folder::leave::leave_producers;
use crate::producers::{BatchSpan, ProducerState};
use std::collections::BTreeMap;

const KEPT_FOR_EVER: i64 = i64::MAX;

/// A log as Kafka has it at a clean stop: batches of a few producers in segments, and its snapshots, with the state that it had.
#[derive(Default)]
struct Written {
    segments: BTreeMap<i64, Vec<u8>>,
    snapshots: BTreeMap<i64, Vec<u8>>,
    state: ProducerState,
    starts: Vec<i64>,
    end: i64,
}

impl Written {
    /// Of as many batches; some begin a segment, some an epoch.
    fn random(sim: &Sim, batches: usize) -> Written {
        let mut log = Written { state: ProducerState::new(KEPT_FOR_EVER), ..Written::default() };
        log.segments.insert(0, Vec::new());
        let mut next = [(0_i16, 0_i32); 4];
        for _ in 0..batches {
            if sim.chance(1, 40) && log.end > *log.segments.last_key_value().unwrap().0 {
                log.segments.insert(log.end, Vec::new());
                log.snapshots.insert(log.end, log.state.encode_snapshot());
            }
            let producer = sim.random_below(sim.random_below(4) + 1) as usize;
            let (epoch, sequence) = &mut next[producer];
            if sim.chance(1, 60) {
                (*epoch, *sequence) = (*epoch + 1, 0);
            }
            let count = 1 + sim.random_below(3) as i32;
            log.append(ProducerId(producer as i64), *epoch, *sequence, count);
            *sequence += count;
        }
        log.snapshots.insert(log.end, log.state.encode_snapshot());
        log
    }

    fn append(&mut self, producer: ProducerId, epoch: i16, sequence: i32, count: i32) {
        let batch = BatchBuilder::new().base_offset(Offset(self.end)).leader_epoch(LeaderEpoch(0));
        let batch = batch.producer(producer, epoch, sequence);
        let batch = (0..count).fold(batch, |batch, _| batch.record(RECENT_MS, None, Some(b"some value")));
        let bytes = batch.build();
        let header = BatchHeader::parse(&bytes).unwrap();
        self.state.replay(&header, &bytes).unwrap();
        self.starts.push(self.end);
        self.end = header.next_offset().0;
        self.segments.last_entry().unwrap().get_mut().extend_from_slice(&bytes);
    }

    fn folder(&self, start: i64) -> Folder {
        let folder = Folder::default().clean().offset(LOG_START_CHECKPOINT, start);
        let folder =
            self.segments.iter().fold(folder, |folder, (base, bytes)| folder.segment(*base, &bytes[..]));
        let snapshot = |folder: Folder, (at, bytes): (&i64, &Vec<u8>)| {
            folder.file(&format!("{at:020}.snapshot"), &bytes[..])
        };
        self.snapshots.iter().fold(folder, snapshot)
    }

    /// The begin of the batch that lies `bytes` before the end, about.
    fn offset_before_end(&self, bytes: usize) -> i64 {
        let mut left = bytes;
        let all = self.segments.values().rev();
        for segment in all {
            let batches: Vec<(usize, i64)> = BatchScan::new(segment, crate::batch::scan::Checksums::Trust)
                .map(|batch| (batch.bytes.len(), batch.header.base_offset.0))
                .collect();
            for (len, base) in batches.into_iter().rev() {
                if len > left {
                    return base;
                }
                left -= len;
            }
        }
        0
    }
}

/// What `UnifiedLog` of Kafka 4.2 loads of a partition's producers after a clean stop.
async fn kafka_loads(node: &Node, start: i64, end: i64) -> ProducerState {
    let folder = Path::new(DATA_DIR).join("t-0");
    let read = async |name: &str| node.disk().read_small(folder.join(name), 1 << 22).await.unwrap().unwrap();
    let (mut segments, mut snapshots) = (BTreeMap::new(), BTreeMap::new());
    for name in node.names().await {
        let base = name.split_once('.').and_then(|(base, _)| base.parse::<i64>().ok());
        match (base, name.ends_with(".log"), name.ends_with(".snapshot")) {
            (Some(base), true, _) => _ = segments.insert(base, read(&name).await),
            (Some(base), _, true) => _ = snapshots.insert(base, read(&name).await),
            _ => {}
        }
    }
    let last = *segments.last_key_value().unwrap().0;
    let stray = snapshots.keys().copied().rfind(|at| !segments.contains_key(at));
    snapshots.retain(|at, _| segments.contains_key(at) || (Some(*at) == stray && *at >= last));
    if snapshots.is_empty() {
        return ProducerState::new(KEPT_FOR_EVER);
    }
    snapshots.retain(|at, _| start < *at && *at <= end);
    let newest = snapshots.pop_last();
    let (mut state, from) = match newest {
        Some((at, bytes)) => (ProducerState::from_snapshot(&bytes, 0, KEPT_FOR_EVER).unwrap(), at),
        None => (ProducerState::new(KEPT_FOR_EVER), start),
    };
    for bytes in segments.values() {
        for batch in BatchScan::new(bytes, crate::batch::scan::Checksums::Verify) {
            if batch.header.last_offset().0 >= from {
                state.replay(&batch.header, batch.bytes).unwrap();
            }
        }
    }
    state
}

/// Each producer's remembered batches that begin at `from` or behind it.
fn batches_from(state: &ProducerState, from: i64) -> BTreeMap<i64, Vec<BatchSpan>> {
    let of = |(id, entry): (ProducerId, &crate::producers::ProducerEntry)| {
        let batches = entry.batches().iter().copied().filter(|batch| batch.first_offset().0 >= from);
        (id.0, batches.collect::<Vec<_>>())
    };
    state.iter().map(of).filter(|(_, batches)| !batches.is_empty()).collect()
}

/// Kafka's log is taken over and left again; `tail_bytes` is how much Kafka is to look through.
fn check_both_ways(seed: u64, batches: usize, tail_bytes: u64, known_bytes: usize) {
    run(seed, move |node| async move {
        let written = Written::random(&node.sim, batches);
        let start = match node.sim.random_below(3) {
            0 => 0,
            _ => written.starts[node.sim.random_below(written.starts.len() as u64) as usize],
        };
        node.write(&written.folder(start)).await;
        node.settle().await;
        let (store, log) = node.open().await;
        let here =
            log.inner.state.borrow().producers.iter().map(|(id, entry)| (id, *entry)).collect::<Vec<_>>();
        assert_eq!(here, written.state.iter().map(|(id, entry)| (id, *entry)).collect::<Vec<_>>());
        store.close().await.unwrap();
        let (disk, dir) = (node.disk(), Path::new(DATA_DIR));
        let checkpoint = crate::store::checkpoint::load(&disk, dir).await.unwrap().merged;
        let entry =
            checkpoint.entries.values().find(|entry| entry.partition == expected().partition).unwrap();
        leave_producers(&disk, &dir.join("t-0"), &entry.start, tail_bytes).await.unwrap();
        let loaded = kafka_loads(&node, start, written.end).await;
        let from = start.max(written.offset_before_end(known_bytes));
        assert_eq!(batches_from(&loaded, from), batches_from(&written.state, from), "seed {seed}, {start}");
        let last = |state: &ProducerState| {
            let last = state.iter().filter_map(|(_, entry)| entry.last_batch().copied());
            last.filter(|batch| batch.first_offset().0 >= start).collect::<Vec<_>>()
        };
        assert_eq!(last(&loaded), last(&written.state), "seed {seed}");
    });
}

#[test]
fn five_batches_of_each_producer_are_known_on_either_way() {
    for seed in 0..300 {
        check_both_ways(seed, 1 + seed as usize % 90, u64::MAX, usize::MAX);
    }
}

#[test]
fn kafka_looks_through_the_end_of_a_long_log_alone() {
    for seed in 0..60 {
        check_both_ways(seed, 400, 12_000, 6_000);
    }
}

#[test]
fn where_a_snapshot_of_the_end_says_all_it_is_left() {
    run(1, |node| async move {
        let mut written = Written { state: ProducerState::new(KEPT_FOR_EVER), ..Written::default() };
        written.segments.insert(0, Vec::new());
        (0..3).for_each(|producer| written.append(ProducerId(producer), 0, 0, 2));
        written.snapshots.insert(written.end, written.state.encode_snapshot());
        node.write(&written.folder(0)).await;
        node.settle().await;
        let (store, _) = node.open().await;
        store.close().await.unwrap();
        leave_for_kafka(&node.disk(), Path::new(DATA_DIR), &begun().partition, 1).await.unwrap();
        let snapshots: Vec<String> =
            node.names().await.into_iter().filter(|name| name.ends_with(".snapshot")).collect();
        assert_eq!(snapshots, [format!("{:020}.snapshot", 6)]);
    });
}
