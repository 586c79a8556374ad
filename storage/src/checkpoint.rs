//! The small text files of a data folder, as Apache Kafka writes them: offset checkpoints, `partition.metadata`,
//! `meta.properties`, the marker of a clean stop. Text in, text out: no IO; whoever writes them does so durably.
//!
//! Reading is strict and bounded: a cut or changed file is a typed error, never a smaller or other content. The one leniency is
//! an empty checkpoint, which Kafka itself creates and which means: no entries.
//!
//! ```text
//!  0                    version              leader-epoch-checkpoint has  "epoch offset"
//!  2                    entries              each of the three            "topic partition offset"
//!  orders 0 4711        an entry a line, the last line ends too
//!  orders 1 4812
//! ```
//! Source: Kafka's `CheckpointFile`, `OffsetCheckpointFile`, `PartitionMetadataFile`, `MetaProperties`, `CleanShutdownFileHandler`.

use std::collections::BTreeMap;
use std::fmt;

use crate::batch::Offset;
use crate::names::{TopicPartition, partition_number};

pub mod clean_shutdown;
pub mod meta_properties;
pub mod partition_metadata;
pub mod uuid_text;

pub use clean_shutdown::CleanShutdown;
pub use meta_properties::MetaProperties;
pub use partition_metadata::PartitionMetadata;

/// Up to which offset each log is known to be on disk.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// The high watermark of each partition.
pub const REPLICATION_CHECKPOINT: &str = "replication-offset-checkpoint";
/// The first offset of each log.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// Up to which offset Kafka's cleaner has compacted each log.
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// The records that the metadata of a cluster begin with, as `kafka-storage.sh format` wrote them: a snapshot.
pub const BOOTSTRAP_METADATA: &str = "bootstrap.checkpoint";
/// The file that ties a data folder to its cluster and node.
pub const META_PROPERTIES: &str = "meta.properties";
/// Present after a clean stop, removed at the start.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// The largest checkpoint that is read: entries of 100,000 partitions with the longest names fit twice.
pub const CHECKPOINT_BYTES_MAX: usize = 64 << 20;

const VERSION: &str = "0";

/// Why a checkpoint cannot be believed. Lines count from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckpointError {
    /// More than [`CHECKPOINT_BYTES_MAX`].
    TooLarge { bytes: usize },
    /// The text is no UTF-8.
    Encoding,
    /// The last line does not end: the file was cut.
    Cut,
    /// Another version than 0.
    Version { found: String },
    /// The second line is no count, or another one than there are entries.
    Count { entries: usize },
    /// A line is no entry of this file.
    Line { line: usize },
    /// An entry repeats or precedes an earlier one.
    Order { line: usize },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::TooLarge { bytes } => {
                write!(f, "{bytes} bytes are more than the {CHECKPOINT_BYTES_MAX} that a checkpoint may have")
            }
            CheckpointError::Encoding => write!(f, "the file is no UTF-8 text"),
            CheckpointError::Cut => write!(f, "the last line does not end: the file was cut"),
            CheckpointError::Version { found } => {
                write!(f, "version '{found}' of the file is unknown, 0 is expected")
            }
            CheckpointError::Count { entries } => {
                write!(f, "line 2 does not state the number of entries, of which there are {entries}")
            }
            CheckpointError::Line { line } => write!(f, "line {line} is malformed"),
            CheckpointError::Order { line } => write!(f, "line {line} repeats or precedes an earlier entry"),
        }
    }
}

impl std::error::Error for CheckpointError {}

/// Number of the line that holds the first entry.
pub(crate) const FIRST_ENTRY_LINE: usize = 3;

/// The entry lines of a checkpoint; none when it is empty.
pub(crate) fn entry_lines(bytes: &[u8]) -> Result<Vec<&str>, CheckpointError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    if bytes.len() > CHECKPOINT_BYTES_MAX {
        return Err(CheckpointError::TooLarge { bytes: bytes.len() });
    }
    let text = str::from_utf8(bytes).map_err(|_| CheckpointError::Encoding)?;
    let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Cut)?.split('\n');
    let version = lines.next().unwrap_or_default();
    if version != VERSION {
        return Err(CheckpointError::Version { found: version.chars().take(32).collect() });
    }
    let count = lines.next().unwrap_or_default();
    let entries: Vec<&str> = lines.collect();
    if count != entries.len().to_string() {
        return Err(CheckpointError::Count { entries: entries.len() });
    }
    Ok(entries)
}

/// The text of a checkpoint with these entry lines.
pub(crate) fn text_of<T: fmt::Display>(entries: impl ExactSizeIterator<Item = T>) -> String {
    use fmt::Write;
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for entry in entries {
        writeln!(text, "{entry}").expect("a String takes all that is written to it");
    }
    text
}

/// An offset as it is written: no sign, no leading zero, so 0 or more.
pub(crate) fn offset_number(text: &str) -> Option<Offset> {
    let number: i64 = text.parse().ok()?;
    (number >= 0 && number.to_string() == text).then_some(Offset(number))
}

/// The offsets of one of the three offset checkpoints.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffsetCheckpoint {
    /// 0 or more each.
    pub offsets: BTreeMap<TopicPartition, Offset>,
}

