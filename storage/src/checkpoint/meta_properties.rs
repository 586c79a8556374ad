//! `meta.properties`: the file that ties a data folder to one cluster and one node, in the format of Java's `Properties`.
//!
//! Reading follows Java: Latin-1 bytes, comments, three separators, continued lines, escapes. Keys that we do not know are
//! kept, so that a Kafka of a later version finds its own again. Content: Kafka's `MetaProperties`, version 1 (KIP-631, KIP-858).
//!
//! ```text
//!  #
//!  cluster.id=5L6g3nShT-eMCtK--X86sw       made once, kept for ever
//!  directory.id=AAECAwQFBgcICQoLDA0ODw     this data folder
//!  node.id=1
//!  version=1
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::uuid_text::{uuid_from_text, uuid_to_text};

/// The largest file that is read.
pub const META_PROPERTIES_BYTES_MAX: usize = 64 << 10;

const VERSION: &str = "version";
const CLUSTER_ID: &str = "cluster.id";
const NODE_ID: &str = "node.id";
const DIRECTORY_ID: &str = "directory.id";

/// What `meta.properties` says (version 1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    pub cluster_id: String,
    /// 0 or more for a node of ours.
    pub node_id: i32,
    /// Absent in folders that Kafka formatted before it knew several folders a node (KIP-858).
    pub directory_id: Option<[u8; 16]>,
    /// What else the file holds, kept as it was.
    pub others: BTreeMap<String, String>,
}

/// Why a `meta.properties` cannot be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetaPropertiesError {
    /// More than [`META_PROPERTIES_BYTES_MAX`].
    TooLarge { bytes: usize },
    /// A `\u` without four hex digits, or half of a surrogate pair.
    Escape,
    /// Another version than 1 (0 was that of ZooKeeper's clusters).
    Version { found: String },
    /// A key is not there.
    Missing { key: &'static str },
    /// The value of a key is not of its kind.
    Value { key: &'static str, found: String },
}

impl fmt::Display for MetaPropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetaPropertiesError::TooLarge { bytes } => {
                write!(f, "meta.properties has {bytes} bytes, more than {META_PROPERTIES_BYTES_MAX}")
            }
            MetaPropertiesError::Escape => write!(f, "meta.properties has a malformed \\u escape"),
            MetaPropertiesError::Version { found } => {
                write!(f, "meta.properties has version '{found}', 1 is expected")
            }
            MetaPropertiesError::Missing { key } => write!(f, "meta.properties has no {key}"),
            MetaPropertiesError::Value { key, found } => {
                write!(f, "meta.properties has {key}={found}, which is no value for it")
            }
        }
    }
}

impl std::error::Error for MetaPropertiesError {}

impl MetaProperties {
    /// Reads the file.
    ///
    /// # Errors
    /// [`MetaPropertiesError`]
    pub fn parse(bytes: &[u8]) -> Result<MetaProperties, MetaPropertiesError> {
        if bytes.len() > META_PROPERTIES_BYTES_MAX {
            return Err(MetaPropertiesError::TooLarge { bytes: bytes.len() });
        }
        let mut others = properties(bytes)?;
        let version = others.remove(VERSION).unwrap_or_else(|| "0".into());
        if version.trim() != "1" {
            return Err(MetaPropertiesError::Version { found: version });
        }
        let cluster_id = required(&mut others, CLUSTER_ID)?;
        let node_id = required(&mut others, NODE_ID)?;
        let node_id =
            node_id.parse().map_err(|_| MetaPropertiesError::Value { key: NODE_ID, found: node_id })?;
        let directory_id = match others.remove(DIRECTORY_ID) {
            None => None,
            Some(text) => Some(
                uuid_from_text(&text).ok_or(MetaPropertiesError::Value { key: DIRECTORY_ID, found: text })?,
            ),
        };
        Ok(MetaProperties { cluster_id, node_id, directory_id, others })
    }

    /// The file's text: keys in their order, no date (Kafka writes one).
    #[must_use]
    pub fn render(&self) -> String {
        let mut all = self.others.clone();
        all.insert(VERSION.into(), "1".into());
        all.insert(CLUSTER_ID.into(), self.cluster_id.clone());
        all.insert(NODE_ID.into(), self.node_id.to_string());
        if let Some(id) = self.directory_id {
            all.insert(DIRECTORY_ID.into(), uuid_to_text(id));
        }
        let mut text = String::from("#\n");
        for (key, value) in &all {
            escape(&mut text, key, Part::Key);
            text.push('=');
            escape(&mut text, value, Part::Value);
            text.push('\n');
        }
        text
    }
}

