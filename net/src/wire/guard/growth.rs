//! How much a body can grow when it is decoded, from its schema alone: the densest array that it may hold. For who has to set memory aside
//! before a body has come.

use super::schema::{Field, Message, Shape};

/// Heap bytes that a byte of a body may become, unknown tags aside. Kafka's clients send none.
pub(super) fn growth_max(message: &Message) -> u64 {
    let versions = message.version_min..=message.version_max;
    let growth = |version| {
        let version = Version { version, flexible: version >= message.flexible_since };
        version.growth(message.fields)
    };
    versions.map(growth).max().unwrap_or(1)
}

/// The form that a schema has in one version.
#[derive(Clone, Copy)]
struct Version {
    version: i16,
    flexible: bool,
}

impl Version {
    /// Of the densest array among these fields and theirs.
    fn growth(self, fields: &[Field]) -> u64 {
        let present = fields.iter().filter(|field| {
            field.is_plain_in(self.version)
                || field.tag.is_some_and(|tag| field.is_tagged_in(self.version, tag))
        });
        present.map(|field| self.growth_of(field)).max().unwrap_or(1)
    }

    fn growth_of(self, field: &Field) -> u64 {
        match field.shape {
            Shape::Fixed { .. } | Shape::Text | Shape::Blob | Shape::FixedArray { .. } => 1,
            Shape::TextArray => ratio(super::schema::TEXT_MEMORY_BYTES, self.text_bytes_min()),
            Shape::Struct { fields } => self.growth(fields),
            Shape::StructArray { memory_bytes, fields } => {
                ratio(memory_bytes, self.bytes_min(fields)).max(self.growth(fields))
            }
        }
    }

    /// The fewest bytes on the wire of a struct with these fields.
    fn bytes_min(self, fields: &[Field]) -> usize {
        let plain = fields.iter().filter(|field| field.is_plain_in(self.version));
        plain.map(|field| self.field_bytes_min(field)).sum::<usize>() + usize::from(self.flexible)
    }

    fn field_bytes_min(self, field: &Field) -> usize {
        match field.shape {
            Shape::Fixed { wire_bytes } => wire_bytes,
            Shape::Text => self.text_bytes_min(),
            Shape::Struct { .. } if field.is_nullable_in(self.version) => 1,
            Shape::Struct { fields } => self.bytes_min(fields),
            Shape::Blob | Shape::FixedArray { .. } | Shape::TextArray | Shape::StructArray { .. } => {
                if self.flexible { 1 } else { 4 }
            }
        }
    }

    fn text_bytes_min(self) -> usize {
        if self.flexible { 1 } else { 2 }
    }
}

fn ratio(memory_bytes: usize, wire_bytes: usize) -> u64 {
    (memory_bytes as u64).div_ceil(wire_bytes.max(1) as u64)
}
