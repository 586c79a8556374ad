//! The topics of a load: how requests name them, and which one an answer is about.

use hayate_net::wire::topic::TopicRef;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A topic of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; nil where the broker has none.
    pub id: Uuid,
}

/// One partition of one of the topics of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The topic's number.
    pub topic: usize,
    /// The partition's index.
    pub partition: i32,
}

/// The topics of a load, by their numbers.
#[derive(Clone, Debug)]
pub struct Topics {
    all: Vec<Topic>,
    by_id: BTreeMap<Uuid, usize>,
    by_name: BTreeMap<String, usize>,
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

impl Topics {
    /// These, numbered from 0.
    pub fn new(all: Vec<Topic>) -> Topics {
        let numbered = || all.iter().enumerate();
        let by_id =
            numbered().filter(|(_, topic)| !topic.id.is_nil()).map(|(number, topic)| (topic.id, number));
        let by_name = numbered().map(|(number, topic)| (topic.name.clone(), number));
        let (by_id, by_name) = (by_id.collect(), by_name.collect());
        Topics { all, by_id, by_name }
    }

    /// The topic with that number.
    ///
    /// # Panics
    /// There is none.
    pub fn get(&self, number: usize) -> &Topic {
        &self.all[number]
    }

    /// Whether each has an id, so that requests may name it by that.
    pub fn have_ids(&self) -> bool {
        self.all.iter().all(|topic| !topic.id.is_nil())
    }

    /// The number of the topic that an answer names, by id if it has one.
    ///
    /// # Errors
    /// It is none of them, in words.
    pub fn find(&self, id: Uuid, name: &str) -> Result<usize, String> {
        let found = if id.is_nil() { self.by_name.get(name) } else { self.by_id.get(&id) };
        found.copied().ok_or_else(|| format!("an answer about topic {name} {id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Topic, Topics};
    use uuid::Uuid;

    #[test]
    fn answers_name_topics_by_id_or_by_name() {
        let topic = |name: &str, id| Topic { name: name.to_owned(), id: Uuid::from_u128(id) };
        let topics = Topics::new(vec![topic("a", 7), topic("b", 8)]);
        for (id, name, due) in
            [(8, "", Some(1)), (0, "a", Some(0)), (9, "a", None), (0, "c", None), (0, "", None)]
        {
            assert_eq!(topics.find(Uuid::from_u128(id), name).ok(), due, "{id} {name}");
        }
        assert!(topics.have_ids());
        assert!(!Topics::new(vec![topic("a", 7), topic("b", 0)]).have_ids());
    }
}
