//! Producers told as scripts: who sends what, what becomes of it, where the last stable offset stands. The script with the snapshot
//! was also run through Apache Kafka 4.2.1's `ProducerStateManager`, whose file is compared byte for byte.

use super::*;
use crate::batch::control::EndTxnMarker;
use crate::batch::{BatchBuilder, LeaderEpoch};
use bytes::Bytes;
use proptest::prelude::*;

/// A log of one partition: gives out offsets, keeps the batches for a replay.
#[derive(Default)]
struct Partition {
    state: ProducerState,
    end: i64,
    log: Vec<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    New,
    /// First and last offset.
    Known(i64, i64),
    Code(i16),
}

fn data(id: i64, epoch: i16, sequence: i32, count: i32, timestamp_ms: i64, offset: i64) -> BatchBuilder {
    (0..count).fold(
        BatchBuilder::new().producer(ProducerId(id), epoch, sequence).base_offset(Offset(offset)),
        |batch, _| batch.record(timestamp_ms, None, Some(b"v")),
    )
}

impl Partition {
    fn send(&mut self, id: i64, epoch: i16, sequence: i32, count: i32) -> Answer {
        self.send_batch(data(id, epoch, sequence, count, 1000, self.end))
    }

    fn send_transactional(&mut self, id: i64, epoch: i16, sequence: i32, count: i32) -> Answer {
        self.send_batch(data(id, epoch, sequence, count, 1000, self.end).transactional(true))
    }

    fn send_batch(&mut self, batch: BatchBuilder) -> Answer {
        let batch = batch.build();
        let header = BatchHeader::parse(&batch).unwrap();
        match self.state.check(&header) {
            Ok(Verdict::New) => {
                self.state.apply(&header, Offset(self.end));
                self.end = header.next_offset().0;
                self.log.push(batch);
                Answer::New
            }
            Ok(Verdict::Duplicate { base_offset, last_offset, .. }) => {
                Answer::Known(base_offset.0, last_offset.0)
            }
            Err(error) => Answer::Code(error.code()),
        }
    }

    fn mark(&mut self, id: i64, epoch: i16, marker: EndMarker) -> Option<CompletedTransaction> {
        let EndMarker { outcome, coordinator_epoch, timestamp_ms } = marker;
        let batch = EndTxnMarker { outcome, coordinator_epoch }.to_batch(
            Offset(self.end),
            LeaderEpoch(0),
            timestamp_ms,
            ProducerId(id),
            epoch,
        );
        self.end += 1;
        let completed = self.state.replay(&BatchHeader::parse(&batch).unwrap(), &batch).unwrap();
        self.log.push(batch);
        completed
    }

    fn end_transaction(&mut self, id: i64, epoch: i16, outcome: TxnOutcome) -> Option<CompletedTransaction> {
        self.mark(id, epoch, EndMarker { outcome, coordinator_epoch: 9, timestamp_ms: 3500 })
    }

    fn unstable(&self) -> Option<i64> {
        self.state.first_unstable_offset().map(|offset| offset.0)
    }

    fn replayed(&self) -> ProducerState {
        let mut state = ProducerState::default();
        for batch in &self.log {
            state.replay(&BatchHeader::parse(batch).unwrap(), batch).unwrap();
        }
        state
    }
}

use Answer::{Code, Known, New};

#[test]
fn a_sequence_goes_on_without_gaps() {
    let mut partition = Partition::default();
    for (sequence, count, expected) in [
        (0, 10, New),
        (10, 5, New),
        (16, 1, Code(45)),
        (14, 1, Code(45)),
        (10, 5, Known(10, 14)),
        (10, 4, Code(45)),
        (0, 15, Code(45)),
        (15, 1, New),
    ] {
        assert_eq!(partition.send(7, 0, sequence, count), expected, "{sequence} + {count}");
    }
    assert_eq!(partition.replayed(), partition.state);
}

#[test]
fn the_last_five_batches_are_known() {
    let mut partition = Partition::default();
    for sequence in 0..6 {
        assert_eq!(partition.send(7, 0, sequence, 1), New);
    }
    assert_eq!(partition.send(7, 0, 0, 1), Code(45));
    for sequence in 1..6 {
        assert_eq!(partition.send(7, 0, sequence, 1), Known(sequence.into(), sequence.into()));
    }
    assert_eq!(partition.state.get(ProducerId(7)).unwrap().batches().len(), BATCHES_KEPT);
}

