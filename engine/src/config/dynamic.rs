//! Settings of the broker that are changed while it runs, for all brokers or for one: which may be, what they may be, and
//! what topics have because of them. They lie in the cluster's metadata, above the file and below a topic's own.
//!
//! What can be changed here are the defaults of topics, the limits of connections, and how long producers are remembered. What
//! else Kafka changes at run time is taken and kept, and has no effect, as in the file. After Kafka's `DynamicBrokerConfig`
//! (KIP-226), whose refusals it repeats.

use super::connections::{self, CONNECTION_KEYS, ConnectionLimits, Hosts};
use super::keys::Rule::{Any, AtLeast};
use super::keys::{self, Key, Rule};
use super::known;
use crate::partition::PartitionSettings;
use crate::partition::topic_config::ConfigType::{self, Double, Int, List, Long};
use crate::partition::topic_config::{TOPIC_CONFIGS, settings_as_far_as_known};
use std::collections::BTreeMap;

/// The most settings that one broker, or all together, may be given, and the most bytes of their names and values: one small
/// request shows all of them.
const SETTINGS_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;

/// How long idle producers are remembered.
const PRODUCER_EXPIRATION: &str = "producer.id.expiration.ms";
/// Whether the coordinator is asked before a transaction's first records are taken.
const VERIFICATION: &str = "transaction.partition.verification.enable";

/// What Kafka changes at run time and has no effect here. What it changes of listeners and their security is left out: that is
/// fixed here once a broker runs.
const ELSEWHERE_DYNAMIC: [Key; 22] = [
    elsewhere("background.threads", Int, AtLeast(1)),
    elsewhere("config.providers", List, Any),
    elsewhere("log.cleaner.backoff.ms", Long, AtLeast(0)),
    elsewhere("log.cleaner.dedupe.buffer.size", Long, Any),
    elsewhere("log.cleaner.io.buffer.load.factor", Double, Any),
    elsewhere("log.cleaner.io.buffer.size", Int, AtLeast(0)),
    elsewhere("log.cleaner.io.max.bytes.per.second", Double, Any),
    elsewhere("log.cleaner.threads", Int, AtLeast(0)),
    elsewhere("metric.reporters", List, Any),
    elsewhere("num.io.threads", Int, AtLeast(1)),
    elsewhere("num.network.threads", Int, AtLeast(1)),
    elsewhere("num.recovery.threads.per.data.dir", Int, AtLeast(1)),
    elsewhere("num.replica.fetchers", Int, Any),
    elsewhere("remote.fetch.max.wait.ms", Int, AtLeast(1)),
    elsewhere("remote.list.offsets.request.timeout.ms", Long, AtLeast(1)),
    elsewhere("remote.log.index.file.cache.total.size.bytes", Long, AtLeast(1)),
    elsewhere("remote.log.manager.copier.thread.pool.size", Int, AtLeast(1)),
    elsewhere("remote.log.manager.copy.max.bytes.per.second", Long, AtLeast(1)),
    elsewhere("remote.log.manager.expiration.thread.pool.size", Int, AtLeast(1)),
    elsewhere("remote.log.manager.fetch.max.bytes.per.second", Long, AtLeast(1)),
    elsewhere("remote.log.manager.follower.thread.pool.size", Int, AtLeast(1)),
    elsewhere("remote.log.reader.threads", Int, AtLeast(1)),
];

const fn elsewhere(name: &'static str, kind: ConfigType, rule: Rule) -> Key {
    Key { name, kind, default: None, rule, documentation: "" }
}

fn elsewhere_dynamic(name: &str) -> Option<&'static Key> {
    ELSEWHERE_DYNAMIC.iter().find(|key| key.name == name)
}

/// Settings of TLS, which may be changed for one listener alone.
const OF_LISTENERS: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Names that mean one thing in several units, the one that wins first; every other name stands alone.
const SYNONYMS: [&[&str]; 4] = [
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.roll.ms", "log.roll.hours"],
];

/// The names by which `name` may be set too, itself included, the one that wins first.
pub fn synonyms(name: &str) -> Vec<&str> {
    for group in SYNONYMS {
        // What the scheduler's interval is the default of is no synonym of it.
        if group.contains(&name) && name != "log.flush.scheduler.interval.ms" {
            return group.to_vec();
        }
    }
    vec![name]
}

