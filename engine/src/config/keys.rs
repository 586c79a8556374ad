//! The broker's settings: one table of what each is called, may be, is without being set, and does.
//!
//! Names, types and defaults are Apache Kafka's (4.2); where a default differs, or a key is Hayate's own, its text says
//! why. A setting that is the default of a topic's is checked as that topic's. The texts are what `hayate config` and
//! DescribeConfigs show.

use crate::partition::PartitionSettings;
use crate::partition::topic_config::{ConfigError, ConfigType, settings_of};
use std::collections::BTreeMap;

/// What a value may be, beyond its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Anything of the type.
    Any,
    /// A number from here on.
    AtLeast(i64),
    /// A number from the first to the second.
    Between(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// What the topic's setting of this name may be; the value is that one's default.
    AsTopic(&'static str),
}

/// One setting of the broker.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// Its value without being set; `None` when it is then worked out, or absent.
    pub default: Option<&'static str>,
    /// What it may be.
    pub rule: Rule,
    /// What it does, in a sentence or two.
    pub documentation: &'static str,
}

impl Key {
    /// The value trimmed, if it is one of this setting.
    ///
    /// # Errors
    /// Why it is not, in Kafka's words.
    pub fn check<'a>(&self, value: &'a str) -> Result<&'a str, String> {
        let value = value.trim();
        match self.rule {
            Rule::AsTopic(topic) => {
                self.number(value)?;
                check_as_topic(topic, value)?;
            }
            Rule::OneOf(words) if !words.contains(&value) => {
                return Err(format!("String must be one of: {}", words.join(", ")));
            }
            Rule::Any | Rule::OneOf(_) => drop(self.number(value)?),
            Rule::AtLeast(min) => in_range(self.number(value)?, min, i64::MAX)?,
            Rule::Between(min, max) => in_range(self.number(value)?, min, max)?,
        }
        Ok(value)
    }

    /// Checks the type; the number, if it is of one.
    fn number(&self, value: &str) -> Result<Option<i64>, String> {
        match self.kind {
            ConfigType::Boolean if !is_boolean(value) => {
                Err("Expected value to be either true or false".to_owned())
            }
            ConfigType::Short => match value.parse::<i16>() {
                Ok(number) => Ok(Some(number.into())),
                Err(_) => Err("Not a number of type SHORT".to_owned()),
            },
            ConfigType::Int => match value.parse::<i32>() {
                Ok(number) => Ok(Some(number.into())),
                Err(_) => Err("Not a number of type INT".to_owned()),
            },
            ConfigType::Long => match value.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err("Not a number of type LONG".to_owned()),
            },
            ConfigType::Boolean | ConfigType::Text | ConfigType::Double | ConfigType::List => Ok(None),
        }
    }
}

fn is_boolean(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
}

fn check_as_topic(name: &str, value: &str) -> Result<(), String> {
    let configs = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    match settings_of(&configs, &PartitionSettings::default()) {
        Ok(_) => Ok(()),
        Err(ConfigError::Invalid { expected, .. }) => Err(expected),
        Err(other @ (ConfigError::Unknown(_) | ConfigError::Other(_))) => Err(other.to_string()),
    }
}

fn in_range(number: Option<i64>, min: i64, max: i64) -> Result<(), String> {
    match number {
        Some(number) if number < min => Err(format!("Value must be at least {min}")),
        Some(number) if number > max => Err(format!("Value must be no more than {max}")),
        Some(_) | None => Ok(()),
    }
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    let at = KEYS.binary_search_by(|key| key.name.cmp(name)).ok()?;
    KEYS.get(at)
}

use Rule::{Any, AsTopic, AtLeast, Between, OneOf};

macro_rules! keys {
    ($($name:literal $kind:ident $default:expr, $rule:expr, $documentation:literal;)*) => {
        /// Every setting that has an effect, by name.
        pub const KEYS: &[Key] = &[
            $(Key {
                name: $name,
                kind: ConfigType::$kind,
                default: $default,
                rule: $rule,
                documentation: $documentation,
            },)*
        ];
    };
}

