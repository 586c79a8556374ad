//! The schema guard: walks a raw message body by its schema before `kafka-protocol` decodes it, because that crate
//! allocates what a peer's counts ask for, and an allocation of 512 GiB aborts the process. Every count and length is held
//! against the bytes that remain, nullness and tags against the schema, the body must end where its schema ends, and an
//! upper bound of the decoded form's memory comes out. Allocates nothing. Knows the schemas' tables (`guard/`), generated
//! from Kafka's message schemas by `guard/generate.py`, and nothing of what a message means.

mod growth;
mod requests;
mod responses;
pub mod sample;
mod schema;

use std::fmt;

use super::reader::{ReadError, Reader};
use super::table::Versions;
use schema::{Field, Message, Shape};

/// A peer's body has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardReport {
    /// Upper bound of the heap bytes that the decoded form takes besides the frame that it slices.
    pub decoded_bytes_max: u64,
}

/// A body that must not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardError {
    /// Byte of the body at which it was noticed.
    pub at: usize,
    /// The field, as its schema names it; `tags` for tagged fields, `body` for the whole.
    pub field: &'static str,
    /// What is wrong there.
    pub fault: GuardFault,
}

/// What can be wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardFault {
    /// It has no schema: an unknown API key.
    UnknownApiKey,
    /// Its schema has no such version.
    UnsupportedVersion,
    /// The bytes end within a field.
    Truncated,
    /// A length or count below −1.
    NegativeLength,
    /// An unsigned varint of more than 32 bits.
    VarintTooLong,
    /// A string of more than 32,767 bytes.
    TextTooLong,
    /// More elements than bytes remain.
    CountTooLarge {
        /// Elements announced.
        count: usize,
        /// Bytes that remain.
        remaining: usize,
    },
    /// Null where the schema wants a value.
    Null,
    /// A tagged field whose content is not as long as it says.
    TagSize,
    /// Bytes follow the last field.
    TrailingBytes,
    /// The decoded form may take more memory than is allowed.
    DecodedTooLarge {
        /// Heap bytes allowed.
        decoded_bytes_limit: u64,
    },
}

impl From<ReadError> for GuardFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => GuardFault::Truncated,
            ReadError::NegativeLength => GuardFault::NegativeLength,
            ReadError::VarintTooLong => GuardFault::VarintTooLong,
            ReadError::TextTooLong => GuardFault::TextTooLong,
        }
    }
}

impl fmt::Display for GuardError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "body at byte {}, {}: ", self.at, self.field)?;
        match self.fault {
            GuardFault::UnknownApiKey => out.write_str("no schema for its API key"),
            GuardFault::UnsupportedVersion => out.write_str("no schema for its version"),
            GuardFault::Truncated => out.write_str("truncated"),
            GuardFault::NegativeLength => out.write_str("negative length"),
            GuardFault::VarintTooLong => out.write_str("varint of more than 32 bits"),
            GuardFault::TextTooLong => out.write_str("string of more than 32767 bytes"),
            GuardFault::CountTooLarge { count, remaining } => {
                write!(out, "{count} elements in {remaining} bytes")
            }
            GuardFault::Null => out.write_str("null is not allowed"),
            GuardFault::TagSize => out.write_str("tagged field of another size than announced"),
            GuardFault::TrailingBytes => out.write_str("bytes follow the last field"),
            GuardFault::DecodedTooLarge { decoded_bytes_limit } => {
                write!(out, "would take more than {decoded_bytes_limit} bytes of memory")
            }
        }
    }
}

impl std::error::Error for GuardError {}

/// Checks a request's body. Bytes behind it are nobody's, as in Kafka. `decoded_bytes_limit` bounds the memory that its decoded form may take.
///
/// # Errors
/// [`GuardError`] for a body that the decoder must not see.
pub fn check(
    api_key: i16,
    api_version: i16,
    body: &[u8],
    decoded_bytes_limit: u64,
) -> Result<GuardReport, GuardError> {
    let message = requests::message(api_key).ok_or(whole_body(GuardFault::UnknownApiKey))?;
    walk(message, api_version, body, decoded_bytes_limit).map(|(report, _)| report)
}

/// The versions of a request kind that can be decoded.
pub(super) fn request_versions(api_key: i16) -> Option<Versions> {
    let message = requests::message(api_key)?;
    Some(Versions { min: message.version_min, max: message.version_max })
}

