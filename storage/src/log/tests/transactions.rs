//! Transactions on a simulated disk: the file of the aborted ones over stops, crashes, cuts and damage, and what readers are told.

use super::*;
use crate::batch::control::{EndTxnMarker, TxnOutcome};
use crate::index::{AbortedTxn, TxnIndex};
use crate::names::FileKind;
use crate::producers::{ProducerError, TransactionVersion};

const ABORT: TxnOutcome = TxnOutcome::Abort;
const COMMIT: TxnOutcome = TxnOutcome::Commit;

fn end(producer: i64, outcome: TxnOutcome) -> TransactionEnd {
    TransactionEnd {
        producer_id: ProducerId(producer),
        producer_epoch: 0,
        marker: EndTxnMarker { outcome, coordinator_epoch: 1 },
        version: TransactionVersion::Classic,
    }
}

impl Node {
    /// The power fails; the same machine after that.
    fn crash(self) -> Node {
        self.sim.crash(NODE);
        self.device.crash();
        let rt = Rt::sim(self.sim.node(NODE));
        Node { disk: Disk::sim(&self.device, &rt), rt, ..self }
    }
}

/// Appends a batch of a producer's transaction: of two records that fill half a segment.
async fn send(node: &Node, log: &Log, producer: i64, sequence: i32) {
    let batch = BatchBuilder::new().producer(ProducerId(producer), 0, sequence).transactional(true);
    let batch = batch.record(node.rt.wall_ms(), None, Some(&[7; VALUE_BYTES])).record(
        node.rt.wall_ms(),
        None,
        Some(b"second"),
    );
    let batch = batch.build();
    let valid = validate(&batch, &ProduceRules::default(), node.rt.wall_ms()).unwrap();
    log.append(&batch, &valid, LeaderEpoch(1)).unwrap().durable.await.unwrap();
}

async fn mark(log: &Log, producer: i64, outcome: TxnOutcome) -> Offset {
    let appended = log.append_marker(&end(producer, outcome), LeaderEpoch(1)).unwrap();
    appended.durable.await.unwrap();
    appended.base_offset
}

/// Producer 1 commits 0..2 with the marker at 4, producer 2 aborts 2..4 with the marker at 7, which lies in a later segment than its
/// records, producer 3 aborts 5..7 with the marker at 8; producer 4 stays open from 9 on.
async fn script(node: &Node, log: &Log) {
    send(node, log, 1, 0).await;
    send(node, log, 2, 0).await;
    assert_eq!(mark(log, 1, COMMIT).await, Offset(4));
    send(node, log, 3, 0).await;
    assert_eq!(mark(log, 2, ABORT).await, Offset(7));
    assert_eq!(mark(log, 3, ABORT).await, Offset(8));
    send(node, log, 4, 0).await;
    log.set_high_watermark(log.offsets().end);
}

fn aborted(producer: i64, first: i64, last: i64, stable: i64) -> AbortedTxn {
    AbortedTxn {
        producer_id: ProducerId(producer),
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(stable),
    }
}

fn of_script() -> [AbortedTxn; 2] {
    [aborted(2, 2, 7, 5), aborted(3, 5, 8, 9)]
}

async fn found(log: &Log, from: i64, to: i64) -> Vec<i64> {
    let found = log.aborted_transactions(Offset(from), Offset(to)).await.unwrap();
    found.iter().map(|aborted| aborted.producer_id.0).collect()
}

/// What the files say, by segment.
async fn stored(node: &Node) -> Vec<(String, Vec<AbortedTxn>)> {
    let mut stored = Vec::new();
    for name in node.files().await {
        if let Some(base) = name.strip_suffix(".txnindex") {
            let bytes = node.disk.read_small(Path::new(FOLDER).join(&name), 1 << 20).await.unwrap();
            let index = TxnIndex::decode(&bytes.unwrap(), Offset(base.parse().unwrap())).unwrap();
            stored.push((base.trim_start_matches('0').to_owned(), index.entries().to_vec()));
        }
    }
    stored
}

#[test]
fn a_clean_stop_leaves_kafkas_files_and_they_are_found_again() {
    run(async |node| {
        let (store, log) = node.open_log(None).await;
        script(&node, &log).await;
        assert!(bases(&log).len() > 1, "{:?}", bases(&log));
        assert_eq!(log.aborted_transactions(Offset(0), Offset(11)).await.unwrap(), of_script());
        store.close().await.unwrap();
        let entries: Vec<AbortedTxn> =
            stored(&node).await.into_iter().flat_map(|(_, entries)| entries).collect();
        assert_eq!(entries, of_script());
        let (_store, log) = node.open_log(None).await;
        assert_eq!(log.aborted_transactions(Offset(0), Offset(11)).await.unwrap(), of_script());
        for (from, to, expected) in
            [(0, 2, &[][..]), (0, 3, &[2]), (0, 6, &[2, 3]), (7, 8, &[2, 3]), (8, 11, &[3]), (9, 11, &[])]
        {
            assert_eq!(found(&log, from, to).await, expected, "{from}..{to}");
        }
        log.set_high_watermark(Offset(11));
        assert_eq!(log.offsets().last_stable, Offset(9), "producer 4 is still open");
        mark(&log, 4, ABORT).await;
        log.set_high_watermark(Offset(12));
        assert_eq!(log.offsets().last_stable, Offset(12));
        assert_eq!(found(&log, 9, 12).await, [4]);
    });
}

