//! What is known of the groups from outside, and what must then hold: the reference model of a life.
//!
//! A group's offset of a partition is a register: each commit writes a value of its own, and takes effect at one moment between its
//! request and its answer, if it does at all. Nothing here knows how groups work inside.

use std::collections::BTreeMap;

/// A partition of a group.
pub(super) type Place = (&'static str, i32);

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It may have happened, or may still.
    Open,
    /// It has happened.
    Done,
    /// It has not, and will not.
    Refused,
}

/// A change of one place. Moments are ticks of the ledger: each happening has its own.
#[derive(Clone, Debug)]
struct Change {
    /// `None` deletes.
    value: Option<i64>,
    sent: u64,
    /// From then on it cannot take effect any more; [`u64::MAX`] while that is not known.
    over: u64,
    fate: Fate,
    sent_ms: u64,
}

/// A value that somebody read.
#[derive(Clone, Copy, Debug)]
struct Seen {
    value: i64,
    sent: u64,
    heard: u64,
}

#[derive(Debug, Default)]
struct History {
    changes: Vec<Change>,
    seen: Vec<Seen>,
}

/// Up to this generation a group may be a new one, which somebody else has made meanwhile.
const EARLY: i32 = 2;

/// Names a change of the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangeId(Place, usize);

/// All that was told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    ticks: u64,
    values: i64,
    histories: BTreeMap<Place, History>,
    /// Who was given which partition in which generation of which group.
    owners: BTreeMap<(&'static str, i32, i32), String>,
    /// The latest generation of each group that a member has an assignment of.
    generations: BTreeMap<&'static str, i32>,
    /// Ids that nobody uses any more, and since when, in milliseconds.
    gone: BTreeMap<String, u64>,
    /// How long a place must be kept at least, in milliseconds, where offsets expire.
    pub(super) expires_after_ms: Option<u64>,
}

impl Ledger {
    /// The next moment.
    pub(super) fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    /// A value that was never used.
    pub(super) fn fresh_value(&mut self) -> i64 {
        self.values += 1;
        self.values
    }

    /// Somebody is about to ask for a change.
    pub(super) fn send(&mut self, place: Place, value: Option<i64>, now_ms: u64) -> ChangeId {
        let sent = self.tick();
        let changes = &mut self.histories.entry(place).or_default().changes;
        changes.push(Change { value, sent, over: u64::MAX, fate: Fate::Open, sent_ms: now_ms });
        ChangeId(place, changes.len() - 1)
    }

    /// It is known what became of the change; an open one may still happen.
    pub(super) fn hear(&mut self, ChangeId(place, number): ChangeId, fate: Fate) {
        let over = self.tick();
        if let Some(history) = self.histories.get_mut(&place) {
            let change = &mut history.changes[number];
            // What somebody has seen has happened, whatever its sender hears.
            assert!(
                change.fate != Fate::Done || fate != Fate::Refused,
                "{change:?} was seen, and is refused"
            );
            if change.fate == Fate::Open && fate != Fate::Open {
                (change.fate, change.over) = (fate, change.over.min(over));
            }
        }
    }

    /// The coordinator is gone: what was open has happened by now, or will not happen. Changes `but` those of transactions that are
    /// decided elsewhere.
    pub(super) fn coordinator_gone(&mut self, but: &[i64]) {
        let over = self.tick();
        let changes = self.histories.values_mut().flat_map(|history| &mut history.changes);
        let open = changes.filter(|change| change.over == u64::MAX);
        for change in open.filter(|change| change.value.is_none_or(|value| !but.contains(&value))) {
            change.over = over;
        }
    }

    /// Somebody who asked at `sent` was told this value; `None`: that there is none. Whether that is so because it has expired.
    ///
    /// # Panics
    /// When that cannot be.
    pub(super) fn read(&mut self, place: Place, value: Option<i64>, sent: u64, now_ms: u64) -> bool {
        let heard = self.tick();
        let expires_after_ms = self.expires_after_ms;
        let history = self.histories.entry(place).or_default();
        let may_have_expired = value.is_none()
            && expires_after_ms.is_some_and(|span| {
                // Of a group that had members, offsets expire by the time since it is empty.
                let mut done = history.changes.iter().filter(|change| change.fate == Fate::Done);
                place.0 != super::SIMPLE || done.all(|change| now_ms.saturating_sub(change.sent_ms) >= span)
            });
        let may_hold = history.may_hold(value, sent, heard);
        assert!(
            may_have_expired || may_hold,
            "{place:?} holds {value:?}, asked at {sent}: {:?}",
            history.changes
        );
        let Some(value) = value else { return !may_hold };
        assert!(!history.goes_back_to(value, sent), "{place:?} goes back to {value}: {:?}", history.seen);
        for change in history.changes.iter_mut().filter(|change| change.value == Some(value)) {
            (change.fate, change.over) = (Fate::Done, change.over.min(heard));
        }
        history.seen.push(Seen { value, sent, heard });
        false
    }

    /// A member has these partitions in a generation.
    ///
    /// # Panics
    /// When another has one of them.
    pub(super) fn assigned(&mut self, group: &'static str, generation: i32, partitions: &[u8], member: &str) {
        for partition in partitions {
            let owned = (group, generation, i32::from(*partition));
            let owner = self.owners.entry(owned).or_insert_with(|| member.to_owned());
            assert_eq!(owner, member, "{owned:?} has one owner");
        }
        let latest = self.generations.entry(group).or_default();
        *latest = generation.max(*latest);
    }