/// Whether a change of it takes effect while the broker runs.
pub fn takes_effect(name: &str) -> bool {
    TOPIC_CONFIGS.iter().any(|config| config.synonym == Some(name))
        || CONNECTION_KEYS.contains(&name)
        || connections::of_listener(name).is_some()
        || name == PRODUCER_EXPIRATION
        || name == VERIFICATION
}

/// Whether Kafka lets it be changed while the broker runs, and this broker does not forbid it.
pub fn is_dynamic(name: &str) -> bool {
    takes_effect(name) || elsewhere_dynamic(name).is_some() || OF_LISTENERS.contains(&name)
}

/// Whether it is in Kafka's tables, or in Hayate's, and stands in neither's list of what may change.
fn is_fixed(name: &str) -> bool {
    let is_known = keys::find(name).is_some() || known::kafka_keys().any(|key| key == name);
    is_known && !is_dynamic(name)
}

/// The type of a setting that may be changed and has no effect, if it is one.
pub fn kind_elsewhere(name: &str) -> Option<ConfigType> {
    elsewhere_dynamic(name).map(|key| key.kind)
}

/// Whether its value may be a secret: Kafka hides passwords, and what it does not know.
pub fn is_secret(name: &str) -> bool {
    keys::find(name).is_none()
        && elsewhere_dynamic(name).is_none()
        && connections::of_listener(name).is_none()
}

/// The value of a list that is not set; `None` for what is no list.
pub fn list_default(name: &str) -> Option<String> {
    let key = keys::find(name).filter(|key| key.kind == ConfigType::List)?;
    Some(key.default.unwrap_or_default().to_owned())
}

/// Whether `configs` may be all that is set at run time, for one broker or for all of them, over the limits that the file says.
///
/// # Errors
/// Why not, in Kafka's words.
pub fn check(
    configs: &BTreeMap<String, String>,
    is_of_one_broker: bool,
    statics: &ConnectionLimits,
) -> Result<(), String> {
    let bytes: usize = configs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if configs.len() > SETTINGS_MAX || bytes > BYTES_MAX {
        return Err(format!(
            "No more than {SETTINGS_MAX} configs of {BYTES_MAX} bytes can be set for a broker"
        ));
    }
    let names = || configs.keys().map(String::as_str);
    none_of(names().filter(|name| is_fixed(name)), "Cannot update these configs dynamically")?;
    none_of(
        names().filter(|name| OF_LISTENERS.contains(name)),
        "These security configs can be dynamically updated only per-listener using the listener prefix",
    )?;
    for (name, value) in configs {
        check_value(name, value)?;
    }
    connection_limits(statics, [configs])
        .check()
        .map_err(|reason| format!("requirement failed: {reason}"))?;
    if is_of_one_broker {
        return Ok(());
    }
    none_of(
        names().filter(|name| name.starts_with("listener.name.") && !is_of_every_broker(name)),
        "Cannot update these configs at default cluster level, broker id must be specified",
    )
}

fn none_of<'a>(names: impl Iterator<Item = &'a str>, refusal: &str) -> Result<(), String> {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { Ok(()) } else { Err(format!("{refusal}: Set({})", names.join(", "))) }
}

/// Whether it is one that Kafka takes for one listener of all brokers.
fn is_of_every_broker(name: &str) -> bool {
    connections::of_listener(name).is_some() || name.ends_with(".num.network.threads")
}

fn check_value(name: &str, value: &str) -> Result<(), String> {
    if let Some((_, base)) = connections::of_listener(name) {
        return connections::check_of_listener(base, value);
    }
    if name == "max.connections.per.ip.overrides" {
        return connections::parse_overrides(value, Hosts::AddressesAlone).map(drop);
    }
    let Some(key) = keys::find(name).or_else(|| elsewhere_dynamic(name)) else { return Ok(()) };
    let checked = key.check(value);
    let value =
        checked.map_err(|reason| format!("Invalid value {value} for configuration {name}: {reason}"))?;
    if name == "log.retention.ms" && value.parse() == Ok(0) {
        return Err(format!(
            "requirement failed: {name} must be unlimited (-1) or, greater than or equal to 1"
        ));
    }
    Ok(())
}

