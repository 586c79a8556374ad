//! Records as JSON, an object a line: what `hayate consume --json` prints is what `hayate produce --json` reads, to the byte.
//!
//! Text stands as it is under `key` and `value`, other bytes as base64 under `key_base64` and `value_base64`. Headers are pairs of a name
//! and text, null, or `{"base64": …}`: names may repeat.

use super::produce::Line;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hayate_storage::batch::records::Record;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Prints a record of a topic's partition.
///
/// # Errors
/// Of the output.
pub(super) fn write(
    topic: &str,
    partition: i32,
    record: &Record<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let (offset, time) = (record.offset, record.timestamp_ms);
    write!(out, "{{\"topic\":{},\"partition\":{partition},\"offset\":{offset},", Value::from(topic))?;
    write!(out, "\"timestamp\":{time},")?;
    write_bytes("key", record.key, out)?;
    out.write_all(b",")?;
    write_bytes("value", record.value, out)?;
    let header = |bytes: &[u8]| match str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    };
    let headers = record.headers.clone().map(|one| {
        let name = String::from_utf8_lossy(one.key).into_owned();
        Value::Array(vec![Value::from(name), one.value.map_or(Value::Null, header)])
    });
    writeln!(out, ",\"headers\":{}}}", Value::Array(headers.collect()))
}

fn write_bytes(name: &str, bytes: Option<&[u8]>, out: &mut impl Write) -> io::Result<()> {
    match bytes.map(|bytes| (str::from_utf8(bytes), bytes)) {
        None => write!(out, "\"{name}\":null"),
        Some((Ok(text), _)) => write!(out, "\"{name}\":{}", Value::from(text)),
        Some((Err(_), bytes)) => write!(out, "\"{name}_base64\":\"{}\"", STANDARD.encode(bytes)),
    }
}

/// Reads a record; what it leaves out comes from `line`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &[u8], line: Line) -> Result<Line, String> {
    let object: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let headers = object.get("headers").map(read_headers).transpose()?;
    Ok(Line {
        key: read_bytes(&object, "key")?,
        value: read_bytes(&object, "value")?,
        headers: headers.unwrap_or(line.headers),
        partition: match object.get("partition") {
            Some(number) => Some(read_partition(number)?),
            None => line.partition,
        },
        timestamp_ms: match object.get("timestamp") {
            Some(time) => {
                time.as_i64().filter(|ms| *ms >= -1).ok_or("timestamp is no number of milliseconds")?
            }
            None => line.timestamp_ms,
        },
    })
}

fn read_partition(number: &Value) -> Result<i32, String> {
    let number = number.as_i64().and_then(|number| i32::try_from(number).ok());
    number.filter(|number| *number >= 0).ok_or_else(|| "partition is no number of one".to_owned())
}

fn read_bytes(object: &Map<String, Value>, name: &str) -> Result<Option<Vec<u8>>, String> {
    match (object.get(name), object.get(&format!("{name}_base64"))) {
        (None | Some(Value::Null), None) => Ok(None),
        (Some(Value::String(text)), None) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(Value::String(text))) => decoded(text).map(Some),
        _ => Err(format!("{name} is neither text nor null")),
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("base64: {error}"))
}

type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn read_headers(headers: &Value) -> Result<Headers, String> {
    match headers {
        Value::Object(headers) => {
            headers.iter().map(|(name, value)| Ok((name.as_bytes().to_vec(), read_header(value)?))).collect()
        }
        Value::Array(headers) => headers.iter().map(read_pair).collect(),
        _ => Err("headers are neither an object nor an array".to_owned()),
    }
}

fn read_pair(pair: &Value) -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
    match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(name), value]) => Ok((name.as_bytes().to_vec(), read_header(value)?)),
        _ => Err("a header is no pair of a name and a value".to_owned()),
    }
}

fn read_header(value: &Value) -> Result<Option<Vec<u8>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
        Value::Object(object) => match object.get("base64") {
            Some(Value::String(text)) => decoded(text).map(Some),
            _ => Err("a header's value is an object without base64".to_owned()),
        },
        _ => Err("a header's value is neither text nor null".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::tests::with_record;
    use super::*;
    use hayate_storage::batch::records::Header;

    fn bare() -> Line {
        Line { key: None, value: None, headers: Vec::new(), partition: None, timestamp_ms: 5 }
    }

    #[test]
    fn what_is_printed_is_read_back_to_the_byte() {
        let headers = [
            Header { key: b"a", value: Some(b"1") },
            Header { key: b"a", value: Some(b"\xff") },
            Header { key: b"b", value: None },
        ];
        for (key, value, expected) in [
            (Some(&b"k"[..]), Some(&b"two\nlines \"\xc3\xa4"[..]), r#""key":"k","value":"two\nlines \"ä""#),
            (None, Some(b"\xff\x00"), r#""key":null,"value_base64":"/wA=""#),
            (Some(b""), None, r#""key":"","value":null"#),
        ] {
            let mut out = Vec::new();
            with_record(key, value, &headers, |record| write("t", 3, record, &mut out)).unwrap();
            let text = String::from_utf8(out.clone()).unwrap();
            assert!(text.starts_with(r#"{"topic":"t","partition":3,"offset":7,"timestamp":1000,"#), "{text}");
            assert!(text.contains(expected), "{text}");
            assert!(
                text.ends_with("\"headers\":[[\"a\",\"1\"],[\"a\",{\"base64\":\"/w==\"}],[\"b\",null]]}\n"),
                "{text}"
            );
            let line = read(&out, bare()).unwrap();
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            let back = headers.map(|one| (one.key.to_vec(), owned(one.value)));
            assert_eq!((line.key, line.value, line.headers), (owned(key), owned(value), back.to_vec()));
            assert_eq!((line.partition, line.timestamp_ms), (Some(3), 1000));
        }
    }

    #[test]
    fn what_a_line_leaves_out_is_as_usual() {
        let line =
            read(br#"{"value":"v","headers":{"h":"x"}}"#, Line { partition: Some(2), ..bare() }).unwrap();
        assert_eq!((line.key, line.partition, line.timestamp_ms), (None, Some(2), 5));
        assert_eq!(line.headers, [(b"h".to_vec(), Some(b"x".to_vec()))]);
    }

    #[test]
    fn lines_that_are_no_records_are_refused() {
        for text in [
            "",
            "x",
            "[]",
            r#"{"value":1}"#,
            r#"{"value":"a","value_base64":"AA=="}"#,
            r#"{"key_base64":"?"}"#,
            r#"{"partition":-1}"#,
            r#"{"partition":4294967296}"#,
            r#"{"timestamp":"now"}"#,
            r#"{"headers":"h"}"#,
            r#"{"headers":[["a"]]}"#,
            r#"{"headers":{"a":1}}"#,
        ] {
            assert!(read(text.as_bytes(), bare()).is_err(), "{text}");
        }
    }
}
