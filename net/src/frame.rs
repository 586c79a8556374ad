//! Frames: a length, a request header, a body. Checks every length before anything is allocated for it, and never panics
//! on a peer's bytes. Knows no message body and does no IO: a caller hands in what it has read.
//!
//! ```text
//! 0      4                                             4 + length
//! +------+---------+---------+----------------+-----------+------------+------+
//! | i32  | api_key | version | correlation_id | client_id | tags (v2)  | body |
//! | len  | i16     | i16     | i32            | nullable  | uvarint…   |      |
//! +------+---------+---------+----------------+-----------+------------+------+
//! ```
//! Source: Kafka's RequestHeader.json and ResponseHeader.json; KIP-482 for the tagged fields.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::FrameError;
use crate::wire::reader::{ReadError, Reader};

/// Bytes of the length prefix.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of the part of a request header that every version shares.
pub const REQUEST_HEAD_BYTES: usize = 8;

/// A checked length prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes that follow the prefix.
    pub body_bytes: usize,
}

impl FrameHead {
    /// Reads a length prefix and holds it against the receiver's cap, so that nothing is allocated for a length that
    /// will be refused.
    ///
    /// # Errors
    /// [`FrameError::NegativeLength`] and [`FrameError::TooLarge`].
    pub fn parse(prefix: [u8; LENGTH_BYTES], frame_bytes_max: usize) -> Result<Self, FrameError> {
        let length = i32::from_be_bytes(prefix);
        let body_bytes = usize::try_from(length).map_err(|_| FrameError::NegativeLength { length })?;
        if body_bytes > frame_bytes_max {
            return Err(FrameError::TooLarge { frame_bytes: body_bytes, frame_bytes_max });
        }
        Ok(Self { body_bytes })
    }
}

/// Takes the next whole frame off the front of `received`, without its prefix; `None` until all of it is there.
/// The frame shares the buffer's memory.
///
/// # Errors
/// Those of [`FrameHead::parse`], as soon as the prefix is there.
pub fn take_frame(received: &mut BytesMut, frame_bytes_max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = received.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let head = FrameHead::parse(*prefix, frame_bytes_max)?;
    if received.len() - LENGTH_BYTES < head.body_bytes {
        return Ok(None);
    }
    received.advance(LENGTH_BYTES);
    Ok(Some(received.split_to(head.body_bytes).freeze()))
}

/// What every request begins with, whatever its kind and version: enough to refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    /// The kind of the request; see [`crate::wire::table`].
    pub api_key: i16,
    /// The version of its body.
    pub api_version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
}

impl RequestHead {
    /// Reads the first eight bytes of a frame.
    ///
    /// # Errors
    /// [`FrameError::TruncatedHeader`] when the frame is shorter.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader::new(frame);
        Ok(Self { api_key: reader.i16()?, api_version: reader.i16()?, correlation_id: reader.i32()? })
    }
}

/// The versions of Kafka's request header that a request can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestHeaderVersion {
    /// The eight bytes alone: ControlledShutdown v0, which Kafka 4 no longer knows.
    V0,
    /// With a client id.
    V1,
    /// With a client id and tagged fields; of all flexible requests.
    V2,
}

/// Name that a client gives itself. Bytes of the peer: not necessarily UTF-8, and it shares the frame's memory, so
/// copy it ([`ClientId::to_text`]) before storing it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientId(Bytes);

impl ClientId {
    /// The bytes as sent, at most 32,767.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A printable copy of its own; what is not UTF-8 becomes U+FFFD.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// A request frame taken apart; the parts share its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFrame {
    /// The first eight bytes.
    pub head: RequestHead,
    /// The client's name for itself, if it gave one.
    pub client_id: Option<ClientId>,
    /// What follows the header.
    pub body: Bytes,
}

impl RequestFrame {
    /// Splits a frame (without its prefix) whose header is of `version`. Tagged fields of the header are checked and
    /// skipped: Kafka defines none.
    ///
    /// # Errors
    /// [`FrameError::TruncatedHeader`] and [`FrameError::MalformedHeader`].
    pub fn split(mut frame: Bytes, version: RequestHeaderVersion) -> Result<Self, FrameError> {
        let head = RequestHead::parse(&frame)?;
        let mut reader = Reader::new(&frame);
        reader.take(REQUEST_HEAD_BYTES)?;
        let client_id = match version {
            RequestHeaderVersion::V0 => None,
            RequestHeaderVersion::V1 | RequestHeaderVersion::V2 => read_client_id(&frame, &mut reader)?,
        };
        if version == RequestHeaderVersion::V2 {
            reader.skip_tagged_fields()?;
        }
        let header_bytes = reader.position();
        frame.advance(header_bytes);
        Ok(Self { head, client_id, body: frame })
    }
}

