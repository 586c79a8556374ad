//! What comes over a socket: request frames of every kind and version, and the answers that a client reads. Held against the guard's
//! bound of memory, against the decoder's own encoder, and our produce parser against the decoder's.

use crate::memory::taken;
use crate::targets::{choose, noise};
use bytes::{Buf, Bytes, BytesMut};
use hayate_engine::api::SERVED;
use hayate_net::client::{ClientCore, ClientLimits};
use hayate_net::frame::{LENGTH_BYTES, RequestHead, RequestHeaderVersion, take_frame};
use hayate_net::wire::codec::{decode_request, split_request};
use hayate_net::wire::guard::{self, sample};
use hayate_net::wire::table::{self, APIS, Api};
use hayate_net::wire::{fetch, offsets, produce};
use hayate_rt::random::Prng;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, MetadataRequest, ProduceRequest, RequestKind, ResponseKind,
};
use kafka_protocol::protocol::{Decodable, Request};
use std::fmt::{Debug, Display};

/// The largest frame that the fuzzed listener takes.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// What an error and its text may take.
const ERROR_BYTES_MAX: u64 = 8 << 10;
/// Kind and version in front of a response: what its request would have told.
const RESPONSE_HEAD_BYTES: usize = 4;
/// No schema has more tags.
const KNOWN_TAGS_MAX: i32 = 16;
const PRODUCE: i16 = 0;
const FETCH: i16 = 1;

/// A kind that can be decoded, one that is served more often than not, and a version of it.
fn kind(prng: &mut Prng) -> (&'static Api, i16) {
    loop {
        let api = if prng.chance(2, 3) { choose(SERVED, prng).api() } else { choose(APIS, prng) };
        if let Some(versions) = api.versions() {
            let count = u64::from(versions.max.abs_diff(versions.min)) + 1;
            return (api, versions.min + prng.below(count) as i16);
        }
    }
}

