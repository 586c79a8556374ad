//! A client's protocol core without IO: requests become frames, frames become the answers of the requests they belong
//! to, and a broker's versions are negotiated. A driver owns the socket and the buffer; simulated clients, tests and
//! Connect drive the same core. Knows nothing of metadata, retries or groups. Answers come in the order of their requests
//! on one connection, as Kafka guarantees. `blocking` is a thin driver for threads that are no shard's.

pub mod blocking;

use std::collections::VecDeque;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Message, Request};

use crate::error::{ErrorCode, FrameError, WireError};
use crate::frame::{LENGTH_BYTES, take_frame};
use crate::wire::codec;
use crate::wire::guard;
use crate::wire::produce::{self, ProduceRequest};
use crate::wire::reader::Reader;
use crate::wire::table::{API_VERSIONS, Versions};

/// API key of Produce.
const PRODUCE: i16 = 0;

/// What a client core lets a broker and its own driver do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes that a response may have behind its length prefix.
    pub response_bytes_max: usize,
    /// Heap bytes that a decoded response may take besides its frame.
    pub decoded_bytes_max: u64,
    /// Requests that may wait for their answers at once.
    pub in_flight_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { response_bytes_max: 128 << 20, decoded_bytes_max: 256 << 20, in_flight_max: 1024 }
    }
}

/// Why a client cannot go on. After any of them but [`ClientError::TooManyInFlight`] and [`ClientError::NoCommonVersion`]
/// the connection is of no more use.
#[derive(Debug)]
pub enum ClientError {
    /// A frame or body is bad.
    Wire(WireError),
    /// A response came that answers another request than the oldest waiting one.
    OutOfOrder {
        /// Correlation id of the oldest waiting request.
        expected: i32,
        /// Correlation id of the response.
        received: i32,
    },
    /// A response came while no request waited.
    Unsolicited,
    /// As many requests wait as may.
    TooManyInFlight,
    /// Broker and client share no version of this kind.
    NoCommonVersion {
        /// The kind.
        api_key: i16,
    },
    /// The broker answered ApiVersions with an error other than that for an unknown version.
    Negotiation {
        /// The error code as sent.
        error_code: i16,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Wire(error) => write!(out, "{error}"),
            ClientError::OutOfOrder { expected, received } => {
                write!(out, "response {received} where {expected} is awaited")
            }
            ClientError::Unsolicited => out.write_str("response without a request"),
            ClientError::TooManyInFlight => out.write_str("too many requests in flight"),
            ClientError::NoCommonVersion { api_key } => write!(out, "no common version of API key {api_key}"),
            ClientError::Negotiation { error_code } => {
                write!(out, "ApiVersions failed with error {error_code}")
            }
        }
    }
}

impl std::error::Error for ClientError {}

impl From<WireError> for ClientError {
    fn from(error: WireError) -> Self {
        ClientError::Wire(error)
    }
}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> Self {
        ClientError::Wire(error.into())
    }
}

/// What a response needs to be read: kept from its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    correlation_id: i32,
    api_key: i16,
    api_version: i16,
    header_version: i16,
}

/// The state of one connection's client side.
#[derive(Debug)]
pub struct ClientCore {
    client_id: String,
    limits: ClientLimits,
    next_correlation_id: i32,
    pending: VecDeque<Pending>,
}

impl ClientCore {
    /// A core for a fresh connection. `client_id` is at most 32,767 bytes.
    pub fn new(client_id: &str, limits: ClientLimits) -> Self {
        Self { client_id: client_id.to_owned(), limits, next_correlation_id: 0, pending: VecDeque::new() }
    }

    /// Requests that wait for their answers.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Encodes a request as a whole frame and awaits its answer. Gives the correlation id too.
    ///
    /// # Errors
    /// [`ClientError::TooManyInFlight`], and [`ClientError::Wire`] when the request has no form in this version; neither
    /// leaves a trace.
    pub fn request<R: Request>(
        &mut self,
        api_version: i16,
        request: &R,
    ) -> Result<(i32, Bytes), ClientError> {
        if self.pending.len() >= self.limits.in_flight_max {
            return Err(ClientError::TooManyInFlight);
        }
        let (correlation_id, frame) = self.request_unanswered(api_version, request)?;
        self.pending.push_back(Pending {
            correlation_id,
            api_key: R::KEY,
            api_version,
            header_version: <R::Response as HeaderVersion>::header_version(api_version),
        });
        Ok((correlation_id, frame))
    }

