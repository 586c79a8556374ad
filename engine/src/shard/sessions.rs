//! Fetch sessions (KIP-227): what a consumer fetches over and over is kept here, and its requests and the answers carry
//! only what changed. Pure: the time and the session's number come from the caller.
//!
//! A shard's sessions serve the connections of that shard; a session of another one is unknown (error 70), and the
//! client begins anew, as Kafka's clients do. After Kafka's `FetchSession` and `FetchManager`.

mod cache;
mod context;

pub use cache::{SessionCache, SessionId};
pub use context::{FetchContext, SessionAnswer, SessionError, SessionRequest};

use hayate_net::wire::fetch::FetchedPartition;
use uuid::Uuid;

/// A topic as a fetch names it. Owned: a session outlives the frame that a name came in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionTopic {
    /// Up to version 12.
    Name(std::sync::Arc<str>),
    /// From version 13.
    Id(Uuid),
}

/// A partition of a fetch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    /// The topic, as the client names it.
    pub topic: SessionTopic,
    /// The partition.
    pub partition: i32,
}

/// What a client wants of a partition. −1 stands for unknown, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// First offset.
    pub fetch_offset: i64,
    /// The leader epoch that the client knows.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that it has.
    pub last_fetched_epoch: i32,
    /// Bytes at most, 0 or more.
    pub max_bytes: i32,
}

/// What a client was told of a partition last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    high_watermark: i64,
    log_start_offset: i64,
}

impl Told {
    const NOTHING: Told = Told { high_watermark: -1, log_start_offset: -1 };

    /// Whether an answer says something new; remembers what it says.
    fn is_news(&mut self, answer: &FetchedPartition) -> bool {
        let mut news = answer.records.iter().any(|slice| !slice.is_empty())
            || answer.preferred_read_replica != -1
            || answer.diverging_epoch.is_some();
        news |= self.high_watermark != answer.high_watermark;
        news |= self.log_start_offset != answer.log_start_offset;
        (self.high_watermark, self.log_start_offset) = (answer.high_watermark, answer.log_start_offset);
        if !answer.error.is_none() {
            // What follows the error must be told, whatever it is.
            self.high_watermark = -1;
            news = true;
        }
        news
    }
}

#[cfg(test)]
mod tests;
