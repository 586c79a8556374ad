//! How the records of the internal topics are described: fields, structs, and tables of kinds, from which both directions
//! of their codec follow.
//!
//! A key or a value is the number of its schema or version as `i16`, then the message (Kafka's `CoordinatorRecordSerde`):
//!
//! ```text
//! key:   ┌───────────┬───────────────────────────────┐   value: ┌─────────┬─────────────────────────────────┐
//!        │ kind, i16 │ fields in the classic encoding│          │ version │ fields, flexible from a version │
//!        └───────────┴───────────────────────────────┘          └─────────┴─────────────────────────────────┘
//! ```

use crate::primitives::{DecodeError, EncodeError, Form, Reader, Writer};
use bytes::Bytes;
use uuid::Uuid;

/// What stands in a message: a primitive, a struct, a list or an option of them.
pub(super) trait Field: Sized {
    /// The fewest bytes that it takes in any version, so that a count can be checked before anything is allocated.
    const BYTES_MIN: usize;

    /// Reads it as `version` of the message has it.
    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError>;

    /// Appends it as `version` of the message has it; what that version has not is left out.
    fn write(&self, w: &mut Writer, version: u16);
}

/// The value of a record. Most schemas have version 0 alone, which is flexible.
pub(super) trait Value: Field {
    /// The highest of the schema's `validVersions`; they all start at 0.
    const VERSION_MAX: u16 = 0;
    /// The lowest of the schema's `flexibleVersions`.
    const FLEXIBLE_FROM: u16 = 0;

    /// The version in which Kafka 4.2 writes it.
    fn version_written(&self) -> u16 {
        Self::VERSION_MAX
    }
}

/// A record of a kind that is not known here, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRecord {
    /// The kind: the first two bytes of the key.
    pub kind: u16,
    /// The rest of the key.
    pub key: Bytes,
    /// The value with its version; `None` is a tombstone.
    pub value: Option<Bytes>,
}

impl UnknownRecord {
    pub(super) fn encode(&self) -> (Bytes, Option<Bytes>) {
        let key = [&self.kind.to_be_bytes(), &*self.key].concat();
        (Bytes::from(key), self.value.clone())
    }

    pub(super) fn decode(kind: u16, mut r: Reader<'_>, value: Option<&[u8]>) -> Self {
        Self { kind, key: Bytes::copy_from_slice(r.rest()), value: value.map(Bytes::copy_from_slice) }
    }
}

pub(super) fn encode_key<K: Field>(kind: u16, key: &K) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    w.set_form(Form::Classic);
    w.u16(kind);
    key.write(&mut w, kind);
    w.finish()
}

pub(super) fn encode_value<V: Value>(value: &V) -> Result<Bytes, EncodeError> {
    encode_value_at(value, value.version_written())
}

/// Writes a value in any version of its schema; what that version has not is left out.
pub(super) fn encode_value_at<V: Value>(value: &V, version: u16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    w.set_form(form_of::<V>(version));
    w.u16(version);
    value.write(&mut w, version);
    w.finish()
}

/// The kind of a key, and a reader of the rest.
pub(super) fn decode_kind(key: &[u8]) -> Result<(u16, Reader<'_>), DecodeError> {
    let mut r = Reader::new(key);
    r.set_form(Form::Classic);
    Ok((r.u16()?, r))
}

pub(super) fn decode_key<K: Field>(kind: u16, mut r: Reader<'_>) -> Result<K, DecodeError> {
    let key = K::read(&mut r, kind)?;
    r.finish()?;
    Ok(key)
}

pub(super) fn decode_value<V: Value>(kind: u16, value: Option<&[u8]>) -> Result<Option<V>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut r = Reader::new(value);
    let version = r.u16()?;
    if version > V::VERSION_MAX {
        return Err(DecodeError::UnsupportedVersion { api_key: kind, version });
    }
    r.set_form(form_of::<V>(version));
    let value = V::read(&mut r, version)?;
    r.finish()?;
    Ok(Some(value))
}

fn form_of<V: Value>(version: u16) -> Form {
    if version >= V::FLEXIBLE_FROM { Form::Flexible } else { Form::Classic }
}

macro_rules! primitive_field {
    ($($type:ty: $bytes_min:literal, $read:ident, |$w:ident, $value:ident| $write:expr;)+) => { $(
        impl Field for $type {
            const BYTES_MIN: usize = $bytes_min;

            fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
                r.$read()
            }

            fn write(&self, $w: &mut Writer, _version: u16) {
                let $value = self;
                $write;
            }
        }
    )+ };
}

primitive_field! {
    i8: 1, i8, |w, value| w.i8(*value);
    i16: 2, i16, |w, value| w.i16(*value);
    i32: 4, i32, |w, value| w.i32(*value);
    i64: 8, i64, |w, value| w.i64(*value);
    Uuid: 16, uuid, |w, value| w.uuid(value);
    Bytes: 1, bytes, |w, value| w.bytes(value);
    String: 1, string, |w, value| w.string(value);
    Option<String>: 1, string_or_null, |w, value| w.string_or_null(value.as_deref());
}