/// The first flexible version (KIP-482) of a request kind that can be decoded.
pub(super) fn request_flexible_since(api_key: i16) -> Option<i16> {
    requests::message(api_key).map(|message| message.flexible_since).filter(|since| *since != schema::NEVER)
}

/// Heap bytes that a byte of a request's body may become when it is decoded, in any version; `None` without a schema. Unknown tags may take
/// more: [`check`] counts what a body really takes.
pub fn growth_max(api_key: i16) -> Option<u64> {
    requests::message(api_key).map(growth::growth_max)
}

/// Checks a response's body, on the side that reads answers: the peer may be any cluster.
///
/// # Errors
/// As [`check`].
pub fn check_response(
    api_key: i16,
    api_version: i16,
    body: &[u8],
    decoded_bytes_limit: u64,
) -> Result<GuardReport, GuardError> {
    let message = responses::message(api_key).ok_or(whole_body(GuardFault::UnknownApiKey))?;
    match walk(message, api_version, body, decoded_bytes_limit)? {
        (report, 0) => Ok(report),
        (_, rest) => {
            Err(GuardError { at: body.len() - rest, field: "body", fault: GuardFault::TrailingBytes })
        }
    }
}

/// What was found, and how many bytes are left behind the last field.
fn walk(
    message: &'static Message,
    version: i16,
    body: &[u8],
    decoded_bytes_limit: u64,
) -> Result<(GuardReport, usize), GuardError> {
    if version < message.version_min || version > message.version_max {
        return Err(whole_body(GuardFault::UnsupportedVersion));
    }
    let flexible = version >= message.flexible_since;
    let mut walk = Walk {
        reader: Reader::new(body),
        version,
        flexible,
        decoded_bytes: DECODER_OWN_BYTES,
        decoded_bytes_limit,
    };
    walk.fields(message.fields)?;
    Ok((GuardReport { decoded_bytes_max: walk.decoded_bytes }, walk.reader.remaining()))
}

fn whole_body(fault: GuardFault) -> GuardError {
    GuardError { at: 0, field: "body", fault }
}

/// What decoding takes even of an empty body: `Bytes` turns a vector into shared memory when first sliced.
const DECODER_OWN_BYTES: u64 = 64;
/// Heap of a `BTreeMap<i32, Bytes>` with one entry: a leaf node of eleven.
const FIRST_UNKNOWN_TAG_BYTES: u64 = 448;
/// Growth of that map by one entry, at the lowest filling that insertions leave.
const NEXT_UNKNOWN_TAG_BYTES: u64 = 112;

