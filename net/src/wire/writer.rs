//! Writes Kafka's primitive types for the bodies that we encode ourselves, into one growing buffer. Knows flexible from
//! plain versions and nothing of messages. The counterpart of `reader`.

use bytes::{BufMut, BytesMut};

use crate::error::WireError;

/// A buffer for one message of one version.
pub(crate) struct Writer {
    buffer: BytesMut,
    flexible: bool,
}

impl Writer {
    /// A frame's start: room for its length prefix, then the response header (ResponseHeader.json).
    pub(crate) fn response(correlation_id: i32, flexible: bool, capacity: usize) -> Self {
        let mut writer = Self { buffer: BytesMut::with_capacity(capacity), flexible };
        writer.i32(0);
        writer.i32(correlation_id);
        writer.no_tags();
        writer
    }

    /// A frame's start: room for its length prefix, then the request header (RequestHeader.json, version 1 or, flexible, 2).
    pub(crate) fn request(
        api_key: i16,
        api_version: i16,
        correlation_id: i32,
        client_id: &str,
        flexible: bool,
    ) -> Result<Self, WireError> {
        let client_id_bytes =
            i16::try_from(client_id.len()).map_err(|_| too_long("string", client_id.len()))?;
        let mut writer = Self { buffer: BytesMut::with_capacity(64 + client_id.len()), flexible };
        writer.i32(0);
        writer.i16(api_key);
        writer.i16(api_version);
        writer.i32(correlation_id);
        // Never compact, so that a broker reads it in every version.
        writer.i16(client_id_bytes);
        writer.buffer.put_slice(client_id.as_bytes());
        writer.no_tags();
        Ok(writer)
    }

    /// Bytes written so far.
    pub(crate) fn position(&self) -> usize {
        self.buffer.len()
    }

    /// Fills in the length prefix for a frame of which `elsewhere` bytes are not in this buffer, and gives it out.
    pub(crate) fn finish(mut self, elsewhere: usize) -> Result<BytesMut, WireError> {
        let frame_bytes = self.buffer.len() - crate::frame::LENGTH_BYTES + elsewhere;
        let length = i32::try_from(frame_bytes).map_err(|_| too_long("frame", frame_bytes))?;
        self.buffer[..crate::frame::LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(self.buffer)
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    pub(crate) fn uuid(&mut self, value: uuid::Uuid) {
        self.buffer.put_slice(value.as_bytes());
    }

    pub(crate) fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// A string that may be null.
    pub(crate) fn nullable_text(&mut self, text: Option<&str>) -> Result<(), WireError> {
        match text {
            Some(text) => self.text(text),
            None if self.flexible => {
                self.uvarint(0);
                Ok(())
            }
            None => {
                self.i16(-1);
                Ok(())
            }
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), WireError> {
        // Kafka's own limit in both forms: a string is at most 32,767 bytes.
        let length = i16::try_from(text.len()).map_err(|_| too_long("string", text.len()))?;
        if self.flexible {
            self.uvarint(u32::from(length.unsigned_abs()) + 1)
        } else {
            self.i16(length)
        }
        self.buffer.put_slice(text.as_bytes());
        Ok(())
    }

    /// The count of an array or the length of a byte field.
    pub(crate) fn length(&mut self, length: usize) -> Result<(), WireError> {
        let plain = i32::try_from(length).map_err(|_| too_long("array", length))?;
        if self.flexible {
            self.uvarint(plain.unsigned_abs() + 1)
        } else {
            self.i32(plain)
        }
        Ok(())
    }

    /// The count of an array that is null.
    pub(crate) fn null_length(&mut self) {
        if self.flexible { self.uvarint(0) } else { self.i32(-1) }
    }

    /// The end of a struct without tagged fields.
    pub(crate) fn no_tags(&mut self) {
        if self.flexible {
            self.buffer.put_u8(0);
        }
    }

    /// A tagged field whose content `write` writes.
    pub(crate) fn tagged(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Self) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let mut content = Self { buffer: BytesMut::new(), flexible: self.flexible };
        write(&mut content)?;
        let length =
            u32::try_from(content.buffer.len()).map_err(|_| too_long("tag", content.buffer.len()))?;
        self.uvarint(tag);
        self.uvarint(length);
        self.buffer.put_slice(&content.buffer);
        Ok(())
    }
}

fn too_long(what: &str, length: usize) -> WireError {
    WireError::Unencodable { reason: format!("{what} of {length} bytes or elements") }
}