    /// [`ClientCore::request`] for a request that gets no answer: Produce with acks 0.
    ///
    /// # Errors
    /// [`ClientError::Wire`] when the request has no form in this version.
    pub fn request_unanswered<R: Request>(
        &mut self,
        api_version: i16,
        request: &R,
    ) -> Result<(i32, Bytes), ClientError> {
        let correlation_id = self.next_correlation_id;
        let frame = encode_request(correlation_id, &self.client_id, api_version, request)?;
        self.next_correlation_id = correlation_id.checked_add(1).unwrap_or(0);
        Ok((correlation_id, frame))
    }

    /// Encodes a produce request as a frame in pieces, its records uncopied, and awaits its answer unless its acks are 0.
    ///
    /// # Errors
    /// As [`ClientCore::request`].
    pub fn produce(&mut self, api_version: i16, request: ProduceRequest) -> Result<Vec<Bytes>, ClientError> {
        let is_answered = request.acks != 0;
        if is_answered && self.pending.len() >= self.limits.in_flight_max {
            return Err(ClientError::TooManyInFlight);
        }
        let correlation_id = self.next_correlation_id;
        let frame = produce::encode_request(correlation_id, &self.client_id, api_version, request)?;
        self.next_correlation_id = correlation_id.checked_add(1).unwrap_or(0);
        if is_answered {
            let (api_key, header_version) = (PRODUCE, i16::from(api_version >= 9));
            self.pending.push_back(Pending { correlation_id, api_key, api_version, header_version });
        }
        Ok(frame)
    }

    /// Takes the next whole response off the front of what was received; `None` until all of it is there. The answer
    /// shares the buffer's memory.
    ///
    /// # Errors
    /// [`ClientError::Wire`], [`ClientError::Unsolicited`] and [`ClientError::OutOfOrder`].
    pub fn next_answer(&mut self, received: &mut BytesMut) -> Result<Option<Answer>, ClientError> {
        match take_frame(received, self.limits.response_bytes_max)? {
            Some(frame) => self.answer(frame).map(Some),
            None => Ok(None),
        }
    }

    /// Matches one response frame (without its prefix) with the oldest waiting request.
    ///
    /// # Errors
    /// As [`ClientCore::next_answer`].
    pub fn answer(&mut self, mut frame: Bytes) -> Result<Answer, ClientError> {
        let pending = self.pending.pop_front().ok_or(ClientError::Unsolicited)?;
        let mut reader = Reader::new(&frame);
        let received = reader.i32().map_err(FrameError::from)?;
        if received != pending.correlation_id {
            return Err(ClientError::OutOfOrder { expected: pending.correlation_id, received });
        }
        if pending.header_version > 0 {
            reader.skip_tagged_fields().map_err(FrameError::from)?;
        }
        let body = frame.split_off(reader.position());
        Ok(Answer {
            correlation_id: pending.correlation_id,
            api_key: pending.api_key,
            api_version: pending.api_version,
            body,
            decoded_bytes_max: self.limits.decoded_bytes_max,
        })
    }
}

/// A response that belongs to a request of this core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The request's.
    pub correlation_id: i32,
    /// The request's kind.
    pub api_key: i16,
    /// The request's version.
    pub api_version: i16,
    /// The body, undecoded.
    pub body: Bytes,
    decoded_bytes_max: u64,
}

impl Answer {
    /// Decodes the answer to a request of type `R`, after the guard has passed it. Strings and records of the result share
    /// the frame's memory.
    ///
    /// # Errors
    /// [`WireError::Guard`] and [`WireError::Undecodable`].
    ///
    /// # Panics
    /// When the request was of another type.
    pub fn decode<R: Request>(&self) -> Result<R::Response, WireError> {
        assert_eq!(R::KEY, self.api_key, "an answer is decoded as that of another request");
        self.decode_as::<R>(self.api_version)
    }

