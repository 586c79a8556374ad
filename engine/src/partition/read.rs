//! Reading from a partition: what a fetch could get, what it gets, and looking up offsets by time and by epoch.

use super::{Partition, PartitionState, code_of};
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_storage::batch::{LeaderEpoch, NO_TIMESTAMP_MS, Offset};
use hayate_storage::index::AbortedTxn;
use hayate_storage::log::{LogOffsets, TimestampOffset};

/// How far a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    Uncommitted,
    /// Up to the last stable offset: nothing of an open transaction.
    Committed,
}

impl Isolation {
    /// From a request's `isolation_level`; Kafka takes 0 and 1.
    pub fn from_level(level: i8) -> Option<Isolation> {
        match level {
            0 => Some(Isolation::Uncommitted),
            1 => Some(Isolation::Committed),
            _ => None,
        }
    }

    fn limit(self, offsets: &LogOffsets) -> Offset {
        match self {
            Isolation::Uncommitted => offsets.high_watermark,
            Isolation::Committed => offsets.last_stable,
        }
    }
}

/// Where a fetch reads from, and what its client believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFrom {
    /// First offset wanted.
    pub offset: Offset,
    /// The leader epoch that the client knows, if it told.
    pub current_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record that it has, if it told (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// How far it may see.
    pub isolation: Isolation,
}

/// What a fetch could get from a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Bytes of records between the wanted offset and the reader's limit.
    pub readable_bytes: u64,
    /// The high watermark.
    pub high_watermark: Offset,
    /// The last stable offset.
    pub last_stable: Offset,
    /// First offset of the log.
    pub log_start: Offset,
    /// Where the reader's log departs from this one: the epoch and its end here. There is nothing to read then.
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

/// What a fetch gets from a partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The offsets that the reader gets to see.
    pub probed: Probed,
    /// Whole batches, in as many slices as they lie in.
    pub records: Vec<Bytes>,
    /// Offsets from the wanted one to the last of them.
    pub offsets: u64,
    /// For a reader of committed records, those of aborted transactions among them: by first offset.
    pub aborted: Vec<AbortedTxn>,
}

/// A time to look up, as ListOffsets names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupTime {
    /// −1: behind the last record that the reader may see.
    Latest,
    /// −2: the first record.
    Earliest,
    /// −3: the record with the greatest timestamp (KIP-734).
    MaxTimestamp,
    /// −4: the first record on this node (KIP-405): without tiers, the first record.
    EarliestLocal,
    /// −5: the last record in the remote tier (KIP-1005): without tiers, none.
    LatestTiered,
    /// The first record at or after this time, milliseconds since the epoch.
    At(i64),
}

/// An offset found by time. −1 stands for none, in each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// The record's time; −1 for the special times.
    pub timestamp_ms: i64,
    /// Its offset.
    pub offset: Offset,
    /// The leader epoch that it was written in.
    pub leader_epoch: LeaderEpoch,
}

impl TimedOffset {
    /// Nothing is that late.
    pub const NONE: TimedOffset =
        TimedOffset { timestamp_ms: NO_TIMESTAMP_MS, offset: Offset::NONE, leader_epoch: LeaderEpoch::NONE };
}

impl Partition {
    pub(super) fn check_readable(&self, epoch: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        self.check_epoch(epoch)?;
        match self.state() {
            PartitionState::Online => Ok(()),
            PartitionState::Offline => Err(ErrorCode::KafkaStorageError),
        }
    }

    /// What a fetch from there could get now. Cheap, no IO.
    ///
    /// # Errors
    /// What the reader gets to hear instead: 1, 6, 56, 74 or 75.
    pub fn probe(&self, from: &FetchFrom) -> Result<Probed, ErrorCode> {
        self.check_readable(from.current_epoch)?;
        let offsets = self.log.offsets();
        let mut probed = Probed {
            readable_bytes: 0,
            high_watermark: offsets.high_watermark,
            last_stable: offsets.last_stable,
            log_start: offsets.start,
            diverging: self.divergence(from)?,
        };
        if probed.diverging.is_some() {
            return Ok(probed);
        }
        if from.offset < offsets.start || from.offset > offsets.end {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let limit = from.isolation.limit(&offsets);
        if from.offset < limit {
            let readable = self.log.readable_bytes(from.offset, limit);
            probed.readable_bytes = readable.map_err(|error| code_of(error.code()))?;
        }
        Ok(probed)
    }

    /// Kafka's `Partition.readRecords` on the epoch that a reader fetched last.
    fn divergence(&self, from: &FetchFrom) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
        let Some(fetched) = from.last_fetched_epoch else { return Ok(None) };
        let (epoch, end) = self.end_of(fetched).ok_or(ErrorCode::OffsetOutOfRange)?;
        Ok((epoch < fetched || end < from.offset).then_some((epoch, end)))
    }

