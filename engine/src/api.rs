//! The requests that this broker serves: one table of them, and the way from a frame's body to its answer.
//!
//! Each kind has a file of its own: decode, call, encode. What holds for all of them stands here and is not repeated
//! there: versions, what a request may cost in memory, which permission it takes. A request begins in the order of its
//! connection and may end later ([`begin`]).

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod alter_partition_reassignments;
mod alteration;
mod api_versions;
mod broker_loggers;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod coordinators;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod elect_leaders;
mod end_txn;
mod enlist;
mod fetch;
mod find_coordinator;
mod get_telemetry_subscriptions;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod push_telemetry;
pub mod share;
mod share_acknowledge;
mod share_fetch;
mod share_group_describe;
mod share_group_heartbeat;
mod share_group_offsets;
mod share_group_states;
mod sync_group;
mod topics;
mod txn_offset_commit;
mod update_features;
mod write_txn_markers;

pub use describe_configs::BrokerConfig;

use crate::metrics::{Stage, Stages};
use crate::shard::Shard;
use crate::shard::connection::Connection;
use bytes::Bytes;
use hayate_net::conn::{Answer, Ticket};
use hayate_net::error::{ErrorCode, FrameError, WireError};
use hayate_net::frame::{ClientId, RequestFrame, RequestHead};
use hayate_net::wire::codec;
use hayate_net::wire::table::{self, Api, Authentication, Supported};
use hayate_rt::MonoTime;
use hayate_storage::mutants::{Mutant, panic_if};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

/// What is left of a request that has begun.
pub type Later = Pin<Box<dyn Future<Output = Result<Answer, WireError>>>>;

/// What a client must be allowed to do; held against ACLs where there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Nothing: the request precedes any knowledge of the client, or a client tells of itself.
    Nothing,
    /// To see each topic named.
    DescribeTopic,
    /// To read each topic named.
    ReadTopic,
    /// To write to each topic named.
    WriteTopic,
    /// To create topics.
    CreateTopic,
    /// To alter each topic named.
    AlterTopic,
    /// To delete each topic named, or records of it.
    DeleteTopic,
    /// To see the configuration of each resource named.
    DescribeConfigs,
    /// To change the configuration of each resource named.
    AlterConfigs,
    /// To see which resources of the cluster have configurations.
    DescribeClusterConfigs,
    /// To see the cluster.
    DescribeCluster,
    /// To change the cluster.
    AlterCluster,
    /// To act as a broker of the cluster.
    ActOnCluster,
    /// To write in the name of the transactional id, or of none: to any topic, or to the cluster idempotently.
    WriteIdempotently,
    /// To write in the name of the transactional id.
    WriteTransactionalId,
    /// To see each transactional id named, or that there is.
    DescribeTransactionalId,
    /// To see each group named.
    DescribeGroup,
    /// To be a member of the group.
    ReadGroup,
    /// To delete the group, or offsets of it.
    DeleteGroup,
}

/// One kind of request that is served.
#[derive(Debug)]
pub struct ApiSpec {
    /// Its number.
    pub key: i16,
    /// First version served.
    pub version_min: i16,
    /// Last version served.
    pub version_max: i16,
    /// What it takes.
    pub permission: Permission,
    /// Bytes of memory that a byte of its frame may become while it is served: its decoded form, and what is made of it.
    memory_factor: usize,
}

/// Bytes that any request takes besides its frame.
const MEMORY_BASE_BYTES: usize = 1024;

