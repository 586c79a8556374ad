//! Appending to a partition what was judged good, and what the producer's `acks` wait for.

use super::judge::{Verdict, judge, needs_judging};
use super::refusal::AppendFailure;
use super::verification::Guard;
use super::{Partition, PartitionState, code_of};
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_rt::MonoTime;
use hayate_storage::batch::{BatchHeader, NO_TIMESTAMP_MS, Offset, ValidBatch};
use hayate_storage::error::AppendError;
use hayate_storage::log::{Appended, FlushTicket, GroupTimes};
use hayate_storage::mutants::{Mutant, panic_if};

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `acks=0`: nothing.
    None,
    /// `acks=1`: the leader's flush.
    Leader,
    /// `acks=all`: the high watermark.
    InSync,
}

impl Durability {
    /// From a request's `acks`; `None` for a number that Kafka does not know.
    pub fn from_acks(acks: i16) -> Option<Durability> {
        match acks {
            0 => Some(Durability::None),
            1 => Some(Durability::Leader),
            -1 => Some(Durability::InSync),
            _ => None,
        }
    }
}

/// An append that took its place in the log and is not yet safe.
#[derive(Debug)]
pub struct Appending {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The broker's time if the topic uses log-append time, else −1. Of a duplicate the original's greatest time.
    pub log_append_time_ms: i64,
    /// First offset of the log.
    pub log_start_offset: Offset,
    /// Bytes that were written anew because the topic has a codec of its own.
    pub rewritten_bytes: usize,
    /// When it was judged, and its copying into a chunk began.
    pub entered: MonoTime,
    ticket: FlushTicket,
}

impl Appending {
    /// How many records it is.
    pub fn records(&self) -> i64 {
        self.last_offset.since(self.base_offset) + 1
    }

    /// Resolves when a crash can no longer take the records back; at once where flushing is relaxed. With this node as
    /// the only in-sync replica that is also when the high watermark has passed them. Gives the WAL group that made them durable, if that
    /// had to be waited for.
    ///
    /// # Errors
    /// [`ErrorCode::KafkaStorageError`] when the flush failed: the records may or may not be there after a restart.
    pub async fn settled(mut self) -> Result<Option<GroupTimes>, ErrorCode> {
        (&mut self.ticket).await.map_err(|error| code_of(error.code()))?;
        Ok(self.ticket.group_since(self.entered))
    }
}

impl Partition {
    /// Appends the records of a produce request of `produce_version`, judging them unless there is a `verdict` on them. `guard` is what
    /// [`Partition::needs_verification`] gave for a batch that begins a transaction. Does not wait: the order of calls is the order of the log. As in Kafka, `min.insync.replicas` asks for no more than there are replicas: this node is
    /// enough.
    ///
    /// # Errors
    /// [`AppendFailure`]; nothing was appended then. Records that should have been judged before and were not, because the topic's settings
    /// have just changed, are refused with an error that makes the producer send them again.
    pub fn append(
        &self,
        records: &Bytes,
        verdict: Option<&Verdict>,
        guard: Option<Guard>,
        produce_version: i16,
        now_ms: i64,
    ) -> Result<Appending, AppendFailure> {
        self.try_append(records, verdict, guard, produce_version, now_ms)
            .map_err(|failure| failure.of_log(self.log.offsets().start))
    }

    fn try_append(
        &self,
        records: &Bytes,
        verdict: Option<&Verdict>,
        guard: Option<Guard>,
        produce_version: i16,
        now_ms: i64,
    ) -> Result<Appending, AppendFailure> {
        self.check_epoch(None)?;
        if self.state() == PartitionState::Offline {
            return Err(ErrorCode::KafkaStorageError.into());
        }
        panic_if(Mutant::PanicInPartition, self.log.partition().topic.as_bytes());
        let settings = self.settings();
        let here;
        let judged = match verdict {
            Some(verdict) => verdict.as_ref().map_err(AppendFailure::clone)?,
            None if needs_judging(records, &settings, produce_version, now_ms) => {
                return Err(ErrorCode::NotLeaderOrFollower.into());
            }
            None => {
                here = judge(records, &settings, produce_version, now_ms)?;
                &here
            }
        };
        let appended = self.push(&judged.records, &judged.valid, guard)?;
        Ok(self.appending(appended, judged.rewritten_bytes))
    }

    /// Hands a good batch to the log, if nothing speaks against its transaction.
    fn push(
        &self,
        records: &[u8],
        batch: &ValidBatch,
        guard: Option<Guard>,
    ) -> Result<Appended, AppendFailure> {
        let header = &batch.header;
        if header.is_transactional() {
            self.check_verified(header, guard).map_err(AppendError::Producer)?;
        }
        let appended = self.log.append(records, batch, self.leader_epoch())?;
        if header.is_transactional() && !appended.duplicate {
            self.verifications.borrow_mut().settle(header.producer_id);
        }
        Ok(appended)
    }

    /// Appends a batch of this broker's own, which no limit of the topic's holds for. One of a transaction has no sequence, and comes with
    /// a `guard` as a client's does. Does not wait.
    ///
    /// # Errors
    /// [`AppendFailure`]; nothing was appended then.
    pub fn append_own(&self, batch: &Bytes, guard: Option<Guard>) -> Result<Appending, AppendFailure> {
        self.check_epoch(None)?;
        if self.state() == PartitionState::Offline {
            return Err(ErrorCode::KafkaStorageError.into());
        }
        let header = BatchHeader::parse(batch).expect("our own batch has a good header");
        let valid = ValidBatch { header, stamp: None, recompress: None };
        let appended = self.push(batch, &valid, guard)?;
        Ok(self.appending(appended, 0))
    }

    /// Everything that was appended so far, to wait until it is safe.
    pub fn all_so_far(&self) -> Appending {
        let offsets = self.log.offsets();
        Appending {
            base_offset: offsets.end,
            last_offset: offsets.end.plus(-1),
            log_append_time_ms: NO_TIMESTAMP_MS,
            log_start_offset: offsets.start,
            rewritten_bytes: 0,
            entered: MonoTime::default(),
            ticket: self.log.ticket(),
        }
    }

    pub(super) fn appending(&self, appended: Appended, rewritten_bytes: usize) -> Appending {
        if self.settings().is_flush_relaxed() {
            self.progress();
        }
        Appending {
            base_offset: appended.base_offset,
            last_offset: appended.last_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start_offset,
            rewritten_bytes,
            entered: appended.entered,
            ticket: appended.durable,
        }
    }
}