/// What topics have that set nothing themselves: `statics`, which the file says, and on top of it what each of `layers`
/// sets, the last one last.
pub fn topic_defaults<'a>(
    statics: &PartitionSettings,
    layers: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) -> PartitionSettings {
    let mut configs = BTreeMap::new();
    let mut verifies_transactions = statics.verifies_transactions;
    for layer in layers {
        if let Some(value) = layer.get(VERIFICATION) {
            verifies_transactions = value.trim().eq_ignore_ascii_case("true");
        }
        for config in TOPIC_CONFIGS {
            if let Some(value) = config.synonym.and_then(|behind| layer.get(behind)) {
                configs.insert(config.name.to_owned(), as_topic(config.name, value));
            }
        }
    }
    let mut settings = settings_as_far_as_known(&configs, statics);
    settings.verifies_transactions = verifies_transactions;
    settings
}

/// The limits of connections: `statics`, which the file says, and on top of it what each of `layers` sets, the last one last.
pub fn connection_limits<'a>(
    statics: &ConnectionLimits,
    layers: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) -> ConnectionLimits {
    let mut limits = statics.clone();
    for (name, value) in layers.into_iter().flatten() {
        limits.set(name, value, Hosts::AddressesAlone);
    }
    limits
}

/// How long idle producers are remembered, in milliseconds: `statics`, unless one of `layers` sets it, the last one last.
pub fn producer_expiration_ms<'a>(
    statics: i64,
    layers: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) -> i64 {
    let set = layers.into_iter().filter_map(|layer| layer.get(PRODUCER_EXPIRATION)?.trim().parse().ok());
    set.last().unwrap_or(statics)
}

/// The broker's value as the topic's: of the broker's any negative time to keep records stands for "no limit".
fn as_topic(topic_config: &str, value: &str) -> String {
    match value.trim().parse::<i64>() {
        Ok(ms) if topic_config == "retention.ms" => ms.max(-1).to_string(),
        Ok(_) | Err(_) => value.to_owned(),
    }
}