impl ApiSpec {
    /// The kind as the wire knows it.
    pub fn api(&self) -> &'static Api {
        table::api(self.key).expect("what is served is known")
    }

    /// Whether it begins by waiting for its place in the order of its partitions, as long as a disk that takes nothing.
    pub fn waits_for_a_place(&self) -> bool {
        self.key == PRODUCE
    }

    /// Bytes that a request of `frame_bytes` is charged for.
    pub fn memory_bytes(&self, frame_bytes: usize) -> usize {
        frame_bytes.saturating_mul(self.memory_factor).saturating_add(MEMORY_BASE_BYTES)
    }

    /// Heap bytes that the decoded form of a body may take: what it was charged for beside itself, so that no peer gets more than it was
    /// charged for. Bodies as clients send them stay far below.
    fn decoded_bytes_max(&self, body_bytes: usize) -> u64 {
        self.memory_bytes(body_bytes).saturating_sub(body_bytes) as u64
    }

    /// Refuses frames that are larger than the kind needs, or than the listener takes.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`].
    pub fn check_frame_bytes(&self, frame_bytes: usize, request_bytes_max: usize) -> Result<(), FrameError> {
        let frame_bytes_max =
            self.api().frame_bytes_max(Authentication::Done, request_bytes_max).unwrap_or(0);
        if frame_bytes > frame_bytes_max {
            return Err(FrameError::TooLarge { frame_bytes, frame_bytes_max });
        }
        Ok(())
    }
}

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;
const JOIN_GROUP: i16 = 11;
const HEARTBEAT: i16 = 12;
const LEAVE_GROUP: i16 = 13;
const SYNC_GROUP: i16 = 14;
const DESCRIBE_GROUPS: i16 = 15;
const LIST_GROUPS: i16 = 16;
const API_VERSIONS: i16 = table::API_VERSIONS;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;
const DELETE_RECORDS: i16 = 21;
const INIT_PRODUCER_ID: i16 = 22;
const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
const ADD_PARTITIONS_TO_TXN: i16 = 24;
const ADD_OFFSETS_TO_TXN: i16 = 25;
const END_TXN: i16 = 26;
const WRITE_TXN_MARKERS: i16 = 27;
const TXN_OFFSET_COMMIT: i16 = 28;
const DESCRIBE_CONFIGS: i16 = 32;
const ALTER_CONFIGS: i16 = 33;
const DESCRIBE_LOG_DIRS: i16 = 35;
const CREATE_PARTITIONS: i16 = 37;
const DELETE_GROUPS: i16 = 42;
const ELECT_LEADERS: i16 = 43;
const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
const ALTER_PARTITION_REASSIGNMENTS: i16 = 45;
const LIST_PARTITION_REASSIGNMENTS: i16 = 46;
const OFFSET_DELETE: i16 = 47;
const DESCRIBE_QUORUM: i16 = 55;
const UPDATE_FEATURES: i16 = 57;
const DESCRIBE_CLUSTER: i16 = 60;
const DESCRIBE_PRODUCERS: i16 = 61;
const DESCRIBE_TRANSACTIONS: i16 = 65;
const LIST_TRANSACTIONS: i16 = 66;
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
const CONSUMER_GROUP_DESCRIBE: i16 = 69;
const GET_TELEMETRY_SUBSCRIPTIONS: i16 = 71;
const PUSH_TELEMETRY: i16 = 72;
const LIST_CONFIG_RESOURCES: i16 = 74;
const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;
const SHARE_GROUP_HEARTBEAT: i16 = 76;
const SHARE_GROUP_DESCRIBE: i16 = 77;
const SHARE_FETCH: i16 = 78;
const SHARE_ACKNOWLEDGE: i16 = 79;
const INITIALIZE_SHARE_GROUP_STATE: i16 = 83;
const READ_SHARE_GROUP_STATE: i16 = 84;
const WRITE_SHARE_GROUP_STATE: i16 = 85;
const DELETE_SHARE_GROUP_STATE: i16 = 86;
const READ_SHARE_GROUP_STATE_SUMMARY: i16 = 87;
const DESCRIBE_SHARE_GROUP_OFFSETS: i16 = 90;
const ALTER_SHARE_GROUP_OFFSETS: i16 = 91;
const DELETE_SHARE_GROUP_OFFSETS: i16 = 92;

macro_rules! apis {
    ($($key:ident $min:literal..=$max:literal $permission:ident x $factor:literal;)*) => {
        /// Everything that is served, by number.
        pub const SERVED: &[ApiSpec] = &[
            $(ApiSpec {
                key: $key,
                version_min: $min,
                version_max: $max,
                permission: Permission::$permission,
                memory_factor: $factor,
            },)*
        ];
    };
}

