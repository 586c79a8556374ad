//! Single questions to a cluster: coordinators of groups, topics and groups that come and go.

use crate::PerfError;
use crate::run::caller;
use hayate_net::client::BrokerVersions;
use hayate_net::client::blocking::Connection;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteGroupsRequest, DeleteTopicsRequest, FindCoordinatorRequest,
    FindCoordinatorResponse, GroupId, MetadataRequest, TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// First version of `FindCoordinator` that asks for many.
const BATCHES_SINCE: i16 = 4;
/// First version of `DeleteTopics` with topics in place of names.
const TOPICS_SINCE: i16 = 6;
/// Groups of one question.
const GROUPS_MAX: usize = 1000;
/// How long coordinators are awaited.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// A connection for questions.
pub struct Admin {
    connection: Connection,
    versions: BrokerVersions,
}

/// A coordinator of a group, as one answer has it.
type Told = (String, i16, String);

impl Admin {
    /// Connects to the first broker of a list that answers.
    ///
    /// # Errors
    /// Why the last one did not.
    pub fn open(bootstrap: &[String]) -> Result<Admin, PerfError> {
        let mut last = PerfError::Impossible("no broker is named".to_owned());
        for address in bootstrap {
            let versions = Connection::open(address, &caller()).map(|connection| connection.into_parts().2);
            match versions.and_then(|versions| Ok((versions, Connection::open(address, &caller())?))) {
                Ok((versions, connection)) => return Ok(Admin { connection, versions }),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// Asks, in the highest version that both know.
    ///
    /// # Errors
    /// [`PerfError::Connection`].
    pub fn ask<R: Request>(&mut self, request: &R) -> Result<R::Response, PerfError> {
        Ok(self.connection.ask(request)?)
    }

    fn version<R: Request>(&self) -> i16 {
        self.versions.pick::<R>().unwrap_or(R::VERSIONS.max)
    }

    /// Where the coordinators of groups are, `host:port` by group: asked for in batches, or one by one of a broker that knows no batches.
    ///
    /// # Errors
    /// [`PerfError::Refused`], also when one is not there in time.
    pub fn coordinators(&mut self, groups: &[String]) -> Result<BTreeMap<String, String>, PerfError> {
        let deadline = Instant::now() + PATIENCE;
        let mut missing: Vec<String> = groups.to_vec();
        let mut found = BTreeMap::new();
        loop {
            let (mut left, mut last_code) = (Vec::new(), 0);
            for (group, code, address) in self.find(&missing)? {
                match code {
                    0 => drop(found.insert(group, address)),
                    COORDINATOR_LOAD_IN_PROGRESS | COORDINATOR_NOT_AVAILABLE => {
                        last_code = code;
                        left.push(group);
                    }
                    code => PerfError::check(|| format!("the coordinator of group {group}"), code)?,
                }
            }
            if left.is_empty() {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                PerfError::check(|| format!("the coordinator of group {}", left[0]), last_code)?;
            }
            std::thread::sleep(PAUSE);
            missing = left;
        }
    }

    fn find(&mut self, groups: &[String]) -> Result<Vec<Told>, PerfError> {
        let mut all = Vec::new();
        for (some, request) in questions(self.version::<FindCoordinatorRequest>(), groups) {
            let told = told(some, self.ask(&request)?);
            if told.len() != some.len() {
                return Err(PerfError::Impossible("the broker does not tell of every group".to_owned()));
            }
            all.extend(told);
        }
        Ok(all)
    }

    /// Creates a topic that is not there; how long it takes until all its partitions have leaders is for [`Admin::has_leaders`] to say.
    ///
    /// # Errors
    /// [`PerfError::Refused`], also when it is there.
    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &[(String, String)],
    ) -> Result<(), PerfError> {
        let config = |(name, value): &(String, String)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let new = CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(replication_factor)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![new]).with_timeout_ms(30_000);
        let response = self.ask(&request)?;
        let told = response.topics.first();
        let code = told.map_or(UNKNOWN_TOPIC_OR_PARTITION, |told| told.error_code);
        let words = told.and_then(|told| told.error_message.as_deref()).unwrap_or_default();
        PerfError::check(|| format!("topic {name} cannot be made: {words}"), code)
    }

    /// Whether this broker says that all of so many partitions have leaders.
    ///
    /// # Errors
    /// [`PerfError::Connection`].
    pub fn has_leaders(&mut self, name: &str, partitions: i32) -> Result<bool, PerfError> {
        let response = self.ask(&about(name))?;
        let Some(told) = response.topics.first() else { return Ok(false) };
        Ok(told.error_code == 0
            && i32::try_from(told.partitions.len()) == Ok(partitions)
            && told.partitions.iter().all(|partition| partition.leader_id.0 >= 0))
    }

    /// `host:port` of each broker.
    ///
    /// # Errors
    /// [`PerfError::Connection`].
    pub fn brokers(&mut self) -> Result<Vec<String>, PerfError> {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let response = self.ask(&request)?;
        Ok(response.brokers.iter().map(|broker| address(&broker.host, broker.port)).collect())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// [`PerfError::Refused`].
    pub fn delete_topic(&mut self, name: &str) -> Result<(), PerfError> {
        let request = deletion(self.version::<DeleteTopicsRequest>(), name);
        let response = self.ask(&request)?;
        let code = response.responses.first().map_or(0, |told| told.error_code);
        PerfError::check(|| format!("topic {name} cannot be deleted"), code)
    }

    /// Deletes groups without members, where this broker coordinates them; those that are not there do no harm.
    ///
    /// # Errors
    /// [`PerfError::Refused`].
    pub fn delete_groups(&mut self, groups: &[String]) -> Result<(), PerfError> {
        for some in groups.chunks(GROUPS_MAX) {
            let names = some.iter().map(|group| GroupId(text(group))).collect();
            let response = self.ask(&DeleteGroupsRequest::default().with_groups_names(names))?;
            for told in response.results.iter().filter(|told| told.error_code != GROUP_ID_NOT_FOUND) {
                let what = || format!("group {} cannot be deleted", told.group_id.0);
                PerfError::check(what, told.error_code)?;
            }
        }
        Ok(())
    }
}

/// What is asked in a version, and of which groups.
fn questions(version: i16, groups: &[String]) -> Vec<(&[String], FindCoordinatorRequest)> {
    let batch = |some: &[String]| some.iter().map(|group| text(group)).collect();
    match version {
        BATCHES_SINCE.. => groups
            .chunks(GROUPS_MAX)
            .map(|some| (some, FindCoordinatorRequest::default().with_coordinator_keys(batch(some))))
            .collect(),
        _ => groups
            .chunks(1)
            .map(|one| (one, FindCoordinatorRequest::default().with_key(text(&one[0]))))
            .collect(),
    }
}

/// What an answer says, of one group or of many.
fn told(asked: &[String], response: FindCoordinatorResponse) -> Vec<Told> {
    match (asked, response.coordinators) {
        ([one], many) if many.is_empty() && (response.error_code != 0 || !response.host.is_empty()) => {
            vec![(one.clone(), response.error_code, address(&response.host, response.port))]
        }
        (_, many) => many
            .into_iter()
            .map(|each| (each.key.to_string(), each.error_code, address(&each.host, each.port)))
            .collect(),
    }
}

fn deletion(version: i16, name: &str) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
    let named = TopicName(text(name));
    match version {
        TOPICS_SINCE.. => request.with_topics(vec![DeleteTopicState::default().with_name(Some(named))]),
        _ => request.with_topic_names(vec![named]),
    }
}

fn about(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
    MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false)
}

