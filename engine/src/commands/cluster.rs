//! A cluster as a command sees it: brokers to begin with, those that metadata name, a connection to each that was needed, and which
//! broker leads which partition.

use super::CommandError;
use super::settings::Settings;
use hayate_net::client::blocking::Connection;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataRequest, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use std::collections::BTreeMap;

/// The brokers of a cluster, and the connections to them.
pub(super) struct Cluster {
    pub(super) settings: Settings,
    /// Where each broker is, by id.
    nodes: BTreeMap<i32, String>,
    /// `None`: a broker to begin with, whichever answered.
    connections: BTreeMap<Option<i32>, Connection>,
}

/// Which broker leads each partition of a topic; `None` while none does.
pub(super) type Leaders = BTreeMap<i32, Option<i32>>;

impl Cluster {
    /// Nobody is asked yet.
    pub(super) fn new(settings: &Settings) -> Cluster {
        Cluster { settings: settings.clone(), nodes: BTreeMap::new(), connections: BTreeMap::new() }
    }

    /// A connection to any broker.
    ///
    /// # Errors
    /// That of the last broker that was tried.
    pub(super) fn any(&mut self) -> Result<&mut Connection, CommandError> {
        if !self.connections.contains_key(&None) {
            let connection = self.open_any()?;
            self.connections.insert(None, connection);
        }
        Ok(self.connections.get_mut(&None).expect("inserted above"))
    }

    fn open_any(&self) -> Result<Connection, CommandError> {
        let mut last = CommandError::Impossible("no broker is known".to_owned());
        let caller = self.settings.caller();
        for address in self.settings.bootstrap.iter().chain(self.nodes.values()) {
            match Connection::open(address, &caller) {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// A connection to the broker of that id.
    ///
    /// # Errors
    /// [`CommandError::Impossible`] when the cluster has no such broker, or why it cannot be reached.
    pub(super) fn node(&mut self, id: i32) -> Result<&mut Connection, CommandError> {
        if !self.connections.contains_key(&Some(id)) {
            if !self.nodes.contains_key(&id) {
                self.metadata(Some(&[]), false)?;
            }
            let unknown = || CommandError::Impossible(format!("the cluster has no broker {id}"));
            let address = self.nodes.get(&id).ok_or_else(unknown)?;
            let connection = Connection::open(address, &self.settings.caller())?;
            self.connections.insert(Some(id), connection);
        }
        Ok(self.connections.get_mut(&Some(id)).expect("inserted above"))
    }

    /// Asks any broker.
    ///
    /// # Errors
    /// Of the connection; it is then given up.
    pub(super) fn ask_any<R: Request>(&mut self, request: &R) -> Result<R::Response, CommandError> {
        let asked = self.any()?.ask(request);
        Ok(asked.inspect_err(|_| drop(self.connections.remove(&None)))?)
    }

    /// Gives up the connection to a broker.
    pub(super) fn forget(&mut self, id: i32) {
        self.connections.remove(&Some(id));
    }

    /// What is known of topics, of all without names, and where the brokers are.
    ///
    /// # Errors
    /// Of the connection.
    pub(super) fn metadata(
        &mut self,
        topics: Option<&[String]>,
        create: bool,
    ) -> Result<MetadataResponse, CommandError> {
        let topic = |topic: &String| MetadataRequestTopic::default().with_name(Some(name(topic)));
        let request = MetadataRequest::default()
            .with_topics(topics.map(|topics| topics.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(create);
        let response = self.ask_any(&request)?;
        let address = |host: &str, port| {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        let nodes = response.brokers.iter().map(|node| (node.node_id.0, address(&node.host, node.port)));
        self.nodes = nodes.collect();
        Ok(response)
    }

    /// One topic's leaders.
    ///
    /// # Errors
    /// [`CommandError::Refused`] when there is no such topic, and of the connection.
    pub(super) fn leaders(&mut self, topic: &str, create: bool) -> Result<Leaders, CommandError> {
        let response = self.metadata(Some(&[topic.to_owned()]), create)?;
        let found = response.topics.iter().find(|found| name_of(found) == topic);
        let missing = || CommandError::Impossible(format!("topic {topic}: the broker does not tell of it"));
        let found = found.ok_or_else(missing)?;
        CommandError::check(|| format!("topic {topic}"), found.error_code, None)?;
        let leader = |id: i32| (id >= 0).then_some(id);
        Ok(found.partitions.iter().map(|one| (one.partition_index, leader(one.leader_id.0))).collect())
    }
}

/// A topic's name for a request.
pub(super) fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

/// Text for a request.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name from metadata.
pub(super) fn name_of(topic: &MetadataResponseTopic) -> &str {
    topic.name.as_ref().map_or("", |name| name.0.as_str())
}

/// Milliseconds for a request.
pub(super) fn millis(time: std::time::Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
