//! Settings of Apache Kafka that have no effect here, and why. A file that was written for Kafka may hold any of them: each
//! is named once at the start. Only what would leave the broker less safe than its file says is refused.

/// Every setting of a broker that Kafka 4.2 has, by name.
const KAFKA_KEYS: &str = include_str!("kafka_keys.txt");

/// Beginnings of names, and why such a setting has no effect. The longest that fits counts.
const REASONS: [(&str, &str); 35] = [
    ("alter.config.policy.", CLASSES),
    ("alter.log.dirs.", REPLICATION),
    ("authorizer.class.name", "ACLs are not built yet"),
    ("auto.leader.rebalance.enable", REPLICATION),
    ("background.threads", THREADS),
    ("broker.", ONE_BROKER),
    ("client.quota.callback.class", CLASSES),
    ("connection.failed.authentication", SECURITY),
    ("connections.max.reauth.ms", SECURITY),
    ("controlled.shutdown", ONE_BROKER),
    ("controller.", ONE_BROKER),
    ("create.topic.policy.", CLASSES),
    ("delegation.token.", SECURITY),
    ("group.", GROUPS),
    ("inter.broker.", ONE_BROKER),
    ("leader.imbalance.", REPLICATION),
    (
        "listener.name.",
        "listeners have only limits of their own: max.connections and max.connection.creation.rate",
    ),
    ("log.cleaner.", "log compaction is not built yet"),
    ("log.flush.", "checkpoints are written when the write-ahead log needs its space back"),
    ("metadata.", "the metadata log has fixed sizes"),
    ("metric", "metrics are served to Prometheus: see http.listeners"),
    ("kafka.metrics.", "metrics are served to Prometheus: see http.listeners"),
    ("num.", THREADS),
    ("offset", "offsets are written and loaded without it"),
    ("quota.", "quotas are not built yet"),
    ("remote.", "tiered storage is not built yet"),
    ("replica", REPLICATION),
    ("sasl.", SECURITY),
    ("security.", SECURITY),
    ("principal.builder.class", SECURITY),
    ("share.", GROUPS),
    ("socket.", "connections to peers and other brokers are not built yet"),
    ("ssl.", SECURITY),
    ("transaction.state.log.load.buffer.size", "coordinators are loaded 1 MiB at a time"),
    ("transaction.two.phase.commit.enable", "two-phase commits of transactions are not built yet"),
];

const CLASSES: &str = "Java classes cannot be loaded here";
const GROUPS: &str = "streams groups are not built yet; other groups are coordinated without it";
const ONE_BROKER: &str = "a cluster has one broker, which is its controller";
const REPLICATION: &str = "replication is not built yet";
const SECURITY: &str = "TLS and SASL are not built yet, every listener is PLAINTEXT";
const THREADS: &str = "there are no thread pools: see shards";
const NO_COUNTERPART: &str = "it has no counterpart here";

/// Settings that promise protection which is not there, with the values that promise nothing.
const REFUSED: [(&str, &[&str]); 3] = [
    ("authorizer.class.name", &[""]),
    ("remote.log.storage.system.enable", &["false"]),
    ("ssl.client.auth", &["none"]),
];

/// Names of Kafka's settings.
pub fn kafka_keys() -> impl Iterator<Item = &'static str> {
    KAFKA_KEYS.lines()
}

/// Why a setting of Kafka has no effect; `None` for a name that Kafka does not know either.
pub fn why_without_effect(name: &str) -> Option<&'static str> {
    let reasons = REASONS.iter().filter(|(beginning, _)| name.starts_with(beginning));
    let reason = reasons.max_by_key(|(beginning, _)| beginning.len()).map(|(_, reason)| *reason);
    match reason {
        Some(reason) if is_kafkas(name) || is_open_ended(name) => Some(reason),
        None if is_kafkas(name) => Some(NO_COUNTERPART),
        Some(_) | None => None,
    }
}

/// Whether a start with this value would leave the broker without a protection that the file counts on.
pub fn is_refused(name: &str, value: &str) -> bool {
    let entry = REFUSED.iter().find(|(refused, _)| *refused == name);
    entry
        .is_some_and(|(_, harmless)| !harmless.iter().any(|value_| value_.eq_ignore_ascii_case(value.trim())))
}

fn is_kafkas(name: &str) -> bool {
    kafka_keys().any(|key| key == name)
}

/// Beginnings below which names are free.
fn is_open_ended(name: &str) -> bool {
    ["listener.name.", "ssl.", "sasl.", "metrics.", "controller.quorum."]
        .iter()
        .any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    #[test]
    fn every_setting_of_kafka_has_an_effect_or_a_reason() {
        assert!(kafka_keys().count() > 300);
        for name in kafka_keys().filter(|name| keys::find(name).is_none()) {
            assert!(why_without_effect(name).is_some(), "{name}");
        }
        let unexplained = |name: &&str| why_without_effect(name) == Some(NO_COUNTERPART);
        let unexplained: Vec<_> =
            kafka_keys().filter(|name| keys::find(name).is_none()).filter(unexplained).collect();
        assert!(unexplained.len() < 30, "{unexplained:?}");
    }

    #[test]
    fn reasons_are_those_of_the_longest_beginning() {
        for (name, reason) in [
            ("num.io.threads", Some(THREADS)),
            ("ssl.keystore.location", Some(SECURITY)),
            ("ssl.my.own", Some(SECURITY)),
            (
                "listener.name.inner.sasl.enabled.mechanisms",
                Some(
                    "listeners have only limits of their own: max.connections and max.connection.creation.rate",
                ),
            ),
            ("no.such.key", None),
            ("num.partition", None),
        ] {
            assert_eq!(why_without_effect(name), reason, "{name}");
        }
    }

    #[test]
    fn what_promises_protection_is_refused() {
        assert!(is_refused(
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        ));
        assert!(is_refused("ssl.client.auth", "required"));
        assert!(!is_refused("ssl.client.auth", "None"));
        assert!(!is_refused("num.io.threads", "8"));
    }
}