/// As it is connected to: an IPv6 address stands in brackets.
fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A text as messages have it.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{deletion, questions, text, told};
    use hayate_net::client::encode_request;
    use kafka_protocol::messages::find_coordinator_response::Coordinator;
    use kafka_protocol::messages::{DeleteTopicsRequest, FindCoordinatorRequest, FindCoordinatorResponse};
    use kafka_protocol::protocol::Message;

    #[test]
    fn coordinators_are_asked_for_in_batches_or_one_by_one() {
        let groups: Vec<String> = (0..2500).map(|number| format!("g{number}")).collect();
        let versions = FindCoordinatorRequest::VERSIONS;
        for version in versions.min..=versions.max {
            let asked = questions(version, &groups);
            assert_eq!(asked.len(), if version < 4 { 2500 } else { 3 }, "version {version}");
            assert_eq!(
                asked.iter().flat_map(|(some, _)| *some).collect::<Vec<_>>(),
                groups.iter().collect::<Vec<_>>()
            );
            encode_request(1, "me", version, &asked[0].1).expect("it has a form");
        }
    }

    #[test]
    fn both_answers_are_read() {
        let single = FindCoordinatorResponse::default().with_host(text("a")).with_port(1);
        let one = ["g".to_owned()];
        assert_eq!(told(&one, single), [("g".to_owned(), 0, "a:1".to_owned())]);
        let each = |key, code| {
            Coordinator::default().with_key(text(key)).with_error_code(code).with_host(text("::1"))
        };
        let many = FindCoordinatorResponse::default().with_coordinators(vec![each("g", 0), each("h", 15)]);
        let two = ["g".to_owned(), "h".to_owned()];
        let due = [("g", 0), ("h", 15)].map(|(group, code)| (group.to_owned(), code, "[::1]:0".to_owned()));
        assert_eq!(told(&two, many), due);
        for nothing in [&one[..], &two] {
            assert!(told(nothing, FindCoordinatorResponse::default()).is_empty());
        }
    }

    #[test]
    fn topics_are_deleted_in_every_version() {
        for version in DeleteTopicsRequest::VERSIONS.min..=DeleteTopicsRequest::VERSIONS.max {
            encode_request(1, "me", version, &deletion(version, "t")).expect("it has a form");
        }
    }
}