#[test]
fn a_duplicate_has_the_originals_timestamp() {
    let mut partition = Partition::default();
    partition.send_batch(data(7, 0, 0, 2, 1234, 0));
    let again = BatchHeader::parse(&data(7, 0, 0, 2, 9999, 0).build()).unwrap();
    let expected = Verdict::Duplicate { base_offset: Offset(0), last_offset: Offset(1), timestamp_ms: 1234 };
    assert_eq!(partition.state.check(&again), Ok(expected));
}

#[test]
fn a_new_epoch_fences_the_old_one_and_begins_with_0() {
    let mut partition = Partition::default();
    for (epoch, sequence, expected) in [
        (3, 0, New),
        (2, 1, Code(47)),
        (2, 0, Code(47)),
        (4, 1, Code(45)),
        (4, 0, New),
        (3, 0, Code(47)),
        (4, 0, Known(1, 1)),
        (4, 2, Code(45)),
        (4, 1, New),
    ] {
        assert_eq!(partition.send(7, epoch, sequence, 1), expected, "{epoch}/{sequence}");
    }
}

#[test]
fn an_unknown_producer_may_begin_anywhere() {
    let mut partition = Partition::default();
    assert_eq!(partition.send(7, 5, 4711, 1), New);
    assert_eq!(partition.send(7, 5, 4713, 1), Code(45));
    assert_eq!(partition.send(8, 0, 1, 1), New);
    assert_eq!(partition.send(-1, -1, -1, 1), New);
    assert_eq!(partition.send(-1, -1, -1, 1), New);
    assert_eq!(partition.state.len(), 2);
}

#[test]
fn sequences_wrap_behind_the_largest() {
    let mut partition = Partition::default();
    let max = i32::MAX;
    for (sequence, count, expected) in
        [(max - 1, 1, New), (max, 1, New), (1, 1, Code(45)), (0, 2, New), (max, 1, Known(1, 1)), (2, 1, New)]
    {
        assert_eq!(partition.send(7, 0, sequence, count), expected, "{sequence}");
    }
    assert_eq!(partition.send(8, 0, max - 1, 5), New, "a batch across the end");
    assert_eq!(partition.send(8, 0, max - 1, 5), Known(5, 9));
    assert_eq!(partition.send(8, 0, 3, 1), New);
}

#[test]
fn idle_producers_expire_but_not_with_a_transaction_open() {
    let mut partition = Partition::default();
    partition.state.set_expiration_ms(100);
    partition.send_batch(data(1, 0, 0, 1, 1000, 0));
    partition.send_batch(data(2, 0, 0, 1, 1001, 1));
    partition.send_batch(data(3, 0, 0, 1, 0, 2).transactional(true));
    for (now_ms, gone) in [(1099, 0), (1100, 1), (1100, 0), (1101, 1), (i64::MAX, 0)] {
        assert_eq!(partition.state.expire(now_ms), gone, "{now_ms}");
    }
    assert_eq!(partition.state.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [3]);
}

#[test]
fn transactions_hold_the_last_stable_offset_back() {
    let mut partition = Partition::default();
    assert_eq!(partition.send(9, 0, 0, 5), New);
    assert_eq!(partition.unstable(), None);
    assert_eq!(partition.send_transactional(1, 0, 0, 2), New);
    assert_eq!(partition.send_transactional(2, 0, 0, 2), New);
    assert_eq!(partition.send_transactional(1, 0, 2, 2), New);
    assert_eq!(partition.unstable(), Some(5));
    assert_eq!(partition.send(1, 0, 4, 1), Code(48), "not part of the open transaction");

    let committed = partition.end_transaction(1, 0, TxnOutcome::Commit).unwrap();
    assert_eq!((committed.first_offset.0, committed.last_offset.0), (5, 11));
    assert_eq!(committed.last_stable_offset.0, 7, "the other one is open from there");
    assert_eq!(partition.unstable(), Some(5), "the marker is not yet below the high watermark");
    partition.state.on_high_watermark(Offset(11));
    assert_eq!(partition.unstable(), Some(5));
    partition.state.on_high_watermark(Offset(12));
    assert_eq!(partition.unstable(), Some(7));

    let aborted = partition.end_transaction(2, 0, TxnOutcome::Abort).unwrap();
    assert_eq!((aborted.outcome, aborted.last_stable_offset.0), (TxnOutcome::Abort, 13));
    assert_eq!(partition.end_transaction(2, 0, TxnOutcome::Abort), None, "nothing is open any more");
    partition.state.on_log_start(Offset(13));
    assert_eq!(partition.unstable(), None);
    assert_eq!(partition.send(1, 0, 4, 1), New, "sequences go on behind a marker");
}

