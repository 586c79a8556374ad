//! Names on disk: what a partition is called, and what the folders and files of a partition are called. Pure text, no IO.
//!
//! Everything is as Apache Kafka names it, so that its tools find their way in our folders and we in theirs. A name that is
//! not exactly one that Kafka would write is reported as foreign; nothing here guesses, and nobody deletes what is foreign.
//! Rules: Kafka's `Topic` (topic names), `LocalLog` (folders) and `LogFileUtils` (files).
//!
//! ```text
//!  data folder / orders-3 / 00000000000000000042.log        base offset of the segment, 20 digits
//!                           00000000000000000042.index      .timeindex .txnindex .snapshot   + .deleted .cleaned .swap
//!                           leader-epoch-checkpoint  partition.metadata
//!                orders-3.0123456789abcdef0123456789abcdef-delete     -stray -future: set aside, 32 hex digits of a unique id
//! ```

use std::fmt;

use crate::batch::Offset;

/// The longest topic name, in bytes: with `-` and five digits it still fits a folder name of 255.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The longest name that common file systems take for a folder.
const FOLDER_NAME_BYTES_MAX: usize = 255;

/// Digits of a base offset in a file name.
const OFFSET_DIGITS: usize = 20;

/// The file of a partition's leader epochs; its text is [`epochs`](crate::epochs)' business.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// The file that ties a partition's folder to its topic id.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// Why a string is no topic name. Kafka's rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicNameError {
    Empty,
    /// `.` or `..`
    Dots,
    /// More than [`TOPIC_NAME_BYTES_MAX`].
    TooLong {
        bytes: usize,
    },
    /// A character that is no ASCII letter or digit, nor `.`, `_` or `-`.
    Character,
    /// A partition number below 0.
    Partition(i32),
}

impl fmt::Display for TopicNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicNameError::Empty => write!(f, "the empty string is no topic name"),
            TopicNameError::Dots => write!(f, "'.' and '..' are no topic names"),
            TopicNameError::TooLong { bytes } => {
                write!(f, "a topic name of {bytes} bytes is longer than the {TOPIC_NAME_BYTES_MAX} allowed")
            }
            TopicNameError::Character => {
                write!(f, "a topic name has other characters than ASCII letters and digits, '.', '_' and '-'")
            }
            TopicNameError::Partition(number) => write!(f, "{number} is no partition number"),
        }
    }
}

impl std::error::Error for TopicNameError {}

/// Whether Kafka would accept `name` as a topic's name.
///
/// # Errors
/// The first rule that it breaks.
pub fn validate_topic_name(name: &str) -> Result<(), TopicNameError> {
    match name {
        "" => Err(TopicNameError::Empty),
        "." | ".." => Err(TopicNameError::Dots),
        _ if name.len() > TOPIC_NAME_BYTES_MAX => Err(TopicNameError::TooLong { bytes: name.len() }),
        _ if name.bytes().all(is_topic_byte) => Ok(()),
        _ => Err(TopicNameError::Character),
    }
}

fn is_topic_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// One partition of one topic. `Display` is the folder's name, `topic-N`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// A name that [`validate_topic_name`] accepts, when made by [`TopicPartition::new`].
    pub topic: String,
    /// 0 or more.
    pub partition: i32,
}

impl TopicPartition {
    /// # Errors
    /// A topic name that Kafka would refuse, or a negative partition number.
    pub fn new(topic: impl Into<String>, partition: i32) -> Result<TopicPartition, TopicNameError> {
        let topic = topic.into();
        validate_topic_name(&topic)?;
        if partition < 0 {
            return Err(TopicNameError::Partition(partition));
        }
        Ok(TopicPartition { topic, partition })
    }

    /// The name of the partition's folder.
    #[must_use]
    pub fn folder_name(&self) -> String {
        self.to_string()
    }

    /// The name that the folder gets when it is set aside; `unique_id` keeps two such names apart.
    ///
    /// As in Kafka, the topic's end is cut off where a deleted or stray folder's name would grow beyond 255 bytes; that of a
    /// future folder is kept whole, since it is read back.
    #[must_use]
    pub fn marked_folder_name(&self, mark: FolderMark, unique_id: [u8; 16]) -> String {
        let suffix = format!("-{}.{:032x}{}", self.partition, u128::from_be_bytes(unique_id), mark.suffix());
        let kept = match mark {
            FolderMark::Delete | FolderMark::Stray => FOLDER_NAME_BYTES_MAX - suffix.len(),
            FolderMark::Future => self.topic.len(),
        };
        // Topic names are ASCII; a hand-made one that is not is cut at a character all the same.
        let topic = &self.topic[..self.topic.floor_char_boundary(kept)];
        format!("{topic}{suffix}")
    }

