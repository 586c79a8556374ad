//! The primitives of Kafka's flexible encoding (KIP-482): a bounded reader and a writer.
//!
//! Nothing here knows a record. Lengths and counts are checked against the bytes that remain before anything is
//! allocated; the bytes may come from a peer or a disk, so every fault is an error and none a panic.

use std::fmt;

use bytes::Bytes;
use uuid::Uuid;

/// The longest string of Kafka's protocol, in bytes.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Why bytes are not a metadata record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end before the record does.
    Truncated,
    /// A variable-length integer that does not fit 32 bits.
    Varint,
    /// A version of the frame that nobody has defined.
    FrameVersion(u32),
    /// An api key or version above 32,767.
    FrameNumber(u32),
    /// A version of a known kind that is newer than we know.
    UnsupportedVersion {
        /// The kind.
        api_key: u16,
        /// Its version.
        version: u16,
    },
    /// A string above 32,767 bytes, or a count that the remaining bytes cannot hold.
    Length(u32),
    /// A string that is not UTF-8.
    Utf8,
    /// Null where the schema has none.
    Null,
    /// Tags that are not strictly ascending.
    TagOrder(u32),
    /// A tagged field that the schema has, but not in this version.
    TagNotInVersion(u32),
    /// A tagged field with bytes left over behind its value.
    TagSize(u32),
    /// This many bytes behind the record.
    Trailing(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the bytes end before the record does"),
            Self::Varint => write!(f, "a varint does not fit 32 bits"),
            Self::FrameVersion(version) => write!(f, "unknown frame version {version}"),
            Self::FrameNumber(number) => write!(f, "api key or version {number} is out of range"),
            Self::UnsupportedVersion { api_key, version } => {
                write!(f, "version {version} of record kind {api_key} is newer than this program")
            }
            Self::Length(length) => write!(f, "a length of {length} does not fit the record"),
            Self::Utf8 => write!(f, "a string is not UTF-8"),
            Self::Null => write!(f, "a field is null that may not be"),
            Self::TagOrder(tag) => write!(f, "tagged field {tag} is out of order"),
            Self::TagNotInVersion(tag) => write!(f, "the version has no tagged field {tag}"),
            Self::TagSize(tag) => write!(f, "tagged field {tag} is longer than its value"),
            Self::Trailing(count) => write!(f, "{count} bytes follow the record"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a record cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A string above 32,767 bytes: its length in bytes.
    StringTooLong(usize),
    /// The kind has no such version.
    UnsupportedVersion {
        /// The kind.
        api_key: u16,
        /// The version asked for.
        version: u16,
    },
    /// The named field holds what the version cannot carry.
    FieldNotInVersion(&'static str),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StringTooLong(length) => write!(f, "a string of {length} bytes exceeds {STRING_BYTES_MAX}"),
            Self::UnsupportedVersion { api_key, version } => {
                write!(f, "record kind {api_key} has no version {version}")
            }
            Self::FieldNotInVersion(field) => write!(f, "the version cannot carry field {field}"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Reads primitives from the front of a slice.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes everything that remains.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Fails when bytes remain.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    pub(super) fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub(super) fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    pub(super) fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    pub(super) fn string(&mut self) -> Result<String, DecodeError> {
        self.string_or_null()?.ok_or(DecodeError::Null)
    }

    pub(super) fn string_or_null(&mut self) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.uvarint()?.checked_sub(1) else { return Ok(None) };
        if length as usize > STRING_BYTES_MAX {
            return Err(DecodeError::Length(length));
        }
        let bytes = self.take(length as usize)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
        Ok(Some(text.to_owned()))
    }

    /// A compact array whose elements take at least `element_bytes_min` (1 or more) bytes each; `None` is null.
    pub(super) fn list_or_null<T>(
        &mut self,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.uvarint()?.checked_sub(1) else { return Ok(None) };
        if count as usize > self.rest.len() / element_bytes_min {
            return Err(DecodeError::Length(count));
        }
        let mut elements = Vec::with_capacity(count as usize);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    pub(super) fn list<T>(
        &mut self,
        element_bytes_min: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.list_or_null(element_bytes_min, element)?.ok_or(DecodeError::Null)
    }

    pub(super) fn i32_list(&mut self) -> Result<Vec<i32>, DecodeError> {
        self.list(4, Self::i32)
    }

    pub(super) fn i32_list_or_null(&mut self) -> Result<Option<Vec<i32>>, DecodeError> {
        self.list_or_null(4, Self::i32)
    }

    pub(super) fn uuid_list(&mut self) -> Result<Vec<Uuid>, DecodeError> {
        self.list(16, Self::uuid)
    }

    /// The section of tagged fields: `known` reads the value of a tag it knows and says so; others are skipped.
    pub(super) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint()?;
        let mut lowest_next = 0;
        for _ in 0..count {
            let tag = self.uvarint()?;
            if tag < lowest_next {
                return Err(DecodeError::TagOrder(tag));
            }
            lowest_next = tag.checked_add(1).ok_or(DecodeError::TagOrder(tag))?;
            let size = self.uvarint()?;
            let mut value = Reader::new(self.take(size as usize)?);
            if known(tag, &mut value)? && !value.rest.is_empty() {
                return Err(DecodeError::TagSize(tag));
            }
        }
        Ok(())
    }

    /// A section of tagged fields of which none is known.
    pub(super) fn no_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(false))
    }
}