apis! {
    PRODUCE 3..=13 WriteTopic x 1;
    FETCH 4..=18 ReadTopic x 16;
    LIST_OFFSETS 1..=10 DescribeTopic x 64;
    METADATA 0..=13 DescribeTopic x 40;
    OFFSET_COMMIT 2..=10 ReadGroup x 64;
    OFFSET_FETCH 1..=10 DescribeGroup x 64;
    FIND_COORDINATOR 0..=6 DescribeGroup x 64;
    JOIN_GROUP 0..=9 ReadGroup x 32;
    HEARTBEAT 0..=4 ReadGroup x 4;
    LEAVE_GROUP 0..=5 ReadGroup x 64;
    SYNC_GROUP 0..=5 ReadGroup x 32;
    DESCRIBE_GROUPS 0..=6 DescribeGroup x 64;
    LIST_GROUPS 0..=5 DescribeGroup x 48;
    API_VERSIONS 0..=4 Nothing x 4;
    CREATE_TOPICS 2..=7 CreateTopic x 64;
    DELETE_TOPICS 1..=6 DeleteTopic x 40;
    DELETE_RECORDS 0..=2 DeleteTopic x 32;
    INIT_PRODUCER_ID 0..=5 WriteIdempotently x 4;
    OFFSET_FOR_LEADER_EPOCH 2..=4 DescribeTopic x 64;
    ADD_PARTITIONS_TO_TXN 0..=5 WriteTransactionalId x 64;
    ADD_OFFSETS_TO_TXN 0..=4 WriteTransactionalId x 4;
    END_TXN 0..=5 WriteTransactionalId x 4;
    WRITE_TXN_MARKERS 1..=1 ActOnCluster x 64;
    TXN_OFFSET_COMMIT 0..=5 WriteTransactionalId x 64;
    DESCRIBE_CONFIGS 1..=4 DescribeConfigs x 40;
    ALTER_CONFIGS 0..=2 AlterConfigs x 32;
    DESCRIBE_LOG_DIRS 1..=4 DescribeCluster x 48;
    CREATE_PARTITIONS 0..=3 AlterTopic x 40;
    DELETE_GROUPS 0..=2 DeleteGroup x 64;
    ELECT_LEADERS 0..=2 AlterCluster x 96;
    INCREMENTAL_ALTER_CONFIGS 0..=1 AlterConfigs x 32;
    ALTER_PARTITION_REASSIGNMENTS 0..=1 AlterCluster x 96;
    LIST_PARTITION_REASSIGNMENTS 0..=0 DescribeCluster x 64;
    OFFSET_DELETE 0..=0 DeleteGroup x 64;
    DESCRIBE_QUORUM 0..=2 DescribeCluster x 64;
    UPDATE_FEATURES 0..=2 AlterCluster x 48;
    DESCRIBE_CLUSTER 0..=2 DescribeCluster x 4;
    DESCRIBE_PRODUCERS 0..=0 ReadTopic x 64;
    DESCRIBE_TRANSACTIONS 0..=0 DescribeTransactionalId x 256;
    LIST_TRANSACTIONS 0..=2 DescribeTransactionalId x 64;
    CONSUMER_GROUP_HEARTBEAT 0..=1 ReadGroup x 64;
    CONSUMER_GROUP_DESCRIBE 0..=1 DescribeGroup x 64;
    GET_TELEMETRY_SUBSCRIPTIONS 0..=0 Nothing x 4;
    PUSH_TELEMETRY 0..=0 Nothing x 1;
    LIST_CONFIG_RESOURCES 0..=1 DescribeClusterConfigs x 4;
    DESCRIBE_TOPIC_PARTITIONS 0..=0 DescribeTopic x 64;
    SHARE_GROUP_HEARTBEAT 1..=1 ReadGroup x 64;
    SHARE_GROUP_DESCRIBE 1..=1 DescribeGroup x 64;
    SHARE_FETCH 1..=1 ReadGroup x 64;
    SHARE_ACKNOWLEDGE 1..=1 ReadGroup x 64;
    INITIALIZE_SHARE_GROUP_STATE 0..=0 ActOnCluster x 64;
    READ_SHARE_GROUP_STATE 0..=0 ActOnCluster x 64;
    WRITE_SHARE_GROUP_STATE 0..=0 ActOnCluster x 64;
    DELETE_SHARE_GROUP_STATE 0..=0 ActOnCluster x 64;
    READ_SHARE_GROUP_STATE_SUMMARY 0..=0 ActOnCluster x 64;
    DESCRIBE_SHARE_GROUP_OFFSETS 0..=0 DescribeGroup x 64;
    ALTER_SHARE_GROUP_OFFSETS 0..=0 ReadGroup x 64;
    DELETE_SHARE_GROUP_OFFSETS 0..=0 DeleteGroup x 64;
}

/// [`SERVED`], as the wire looks it up.
pub struct Served {
    supported: Supported,
}

impl Default for Served {
    fn default() -> Served {
        Served::new()
    }
}

impl Served {
    /// From the table.
    pub fn new() -> Served {
        let list: Vec<_> = SERVED.iter().map(|spec| (spec.key, spec.version_min, spec.version_max)).collect();
        Served { supported: Supported::new(&list) }
    }

    /// For ApiVersions.
    pub fn supported(&self) -> &Supported {
        &self.supported
    }
}