    /// The partition whose folder has this name: what [`folder_name`](Self::folder_name) writes, nothing else.
    #[must_use]
    pub fn from_folder_name(name: &str) -> Option<TopicPartition> {
        let (topic, partition) = name.rsplit_once('-')?;
        TopicPartition::new(topic, partition_number(partition)?).ok()
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A partition number as it is written: no sign, no leading zero.
pub(crate) fn partition_number(text: &str) -> Option<i32> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && is_digits(text)).then(|| text.parse().ok())?
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Why a partition's folder was set aside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FolderMark {
    /// Its topic was deleted: the files go when `file.delete.delay.ms` is over.
    Delete,
    /// The metadata knows nothing of it (any more).
    Stray,
    /// A copy in the making, for a move between data folders.
    Future,
}

impl FolderMark {
    /// Every mark there is.
    pub const ALL: [FolderMark; 3] = [FolderMark::Delete, FolderMark::Stray, FolderMark::Future];

    const fn suffix(self) -> &'static str {
        match self {
            FolderMark::Delete => "-delete",
            FolderMark::Stray => "-stray",
            FolderMark::Future => "-future",
        }
    }
}

/// What the name of a folder in a data folder says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FolderName {
    /// A partition in use.
    Partition(TopicPartition),
    /// A partition set aside. The end of a long topic name may be missing (see [`TopicPartition::marked_folder_name`]).
    Marked { partition: TopicPartition, mark: FolderMark, unique_id: [u8; 16] },
    /// None that Kafka or we would write.
    Foreign,
}

impl FolderName {
    /// Reads the name of a folder (the last component of its path).
    #[must_use]
    pub fn parse(name: &str) -> FolderName {
        if let Some(partition) = TopicPartition::from_folder_name(name) {
            return FolderName::Partition(partition);
        }
        FolderMark::ALL.into_iter().find_map(|mark| marked(name, mark)).unwrap_or(FolderName::Foreign)
    }
}

fn marked(name: &str, mark: FolderMark) -> Option<FolderName> {
    let (folder, unique) = name.strip_suffix(mark.suffix())?.rsplit_once('.')?;
    let partition = TopicPartition::from_folder_name(folder)?;
    Some(FolderName::Marked { partition, mark, unique_id: unique_id(unique)? })
}

fn unique_id(text: &str) -> Option<[u8; 16]> {
    let written = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = written.then(|| u128::from_str_radix(text, 16).ok())??;
    Some(number.to_be_bytes())
}

/// What a segment's file holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileKind {
    /// Record batches.
    Log,
    /// Offset to position, [`index`](crate::index).
    OffsetIndex,
    /// Timestamp to offset, [`index`](crate::index).
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// Producer state before the file's offset, [`producers`](crate::producers).
    Snapshot,
}

impl FileKind {
    /// Every kind there is.
    pub const ALL: [FileKind; 5] =
        [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex, FileKind::Snapshot];

    const fn extension(self) -> &'static str {
        match self {
            FileKind::Log => "log",
            FileKind::OffsetIndex => "index",
            FileKind::TimeIndex => "timeindex",
            FileKind::TxnIndex => "txnindex",
            FileKind::Snapshot => "snapshot",
        }
    }
}

/// Where a segment's file stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileStage {
    /// In use: no suffix.
    Live,
    /// To be removed soon.
    Deleted,
    /// Written by compaction, not yet complete.
    Cleaned,
    /// Complete, about to replace what it was made from.
    Swap,
}

impl FileStage {
    /// Every stage there is.
    pub const ALL: [FileStage; 4] =
        [FileStage::Live, FileStage::Deleted, FileStage::Cleaned, FileStage::Swap];

    const fn suffix(self) -> &'static str {
        match self {
            FileStage::Live => "",
            FileStage::Deleted => ".deleted",
            FileStage::Cleaned => ".cleaned",
            FileStage::Swap => ".swap",
        }
    }
}

/// The name of a file that belongs to a segment. `Display` writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentFile {
    /// 0 or more: of the segment, or (snapshots) the first offset that the snapshot does not cover.
    pub base_offset: Offset,
    pub kind: FileKind,
    pub stage: FileStage,
}

impl SegmentFile {
    /// The name of a file in use.
    #[must_use]
    pub const fn live(base_offset: Offset, kind: FileKind) -> SegmentFile {
        SegmentFile { base_offset, kind, stage: FileStage::Live }
    }

    /// The same file at another stage of its life.
    #[must_use]
    pub const fn at_stage(self, stage: FileStage) -> SegmentFile {
        SegmentFile { stage, ..self }
    }