keys! {
    "add.partitions.to.txn.retry.backoff.max.ms" Int Some("100"), AtLeast(0),
        "How long a transaction's first records wait for the end of their producer's last transaction before they are refused.";
    "add.partitions.to.txn.retry.backoff.ms" Int Some("20"), AtLeast(1),
        "How often they look meanwhile whether it has ended, at the least: at first sooner.";
    "advertised.listeners" List None, Any,
        "Where the clients of each listener are told to connect, if not where listeners says: NAME://host:port, without a host \
         for this machine's name.";
    "auto.create.topics.enable" Boolean Some("true"), Any,
        "Whether a topic is created when a client first asks for it.";
    "broker.id" Int None, AtLeast(-1),
        "The older name of node.id. If both are set, they must be the same.";
    "broker.rack" Text None, Any,
        "Where this broker stands, told to clients.";
    "compression.gzip.level" Int Some("-1"), AsTopic("compression.gzip.level"),
        "The level for gzip where compression.type is gzip.";
    "compression.lz4.level" Int Some("9"), AsTopic("compression.lz4.level"),
        "The level for lz4 where compression.type is lz4.";
    "compression.type" Text Some("producer"), AsTopic("compression.type"),
        "How batches are stored: as the producer sent them, or recompressed.";
    "compression.zstd.level" Int Some("3"), AsTopic("compression.zstd.level"),
        "The level for zstd where compression.type is zstd.";
    "connections.max.idle.ms" Long Some("600000"), Any,
        "A connection on which nothing happens for so long is closed; -1: never.";
    "controller.listener.names" List None, Any,
        "Listeners for controllers alone. The controller runs in this process and no other node comes to it: those named here \
         are checked and not opened.";
    "default.replication.factor" Int Some("1"), Between(1, i16::MAX as i64),
        "Replicas of a topic that is created without saying how many.";
    "delete.topic.enable" Boolean Some("true"), Any,
        "Whether topics may be deleted.";
    "fetch.max.bytes" Int Some("57671680"), AtLeast(1024),
        "The most bytes of records that one fetch gets, whatever it asks for.";
    "group.consumer.assignors" List Some("uniform,range"), Any,
        "The assignors that members of consumer groups may ask for, uniform and range; groups whose members ask for none get the first.";
    "group.consumer.heartbeat.interval.ms" Int Some("5000"), AtLeast(1),
        "How often members of consumer groups are to be heard, where the group itself says nothing.";
    "group.consumer.max.heartbeat.interval.ms" Int Some("15000"), AtLeast(1),
        "The longest heartbeat interval that a consumer group may be set to.";
    "group.consumer.max.session.timeout.ms" Int Some("60000"), AtLeast(1),
        "The longest session timeout that a consumer group may be set to.";
    "group.consumer.max.size" Int Some("2147483647"), AtLeast(1),
        "The most members of a consumer group.";
    "group.consumer.migration.policy" Text Some("bidirectional"), Any,
        "Which groups change their kind while they have members, as these change their protocol: disabled, downgrade, upgrade, or \
         bidirectional.";
    "group.consumer.min.heartbeat.interval.ms" Int Some("5000"), AtLeast(1),
        "The shortest heartbeat interval that a consumer group may be set to.";
    "group.consumer.min.session.timeout.ms" Int Some("45000"), AtLeast(1),
        "The shortest session timeout that a consumer group may be set to.";
    "group.consumer.regex.refresh.interval.ms" Int Some("600000"), AtLeast(10_000),
        "How often the topics are looked for at the least that the expressions of consumer groups match.";
    "group.consumer.session.timeout.ms" Int Some("45000"), AtLeast(1),
        "How long members of consumer groups may be silent, where the group itself says nothing.";
    "group.initial.rebalance.delay.ms" Int Some("3000"), Any,
        "How long the first rebalance of an empty group waits for further members.";
    "group.max.session.timeout.ms" Int Some("1800000"), Any,
        "The longest session timeout that a member of a classic group may ask for.";
    "group.max.size" Int Some("2147483647"), AtLeast(1),
        "The most members of a classic group.";
    "group.min.session.timeout.ms" Int Some("6000"), Any,
        "The shortest session timeout that a member of a classic group may ask for.";
    "group.share.delivery.count.limit" Int Some("5"), Between(2, 10),
        "How often a record is delivered to a share group at most.";
    "group.share.heartbeat.interval.ms" Int Some("5000"), AtLeast(1),
        "How often members of share groups are to tell of themselves.";
    "group.share.max.heartbeat.interval.ms" Int Some("15000"), AtLeast(1),
        "The longest heartbeat interval that a share group may be set to.";
    "group.share.max.record.lock.duration.ms" Int Some("60000"), Between(30_000, 3_600_000),
        "The longest time that a share group may be set to let a member keep a record.";
    "group.share.max.session.timeout.ms" Int Some("60000"), AtLeast(1),
        "The longest session timeout that a share group may be set to.";
    "group.share.max.share.sessions" Int Some("2000"), AtLeast(1),
        "Share sessions that the broker keeps, over all shards.";
    "group.share.max.size" Int Some("200"), Between(1, 1000),
        "The most members of a share group.";
    "group.share.min.heartbeat.interval.ms" Int Some("5000"), AtLeast(1),
        "The shortest heartbeat interval that a share group may be set to.";
    "group.share.min.record.lock.duration.ms" Int Some("15000"), Between(1000, 30_000),
        "The shortest time that a share group may be set to let a member keep a record.";
    "group.share.min.session.timeout.ms" Int Some("45000"), AtLeast(1),
        "The shortest session timeout that a share group may be set to.";
    "group.share.partition.max.record.locks" Int Some("2000"), Between(100, 10_000),
        "Records of a partition, from the first that is not settled on, that may be with the members of a share group.";
    "group.share.record.lock.duration.ms" Int Some("30000"), Between(1000, 3_600_000),
        "How long a member of a share group may keep a record before it is free again.";
    "group.share.session.timeout.ms" Int Some("45000"), AtLeast(1),
        "How long a member of a share group may be silent.";
    "http.listeners" List Some("127.0.0.1:9644"), Any,
        "Hayate's own: where /metrics, /health, /ready and /loggers are served, host:port; empty for nowhere. Kafka has JMX instead.";
    "inter.broker.listener.name" Text None, Any,
        "The listener for the cluster's own traffic. Of several listeners it is the one that max.connections does not keep from \
         accepting. If not set, one that is called PLAINTEXT.";
    "io.spin.us" Int Some("0"), Between(0, 1_000_000),
        "Hayate's own: microseconds that a shard spins before it sleeps. Above 0 it trades idle CPU for latency.";
    "io.wal.file.bytes" Long Some("67108864"), Between(1 << 20, 1 << 32),
        "Hayate's own: bytes of each file of a shard's write-ahead log, which Kafka does not have.";
    "io.wal.files.max" Int Some("4"), Between(2, 64),
        "Hayate's own: how many such files a shard may have; what they hold is the most that a start replays.";
    "io.wal.group.bytes.max" Int Some("1048576"), Between(64 << 10, 64 << 20),
        "Hayate's own: the most bytes that one write to the log carries.";
    "listener.security.protocol.map" Text
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any,
        "Which protocol each listener name stands for. Only PLAINTEXT is built yet.";
    "listeners" List Some("PLAINTEXT://127.0.0.1:9092"), Any,
        "Where to listen, each listener with a name and a port of its own: NAME://host:port, without a host for all addresses. \
         Kafka's default is all addresses.";
    "log.cleaner.delete.retention.ms" Long Some("86400000"), AsTopic("delete.retention.ms"),
        "How long delete markers of a compacted topic stay.";
    "log.cleaner.max.compaction.lag.ms" Long Some("9223372036854775807"), AsTopic("max.compaction.lag.ms"),
        "The longest time that a record of a compacted topic stays out of compaction.";
    "log.cleaner.min.cleanable.ratio" Double Some("0.5"), AsTopic("min.cleanable.dirty.ratio"),
        "The part of a compacted log that must be uncompacted before it is worth the work.";
    "log.cleaner.min.compaction.lag.ms" Long Some("0"), AsTopic("min.compaction.lag.ms"),
        "The shortest time that a record of a compacted topic stays uncompacted.";
    "log.cleanup.policy" List Some("delete"), AsTopic("cleanup.policy"),
        "What becomes of old segments: delete, compact, both, or none.";
    "log.dir" List Some("./hayate-data"), Any,
        "The data folder, if log.dirs is not set.";
    "log.dirs" List None, Any,
        "The data folder. More than one is not built yet.";
    "log.flush.interval.messages" Long Some("1"), AsTopic("flush.messages"),
        "Records that may be acknowledged before they are flushed, plus one. The default differs from Kafka's on purpose: \
         what is acknowledged is on the disk.";
    "log.flush.interval.ms" Long None, AsTopic("flush.ms"),
        "The longest time that a record stays unflushed; if not set, log.flush.scheduler.interval.ms.";
    "log.flush.scheduler.interval.ms" Long Some("9223372036854775807"), AtLeast(0),
        "In Kafka how often the flusher looks; here only the default of log.flush.interval.ms.";
    "log.index.interval.bytes" Int Some("4096"), AsTopic("index.interval.bytes"),
        "About so many bytes of batches lie between two index entries.";
    "log.index.size.max.bytes" Int Some("10485760"), AsTopic("segment.index.bytes"),
        "The largest size of an index file.";
    "log.local.retention.bytes" Long Some("-2"), AsTopic("local.retention.bytes"),
        "The size of a tiered log's local part; no log is tiered yet.";
    "log.local.retention.ms" Long Some("-2"), AsTopic("local.retention.ms"),
        "The age of a tiered log's local part; no log is tiered yet.";
    "log.message.timestamp.after.max.ms" Long Some("3600000"), AsTopic("message.timestamp.after.max.ms"),
        "How far a record's time may lie ahead of the broker's.";
    "log.message.timestamp.before.max.ms" Long Some("9223372036854775807"), AsTopic("message.timestamp.before.max.ms"),
        "How far a record's time may lie behind the broker's.";
    "log.message.timestamp.type" Text Some("CreateTime"), AsTopic("message.timestamp.type"),
        "Whether a record's time is the producer's (CreateTime) or the broker's (LogAppendTime).";
    "log.preallocate" Boolean Some("false"), AsTopic("preallocate"),
        "Reserve a new segment's space at once.";
    "log.retention.bytes" Long Some("-1"), AsTopic("retention.bytes"),
        "Segments beyond this size of a partition may go; -1: no limit.";
    "log.retention.check.interval.ms" Long Some("300000"), AtLeast(1),
        "How often segments that may go are looked for.";
    "log.retention.hours" Int Some("168"), Any,
        "Hours that records are kept, if neither log.retention.minutes nor log.retention.ms is set.";
    "log.retention.minutes" Int None, Any,
        "Minutes that records are kept, if log.retention.ms is not set.";
    "log.retention.ms" Long None, Any,
        "Milliseconds that records are kept; -1: no limit.";
    "log.roll.hours" Int Some("168"), AtLeast(1),
        "Hours that a segment takes batches, if log.roll.ms is not set.";
    "log.roll.jitter.hours" Int Some("0"), AtLeast(0),
        "Hours of which up to so many are subtracted from that time, at random, if log.roll.jitter.ms is not set.";
    "log.roll.jitter.ms" Long None, AtLeast(0),
        "Milliseconds of which up to so many are subtracted from that time, at random.";
    "log.roll.ms" Long None, AtLeast(1),
        "Milliseconds that a segment takes batches.";
    "log.segment.bytes" Int Some("1073741824"), AsTopic("segment.bytes"),
        "A batch that would make a segment larger goes to a new one.";
    "log.segment.delete.delay.ms" Long Some("60000"), AsTopic("file.delete.delay.ms"),
        "How long the files of deleted segments stay.";
    "max.connection.creation.rate" Int Some("2147483647"), AtLeast(0),
        "Connections that are accepted in a second, as a mean over eleven; further ones wait. A listener may have its own: \
         listener.name.NAME.max.connection.creation.rate.";
    "max.connections" Int Some("2147483647"), AtLeast(0),
        "Connections that may be open, over all listeners and shards; further ones wait. A listener may have its own: \
         listener.name.NAME.max.connections.";
    "max.connections.per.ip" Int Some("2147483647"), AtLeast(0),
        "Connections that one address may have open; further ones are closed at once.";
    "max.connections.per.ip.overrides" Text Some(""), Any,
        "What single addresses may have instead: address:number, separated by commas. Names of hosts are looked up at the start.";
    "max.incremental.fetch.session.cache.slots" Int Some("1000"), AtLeast(0),
        "How many fetch sessions are kept, over all shards.";
    "max.request.partition.size.limit" Int Some("2000"), AtLeast(1),
        "The most partitions that one answer to DescribeTopicPartitions tells of.";
    "memory.budget" Long None, AtLeast(32 << 20),
        "Hayate's own: bytes for buffers and cache, grown into and not reserved. Kafka leaves its cache to the kernel. \
         Default: half the memory that the process may use, at most 4 GiB.";
    "message.max.bytes" Int Some("1048588"), AsTopic("max.message.bytes"),
        "The largest batch, header included.";
    "metadata.log.max.record.bytes.between.snapshots" Long Some("20971520"), AtLeast(1),
        "A snapshot of the metadata is taken after so many bytes of its log; what lies before it is dropped.";
    "metadata.log.max.snapshot.interval.ms" Long Some("3600000"), AtLeast(0),
        "A snapshot of the metadata is taken after so long, if the metadata changed; 0: never by time.";
    "metrics.groups.max" Int Some("1000"), AtLeast(0),
        "Hayate's own: groups that /metrics and /groups show one by one, first come, first served; the others are counted alone.";
    "metrics.topics.max" Int Some("1000"), AtLeast(0),
        "Hayate's own: topics that get series of their own in /metrics, first come, first served; the others share one.";
    "min.insync.replicas" Int Some("1"), AsTopic("min.insync.replicas"),
        "Fewer in-sync replicas than this refuse records with acks=all.";
    "node.id" Int Some("1"), AtLeast(0),
        "This broker's number in its cluster. A data folder belongs to one.";
    "num.partitions" Int Some("1"), AtLeast(1),
        "Partitions of a topic that is created without saying how many.";
    "offset.metadata.max.bytes" Int Some("4096"), Any,
        "The most bytes of what a client writes beside a committed offset.";
    "offsets.retention.check.interval.ms" Long Some("600000"), AtLeast(1),
        "How often committed offsets that have expired are looked for.";
    "offsets.retention.minutes" Int Some("10080"), AtLeast(1),
        "How long the offsets of a group that has no members are kept, and those of a topic that a group reads no longer.";
    "offsets.topic.num.partitions" Int Some("50"), AtLeast(1),
        "Partitions of __consumer_offsets when it is created.";
    "offsets.topic.replication.factor" Short Some("3"), AtLeast(1),
        "Replicas of __consumer_offsets when it is created. If not set, there are no more than brokers serve; Kafka would not create it.";
    "offsets.topic.segment.bytes" Int Some("104857600"), AtLeast(1 << 20),
        "Size at which a segment of __consumer_offsets rolls.";
    "process.roles" List None, Any,
        "What this process is. Here it is always broker and controller.";
    "producer.id.expiration.ms" Int Some("86400000"), AtLeast(1),
        "How long an idle producer's sequence numbers are remembered.";
    "queued.max.request.bytes" Long Some("-1"), Any,
        "Bytes of requests that are received and not yet answered, above which sockets are not read; 0 or less: what \
         memory.budget leaves.";
    "queued.max.requests" Int Some("500"), AtLeast(1),
        "Produce requests that are received and have no place in their partitions' order yet, above which no further one is \
         begun; each shard has its part. Other requests never queue.";
    "shards" Int None, Between(1, 1024),
        "Hayate's own: pinned threads, each with its own partitions, in place of Kafka's thread pools. Default: one a core \
         that the process may use.";
    "share.coordinator.cold.partition.snapshot.interval.ms" Int Some("300000"), AtLeast(1),
        "How often states of share groups that do not change are written anew, so that older records can go.";
    "share.coordinator.snapshot.update.records.per.snapshot" Int Some("500"), Between(0, 500),
        "Changes of a share group's state that are written before the whole of it is.";
    "share.coordinator.state.topic.min.isr" Short Some("2"), AtLeast(1),
        "min.insync.replicas of __share_group_state when it is created. If not set, no more than its replicas.";
    "share.coordinator.state.topic.num.partitions" Int Some("50"), AtLeast(1),
        "Partitions of __share_group_state when it is created.";
    "share.coordinator.state.topic.prune.interval.ms" Int Some("300000"), AtLeast(1),
        "How often records of __share_group_state that nothing needs any more are deleted.";
    "share.coordinator.state.topic.replication.factor" Short Some("3"), AtLeast(1),
        "Replicas of __share_group_state when it is created. If not set, there are no more than brokers serve; Kafka would not create it.";
    "share.coordinator.state.topic.segment.bytes" Int Some("104857600"), AtLeast(1 << 20),
        "Size at which a segment of __share_group_state rolls.";
    "socket.listen.backlog.size" Int Some("4096"), AtLeast(1),
        "Connections that may wait to be accepted, on each listener of each shard; the kernel caps it at net.core.somaxconn. \
         Kafka's default, 50, makes a burst of clients wait a second for their second attempt.";
    "socket.receive.buffer.bytes" Int Some("-1"), Any,
        "The kernel's receive buffer of a connection (SO_RCVBUF); -1: the kernel adapts it. Kafka's default, 102400, keeps it \
         from that.";
    "socket.request.max.bytes" Int Some("104857600"), AtLeast(1),
        "The largest request that is taken.";
    "socket.send.buffer.bytes" Int Some("-1"), Any,
        "The kernel's send buffer of a connection (SO_SNDBUF); -1: the kernel adapts it. Kafka's default, 102400, keeps it from \
         that.";
    "socket.send.zerocopy" Text Some("auto"), OneOf(&["auto", "on", "off", "force"]),
        "Hayate's own: whether answers are sent from where they lie, without the kernel's copy. auto: each connection tries once, and \
         goes on if the kernel did not copy; on: from the first send until the kernel says that it copied, as over loopback; force: \
         even then, for measuring.";
    "socket.send.zerocopy.min.bytes" Int Some("65536"), AtLeast(4096),
        "Hayate's own: the fewest bytes of one send for which that is tried. Measured: for smaller ones, keeping the pages in place costs \
         more than the copy.";
    "telemetry.max.bytes" Int Some("1048576"), AtLeast(1),
        "The most bytes of metrics that a client may push at a time, compressed and unpacked.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms" Int Some("10000"), AtLeast(1),
        "How often transactions that have timed out are looked for.";
    "transaction.max.timeout.ms" Int Some("900000"), AtLeast(1),
        "The longest timeout that a producer may ask for its transactions.";
    "transaction.partition.verification.enable" Boolean Some("true"), Any,
        "Whether a partition asks the coordinator before it takes a transaction's first records.";
    "transaction.remove.expired.transaction.cleanup.interval.ms" Int Some("3600000"), AtLeast(1),
        "How often transactional ids that have expired are looked for.";
    "transaction.state.log.min.isr" Int Some("2"), AtLeast(1),
        "min.insync.replicas of __transaction_state when it is created. If not set, no more than its replicas.";
    "transaction.state.log.num.partitions" Int Some("50"), AtLeast(1),
        "Partitions of __transaction_state when it is created.";
    "transaction.state.log.replication.factor" Short Some("3"), AtLeast(1),
        "Replicas of __transaction_state when it is created. If not set, there are no more than brokers serve; Kafka would not create it.";
    "transaction.state.log.segment.bytes" Int Some("104857600"), AtLeast(1 << 20),
        "Size at which a segment of __transaction_state rolls.";
    "transactional.id.expiration.ms" Int Some("604800000"), AtLeast(1),
        "How long a transactional id without transactions is remembered.";
    "unclean.leader.election.enable" Boolean Some("false"), AsTopic("unclean.leader.election.enable"),
        "Whether a replica that is not in sync may lead as a last resort. There are no other replicas yet.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for key in KEYS {
            let Some(default) = key.default else { continue };
            assert_eq!(key.check(default), Ok(default), "{}", key.name);
        }
    }

    /// The texts are those that Kafka 4.2.1 refuses the same values with.
    #[test]
    fn bad_values_are_refused_in_kafkas_words() {
        for (name, value, expected) in [
            ("num.partitions", "x", "Not a number of type INT"),
            ("num.partitions", "", "Not a number of type INT"),
            ("num.partitions", "99999999999", "Not a number of type INT"),
            ("num.partitions", "0", "Value must be at least 1"),
            ("connections.max.idle.ms", "1.5", "Not a number of type LONG"),
            ("delete.topic.enable", "yes", "Expected value to be either true or false"),
            ("log.segment.bytes", "14", "Value must be at least 1048576"),
            ("compression.lz4.level", "18", "Value must be no more than 17"),
            ("socket.send.zerocopy", "maybe", "String must be one of: auto, on, off, force"),
            (
                "compression.type",
                "none",
                "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
            ),
        ] {
            assert_eq!(find(name).unwrap().check(value), Err(expected.to_owned()), "{name}={value}");
        }
        assert_eq!(find("num.partitions").unwrap().check(" +3 "), Ok("+3"));
    }
}
