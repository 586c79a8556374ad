//! Our own produce and fetch bodies against the crate's: parsed alike, encoded to the same bytes in every version, and
//! records neither copied on their way in nor on their way out.

use bytes::{BufMut, Bytes, BytesMut};
use hayate_net::error::{ErrorCode, WireError};
use hayate_net::wire::fetch::{
    self, AbortedTransaction, EpochEnd, FetchResponse, FetchedPartition, FetchedTopic,
};
use hayate_net::wire::guard::{GuardFault, sample};
use hayate_net::wire::produce::{
    self, LeaderHint, NodeEndpoint, PartitionOutcome, ProduceResponse, RecordError, TopicOutcome,
};
use hayate_net::wire::topic::TopicRef;
use kafka_protocol::messages::{self, BrokerId, ProducerId, TopicName, fetch_response, produce_response};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use uuid::Uuid;

const SEEDS: u64 = 200;
const NO_LIMIT: u64 = u64::MAX;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    fn i32(&mut self) -> i32 {
        self.below(1 << 31) as i32 - (1 << 30)
    }

    fn i64(&mut self) -> i64 {
        i64::from(self.i32()) << self.below(31)
    }

    fn text(&mut self) -> String {
        // Long enough now and then for a length of two varint bytes.
        let length = if self.below(8) == 0 { 200 } else { self.below(12) };
        (0..length).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    fn option<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flip().then(|| value(self))
    }

    fn list<T>(&mut self, value: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| value(self)).collect()
    }

    fn error(&mut self) -> ErrorCode {
        ErrorCode::ALL[self.below(ErrorCode::ALL.len() as u32) as usize]
    }

    fn topic(&mut self, by_id: bool) -> TopicRef {
        if by_id {
            TopicRef::Id(Uuid::from_u128(u128::from(self.0)))
        } else {
            TopicRef::Name(StrBytes::from_string(self.text()))
        }
    }

    fn leader(&mut self) -> LeaderHint {
        LeaderHint { leader_id: self.i32(), leader_epoch: self.i32() }
    }

    fn endpoint(&mut self) -> NodeEndpoint {
        NodeEndpoint {
            node_id: self.i32(),
            host: self.text(),
            port: self.i32(),
            rack: self.option(Dice::text),
        }
    }
}

fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name_and_id(topic: &TopicRef) -> (TopicName, Uuid) {
    match topic {
        TopicRef::Name(name) => (TopicName(name.clone()), Uuid::nil()),
        TopicRef::Id(id) => (TopicName::default(), *id),
    }
}

/// The frame that the crate would send.
fn crates_frame<T: Encodable + HeaderVersion>(correlation_id: i32, version: i16, response: &T) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    if T::header_version(version) == 1 {
        frame.put_u8(0);
    }
    response.encode(&mut frame, version).expect("encodable by the crate");
    let length = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}

fn sample_body(api_key: i16, version: i16, seed: u64) -> Bytes {
    let mut dice = Dice(seed);
    sample::request_body(api_key, version, &mut |bound| dice.below(bound))
        .expect("a decodable version")
        .into()
}

#[test]
fn produce_requests_are_parsed_as_the_crate_parses_them() {
    for version in produce::VERSION_MIN..=produce::VERSION_MAX {
        for seed in 0..SEEDS {
            let body = sample_body(0, version, seed);
            let ours = produce::parse(version, &body, NO_LIMIT).expect("valid");
            let theirs = messages::ProduceRequest::decode(&mut body.clone(), version).expect("valid");
            assert_eq!(ours.transactional_id, theirs.transactional_id.map(|id| id.0));
            assert_eq!((ours.acks, ours.timeout_ms), (theirs.acks, theirs.timeout_ms));
            assert_eq!(ours.topics.len(), theirs.topic_data.len());
            for (ours, theirs) in ours.topics.iter().zip(&theirs.topic_data) {
                assert_eq!(name_and_id(&ours.topic), (theirs.name.clone(), theirs.topic_id));
                let ours: Vec<_> =
                    ours.partitions.iter().map(|part| (part.index, part.records.clone())).collect();
                let theirs: Vec<_> =
                    theirs.partition_data.iter().map(|part| (part.index, part.records.clone())).collect();
                assert_eq!(ours, theirs);
            }
        }
    }
}

#[test]
fn produced_records_are_slices_of_the_frame() {
    for version in produce::VERSION_MIN..=produce::VERSION_MAX {
        for seed in 0..SEEDS {
            let body = sample_body(0, version, seed);
            let request = produce::parse(version, &body, NO_LIMIT).expect("valid");
            let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
            for records in
                partitions.filter_map(|partition| partition.records.as_ref()).filter(|r| !r.is_empty())
            {
                assert!(body.as_ptr_range().contains(&records.as_ptr()), "copied");
            }
        }
    }
}