/// The kind of a request that may be read. ApiVersions may be of any version: it is answered with what there is.
///
/// # Errors
/// [`WireError::UnknownApiKey`] and [`WireError::UnsupportedVersion`]: the connection closes, as Kafka's does.
pub fn spec_of(head: RequestHead) -> Result<&'static ApiSpec, WireError> {
    let (api_key, api_version) = (head.api_key, head.api_version);
    let spec = SERVED.iter().find(|spec| spec.key == api_key).ok_or(WireError::UnknownApiKey { api_key })?;
    let served = (spec.version_min..=spec.version_max).contains(&api_version);
    if served || api_key == API_VERSIONS {
        return Ok(spec);
    }
    Err(WireError::UnsupportedVersion { api_key, api_version })
}

/// What a handler knows of its request, besides the body.
pub struct RequestContext {
    /// The shard of the connection.
    pub shard: Rc<Shard>,
    /// The kind.
    pub spec: &'static ApiSpec,
    /// Kind, version and correlation id.
    pub head: RequestHead,
    /// The client's name for itself.
    pub client_id: Option<ClientId>,
    /// When it began.
    pub begun: MonoTime,
    /// Its connection, and its place there.
    pub connection: Rc<Connection>,
    /// Its place among the connection's open requests.
    pub ticket: Ticket,
}

impl RequestContext {
    /// Of a request that begins now.
    pub fn new(
        connection: Rc<Connection>,
        ticket: Ticket,
        spec: &'static ApiSpec,
        frame: &RequestFrame,
    ) -> RequestContext {
        let shard = connection.shard().clone();
        let begun = shard.rt.now();
        let (head, client_id) = (frame.head, frame.client_id.clone());
        RequestContext { shard, spec, head, client_id, begun, connection, ticket }
    }

    /// Times a stage of it.
    fn time(&self, note: impl FnOnce(&mut Stages)) {
        self.connection.time(self.ticket, note);
    }

    /// Waits for `future`. If that takes any time, it was spent in `waiting`, and what went before in `before`.
    async fn wait_in<F: Future>(&self, before: Stage, waiting: Stage, future: F) -> F::Output {
        let mut future = pin!(future);
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return output;
        }
        self.time(|stages| stages.until(before, self.shard.rt.now()));
        let output = future.await;
        self.time(|stages| stages.until(waiting, self.shard.rt.now()));
        output
    }

    fn version(&self) -> i16 {
        self.head.api_version
    }

    /// The listener that the client came to: it is told where this one's others are.
    fn listener(&self) -> &str {
        let place = self.connection.seat().listener();
        self.shard.options.listeners.get(place).map_or("", |listener| &listener.name)
    }

    /// Counts an error code in the answer.
    fn count_error(&self, code: ErrorCode) {
        if !code.is_none() {
            self.shard.metrics.request_error(self.head.api_key, code);
        }
    }

    /// The same for the number of a code that a coordinator answered.
    fn count_code(&self, code: i16) {
        self.count_error(ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError));
    }

    #[inline]
    fn panic_if(&self, mutant: Mutant) {
        panic_if(mutant, self.client_id.as_ref().map_or(&[], ClientId::as_bytes));
    }

    fn decode<T: Decodable>(&self, body: Bytes) -> Result<T, WireError> {
        let decoded_bytes_max = self.spec.decoded_bytes_max(body.len());
        codec::decode_body(self.head.api_key, self.head.api_version, body, decoded_bytes_max)
    }

    /// Bytes of heap that the decoded form of a body may take.
    fn decoded_bytes_max(&self, body: &Bytes) -> u64 {
        self.spec.decoded_bytes_max(body.len())
    }

    fn answer<T: Encodable + HeaderVersion>(&self, response: &T) -> Result<Answer, WireError> {
        self.panic_if(Mutant::PanicInAnswer);
        self.send(codec::encode_response(self.head.correlation_id, self.head.api_version, response)?)
    }

    fn send(&self, frame: Bytes) -> Result<Answer, WireError> {
        Ok(Answer::Frame(VecDeque::from([frame])))
    }
}