    fn decode_as<R: Request>(&self, api_version: i16) -> Result<R::Response, WireError> {
        guard::check_response(R::KEY, api_version, &self.body, self.decoded_bytes_max)?;
        R::Response::decode(&mut self.body.clone(), api_version).map_err(codec::undecodable)
    }

    /// Reads the answer to an ApiVersions request: the broker's versions, or in which version to ask again. A broker
    /// that lacks the asked version says so in version 0 (KIP-511).
    ///
    /// # Errors
    /// [`ClientError::Wire`], and [`ClientError::Negotiation`] for any other error of the broker's.
    pub fn negotiate(&self) -> Result<Negotiation, ClientError> {
        assert_eq!(self.api_key, API_VERSIONS, "an answer is read as that to ApiVersions");
        let error_code = Reader::new(&self.body).i16().map_err(FrameError::from)?;
        if error_code == ErrorCode::UnsupportedVersion.code() {
            let refusal = self.decode_as::<ApiVersionsRequest>(0)?;
            return Ok(Negotiation::AskAgain { api_version: version_to_ask(&refusal, self.api_version)? });
        }
        let response = self.decode::<ApiVersionsRequest>()?;
        if response.error_code != 0 {
            return Err(ClientError::Negotiation { error_code: response.error_code });
        }
        Ok(Negotiation::Done(BrokerVersions::new(&response)))
    }
}

/// The highest version of ApiVersions that a refusal offers below the refused one; a broker that offers none takes 0.
fn version_to_ask(refusal: &ApiVersionsResponse, refused: i16) -> Result<i16, ClientError> {
    let offered = BrokerVersions::new(refusal);
    let ours = Versions { min: 0, max: refused.min(ApiVersionsRequest::VERSIONS.max) };
    let version = offered.common(API_VERSIONS, ours).unwrap_or(0);
    if version < refused { Ok(version) } else { Err(ClientError::NoCommonVersion { api_key: API_VERSIONS }) }
}

/// How far negotiation has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Negotiation {
    /// The broker's versions are known.
    Done(BrokerVersions),
    /// Ask again in this lower version.
    AskAgain {
        /// The version to ask in.
        api_version: i16,
    },
}

/// What a broker announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerVersions {
    ranges: Vec<(i16, Versions)>,
}

impl BrokerVersions {
    /// From the broker's answer to ApiVersions.
    pub fn new(response: &ApiVersionsResponse) -> Self {
        let range = |api: &kafka_protocol::messages::api_versions_response::ApiVersion| {
            (api.api_key, Versions { min: api.min_version, max: api.max_version })
        };
        Self { ranges: response.api_keys.iter().map(range).collect() }
    }

    /// The broker's versions of a kind, if it serves it.
    pub fn versions(&self, api_key: i16) -> Option<Versions> {
        self.ranges.iter().find(|(key, _)| *key == api_key).map(|(_, versions)| *versions)
    }

    /// The highest version of a kind that the broker shares with `ours`.
    pub fn common(&self, api_key: i16, ours: Versions) -> Option<i16> {
        let theirs = self.versions(api_key)?;
        let highest = theirs.max.min(ours.max);
        (highest >= theirs.min.max(ours.min)).then_some(highest)
    }

    /// The highest version of `R` that both sides know.
    ///
    /// # Errors
    /// [`ClientError::NoCommonVersion`].
    pub fn pick<R: Request>(&self) -> Result<i16, ClientError> {
        let ours = Versions { min: R::VERSIONS.min, max: R::VERSIONS.max };
        self.common(R::KEY, ours).ok_or(ClientError::NoCommonVersion { api_key: R::KEY })
    }
}

