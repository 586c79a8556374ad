//! Delivering: reading from where a share partition has something available, and giving it to the member that asks.

use super::{Leaders, Led, share_key};
use crate::metrics::CopyPath;
use crate::partition::{FetchFrom, LookupTime};
use crate::placement::PartitionKey;
use crate::purgatory::{WakeSlot, Watch};
use crate::shard::calls::Outcomes;
use crate::share::partition::{Acquired, SharePartition};
use crate::share::scan::Batches;
use crate::share::settings::{GroupSettings, OffsetReset};
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_rt::notify::Lock;
use hayate_storage::batch::Offset;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// Reads in a row that may come to nothing but markers and holes, before the member hears so.
const EMPTY_READS: usize = 64;

/// What a member wants of the partitions of one shard.
pub struct Fetching {
    /// The group.
    pub group: String,
    /// Who gets it.
    pub member: String,
    /// The partitions, and the most bytes of each.
    pub parts: Vec<(PartitionKey, usize)>,
    /// Records at most, but for the rest of a batch.
    pub records_max: i64,
    /// About how many offsets are told of at a time.
    pub piece: i64,
    /// Woken when there is more, if nothing is there.
    pub watch: Option<WakeSlot>,
}

/// What a member has got of a partition.
#[derive(Clone, Debug, Default)]
pub struct AcquiredPart {
    /// Whole batches with the records.
    pub records: Bytes,
    /// Which of them are the member's.
    pub acquired: Vec<Acquired>,
}

impl AcquiredPart {
    fn count(&self) -> i64 {
        self.acquired.iter().map(|run| run.last - run.first + 1).sum()
    }
}

impl Leaders {
    pub(super) async fn fetch(self: &Rc<Self>, fetching: Fetching) -> Outcomes<AcquiredPart> {
        let settings = self.config.of_group(&self.owner.view().image, &fetching.group);
        let member: Rc<str> = fetching.member.as_str().into();
        let mut outcomes = Vec::with_capacity(fetching.parts.len());
        let mut left = fetching.records_max;
        let watch = fetching.watch.as_ref().map(|slot| Watch::new(slot.clone(), 1));
        for (key, bytes_max) in &fetching.parts {
            if left <= 0 {
                outcomes.push(Ok(AcquiredPart::default()));
                continue;
            }
            let wanted = Wanted {
                member: &member,
                settings: &settings,
                bytes_max: *bytes_max,
                records_max: left,
                piece: fetching.piece,
                watch: watch.as_ref(),
            };
            let part = self.fetch_part(&fetching.group, *key, &wanted).await;
            left -= part.as_ref().map_or(0, AcquiredPart::count);
            outcomes.push(part);
        }
        outcomes
    }

    async fn fetch_part(
        self: &Rc<Self>,
        group: &str,
        key: PartitionKey,
        wanted: &Wanted<'_>,
    ) -> Result<AcquiredPart, ErrorCode> {
        loop {
            let led = self.led(group, key)?;
            let _reading = led.reading.acquire().await;
            if led.gone.get() {
                continue;
            }
            if let Some(watch) = wanted.watch {
                // Before it is looked at: nothing that comes meanwhile is missed.
                led.partition.watch(watch.clone(), wanted.settings.isolation);
                led.waiters.add(watch.clone());
            }
            if led.state.borrow().is_none() {
                let state = self.load(&led).await;
                match state {
                    Ok(state) => {
                        *led.state.borrow_mut() = Some(state);
                        self.flush(&led);
                    }
                    // Whoever asks later may find it.
                    Err(ErrorCode::CoordinatorNotAvailable) => return Ok(AcquiredPart::default()),
                    Err(code) => return Err(code),
                }
            }
            if !led.gone.get() {
                return self.read(&led, wanted).await;
            }
        }
    }