/// A whole frame of any kind and version.
pub fn request_frame(prng: &mut Prng) -> Vec<u8> {
    let (api, version) = kind(prng);
    let body = sample::request_body(api.key, version, &mut |bound| prng.below(u64::from(bound)) as u32);
    let mut frame = vec![0; LENGTH_BYTES];
    frame.extend(api.key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend((prng.next_u64() as i32).to_be_bytes());
    let header = api.request_header_version(version);
    if header != RequestHeaderVersion::V0 {
        client_id(&mut frame, prng);
    }
    if header == RequestHeaderVersion::V2 {
        frame.extend(*choose(&[&[0][..], &[1, 9, 2, 7, 7]], prng));
    }
    frame.extend(body.expect("a decodable kind"));
    mend_frame(&mut frame);
    frame
}

/// None, a name, or bytes that are none.
fn client_id(frame: &mut Vec<u8>, prng: &mut Prng) {
    match prng.below(4) {
        0 => frame.extend([0xff, 0xff]),
        1 => {
            let name = noise(prng, 12);
            frame.extend((name.len() as i16).to_be_bytes());
            frame.extend(name);
        }
        _ => frame.extend([0, 2, b'm', b'e']),
    }
}

/// Lets the prefix say how long the frame is.
pub fn mend_frame(frame: &mut Vec<u8>) {
    frame.resize(frame.len().max(LENGTH_BYTES), 0);
    let length = (frame.len() - LENGTH_BYTES) as i32;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

/// What a connection does with what it has received.
pub fn frames(bytes: &[u8]) -> bool {
    let mut received = BytesMut::from(bytes);
    let (taken_out, took) = taken(|| take_frame(&mut received, FRAME_BYTES_MAX));
    assert!(took.asked_bytes <= 64, "taking a frame took {took:?}");
    let Ok(Some(frame)) = taken_out else { return false };
    let (request, took) = taken(|| split_request(frame.clone()));
    assert!(took.asked_bytes <= 64, "splitting a frame took {took:?}");
    let Ok(request) = request else { return false };
    assert!(frame.ends_with(&request.body), "the body is not the frame's end");
    if let Some(client_id) = &request.client_id {
        assert!(client_id.to_text().len() <= 3 * client_id.as_bytes().len(), "the client's name grows");
    }
    request_body(request.head, &request.body)
}

fn request_body(head: RequestHead, body: &Bytes) -> bool {
    let RequestHead { api_key, api_version, .. } = head;
    let (report, took) = taken(|| guard::check(api_key, api_version, body, u64::MAX));
    assert_eq!(took.asked_bytes, 0, "the guard took memory");
    let (decoded, took) = taken(|| decode_request(head, body.clone()));
    check_memory(report.as_ref().map(|report| report.decoded_bytes_max), took.asked_bytes, decoded.is_ok());
    if api_key == PRODUCE
        && table::api(PRODUCE).and_then(Api::versions).is_some_and(|all| all.contains(api_version))
    {
        check_produce(api_version, body);
    }
    if api_key == FETCH {
        assert_eq!(fetch::parse(api_version, body.clone(), u64::MAX).is_ok(), decoded.is_ok());
    }
    let Ok(decoded) = decoded else { return false };
    if offsets::is_ours(api_key, api_version) {
        return true; // a request that is read here and never written
    }
    let mut first = BytesMut::new();
    decoded.encode(&mut first, api_version).expect("what was decoded can be encoded");
    if let Err(error) = guard::check(api_key, api_version, &first, u64::MAX) {
        check_excuse(&error, &decoded);
        return true;
    }
    let key = ApiKey::try_from(api_key).expect("a kind");
    match RequestKind::decode(key, &mut first.clone().freeze(), api_version) {
        Ok(again) => check_same(&first, |bytes| again.encode(bytes, api_version).is_ok()),
        Err(error) => check_excuse(&error, &decoded),
    }
    true
}

/// The bound holds, and nothing is decoded that the guard refuses.
fn check_memory<E: Debug>(allowed: Result<u64, E>, asked_bytes: usize, decoded: bool) {
    let limit = match (&allowed, decoded) {
        (Ok(bytes), true) => *bytes,
        (Ok(bytes), false) => bytes.saturating_add(ERROR_BYTES_MAX),
        (Err(error), true) => panic!("decoded although refused: {error:?}"),
        (Err(_), false) => ERROR_BYTES_MAX,
    };
    assert!(asked_bytes as u64 <= limit, "{asked_bytes} bytes of memory, {limit} allowed ({allowed:?})");
}

/// What was encoded, read and encoded again is the same.
fn check_same(first: &BytesMut, encode: impl FnOnce(&mut BytesMut) -> bool) {
    let mut second = BytesMut::new();
    assert!(encode(&mut second), "encoded only once");
    assert_eq!(first, &second, "it does not come back");
}

/// The encoder counts unknown tags among the known ones (of another version, say) and above 2³¹, and does not write them. Nothing else may keep
/// a body from being read again. We encode no peer's tags.
fn check_excuse(error: &impl Display, decoded: &impl Debug) {
    let text = format!("{decoded:?}");
    let mut tags =
        text.split("unknown_tagged_fields: {").skip(1).map(|rest| rest.split(':').next().unwrap_or_default());
    let excused = tags.any(|tag| tag.parse::<i32>().is_ok_and(|tag| tag < KNOWN_TAGS_MAX));
    assert!(excused, "it cannot be read again: {error:.200}: {text:.2000}");
}

/// Our parser takes what the decoder takes, and says the same.
fn check_produce(version: i16, body: &Bytes) {
    let (ours, took) = taken(|| produce::parse(version, body, u64::MAX));
    let guarded = guard::check(PRODUCE, version, body, u64::MAX).is_ok();
    let theirs = guarded.then(|| ProduceRequest::decode(&mut body.clone(), version).ok()).flatten();
    assert_eq!(ours.is_ok(), theirs.is_some(), "ours {ours:?}");
    let (Ok(ours), Some(theirs)) = (ours, theirs) else {
        return assert!(took.asked_bytes as u64 <= 64 * body.len() as u64 + ERROR_BYTES_MAX, "{took:?}");
    };
    assert!(took.asked_bytes <= 64 + 64 * body.len(), "{took:?} for {} bytes", body.len());
    assert_eq!((ours.acks, ours.timeout_ms), (theirs.acks, theirs.timeout_ms));
    let records = |topic: &produce::ProduceTopic| {
        topic
            .partitions
            .iter()
            .map(|partition| (partition.index, partition.records.clone()))
            .collect::<Vec<_>>()
    };
    let ours: Vec<_> = ours.topics.iter().map(records).collect();
    let theirs: Vec<Vec<_>> = theirs
        .topic_data
        .into_iter()
        .map(|topic| topic.partition_data.into_iter().map(|part| (part.index, part.records)).collect())
        .collect();
    assert_eq!(ours, theirs);
}

/// A response's body behind its kind and version.
pub fn response(prng: &mut Prng) -> Vec<u8> {
    let (api, version) = kind(prng);
    let body = sample::response_body(api.key, version, &mut |bound| prng.below(u64::from(bound)) as u32);
    let mut bytes = [api.key.to_be_bytes(), version.to_be_bytes()].concat();
    bytes.extend(body.expect("a decodable kind"));
    bytes
}

/// What a client does with an answer to a request of any kind.
pub fn responses(bytes: &[u8]) -> bool {
    let mut body = Bytes::copy_from_slice(bytes);
    if body.len() < RESPONSE_HEAD_BYTES {
        return false;
    }
    let (api_key, api_version) = (body.get_i16(), body.get_i16());
    answers(api_version, &body);
    let (report, took) = taken(|| guard::check_response(api_key, api_version, &body, u64::MAX));
    assert_eq!(took.asked_bytes, 0, "the guard took memory");
    let (Ok(report), Ok(key)) = (report, ApiKey::try_from(api_key)) else { return false };
    let (decoded, took) = taken(|| ResponseKind::decode(key, &mut body.clone(), api_version));
    check_memory(Ok::<u64, ()>(report.decoded_bytes_max), took.asked_bytes, decoded.is_ok());
    let Ok(decoded) = decoded else { return false };
    let mut first = BytesMut::new();
    decoded.encode(&mut first, api_version).expect("what was decoded can be encoded");
    if let Err(error) = guard::check_response(api_key, api_version, &first, u64::MAX) {
        check_excuse(&error, &decoded);
        return true;
    }
    match ResponseKind::decode(key, &mut first.clone().freeze(), api_version) {
        Ok(again) => check_same(&first, |bytes| again.encode(bytes, api_version).is_ok()),
        Err(error) => check_excuse(&error, &decoded),
    }
    true
}

/// The same bytes as the answers that our own client asks for.
fn answers(api_version: i16, body: &Bytes) {
    answer(api_version, &ApiVersionsRequest::default(), body, true);
    answer(api_version, &MetadataRequest::default(), body, false);
    answer(api_version, &ProduceRequest::default(), body, false);
}

fn answer<R: Request>(api_version: i16, request: &R, body: &Bytes, negotiates: bool) {
    let limits = ClientLimits { decoded_bytes_max: 1 << 20, ..ClientLimits::default() };
    let mut client = ClientCore::new("me", limits);
    let Ok((correlation_id, _)) = client.request(api_version, request) else { return };
    let frame = [&correlation_id.to_be_bytes()[..], body].concat();
    let Ok(answer) = client.answer(frame.into()) else { return };
    let (_, took) = taken(|| answer.decode::<R>().is_ok());
    assert!(took.asked_bytes as u64 <= (1 << 20) + ERROR_BYTES_MAX, "{took:?}");
    if negotiates {
        let _ = answer.negotiate();
    }
}
