//! How a consumed record is printed: a format after kcat's, read once, and written out for each record. Bytes leave as they are, whether
//! they are text or not.

use hayate_storage::batch::records::{Headers, Record};
use std::io::{self, Write};

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    Value,
    ValueBytes,
    Key,
    KeyBytes,
    Headers,
    Topic,
    Partition,
    Offset,
    Timestamp,
}

/// What is printed of each record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

impl Default for Format {
    fn default() -> Format {
        Format(vec![Piece::Value, Piece::Bytes(vec![b'\n'])])
    }
}

impl Format {
    /// From its text, as `hayate consume --help` explains it.
    ///
    /// # Errors
    /// What is wrong with it, to be said behind it.
    pub fn parse(text: &str) -> Result<Format, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let plain = rest.find('%').unwrap_or(rest.len());
            let (bytes, tail) = rest.split_at(plain);
            push(&mut pieces, unescape(bytes)?);
            let mut letters = tail.chars();
            rest = match letters.next() {
                Some(_) => {
                    match letters.next() {
                        Some('%') => push(&mut pieces, vec![b'%']),
                        letter => pieces.push(piece(letter)?),
                    }
                    letters.as_str()
                }
                None => "",
            };
        }
        Ok(Format(pieces))
    }

    /// Prints a record of a topic's partition.
    ///
    /// # Errors
    /// Of the output.
    pub(super) fn write(
        &self,
        topic: &str,
        partition: i32,
        record: &Record<'_>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => out.write_all(bytes),
                Piece::Value => out.write_all(record.value.unwrap_or_default()),
                Piece::ValueBytes => write!(out, "{}", length(record.value)),
                Piece::Key => out.write_all(record.key.unwrap_or_default()),
                Piece::KeyBytes => write!(out, "{}", length(record.key)),
                Piece::Headers => write_headers(record.headers.clone(), out),
                Piece::Topic => out.write_all(topic.as_bytes()),
                Piece::Partition => write!(out, "{partition}"),
                Piece::Offset => write!(out, "{}", record.offset),
                Piece::Timestamp => write!(out, "{}", record.timestamp_ms),
            }?;
        }
        Ok(())
    }
}

fn push(pieces: &mut Vec<Piece>, bytes: Vec<u8>) {
    match pieces.last_mut() {
        _ if bytes.is_empty() => {}
        Some(Piece::Bytes(before)) => before.extend(bytes),
        Some(_) | None => pieces.push(Piece::Bytes(bytes)),
    }
}

fn piece(letter: Option<char>) -> Result<Piece, String> {
    Ok(match letter {
        Some('v' | 's') => Piece::Value,
        Some('V' | 'S') => Piece::ValueBytes,
        Some('k') => Piece::Key,
        Some('K') => Piece::KeyBytes,
        Some('h') => Piece::Headers,
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('T') => Piece::Timestamp,
        Some(other) => return Err(format!("has %{other}, which stands for nothing")),
        None => return Err("ends with a single %".to_owned()),
    })
}

fn length(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

fn write_headers(headers: Headers<'_>, out: &mut impl Write) -> io::Result<()> {
    for (place, header) in headers.enumerate() {
        if place > 0 {
            out.write_all(b",")?;
        }
        out.write_all(header.key)?;
        out.write_all(b"=")?;
        out.write_all(header.value.unwrap_or(b"NULL"))?;
    }
    Ok(())
}

/// Bytes, with `\n`, `\t`, `\r`, `\0`, `\\` and `\xHH` for those that cannot be typed.
///
/// # Errors
/// What is wrong with the text, to be said behind it.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut rest = text.bytes();
    let mut bytes = Vec::with_capacity(text.len());
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'\\' { escaped(&mut rest)? } else { byte });
    }
    Ok(bytes)
}

/// The byte that stands behind a backslash.
fn escaped(rest: &mut impl Iterator<Item = u8>) -> Result<u8, String> {
    Ok(match rest.next() {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'0') => 0,
        Some(b'\\') => b'\\',
        Some(b'x') => {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let value = digit().and_then(|high| Some(high * 16 + digit()?));
            value.and_then(|value| u8::try_from(value).ok()).ok_or("needs two digits behind \\x")?
        }
        Some(_) | None => {
            return Err("has a backslash before what is none of n, t, r, 0, x and \\".to_owned());
        }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hayate_storage::batch::records::{Header, Records, body};
    use hayate_storage::batch::{BatchBuilder, BatchHeader, Offset};

    /// Calls `look` with a record of these at offset 7 and time 1000.
    pub(crate) fn with_record<T>(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
        look: impl FnOnce(&Record<'_>) -> T,
    ) -> T {
        let mut batch = BatchBuilder::new().base_offset(Offset(7));
        batch.append(1000, key, value, headers);
        let batch = batch.build();
        let header = BatchHeader::parse(&batch).unwrap();
        let body = body(&batch, &header, 1 << 20).unwrap();
        let record = Records::new(&header, &body).unwrap().next().unwrap().unwrap();
        look(&record)
    }

    fn printed(format: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
        let headers = [Header { key: b"a", value: Some(b"1") }, Header { key: b"b", value: None }];
        let mut out = Vec::new();
        let format = Format::parse(format).unwrap();
        with_record(key, value, &headers, |record| format.write("t", 3, record, &mut out)).unwrap();
        out
    }

    #[test]
    fn records_are_printed_as_the_format_says() {
        for (format, expected) in [
            ("", ""),
            ("%v\\n", "value\n"),
            ("%t[%p]@%o %T: %k=%s (%K, %V) {%h}\\t%%\\x21", "t[3]@7 1000: key=value (3, 5) {a=1,b=NULL}\t%!"),
            ("100%%", "100%"),
        ] {
            let printed = printed(format, Some(b"key"), Some(b"value"));
            assert_eq!(String::from_utf8(printed).unwrap(), expected, "{format}");
        }
        assert_eq!(printed("%k|%v|%K|%S", None, None), b"||-1|-1");
        assert_eq!(printed("%v", None, Some(b"\xff\x00\n")), b"\xff\x00\n", "bytes are printed as they are");
    }

    #[test]
    fn formats_that_mean_nothing_are_refused() {
        for (format, reason) in [
            ("%q", "has %q, which stands for nothing"),
            ("%v%", "ends with a single %"),
            ("%v\\q", "has a backslash"),
        ] {
            let error = Format::parse(format).unwrap_err();
            assert!(error.starts_with(reason), "{format}: {error}");
        }
    }

    #[test]
    fn bytes_that_cannot_be_typed() {
        assert_eq!(unescape("a\\n\\t\\r\\0\\\\\\x7Fä"), Ok("a\n\t\r\0\\\u{7f}ä".as_bytes().to_vec()));
        assert_eq!(unescape("\\xff"), Ok(vec![0xff]));
        for wrong in ["\\", "\\q", "\\x", "\\x1", "\\xg0"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }
}