    /// Reads whole batches: at most `max_bytes`, except that with `at_least_one` the first batch comes whatever its size.
    ///
    /// # Errors
    /// As [`Self::probe`], and 2 for a damaged batch.
    pub async fn read(
        &self,
        from: FetchFrom,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Fetched, ErrorCode> {
        let probed = self.probe(&from)?;
        if probed.readable_bytes == 0 || (max_bytes == 0 && !at_least_one) {
            return Ok(Fetched { probed, records: Vec::new(), offsets: 0, aborted: Vec::new() });
        }
        let limit = from.isolation.limit(&self.log.offsets());
        let read = self.log.read(from.offset, limit, max_bytes, at_least_one).await;
        let read = read.map_err(|error| code_of(error.code()))?;
        let aborted = match from.isolation {
            Isolation::Committed if !read.records.is_empty() => {
                let aborted = self.log.aborted_transactions(from.offset, read.next_offset).await;
                aborted.map_err(|error| code_of(error.code()))?
            }
            Isolation::Uncommitted | Isolation::Committed => Vec::new(),
        };
        let offsets = u64::try_from(read.next_offset.since(from.offset)).unwrap_or(0);
        Ok(Fetched { probed, records: read.records, offsets, aborted })
    }

    /// The offset of a time, as ListOffsets answers.
    ///
    /// # Errors
    /// 6, 56, 74 or 75, and 2 for a damaged batch.
    pub async fn offset_at(
        &self,
        time: LookupTime,
        epoch: Option<LeaderEpoch>,
        isolation: Isolation,
    ) -> Result<TimedOffset, ErrorCode> {
        self.check_readable(epoch)?;
        let offsets = self.log.offsets();
        let limit = isolation.limit(&offsets);
        let special =
            |offset, leader_epoch| TimedOffset { timestamp_ms: NO_TIMESTAMP_MS, offset, leader_epoch };
        let found = match time {
            LookupTime::Latest => return Ok(special(limit, self.leader_epoch())),
            LookupTime::Earliest | LookupTime::EarliestLocal => {
                // An empty log is of the epoch that will write its first record.
                let epoch = self.log.epoch_at(offsets.start).unwrap_or_else(|| self.leader_epoch());
                return Ok(special(offsets.start, epoch));
            }
            LookupTime::LatestTiered => return Ok(TimedOffset::NONE),
            LookupTime::MaxTimestamp => self.log.offset_of_max_timestamp(limit).await,
            LookupTime::At(timestamp_ms) => self.log.offset_for_timestamp(timestamp_ms, limit).await,
        };
        let found: Option<TimestampOffset> = found.map_err(|error| code_of(error.code()))?;
        Ok(found.map_or(TimedOffset::NONE, |found| TimedOffset {
            timestamp_ms: found.timestamp_ms,
            offset: found.offset,
            leader_epoch: found.leader_epoch,
        }))
    }

    /// Where `epoch` ended here: the largest epoch not above it, and the offset behind its last record (KIP-320). −1 and
    /// −1 when the log knows no such epoch.
    ///
    /// # Errors
    /// 6, 56, 74 or 75.
    pub fn epoch_end(
        &self,
        epoch: LeaderEpoch,
        current: Option<LeaderEpoch>,
    ) -> Result<(LeaderEpoch, Offset), ErrorCode> {
        self.check_readable(current)?;
        Ok(self.end_of(epoch).unwrap_or((LeaderEpoch::NONE, Offset::NONE)))
    }

    /// The log's answer. An epoch enters the log with its first batch: the present one, and those behind the last that wrote, end where
    /// the log does, or a consumer that was told of one would take the answer for a truncation (KIP-320).
    fn end_of(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let end = self.log.offsets().end;
        if epoch == self.leader_epoch() {
            return Some((epoch, end));
        }
        let latest = self.log.latest_epoch();
        match self.log.epoch_end_offset(epoch) {
            None if LeaderEpoch(0) <= epoch && epoch < self.leader_epoch() => {
                Some((latest.unwrap_or(epoch), end))
            }
            known => known,
        }
    }
}