impl OffsetCheckpoint {
    /// Reads the file; an empty one has no entries.
    ///
    /// # Errors
    /// [`CheckpointError`], for a partition that is named twice too.
    pub fn parse(bytes: &[u8]) -> Result<OffsetCheckpoint, CheckpointError> {
        let mut offsets = BTreeMap::new();
        for (line, text) in (FIRST_ENTRY_LINE..).zip(entry_lines(bytes)?) {
            let (partition, offset) = offset_entry(text).ok_or(CheckpointError::Line { line })?;
            if offsets.insert(partition, offset).is_some() {
                return Err(CheckpointError::Order { line });
            }
        }
        Ok(OffsetCheckpoint { offsets })
    }

    /// The file's text, ordered by topic and partition (Kafka: in no order).
    #[must_use]
    pub fn render(&self) -> String {
        text_of(self.offsets.iter().map(|(partition, offset)| {
            let TopicPartition { topic, partition } = partition;
            format!("{topic} {partition} {offset}")
        }))
    }
}

fn offset_entry(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut parts = line.split(' ');
    let (topic, partition, offset) = (parts.next()?, parts.next()?, parts.next()?);
    let end = parts.next().is_none();
    let partition = TopicPartition::new(topic, partition_number(partition)?).ok()?;
    end.then_some((partition, offset_number(offset)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checkpoint(entries: &[(&str, i32, i64)]) -> OffsetCheckpoint {
        let offsets = entries
            .iter()
            .map(|(topic, number, offset)| (TopicPartition::new(*topic, *number).unwrap(), Offset(*offset)));
        OffsetCheckpoint { offsets: offsets.collect() }
    }

    #[test]
    fn the_text_is_kafkas() {
        let expected = checkpoint(&[("orders", 0, 4711), ("orders", 10, 0), ("a.b-c", 2, i64::MAX)]);
        let text = "0\n3\na.b-c 2 9223372036854775807\norders 0 4711\norders 10 0\n";
        assert_eq!(expected.render(), text);
        assert_eq!(OffsetCheckpoint::parse(text.as_bytes()), Ok(expected));
        assert_eq!(OffsetCheckpoint::default().render(), "0\n0\n");
        for empty in ["", "0\n0\n"] {
            assert_eq!(OffsetCheckpoint::parse(empty.as_bytes()), Ok(OffsetCheckpoint::default()));
        }
    }

    #[test]
    fn what_is_not_exactly_right_is_refused() {
        use CheckpointError::{Count, Cut, Encoding, Line, Order, Version};
        let version = |found: &str| Version { found: found.into() };
        for (text, expected) in [
            ("\n", version("")),
            ("1\n0\n", version("1")),
            (" 0\n0\n", version(" 0")),
            ("0\r\n0\r\n", version("0\r")),
            ("0\n", Count { entries: 0 }),
            ("0\nx\n", Count { entries: 0 }),
            ("0\n-1\n", Count { entries: 0 }),
            ("0\n1\n", Count { entries: 0 }),
            ("0\n999999999999999999999\n", Count { entries: 0 }),
            ("0\n01\na 0 1\n", Count { entries: 1 }),
            ("0\n1\na 0 1\n\n", Count { entries: 2 }),
            ("0\n1\na 0 1", Cut),
            ("0\n1\na 0\n", Line { line: 3 }),
            ("0\n1\na 0 1 2\n", Line { line: 3 }),
            ("0\n1\na  0 1\n", Line { line: 3 }),
            ("0\n1\na 0 -1\n", Line { line: 3 }),
            ("0\n1\na 0 +1\n", Line { line: 3 }),
            ("0\n1\na 0 01\n", Line { line: 3 }),
            ("0\n1\na -1 1\n", Line { line: 3 }),
            ("0\n1\na 00 1\n", Line { line: 3 }),
            ("0\n1\na 0 9223372036854775808\n", Line { line: 3 }),
            ("0\n2\na 0 1\na/b 0 1\n", Line { line: 4 }),
            ("0\n2\na 0 1\na 0 1\n", Order { line: 4 }),
        ] {
            assert_eq!(OffsetCheckpoint::parse(text.as_bytes()), Err(expected), "{text:?}");
        }
        assert_eq!(OffsetCheckpoint::parse(b"0\n0\n\xff"), Err(Encoding));
    }

    proptest! {
        #[test]
        fn round_trip_and_cuts(
            entries in proptest::collection::btree_map(("[a-zA-Z0-9_-]{1,20}", 0..=i32::MAX), 0..=i64::MAX, 0..8),
        ) {
            let offsets = entries
                .into_iter()
                .map(|((topic, number), offset)| (TopicPartition::new(topic, number).unwrap(), Offset(offset)));
            let checkpoint = OffsetCheckpoint { offsets: offsets.collect() };
            let text = checkpoint.render();
            prop_assert_eq!(OffsetCheckpoint::parse(text.as_bytes()), Ok(checkpoint));
            for cut in 1..text.len() {
                prop_assert!(OffsetCheckpoint::parse(&text.as_bytes()[..cut]).is_err());
            }
        }
    }
}