#[test]
fn a_marker_of_a_later_epoch_fences() {
    let mut partition = Partition::default();
    assert_eq!(partition.send_transactional(1, 0, 0, 2), New);
    assert!(partition.end_transaction(1, 1, TxnOutcome::Abort).is_some());
    assert_eq!(partition.send_transactional(1, 0, 2, 1), Code(47));
    assert_eq!(partition.send_transactional(1, 1, 2, 1), Code(45));
    assert_eq!(partition.send_transactional(1, 1, 0, 1), New);
    assert_eq!(partition.end_transaction(5, 3, TxnOutcome::Abort), None);
    let entry = partition.state.get(ProducerId(5)).unwrap();
    assert_eq!((entry.epoch, entry.coordinator_epoch, entry.last_batch()), (3, 9, None));
}

#[test]
fn markers_are_judged_by_their_epochs() {
    use TransactionVersion::{Classic, EpochBump};
    let mut partition = Partition::default();
    assert_eq!(partition.send_transactional(1, 3, 0, 2), New);
    assert!(partition.end_transaction(2, 5, TxnOutcome::Commit).is_none());
    let state = &partition.state;
    for (producer, epoch, coordinator_epoch, version, expected) in [
        (1, 3, 0, Classic, None),
        (1, 2, 0, Classic, Some(47)),
        (1, 4, 0, Classic, None),
        (1, 3, 0, EpochBump, Some(47)),
        (1, 2, 0, EpochBump, Some(47)),
        (1, 4, 0, EpochBump, None),
        (2, 5, 9, Classic, None),
        (2, 5, 8, Classic, Some(52)),
        (2, 4, 8, Classic, Some(47)),
        (2, 5, 9, EpochBump, None),
        (2, 5, 8, EpochBump, Some(52)),
        (2, 4, 9, EpochBump, Some(47)),
        (3, 0, 0, EpochBump, None),
    ] {
        let judged = state.check_marker(ProducerId(producer), epoch, coordinator_epoch, version);
        let code = judged.err().map(|error| error.code());
        assert_eq!(code, expected, "{producer} {epoch} {coordinator_epoch} {version:?}");
    }
    assert!(state.is_open(ProducerId(1), 3) && !state.is_open(ProducerId(1), 4));
    assert!(!state.is_open(ProducerId(2), 5) && !state.is_open(ProducerId(9), 0));
}

#[test]
fn replay_believes_the_log() {
    let mut state = ProducerState::default();
    for (epoch, sequence) in [(3, 5), (2, 77), (2, 3)] {
        let batch = data(1, epoch, sequence, 1, 1000, 10).build();
        assert_eq!(state.replay(&BatchHeader::parse(&batch).unwrap(), &batch), Ok(None));
    }
    let entry = state.get(ProducerId(1)).unwrap();
    assert_eq!((entry.epoch, entry.last_sequence(), entry.batches().len()), (2, 3, 2));
}

#[test]
fn control_batches_that_end_nothing() {
    let control = || BatchBuilder::new().producer(ProducerId(1), 0, NO_SEQUENCE).control(true);
    let error = ProducerError::Marker { producer_id: ProducerId(1), offset: Offset(0) };
    let replay = |batch: BatchBuilder| {
        let batch = batch.build();
        ProducerState::default().replay(&BatchHeader::parse(&batch).unwrap(), &batch)
    };
    let value = Some(&[0, 0, 0, 0, 0, 9][..]);
    for (key, value) in [
        (Some(&[0, 0, 0, 2][..]), value),
        (Some(&[255, 255, 0, 0][..]), value),
        (Some(&[0, 0, 0][..]), value),
        (None, value),
        (Some(&[0, 0, 0, 1][..]), Some(&[0, 0, 0, 0, 0][..])),
        (Some(&[0, 0, 0, 1][..]), Some(&[255, 255, 0, 0, 0, 9][..])),
        (Some(&[0, 0, 0, 1][..]), None),
    ] {
        assert_eq!(replay(control().record(1, key, value)), Err(error), "{key:?} {value:?}");
    }
    assert_eq!(error.code(), 2);
    assert_eq!(replay(control().last_offset_delta(0)), Ok(None), "compaction took the marker");
    let later = control().record(1, Some(&[0, 1, 0, 1, 7]), Some(&[0, 5, 0, 0, 0, 9, 7]));
    assert_eq!(replay(later), Ok(None), "later versions only grow");
}

