//! The load itself: producers and consumers as machines without IO, and the threads that drive them.

pub mod consumer;
pub mod producer;
pub mod thread;

use hayate_net::wire::topic::TopicRef;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// The topic of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; nil where the broker has none.
    pub id: Uuid,
}

impl Topic {
    /// How requests of a version name it: by id if they can.
    pub fn reference(&self, by_id: bool) -> TopicRef {
        if by_id { TopicRef::Id(self.id) } else { TopicRef::Name(StrBytes::from_string(self.name.clone())) }
    }

    /// Its name as messages have it.
    pub fn topic_name(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.name.clone()))
    }
}