/// The client id keeps its `i16` length in flexible headers too (RequestHeader.json). As in Kafka, any length below 0 is null.
fn read_client_id(frame: &Bytes, reader: &mut Reader<'_>) -> Result<Option<ClientId>, FrameError> {
    let Ok(length) = usize::try_from(reader.i16()?) else {
        return Ok(None);
    };
    Ok(Some(ClientId(frame.slice_ref(reader.take(length)?))))
}

impl From<ReadError> for FrameError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => FrameError::TruncatedHeader,
            ReadError::NegativeLength | ReadError::VarintTooLong | ReadError::TextTooLong => {
                FrameError::MalformedHeader
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;

    use super::{FrameHead, RequestFrame, RequestHead, RequestHeaderVersion, take_frame};
    use crate::error::FrameError;

    const VERSIONS: [RequestHeaderVersion; 3] =
        [RequestHeaderVersion::V0, RequestHeaderVersion::V1, RequestHeaderVersion::V2];

    fn split(bytes: &[u8], version: RequestHeaderVersion) -> Result<RequestFrame, FrameError> {
        RequestFrame::split(Bytes::copy_from_slice(bytes), version)
    }

    #[test]
    fn a_length_is_checked_against_its_sign_and_the_cap() {
        assert_eq!(FrameHead::parse([0, 0, 0, 9], 9), Ok(FrameHead { body_bytes: 9 }));
        assert_eq!(FrameHead::parse([0; 4], 9), Ok(FrameHead { body_bytes: 0 }));
        assert_eq!(
            FrameHead::parse([0, 0, 0, 10], 9),
            Err(FrameError::TooLarge { frame_bytes: 10, frame_bytes_max: 9 })
        );
        assert_eq!(FrameHead::parse([0xff; 4], 9), Err(FrameError::NegativeLength { length: -1 }));
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let sent = [0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        let mut received = BytesMut::new();
        let mut frames = Vec::new();
        for byte in sent {
            received.extend_from_slice(&[byte]);
            while let Some(frame) = take_frame(&mut received, 8).expect("all within the cap") {
                frames.push(frame.to_vec());
            }
        }
        assert_eq!(frames, [vec![1, 2, 3], vec![], vec![9]]);
        assert!(received.is_empty());
    }

    #[test]
    fn an_oversized_frame_is_refused_at_its_prefix() {
        let mut received = BytesMut::from(&[0x7f, 0xff, 0xff, 0xff][..]);
        assert!(matches!(take_frame(&mut received, 100), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn a_header_is_split_by_its_version() {
        let head = [0, 3, 0, 12, 0, 0, 0, 7];
        let named = [&head[..], &[0, 2, b'm', b'e', 1, 5, 2, 8, 8, 42]].concat();
        let frame = split(&named, RequestHeaderVersion::V2).expect("a flexible header");
        assert_eq!(frame.head, RequestHead { api_key: 3, api_version: 12, correlation_id: 7 });
        assert_eq!(frame.client_id.expect("a name").to_text(), "me");
        assert_eq!(&frame.body[..], [42]);
        let frame = split(&named, RequestHeaderVersion::V1).expect("a plain header");
        assert_eq!(&frame.body[..], [1, 5, 2, 8, 8, 42]);
        for null in [[0xff, 0xff], [0x80, 0]] {
            let anonymous = [&head[..], &null].concat();
            assert_eq!(split(&anonymous, RequestHeaderVersion::V1).expect("no name").client_id, None);
        }
        assert_eq!(split(&head, RequestHeaderVersion::V0).expect("no more than the head").body.len(), 0);
    }

    #[test]
    fn a_client_id_need_not_be_text() {
        let frame = [0, 3, 0, 1, 0, 0, 0, 7, 0, 2, b'x', 0xff];
        let client_id = split(&frame, RequestHeaderVersion::V1).expect("tolerated").client_id.expect("named");
        assert_eq!(client_id.as_bytes(), [b'x', 0xff]);
        assert_eq!(client_id.to_string(), "x\u{fffd}");
    }

    #[test]
    fn a_header_cut_anywhere_is_refused() {
        let whole = [0, 3, 0, 12, 0, 0, 0, 7, 0, 2, b'm', b'e', 1, 5, 2, 8, 8];
        for length in 0..whole.len() {
            let cut = split(&whole[..length], RequestHeaderVersion::V2);
            assert_eq!(cut, Err(FrameError::TruncatedHeader), "at {length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for version in VERSIONS {
                if let Ok(frame) = split(&bytes, version) {
                    prop_assert!(frame.body.len() + 8 <= bytes.len());
                }
            }
        }
    }
}
