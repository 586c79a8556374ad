//! The clients that take part, each from its first request until its connection ends or it is silent for too long: what it was
//! told, when it may come again, and what it has pushed.
//!
//! After Kafka's `ClientMetricsManager` and `ClientMetricsInstance`. Their number is bounded; the one that was silent for the
//! longest makes room. What is unpacked is bounded too.

use super::figures::ClientFigures;
use super::subscriptions::{Asked, ClientAttributes, Subscriptions};
use crate::metadata::image::MetadataImage;
use hayate_net::error::ErrorCode;
use hayate_net::wire::topic::topic_id_to_text;
use hayate_rt::MonoTime;
use hayate_storage::batch::Codec;
use hayate_storage::batch::compress::{CodecError, decompress};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Ids below this one are nobody's (Kafka's `Uuid.RESERVED`).
const RESERVED_IDS: u128 = 100;
/// How long a client is kept that says nothing, at least; else three of its intervals.
const SILENCE_MIN: Duration = Duration::from_secs(60);
/// Series of one client.
const CLIENT_SERIES_MAX: usize = 512;

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients.
    pub instances_max: usize,
    /// Series of all clients together.
    pub series_max: usize,
    /// `telemetry.max.bytes`: of one push, packed and unpacked.
    pub push_bytes_max: usize,
}

/// What a client is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The subscriptions' number: to be told in each push.
    pub subscription_id: i32,
    /// Which metrics, and how often.
    pub asked: Arc<Asked>,
}

/// A push.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// Who pushes.
    pub instance_id: Uuid,
    /// The number of the subscriptions that it goes by.
    pub subscription_id: i32,
    /// Whether it is the client's last.
    pub is_terminating: bool,
    /// Kafka's number of the compression.
    pub compression: i8,
    /// The metrics, compressed.
    pub metrics: &'a [u8],
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pushes taken with what they brought.
    pub pushes: u64,
    /// Requests that came too early.
    pub throttled: u64,
    /// Pushes for subscriptions that are no more.
    pub unknown_subscriptions: u64,
    /// Pushes that could not be read.
    pub unreadable: u64,
    /// Points left out: beyond the bounds, or of kinds that are not shown.
    pub left_out_points: u64,
}

#[derive(Debug)]
struct Instance {
    client: ClientAttributes,
    connection: u64,
    asked: Arc<Asked>,
    subscription_id: i32,
    /// Of the subscriptions that it was told.
    version: u64,
    last_get: Option<MonoTime>,
    last_push: Option<MonoTime>,
    is_terminating: bool,
    last_error: ErrorCode,
    last_used: MonoTime,
    /// Its place in the order of last use.
    turn: u64,
    figures: Arc<ClientFigures>,
}

impl Instance {
    fn interval(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.asked.interval_ms).unwrap_or(0))
    }

    fn is_due(&self, last: Option<MonoTime>, now: MonoTime) -> bool {
        last.is_none_or(|last| now.since(last) >= self.interval())
    }

    /// A client may ask again once an interval has gone by, or after an error that it can only mend by asking.
    fn check_get(&mut self, now: MonoTime) -> Result<(), ErrorCode> {
        if self.is_due(self.last_get.max(self.last_push), now) {
            self.last_get = Some(now);
            return Ok(());
        }
        let mends = [ErrorCode::UnknownSubscriptionId, ErrorCode::UnsupportedCompressionType];
        if mends.contains(&self.last_error) { Ok(()) } else { Err(ErrorCode::ThrottlingQuotaExceeded) }
    }

    /// The first push after asking may come at any time: clients spread their pushes.
    fn check_push(&mut self, push: &Push<'_>, now: MonoTime, bytes_max: usize) -> Result<Codec, ErrorCode> {
        if self.is_terminating {
            return Err(ErrorCode::InvalidRequest);
        }
        if self.last_get > self.last_push || self.is_due(self.last_push, now) {
            self.last_push = Some(now);
        } else if !push.is_terminating {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        if push.subscription_id != self.subscription_id {
            return Err(ErrorCode::UnknownSubscriptionId);
        }
        let codec = u8::try_from(push.compression).ok().and_then(Codec::from_id);
        let codec = codec.ok_or(ErrorCode::UnsupportedCompressionType)?;
        if push.metrics.len() > bytes_max {
            return Err(ErrorCode::TelemetryTooLarge);
        }
        Ok(codec)
    }
}