/// The state of one walk. Recursion is as deep as the schema, which a peer cannot change.
struct Walk<'a> {
    reader: Reader<'a>,
    version: i16,
    flexible: bool,
    decoded_bytes: u64,
    decoded_bytes_limit: u64,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), GuardError> {
        for field in fields {
            if field.is_plain_in(self.version) {
                self.field(field)?;
            }
        }
        if self.flexible { self.tagged_fields(fields) } else { Ok(()) }
    }

    fn field(&mut self, field: &'static Field) -> Result<(), GuardError> {
        match field.shape {
            Shape::Fixed { wire_bytes } => self.skip(field, wire_bytes),
            Shape::Text => self.text(field),
            Shape::Blob => {
                let length = self.reader.length(self.flexible);
                match self.present(field, length)? {
                    Some(length) => self.skip(field, length),
                    None => Ok(()),
                }
            }
            Shape::FixedArray { wire_bytes } => self.fixed_array(field, wire_bytes),
            Shape::TextArray => self.array(field, schema::TEXT_MEMORY_BYTES, |walk| walk.text(field)),
            Shape::Struct { fields } => self.structure(field, fields),
            Shape::StructArray { memory_bytes, fields } => {
                self.array(field, memory_bytes, |walk| walk.fields(fields))
            }
        }
    }

    fn skip(&mut self, field: &'static Field, count: usize) -> Result<(), GuardError> {
        self.reader.take(count).map(|_| ()).map_err(|error| self.unreadable(field.name, error))
    }

    /// The text of a string field or of an element of an array of strings, whose nullness differs from its array's.
    fn text(&mut self, field: &'static Field) -> Result<(), GuardError> {
        let length = self.reader.text_length(self.flexible);
        let length = match field.shape {
            Shape::TextArray => {
                self.read(field.name, length)?.ok_or(self.fault(field.name, GuardFault::Null))?
            }
            _ => match self.present(field, length)? {
                Some(length) => length,
                None => return Ok(()),
            },
        };
        self.skip(field, length)
    }

    fn fixed_array(&mut self, field: &'static Field, wire_bytes: usize) -> Result<(), GuardError> {
        let Some(count) = self.count(field)? else {
            return Ok(());
        };
        // The count is at most the bytes that remain, and an element at most 16 bytes: no overflow.
        self.skip(field, count * wire_bytes)?;
        self.grow(field.name, (count * wire_bytes) as u64)
    }

    fn array(
        &mut self,
        field: &'static Field,
        element_memory_bytes: usize,
        mut element: impl FnMut(&mut Self) -> Result<(), GuardError>,
    ) -> Result<(), GuardError> {
        let Some(count) = self.count(field)? else {
            return Ok(());
        };
        self.grow(field.name, count as u64 * element_memory_bytes as u64)?;
        for _ in 0..count {
            element(self)?;
        }
        Ok(())
    }

    /// A struct of its own: nullable ones have a presence byte, tagged ones none (KIP-893).
    fn structure(&mut self, field: &'static Field, fields: &'static [Field]) -> Result<(), GuardError> {
        if field.tag.is_none() && field.is_nullable_in(self.version) {
            let presence = self.reader.i8();
            if self.read(field.name, presence)? != 1 {
                return Ok(());
            }
        }
        self.fields(fields)
    }

    fn count(&mut self, field: &'static Field) -> Result<Option<usize>, GuardError> {
        let count = self.reader.length(self.flexible);
        let count = self.present(field, count)?;
        let remaining = self.reader.remaining();
        match count {
            Some(count) if count > remaining => {
                Err(self.fault(field.name, GuardFault::CountTooLarge { count, remaining }))
            }
            _ => Ok(count),
        }
    }

    fn tagged_fields(&mut self, fields: &'static [Field]) -> Result<(), GuardError> {
        let mut unknown = 0u64;
        let count = self.tag_varint()?;
        for _ in 0..count {
            let tag = self.tag_varint()?;
            let size = self.tag_varint()? as usize;
            match fields.iter().find(|field| field.is_tagged_in(self.version, tag)) {
                Some(field) => self.known_tag(field, size)?,
                None => {
                    let skipped = self.reader.take(size).map(|_| ());
                    self.read("tags", skipped)?;
                    self.grow(
                        "tags",
                        if unknown == 0 { FIRST_UNKNOWN_TAG_BYTES } else { NEXT_UNKNOWN_TAG_BYTES },
                    )?;
                    unknown += 1;
                }
            }
        }
        Ok(())
    }

    fn known_tag(&mut self, field: &'static Field, size: usize) -> Result<(), GuardError> {
        if size > self.reader.remaining() {
            return Err(self.fault(field.name, GuardFault::Truncated));
        }
        let start = self.reader.position();
        self.field(field)?;
        match self.reader.position() - start == size {
            true => Ok(()),
            false => Err(self.fault(field.name, GuardFault::TagSize)),
        }
    }

    fn tag_varint(&mut self) -> Result<u32, GuardError> {
        let value = self.reader.uvarint();
        self.read("tags", value)
    }

    fn present(
        &self,
        field: &'static Field,
        length: Result<Option<usize>, ReadError>,
    ) -> Result<Option<usize>, GuardError> {
        match self.read(field.name, length)? {
            None if !field.is_nullable_in(self.version) => Err(self.fault(field.name, GuardFault::Null)),
            length => Ok(length),
        }
    }

    fn grow(&mut self, field: &'static str, bytes: u64) -> Result<(), GuardError> {
        // At most 2³¹ elements of a few hundred bytes each, in a body of at most 2³¹ bytes: no overflow.
        self.decoded_bytes += bytes;
        if self.decoded_bytes > self.decoded_bytes_limit {
            let decoded_bytes_limit = self.decoded_bytes_limit;
            return Err(self.fault(field, GuardFault::DecodedTooLarge { decoded_bytes_limit }));
        }
        Ok(())
    }

    fn read<T>(&self, field: &'static str, value: Result<T, ReadError>) -> Result<T, GuardError> {
        value.map_err(|error| self.unreadable(field, error))
    }

    fn unreadable(&self, field: &'static str, error: ReadError) -> GuardError {
        self.fault(field, error.into())
    }

    fn fault(&self, field: &'static str, fault: GuardFault) -> GuardError {
        GuardError { at: self.reader.position(), field, fault }
    }
}
