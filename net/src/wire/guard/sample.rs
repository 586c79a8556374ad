//! Random valid bodies of requests and responses, made from the guard's own schemas: for tests, fuzzers and load that need every kind in
//! every version. Draws only from the source that the caller hands in, so a seed replays. Knows nothing of what a body
//! means: numbers and names are noise.

use super::schema::{Field, Message, Shape};

/// A request body of this kind and version that the guard passes and the decoder reads, or `None` when there is none.
/// `below(n)` draws a number in `0..n`.
pub fn request_body(api_key: i16, api_version: i16, below: &mut dyn FnMut(u32) -> u32) -> Option<Vec<u8>> {
    body(super::requests::message(api_key)?, api_version, below)
}

/// [`request_body`] for responses.
pub fn response_body(api_key: i16, api_version: i16, below: &mut dyn FnMut(u32) -> u32) -> Option<Vec<u8>> {
    body(super::responses::message(api_key)?, api_version, below)
}

fn body(message: &Message, version: i16, below: &mut dyn FnMut(u32) -> u32) -> Option<Vec<u8>> {
    if !(message.version_min..=message.version_max).contains(&version) {
        return None;
    }
    let mut sample = Sample { body: Vec::new(), version, flexible: version >= message.flexible_since, below };
    sample.fields(message.fields);
    Some(sample.body)
}

/// Elements that an array has at most, and characters of a string or bytes of a byte field.
const ELEMENTS_MAX: u32 = 3;
const TEXT_BYTES_MAX: u32 = 12;

struct Sample<'a> {
    body: Vec<u8>,
    version: i16,
    flexible: bool,
    below: &'a mut dyn FnMut(u32) -> u32,
}

impl Sample<'_> {
    fn fields(&mut self, fields: &[Field]) {
        let version = self.version;
        for field in fields.iter().filter(|field| field.is_plain_in(version)) {
            let null = field.is_nullable_in(version) && (self.below)(4) == 0;
            if null { self.null(field) } else { self.value(field, 0) }
        }
        if self.flexible {
            self.tagged_fields(fields);
        }
    }

    fn null(&mut self, field: &Field) {
        match field.shape {
            Shape::Struct { .. } => self.body.push(0xff),
            Shape::Text if !self.flexible => self.body.extend([0xff; 2]),
            _ if self.flexible => self.body.push(0),
            _ => self.body.extend([0xff; 4]),
        }
    }

    /// A value with at least `least` elements, characters or bytes.
    fn value(&mut self, field: &Field, least: u32) {
        match field.shape {
            Shape::Fixed { wire_bytes } => self.number(wire_bytes),
            Shape::Text => self.text(least),
            Shape::Blob => {
                let count = self.count(least, TEXT_BYTES_MAX);
                self.noise(count);
            }
            Shape::FixedArray { wire_bytes } => {
                let count = self.count(least, ELEMENTS_MAX);
                (0..count).for_each(|_| self.number(wire_bytes));
            }
            Shape::TextArray => {
                let count = self.count(least, ELEMENTS_MAX);
                (0..count).for_each(|_| self.text(0));
            }
            Shape::Struct { fields } => {
                if field.tag.is_none() && field.is_nullable_in(self.version) {
                    self.body.push(1);
                }
                self.fields(fields);
            }
            Shape::StructArray { fields, .. } => {
                let count = self.count(least, ELEMENTS_MAX);
                (0..count).for_each(|_| self.fields(fields));
            }
        }
    }

    /// One byte is a boolean as often as a number: true is both.
    fn number(&mut self, wire_bytes: usize) {
        if wire_bytes == 1 { self.body.push(1) } else { self.noise(wire_bytes as u32) }
    }

    fn noise(&mut self, count: u32) {
        for _ in 0..count {
            let byte = (self.below)(256) as u8;
            self.body.push(byte);
        }
    }

    fn text(&mut self, least: u32) {
        let count = least + (self.below)(TEXT_BYTES_MAX);
        if self.flexible {
            self.uvarint(count + 1)
        } else {
            self.body.extend((count as u16).to_be_bytes())
        }
        for _ in 0..count {
            let letter = b'a' + (self.below)(26) as u8;
            self.body.push(letter);
        }
    }

    fn count(&mut self, least: u32, most: u32) -> u32 {
        let count = least + (self.below)(most + 1 - least);
        if self.flexible {
            self.uvarint(count + 1)
        } else {
            self.body.extend(count.to_be_bytes())
        }
        count
    }

    /// Each known tag as often as not, never with a default value, which an encoder leaves out; then an unknown one.
    fn tagged_fields(&mut self, fields: &[Field]) {
        let mut contents: Vec<(u32, Vec<u8>)> = Vec::new();
        for (field, tag) in fields.iter().filter_map(|field| Some((field, field.tag?))) {
            if field.is_tagged_in(self.version, tag) && (self.below)(2) == 0 {
                let before = std::mem::take(&mut self.body);
                self.value(field, 1);
                contents.push((tag, std::mem::replace(&mut self.body, before)));
            }
        }
        if (self.below)(4) == 0 {
            contents.push((1000 + (self.below)(1000), vec![7; (self.below)(8) as usize]));
        }
        contents.sort_by_key(|(tag, _)| *tag);
        self.uvarint(contents.len() as u32);
        for (tag, content) in contents {
            self.uvarint(tag);
            self.uvarint(content.len() as u32);
            self.body.extend(content);
        }
    }

    fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.body.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.body.push(value as u8);
    }
}
