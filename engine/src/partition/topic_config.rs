//! The topic configurations that Kafka 4.2 knows: name, type, the broker setting behind the default, and what each means
//! to a partition. The one table that validates a topic's configuration, applies it and describes it.
//!
//! Settings whose feature is not built yet are checked and shown all the same: a topic's configuration outlives versions.
//! Source: Kafka's `LogConfig` and `TopicConfig`.

mod value;

use super::PartitionSettings;
use std::collections::BTreeMap;
use value::{Range, boolean, number};

pub use value::ConfigError;

/// The type of a configuration, with Kafka's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`
    Boolean = 1,
    /// Any text.
    Text = 2,
    /// 32 bits.
    Int = 3,
    /// 16 bits.
    Short = 4,
    /// 64 bits.
    Long = 5,
    /// A decimal fraction.
    Double = 6,
    /// Comma-separated words.
    List = 7,
}

type Apply = fn(&mut PartitionSettings, &str) -> Result<(), ConfigError>;
type Render = fn(&PartitionSettings) -> String;

/// One configuration of a topic.
pub struct TopicConfig {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// The broker's setting that gives the default, if there is one.
    pub synonym: Option<&'static str>,
    /// What it does, in a sentence.
    pub documentation: &'static str,
    apply: Apply,
    render: Render,
}

impl TopicConfig {
    /// A value that was accepted, as Kafka shows it: read by its type and written anew.
    pub fn as_parsed(&self, value: &str) -> String {
        value::as_parsed(self.kind, value.trim())
    }

    /// The value that `settings` hold, as text.
    pub fn render(&self, settings: &PartitionSettings) -> String {
        (self.render)(settings)
    }
}

/// The configuration of that name.
pub fn find(name: &str) -> Option<&'static TopicConfig> {
    let at = TOPIC_CONFIGS.binary_search_by(|config| config.name.cmp(name)).ok()?;
    TOPIC_CONFIGS.get(at)
}

/// The value of a list that is not set; `None` for what is no list.
pub fn list_default(name: &str) -> Option<String> {
    let config = find(name).filter(|config| config.kind == ConfigType::List)?;
    Some(config.render(&PartitionSettings::default()))
}

/// `defaults` with a topic's own configurations on top.
///
/// # Errors
/// The first unknown name or bad value, in Kafka's words.
pub fn settings_of(
    configs: &BTreeMap<String, String>,
    defaults: &PartitionSettings,
) -> Result<PartitionSettings, ConfigError> {
    let mut settings = defaults.clone();
    for (name, value) in configs {
        let config = find(name).ok_or_else(|| ConfigError::Unknown(name.clone()))?;
        (config.apply)(&mut settings, value.trim()).map_err(|error| error.of(name))?;
    }
    check_compaction_lags(&settings)?;
    Ok(settings)
}

fn check_compaction_lags(settings: &PartitionSettings) -> Result<(), ConfigError> {
    let value = |name: &str| find(name).and_then(|config| config.render(settings).parse::<i64>().ok());
    match (value("min.compaction.lag.ms"), value("max.compaction.lag.ms")) {
        (Some(min), Some(max)) if min > max => Err(ConfigError::Other(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ))),
        _ => Ok(()),
    }
}

/// As [`settings_of`], for configurations that were accepted once: what is unknown or bad now keeps its default.
pub fn settings_as_far_as_known(
    configs: &BTreeMap<String, String>,
    defaults: &PartitionSettings,
) -> PartitionSettings {
    let mut settings = defaults.clone();
    for (name, value) in configs {
        let applied = find(name).map(|config| (config.apply)(&mut settings, value.trim()));
        if !matches!(applied, Some(Ok(()))) {
            tracing::warn!(name, value, "a topic's configuration is not understood: its default is used");
        }
    }
    settings
}

macro_rules! topic_configs {
    ($($name:literal $kind:ident $synonym:expr, $documentation:literal, $apply:expr, $render:expr;)*) => {
        /// Every topic configuration, by name.
        pub const TOPIC_CONFIGS: &[TopicConfig] = &[
            $(TopicConfig {
                name: $name,
                kind: ConfigType::$kind,
                synonym: $synonym,
                documentation: $documentation,
                apply: $apply,
                render: $render,
            },)*
        ];
    };
}

/// A 64-bit setting where −1 (or another number) stands for "no limit".
fn limit(value: Option<i64>, none: i64) -> String {
    value.unwrap_or(none).to_string()
}

