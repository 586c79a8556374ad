//! The table of API keys: for each request kind of Kafka its name, the versions that can be decoded here, its header
//! versions, and how large a frame of it may be. [`Supported`] is the subset that a broker serves, chosen by its builder.
//! Knows nothing of what a request means. Names and numbers are those of Kafka 4.1's `ApiKeys`; the versions come from the
//! decoder's types and ours, because `kafka_protocol`'s own `ApiKey::valid_versions` names some that they lack.

use super::guard;
use crate::error::WireError;
use crate::frame::RequestHeaderVersion;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// The peer has yet to say who it is.
    Pending,
    /// The peer is known, or the listener asks for nothing.
    Done,
}

/// How large frames of a kind may be: dense valid bodies grow up to forty-fold when decoded, so what needs no room
/// gets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameClass {
    /// Precedes authentication and carries names only.
    Handshake,
    /// Precedes authentication and carries a token: Kafka's `sasl.server.max.receive.size`.
    Token,
    /// Carries a few names or numbers.
    Small,
    /// Carries lists that grow with a cluster's topics, partitions or members.
    Lists,
    /// Carries records.
    Records,
}

impl FrameClass {
    const fn frame_bytes_max(self) -> usize {
        match self {
            FrameClass::Handshake => 16 << 10,
            FrameClass::Token => 512 << 10,
            FrameClass::Small => 1 << 20,
            FrameClass::Lists => 16 << 20,
            FrameClass::Records => i32::MAX as usize,
        }
    }

    const fn decoded_bytes_max(self) -> u64 {
        match self {
            FrameClass::Handshake => 128 << 10,
            FrameClass::Token => 1 << 20,
            FrameClass::Small => 8 << 20,
            FrameClass::Lists | FrameClass::Records => 128 << 20,
        }
    }

    const fn precedes_authentication(self) -> bool {
        match self {
            FrameClass::Handshake | FrameClass::Token => true,
            FrameClass::Small | FrameClass::Lists | FrameClass::Records => false,
        }
    }
}

/// First and last version of something, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub min: i16,
    /// The last.
    pub max: i16,
}

impl Versions {
    /// Whether `version` is one of them.
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

/// A request kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Api {
    /// Its number on the wire.
    pub key: i16,
    /// Kafka's name for it.
    pub name: &'static str,
    frame_class: FrameClass,
}

impl Api {
    /// The versions that can be decoded here; `None` for a kind that Kafka 4 has dropped or the decoder lacks.
    pub fn versions(&self) -> Option<Versions> {
        guard::request_versions(self.key)
    }

    /// The first flexible version (KIP-482), if the kind has one and can be decoded here.
    pub fn flexible_since(&self) -> Option<i16> {
        guard::request_flexible_since(self.key)
    }

    fn is_flexible(&self, version: i16) -> bool {
        self.flexible_since().is_some_and(|since| version >= since)
    }

    /// The header version of a request of this kind.
    pub fn request_header_version(&self, version: i16) -> RequestHeaderVersion {
        if self.key == CONTROLLED_SHUTDOWN && version == 0 {
            RequestHeaderVersion::V0
        } else if self.is_flexible(version) {
            RequestHeaderVersion::V2
        } else {
            RequestHeaderVersion::V1
        }
    }

    /// The header version of a response of this kind, 0 or 1. That of ApiVersions is always 0, because a client that
    /// reads it may not know the version that the broker answers in (KIP-511).
    pub fn response_header_version(&self, version: i16) -> i16 {
        i16::from(self.key != API_VERSIONS && self.is_flexible(version))
    }

    /// Bytes that a frame of this kind may have behind its length prefix. `request_bytes_max` is the listener's limit
    /// (Kafka's `socket.request.max.bytes`). `None`: not before authentication.
    pub fn frame_bytes_max(&self, authentication: Authentication, request_bytes_max: usize) -> Option<usize> {
        match authentication {
            Authentication::Pending if !self.frame_class.precedes_authentication() => None,
            Authentication::Pending | Authentication::Done => {
                Some(self.frame_class.frame_bytes_max().min(request_bytes_max))
            }
        }
    }

    /// Heap bytes that the decoded form of one request of this kind may take.
    pub fn decoded_bytes_max(&self) -> u64 {
        self.frame_class.decoded_bytes_max()
    }
}

/// The request kind with this number, if Kafka has one.
pub fn api(api_key: i16) -> Option<&'static Api> {
    APIS.get(usize::try_from(api_key).ok()?)
}

/// Number of ApiVersions, whose answers have rules of their own.
pub const API_VERSIONS: i16 = 18;
const PRODUCE: i16 = 0;
const CONTROLLED_SHUTDOWN: i16 = 7;

macro_rules! apis {
    ($($key:literal $name:ident $class:ident;)*) => {
        /// Every request kind of Kafka, at the index of its number.
        pub const APIS: &[Api] = &[
            $(Api { key: $key, name: stringify!($name), frame_class: FrameClass::$class },)*
        ];
    };
}