/// The clients of one shard.
#[derive(Debug)]
pub struct Instances {
    limits: Limits,
    subscriptions: Subscriptions,
    /// Of the view that the subscriptions are from.
    generation: u64,
    /// Grows with each change of the subscriptions.
    version: u64,
    by_id: BTreeMap<Uuid, Instance>,
    by_turn: BTreeMap<u64, Uuid>,
    by_connection: BTreeSet<(u64, Uuid)>,
    turns: u64,
    series: usize,
    is_changed: bool,
    counts: Counts,
}

impl Instances {
    /// No client yet.
    pub fn new(limits: Limits) -> Instances {
        Instances {
            limits,
            subscriptions: Subscriptions::default(),
            generation: 0,
            version: 0,
            by_id: BTreeMap::new(),
            by_turn: BTreeMap::new(),
            by_connection: BTreeSet::new(),
            turns: 0,
            series: 0,
            is_changed: false,
            counts: Counts::default(),
        }
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether there is one of that id.
    pub fn is_known(&self, instance_id: Uuid) -> bool {
        self.by_id.contains_key(&instance_id)
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Goes by the subscriptions of `image`, which is that of the view of this generation.
    pub fn follow(&mut self, generation: u64, image: &MetadataImage) {
        if std::mem::replace(&mut self.generation, generation) != generation
            && self.subscriptions.follow(image)
        {
            self.version += 1;
        }
    }

    /// Tells a client what is asked of it. `client` counts if it is not known yet.
    ///
    /// # Errors
    /// [`ErrorCode::ThrottlingQuotaExceeded`]: it comes too early.
    pub fn get(
        &mut self,
        instance_id: Uuid,
        client: ClientAttributes,
        connection: u64,
        now: MonoTime,
    ) -> Result<Grant, ErrorCode> {
        let instance = self.instance(instance_id, client, connection, now);
        let outcome = instance.check_get(now).map(|()| {
            instance.last_error = ErrorCode::None;
            Grant { subscription_id: instance.subscription_id, asked: instance.asked.clone() }
        });
        self.count(outcome.as_ref().err().copied());
        outcome
    }

    /// Takes a push. `client` counts if it is not known yet.
    ///
    /// # Errors
    /// What Kafka answers. [`ErrorCode::InvalidRecord`] makes a client push no more, the others do not.
    pub fn push(
        &mut self,
        push: &Push<'_>,
        client: ClientAttributes,
        connection: u64,
        now: MonoTime,
    ) -> Result<(), ErrorCode> {
        if push.instance_id.as_u128() < RESERVED_IDS {
            return Err(ErrorCode::InvalidRequest);
        }
        let bytes_max = self.limits.push_bytes_max;
        let instance = self.instance(push.instance_id, client, connection, now);
        let checked = instance.check_push(push, now, bytes_max);
        instance.is_terminating = push.is_terminating;
        let outcome = checked.and_then(|codec| self.take(push, codec));
        if let Some(instance) = self.by_id.get_mut(&push.instance_id) {
            instance.last_error = outcome.err().unwrap_or_default();
        }
        self.count(outcome.err());
        outcome
    }

    /// Takes over what a good push brings; nothing of it if a part cannot be read.
    fn take(&mut self, push: &Push<'_>, codec: Codec) -> Result<(), ErrorCode> {
        let Some(instance) = self.by_id.get_mut(&push.instance_id) else { return Ok(()) };
        if push.metrics.is_empty() {
            return Ok(());
        }
        let plain = decompress(codec, push.metrics, self.limits.push_bytes_max).map_err(code_of)?;
        let others = self.series - instance.figures.len();
        let series_max = self.limits.series_max.saturating_sub(others).min(CLIENT_SERIES_MAX);
        let mut figures = (*instance.figures).clone();
        let left_out = figures.take(&plain, series_max).map_err(|error| {
            tracing::debug!(client = instance.client.instance_id, %error, "a push of client metrics was refused");
            ErrorCode::InvalidRecord
        })?;
        self.series = others + figures.len();
        instance.figures = Arc::new(figures);
        self.is_changed = true;
        self.counts.pushes += 1;
        self.counts.left_out_points += left_out as u64;
        Ok(())
    }

    fn count(&mut self, code: Option<ErrorCode>) {
        match code {
            Some(ErrorCode::ThrottlingQuotaExceeded) => self.counts.throttled += 1,
            Some(ErrorCode::UnknownSubscriptionId) => self.counts.unknown_subscriptions += 1,
            Some(ErrorCode::InvalidRecord | ErrorCode::TelemetryTooLarge) => self.counts.unreadable += 1,
            Some(_) | None => {}
        }
    }

    /// The client of that id, told anew if it is new or the subscriptions have changed.
    fn instance(
        &mut self,
        id: Uuid,
        client: ClientAttributes,
        connection: u64,
        now: MonoTime,
    ) -> &mut Instance {
        let is_current = self.by_id.get(&id).is_some_and(|instance| instance.version == self.version);
        if !is_current {
            let client = self.remove(id).map_or(client, |known| known.client);
            while self.by_id.len() >= self.limits.instances_max.max(1)
                && let Some((_, longest_silent)) = self.by_turn.pop_first()
            {
                self.remove(longest_silent);
            }
            let instance = self.told(id, client, connection, now);
            self.by_id.insert(id, instance);
            self.by_connection.insert((connection, id));
        }
        self.turns += 1;
        let instance = self.by_id.get_mut(&id).expect("it is there now");
        self.by_turn.remove(&instance.turn);
        self.by_turn.insert(self.turns, id);
        (instance.turn, instance.last_used) = (self.turns, now);
        instance
    }

    fn told(&mut self, id: Uuid, client: ClientAttributes, connection: u64, now: MonoTime) -> Instance {
        let asked = self.subscriptions.asked_of(&client);
        let figures = ClientFigures {
            client_id: client.client_id.clone().unwrap_or_default(),
            instance_id: topic_id_to_text(id),
            ..ClientFigures::default()
        };
        Instance {
            connection,
            subscription_id: subscription_id(&asked, id),
            asked,
            version: self.version,
            last_get: None,
            last_push: None,
            is_terminating: false,
            last_error: ErrorCode::None,
            last_used: now,
            turn: 0,
            figures: Arc::new(figures),
            client,
        }
    }

    fn remove(&mut self, id: Uuid) -> Option<Instance> {
        let instance = self.by_id.remove(&id)?;
        self.by_turn.remove(&instance.turn);
        self.by_connection.remove(&(instance.connection, id));
        self.series -= instance.figures.len();
        self.is_changed |= !instance.figures.is_empty();
        Some(instance)
    }

    /// Forgets the clients of a connection that has ended.
    pub fn forget_connection(&mut self, connection: u64) {
        let of_it = (connection, Uuid::nil())..=(connection, Uuid::max());
        let ids: Vec<Uuid> = self.by_connection.range(of_it).map(|(_, id)| *id).collect();
        for id in ids {
            self.remove(id);
        }
    }

    /// Forgets the clients that have been silent for too long.
    pub fn expire(&mut self, now: MonoTime) {
        let is_silent =
            |instance: &Instance| now.since(instance.last_used) > SILENCE_MIN.max(instance.interval() * 3);
        let silent = self.by_id.iter().filter(|(_, instance)| is_silent(instance));
        let silent: Vec<Uuid> = silent.map(|(id, _)| *id).collect();
        for id in silent {
            self.remove(id);
        }
    }

    /// What all clients have pushed, if it differs from what was [published](Instances::published).
    pub fn changed(&self) -> Option<Vec<Arc<ClientFigures>>> {
        let figures = self.by_id.values().map(|instance| &instance.figures);
        self.is_changed.then(|| figures.filter(|figures| !figures.is_empty()).cloned().collect())
    }

    /// What clients have pushed was published as it is.
    pub fn published(&mut self) {
        self.is_changed = false;
    }
}

/// What unpacked to too much may be sent again, smaller; what is no stream of its codec may not.
fn code_of(error: CodecError) -> ErrorCode {
    match error {
        CodecError::TooLarge { .. } => ErrorCode::TelemetryTooLarge,
        CodecError::Corrupt(_) => ErrorCode::InvalidRecord,
    }
}

/// CRC-32C of what is asked as Java shows it, exclusive-or the hash that Java has of the id. Of several metrics Kafka's order is
/// that of a hash set, here it is that of their names.
fn subscription_id(asked: &Asked, id: Uuid) -> i32 {
    let text = format!("[{}]{}", asked.metrics.join(", "), asked.interval_ms);
    let (most, least) = id.as_u64_pair();
    let mixed = most ^ least;
    let hash = (mixed >> 32) as u32 ^ mixed as u32;
    (crc32c::crc32c(text.as_bytes()) ^ hash).cast_signed()
}

#[cfg(test)]
mod tests;