/// Begins a request. What it appends, and which fetch session it continues, is settled in the order of these calls;
/// the rest is left to what is returned.
///
/// # Errors
/// [`WireError`] for a body that cannot be understood: the connection closes.
pub async fn begin(context: RequestContext, body: Bytes) -> Result<Later, WireError> {
    context.panic_if(Mutant::PanicInDecoding);
    Ok(match context.head.api_key {
        PRODUCE => produce::begin(context, body).await?,
        FETCH => fetch::begin(context, body)?,
        LIST_OFFSETS => Box::pin(list_offsets::serve(context, body)),
        METADATA => Box::pin(metadata::serve(context, body)),
        OFFSET_COMMIT => offset_commit::begin(context, body).await?,
        OFFSET_FETCH => offset_fetch::begin(context, body).await?,
        FIND_COORDINATOR => Box::pin(find_coordinator::serve(context, body)),
        JOIN_GROUP => join_group::begin(context, body).await?,
        HEARTBEAT => heartbeat::begin(context, body).await?,
        LEAVE_GROUP => leave_group::begin(context, body).await?,
        SYNC_GROUP => sync_group::begin(context, body).await?,
        DESCRIBE_GROUPS => Box::pin(describe_groups::serve(context, body)),
        LIST_GROUPS => Box::pin(list_groups::serve(context, body)),
        API_VERSIONS => done(api_versions::serve(&context, body)),
        CREATE_TOPICS => Box::pin(create_topics::serve(context, body)),
        DELETE_TOPICS => Box::pin(delete_topics::serve(context, body)),
        DELETE_RECORDS => Box::pin(delete_records::serve(context, body)),
        INIT_PRODUCER_ID => Box::pin(init_producer_id::serve(context, body)),
        OFFSET_FOR_LEADER_EPOCH => Box::pin(offset_for_leader_epoch::serve(context, body)),
        ADD_PARTITIONS_TO_TXN => Box::pin(add_partitions_to_txn::serve(context, body)),
        ADD_OFFSETS_TO_TXN => Box::pin(add_offsets_to_txn::serve(context, body)),
        END_TXN => Box::pin(end_txn::serve(context, body)),
        WRITE_TXN_MARKERS => Box::pin(write_txn_markers::serve(context, body)),
        TXN_OFFSET_COMMIT => Box::pin(txn_offset_commit::serve(context, body)),
        DESCRIBE_CONFIGS => done(describe_configs::serve(&context, body)),
        ALTER_CONFIGS => Box::pin(alter_configs::serve(context, body)),
        DESCRIBE_LOG_DIRS => Box::pin(describe_log_dirs::serve(context, body)),
        CREATE_PARTITIONS => Box::pin(create_partitions::serve(context, body)),
        DELETE_GROUPS => Box::pin(delete_groups::serve(context, body)),
        OFFSET_DELETE => offset_delete::begin(context, body).await?,
        ELECT_LEADERS => Box::pin(elect_leaders::serve(context, body)),
        INCREMENTAL_ALTER_CONFIGS => Box::pin(incremental_alter_configs::serve(context, body)),
        ALTER_PARTITION_REASSIGNMENTS => Box::pin(alter_partition_reassignments::serve(context, body)),
        LIST_PARTITION_REASSIGNMENTS => done(list_partition_reassignments::serve(&context, body)),
        DESCRIBE_QUORUM => Box::pin(describe_quorum::serve(context, body)),
        UPDATE_FEATURES => Box::pin(update_features::serve(context, body)),
        DESCRIBE_CLUSTER => done(describe_cluster::serve(&context, body)),
        DESCRIBE_PRODUCERS => Box::pin(describe_producers::serve(context, body)),
        DESCRIBE_TRANSACTIONS => Box::pin(describe_transactions::serve(context, body)),
        LIST_TRANSACTIONS => Box::pin(list_transactions::serve(context, body)),
        CONSUMER_GROUP_HEARTBEAT => consumer_group_heartbeat::begin(context, body).await?,
        CONSUMER_GROUP_DESCRIBE => Box::pin(consumer_group_describe::serve(context, body)),
        GET_TELEMETRY_SUBSCRIPTIONS => done(get_telemetry_subscriptions::serve(&context, body)),
        PUSH_TELEMETRY => done(push_telemetry::serve(&context, body)),
        LIST_CONFIG_RESOURCES => done(list_config_resources::serve(&context, body)),
        DESCRIBE_TOPIC_PARTITIONS => done(describe_topic_partitions::serve(&context, body)),
        SHARE_GROUP_HEARTBEAT => Box::pin(share_group_heartbeat::serve(context, body)),
        SHARE_GROUP_DESCRIBE => Box::pin(share_group_describe::serve(context, body)),
        SHARE_FETCH => share_fetch::begin(context, body)?,
        SHARE_ACKNOWLEDGE => share_acknowledge::begin(context, body)?,
        INITIALIZE_SHARE_GROUP_STATE => Box::pin(share_group_states::initialize(context, body)),
        READ_SHARE_GROUP_STATE => Box::pin(share_group_states::read(context, body)),
        WRITE_SHARE_GROUP_STATE => Box::pin(share_group_states::write(context, body)),
        DELETE_SHARE_GROUP_STATE => Box::pin(share_group_states::delete(context, body)),
        READ_SHARE_GROUP_STATE_SUMMARY => Box::pin(share_group_states::read_summary(context, body)),
        DESCRIBE_SHARE_GROUP_OFFSETS => Box::pin(share_group_offsets::describe(context, body)),
        ALTER_SHARE_GROUP_OFFSETS => Box::pin(share_group_offsets::alter(context, body)),
        DELETE_SHARE_GROUP_OFFSETS => Box::pin(share_group_offsets::delete(context, body)),
        api_key => return Err(WireError::UnknownApiKey { api_key }),
    })
}