impl<T: Field> Field for Vec<T> {
    const BYTES_MIN: usize = 1;

    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError> {
        r.list(T::BYTES_MIN, |r| T::read(r, version))
    }

    fn write(&self, w: &mut Writer, version: u16) {
        w.list(self, |w, element| element.write(w, version));
    }
}

impl<T: Field> Field for Option<Vec<T>> {
    const BYTES_MIN: usize = 1;

    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError> {
        r.list_or_null(T::BYTES_MIN, |r| T::read(r, version))
    }

    fn write(&self, w: &mut Writer, version: u16) {
        w.list_or_null(self.as_deref(), |w, element| element.write(w, version));
    }
}

/// Describes a struct of a schema: its fields in order, then its tagged ones in ascending order of tag.
///
/// A field that not every version has says `[versions, else what it is in others]`; a tagged one `[else its default]`.
macro_rules! message {
    (
        $(#[$doc:meta])*
        $name:ident {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty $([$versions:pat, else $absent:expr])?, )+
        } $(tagged {
            $( $(#[$tagged_doc:meta])* $tag:literal $tagged:ident: $tagged_type:ty [else $default:expr], )+
        })?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )+
            $($( $(#[$tagged_doc])* pub $tagged: $tagged_type, )+)?
        }

        impl Field for $name {
            const BYTES_MIN: usize = 0 $( + message!(@bytes_min $type $([$versions])?) )+;

            fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError> {
                $( let $field = message!(@read r, version, $type $([$versions, $absent])?); )+
                $($( let mut $tagged: $tagged_type = $default; )+)?
                r.tags(|tag, value| match (tag, value) {
                    $($( ($tag, value) => {
                        $tagged = Field::read(value, version)?;
                        Ok(true)
                    } )+)?
                    _ => Ok(false),
                })?;
                Ok(Self { $( $field, )+ $($( $tagged, )+)? })
            }

            fn write(&self, w: &mut Writer, version: u16) {
                $( message!(@write w, version, self.$field $([$versions])?); )+
                w.tags(|_t| {
                    $($( _t.field($tag, self.$tagged != $default, |w| self.$tagged.write(w, version)); )+)?
                });
            }
        }
    };
    (@bytes_min $type:ty) => { <$type as Field>::BYTES_MIN };
    (@bytes_min $type:ty [$versions:pat]) => { 0 };
    (@read $r:ident, $version:ident, $type:ty) => { <$type as Field>::read($r, $version)? };
    (@read $r:ident, $version:ident, $type:ty [$versions:pat, $absent:expr]) => {
        if matches!($version, $versions) { <$type as Field>::read($r, $version)? } else { $absent }
    };
    (@write $w:ident, $version:ident, $self:ident.$field:ident) => { $self.$field.write($w, $version) };
    (@write $w:ident, $version:ident, $self:ident.$field:ident [$versions:pat]) => {
        if matches!($version, $versions) {
            $self.$field.write($w, $version);
        }
    };
}

/// Describes the records of a topic: `kind Name(key, value)`, where `kind | older` has another number that is read too.
macro_rules! records {
    (
        $(#[$doc:meta])*
        $name:ident {
            $( $(#[$variant_doc:meta])* $kind:literal $(| $older:literal)? $variant:ident($key:ty, $value:ty), )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant($key, Option<$value>), )+
            /// A kind that is not known here; Kafka skips such records when it loads a partition.
            Unknown(UnknownRecord),
        }

        impl $name {
            /// The key and the value of the record, `None` for a tombstone, in the versions that Kafka 4.2 writes.
            ///
            /// # Errors
            /// A string above 32,767 bytes, the most that Kafka's encodings allow.
            pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
                match self {
                    $( Self::$variant(key, value) => {
                        let value = value.as_ref().map(encode_value).transpose()?;
                        Ok((encode_key($kind, key)?, value))
                    } )+
                    Self::Unknown(record) => Ok(record.encode()),
                }
            }

            /// The record in a key and a value, which is `None` for a tombstone.
            ///
            /// Tagged fields that Kafka 4.2 does not define are skipped. Memory taken is bounded by a small multiple of the
            /// bytes' number.
            ///
            /// # Errors
            /// Whatever is not exactly one record of a known kind, and versions of values that Kafka 4.2 does not know.
            pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, DecodeError> {
                let (kind, r) = decode_kind(key)?;
                Ok(match kind {
                    $( $kind $(| $older)? => Self::$variant(decode_key(kind, r)?, decode_value(kind, value)?), )+
                    _ => Self::Unknown(UnknownRecord::decode(kind, r, value)),
                })
            }
        }
    };
}

pub(super) use {message, records};