apis! {
    0 Produce Records;
    1 Fetch Lists;
    2 ListOffsets Lists;
    3 Metadata Lists;
    4 LeaderAndIsr Small;
    5 StopReplica Small;
    6 UpdateMetadata Small;
    7 ControlledShutdown Small;
    8 OffsetCommit Lists;
    9 OffsetFetch Lists;
    10 FindCoordinator Lists;
    11 JoinGroup Lists;
    12 Heartbeat Small;
    13 LeaveGroup Small;
    14 SyncGroup Lists;
    15 DescribeGroups Lists;
    16 ListGroups Small;
    17 SaslHandshake Handshake;
    18 ApiVersions Handshake;
    19 CreateTopics Lists;
    20 DeleteTopics Lists;
    21 DeleteRecords Lists;
    22 InitProducerId Small;
    23 OffsetForLeaderEpoch Lists;
    24 AddPartitionsToTxn Lists;
    25 AddOffsetsToTxn Small;
    26 EndTxn Small;
    27 WriteTxnMarkers Lists;
    28 TxnOffsetCommit Lists;
    29 DescribeAcls Small;
    30 CreateAcls Lists;
    31 DeleteAcls Lists;
    32 DescribeConfigs Lists;
    33 AlterConfigs Lists;
    34 AlterReplicaLogDirs Lists;
    35 DescribeLogDirs Small;
    36 SaslAuthenticate Token;
    37 CreatePartitions Lists;
    38 CreateDelegationToken Small;
    39 RenewDelegationToken Small;
    40 ExpireDelegationToken Small;
    41 DescribeDelegationToken Small;
    42 DeleteGroups Lists;
    43 ElectLeaders Lists;
    44 IncrementalAlterConfigs Lists;
    45 AlterPartitionReassignments Lists;
    46 ListPartitionReassignments Lists;
    47 OffsetDelete Lists;
    48 DescribeClientQuotas Small;
    49 AlterClientQuotas Small;
    50 DescribeUserScramCredentials Small;
    51 AlterUserScramCredentials Small;
    52 Vote Small;
    53 BeginQuorumEpoch Small;
    54 EndQuorumEpoch Small;
    55 DescribeQuorum Small;
    56 AlterPartition Lists;
    57 UpdateFeatures Small;
    58 Envelope Lists;
    59 FetchSnapshot Small;
    60 DescribeCluster Small;
    61 DescribeProducers Small;
    62 BrokerRegistration Lists;
    63 BrokerHeartbeat Small;
    64 UnregisterBroker Small;
    65 DescribeTransactions Small;
    66 ListTransactions Small;
    67 AllocateProducerIds Small;
    68 ConsumerGroupHeartbeat Lists;
    69 ConsumerGroupDescribe Small;
    70 ControllerRegistration Small;
    71 GetTelemetrySubscriptions Small;
    72 PushTelemetry Lists;
    73 AssignReplicasToDirs Lists;
    74 ListConfigResources Small;
    75 DescribeTopicPartitions Small;
    76 ShareGroupHeartbeat Small;
    77 ShareGroupDescribe Small;
    78 ShareFetch Lists;
    79 ShareAcknowledge Lists;
    80 AddRaftVoter Small;
    81 RemoveRaftVoter Small;
    82 UpdateRaftVoter Small;
    83 InitializeShareGroupState Lists;
    84 ReadShareGroupState Lists;
    85 WriteShareGroupState Lists;
    86 DeleteShareGroupState Lists;
    87 ReadShareGroupStateSummary Lists;
    88 StreamsGroupHeartbeat Small;
    89 StreamsGroupDescribe Small;
    90 DescribeShareGroupOffsets Lists;
    91 AlterShareGroupOffsets Lists;
    92 DeleteShareGroupOffsets Lists;
}

/// One served request kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportedApi {
    /// Its number.
    pub api_key: i16,
    /// The versions that are served.
    pub versions: Versions,
}

/// The request kinds that a broker serves, and in which versions. Whatever is not in it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supported {
    apis: Vec<SupportedApi>,
}

impl Supported {
    /// Gathers `(api key, first version, last version)`.
    ///
    /// # Panics
    /// When a key appears twice or a version cannot be decoded here: the list is the broker's own.
    pub fn new(served: &[(i16, i16, i16)]) -> Self {
        let mut apis: Vec<SupportedApi> =
            served.iter().map(|(key, min, max)| supported_api(*key, *min, *max)).collect();
        apis.sort_by_key(|api| api.api_key);
        assert!(apis.windows(2).all(|pair| pair[0].api_key < pair[1].api_key), "an API key is listed twice");
        Self { apis }
    }

    /// Every served kind, by ascending number.
    pub fn apis(&self) -> &[SupportedApi] {
        &self.apis
    }

    /// The served versions of a kind, `None` when it is not served.
    pub fn versions(&self, api_key: i16) -> Option<Versions> {
        let index = self.apis.binary_search_by_key(&api_key, |api| api.api_key).ok()?;
        Some(self.apis[index].versions)
    }

