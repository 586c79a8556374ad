//! The primitives of what Kafka stores as messages: a bounded reader and a writer of its two encodings.
//!
//! The flexible encoding (KIP-482) has lengths as varints and tagged fields; the classic one, of schemas' first versions, has
//! lengths as integers and no tags. Nothing here knows a record. Lengths and counts are checked against the bytes that remain
//! before anything is allocated; the bytes may come from a peer or a disk, so every fault is an error and none a panic.

use std::fmt;

use bytes::Bytes;
use uuid::Uuid;

/// The longest string of Kafka's protocol, in bytes.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Why bytes are not a record.
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

/// How lengths stand, and whether there are tagged fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lengths as 16 or 32 bits, negative for null; no tagged fields.
    Classic,
    /// Lengths as varints of one more, 0 for null; tagged fields end each struct.
    #[default]
    Flexible,
}

/// Reads primitives from the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Reader<'a> {
    /// Reads the flexible form.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, form: Form::Flexible }
    }

    /// Reads `form` from here on.
    pub(crate) fn set_form(&mut self, form: Form) {
        self.form = form;
    }

    /// Takes everything that remains.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Fails when bytes remain.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
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

    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    pub(crate) fn uvarint(&mut self) -> Result<u32, DecodeError> {
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

    pub(crate) fn string(&mut self) -> Result<String, DecodeError> {
        self.string_or_null()?.ok_or(DecodeError::Null)
    }

    /// A length or count as the flexible form has it.
    fn compact_length(&mut self) -> Result<Option<u32>, DecodeError> {
        Ok(self.uvarint()?.checked_sub(1))
    }

    /// The length of a string, `None` for null.
    fn string_length(&mut self) -> Result<Option<u32>, DecodeError> {
        match self.form {
            Form::Classic => Ok(u32::try_from(self.i16()?).ok()),
            Form::Flexible => self.compact_length(),
        }
    }

    /// The length of bytes, or how many elements a list has; `None` for null.
    fn count(&mut self) -> Result<Option<u32>, DecodeError> {
        match self.form {
            Form::Classic => Ok(u32::try_from(self.i32()?).ok()),
            Form::Flexible => self.compact_length(),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.count()?.ok_or(DecodeError::Null)?;
        Ok(Bytes::copy_from_slice(self.take(length as usize)?))
    }

    pub(crate) fn string_or_null(&mut self) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.string_length()? else { return Ok(None) };
        if length as usize > STRING_BYTES_MAX {
            return Err(DecodeError::Length(length));
        }
        let bytes = self.take(length as usize)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
        Ok(Some(text.to_owned()))
    }

    /// An array whose elements take at least `element_bytes_min` (1 or more) bytes each; `None` is null.
    pub(crate) fn list_or_null<T>(
        &mut self,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.count()? else { return Ok(None) };
        if count as usize > self.rest.len() / element_bytes_min {
            return Err(DecodeError::Length(count));
        }
        let mut elements = Vec::with_capacity(count as usize);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    pub(crate) fn list<T>(
        &mut self,
        element_bytes_min: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.list_or_null(element_bytes_min, element)?.ok_or(DecodeError::Null)
    }

    pub(crate) fn i32_list(&mut self) -> Result<Vec<i32>, DecodeError> {
        self.list(4, Self::i32)
    }

    pub(crate) fn i32_list_or_null(&mut self) -> Result<Option<Vec<i32>>, DecodeError> {
        self.list_or_null(4, Self::i32)
    }

    pub(crate) fn uuid_list(&mut self) -> Result<Vec<Uuid>, DecodeError> {
        self.list(16, Self::uuid)
    }

    /// The section of tagged fields, which the classic form has not: `known` reads the value of a tag it knows and says so;
    /// others are skipped.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if self.form == Form::Classic {
            return Ok(());
        }
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
    pub(crate) fn no_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(false))
    }
}