fn required(
    properties: &mut BTreeMap<String, String>,
    key: &'static str,
) -> Result<String, MetaPropertiesError> {
    properties.remove(key).ok_or(MetaPropertiesError::Missing { key })
}

/// Reads Java properties; of a key that repeats, the last value counts.
fn properties(bytes: &[u8]) -> Result<BTreeMap<String, String>, MetaPropertiesError> {
    let mut properties = BTreeMap::new();
    let mut rest = bytes;
    while let Some(line) = logical_line(&mut rest) {
        let key_end = key_end(&line);
        let (key, value) = line.split_at(key_end);
        properties.insert(unescape(key)?, unescape(skip_separator(value))?);
    }
    Ok(properties)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

fn skip_spaces(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| is_space(**byte)).count();
    &bytes[spaces..]
}

/// Takes the next line that holds a property, joined with those that continue it, without the space at their begins.
fn logical_line(rest: &mut &[u8]) -> Option<Vec<u8>> {
    loop {
        let line = skip_spaces(natural_line(rest)?);
        if matches!(line.first(), None | Some(b'#' | b'!')) {
            continue;
        }
        let mut joined = line.to_vec();
        while ends_in_backslash(&joined) {
            joined.pop();
            let Some(more) = natural_line(rest) else { break };
            joined.extend_from_slice(skip_spaces(more));
        }
        if !joined.is_empty() {
            return Some(joined);
        }
    }
}

/// Takes a line that ends with `\n`, `\r`, `\r\n` or the file; `None` behind the last one.
fn natural_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let all = *rest;
    let end = all.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(all.len());
    let (line, behind) = all.split_at(end);
    *rest = behind.strip_prefix(b"\r\n").or_else(|| behind.get(1..)).unwrap_or_default();
    Some(line)
}

/// Whether the last backslash of a line is not itself escaped.
fn ends_in_backslash(line: &[u8]) -> bool {
    line.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

fn key_end(line: &[u8]) -> usize {
    let mut escaped = false;
    line.iter()
        .position(|byte| {
            let ends = !escaped && (is_space(*byte) || matches!(byte, b'=' | b':'));
            escaped = !escaped && *byte == b'\\';
            ends
        })
        .unwrap_or(line.len())
}

/// Drops what lies between key and value: space, at most one `=` or `:`, space.
fn skip_separator(value: &[u8]) -> &[u8] {
    match skip_spaces(value) {
        [b'=' | b':', value @ ..] => skip_spaces(value),
        value => value,
    }
}

/// Latin-1 with Java's escapes: a backslash before any other character is dropped.
fn unescape(bytes: &[u8]) -> Result<String, MetaPropertiesError> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(byte) = rest.split_off_first() {
        let unit = match byte {
            b'\\' => escaped_unit(&mut rest)?,
            byte => Some(u16::from(*byte)),
        };
        units.extend(unit);
    }
    String::from_utf16(&units).map_err(|_| MetaPropertiesError::Escape)
}

/// The character behind a backslash; none at the end of the file.
fn escaped_unit(rest: &mut &[u8]) -> Result<Option<u16>, MetaPropertiesError> {
    let Some(byte) = rest.split_off_first() else { return Ok(None) };
    Ok(Some(match byte {
        b't' => u16::from(b'\t'),
        b'n' => u16::from(b'\n'),
        b'r' => u16::from(b'\r'),
        b'f' => 0x0c,
        b'u' => {
            let digits = rest.split_off(..4).ok_or(MetaPropertiesError::Escape)?;
            hex_unit(digits).ok_or(MetaPropertiesError::Escape)?
        }
        byte => u16::from(*byte),
    }))
}

fn hex_unit(digits: &[u8]) -> Option<u16> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let value = digits.iter().try_fold(0, |value, byte| Some(value << 4 | digit(byte)?))?;
    u16::try_from(value).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Value,
}

