//! `partition.metadata`: the file in a partition's folder that says which topic, by id, its records belong to.
//!
//! ```text
//!  version: 0
//!  topic_id: AAECAwQFBgcICQoLDA0ODw        (no line end, as Kafka's `PartitionMetadataFile` writes it)
//! ```

use std::fmt;

use super::uuid_text::{uuid_from_text, uuid_to_text};

/// The largest file that is read: two short lines.
pub const PARTITION_METADATA_BYTES_MAX: usize = 256;

/// What `partition.metadata` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionMetadata {
    /// Never all zeroes when read.
    pub topic_id: [u8; 16],
}

/// Why a `partition.metadata` cannot be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartitionMetadataError {
    /// Too large, no UTF-8, or not two lines.
    Layout,
    /// The first line is no `version: N` with N of 0 or more (Kafka reads later versions too).
    Version,
    /// The second line is no `topic_id: ` with an id.
    TopicId,
}

impl fmt::Display for PartitionMetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PartitionMetadataError::Layout => "partition.metadata is not two short lines of text",
            PartitionMetadataError::Version => "partition.metadata does not begin with a version",
            PartitionMetadataError::TopicId => "partition.metadata holds no topic id",
        })
    }
}

impl std::error::Error for PartitionMetadataError {}

impl PartitionMetadata {
    /// Reads the file.
    ///
    /// # Errors
    /// [`PartitionMetadataError`]; a line end behind the id is tolerated, as Kafka does.
    pub fn parse(bytes: &[u8]) -> Result<PartitionMetadata, PartitionMetadataError> {
        let fits = bytes.len() <= PARTITION_METADATA_BYTES_MAX;
        let text =
            fits.then(|| str::from_utf8(bytes).ok()).flatten().ok_or(PartitionMetadataError::Layout)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let (version, topic_id) = text.split_once('\n').ok_or(PartitionMetadataError::Layout)?;
        let version = version.strip_prefix("version: ").and_then(|number| number.parse::<i32>().ok());
        version.filter(|number| *number >= 0).ok_or(PartitionMetadataError::Version)?;
        topic_id
            .strip_prefix("topic_id: ")
            .and_then(uuid_from_text)
            .filter(|id| *id != [0; 16])
            .map(|topic_id| PartitionMetadata { topic_id })
            .ok_or(PartitionMetadataError::TopicId)
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        format!("version: 0\ntopic_id: {}", uuid_to_text(self.topic_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw";

    #[test]
    fn the_text_is_kafkas() {
        let metadata = PartitionMetadata { topic_id: std::array::from_fn(|index| index as u8) };
        assert_eq!(metadata.render(), TEXT);
        for text in [TEXT, &format!("{TEXT}\n"), &TEXT.replacen('0', "1", 1)] {
            assert_eq!(PartitionMetadata::parse(text.as_bytes()), Ok(metadata), "{text}");
        }
    }

    #[test]
    fn what_is_not_exactly_right_is_refused() {
        use PartitionMetadataError::{Layout, TopicId, Version};
        for (text, expected) in [
            ("", Layout),
            ("version: 0", Layout),
            ("version: -1\ntopic_id: AAECAwQFBgcICQoLDA0ODw", Version),
            ("Version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw", Version),
            ("version: \ntopic_id: AAECAwQFBgcICQoLDA0ODw", Version),
            ("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", TopicId),
            ("version: 0\ntopic_id: AAECAwQFBgcICQoLDA0OD", TopicId),
            ("version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw\n\n", TopicId),
            ("topic_id: AAECAwQFBgcICQoLDA0ODw\nversion: 0", Version),
            (&"x".repeat(PARTITION_METADATA_BYTES_MAX + 1), Layout),
        ] {
            assert_eq!(PartitionMetadata::parse(text.as_bytes()), Err(expected), "{text}");
        }
        assert_eq!(PartitionMetadata::parse(b"version: 0\n\xff"), Err(Layout));
        for cut in 0..TEXT.len() {
            assert!(PartitionMetadata::parse(&TEXT.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(topic_id in any::<[u8; 16]>().prop_filter("zero is no topic", |id| *id != [0; 16])) {
            let metadata = PartitionMetadata { topic_id };
            prop_assert_eq!(PartitionMetadata::parse(metadata.render().as_bytes()), Ok(metadata));
        }
    }
}