#[test]
fn a_cut_control_batch_is_an_error() {
    let mut partition = Partition::default();
    partition.end_transaction(1, 0, TxnOutcome::Commit);
    let batch = &partition.log[0];
    let header = BatchHeader::parse(batch).unwrap();
    for cut in 0..batch.len() {
        assert!(ProducerState::default().replay(&header, &batch[..cut]).is_err(), "{cut}");
    }
}

/// What Apache Kafka 4.2.1 wrote after the script of [`snapshots_are_kafkas`].
const KAFKA_SNAPSHOT: &str = "00013a120cb800000005\
    0000000000000001 0000 0000000e 000000000000000e 00000004 000000000000044c ffffffff ffffffffffffffff\
    0000000000000002 0003 00000000 000000000000000f 00000000 00000000000007d0 ffffffff 000000000000000f\
    0000000000000003 0000 00000001 0000000000000011 00000001 0000000000000dac 00000009 ffffffffffffffff\
    0000000000000004 0007 ffffffff ffffffffffffffff 00000000 0000000000000fa0 0000000b ffffffffffffffff\
    0000000000000005 0001 00000001 0000000000000017 00000003 0000000000001388 ffffffff ffffffffffffffff";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|char| char.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn kafkas_script() -> Partition {
    let mut partition = Partition::default();
    let send = |partition: &mut Partition, batch: BatchBuilder| {
        let batch = batch.base_offset(Offset(partition.end));
        assert_eq!(partition.send_batch(batch), New);
    };
    send(&mut partition, data(1, 0, 0, 10, 1000, 0));
    send(&mut partition, data(1, 0, 10, 5, 1100, 0));
    send(&mut partition, data(2, 3, 0, 1, 2000, 0).transactional(true));
    send(&mut partition, data(3, 0, 0, 2, 3000, 0).transactional(true));
    partition.mark(3, 0, EndMarker { outcome: TxnOutcome::Commit, coordinator_epoch: 9, timestamp_ms: 3500 });
    partition.mark(4, 7, EndMarker { outcome: TxnOutcome::Abort, coordinator_epoch: 11, timestamp_ms: 4000 });
    send(&mut partition, data(5, 1, i32::MAX - 1, 4, 5000, 0));
    partition
}

#[test]
fn snapshots_are_kafkas() {
    let partition = kafkas_script();
    assert_eq!(partition.unstable(), Some(15));
    let bytes = partition.state.encode_snapshot();
    assert_eq!(bytes, hex(KAFKA_SNAPSHOT));

    let mut read = ProducerState::from_snapshot(&bytes, 6000, EXPIRATION_MS_DEFAULT).unwrap();
    assert_eq!(read.encode_snapshot(), bytes);
    assert_eq!(read.first_unstable_offset(), Some(Offset(15)));
    let again = |id, epoch, sequence, count| {
        BatchHeader::parse(&data(id, epoch, sequence, count, 0, 0).build()).unwrap()
    };
    let known = Verdict::Duplicate { base_offset: Offset(10), last_offset: Offset(14), timestamp_ms: 1100 };
    assert_eq!(read.check(&again(1, 0, 10, 5)), Ok(known));
    assert!(read.check(&again(1, 0, 0, 10)).is_err(), "the batch before the last is not kept");
    assert!(matches!(read.check(&again(5, 1, i32::MAX - 1, 4)), Ok(Verdict::Duplicate { .. })));
    assert_eq!(read.check(&again(4, 7, 0, 1)), Ok(Verdict::New));
    read.clear();
    assert_eq!(read, ProducerState::default());
}

#[test]
fn expired_producers_are_not_read() {
    let bytes = hex(KAFKA_SNAPSHOT);
    let ids = |now_ms| {
        let state = ProducerState::from_snapshot(&bytes, now_ms, 1000).unwrap();
        state.iter().map(|(id, _)| id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(2099), [1, 2, 3, 4, 5]);
    assert_eq!(ids(4500), [2, 4, 5]);
    assert_eq!(ids(9999), [2]);
}

#[test]
fn damaged_snapshots_are_refused() {
    let good = hex(KAFKA_SNAPSHOT);
    let decode = |bytes: &[u8]| ProducerState::from_snapshot(bytes, 0, 1000);
    for cut in 0..good.len() {
        assert_eq!(decode(&good[..cut]), Err(SnapshotError::Size { bytes: cut }));
    }
    for at in 2..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(decode(&bad).is_err(), "{at}");
    }
    let mut later = good.clone();
    later[1] = 2;
    assert_eq!(decode(&later), Err(SnapshotError::Version(2)));
    let longer = [&good[..], &[0]].concat();
    assert_eq!(decode(&longer), Err(SnapshotError::Size { bytes: good.len() + 1 }));
    let mut negative = good;
    negative[6] = 0x80;
    assert_eq!(decode(&negative), Err(SnapshotError::Size { bytes: 240 }));
}

