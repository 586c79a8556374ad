//! The stages that a request goes through, as a stopwatch that travels with it. Pure: the stamps come from whoever has the clock.
//!
//! ```text
//!  first byte   whole    begun     judged   copied        taken       flushed       sent on      with the kernel
//!      │ receive  │ queue  │ validate │ append │ flush_queue │ flush_wait │ respond      │ send  │
//! ```
//! Each stamp ends one stage and begins the next, so that stages never overlap, and those after `receive` add up to the request's whole
//! time. A stage that a request does not reach is not counted. The `hop` to another shard and back lies on both sides of what is done there.

use hayate_rt::MonoTime;
use hayate_storage::log::GroupTimes;
use std::time::Duration;

/// A part of a request's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// From the first byte of its frame until the frame was whole.
    Receive,
    /// From there until its handling began.
    Queue,
    /// On the way to another shard and back, waiting there for its turn included.
    Hop,
    /// Decoding, checking and, where that is asked for, recompressing.
    Validate,
    /// Copying into a chunk.
    Append,
    /// Until the writer of the WAL took it into a group; before that, while too much was unflushed.
    FlushQueue,
    /// The group's write and flush.
    FlushWait,
    /// A fetch without enough bytes, until it was woken.
    Wait,
    /// Looking up what a fetch may get, and reading it.
    Read,
    /// All the work of a request that has no finer stages.
    Handle,
    /// Making the answer, and waiting for the answers before it.
    Respond,
    /// From handing the answer to the socket until the kernel had it all.
    Send,
}

impl Stage {
    /// All of them, in the order of their numbers.
    pub const ALL: [Stage; 12] = [
        Stage::Receive,
        Stage::Queue,
        Stage::Hop,
        Stage::Validate,
        Stage::Append,
        Stage::FlushQueue,
        Stage::FlushWait,
        Stage::Wait,
        Stage::Read,
        Stage::Handle,
        Stage::Respond,
        Stage::Send,
    ];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Queue => "queue",
            Stage::Hop => "hop",
            Stage::Validate => "validate",
            Stage::Append => "append",
            Stage::FlushQueue => "flush_queue",
            Stage::FlushWait => "flush_wait",
            Stage::Wait => "wait",
            Stage::Read => "read",
            Stage::Handle => "handle",
            Stage::Respond => "respond",
            Stage::Send => "send",
        }
    }
}

/// The way of a call to another shard. All shards have one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// When it set out.
    pub sent: MonoTime,
    /// When that shard began with it.
    pub started: MonoTime,
    /// When it was done.
    pub finished: MonoTime,
    /// When the answer was here.
    pub received: MonoTime,
}

impl Visit {
    /// The time on the way, there and back.
    pub fn hop(&self) -> Duration {
        self.received.since(self.sent).saturating_sub(self.finished.since(self.started))
    }
}

/// Where the time of an append went, at the shard that owns the partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppendTimes {
    /// Copying, over all parts.
    pub copied: Duration,
    /// When the last part was copied; `None` when nothing was appended.
    pub appended: Option<MonoTime>,
    /// The group that made the last of it durable, if anything had to be waited for.
    pub group: Option<GroupTimes>,
}

impl AppendTimes {
    /// A part was copied from `entered` to `now`.
    pub fn note_copy(&mut self, entered: MonoTime, now: MonoTime) {
        self.copied += now.since(entered);
        self.appended = Some(now);
    }

    /// A part is durable by this group; the last one counts.
    pub fn note_group(&mut self, group: Option<GroupTimes>) {
        let flushed = |group: &Option<GroupTimes>| group.map(|group| group.flushed);
        if flushed(&group) > flushed(&self.group) {
            self.group = group;
        }
    }

    /// When it was done, as far as it went.
    fn ended(&self) -> Option<MonoTime> {
        self.group.map(|group| group.flushed).max(self.appended)
    }
}

/// What a produce request was last held up by: the slowest of its appends.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlowestAppend {
    times: AppendTimes,
    visit: Option<Visit>,
}

impl SlowestAppend {
    /// Takes an append into account; `visit` if it was at another shard.
    pub fn note(&mut self, times: AppendTimes, visit: Option<Visit>) {
        if times.ended() > self.times.ended() {
            *self = SlowestAppend { times, visit };
        }
    }
}

/// How long a request was in each stage so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    last: MonoTime,
    nanos: [u64; Stage::ALL.len()],
    /// A bit for each stage.
    reached: u16,
}

impl Stages {
    /// Of a request whose first byte came at `first`, and whose last at `whole`.
    pub fn new(first: MonoTime, whole: MonoTime) -> Stages {
        let mut stages = Stages { last: first, nanos: [0; Stage::ALL.len()], reached: 0 };
        stages.until(Stage::Receive, whole);
        stages
    }

    /// The time since the last stamp was spent in `stage`. A stamp before the last one is none.
    #[inline]
    pub fn until(&mut self, stage: Stage, now: MonoTime) {
        self.add(stage, now.as_nanos().saturating_sub(self.last.as_nanos()));
        self.last = self.last.max(now);
    }