/// Encodes a request as a whole frame, length prefix and header included.
///
/// # Errors
/// [`WireError::Unencodable`] when a field has no form in this version, the client id is too long, or the frame would
/// pass 2 GiB.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: &str,
    api_version: i16,
    request: &R,
) -> Result<Bytes, WireError> {
    let body_bytes = request.compute_size(api_version).map_err(codec::unencodable)?;
    let client_id_bytes = i16::try_from(client_id.len()).map_err(codec::unencodable)?;
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + 11 + client_id.len() + body_bytes);
    frame.put_i32(0);
    frame.put_i16(R::KEY);
    frame.put_i16(api_version);
    frame.put_i32(correlation_id);
    frame.put_i16(client_id_bytes);
    frame.put_slice(client_id.as_bytes());
    if R::header_version(api_version) >= 2 {
        frame.put_u8(0);
    }
    request.encode(&mut frame, api_version).map_err(codec::unencodable)?;
    codec::finish(frame)
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{
        ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, MetadataResponse,
        ProduceRequest, TopicName,
    };
    use kafka_protocol::protocol::StrBytes;

    use super::{BrokerVersions, ClientCore, ClientError, ClientLimits, Negotiation};
    use crate::error::{ErrorCode, WireError};
    use crate::frame::take_frame;
    use crate::wire::api_versions;
    use crate::wire::codec::{decode_request, encode_response, split_request};
    use crate::wire::produce;
    use crate::wire::table::Supported;
    use crate::wire::topic::TopicRef;

    fn core() -> ClientCore {
        ClientCore::new("me", ClientLimits::default())
    }

    fn supported() -> Supported {
        Supported::new(&[(0, 3, 13), (3, 0, 12), (18, 0, 3)])
    }

    /// The frame's body as the broker's side sees it.
    fn received(frame: Bytes) -> crate::frame::RequestFrame {
        let mut buffer = BytesMut::from(frame);
        let frame = take_frame(&mut buffer, 1 << 20).expect("small").expect("whole");
        assert!(buffer.is_empty());
        split_request(frame).expect("a good header")
    }

    #[test]
    fn a_broker_reads_what_a_client_writes_in_every_header_version() {
        for version in 0..=13 {
            let (correlation_id, frame) = core()
                .request(version, &MetadataRequest::default().with_topics(Some(Vec::new())))
                .expect("encodable");
            let frame = received(frame);
            assert_eq!((frame.head.api_key, frame.head.api_version), (3, version));
            assert_eq!(frame.head.correlation_id, correlation_id);
            assert_eq!(frame.client_id.expect("named").to_text(), "me");
            decode_request(frame.head, frame.body).expect("decodable");
        }
    }

    #[test]
    fn a_produce_request_in_pieces_is_the_crates() {
        let records = Bytes::from_static(b"a batch");
        for version in produce::VERSION_MIN..=produce::VERSION_MAX {
            let id = uuid::Uuid::from_u128(7);
            let (named, theirs) = match version {
                13.. => (TopicRef::Id(id), TopicProduceData::default().with_topic_id(id)),
                _ => (
                    TopicRef::Name(StrBytes::from_static_str("t")),
                    TopicProduceData::default().with_name(TopicName(StrBytes::from_static_str("t"))),
                ),
            };
            let partition = |index| produce::ProducePartition { index, records: Some(records.clone()) };
            let topic = produce::ProduceTopic { topic: named, partitions: vec![partition(0), partition(3)] };
            let ours = produce::ProduceRequest {
                transactional_id: None,
                acks: -1,
                timeout_ms: 1500,
                topics: vec![topic],
            };
            let data =
                |index| PartitionProduceData::default().with_index(index).with_records(Some(records.clone()));
            let theirs = ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(1500)
                .with_topic_data(vec![theirs.with_partition_data(vec![data(0), data(3)])]);
            let (mut by_us, mut by_crate) = (core(), core());
            let pieces = by_us.produce(version, ours).expect("encodable");
            let (_, whole) = by_crate.request(version, &theirs).expect("encodable");
            assert_eq!(pieces.concat(), whole, "version {version}");
            assert_eq!(by_us.in_flight(), 1);
        }
    }

    #[test]
    fn answers_go_to_their_requests_in_order() {
        let mut client = core();
        let request = MetadataRequest::default();
        let (first, _) = client.request(12, &request).expect("encodable");
        let (second, _) = client.request(1, &request).expect("encodable");
        let answer =
            |id, version| encode_response(id, version, &MetadataResponse::default()).expect("encodable");
        let mut buffer = BytesMut::from(&[answer(first, 12), answer(second, 1)].concat()[..]);
        for (correlation_id, version) in [(first, 12), (second, 1)] {
            let answer = client.next_answer(&mut buffer).expect("good").expect("whole");
            assert_eq!((answer.correlation_id, answer.api_version), (correlation_id, version));
            assert_eq!(answer.decode::<MetadataRequest>().expect("decodable"), MetadataResponse::default());
        }
        assert_eq!(client.next_answer(&mut buffer).expect("nothing"), None);
        assert_eq!(client.in_flight(), 0);
    }

    #[test]
    fn answers_that_belong_to_no_request_end_the_connection() {
        let frame = Bytes::from_static(&[0, 0, 0, 9, 0]);
        assert!(matches!(core().answer(frame.clone()), Err(ClientError::Unsolicited)));
        let mut client = core();
        client.request(12, &MetadataRequest::default()).expect("encodable");
        let refused = client.answer(frame);
        assert!(matches!(refused, Err(ClientError::OutOfOrder { expected: 0, received: 9 })), "{refused:?}");
    }

    #[test]
    fn hostile_answers_are_refused() {
        let mut client = core();
        client.request(12, &MetadataRequest::default()).expect("encodable");
        let hostile = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        let refused = client.answer(hostile).expect("a good header").decode::<MetadataRequest>();
        assert!(matches!(refused, Err(WireError::Guard(_))), "{refused:?}");
        let mut buffer = BytesMut::from(&[0x7f, 0, 0, 0][..]);
        assert!(matches!(client.next_answer(&mut buffer), Err(ClientError::Wire(WireError::Frame(_)))));
    }

    #[test]
    fn no_more_wait_than_may_and_unanswered_requests_do_not() {
        let mut client = ClientCore::new("me", ClientLimits { in_flight_max: 1, ..ClientLimits::default() });
        client.request_unanswered(9, &ProduceRequest::default()).expect("encodable");
        assert_eq!(client.in_flight(), 0);
        client.request(12, &MetadataRequest::default()).expect("encodable");
        let refused = client.request(12, &MetadataRequest::default());
        assert!(matches!(refused, Err(ClientError::TooManyInFlight)));
    }

    fn negotiate(
        asked: i16,
        answer: &ApiVersionsResponse,
        answered: i16,
    ) -> Result<Negotiation, ClientError> {
        let mut client = core();
        let (correlation_id, _) = client.request(asked, &ApiVersionsRequest::default()).expect("encodable");
        let frame = encode_response(correlation_id, answered, answer).expect("encodable");
        client.answer(frame.slice(4..)).expect("a good header").negotiate()
    }

    #[test]
    fn versions_are_negotiated() {
        let refusal = api_versions::unsupported_version_response(&supported());
        let again = negotiate(4, &refusal, 0).expect("readable");
        assert_eq!(again, Negotiation::AskAgain { api_version: 3 });
        let features = api_versions::Features { epoch: -1, ..api_versions::Features::default() };
        let answer = api_versions::response(3, &supported(), &features);
        let Negotiation::Done(broker) = negotiate(3, &answer, 3).expect("readable") else {
            panic!("the version is supported");
        };
        assert_eq!(broker.pick::<MetadataRequest>().expect("common"), 12);
        assert_eq!(broker.pick::<ProduceRequest>().expect("common"), 13);
        assert!(matches!(broker.pick::<FetchRequest>(), Err(ClientError::NoCommonVersion { api_key: 1 })));
    }

    #[test]
    fn a_broker_that_refuses_everything_ends_the_negotiation() {
        let bare = ApiVersionsResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code());
        assert_eq!(negotiate(3, &bare, 0).expect("readable"), Negotiation::AskAgain { api_version: 0 });
        assert!(matches!(negotiate(0, &bare, 0), Err(ClientError::NoCommonVersion { api_key: 18 })));
        let failed = ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
        assert!(matches!(negotiate(3, &failed, 3), Err(ClientError::Negotiation { error_code: 42 })));
        assert_eq!(BrokerVersions::new(&failed).versions(0), None);
    }
}
