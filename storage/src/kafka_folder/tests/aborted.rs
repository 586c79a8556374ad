//! The aborted transactions of Kafka's logs: its files are believed after a clean stop, and made anew after any other.

use super::*;
use crate::batch::control::{EndTxnMarker, TxnOutcome};
use crate::index::{AbortedTxn, TxnIndex};

/// A batch of two records of a producer's transaction.
fn part(producer: i64, offset: i64) -> Bytes {
    let builder = BatchBuilder::new()
        .base_offset(Offset(offset))
        .producer(ProducerId(producer), 0, 0)
        .transactional(true);
    builder.record(RECENT_MS, None, Some(b"first")).record(RECENT_MS, None, Some(b"second")).build()
}

fn end(producer: i64, offset: i64, outcome: TxnOutcome) -> Bytes {
    let marker = EndTxnMarker { outcome, coordinator_epoch: 0 };
    marker.to_batch(Offset(offset), LeaderEpoch(0), RECENT_MS, ProducerId(producer), 0)
}

fn aborted(producer: i64, first: i64, last: i64, stable: i64) -> AbortedTxn {
    AbortedTxn {
        producer_id: ProducerId(producer),
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(stable),
    }
}

fn index(entries: &[AbortedTxn]) -> Vec<u8> {
    let mut index = TxnIndex::default();
    entries.iter().for_each(|entry| index.append(*entry).unwrap());
    index.encode()
}

/// Producer 1 aborts a transaction that began in the first segment, producer 2 commits, producer 3 aborts.
fn folder() -> Folder {
    let first = [part(1, 0), part(2, 2)].concat();
    let ends = [end(1, 4, TxnOutcome::Abort), end(2, 5, TxnOutcome::Commit)];
    let second = [&ends.concat()[..], &part(3, 6), &end(3, 8, TxnOutcome::Abort)].concat();
    Folder::default().segment(0, first).segment(4, second)
}

const TRUE: [AbortedTxn; 2] = [
    AbortedTxn {
        producer_id: ProducerId(1),
        first_offset: Offset(0),
        last_offset: Offset(4),
        last_stable_offset: Offset(2),
    },
    AbortedTxn {
        producer_id: ProducerId(3),
        first_offset: Offset(6),
        last_offset: Offset(8),
        last_stable_offset: Offset(9),
    },
];

fn check_aborted(folder: Folder, expected: &'static [AbortedTxn], end: i64) {
    run(1, move |node| async move {
        node.write(&folder).await;
        node.settle().await;
        let (store, log) = node.open().await;
        assert_eq!(log.offsets().end, Offset(end));
        assert_eq!(log.aborted_transactions(Offset(0), Offset(end)).await.unwrap(), expected);
        store.close().await.unwrap();
        let path = Path::new(DATA_DIR).join("t-0/00000000000000000004.txnindex");
        let left = node.disk().read_small(path, 1 << 10).await.unwrap();
        assert_eq!(left, Some(index(expected)), "what Kafka finds when the folder is left to it");
    });
}

#[test]
fn what_was_aborted_is_known_after_a_clean_stop_and_after_any_other() {
    let file = |entries: &[AbortedTxn]| folder().file("00000000000000000004.txnindex", index(entries));
    check_aborted(file(&TRUE).clean(), &TRUE, 9);
    check_aborted(folder(), &TRUE, 9);
    check_aborted(file(&TRUE[..1]), &TRUE, 9);
    check_aborted(folder().file("00000000000000000004.txnindex", [1, 2, 3]), &TRUE, 9);
    // Of a marker that the crash took, the file was there before the batch.
    let mut torn = folder();
    let second = &mut torn.log[1].1;
    second.truncate(second.len() - 5);
    let torn = torn.file("00000000000000000004.txnindex", index(&TRUE));
    check_aborted(torn, &TRUE[..1], 8);
    let gone = [aborted(1, 0, 4, 2), aborted(5, 0, 100, 101)];
    check_aborted(file(&gone).clean(), &TRUE[..1], 9);
}
