//! Records that an administrator deletes all through a life: a log never starts before what was answered, nor behind what was
//! asked for.

use super::super::client::{Client, Topic};
use super::{Life, PARTITIONS, PATIENCE, code_of};
use hayate_net::error::ErrorCode;
use kafka_protocol::messages::FetchResponse;
use std::time::Duration;

/// Where a partition's log may start.
#[derive(Clone, Copy, Default)]
pub(super) struct Deleted {
    /// All before was deleted, and answered.
    pub(super) answered: i64,
    /// All before may be deleted: it was asked for.
    pub(super) asked: i64,
}

impl Life {
    /// Deletes a part of what consumers have seen, every now and then, until the world ends.
    pub(super) async fn delete_records(self, topic: Topic) {
        let mut client = self.connect().await;
        loop {
            self.rt.sleep(Duration::from_millis(self.rt.random_below(60))).await;
            let partition = self.rt.random_below(PARTITIONS as u64) as usize;
            let before = self.draw_offset(partition);
            let deleted = client.try_delete_records(&topic, partition as i32, before);
            match self.rt.timeout(PATIENCE, deleted).await {
                Ok(Some(outcome)) => self.note_deleted(partition, before, outcome),
                Ok(None) | Err(_) => client = self.connect().await,
            }
        }
    }

    /// Where a partition's log starts, which must agree with what is known.
    pub(super) async fn find_start(&self, client: &mut Client, topic: &Topic, partition: usize) -> usize {
        let answered = self.deleted(partition).answered;
        let start = client.earliest(topic, partition as i32).await;
        let asked = self.deleted(partition).asked;
        assert!(answered <= start, "partition {partition}: deleted up to {answered}, and starts at {start}");
        assert!(start <= asked, "partition {partition}: starts at {start}, and {asked} was asked for");
        start as usize
    }

    /// Whether a fetch from there found it gone, as it may be.
    pub(super) fn is_deleted(&self, partition: usize, from: usize, fetched: &FetchResponse) -> bool {
        let is_gone = code_of(fetched) == Some(ErrorCode::OffsetOutOfRange);
        is_gone && (from as i64) < self.deleted(partition).asked
    }

    fn deleted(&self, partition: usize) -> Deleted {
        self.ledgers[partition].borrow().deleted
    }

    /// An offset that somebody has seen, not far from the log's start; from now on it may be gone.
    fn draw_offset(&self, partition: usize) -> i64 {
        let mut ledger = self.ledgers[partition].borrow_mut();
        let seen = ledger.seen.len() as i64;
        let kept = (seen - ledger.deleted.answered).max(0) as u64;
        let before = ledger.deleted.answered.min(seen) + self.rt.random_below(kept / 2 + 1) as i64;
        ledger.deleted.asked = ledger.deleted.asked.max(before);
        before
    }

    fn note_deleted(&self, partition: usize, before: i64, outcome: Result<i64, ErrorCode>) {
        let mut ledger = self.ledgers[partition].borrow_mut();
        match outcome {
            Ok(start) => {
                assert!(start >= before, "deleted before {before}, and it starts at {start}");
                ledger.deleted.answered = ledger.deleted.answered.max(start);
                self.bench.sim.count("records deleted");
            }
            Err(ErrorCode::KafkaStorageError | ErrorCode::NotLeaderOrFollower) => {}
            Err(code) => panic!("deleting before {before}, which was seen, is answered with {code:?}"),
        }
    }
}