/// Appends primitives; the first fault is kept and told at the end.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    fault: Option<EncodeError>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn finish(self) -> Result<Bytes, EncodeError> {
        match self.fault {
            None => Ok(Bytes::from(self.bytes)),
            Some(fault) => Err(fault),
        }
    }

    fn fail(&mut self, fault: EncodeError) {
        self.fault.get_or_insert(fault);
    }

    /// Refuses to drop a field's value: call it where `version` has no `field`, with whether the value is the default.
    pub(super) fn absent(&mut self, field: &'static str, is_default: bool) {
        if !is_default {
            self.fail(EncodeError::FieldNotInVersion(field));
        }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    pub(super) fn uuid(&mut self, value: &Uuid) {
        self.raw(value.as_bytes());
    }

    pub(super) fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A length or count, one more than it is, as compact strings and arrays have it.
    fn compact_length(&mut self, length: usize) {
        let length = u32::try_from(length).expect("our own lists stay below 2^32 elements");
        self.uvarint(length.checked_add(1).expect("our own lists stay below 2^32 elements"));
    }

    pub(super) fn string(&mut self, value: &str) {
        if value.len() > STRING_BYTES_MAX {
            self.fail(EncodeError::StringTooLong(value.len()));
            return;
        }
        self.compact_length(value.len());
        self.raw(value.as_bytes());
    }

    pub(super) fn string_or_null(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.uvarint(0),
        }
    }

    pub(super) fn list<T>(&mut self, values: &[T], mut element: impl FnMut(&mut Self, &T)) {
        self.compact_length(values.len());
        for value in values {
            element(self, value);
        }
    }

    pub(super) fn i32_list(&mut self, values: &[i32]) {
        self.list(values, |w, value| w.i32(*value));
    }

    pub(super) fn uuid_list(&mut self, values: &[Uuid]) {
        self.list(values, Self::uuid);
    }

    /// The section of tagged fields: `fields` adds them in ascending order of tag.
    pub(super) fn tags(&mut self, fields: impl FnOnce(&mut Tags)) {
        let mut tags = Tags::default();
        fields(&mut tags);
        self.uvarint(tags.count);
        self.raw(&tags.section.bytes);
        if let Some(fault) = tags.section.fault {
            self.fail(fault);
        }
    }

    /// An empty section of tagged fields.
    pub(super) fn no_tags(&mut self) {
        self.uvarint(0);
    }
}

/// Tagged fields under construction.
#[derive(Debug, Default)]
pub(super) struct Tags {
    section: Writer,
    count: u32,
}

impl Tags {
    /// Adds a field when it is `present`: fields that hold their default are left out, as Kafka does.
    pub(super) fn field(&mut self, tag: u32, present: bool, value: impl FnOnce(&mut Writer)) {
        if !present {
            return;
        }
        let mut body = Writer::new();
        value(&mut body);
        if let Some(fault) = body.fault {
            self.section.fail(fault);
        }
        self.count += 1;
        self.section.uvarint(tag);
        self.section.uvarint(u32::try_from(body.bytes.len()).expect("our own fields stay below 4 GiB"));
        self.section.raw(&body.bytes);
    }

    /// Adds a field that is null by default.
    pub(super) fn option<T: ?Sized>(
        &mut self,
        tag: u32,
        value: Option<&T>,
        write: impl FnOnce(&mut Writer, &T),
    ) {
        if let Some(value) = value {
            self.field(tag, true, |w| write(w, value));
        }
    }
}
