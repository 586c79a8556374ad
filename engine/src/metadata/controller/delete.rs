//! Deleting topics, by name or by id.
//!
//! What a client may see of the topics it is not allowed to delete is the caller's to decide, before. Specification:
//! `deleteTopics` of Kafka's `ControllerApis` and `ReplicationControlManager`.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{ApiError, Decision, Reply, Rules};
use crate::metadata::image::MetadataImage;
use crate::metadata::records::RemoveTopicRecord;

/// A topic to delete: by name (then the id is nil) or by id (then there is no name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletableTopic {
    /// The name, or none.
    pub name: Option<String>,
    /// The id, or nil.
    pub topic_id: Uuid,
}

/// What became of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTopicResult {
    /// Its name, where known.
    pub name: Option<String>,
    /// Its id, nil where unknown.
    pub topic_id: Uuid,
    /// Why it was not deleted.
    pub error: Option<ApiError>,
}

/// The whole is refused with 73 when deletion is off; the caller makes that 42 below version 3 of the request.
pub(super) fn decide(image: &MetadataImage, topics: &[DeletableTopic], rules: &Rules<'_>) -> Decision {
    if !rules.delete_topic_enable {
        let disabled = ApiError { code: ResponseError::TopicDeletionDisabled, message: None };
        return Decision::atomic(Vec::new(), Reply::DeleteTopics(Err(disabled)));
    }
    let mut asked = Asked::default();
    for topic in topics {
        asked.add(topic);
    }
    asked.refuse_duplicates();
    asked.resolve(image);
    let records =
        asked.found.keys().map(|topic_id| RemoveTopicRecord { topic_id: *topic_id }.into()).collect();
    let deleted = asked.found.iter().map(|(topic_id, name)| DeleteTopicResult {
        name: Some(name.clone()),
        topic_id: *topic_id,
        error: None,
    });
    asked.results.extend(deleted);
    Decision::atomic(records, Reply::DeleteTopics(Ok(asked.results)))
}

/// A request on its way from what it says to topics: how often each name and id was given, what was found.
#[derive(Default)]
struct Asked {
    names: BTreeMap<String, usize>,
    ids: BTreeMap<Uuid, usize>,
    found: BTreeMap<Uuid, String>,
    results: Vec<DeleteTopicResult>,
}

impl Asked {
    fn add(&mut self, topic: &DeletableTopic) {
        match (&topic.name, topic.topic_id) {
            (None, id) if id.is_nil() => {
                self.refuse(None, id, "Neither topic name nor id were specified.");
            }
            (None, id) => *self.ids.entry(id).or_default() += 1,
            (Some(name), id) if id.is_nil() => *self.names.entry(name.clone()).or_default() += 1,
            (Some(name), id) => {
                self.refuse(Some(name), id, "You may not specify both topic name and topic id.")
            }
        }
    }

    fn refuse(&mut self, name: Option<&str>, topic_id: Uuid, message: &str) {
        self.fail(name, topic_id, ApiError::new(ResponseError::InvalidRequest, message));
    }

    fn fail(&mut self, name: Option<&str>, topic_id: Uuid, error: ApiError) {
        self.results.push(DeleteTopicResult { name: name.map(str::to_owned), topic_id, error: Some(error) });
    }

    fn refuse_duplicates(&mut self) {
        let names: Vec<String> =
            self.names.extract_if(.., |_, count| *count > 1).map(|(name, _)| name).collect();
        for name in &names {
            self.refuse(Some(name), Uuid::nil(), "Duplicate topic name.");
        }
        let ids: Vec<Uuid> = self.ids.iter().filter(|(_, count)| **count > 1).map(|(id, _)| *id).collect();
        for id in ids {
            self.refuse(None, id, "Duplicate topic id.");
        }
    }

    /// Finds the topics; one given by name and by id is refused, also when the id alone was given twice.
    fn resolve(&mut self, image: &MetadataImage) {
        let once: Vec<Uuid> = self.ids.iter().filter(|(_, count)| **count == 1).map(|(id, _)| *id).collect();
        for id in once {
            match image.topic_by_id(&id) {
                Some(topic) => drop(self.found.insert(id, topic.name.to_string())),
                None => {
                    let message = "This server does not host this topic ID.";
                    self.fail(None, id, ApiError::new(ResponseError::UnknownTopicId, message));
                }
            }
        }
        for name in std::mem::take(&mut self.names).into_keys() {
            match image.topic_id(&name) {
                Some(id) if self.ids.contains_key(&id) => {
                    self.found.remove(&id);
                    self.refuse(
                        Some(&name),
                        id,
                        "The provided topic name maps to an ID that was already supplied.",
                    );
                }
                Some(id) => drop(self.found.insert(id, name)),
                None => {
                    let message = "This server does not host this topic-partition.";
                    let error = ApiError::new(ResponseError::UnknownTopicOrPartition, message);
                    self.fail(Some(&name), Uuid::nil(), error);
                }
            }
        }
    }
}