/// Some of the names that were set and have no effect here, each with the reason, for the log.
pub fn without_effect<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, &'static str> {
    const SHOWN_MAX: usize = 10;
    let idle = names.filter(|name| !takes_effect(name)).take(SHOWN_MAX);
    idle.map(|name| (name, known::why_without_effect(name).unwrap_or("nobody here knows it"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn what_has_no_effect_is_checked_by_its_type_all_the_same() {
        let limits = ConnectionLimits::default();
        for (name, value, refusal) in [
            (
                "num.io.threads",
                "0",
                "Invalid value 0 for configuration num.io.threads: Value must be at least 1",
            ),
            (
                "num.io.threads",
                "x",
                "Invalid value x for configuration num.io.threads: Not a number of type INT",
            ),
            (
                "max.connections",
                "-1",
                "Invalid value -1 for configuration max.connections: Value must be at least 0",
            ),
        ] {
            assert_eq!(check(&configs([(name, value)]), true, &limits), Err(refusal.to_owned()));
        }
        assert_eq!(check(&configs([("num.io.threads", "9")]), true, &limits), Ok(()));
    }

    #[test]
    fn the_default_of_every_topic_setting_is_a_setting_of_the_broker() {
        for behind in TOPIC_CONFIGS.iter().filter_map(|config| config.synonym) {
            assert!(keys::find(behind).is_some(), "{behind}");
        }
    }

    #[test]
    fn what_kafka_changes_is_in_its_table() {
        for name in ELSEWHERE_DYNAMIC.iter().map(|key| &key.name).chain(&OF_LISTENERS) {
            assert!(known::kafka_keys().any(|key| key == *name), "{name}");
            assert!(keys::find(name).is_none() && !takes_effect(name), "{name}");
        }
    }

    #[test]
    fn refusals_are_kafkas() {
        for (name, value, expected) in [
            ("node.id", "7", "Cannot update these configs dynamically: Set(node.id)"),
            ("log.retention.hours", "7", "Cannot update these configs dynamically: Set(log.retention.hours)"),
            ("num.partitions", "7", "Cannot update these configs dynamically: Set(num.partitions)"),
            ("shards", "7", "Cannot update these configs dynamically: Set(shards)"),
            (
                "max.connections",
                "-1",
                "Invalid value -1 for configuration max.connections: Value must be at least 0",
            ),
            ("listener.name.inner.max.connections", "0", "Invalid max.connections 0"),
            (
                "listener.name.inner.max.connection.creation.rate",
                "x",
                "Invalid value x for configuration max.connection.creation.rate: Not a number of type INT",
            ),
            (
                "max.connections.per.ip",
                "0",
                "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides \
                 property is set.",
            ),
            (
                "producer.id.expiration.ms",
                "0",
                "Invalid value 0 for configuration producer.id.expiration.ms: Value must be at least 1",
            ),
            ("listeners", "PLAINTEXT://:1", "Cannot update these configs dynamically: Set(listeners)"),
            (
                "log.retention.ms",
                "soon",
                "Invalid value soon for configuration log.retention.ms: Not a number of type LONG",
            ),
            (
                "log.retention.ms",
                "0",
                "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
            ),
            (
                "ssl.keystore.type",
                "JKS",
                "These security configs can be dynamically updated only per-listener using the listener prefix: \
                 Set(ssl.keystore.type)",
            ),
            (
                "listener.name.inner.ssl.keystore.type",
                "JKS",
                "Cannot update these configs at default cluster level, broker id must be specified: \
                 Set(listener.name.inner.ssl.keystore.type)",
            ),
        ] {
            let refused = check(&configs([(name, value)]), false, &ConnectionLimits::default());
            assert_eq!(refused, Err(expected.to_owned()), "{name}={value}");
        }
        let both = configs([("node.id", "7"), ("num.partitions", "7")]);
        let both = check(&both, true, &ConnectionLimits::default());
        assert_eq!(both, Err("Cannot update these configs dynamically: Set(node.id, num.partitions)".into()));
    }

    #[test]
    fn what_has_no_effect_is_taken() {
        let given = configs([("my.own", "x"), ("num.io.threads", "9"), ("log.retention.ms", "-7")]);
        let statics = ConnectionLimits::default();
        assert_eq!(check(&given, false, &statics), Ok(()));
        let listener = configs([("listener.name.inner.ssl.keystore.type", "JKS")]);
        assert_eq!(check(&listener, true, &statics), Ok(()));
        let threads = configs([("listener.name.inner.num.network.threads", "3")]);
        assert_eq!(check(&threads, false, &statics), Ok(()));
        let idle = without_effect(given.keys().map(String::as_str));
        let expected =
            [("my.own", "nobody here knows it"), ("num.io.threads", "there are no thread pools: see shards")];
        assert_eq!(idle, BTreeMap::from(expected));
    }

    #[test]
    fn limits_and_the_memory_of_producers_take_effect() {
        let cluster = configs([
            ("max.connections", "5"),
            ("listener.name.inner.max.connections", "2"),
            ("producer.id.expiration.ms", "7"),
        ]);
        let broker = configs([("max.connections", "4"), ("max.connections.per.ip.overrides", "127.0.0.1:0")]);
        assert_eq!(check(&cluster, false, &ConnectionLimits::default()), Ok(()));
        assert!(cluster.keys().chain(broker.keys()).all(|name| takes_effect(name) && !is_secret(name)));
        let limits = connection_limits(&ConnectionLimits::default(), [&cluster, &broker]);
        assert_eq!((limits.connections_max, limits.connections_max_of("INNER")), (4, 2));
        assert_eq!(limits.per_ip_max_of([127, 0, 0, 1].into()), 0);
        assert_eq!(producer_expiration_ms(9, [&cluster, &broker]), 7);
        assert_eq!(producer_expiration_ms(9, [&broker]), 9);
    }

    #[test]
    fn the_last_layer_wins_and_the_file_says_the_rest() {
        let mut statics = PartitionSettings::default();
        statics.log.max_message_bytes = 7;
        let cluster = configs([("log.retention.ms", "5"), ("log.segment.bytes", "2097152"), ("my.own", "x")]);
        let broker = configs([("log.retention.ms", "-3")]);
        let merged = topic_defaults(&statics, [&cluster, &broker]);
        assert_eq!(merged.log.retention_ms, None);
        assert_eq!(merged.log.segment_bytes, 2_097_152);
        assert_eq!(merged.log.max_message_bytes, 7);
        assert!(merged.verifies_transactions);
        let off = configs([(VERIFICATION, "FALSE")]);
        assert!(!topic_defaults(&statics, [&cluster, &off]).verifies_transactions);
        assert!(topic_defaults(&statics, [&off, &configs([(VERIFICATION, "true")])]).verifies_transactions);
        assert_eq!(topic_defaults(&statics, []), statics);
    }
}
