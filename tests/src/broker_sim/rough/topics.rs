//! Topics that come and go all through a life: what was acknowledged of them stays so, whatever becomes of the broker.

use super::super::client::Client;
use super::{Life, PATIENCE};
use hayate_engine::metadata::image::MetadataImage;
use hayate_net::error::ErrorCode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use uuid::Uuid;

/// So many topics stand at a time, but for those of which nothing is known.
const STANDING: u32 = 3;
/// Partitions of a new topic.
const CREATED: i32 = 2;
/// Partitions of one that has grown.
const GROWN: i32 = 5;

/// What is known of a topic from outside.
#[derive(Clone, Copy)]
enum Known {
    /// Nothing: the answer is not there, or never came.
    Nothing,
    /// Its creation was acknowledged, and so many partitions.
    There(Uuid, i32),
    /// Its deletion was.
    Gone,
}

/// What is known of each topic, by name.
#[derive(Default)]
pub(super) struct Topics(RefCell<BTreeMap<String, Known>>);

impl Topics {
    fn note(&self, topic: &str, known: Known) {
        self.0.borrow_mut().insert(topic.to_owned(), known);
    }

    fn known(&self, topic: &str) -> Option<Known> {
        self.0.borrow().get(topic).copied()
    }

    /// The image agrees with all that is known. Growth whose answer never came may have happened.
    pub(super) fn check(&self, image: &MetadataImage) {
        for (topic, known) in self.0.borrow().iter() {
            match known {
                Known::Nothing => {}
                Known::There(id, partitions) => {
                    assert_eq!(image.topic_id(topic), Some(*id), "{topic} was created");
                    let last = image.partition(id, partitions - 1);
                    assert!(last.is_some(), "{topic} was given {partitions} partitions");
                }
                Known::Gone => assert_eq!(image.topic_id(topic), None, "{topic} was deleted"),
            }
        }
    }
}

impl Life {
    /// Creates topics, lets them grow, and deletes them a little later, until the world ends.
    pub(super) async fn change_topics(self) {
        let mut client = self.connect().await;
        for number in 0u32.. {
            self.create(&mut client, &format!("passing-{number}")).await;
            if let Some(young) = number.checked_sub(1) {
                self.grow(&mut client, &format!("passing-{young}")).await;
            }
            if let Some(old) = number.checked_sub(STANDING) {
                self.delete(&mut client, &format!("passing-{old}")).await;
            }
        }
    }

    async fn create(&self, client: &mut Client, topic: &str) {
        self.topics.note(topic, Known::Nothing);
        match self.rt.timeout(PATIENCE, client.try_create_topic(topic, CREATED)).await {
            Ok(Some(Ok(created))) => self.topics.note(topic, Known::There(created.id, CREATED)),
            Ok(Some(Err(_))) => {}
            Ok(None) | Err(_) => *client = self.connect().await,
        }
    }

    async fn grow(&self, client: &mut Client, topic: &str) {
        let Some(Known::There(id, CREATED)) = self.topics.known(topic) else { return };
        match self.rt.timeout(PATIENCE, client.try_create_partitions(topic, GROWN)).await {
            Ok(Some(Ok(()))) => {
                self.topics.note(topic, Known::There(id, GROWN));
                self.bench.sim.count("topic grown");
            }
            Ok(Some(Err(code))) => {
                assert_ne!(code, ErrorCode::UnknownTopicOrPartition, "{topic} was created");
            }
            Ok(None) | Err(_) => *client = self.connect().await,
        }
    }

    async fn delete(&self, client: &mut Client, topic: &str) {
        let Some(Known::There(..)) = self.topics.known(topic) else { return };
        self.topics.note(topic, Known::Nothing);
        match self.rt.timeout(PATIENCE, client.try_delete_topic(topic)).await {
            Ok(Some(Ok(()))) => self.topics.note(topic, Known::Gone),
            Ok(Some(Err(code))) => {
                assert_ne!(code, ErrorCode::UnknownTopicOrPartition, "{topic} was created");
            }
            Ok(None) | Err(_) => *client = self.connect().await,
        }
    }
}