    /// The latest generation that anybody has an assignment of.
    pub(super) fn generation(&self, group: &str) -> i32 {
        self.generations.get(group).copied().unwrap_or(0)
    }

    /// A member was taken for one of `generation` by a coordinator that it asked when `latest` was the group's.
    ///
    /// # Panics
    /// When it should have been refused.
    pub(super) fn accepted(&self, group: &str, generation: i32, latest: i32) {
        let may_begin_anew = self.expires_after_ms.is_some();
        // A group that was deleted meanwhile begins anew.
        let latest = latest.min(self.generation(group));
        assert!(
            may_begin_anew || generation >= latest,
            "{group}: generation {generation} is taken, {latest} is the present one"
        );
    }

    /// The group may have been deleted: its generations begin anew.
    pub(super) fn group_deleted(&mut self, group: &'static str) {
        self.generations.remove(group);
        self.owners.retain(|(of, ..), _| *of != group);
    }

    /// A member has joined. Where groups that hold nothing go by themselves, it may be another group than before.
    pub(super) fn joined(&mut self, group: &'static str, generation: i32) {
        let is_early = generation <= EARLY || generation < self.generation(group);
        if is_early && self.expires_after_ms.is_some() {
            self.group_deleted(group);
        }
        assert!(generation >= self.generation(group), "{group} goes back to generation {generation}");
    }

    /// Nobody uses this id any more.
    pub(super) fn silent(&mut self, member: &str, now_ms: u64) {
        if !member.is_empty() {
            self.gone.entry(member.to_owned()).or_insert(now_ms);
        }
    }

    /// Since when nobody uses this id.
    pub(super) fn silent_since(&self, member: &str) -> Option<u64> {
        self.gone.get(member).copied()
    }
}

impl History {
    /// Whether a place may hold `value` at some moment between `sent` and `heard`: a change to it may have happened, and none that
    /// is known to have come after.
    fn may_hold(&self, value: Option<i64>, sent: u64, heard: u64) -> bool {
        let overwritten = |over: u64| {
            let mut done = self.changes.iter().filter(|change| change.fate == Fate::Done);
            done.any(|later| later.sent > over && later.over < sent)
        };
        let by = |change: &Change| {
            change.value == value
                && change.fate != Fate::Refused
                && change.sent < heard
                && !overwritten(change.over)
        };
        (value.is_none() && !overwritten(0)) || self.changes.iter().any(by)
    }

    /// Whether `value` was seen, then another, and now it again. Values are never committed twice.
    fn goes_back_to(&self, value: i64, sent: u64) -> bool {
        let before = self.seen.iter().filter(|seen| seen.heard < sent);
        let Some(first) = self.seen.iter().find(|seen| seen.value == value) else { return false };
        before.into_iter().any(|seen| seen.value != value && seen.sent > first.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fate, Ledger, Place};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const PLACE: Place = ("g", 0);

    /// Plays a script of commits (`1`), deletions (`-`), what is known to have become of the last change (`ok`, `no`, `?` and, for a
    /// lost coordinator, `gone`) and readings (`=1`, `=-`). Whether all that was read may be.
    fn holds(script: &str) -> bool {
        let mut ledger = Ledger::default();
        let mut last = None;
        let mut play = |word: &str| match word {
            "ok" => ledger.hear(last.unwrap(), Fate::Done),
            "no" => ledger.hear(last.unwrap(), Fate::Refused),
            "?" => ledger.hear(last.unwrap(), Fate::Open),
            "gone" => ledger.coordinator_gone(&[]),
            "-" => last = Some(ledger.send(PLACE, None, 0)),
            _ => match word.strip_prefix('=') {
                Some(read) => {
                    let sent = ledger.tick();
                    ledger.read(PLACE, read.parse().ok(), sent, 0);
                }
                None => last = Some(ledger.send(PLACE, Some(word.parse().unwrap()), 0)),
            },
        };
        catch_unwind(AssertUnwindSafe(|| script.split(' ').for_each(&mut play))).is_ok()
    }

    #[test]
    fn a_place_holds_what_was_committed_last() {
        for (script, expected) in [
            ("=-", true),
            ("=1", false),
            ("1 ok =1", true),
            ("1 ok =-", false),
            ("1 ok 2 ok =1", false),
            ("1 ok 2 =1 =2 ok =2", true),
            ("1 ok 2 =2 =1", false),
            ("1 ok 2 no =1", true),
            ("1 no =1", false),
            ("1 ? =- =1", true),
            ("1 ? 2 ok =2 =1", true),
            ("1 ? gone 2 ok =1", false),
            ("1 ? gone =1", true),
            ("1 ok - ok =-", true),
            ("1 ok - ok =1", false),
            ("1 ok - ? gone =1 =1", true),
            ("1 ok - ok 2 ok =-", false),
        ] {
            assert_eq!(holds(script), expected, "{script}");
        }
    }

    #[test]
    fn a_partition_has_one_owner_a_generation() {
        let mut ledger = Ledger::default();
        ledger.assigned("g", 1, &[0, 1], "a");
        ledger.assigned("g", 2, &[0, 1], "b");
        ledger.accepted("g", 2, ledger.generation("g"));
        let twice = catch_unwind(AssertUnwindSafe(|| ledger.assigned("g", 2, &[1], "c")));
        assert!(twice.is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| ledger.accepted("g", 1, 2))).is_err());
        ledger.group_deleted("g");
        ledger.assigned("g", 1, &[1], "c");
    }
}