#[test]
fn produce_requests_cut_anywhere_are_refused_and_bytes_behind_them_are_not_read() {
    for version in produce::VERSION_MIN..=produce::VERSION_MAX {
        for seed in 0..20 {
            let body = sample_body(0, version, seed);
            for length in 0..body.len() {
                assert!(
                    produce::parse(version, &body.slice(..length), NO_LIMIT).is_err(),
                    "v{version} at {length}"
                );
            }
            let longer = Bytes::from([&body[..], &[0]].concat());
            let plain = produce::parse(version, &body, NO_LIMIT).expect("valid");
            assert_eq!(produce::parse(version, &longer, NO_LIMIT).ok(), Some(plain), "v{version}");
        }
    }
}

#[test]
fn produce_counts_are_held_against_the_bytes_that_remain() {
    let refused = |version, bytes: &'static [u8], limit| match produce::parse(
        version,
        &Bytes::from_static(bytes),
        limit,
    ) {
        Err(WireError::Guard(error)) => error.fault,
        other => panic!("{other:?}"),
    };
    let hostile = refused(3, &[0xff, 0xff, 0, 1, 0, 0, 0, 9, 0x7f, 0xff, 0xff, 0xff], NO_LIMIT);
    assert!(matches!(hostile, GuardFault::CountTooLarge { .. }), "{hostile:?}");
    let hostile = refused(9, &[0, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0x0f, 1], NO_LIMIT);
    assert!(matches!(hostile, GuardFault::CountTooLarge { .. }), "{hostile:?}");
    let large = refused(9, &[0, 0, 1, 0, 0, 0, 9, 3, 1, 1, 0, 1, 1, 0, 0], 100);
    assert!(matches!(large, GuardFault::DecodedTooLarge { .. }), "{large:?}");
    let null = refused(9, &[0, 0, 1, 0, 0, 0, 9, 0, 0], NO_LIMIT);
    assert_eq!(null, GuardFault::Null);
}

fn produce_response(dice: &mut Dice, by_id: bool) -> ProduceResponse {
    let partition = |dice: &mut Dice| PartitionOutcome {
        index: dice.i32(),
        error: dice.error(),
        base_offset: dice.i64(),
        log_append_time_ms: dice.i64(),
        log_start_offset: dice.i64(),
        record_errors: dice
            .list(|dice| RecordError { batch_index: dice.i32(), message: dice.option(Dice::text) }),
        error_message: dice.option(Dice::text),
        current_leader: dice.option(Dice::leader),
    };
    ProduceResponse {
        topics: dice.list(|dice| TopicOutcome { topic: dice.topic(by_id), partitions: dice.list(partition) }),
        throttle_time_ms: dice.i32(),
        node_endpoints: dice.list(Dice::endpoint),
    }
}

fn crates_produce_response(ours: &ProduceResponse) -> messages::ProduceResponse {
    let partition = |ours: &PartitionOutcome| {
        let errors = ours.record_errors.iter().map(|error| {
            produce_response::BatchIndexAndErrorMessage::default()
                .with_batch_index(error.batch_index)
                .with_batch_index_error_message(error.message.as_deref().map(str_bytes))
        });
        let leader = ours.current_leader.map_or_else(Default::default, |leader| {
            produce_response::LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader.leader_id))
                .with_leader_epoch(leader.leader_epoch)
        });
        produce_response::PartitionProduceResponse::default()
            .with_index(ours.index)
            .with_error_code(ours.error.code())
            .with_base_offset(ours.base_offset)
            .with_log_append_time_ms(ours.log_append_time_ms)
            .with_log_start_offset(ours.log_start_offset)
            .with_record_errors(errors.collect())
            .with_error_message(ours.error_message.as_deref().map(str_bytes))
            .with_current_leader(leader)
    };
    let topics = ours.topics.iter().map(|ours| {
        let (name, topic_id) = name_and_id(&ours.topic);
        produce_response::TopicProduceResponse::default()
            .with_name(name)
            .with_topic_id(topic_id)
            .with_partition_responses(ours.partitions.iter().map(partition).collect())
    });
    let endpoints = ours.node_endpoints.iter().map(|ours| {
        produce_response::NodeEndpoint::default()
            .with_node_id(BrokerId(ours.node_id))
            .with_host(str_bytes(&ours.host))
            .with_port(ours.port)
            .with_rack(ours.rack.as_deref().map(str_bytes))
    });
    messages::ProduceResponse::default()
        .with_responses(topics.collect())
        .with_throttle_time_ms(ours.throttle_time_ms)
        .with_node_endpoints(endpoints.collect())
}