/// A request that waited for nothing.
fn done(outcome: Result<Answer, WireError>) -> Later {
    Box::pin(std::future::ready(outcome))
}

/// Text of ours for a response.
fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(api_key: i16, api_version: i16) -> RequestHead {
        RequestHead { api_key, api_version, correlation_id: 1 }
    }

    #[test]
    fn everything_served_can_be_decoded_and_is_listed_once() {
        assert_eq!(Served::new().supported().apis().len(), SERVED.len());
        assert!(SERVED.windows(2).all(|pair| pair[0].key < pair[1].key));
    }

    #[test]
    fn every_version_that_the_codec_has_is_served() {
        for spec in SERVED {
            let versions = spec.api().versions().expect("served");
            assert_eq!(
                (spec.version_min, spec.version_max),
                (versions.min, versions.max),
                "{}",
                spec.api().name
            );
        }
    }

    #[test]
    fn unknown_kinds_and_versions_are_refused_but_any_api_versions_is_read() {
        assert!(matches!(spec_of(head(17, 1)), Err(WireError::UnknownApiKey { api_key: 17 })));
        assert!(matches!(spec_of(head(-1, 0)), Err(WireError::UnknownApiKey { .. })));
        assert!(matches!(spec_of(head(PRODUCE, 2)), Err(WireError::UnsupportedVersion { .. })));
        assert!(spec_of(head(API_VERSIONS, 99)).is_ok());
    }

    #[test]
    fn the_densest_body_of_a_kind_is_charged_for() {
        // Produce and fetch requests are charged for what clients send: the first is records, and the second is held while it waits.
        for spec in SERVED.iter().filter(|spec| !matches!(spec.key, PRODUCE | FETCH)) {
            let growth_max = hayate_net::wire::guard::growth_max(spec.key).expect("served");
            // What does not grow is a slice of its frame.
            let covered = growth_max == 1 || spec.memory_factor as u64 > growth_max;
            assert!(covered, "{} may grow {growth_max}-fold", spec.api().name);
        }
    }

    #[test]
    fn the_densest_fetch_that_a_client_sends_is_read() {
        use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
        use kafka_protocol::messages::{FetchRequest, TopicName};
        let spec = SERVED.iter().find(|spec| spec.key == FETCH).expect("served");
        let name = || TopicName(text("t"));
        let fetched =
            |_| FetchTopic::default().with_topic(name()).with_partitions(vec![FetchPartition::default()]);
        let forgotten = |_| ForgottenTopic::default().with_topic(name()).with_partitions(vec![0]);
        for (version, count) in (7..=12).flat_map(|version| [1, 10, 1000].map(|count| (version, count))) {
            for of_each in [(count, 0), (0, count), (count, count)] {
                let request = FetchRequest::default()
                    .with_topics((0..of_each.0).map(fetched).collect())
                    .with_forgotten_topics_data((0..of_each.1).map(forgotten).collect());
                let mut body = bytes::BytesMut::new();
                request.encode(&mut body, version).expect("encodable");
                let limit = spec.decoded_bytes_max(body.len());
                let read: Result<FetchRequest, _> = codec::decode_body(FETCH, version, body.freeze(), limit);
                assert!(read.is_ok(), "version {version}, {of_each:?} topics: {read:?}");
            }
        }
    }

    #[test]
    fn memory_is_charged_without_overflow() {
        assert!(SERVED.iter().all(|spec| spec.memory_bytes(usize::MAX) == usize::MAX));
        assert!(SERVED.iter().all(|spec| spec.memory_bytes(0) > 0));
    }
}