topic_configs! {
    "cleanup.policy" List Some("log.cleanup.policy"),
        "What becomes of old segments: delete, compact, both, or none.",
        |s, v| value::cleanup_policy(v).map(|policy| s.log.cleanup_policy = policy),
        |s| value::cleanup_policy_text(s.log.cleanup_policy);
    "compression.gzip.level" Int Some("compression.gzip.level"),
        "The level for gzip if compression.type is gzip.",
        |s, v| value::gzip_level(v).map(|level| s.log.compression_gzip_level = level),
        |s| s.log.compression_gzip_level.to_string();
    "compression.lz4.level" Int Some("compression.lz4.level"),
        "The level for lz4 if compression.type is lz4.",
        |s, v| number(v, Range::int(1, 17)).map(|level| s.log.compression_lz4_level = level as i32),
        |s| s.log.compression_lz4_level.to_string();
    "compression.type" Text Some("compression.type"),
        "How batches are stored: as the producer sent them, or recompressed.",
        |s, v| value::compression(v).map(|codec| s.log.compression_type = codec),
        |s| value::compression_text(s.log.compression_type).to_owned();
    "compression.zstd.level" Int Some("compression.zstd.level"),
        "The level for zstd if compression.type is zstd.",
        |s, v| number(v, Range::int(-131_072, 22)).map(|level| s.log.compression_zstd_level = level as i32),
        |s| s.log.compression_zstd_level.to_string();
    "delete.retention.ms" Long Some("log.cleaner.delete.retention.ms"),
        "How long delete markers of a compacted topic stay.",
        |s, v| s.keep("delete.retention.ms", v, number(v, Range::long(0))),
        |s| s.kept("delete.retention.ms", "86400000");
    "file.delete.delay.ms" Long Some("log.segment.delete.delay.ms"),
        "How long the files of deleted segments stay.",
        |s, v| number(v, Range::long(0)).map(|ms| s.log.file_delete_delay_ms = ms),
        |s| s.log.file_delete_delay_ms.to_string();
    "flush.messages" Long Some("log.flush.interval.messages"),
        "Records that may be acknowledged before they are flushed, plus one. The default here is 1: none.",
        |s, v| number(v, Range::long(1)).map(|count| s.log.flush_messages = count.unsigned_abs()),
        |s| s.log.flush_messages.to_string();
    "flush.ms" Long Some("log.flush.interval.ms"),
        "The longest time that a record stays unflushed.",
        |s, v| number(v, Range::long(0)).map(|ms| s.log.flush_ms = (ms != i64::MAX).then_some(ms)),
        |s| limit(s.log.flush_ms, i64::MAX);
    "follower.replication.throttled.replicas" List None,
        "Replicas whose replication is throttled on the followers' side.",
        |s, v| s.keep("follower.replication.throttled.replicas", v, value::replica_list("follower.replication.throttled.replicas", v)),
        |s| s.kept("follower.replication.throttled.replicas", "");
    "index.interval.bytes" Int Some("log.index.interval.bytes"),
        "About so many bytes of batches lie between two index entries.",
        |s, v| number(v, Range::int(0, i32::MAX)).map(|bytes| s.log.index_interval_bytes = bytes as u32),
        |s| s.log.index_interval_bytes.to_string();
    "leader.replication.throttled.replicas" List None,
        "Replicas whose replication is throttled on the leader's side.",
        |s, v| s.keep("leader.replication.throttled.replicas", v, value::replica_list("leader.replication.throttled.replicas", v)),
        |s| s.kept("leader.replication.throttled.replicas", "");
    "local.retention.bytes" Long Some("log.local.retention.bytes"),
        "The size of a tiered log's local part; −2: that of retention.bytes.",
        |s, v| s.keep("local.retention.bytes", v, number(v, Range::long(-2))),
        |s| s.kept("local.retention.bytes", "-2");
    "local.retention.ms" Long Some("log.local.retention.ms"),
        "The age of a tiered log's local part; −2: that of retention.ms.",
        |s, v| s.keep("local.retention.ms", v, number(v, Range::long(-2))),
        |s| s.kept("local.retention.ms", "-2");
    "max.compaction.lag.ms" Long Some("log.cleaner.max.compaction.lag.ms"),
        "The longest time that a record of a compacted topic stays out of compaction.",
        |s, v| s.keep("max.compaction.lag.ms", v, number(v, Range::long(1))),
        |s| s.kept("max.compaction.lag.ms", "9223372036854775807");
    "max.message.bytes" Int Some("message.max.bytes"),
        "The largest batch, header included.",
        |s, v| number(v, Range::int(0, i32::MAX)).map(|bytes| s.log.max_message_bytes = bytes as u32),
        |s| s.log.max_message_bytes.to_string();
    "message.timestamp.after.max.ms" Long Some("log.message.timestamp.after.max.ms"),
        "How far a record's time may lie ahead of the broker's.",
        |s, v| number(v, Range::long(0)).map(|ms| s.log.timestamp_after_max_ms = ms),
        |s| s.log.timestamp_after_max_ms.to_string();
    "message.timestamp.before.max.ms" Long Some("log.message.timestamp.before.max.ms"),
        "How far a record's time may lie behind the broker's.",
        |s, v| number(v, Range::long(0)).map(|ms| s.log.timestamp_before_max_ms = ms),
        |s| s.log.timestamp_before_max_ms.to_string();
    "message.timestamp.type" Text Some("log.message.timestamp.type"),
        "Whether a record's time is the producer's (CreateTime) or the broker's (LogAppendTime).",
        |s, v| value::timestamp_type(v).map(|kind| s.log.message_timestamp_type = kind),
        |s| value::timestamp_type_text(s.log.message_timestamp_type).to_owned();
    "min.cleanable.dirty.ratio" Double Some("log.cleaner.min.cleanable.ratio"),
        "The part of a compacted log that must be uncompacted before it is worth the work.",
        |s, v| s.keep("min.cleanable.dirty.ratio", v, value::ratio(v)),
        |s| s.kept("min.cleanable.dirty.ratio", "0.5");
    "min.compaction.lag.ms" Long Some("log.cleaner.min.compaction.lag.ms"),
        "The shortest time that a record of a compacted topic stays uncompacted.",
        |s, v| s.keep("min.compaction.lag.ms", v, number(v, Range::long(0))),
        |s| s.kept("min.compaction.lag.ms", "0");
    "min.insync.replicas" Int Some("min.insync.replicas"),
        "Fewer in-sync replicas than this refuse records with acks=all.",
        |s, v| number(v, Range::int(1, i32::MAX)).map(|count| s.min_insync_replicas = count as usize),
        |s| s.min_insync_replicas.to_string();
    "preallocate" Boolean Some("log.preallocate"),
        "Reserve a new segment's space at once.",
        |s, v| boolean(v).map(|on| s.log.preallocate = on),
        |s| s.log.preallocate.to_string();
    "remote.log.copy.disable" Boolean None,
        "Copy no more segments to the remote tier.",
        |s, v| s.keep("remote.log.copy.disable", v, boolean(v)),
        |s| s.kept("remote.log.copy.disable", "false");
    "remote.log.delete.on.disable" Boolean None,
        "Delete what the remote tier holds when tiering is turned off.",
        |s, v| s.keep("remote.log.delete.on.disable", v, boolean(v)),
        |s| s.kept("remote.log.delete.on.disable", "false");
    "remote.storage.enable" Boolean None,
        "Keep old segments in a remote tier. There is none here: only false is accepted.",
        |s, v| s.keep("remote.storage.enable", v, value::no_tiers(v)),
        |s| s.kept("remote.storage.enable", "false");
    "retention.bytes" Long Some("log.retention.bytes"),
        "Segments beyond this size of a partition may go; −1: no limit.",
        |s, v| number(v, Range::long(i64::MIN)).map(|bytes| s.log.retention_bytes = u64::try_from(bytes).ok()),
        |s| s.log.retention_bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
    "retention.ms" Long Some("log.retention.ms"),
        "Segments whose records are all older may go; −1: no limit.",
        |s, v| number(v, Range::long(-1)).map(|ms| s.log.retention_ms = (ms >= 0).then_some(ms)),
        |s| limit(s.log.retention_ms, -1);
    "segment.bytes" Int Some("log.segment.bytes"),
        "A batch that would make a segment larger goes to a new one.",
        |s, v| number(v, Range::int(1 << 20, i32::MAX)).map(|bytes| s.log.segment_bytes = bytes as u32),
        |s| s.log.segment_bytes.to_string();
    "segment.index.bytes" Int Some("log.index.size.max.bytes"),
        "The largest size of an index file.",
        |s, v| number(v, Range::int(4, i32::MAX)).map(|bytes| s.log.segment_index_bytes = bytes as u32),
        |s| s.log.segment_index_bytes.to_string();
    "segment.jitter.ms" Long Some("log.roll.jitter.ms"),
        "Up to so much is subtracted from segment.ms, at random.",
        |s, v| number(v, Range::long(0)).map(|ms| s.log.segment_jitter_ms = ms),
        |s| s.log.segment_jitter_ms.to_string();
    "segment.ms" Long Some("log.roll.ms"),
        "A segment takes batches for so long.",
        |s, v| number(v, Range::long(1)).map(|ms| s.log.segment_ms = ms),
        |s| s.log.segment_ms.to_string();
    "unclean.leader.election.enable" Boolean Some("unclean.leader.election.enable"),
        "Whether a replica that is not in sync may lead as a last resort, at the price of records.",
        |s, v| s.keep("unclean.leader.election.enable", v, boolean(v)),
        |s| s.kept("unclean.leader.election.enable", "false");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Result<String, ConfigError> {
        let configs = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let settings = settings_of(&configs, &PartitionSettings::default())?;
        Ok(find(name).unwrap().render(&settings))
    }

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(TOPIC_CONFIGS.windows(2).all(|pair| pair[0].name < pair[1].name));
        let defaults = PartitionSettings::default();
        for config in TOPIC_CONFIGS {
            let default = config.render(&defaults);
            assert_eq!(check(config.name, &default).as_ref(), Ok(&default), "{}", config.name);
        }
    }

    #[test]
    fn values_come_back_as_they_were_given() {
        for (name, value) in [
            ("cleanup.policy", "compact,delete"),
            ("compression.type", "zstd"),
            ("flush.messages", "9223372036854775807"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("retention.bytes", "-1"),
            ("retention.ms", "1000"),
            ("segment.bytes", "1048576"),
        ] {
            assert_eq!(check(name, value).as_deref(), Ok(value), "{name}");
        }
    }

    #[test]
    fn values_are_shown_as_java_reads_and_writes_them() {
        for (name, given, shown) in [
            ("preallocate", " TRUE ", "true"),
            ("retention.ms", " +7 ", "7"),
            ("min.cleanable.dirty.ratio", "0.50", "0.5"),
            ("min.cleanable.dirty.ratio", "1", "1.0"),
            ("min.cleanable.dirty.ratio", "0.5f", "0.5"),
            ("min.cleanable.dirty.ratio", "0.0001", "1.0E-4"),
            ("cleanup.policy", "delete, compact", "delete,compact"),
            ("compression.type", "zstd", "zstd"),
        ] {
            assert!(check(name, given).is_ok(), "{name}={given}");
            assert_eq!(find(name).unwrap().as_parsed(given), shown, "{name}={given}");
        }
    }

    #[test]
    fn refusals_have_kafkas_words() {
        for (name, value, words) in [
            ("compression.gzip.level", "10", "Value must be between 1 and 9 or equal to -1"),
            ("remote.storage.enable", "true", "Tiered Storage functionality is disabled in the broker."),
            ("remote.storage.enable", "x", "Expected value to be either true or false"),
            ("cleanup.policy", "delete,shred", "Invalid value shred for configuration cleanup.policy"),
            ("leader.replication.throttled.replicas", "0:1,x", "Invalid value [0:1, x] for configuration"),
        ] {
            let refused = check(name, value).unwrap_err().to_string();
            assert!(refused.contains(words), "{name}={value}: {refused}");
        }
        assert!(check("leader.replication.throttled.replicas", "0:1,").is_ok());
        assert!(check("min.cleanable.dirty.ratio", "NaNf").is_err());
    }

    #[test]
    fn bad_values_are_refused() {
        for (name, value) in [
            ("cleanup.policy", "shred"),
            ("cleanup.policy", "delete,"),
            ("leader.replication.throttled.replicas", "all"),
            ("min.compaction.lag.ms", "-1"),
            ("compression.gzip.level", "0"),
            ("flush.messages", "0"),
            ("max.message.bytes", "-1"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("preallocate", "perhaps"),
            ("remote.storage.enable", "true"),
            ("retention.ms", "-2"),
            ("segment.bytes", "14"),
            ("segment.ms", "soon"),
            ("no.such.setting", "1"),
        ] {
            assert!(check(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn settings_that_exclude_each_other_are_refused() {
        let configs: BTreeMap<_, _> = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let refused = settings_of(&configs, &PartitionSettings::default()).unwrap_err();
        assert!(refused.to_string().starts_with("conflict topic config setting"), "{refused}");
    }

    #[test]
    fn what_was_accepted_once_does_not_stop_a_topic() {
        let configs: BTreeMap<_, _> = [("gone.setting", "1"), ("retention.ms", "5")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let settings = settings_as_far_as_known(&configs, &PartitionSettings::default());
        assert_eq!(settings.log.retention_ms, Some(5));
    }
}
