//! What a message schema is to the guard: fields in wire order, each with its versions, nullness, tag and shape, and the
//! memory that an element of an array takes once decoded. The constructors keep the generated tables short.
//! Source of the notions: the README beside Kafka's message schemas.

/// The schema of one request or response kind.
pub(super) struct Message {
    /// First version that the decoder has.
    pub version_min: i16,
    /// Last version that the decoder has.
    pub version_max: i16,
    /// First flexible version (KIP-482); `NEVER` when there is none.
    pub flexible_since: i16,
    /// The fields in wire order.
    pub fields: &'static [Field],
}

/// A version that no message reaches.
pub(super) const NEVER: i16 = i16::MAX;

/// Memory of a decoded string in an array.
pub(super) const TEXT_MEMORY_BYTES: usize = size_of::<kafka_protocol::protocol::StrBytes>();

/// One field of a struct.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub name: &'static str,
    pub since: i16,
    pub until: i16,
    pub null_since: i16,
    pub null_until: i16,
    pub tag: Option<u32>,
    pub shape: Shape,
}

/// How a field lies on the wire.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Numbers, booleans, UUIDs.
    Fixed { wire_bytes: usize },
    /// A string.
    Text,
    /// Bytes or records.
    Blob,
    /// An array of fixed elements, which take as much memory as on the wire.
    FixedArray { wire_bytes: usize },
    /// An array of strings.
    TextArray,
    /// A struct in place.
    Struct { fields: &'static [Field] },
    /// An array of structs, each of which takes `memory_bytes` in the decoded array.
    StructArray { memory_bytes: usize, fields: &'static [Field] },
}

impl Field {
    const fn new(name: &'static str, since: i16, shape: Shape) -> Self {
        Self { name, since, until: NEVER, null_since: NEVER, null_until: NEVER, tag: None, shape }
    }

    /// The last version that has the field.
    pub const fn until(mut self, version: i16) -> Self {
        self.until = version;
        self
    }

    /// The first version in which it may be null.
    pub const fn nullable(mut self, since: i16) -> Self {
        self.null_since = since;
        self
    }

    /// The last version in which it may be null.
    pub const fn null_until(mut self, version: i16) -> Self {
        self.null_until = version;
        self
    }

    /// Makes it a tagged field.
    pub const fn tag(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }

    /// Whether it lies among the untagged fields of this version.
    pub fn is_plain_in(&self, version: i16) -> bool {
        self.tag.is_none() && self.is_in(version)
    }

    /// Whether this version has it under this tag.
    pub fn is_tagged_in(&self, version: i16, tag: u32) -> bool {
        self.tag == Some(tag) && self.is_in(version)
    }

    /// Whether null is a value of it in this version.
    pub fn is_nullable_in(&self, version: i16) -> bool {
        self.null_since <= version && version <= self.null_until
    }
}

/// A boolean or `int8`, from version `since`.
pub(super) const fn byte(name: &'static str, since: i16) -> Field {
    Field::new(name, since, Shape::Fixed { wire_bytes: 1 })
}

/// An `int16` or `uint16`.
pub(super) const fn int16(name: &'static str, since: i16) -> Field {
    Field::new(name, since, Shape::Fixed { wire_bytes: 2 })
}

/// An `int32`.
pub(super) const fn int32(name: &'static str, since: i16) -> Field {
    Field::new(name, since, Shape::Fixed { wire_bytes: 4 })
}

/// An `int64` or `float64`.
pub(super) const fn int64(name: &'static str, since: i16) -> Field {
    Field::new(name, since, Shape::Fixed { wire_bytes: 8 })
}

/// A UUID.
pub(super) const fn uuid(name: &'static str, since: i16) -> Field {
    Field::new(name, since, Shape::Fixed { wire_bytes: 16 })
}

/// A string.
pub(super) const fn text(name: &'static str, since: i16) -> Field {
    Field::new(name, since, Shape::Text)
}

/// Bytes or records.
pub(super) const fn blob(name: &'static str, since: i16) -> Field {
    Field::new(name, since, Shape::Blob)
}

/// An array of elements of `wire_bytes` each.
pub(super) const fn fixed_array(name: &'static str, since: i16, wire_bytes: usize) -> Field {
    Field::new(name, since, Shape::FixedArray { wire_bytes })
}

/// An array of strings.
pub(super) const fn text_array(name: &'static str, since: i16) -> Field {
    Field::new(name, since, Shape::TextArray)
}

/// A struct in place.
pub(super) const fn structure(name: &'static str, since: i16, fields: &'static [Field]) -> Field {
    Field::new(name, since, Shape::Struct { fields })
}

/// An array of structs, decoded into elements of type `T`.
pub(super) const fn array<T>(name: &'static str, since: i16, fields: &'static [Field]) -> Field {
    Field::new(name, since, Shape::StructArray { memory_bytes: size_of::<T>(), fields })
}