/// Writes a key or a value so that Java, and we, read it back: ASCII alone.
fn escape(text: &mut String, plain: &str, part: Part) {
    use fmt::Write;
    for (index, char) in plain.chars().enumerate() {
        match char {
            ' ' if index == 0 || part == Part::Key => text.push_str("\\ "),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\u{c}' => text.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => text.extend(['\\', char]),
            ' '..='~' => text.push(char),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(text, "\\u{unit:04X}").expect("a String takes all that is written to it");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meta(others: &[(&str, &str)]) -> MetaProperties {
        MetaProperties {
            cluster_id: "5L6g3nShT-eMCtK--X86sw".into(),
            node_id: 1,
            directory_id: Some(std::array::from_fn(|index| index as u8)),
            others: others.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        }
    }

    const TEXT: &str =
        "#\ncluster.id=5L6g3nShT-eMCtK--X86sw\ndirectory.id=AAECAwQFBgcICQoLDA0ODw\nnode.id=1\nversion=1\n";

    #[test]
    fn the_file_is_one_that_kafka_reads() {
        assert_eq!(meta(&[]).render(), TEXT);
        assert_eq!(MetaProperties::parse(TEXT.as_bytes()), Ok(meta(&[])));
        let kafkas = "#\n#Tue Mar 03 10:11:12 UTC 2026\nnode.id=1\nversion=1\ndirectory.id=AAECAwQFBgcICQoLDA0ODw\n\
                      cluster.id=5L6g3nShT-eMCtK--X86sw\n";
        assert_eq!(MetaProperties::parse(kafkas.as_bytes()), Ok(meta(&[])));
    }

    #[test]
    fn java_properties_are_read_as_java_does() {
        for (text, key, value) in [
            ("a=b", "a", "b"),
            ("a:b", "a", "b"),
            ("a b", "a", "b"),
            ("  a \t=\x0c  b ", "a", "b "),
            ("a==b", "a", "=b"),
            ("a : = b", "a", "= b"),
            ("a", "a", ""),
            ("=b", "", "b"),
            ("a\\=\\:\\ b\\\\=c", "a=: b\\", "c"),
            ("a=b\\\n  c\\\r\n\td", "a", "bcd"),
            ("a=b\\\\\nc=d", "a", "b\\"),
            ("a=b\\\n# no comment", "a", "b# no comment"),
            ("a=b\\", "a", "b"),
            ("\\\n\n!x\ra=b", "a", "b"),
            ("a=\\u00e9\\uD83D\\uDE00\\t\\n\\r\\f\\z", "a", "é😀\t\n\r\x0cz"),
            ("a=1\na=2", "a", "2"),
            ("\\#a=\\!b", "#a", "!b"),
        ] {
            let read = properties(text.as_bytes()).unwrap();
            assert_eq!(read.get(key).map(String::as_str), Some(value), "{text:?} gave {read:?}");
        }
        assert_eq!(properties(b"a=\xe9").unwrap().get("a").map(String::as_str), Some("é"));
        assert!(properties(b"# a=b\n\n  ! c=d\r\n\x0c\n").unwrap().is_empty());
        for text in ["a=\\u12", "a=\\u12g4", "a=\\u+123", "\\uD83D=a"] {
            assert_eq!(properties(text.as_bytes()), Err(MetaPropertiesError::Escape), "{text}");
        }
    }

    #[test]
    fn what_is_needed_must_be_there() {
        use MetaPropertiesError::{Missing, TooLarge, Value, Version};
        let value = |key, found: &str| Value { key, found: found.into() };
        for (text, expected) in [
            ("", Version { found: "0".into() }),
            ("version=0\nbroker.id=1", Version { found: "0".into() }),
            ("version=2", Version { found: "2".into() }),
            ("version=1\nnode.id=1", Missing { key: "cluster.id" }),
            ("version=1\ncluster.id=x", Missing { key: "node.id" }),
            ("version=1\ncluster.id=x\nnode.id=one", value("node.id", "one")),
            ("version=1\ncluster.id=x\nnode.id=1\ndirectory.id=x", value("directory.id", "x")),
            (&"#".repeat(META_PROPERTIES_BYTES_MAX + 1), TooLarge { bytes: META_PROPERTIES_BYTES_MAX + 1 }),
        ] {
            assert_eq!(MetaProperties::parse(text.as_bytes()), Err(expected));
        }
    }

    #[test]
    fn a_cut_file_is_refused() {
        for cut in 0..TEXT.len() - 1 {
            assert!(MetaProperties::parse(&TEXT.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn round_trip_with_what_is_unknown(
            others in proptest::collection::btree_map("x\\PC{0,10}|x[ =:#!\\\\\t\n\r\x0cé😀]{0,6}", "\\PC{0,10}|[ =:#!\\\\\t\n\r\x0cé😀]{0,6}", 0..4),
        ) {
            let meta = MetaProperties { others, ..meta(&[]) };
            prop_assert_eq!(MetaProperties::parse(meta.render().as_bytes()), Ok(meta));
        }

        #[test]
        fn garbage_is_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = MetaProperties::parse(&bytes);
            let _ = properties(&bytes);
        }
    }
}