#[test]
fn produce_responses_are_the_crates_bytes() {
    for version in produce::VERSION_MIN..=produce::VERSION_MAX {
        for seed in 0..SEEDS {
            let response = produce_response(&mut Dice(seed), version >= 13);
            let ours = produce::encode_response(seed as i32, version, &response).expect("encodable");
            let theirs = crates_frame(seed as i32, version, &crates_produce_response(&response));
            assert_eq!(ours, theirs, "v{version} seed {seed}");
        }
    }
}

#[test]
fn a_produce_response_that_its_version_cannot_carry_is_refused() {
    let named = |topic| ProduceResponse {
        topics: vec![TopicOutcome {
            topic,
            partitions: vec![PartitionOutcome::failed(0, ErrorCode::UnknownTopicOrPartition)],
        }],
        ..ProduceResponse::default()
    };
    let by_name = named(TopicRef::Name(str_bytes("t")));
    let by_id = named(TopicRef::Id(Uuid::from_u128(1)));
    assert!(matches!(produce::encode_response(1, 13, &by_name), Err(WireError::Unencodable { .. })));
    assert!(matches!(produce::encode_response(1, 12, &by_id), Err(WireError::Unencodable { .. })));
    assert!(matches!(produce::encode_response(1, 2, &by_name), Err(WireError::UnsupportedVersion { .. })));
    let long = named(TopicRef::Name(StrBytes::from_string("x".repeat(40_000))));
    assert!(matches!(produce::encode_response(1, 3, &long), Err(WireError::Unencodable { .. })));
}

fn fetch_response(dice: &mut Dice, version: i16) -> FetchResponse {
    let partition = |dice: &mut Dice| FetchedPartition {
        index: dice.i32(),
        error: dice.error(),
        high_watermark: dice.i64(),
        last_stable_offset: dice.i64(),
        log_start_offset: dice.i64(),
        diverging_epoch: dice.option(|dice| EpochEnd { epoch: dice.i32(), end_offset: dice.i64() }),
        current_leader: dice.option(Dice::leader),
        snapshot_id: dice.option(|dice| EpochEnd { epoch: dice.i32(), end_offset: dice.i64() }),
        aborted_transactions: dice.option(|dice| {
            dice.list(|dice| AbortedTransaction { producer_id: dice.i64(), first_offset: dice.i64() })
        }),
        preferred_read_replica: if version >= 11 { dice.i32() } else { -1 },
        records: dice.list(|dice| Bytes::from(vec![dice.below(256) as u8; dice.below(200) as usize])),
    };
    FetchResponse {
        throttle_time_ms: dice.i32(),
        error: dice.error(),
        session_id: if version >= 7 { dice.i32() } else { 0 },
        topics: dice
            .list(|dice| FetchedTopic { topic: dice.topic(version >= 13), partitions: dice.list(partition) }),
        node_endpoints: dice.list(Dice::endpoint),
    }
}

fn crates_fetched_partition(ours: &FetchedPartition) -> fetch_response::PartitionData {
    let diverging_epoch = ours.diverging_epoch.map_or_else(Default::default, |end| {
        fetch_response::EpochEndOffset::default().with_epoch(end.epoch).with_end_offset(end.end_offset)
    });
    let leader = ours.current_leader.map_or_else(Default::default, |leader| {
        fetch_response::LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(leader.leader_id))
            .with_leader_epoch(leader.leader_epoch)
    });
    let snapshot_id = ours.snapshot_id.map_or_else(Default::default, |end| {
        fetch_response::SnapshotId::default().with_epoch(end.epoch).with_end_offset(end.end_offset)
    });
    let aborted = ours.aborted_transactions.as_ref().map(|aborted| {
        let aborted = aborted.iter().map(|transaction| {
            fetch_response::AbortedTransaction::default()
                .with_producer_id(ProducerId(transaction.producer_id))
                .with_first_offset(transaction.first_offset)
        });
        aborted.collect()
    });
    fetch_response::PartitionData::default()
        .with_partition_index(ours.index)
        .with_error_code(ours.error.code())
        .with_high_watermark(ours.high_watermark)
        .with_last_stable_offset(ours.last_stable_offset)
        .with_log_start_offset(ours.log_start_offset)
        .with_diverging_epoch(diverging_epoch)
        .with_current_leader(leader)
        .with_snapshot_id(snapshot_id)
        .with_aborted_transactions(aborted)
        .with_preferred_read_replica(BrokerId(ours.preferred_read_replica))
        .with_records(Some(Bytes::from(ours.records.concat())))
}