#[test]
fn a_snapshot_names_each_producer_and_transaction_once() {
    for change in [
        |bytes: &mut [u8]| bytes[10 + 46 + 7] = 1,
        |bytes: &mut [u8]| bytes[10 + 38..10 + 46].copy_from_slice(&15_i64.to_be_bytes()),
    ] {
        let mut bytes = hex(KAFKA_SNAPSHOT);
        change(&mut bytes);
        let crc = crate::batch::crc::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        let found = ProducerState::from_snapshot(&bytes, 0, 1000);
        assert!(matches!(found, Err(SnapshotError::Repeated(_))), "{found:?}");
    }
}

#[test]
fn an_empty_snapshot_has_no_entries() {
    let bytes = ProducerState::default().encode_snapshot();
    assert_eq!(bytes.len(), 10);
    assert!(ProducerState::from_snapshot(&bytes, 0, 1000).unwrap().is_empty());
}

proptest! {
    /// Whatever a few producers send, twice or not: each of their records is stored once and in order, and a replay of the log, or
    /// of its end upon a snapshot, judges the next batch as the live state does.
    #[test]
    fn records_are_stored_once_and_in_order(
        sends in proptest::collection::vec((0..3_i64, 0..2_i16, 0..4_i32, 1..3_i32, any::<bool>(), any::<bool>()), 1..60),
        cut in 0..60_usize,
    ) {
        let mut partition = Partition::default();
        let mut taken = 0;
        let mut snapshot = None;
        for (number, (id, epoch, sequence, count, transactional, end)) in sends.into_iter().enumerate() {
            if number == cut {
                snapshot = Some((partition.log.len(), partition.state.encode_snapshot()));
            }
            if end {
                partition.end_transaction(id, epoch, TxnOutcome::Commit);
            } else {
                let batch = data(id, epoch, sequence, count, 1000, partition.end).transactional(transactional);
                taken += i64::from(partition.send_batch(batch) == New);
            }
        }
        let stored = partition.log.iter().filter(|batch| !BatchHeader::parse(batch).unwrap().is_control()).count();
        prop_assert_eq!(stored as i64, taken);
        prop_assert_eq!(&partition.replayed(), &partition.state);
        let full = partition.state.encode_full();
        let read = ProducerState::from_full(&full, 0, EXPIRATION_MS_DEFAULT).unwrap();
        prop_assert!(read.iter().eq(partition.state.iter()), "every batch is remembered");
        prop_assert_eq!(read.first_open_offset(), partition.state.first_open_offset());
        for at in 0..full.len() {
            prop_assert_eq!(ProducerState::from_full(&full[..at], 0, 1000), None);
        }
        if let Some((len, bytes)) = snapshot {
            let mut state = ProducerState::from_snapshot(&bytes, 0, EXPIRATION_MS_DEFAULT).unwrap();
            for batch in &partition.log[len..] {
                state.replay(&BatchHeader::parse(batch).unwrap(), batch).unwrap();
            }
            prop_assert_eq!(state.encode_snapshot(), partition.state.encode_snapshot());
            prop_assert_eq!(state.first_open_offset(), partition.state.first_open_offset());
        }
    }

    #[test]
    fn garbage_is_judged_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 10..200), entries in 0..4_usize) {
        let _ = ProducerState::from_snapshot(&bytes, 0, 1000);
        let _ = ProducerState::from_full(&bytes, 0, 1000);
        bytes.resize(10 + entries * 46, 7);
        bytes[..2].copy_from_slice(&[0, 1]);
        bytes[6..10].copy_from_slice(&(entries as i32).to_be_bytes());
        let crc = crate::batch::crc::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        if let Ok(state) = ProducerState::from_snapshot(&bytes, i64::MIN, i64::MAX) {
            prop_assert_eq!(state.encode_snapshot().len(), bytes.len());
            for (_, entry) in state.iter() {
                let _ = entry.last_batch().map(|batch| (batch.first_sequence(), batch.first_offset()));
            }
        }
    }
}