    fn parse(name: &str) -> Option<SegmentFile> {
        let (digits, rest) = name.split_at_checked(OFFSET_DIGITS)?;
        let base_offset = is_digits(digits).then(|| digits.parse().ok())??;
        let rest = rest.strip_prefix('.')?;
        let (extension, stage) = match rest.rsplit_once('.') {
            None => (rest, FileStage::Live),
            Some((extension, _)) => (extension, stage_of(&rest[extension.len()..])?),
        };
        let kind = FileKind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
        Some(SegmentFile { base_offset: Offset(base_offset), kind, stage })
    }
}

fn stage_of(suffix: &str) -> Option<FileStage> {
    FileStage::ALL.into_iter().find(|stage| stage.suffix() == suffix)
}

impl fmt::Display for SegmentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = OFFSET_DIGITS;
        write!(f, "{:0width$}.{}{}", self.base_offset.0, self.kind.extension(), self.stage.suffix())
    }
}

/// What the name of a file in a partition's folder says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileName {
    Segment(SegmentFile),
    /// [`LEADER_EPOCH_CHECKPOINT`]
    LeaderEpochs,
    /// [`PARTITION_METADATA`]
    PartitionMetadata,
    /// One of the two above in the making (`.tmp`): a crash left it, its content counts for nothing.
    Temporary,
    /// None that Kafka or we would write.
    Foreign,
}