fn crates_fetch_response(ours: &FetchResponse) -> messages::FetchResponse {
    let topics = ours.topics.iter().map(|ours| {
        let (name, topic_id) = name_and_id(&ours.topic);
        fetch_response::FetchableTopicResponse::default()
            .with_topic(name)
            .with_topic_id(topic_id)
            .with_partitions(ours.partitions.iter().map(crates_fetched_partition).collect())
    });
    let endpoints = ours.node_endpoints.iter().map(|ours| {
        fetch_response::NodeEndpoint::default()
            .with_node_id(BrokerId(ours.node_id))
            .with_host(str_bytes(&ours.host))
            .with_port(ours.port)
            .with_rack(ours.rack.as_deref().map(str_bytes))
    });
    messages::FetchResponse::default()
        .with_throttle_time_ms(ours.throttle_time_ms)
        .with_error_code(ours.error.code())
        .with_session_id(ours.session_id)
        .with_responses(topics.collect())
        .with_node_endpoints(endpoints.collect())
}

/// What the crate can be given in this version: it refuses some fields below theirs, which ours leave out.
fn carried(mut response: messages::FetchResponse, version: i16) -> messages::FetchResponse {
    if version < 12 {
        for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.diverging_epoch = Default::default();
            partition.current_leader = Default::default();
            partition.snapshot_id = Default::default();
        }
    }
    if version < 16 {
        response.node_endpoints = Vec::new();
    }
    response
}

#[test]
fn fetch_responses_are_the_crates_bytes() {
    for version in fetch::VERSION_MIN..=fetch::VERSION_MAX {
        for seed in 0..SEEDS {
            let response = fetch_response(&mut Dice(seed), version);
            let theirs =
                crates_frame(seed as i32, version, &carried(crates_fetch_response(&response), version));
            let rope = fetch::encode_response(seed as i32, version, response).expect("encodable");
            assert!(rope.iter().all(|piece| !piece.is_empty()));
            assert_eq!(Bytes::from(rope.concat()), theirs, "v{version} seed {seed}");
        }
    }
}

#[test]
fn fetched_records_keep_their_own_memory() {
    for version in fetch::VERSION_MIN..=fetch::VERSION_MAX {
        for seed in 0..SEEDS {
            let response = fetch_response(&mut Dice(seed), version);
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            let given: Vec<_> =
                partitions.flat_map(|partition| &partition.records).filter(|r| !r.is_empty()).collect();
            let given: Vec<_> = given.iter().map(|records| records.as_ptr()).collect();
            let rope = fetch::encode_response(1, version, response).expect("encodable");
            let pieces = rope.iter().map(|piece| piece.as_ptr());
            let found: Vec<_> = pieces.filter(|pointer| given.contains(pointer)).collect();
            assert_eq!(found, given, "v{version} seed {seed}");
        }
    }
}

#[test]
fn what_a_fetch_version_cannot_carry_is_refused() {
    let one = |partition| FetchResponse {
        topics: vec![FetchedTopic { topic: TopicRef::Name(str_bytes("t")), partitions: vec![partition] }],
        ..FetchResponse::default()
    };
    let elsewhere = FetchedPartition { preferred_read_replica: 2, ..FetchedPartition::empty(0) };
    assert!(fetch::encode_response(1, 11, one(elsewhere.clone())).is_ok());
    assert!(matches!(fetch::encode_response(1, 10, one(elsewhere)), Err(WireError::Unencodable { .. })));
    let session = FetchResponse { session_id: 4, ..FetchResponse::default() };
    assert!(matches!(fetch::encode_response(1, 6, session), Err(WireError::Unencodable { .. })));
    let by_name = one(FetchedPartition::failed(0, ErrorCode::UnknownTopicOrPartition));
    assert!(matches!(fetch::encode_response(1, 13, by_name), Err(WireError::Unencodable { .. })));
    assert!(matches!(
        fetch::encode_response(1, 3, FetchResponse::default()),
        Err(WireError::UnsupportedVersion { .. })
    ));
}

#[test]
fn fetch_requests_pass_the_guard_and_the_crate() {
    for version in fetch::VERSION_MIN..=fetch::VERSION_MAX {
        for seed in 0..SEEDS {
            let body = sample_body(1, version, seed);
            let theirs = messages::FetchRequest::decode(&mut body.clone(), version).expect("valid");
            assert_eq!(fetch::parse(version, body, u64::MAX).expect("valid"), theirs);
        }
    }
}