    /// The same, but for as much of it as was spent in `part`.
    #[inline]
    pub fn until_but_for(&mut self, stage: Stage, part: Stage, spent: Duration, now: MonoTime) {
        let span = now.as_nanos().saturating_sub(self.last.as_nanos());
        let spent = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX).min(span);
        self.add(part, spent);
        self.add(stage, span - spent);
        self.last = self.last.max(now);
    }

    /// A produce request learns what became of its appends.
    pub fn appended(&mut self, slowest: &SlowestAppend) {
        let SlowestAppend { times, visit } = slowest;
        let Some(appended) = times.appended else { return };
        if let Some(visit) = visit {
            self.until(Stage::Validate, visit.sent);
            self.until(Stage::Hop, visit.started);
        }
        self.until_but_for(Stage::Validate, Stage::Append, times.copied, appended);
        if let Some(group) = times.group {
            self.until(Stage::FlushQueue, group.taken);
            self.until(Stage::FlushWait, group.flushed);
        }
        if let Some(visit) = visit {
            self.until(Stage::Hop, visit.received);
        }
    }

    /// A fetch has looked up or read something at another shard.
    pub fn visited(&mut self, visit: &Visit) {
        self.until_but_for(Stage::Read, Stage::Hop, visit.hop(), visit.received);
    }

    /// The answer is made.
    pub fn answered(&mut self, now: MonoTime) {
        let is_finer = self.reached & !(bit(Stage::Receive) | bit(Stage::Queue)) != 0;
        self.until(if is_finer { Stage::Respond } else { Stage::Handle }, now);
    }

    /// The stages that it reached, in nanoseconds.
    #[inline]
    pub fn reached(&self) -> impl Iterator<Item = (Stage, u64)> {
        let mut left = self.reached;
        std::iter::from_fn(move || {
            let place = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            Some((*Stage::ALL.get(place)?, self.nanos[place]))
        })
    }

    #[inline]
    fn add(&mut self, stage: Stage, nanos: u64) {
        self.nanos[stage as usize] += nanos;
        self.reached |= bit(stage);
    }
}

const fn bit(stage: Stage) -> u16 {
    1 << stage as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> MonoTime {
        MonoTime::from_nanos(nanos)
    }

    fn shown(stages: &Stages) -> Vec<(&'static str, u64)> {
        stages.reached().map(|(stage, nanos)| (stage.name(), nanos)).collect()
    }

    fn group(taken: u64, flushed: u64) -> Option<GroupTimes> {
        Some(GroupTimes { taken: at(taken), flushed: at(flushed) })
    }

    #[test]
    fn a_produce_request_is_timed_from_its_first_byte_to_its_answers_last() {
        let mut stages = Stages::new(at(100), at(110));
        stages.until(Stage::Queue, at(113));
        let mut slowest = SlowestAppend::default();
        let times =
            AppendTimes { copied: Duration::from_nanos(7), appended: Some(at(140)), group: group(160, 900) };
        slowest.note(times, None);
        let earlier = AppendTimes { copied: Duration::from_nanos(1), appended: Some(at(120)), group: None };
        slowest.note(earlier, None);
        stages.appended(&slowest);
        stages.answered(at(950));
        stages.until(Stage::Respond, at(960));
        stages.until(Stage::Send, at(1000));
        let due = [
            ("receive", 10),
            ("queue", 3),
            ("validate", 20),
            ("append", 7),
            ("flush_queue", 20),
            ("flush_wait", 740),
            ("respond", 60),
            ("send", 40),
        ];
        assert_eq!(shown(&stages), due);
        assert_eq!(shown(&stages).iter().map(|(_, nanos)| nanos).sum::<u64>(), 900, "nothing is lost");
    }

    #[test]
    fn what_another_shard_did_is_no_part_of_the_hop() {
        let mut stages = Stages::new(at(0), at(0));
        let visit = Visit { sent: at(10), started: at(30), finished: at(170), received: at(190) };
        let mut slowest = SlowestAppend::default();
        let times =
            AppendTimes { copied: Duration::from_nanos(5), appended: Some(at(50)), group: group(60, 160) };
        slowest.note(times, Some(visit));
        stages.appended(&slowest);
        stages.answered(at(200));
        let due = [
            ("receive", 0),
            ("hop", 20 + 30),
            ("validate", 10 + 15),
            ("append", 5),
            ("flush_queue", 10),
            ("flush_wait", 100),
            ("respond", 10),
        ];
        assert_eq!(shown(&stages), due);

        let mut stages = Stages::new(at(0), at(0));
        stages.visited(&visit);
        stages.until(Stage::Wait, at(490));
        stages.until(Stage::Read, at(491));
        assert_eq!(shown(&stages), [("receive", 0), ("hop", 40), ("wait", 300), ("read", 150 + 1)]);
    }

    #[test]
    fn without_finer_stages_all_work_is_one() {
        let mut stages = Stages::new(at(0), at(5));
        stages.until(Stage::Queue, at(6));
        stages.appended(&SlowestAppend::default()); // a produce request of which nothing was appended
        stages.answered(at(20));
        assert_eq!(shown(&stages), [("receive", 5), ("queue", 1), ("handle", 14)]);
    }

    #[test]
    fn stamps_that_come_late_count_for_nothing() {
        let mut stages = Stages::new(at(10), at(5));
        stages.until(Stage::Queue, at(20));
        stages.until(Stage::FlushQueue, at(15));
        stages.until(Stage::FlushWait, at(30));
        stages.until_but_for(Stage::Read, Stage::Hop, Duration::from_secs(1), at(40));
        let due =
            [("receive", 0), ("queue", 10), ("hop", 10), ("flush_queue", 0), ("flush_wait", 10), ("read", 0)];
        assert_eq!(shown(&stages), due);
    }

    #[test]
    fn the_last_part_to_be_durable_counts() {
        let mut times = AppendTimes::default();
        times.note_copy(at(1), at(4));
        times.note_copy(at(5), at(6));
        times.note_group(group(7, 20));
        times.note_group(None);
        times.note_group(group(6, 10));
        let due = AppendTimes { copied: Duration::from_nanos(4), appended: Some(at(6)), group: group(7, 20) };
        assert_eq!(times, due);
    }
}