    /// Whether a request is served; if not, the connection is to be closed, except that ApiVersions is answered
    /// ([`super::api_versions::unsupported_version_response`]).
    ///
    /// # Errors
    /// [`WireError::UnknownApiKey`] and [`WireError::UnsupportedVersion`].
    pub fn admit(&self, api_key: i16, api_version: i16) -> Result<(), WireError> {
        match self.versions(api_key) {
            None => Err(WireError::UnknownApiKey { api_key }),
            Some(versions) if versions.contains(api_version) => Ok(()),
            Some(_) => Err(WireError::UnsupportedVersion { api_key, api_version }),
        }
    }

    /// What ApiVersions announces: the served versions, except that Produce is announced from version 0. librdkafka
    /// takes a broker without it for one of before Kafka 0.10 (KAFKA-18659).
    pub fn announced(&self) -> impl Iterator<Item = SupportedApi> + '_ {
        self.apis.iter().map(|api| match api.api_key {
            PRODUCE => SupportedApi { versions: Versions { min: 0, ..api.versions }, ..*api },
            _ => *api,
        })
    }
}

fn supported_api(api_key: i16, min: i16, max: i16) -> SupportedApi {
    let decodable = api(api_key).and_then(Api::versions).expect("a served kind can be decoded");
    assert!(min <= max && decodable.contains(min) && decodable.contains(max), "key {api_key}: {min}..={max}");
    SupportedApi { api_key, versions: Versions { min, max } }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiKey;

    use super::{API_VERSIONS, APIS, Authentication, Supported, Versions, api};
    use crate::error::WireError;
    use crate::frame::RequestHeaderVersion;

    #[test]
    fn every_kind_of_kafka_stands_at_its_number() {
        assert_eq!(APIS.len(), 93);
        assert!(APIS.iter().enumerate().all(|(index, api)| api.key as usize == index));
        assert_eq!(APIS.iter().filter(|api| api.versions().is_some()).count(), 87);
        assert_eq!(api(-1), None);
        assert_eq!(api(93), None);
    }

    #[test]
    fn names_and_header_versions_are_those_of_the_decoder() {
        for (key, versions) in APIS.iter().filter_map(|api| Some((api.key, api.versions()?))) {
            let (ours, theirs) = (api(key).expect("in the table"), ApiKey::try_from(key).expect("decodable"));
            assert_eq!(ours.name, format!("{theirs:?}"));
            for version in versions.min..=versions.max {
                let header = match ours.request_header_version(version) {
                    RequestHeaderVersion::V0 => 0,
                    RequestHeaderVersion::V1 => 1,
                    RequestHeaderVersion::V2 => 2,
                };
                assert_eq!(header, theirs.request_header_version(version), "{} v{version}", ours.name);
                assert_eq!(
                    ours.response_header_version(version),
                    theirs.response_header_version(version),
                    "{} v{version}",
                    ours.name
                );
            }
        }
    }

    #[test]
    fn versions_are_those_of_the_types() {
        let range = |key| api(key).and_then(super::Api::versions);
        assert_eq!(range(0), Some(Versions { min: 3, max: 13 }));
        assert_eq!(range(8), Some(Versions { min: 2, max: 10 }));
        assert_eq!(range(22), Some(Versions { min: 0, max: 5 }));
        assert_eq!(range(4), None);
        assert_eq!(range(88), None);
        assert_eq!(api(7).map(|api| api.request_header_version(0)), Some(RequestHeaderVersion::V0));
    }

    #[test]
    fn before_authentication_only_its_own_requests_have_room() {
        let open: Vec<i16> = APIS
            .iter()
            .filter(|api| api.frame_bytes_max(Authentication::Pending, 100 << 20).is_some())
            .map(|api| api.key)
            .collect();
        assert_eq!(open, [17, 18, 36]);
        let produce = api(0).expect("known");
        assert_eq!(produce.frame_bytes_max(Authentication::Done, 100 << 20), Some(100 << 20));
        assert_eq!(api(3).and_then(|api| api.frame_bytes_max(Authentication::Done, 1000)), Some(1000));
    }

    #[test]
    fn what_is_not_served_is_not_admitted() {
        let supported = Supported::new(&[(18, 0, 4), (0, 3, 13)]);
        assert!(supported.admit(0, 3).is_ok());
        assert!(matches!(supported.admit(0, 2), Err(WireError::UnsupportedVersion { .. })));
        assert!(matches!(supported.admit(API_VERSIONS, 5), Err(WireError::UnsupportedVersion { .. })));
        assert!(matches!(supported.admit(1, 4), Err(WireError::UnknownApiKey { .. })));
        assert!(matches!(supported.admit(-1, 0), Err(WireError::UnknownApiKey { .. })));
        let announced: Vec<_> =
            supported.announced().map(|api| (api.api_key, api.versions.min, api.versions.max)).collect();
        assert_eq!(announced, [(0, 0, 13), (18, 0, 4)]);
    }

    #[test]
    #[should_panic(expected = "key 0: 2..=13")]
    fn versions_that_cannot_be_decoded_cannot_be_served() {
        Supported::new(&[(0, 2, 13)]);
    }
}