    /// The share partition, known or not.
    fn led(&self, group: &str, key: PartitionKey) -> Result<Rc<Led>, ErrorCode> {
        let name = share_key(group, key);
        if let Some(led) = self.find(&name) {
            return Ok(led);
        }
        let partition = self.owner.partition(key).ok_or(ErrorCode::NotLeaderOrFollower)?;
        self.forget(&name);
        let led = Rc::new(Led {
            key: name.clone(),
            partition,
            state: RefCell::new(None),
            reading: Lock::default(),
            waiters: Default::default(),
            waiting: RefCell::default(),
            gone: Cell::new(false),
        });
        self.led.borrow_mut().insert(name, led.clone());
        Ok(led)
    }

    async fn read(self: &Rc<Self>, led: &Rc<Led>, wanted: &Wanted<'_>) -> Result<AcquiredPart, ErrorCode> {
        for _ in 0..EMPTY_READS {
            let Some(from) = self.next_offset(led) else { break };
            let offset = Offset(from);
            let isolation = wanted.settings.isolation;
            let fetch = FetchFrom { offset, current_epoch: None, last_fetched_epoch: None, isolation };
            let read = match led.partition.read(fetch, wanted.bytes_max, true).await {
                // It starts later now.
                Err(ErrorCode::OffsetOutOfRange) if offset < led.partition.log().offsets().start => continue,
                read => read?,
            };
            if read.records.is_empty() {
                break;
            }
            if read.records.len() > 1 {
                let bytes = read.records.iter().map(Bytes::len).sum();
                self.owner.count_copy(CopyPath::ShareFetch, bytes);
            }
            let batches = Batches::of(read.records, &read.aborted);
            let acquired = self.acquire(led, from, &batches, wanted);
            self.arm(led);
            if !acquired.is_empty() {
                return Ok(AcquiredPart { records: batches.bytes_of(&acquired), acquired });
            }
        }
        Ok(AcquiredPart::default())
    }

    fn next_offset(&self, led: &Led) -> Option<i64> {
        let mut state = led.state.borrow_mut();
        let state = state.as_mut()?;
        state.follow_log_start(led.partition.log().offsets().start.0);
        state.next_offset()
    }

    fn acquire(&self, led: &Led, from: i64, batches: &Batches, wanted: &Wanted<'_>) -> Vec<Acquired> {
        let until =
            self.rt.now() + Duration::from_millis(u64::try_from(wanted.settings.lock_ms).unwrap_or(0));
        let mut state = led.state.borrow_mut();
        // It may have been forgotten during the read: then nobody would free what was given.
        let Some(state) = state.as_mut().filter(|_| !led.gone.get()) else { return Vec::new() };
        let bounds = (wanted.records_max, wanted.piece);
        SharePartition::acquire(state, wanted.member, until, from, &batches.found(), bounds)
    }

    /// Where a group begins that has not read the partition yet, as it is set to.
    pub(super) async fn begin_at(&self, led: &Led) -> Result<i64, ErrorCode> {
        let settings = self.config.of_group(&self.owner.view().image, &led.key.group);
        let time = match settings.reset {
            OffsetReset::Latest => LookupTime::Latest,
            OffsetReset::Earliest => LookupTime::Earliest,
            OffsetReset::ByDuration(span) => {
                let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
                LookupTime::At(self.rt.wall_ms().saturating_sub(span_ms))
            }
        };
        let found = led.partition.offset_at(time, None, settings.isolation).await?;
        if found.offset >= Offset::ZERO {
            return Ok(found.offset.0);
        }
        // No record is that young.
        let end = led.partition.offset_at(LookupTime::Latest, None, settings.isolation).await?;
        Ok(end.offset.0)
    }
}

/// What one member wants of one partition.
struct Wanted<'a> {
    member: &'a Rc<str>,
    settings: &'a GroupSettings,
    bytes_max: usize,
    records_max: i64,
    piece: i64,
    watch: Option<&'a Rc<Watch>>,
}
