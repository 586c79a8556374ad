//! When the controller's service takes a snapshot of the metadata, and in which order.
//!
//! It is taken between two rounds of commands, which wait for it: then nothing is proposed that is not committed, and the
//! image that shards have is the whole log. Encoding it runs off the shard's thread. A snapshot that fails changes
//! nothing, and is tried again later. When: after Kafka's `SnapshotGenerator`.

use super::ControllerService;
use crate::broker::BrokerOptions;
use crate::broker::metadata_log::SnapshotFailure;
use crate::shard::calls::{ControlAnswer, ControlCall};
use hayate_rt::MonoTime;
use hayate_rt::mailbox::{Call, Gone, Inbox};
use hayate_storage::error::StorageError;
use std::time::Duration;

/// Pause after a snapshot that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// When the next snapshot is due.
pub(super) struct SnapshotSchedule {
    bytes_max: u64,
    every: Option<Duration>,
    /// Of the last snapshot, or the start.
    last: MonoTime,
    /// Not before this: the last one failed.
    not_before: MonoTime,
}

/// What to do about snapshots now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Take one.
    Now,
    /// Take one after that time, or earlier if enough is committed meanwhile.
    In(Duration),
    /// Nothing, until something is committed.
    Idle,
}

impl SnapshotSchedule {
    pub(super) fn new(options: &BrokerOptions, now: MonoTime) -> SnapshotSchedule {
        SnapshotSchedule {
            bytes_max: options.metadata_snapshot_bytes,
            every: options.metadata_snapshot_every,
            last: now,
            not_before: now,
        }
    }

    /// `uncovered_bytes`: of committed entries that no snapshot accounts for.
    fn due(&self, now: MonoTime, uncovered_bytes: u64) -> Due {
        if uncovered_bytes == 0 {
            return Due::Idle;
        }
        let by_size = uncovered_bytes >= self.bytes_max;
        let at = if by_size { Some(self.last) } else { self.every.map(|every| self.last + every) };
        match at.map(|at| at.max(self.not_before)) {
            None => Due::Idle,
            Some(at) if at <= now => Due::Now,
            Some(at) => Due::In(at.since(now)),
        }
    }

    fn taken(&mut self, now: MonoTime) {
        self.last = now;
    }

    fn failed(&mut self, now: MonoTime) {
        self.not_before = now + RETRY_PAUSE;
    }
}

impl ControllerService {
    /// The next call; takes the snapshots that are due until it comes.
    pub(super) async fn next_call(
        &mut self,
        inbox: &Inbox<ControlCall, ControlAnswer>,
    ) -> Result<Call<ControlCall, ControlAnswer>, Gone> {
        loop {
            match self.schedule.due(self.rt.now(), self.log.uncovered_bytes()) {
                Due::Now => self.take_snapshot().await,
                Due::In(span) => {
                    if let Ok(received) = self.rt.timeout(span, inbox.recv()).await {
                        return received;
                    }
                }
                Due::Idle => return inbox.recv().await,
            }
        }
    }

    async fn take_snapshot(&mut self) {
        let outcome = self.snapshot().await;
        let now = self.rt.now();
        match outcome {
            Ok(()) => self.schedule.taken(now),
            Err(error) => {
                self.schedule.failed(now);
                self.rt.reached("metadata snapshot failed");
                match error {
                    // The broker stops.
                    SnapshotFailure::Storage(StorageError::Closed) => {}
                    error => {
                        tracing::warn!(%error, "a snapshot of the metadata was not finished; it is tried again later")
                    }
                }
            }
        }
    }

    /// Everything up to the image that shards have goes from the log into a snapshot.
    async fn snapshot(&mut self) -> Result<(), SnapshotFailure> {
        let image = self.views.latest().image.clone();
        let offset = image.position().offset;
        let start = self.quorum.start_behind(offset).ok_or(SnapshotFailure::InTransaction)?;
        let _phase = self.rt.phase("a metadata snapshot");
        self.log.write_snapshot(image, &start).await?;
        assert_eq!(self.quorum.compact(offset).as_ref(), Some(&start), "nothing was decided meanwhile");
        self.log.drop_before(&start).await?;
        self.rt.reached("metadata snapshot");
        tracing::info!(%offset, "the metadata log begins behind a new snapshot");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_by_size_or_by_time_if_there_is_anything_new() {
        let seconds = |count: u64| MonoTime::default() + Duration::from_secs(count);
        let wait = |count| Due::In(Duration::from_secs(count));
        let schedule = |every: Option<u64>, last, not_before| SnapshotSchedule {
            bytes_max: 100,
            every: every.map(Duration::from_secs),
            last: seconds(last),
            not_before: seconds(not_before),
        };
        for (schedule, now, bytes, expected) in [
            (schedule(Some(60), 10, 10), 10, 0, Due::Idle),
            (schedule(Some(60), 10, 10), 500, 0, Due::Idle),
            (schedule(Some(60), 10, 10), 10, 99, wait(60)),
            (schedule(Some(60), 10, 10), 69, 1, wait(1)),
            (schedule(Some(60), 10, 10), 70, 1, Due::Now),
            (schedule(Some(60), 10, 10), 10, 100, Due::Now),
            (schedule(None, 10, 10), 500, 99, Due::Idle),
            (schedule(None, 10, 10), 10, 100, Due::Now),
            (schedule(Some(60), 10, 75), 70, 1, wait(5)),
            (schedule(None, 10, 75), 70, 100, wait(5)),
            (schedule(None, 10, 75), 75, 100, Due::Now),
        ] {
            assert_eq!(schedule.due(seconds(now), bytes), expected, "at {now} with {bytes}");
        }
    }
}