#[test]
fn a_crash_loses_nothing_of_it_and_adds_nothing() {
    run(async |node| {
        let (store, log) = node.open_log(None).await;
        script(&node, &log).await;
        drop((store, log));
        let node = node.crash();
        let (store, log) = node.open_log(None).await;
        assert_eq!(log.aborted_transactions(Offset(0), Offset(11)).await.unwrap(), of_script());
        mark(&log, 4, ABORT).await;
        store.close().await.unwrap();
        let last = stored(&node).await.pop().unwrap().1.pop();
        assert_eq!(last, Some(aborted(4, 9, 11, 12)));
    });
}

#[test]
fn a_cut_forgets_what_ended_behind_it_and_opens_it_again() {
    run(async |node| {
        let (store, log) = node.open_log(None).await;
        script(&node, &log).await;
        let cut = log.truncate_to(LeaderEpoch(1), Offset(8)).await.unwrap();
        assert_eq!(cut.end, Offset(8));
        assert_eq!(found(&log, 0, 8).await, [2]);
        assert_eq!(log.offsets().last_stable, Offset(5), "producer 3 is open again");
        mark(&log, 3, COMMIT).await;
        store.close().await.unwrap();
        let (_store, log) = node.open_log(None).await;
        assert_eq!(log.aborted_transactions(Offset(0), Offset(9)).await.unwrap(), of_script()[..1]);
    });
}

#[test]
fn what_is_damaged_or_gone_is_made_again_from_the_batches() {
    for damage in [None, Some(&[1, 2, 3][..]), Some(&[9; 34])] {
        run(async move |node| {
            let (store, log) = node.open_log(None).await;
            script(&node, &log).await;
            let segments = bases(&log);
            store.close().await.unwrap();
            for base in segments {
                let name = format!("{base:020}.txnindex");
                match damage {
                    Some(bytes) if node.files().await.contains(&name) => node.write(&name, bytes).await,
                    _ => {}
                }
            }
            let (_store, log) = node.open_log(None).await;
            assert_eq!(log.aborted_transactions(Offset(0), Offset(11)).await.unwrap(), of_script());
        });
    }
}

#[test]
fn the_file_goes_with_its_segment() {
    run(async |node| {
        let (store, log) = node.open_log(None).await;
        script(&node, &log).await;
        mark(&log, 4, COMMIT).await;
        node.append(&log, 6, None).await;
        store.close().await.unwrap();
        let (_store, log) = node.open_log(None).await;
        assert_eq!(stored(&node).await.len(), 1);
        log.advance_start(log.offsets().end).await.unwrap();
        assert!(stored(&node).await.is_empty());
        let start = log.offsets().start;
        assert_eq!(found(&log, start.0, start.0 + 100).await, [0; 0]);
    });
}

#[test]
fn markers_are_judged_and_stamped_as_the_topic_says() {
    run(async |node| {
        let mut logged = spec(TOPIC_ID, None);
        logged.config.message_timestamp_type = crate::batch::TimestampType::LogAppendTime;
        let store = node.open(vec![logged]).await.unwrap();
        let log = store.logs().remove(0);
        mark(&log, 9, ABORT).await;
        let stale =
            TransactionEnd { marker: EndTxnMarker { outcome: ABORT, coordinator_epoch: 0 }, ..end(9, ABORT) };
        let refused = log.append_marker(&stale, LeaderEpoch(1)).unwrap_err();
        assert!(matches!(
            refused,
            crate::error::AppendError::Producer(ProducerError::CoordinatorFenced { .. })
        ));
        assert_eq!(refused.code(), 52);
        let read = log.read(Offset(0), Offset(1), 1000, true).await.unwrap();
        let header = BatchHeader::parse(&read.records[0]).unwrap();
        assert!(header.is_control() && header.is_transactional());
        assert_eq!(header.timestamp_type(), crate::batch::TimestampType::LogAppendTime);
        assert_eq!(crate::batch::crc::batch_crc(&read.records[0]), header.crc);
        assert_eq!(log.offsets().end, Offset(1));
        assert!(!node.disk.exists(log.inner.segment_path(Offset(0), FileKind::TxnIndex)).await.unwrap());
    });
}