impl FileName {
    /// Reads the name of a file (the last component of its path).
    #[must_use]
    pub fn parse(name: &str) -> FileName {
        match name {
            LEADER_EPOCH_CHECKPOINT => FileName::LeaderEpochs,
            PARTITION_METADATA => FileName::PartitionMetadata,
            _ if matches!(name.strip_suffix(".tmp"), Some(LEADER_EPOCH_CHECKPOINT | PARTITION_METADATA)) => {
                FileName::Temporary
            }
            _ => SegmentFile::parse(name).map_or(FileName::Foreign, FileName::Segment),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
    const HEX: &str = "000102030405060708090a0b0c0d0eff";

    fn partition(topic: &str, number: i32) -> TopicPartition {
        TopicPartition::new(topic, number).unwrap()
    }

    #[test]
    fn topic_names_follow_kafkas_rules() {
        let longest = "a".repeat(TOPIC_NAME_BYTES_MAX);
        for good in ["a", "A.b_c-9", "...", "-", "_", "__consumer_offsets", &longest] {
            assert_eq!(validate_topic_name(good), Ok(()), "{good}");
        }
        let long = "a".repeat(TOPIC_NAME_BYTES_MAX + 1);
        for (bad, expected) in [
            ("", TopicNameError::Empty),
            (".", TopicNameError::Dots),
            ("..", TopicNameError::Dots),
            (&long, TopicNameError::TooLong { bytes: 250 }),
            ("a b", TopicNameError::Character),
            ("a/b", TopicNameError::Character),
            ("é", TopicNameError::Character),
            ("a\0", TopicNameError::Character),
        ] {
            assert_eq!(validate_topic_name(bad), Err(expected), "{bad}");
            assert!(TopicPartition::new(bad, 0).is_err());
        }
        assert_eq!(TopicPartition::new("a", -1), Err(TopicNameError::Partition(-1)));
    }

    #[test]
    fn folders_of_partitions() {
        for (name, expected) in [
            ("a-0", partition("a", 0)),
            ("topic.with-dash-3", partition("topic.with-dash", 3)),
            ("topic--3", partition("topic-", 3)),
            ("a-2147483647", partition("a", i32::MAX)),
            ("x-delete-1", partition("x-delete", 1)),
            (
                "x.000102030405060708090a0b0c0d0eff-delete-1",
                partition("x.000102030405060708090a0b0c0d0eff-delete", 1),
            ),
        ] {
            assert_eq!(FolderName::parse(name), FolderName::Partition(expected.clone()));
            assert_eq!(expected.folder_name(), name);
        }
    }

    #[test]
    fn folders_set_aside() {
        for (mark, suffix) in
            [(FolderMark::Delete, "delete"), (FolderMark::Stray, "stray"), (FolderMark::Future, "future")]
        {
            let name = format!("a.b-c-3.{HEX}-{suffix}");
            let expected = FolderName::Marked { partition: partition("a.b-c", 3), mark, unique_id: ID };
            assert_eq!(FolderName::parse(&name), expected);
            assert_eq!(partition("a.b-c", 3).marked_folder_name(mark, ID), name);
        }
    }

    #[test]
    fn a_long_topic_is_cut_where_its_folder_is_set_aside() {
        let longest = partition(&"a".repeat(TOPIC_NAME_BYTES_MAX), 12345);
        let deleted = longest.marked_folder_name(FolderMark::Delete, ID);
        assert_eq!(deleted.len(), 255);
        let FolderName::Marked { partition, .. } = FolderName::parse(&deleted) else { panic!("{deleted}") };
        assert_eq!(partition.partition, 12345);
        assert!(longest.topic.starts_with(&partition.topic));
        assert_eq!(longest.marked_folder_name(FolderMark::Stray, ID).len(), 255);
        assert!(longest.marked_folder_name(FolderMark::Future, ID).starts_with(&longest.folder_name()));
    }

    #[test]
    fn foreign_folders_are_not_guessed() {
        for name in [
            "",
            "a",
            "-",
            "-3",
            "a-",
            "a-03",
            "a-+3",
            "a-3 ",
            "a -3",
            "a-2147483648",
            "a-x",
            "..-1",
            "lost+found",
            "a-٣",
            "a-3-delete",
            "a-3.-delete",
            "a-3.0001-delete",
            &format!("a-3.{HEX}-DELETE"),
            &format!("a.{HEX}-delete"),
            &format!("a-3.{}-delete", HEX.to_uppercase()),
            &format!("a-3.{HEX}-gone"),
            &format!("a-3{HEX}-delete"),
            &format!("a-3.{HEX}.x-delete"),
            &format!("a-3.+{}-delete", &HEX[1..]),
        ] {
            assert_eq!(FolderName::parse(name), FolderName::Foreign, "{name}");
        }
    }

    #[test]
    fn files_of_a_partition() {
        use FileName::{LeaderEpochs, PartitionMetadata, Segment, Temporary};
        let live = |offset, kind| Segment(SegmentFile::live(Offset(offset), kind));
        for (name, expected) in [
            ("00000000000000000000.log", live(0, FileKind::Log)),
            ("00000000000000000042.index", live(42, FileKind::OffsetIndex)),
            ("00000000000000000042.timeindex", live(42, FileKind::TimeIndex)),
            ("00000000000000000042.txnindex", live(42, FileKind::TxnIndex)),
            ("09223372036854775807.snapshot", live(i64::MAX, FileKind::Snapshot)),
            ("leader-epoch-checkpoint", LeaderEpochs),
            ("partition.metadata", PartitionMetadata),
            ("partition.metadata.tmp", Temporary),
            ("leader-epoch-checkpoint.tmp", Temporary),
        ] {
            assert_eq!(FileName::parse(name), expected, "{name}");
        }
        let file = SegmentFile::live(Offset(7), FileKind::TimeIndex).at_stage(FileStage::Deleted);
        assert_eq!(file.to_string(), "00000000000000000007.timeindex.deleted");
    }

    #[test]
    fn foreign_files_are_not_guessed() {
        for name in [
            "",
            ".log",
            "0.log",
            "000000000000000000042.log",
            "0000000000000000004x.log",
            "09223372036854775808.log",
            "00000000000000000042",
            "00000000000000000042.",
            "00000000000000000042.LOG",
            "00000000000000000042.log.",
            "00000000000000000042.log.deleted.deleted",
            "00000000000000000042.log.tmp",
            "00000000000000000042log",
            "+0000000000000000042.log",
            "00000000000000000042.deleted",
            "notes.txt",
            "partition.metadata.tmp.tmp",
            "0000000000000000000é.log",
            ".tmp",
        ] {
            assert_eq!(FileName::parse(name), FileName::Foreign, "{name}");
        }
    }

    proptest! {
        #[test]
        fn folder_names_round_trip(topic in "[a-zA-Z0-9._-]{1,249}", number in 0..=i32::MAX, mark in 0..3_usize) {
            prop_assume!(validate_topic_name(&topic).is_ok());
            let partition = partition(&topic, number);
            prop_assert_eq!(FolderName::parse(&partition.folder_name()), FolderName::Partition(partition.clone()));
            let name = partition.marked_folder_name(FolderMark::ALL[mark], ID);
            let FolderName::Marked { partition: read, unique_id, .. } = FolderName::parse(&name) else { panic!("{name}") };
            prop_assert_eq!((read.partition, unique_id), (number, ID));
            prop_assert!(topic.starts_with(&read.topic));
        }

        #[test]
        fn file_names_round_trip(offset in 0..=i64::MAX, kind in 0..5_usize, stage in 0..4_usize) {
            let file = SegmentFile::live(Offset(offset), FileKind::ALL[kind]).at_stage(FileStage::ALL[stage]);
            prop_assert_eq!(FileName::parse(&file.to_string()), FileName::Segment(file));
        }

        #[test]
        fn what_is_read_is_written_again(name in ".{0,60}") {
            match FolderName::parse(&name) {
                FolderName::Partition(partition) => prop_assert_eq!(partition.folder_name(), name),
                FolderName::Marked { partition, mark, unique_id } => {
                    prop_assert_eq!(partition.marked_folder_name(mark, unique_id), name);
                }
                FolderName::Foreign => {}
            }
        }
    }
}
