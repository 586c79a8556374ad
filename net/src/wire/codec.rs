//! Frames to values and back, for the kinds that `kafka-protocol` decodes: the guard first, then the crate. Knows no
//! request's meaning. The hot path does not come through here: see `produce` and `fetch`.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, OffsetCommitRequest, OffsetFetchRequest, RequestKind, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use super::guard;
use super::offsets;
use super::table::{self, Api};
use crate::error::WireError;
use crate::frame::{LENGTH_BYTES, RequestFrame, RequestHead};

/// Takes a frame (without its prefix) apart by the header version that its kind and version have.
///
/// # Errors
/// [`WireError::Frame`], and [`WireError::UnknownApiKey`] for a number that Kafka does not know.
pub fn split_request(frame: Bytes) -> Result<RequestFrame, WireError> {
    let head = RequestHead::parse(&frame)?;
    let api = known(head.api_key)?;
    Ok(RequestFrame::split(frame, api.request_header_version(head.api_version))?)
}

/// Decodes a request's body after the guard has passed it. Strings and bytes of the result share the frame's memory:
/// copy them before storing them.
///
/// # Errors
/// [`WireError::Guard`] for a body that breaks its schema or would take more memory than its kind may,
/// [`WireError::UnknownApiKey`], [`WireError::UnsupportedVersion`], and [`WireError::Undecodable`].
pub fn decode_request(head: RequestHead, mut body: Bytes) -> Result<RequestKind, WireError> {
    let key = admit(head.api_key, head.api_version, &body, u64::MAX)?;
    if offsets::is_ours(head.api_key, head.api_version) {
        return match key {
            ApiKey::OffsetCommit => offsets::read_commit(body).map(RequestKind::OffsetCommit),
            _ => offsets::read_fetch(body).map(RequestKind::OffsetFetch),
        };
    }
    RequestKind::decode(key, &mut body, head.api_version).map_err(undecodable)
}

/// [`decode_request`] for a caller that knows the kind, and the type `T` of it. The decoded form may take `decoded_bytes_max` of heap, and
/// never more than the kind may.
///
/// # Errors
/// As [`decode_request`].
pub fn decode_body<T: Decodable>(
    api_key: i16,
    api_version: i16,
    mut body: Bytes,
    decoded_bytes_max: u64,
) -> Result<T, WireError> {
    admit(api_key, api_version, &body, decoded_bytes_max)?;
    T::decode(&mut body, api_version).map_err(undecodable)
}

/// [`decode_body`] for OffsetCommit, also by topic id.
///
/// # Errors
/// As [`decode_request`].
pub fn decode_offset_commit(
    api_version: i16,
    body: Bytes,
    decoded_bytes_max: u64,
) -> Result<OffsetCommitRequest, WireError> {
    const KEY: i16 = ApiKey::OffsetCommit as i16;
    if !offsets::is_ours(KEY, api_version) {
        return decode_body(KEY, api_version, body, decoded_bytes_max);
    }
    admit(KEY, api_version, &body, decoded_bytes_max)?;
    offsets::read_commit(body)
}

/// [`decode_body`] for OffsetFetch, also by topic id.
///
/// # Errors
/// As [`decode_request`].
pub fn decode_offset_fetch(
    api_version: i16,
    body: Bytes,
    decoded_bytes_max: u64,
) -> Result<OffsetFetchRequest, WireError> {
    const KEY: i16 = ApiKey::OffsetFetch as i16;
    if !offsets::is_ours(KEY, api_version) {
        return decode_body(KEY, api_version, body, decoded_bytes_max);
    }
    admit(KEY, api_version, &body, decoded_bytes_max)?;
    offsets::read_fetch(body)
}

/// Encodes a response as a whole frame, length prefix and header included.
///
/// # Errors
/// [`WireError::Unencodable`] when a field has no form in this version or the frame would pass 2 GiB.
pub fn encode_response<T>(correlation_id: i32, api_version: i16, response: &T) -> Result<Bytes, WireError>
where
    T: Encodable + HeaderVersion,
{
    let body_bytes = response.compute_size(api_version).map_err(unencodable)?;
    let mut frame = begin_response(correlation_id, T::header_version(api_version), body_bytes);
    response.encode(&mut frame, api_version).map_err(unencodable)?;
    finish(frame)
}

/// [`encode_response`] for a response whose kind is known at run time only.
///
/// # Errors
/// As [`encode_response`], and [`WireError::UnknownApiKey`].
pub fn encode_response_kind(
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    response: &ResponseKind,
) -> Result<Bytes, WireError> {
    let header_version = known(api_key)?.response_header_version(api_version);
    let mut frame = begin_response(correlation_id, header_version, 0);
    response.encode(&mut frame, api_version).map_err(unencodable)?;
    finish(frame)
}

fn begin_response(correlation_id: i32, header_version: i16, body_bytes: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + 4 + 1 + body_bytes);
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    if header_version > 0 {
        frame.put_u8(0);
    }
    frame
}

/// Fills in the length prefix of a frame that began with room for it.
pub(crate) fn finish(mut frame: BytesMut) -> Result<Bytes, WireError> {
    let frame_bytes = frame.len() - LENGTH_BYTES;
    let length = i32::try_from(frame_bytes)
        .map_err(|_| WireError::Unencodable { reason: format!("frame of {frame_bytes} bytes") })?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

fn known(api_key: i16) -> Result<&'static Api, WireError> {
    table::api(api_key).ok_or(WireError::UnknownApiKey { api_key })
}

fn admit(api_key: i16, api_version: i16, body: &[u8], decoded_bytes_max: u64) -> Result<ApiKey, WireError> {
    let api = known(api_key)?;
    let versions = api.versions().ok_or(WireError::UnknownApiKey { api_key })?;
    if !versions.contains(api_version) {
        return Err(WireError::UnsupportedVersion { api_key, api_version });
    }
    guard::check(api_key, api_version, body, api.decoded_bytes_max().min(decoded_bytes_max))?;
    ApiKey::try_from(api_key).map_err(|()| WireError::UnknownApiKey { api_key })
}

pub(crate) fn undecodable(error: impl std::fmt::Display) -> WireError {
    WireError::Undecodable { reason: error.to_string() }
}

pub(crate) fn unencodable(error: impl std::fmt::Display) -> WireError {
    WireError::Unencodable { reason: error.to_string() }
}