/// Appends primitives; the first fault is kept and told at the end.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    form: Form,
    fault: Option<EncodeError>,
}

impl Writer {
    /// Writes the flexible form.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Writes `form` from here on.
    pub(crate) fn set_form(&mut self, form: Form) {
        self.form = form;
    }

    pub(crate) fn finish(self) -> Result<Bytes, EncodeError> {
        match self.fault {
            None => Ok(Bytes::from(self.bytes)),
            Some(fault) => Err(fault),
        }
    }

    fn fail(&mut self, fault: EncodeError) {
        self.fault.get_or_insert(fault);
    }

    /// Refuses to drop a field's value: call it where `version` has no `field`, with whether the value is the default.
    pub(crate) fn absent(&mut self, field: &'static str, is_default: bool) {
        if !is_default {
            self.fail(EncodeError::FieldNotInVersion(field));
        }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, value: &Uuid) {
        self.raw(value.as_bytes());
    }

    pub(crate) fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A length or count as the flexible form has it: one more than it is.
    fn compact_length(&mut self, length: usize) {
        let length = u32::try_from(length).expect("our own lists stay below 2^32 elements");
        self.uvarint(length.checked_add(1).expect("our own lists stay below 2^32 elements"));
    }

    /// The length of bytes, or how many elements a list has.
    fn count(&mut self, count: usize) {
        match self.form {
            Form::Classic => self.i32(i32::try_from(count).expect("our own lists stay below 2^31 elements")),
            Form::Flexible => self.compact_length(count),
        }
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.raw(value);
    }

    pub(crate) fn string(&mut self, value: &str) {
        let Ok(length) = i16::try_from(value.len()) else {
            return self.fail(EncodeError::StringTooLong(value.len()));
        };
        match self.form {
            Form::Classic => self.i16(length),
            Form::Flexible => self.compact_length(value.len()),
        }
        self.raw(value.as_bytes());
    }

    pub(crate) fn string_or_null(&mut self, value: Option<&str>) {
        match (value, self.form) {
            (Some(value), _) => self.string(value),
            (None, Form::Classic) => self.i16(-1),
            (None, Form::Flexible) => self.uvarint(0),
        }
    }

    pub(crate) fn list<T>(&mut self, values: &[T], mut element: impl FnMut(&mut Self, &T)) {
        self.count(values.len());
        for value in values {
            element(self, value);
        }
    }

    pub(crate) fn list_or_null<T>(&mut self, values: Option<&[T]>, element: impl FnMut(&mut Self, &T)) {
        match (values, self.form) {
            (Some(values), _) => self.list(values, element),
            (None, Form::Classic) => self.i32(-1),
            (None, Form::Flexible) => self.uvarint(0),
        }
    }

    pub(crate) fn i32_list(&mut self, values: &[i32]) {
        self.list(values, |w, value| w.i32(*value));
    }

    pub(crate) fn uuid_list(&mut self, values: &[Uuid]) {
        self.list(values, Self::uuid);
    }

    /// The section of tagged fields, which the classic form has not: `fields` adds them in ascending order of tag.
    pub(crate) fn tags(&mut self, fields: impl FnOnce(&mut Tags)) {
        if self.form == Form::Classic {
            return;
        }
        let mut tags = Tags::default();
        fields(&mut tags);
        self.uvarint(tags.count);
        self.raw(&tags.section.bytes);
        if let Some(fault) = tags.section.fault {
            self.fail(fault);
        }
    }

    /// An empty section of tagged fields.
    pub(crate) fn no_tags(&mut self) {
        self.tags(|_| ());
    }
}

/// Tagged fields under construction.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    section: Writer,
    count: u32,
}

impl Tags {
    /// Adds a field when it is `present`: fields that hold their default are left out, as Kafka does.
    pub(crate) fn field(&mut self, tag: u32, present: bool, value: impl FnOnce(&mut Writer)) {
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
    pub(crate) fn option<T: ?Sized>(
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
