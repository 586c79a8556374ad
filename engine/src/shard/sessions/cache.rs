//! The sessions of a shard: a bounded number of them, and which one makes room for another.

use super::{SessionKey, Told, Wanted};
use hayate_rt::{DetHashMap, MonoTime};
use std::collections::BTreeMap;
use std::time::Duration;

/// A session unused for so long, or so old and smaller than a new one, may be evicted (Kafka's constant).
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);

/// Number of a session on the wire: above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i32);

/// One partition of a session.
pub(super) struct Slot {
    pub(super) key: SessionKey,
    pub(super) wanted: Wanted,
    pub(super) told: Told,
}

/// What one client fetches over and over, in the order in which it is served: what had news goes behind the others.
pub(super) struct Session {
    /// The epoch that the client's next request must have.
    pub(super) epoch: i32,
    /// Whether the client names topics by id.
    pub(super) by_id: bool,
    slots: BTreeMap<u64, Slot>,
    places: BTreeMap<SessionKey, u64>,
    next_place: u64,
    created: MonoTime,
    last_used: MonoTime,
}

impl Session {
    pub(super) fn new(by_id: bool, now: MonoTime) -> Session {
        Session {
            epoch: 1,
            by_id,
            slots: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
            created: now,
            last_used: now,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn touch(&mut self, now: MonoTime) {
        self.last_used = now;
    }

    /// Adds a partition, or changes what is wanted of it.
    pub(super) fn put(&mut self, key: SessionKey, wanted: Wanted) {
        if let Some(slot) = self.places.get(&key).and_then(|place| self.slots.get_mut(place)) {
            slot.wanted = wanted;
            return;
        }
        self.add_last(Slot { key, wanted, told: Told::NOTHING });
    }

    /// How many partitions it names.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn forget(&mut self, key: &SessionKey) {
        if let Some(place) = self.places.remove(key) {
            self.slots.remove(&place);
        }
    }

    fn add_last(&mut self, slot: Slot) {
        self.places.insert(slot.key.clone(), self.next_place);
        self.slots.insert(self.next_place, slot);
        self.next_place += 1;
    }

    /// What is wanted, in order.
    pub(super) fn wanted(&self) -> Vec<(SessionKey, Wanted)> {
        self.slots.values().map(|slot| (slot.key.clone(), slot.wanted)).collect()
    }

    pub(super) fn told(&mut self, key: &SessionKey) -> Option<&mut Told> {
        let place = self.places.get(key)?;
        self.slots.get_mut(place).map(|slot| &mut slot.told)
    }

    /// Lets the others be served first next time.
    pub(super) fn move_last(&mut self, key: &SessionKey) {
        if let Some(slot) = self.places.get(key).and_then(|place| self.slots.remove(place)) {
            self.add_last(slot);
        }
    }

    fn size_key(&self, id: SessionId) -> (usize, SessionId) {
        (self.slots.len(), id)
    }
}

/// Partitions that all sessions of a shard may name together: Kafka bounds the sessions alone, and one frame can name half a million.
const PARTITIONS_MAX: usize = 200_000;

/// A shard's sessions.
pub struct SessionCache {
    sessions: DetHashMap<SessionId, Session>,
    slots_max: usize,
    /// Partitions of all sessions.
    partitions: usize,
    evicted: u64,
}

impl SessionCache {
    /// Room for `slots_max` sessions (this shard's part of `max.incremental.fetch.session.cache.slots`); with 0, every
    /// fetch is a full one.
    pub fn new(slots_max: usize) -> SessionCache {
        SessionCache { sessions: DetHashMap::default(), slots_max, partitions: 0, evicted: 0 }
    }

    /// Sessions held now.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is held.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sessions that had to make room so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn get(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        let gone = self.sessions.remove(&id);
        self.partitions -= gone.map_or(0, |session| session.slots.len());
    }

    /// A session of `before` partitions was changed; whether all together have grown beyond what a shard remembers.
    pub(super) fn has_outgrown(&mut self, id: SessionId, before: usize) -> bool {
        let now = self.sessions.get(&id).map_or(0, |session| session.slots.len());
        self.partitions = self.partitions + now - before;
        self.partitions > PARTITIONS_MAX && now > before
    }

    /// Keeps a session if there is or can be made room; `draw` gives random numbers.
    pub(super) fn keep(
        &mut self,
        session: Session,
        mut draw: impl FnMut() -> u64,
        now: MonoTime,
    ) -> Option<SessionId> {
        if self.partitions + session.slots.len() > PARTITIONS_MAX {
            return None;
        }
        if self.sessions.len() >= self.slots_max && !self.evict_for(session.slots.len(), now) {
            return None;
        }
        loop {
            let id = SessionId((draw() >> 33) as i32);
            if id.0 > 0 && !self.sessions.contains_key(&id) {
                self.partitions += session.slots.len();
                self.sessions.insert(id, session);
                return Some(id);
            }
        }
    }

    /// Makes room: the session unused for longest, if long enough; else the smallest of the old ones, if smaller than or
    /// as large as the new one.
    fn evict_for(&mut self, size: usize, now: MonoTime) -> bool {
        let idle = self.sessions.iter().min_by_key(|(id, session)| (session.last_used, **id));
        let idle = idle.filter(|(_, session)| now.since(session.last_used) > EVICTABLE_AFTER);
        let old = self.sessions.iter().filter(|(_, session)| now.since(session.created) > EVICTABLE_AFTER);
        let smallest = old.min_by_key(|(id, session)| session.size_key(**id));
        let smallest = smallest.filter(|(_, session)| session.slots.len() <= size);
        let Some(id) = idle.or(smallest).map(|(id, _)| *id) else { return false };
        self.remove(id);
        self.evicted += 1;
        true
    }
}
