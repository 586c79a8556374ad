//! A cursor over bytes that a peer sent: every read is checked, nothing panics, nothing allocates.
//! Knows Kafka's primitive types and nothing of messages. Encodings: Kafka protocol guide, "Protocol primitive types".

/// The bytes ended, or a primitive was malformed, at a position of the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// Fewer bytes remain than the value needs.
    Truncated,
    /// A length below −1.
    NegativeLength,
    /// An unsigned varint of more than 32 bits.
    VarintTooLong,
    /// A string of more bytes than its kind may have.
    TextTooLong,
}

/// The most bytes of a string, in any encoding.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// Reads primitives from the front of a slice.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes consumed so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Bytes not yet consumed.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let end = self.at.checked_add(count).ok_or(ReadError::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(ReadError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        self.take(N)?.try_into().map_err(|_| ReadError::Truncated)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ReadError> {
        let byte = *self.bytes.get(self.at).ok_or(ReadError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, ReadError> {
        self.u8().map(u8::cast_signed)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, ReadError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, ReadError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, ReadError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<uuid::Uuid, ReadError> {
        self.array().map(uuid::Uuid::from_bytes)
    }

    /// An unsigned varint of at most 32 bits. Overlong forms within five bytes pass, as in Kafka.
    pub(crate) fn uvarint(&mut self) -> Result<u32, ReadError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        let last = self.u8()?;
        if last > 0x0f {
            return Err(ReadError::VarintTooLong);
        }
        Ok(value | u32::from(last) << 28)
    }

    /// The length of a string: `i16`, or a varint one above it when `compact`, which is no larger either: as Kafka reads it, and as
    /// records can hold it. `None` is null.
    pub(crate) fn text_length(&mut self, compact: bool) -> Result<Option<usize>, ReadError> {
        if compact {
            match self.compact_length()? {
                Some(length) if length > TEXT_BYTES_MAX => Err(ReadError::TextTooLong),
                length => Ok(length),
            }
        } else {
            self.i16().and_then(|length| plain_length(length.into()))
        }
    }

    /// The length of a byte field or the count of an array: `i32`, or a varint one above it when `compact`.
    pub(crate) fn length(&mut self, compact: bool) -> Result<Option<usize>, ReadError> {
        if compact { self.compact_length() } else { self.i32().and_then(plain_length) }
    }

    /// Skips the tagged fields at the end of a flexible struct of which none is known.
    pub(crate) fn skip_tagged_fields(&mut self) -> Result<(), ReadError> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let length = self.uvarint()?;
            self.take(length as usize)?;
        }
        Ok(())
    }

    fn compact_length(&mut self) -> Result<Option<usize>, ReadError> {
        // A `u32` fits into `usize` on the 64-bit targets that this builds for.
        self.uvarint().map(|above| above.checked_sub(1).map(|length| length as usize))
    }
}

fn plain_length(length: i32) -> Result<Option<usize>, ReadError> {
    match length {
        -1 => Ok(None),
        _ => usize::try_from(length).map(Some).map_err(|_| ReadError::NegativeLength),
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadError, Reader};

    #[test]
    fn varints_read_as_kafka_writes_them() {
        let cases: [(&[u8], Result<u32, ReadError>); 8] = [
            (&[0], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0xac, 0x02], Ok(300)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
            (&[0x80, 0x00], Ok(0)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(ReadError::VarintTooLong)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Err(ReadError::VarintTooLong)),
            (&[0x80], Err(ReadError::Truncated)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Reader::new(bytes).uvarint(), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn lengths_know_null_and_refuse_other_negatives() {
        assert_eq!(Reader::new(&[0xff, 0xff]).text_length(false), Ok(None));
        assert_eq!(Reader::new(&[0xff, 0xfe]).text_length(false), Err(ReadError::NegativeLength));
        assert_eq!(Reader::new(&[0xff; 4]).length(false), Ok(None));
        assert_eq!(Reader::new(&[0x80, 0, 0, 0]).length(false), Err(ReadError::NegativeLength));
        assert_eq!(Reader::new(&[0]).length(true), Ok(None));
        assert_eq!(Reader::new(&[1]).length(true), Ok(Some(0)));
    }

    #[test]
    fn strings_are_no_longer_in_one_encoding_than_in_the_other() {
        assert_eq!(Reader::new(&[0x80, 0x80, 0x02]).text_length(true), Ok(Some(32_767)));
        assert_eq!(Reader::new(&[0x81, 0x80, 0x02]).text_length(true), Err(ReadError::TextTooLong));
        assert_eq!(
            Reader::new(&[0x81, 0x80, 0x02]).length(true),
            Ok(Some(32_768)),
            "bytes and arrays may be"
        );
    }

    #[test]
    fn taking_more_than_remains_changes_nothing() {
        let mut reader = Reader::new(&[1, 2]);
        assert_eq!(reader.take(3), Err(ReadError::Truncated));
        assert_eq!(reader.take(usize::MAX), Err(ReadError::Truncated));
        assert_eq!(reader.take(2), Ok(&[1u8, 2][..]));
        assert_eq!(reader.remaining(), 0);
    }
}
