//! What administrators subscribe to: the configurations of a client-metrics resource, what they may be, and which clients a
//! subscription is for.
//!
//! After Kafka's `ClientMetricsConfigs` and `ClientMetricsInstanceMetadata`. Patterns are Java's there and `regex`'s here: those
//! that could take exponential time (look-around, back references) are refused, and so is what would compile to too much.

use crate::metadata::controller::ApiError;
use crate::metadata::image::{ConfigKind, ConfigMap, MetadataImage};
use crate::partition::topic_config::ConfigType;
use kafka_protocol::ResponseError;
use regex::bytes::{Regex, RegexBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One configuration of a client-metrics resource.
pub struct ClientMetricsConfig {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// Its value without being set.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub documentation: &'static str,
}

const INTERVAL: &str = "interval.ms";
const MATCH: &str = "match";
const METRICS: &str = "metrics";

/// How often clients push, in milliseconds, unless a subscription says less.
const INTERVAL_MS_DEFAULT: i32 = 300_000;
const INTERVAL_MS_MIN: i32 = 100;
const INTERVAL_MS_MAX: i32 = 3_600_000;
/// Stands for all metrics.
const ALL_METRICS: &str = "*";

/// The configurations of a client-metrics resource, by name.
pub const CLIENT_METRICS_CONFIGS: [ClientMetricsConfig; 3] = [
    ClientMetricsConfig {
        name: INTERVAL,
        kind: ConfigType::Int,
        default: "300000",
        documentation: "How often the clients push their metrics, in milliseconds: 100 to 3600000.",
    },
    ClientMetricsConfig {
        name: MATCH,
        kind: ConfigType::List,
        default: "",
        documentation: "Which clients it is for: what a client's attribute must match as a whole, each as name=pattern. Empty: all.",
    },
    ClientMetricsConfig {
        name: METRICS,
        kind: ConfigType::List,
        default: "",
        documentation: "Which metrics they push: the beginnings of their names; * for all.",
    },
];

/// Bytes that one compiled pattern may take, and what makes matching it fast.
const PATTERN_BYTES_MAX: usize = 64 << 10;

/// What a client can be told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Attribute {
    InstanceId,
    ClientId,
    SoftwareName,
    SoftwareVersion,
    SourceAddress,
    SourcePort,
}

impl Attribute {
    fn from_name(name: &str) -> Option<Attribute> {
        match name {
            "client_instance_id" => Some(Attribute::InstanceId),
            "client_id" => Some(Attribute::ClientId),
            "client_software_name" => Some(Attribute::SoftwareName),
            "client_software_version" => Some(Attribute::SoftwareVersion),
            "client_source_address" => Some(Attribute::SourceAddress),
            "client_source_port" => Some(Attribute::SourcePort),
            _ => None,
        }
    }
}

/// What is known of a client; `None` where it did not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientAttributes {
    /// Its instance's id, as text.
    pub instance_id: String,
    /// Its name for itself.
    pub client_id: Option<String>,
    /// The name of its software.
    pub software_name: Option<String>,
    /// The version of its software.
    pub software_version: Option<String>,
    /// Where it connects from.
    pub source_address: String,
    /// The port there.
    pub source_port: String,
}

impl ClientAttributes {
    fn get(&self, attribute: Attribute) -> Option<&str> {
        match attribute {
            Attribute::InstanceId => Some(&self.instance_id),
            Attribute::ClientId => self.client_id.as_deref(),
            Attribute::SoftwareName => self.software_name.as_deref(),
            Attribute::SoftwareVersion => self.software_version.as_deref(),
            Attribute::SourceAddress => Some(&self.source_address),
            Attribute::SourcePort => Some(&self.source_port),
        }
    }
}

/// One subscription.
#[derive(Debug)]
struct Subscription {
    metrics: Vec<String>,
    interval_ms: i32,
    patterns: BTreeMap<Attribute, Regex>,
}

impl Subscription {
    fn parse(configs: &ConfigMap) -> Result<Subscription, ApiError> {
        let words = |name: &str| configs.get(name).map(|value| list_words(value)).unwrap_or_default();
        Ok(Subscription {
            metrics: words(METRICS),
            interval_ms: interval_ms(configs)?,
            patterns: words(MATCH).iter().map(|word| pattern(word)).collect::<Result<_, _>>()?,
        })
    }

    fn is_for(&self, client: &ClientAttributes) -> bool {
        let matches = |(attribute, pattern): (&Attribute, &Regex)| {
            client.get(*attribute).is_some_and(|value| pattern.is_match(value.as_bytes()))
        };
        self.patterns.iter().all(matches)
    }
}

/// Whether a client-metrics resource of that name may have these configurations.
///
/// # Errors
/// What is wrong, in Kafka's words.
pub fn check(subscription: &str, configs: &ConfigMap) -> Result<(), ApiError> {
    let invalid = |message: String| Err(ApiError::new(ResponseError::InvalidRequest, message));
    if subscription.is_empty() {
        return invalid("Subscription name can't be empty".to_owned());
    }
    let is_known = |name: &&String| CLIENT_METRICS_CONFIGS.iter().any(|config| config.name == *name);
    if let Some(unknown) = configs.keys().find(|name| !is_known(name)) {
        return invalid(format!("Unknown client metrics configuration: {unknown}"));
    }
    let parsed = Subscription::parse(configs)?;
    if !(INTERVAL_MS_MIN..=INTERVAL_MS_MAX).contains(&parsed.interval_ms) {
        return invalid(format!(
            "Invalid value {} for {INTERVAL}, interval must be between 100 and 3600000 (1 hour)",
            parsed.interval_ms
        ));
    }
    Ok(())
}

fn invalid_config(message: String) -> ApiError {
    ApiError::new(ResponseError::InvalidConfig, message)
}

fn interval_ms(configs: &ConfigMap) -> Result<i32, ApiError> {
    let Some(value) = configs.get(INTERVAL) else { return Ok(INTERVAL_MS_DEFAULT) };
    let not_a_number = || {
        invalid_config(format!(
            "Invalid value {value} for configuration {INTERVAL}: Not a number of type INT"
        ))
    };
    value.trim().parse().map_err(|_| not_a_number())
}

/// A pattern as it stands in a list: an attribute's name, `=`, what its whole value must match.
fn pattern(word: &str) -> Result<(Attribute, Regex), ApiError> {
    let illegal = || invalid_config(format!("Illegal client matching pattern: {word}"));
    let parts: Vec<&str> = word.trim_end_matches('=').split('=').collect();
    let [name, pattern] = parts.as_slice() else { return Err(illegal()) };
    let attribute = Attribute::from_name(name.trim()).ok_or_else(illegal)?;
    let pattern = pattern.trim();
    // Alone first: what closes a group that it did not open would fit into the one around it.
    compile(pattern).map_err(|_| illegal())?;
    let whole = compile(&format!(r"\A(?:{pattern})\z")).map_err(|_| illegal())?;
    Ok((attribute, whole))
}

/// Classes like `\w` are ASCII's, as in Java.
fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(false).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build()
}

/// The words of a list as Kafka takes it apart: trimmed, each once.
fn list_words(value: &str) -> Vec<String> {
    if value.trim().is_empty() {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let words = value.split(',').map(str::trim).filter(|word| seen.insert(*word));
    words.map(str::to_owned).collect()
}

/// A configuration as it is shown: the value taken apart and put together again.
pub fn render(config: &ClientMetricsConfig, configs: Option<&ConfigMap>) -> String {
    let value = configs.and_then(|configs| configs.get(config.name)).map_or(config.default, String::as_str);
    match config.kind {
        ConfigType::List => list_words(value).join(","),
        ConfigType::Boolean
        | ConfigType::Text
        | ConfigType::Short
        | ConfigType::Int
        | ConfigType::Long
        | ConfigType::Double => value.trim().to_owned(),
    }
}

/// What all subscriptions together ask of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The beginnings of names, each once; `*` alone for all.
    pub metrics: Vec<String>,
    /// How often it shall push, in milliseconds.
    pub interval_ms: i32,
}

/// All subscriptions of the cluster.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    configs: BTreeMap<String, Arc<ConfigMap>>,
    parsed: Vec<Subscription>,
    /// What clients for which the same ones are were told, by their places: clients are many, answers few.
    asked: BTreeMap<Vec<usize>, Arc<Asked>>,
}

impl Subscriptions {
    /// Takes over what `image` has; says whether anything is different now.
    pub(super) fn follow(&mut self, image: &MetadataImage) -> bool {
        let of_clients = image.configs().filter(|(resource, _)| resource.kind == ConfigKind::ClientMetrics);
        let configs: BTreeMap<_, _> =
            of_clients.map(|(resource, configs)| (resource.name.clone(), configs.clone())).collect();
        if configs == self.configs {
            return false;
        }
        self.asked.clear();
        self.parsed.clear();
        for (name, configs) in &configs {
            match Subscription::parse(configs) {
                Ok(subscription) => self.parsed.push(subscription),
                Err(error) => {
                    tracing::warn!(subscription = name, %error, "a subscription to client metrics is left out; set it anew");
                }
            }
        }
        self.configs = configs;
        true
    }

    /// What is asked of that client.
    pub(super) fn asked_of(&mut self, client: &ClientAttributes) -> Arc<Asked> {
        let places = self.parsed.iter().enumerate().filter(|(_, subscription)| subscription.is_for(client));
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        let parsed = &self.parsed;
        self.asked.entry(places).or_insert_with_key(|places| Arc::new(together(parsed, places))).clone()
    }
}

fn together(parsed: &[Subscription], places: &[usize]) -> Asked {
    let matching = || places.iter().map(|place| &parsed[*place]);
    let metrics: BTreeSet<&str> =
        matching().flat_map(|subscription| &subscription.metrics).map(String::as_str).collect();
    let metrics = if metrics.contains(ALL_METRICS) { BTreeSet::from([ALL_METRICS]) } else { metrics };
    let interval_ms = matching().map(|subscription| subscription.interval_ms).min();
    Asked {
        metrics: metrics.into_iter().map(str::to_owned).collect(),
        interval_ms: interval_ms.unwrap_or(INTERVAL_MS_DEFAULT).min(INTERVAL_MS_DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn client() -> ClientAttributes {
        ClientAttributes {
            instance_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            client_id: Some("orders-7".to_owned()),
            software_name: Some("apache-kafka-java".to_owned()),
            software_version: None,
            source_address: "10.0.0.7".to_owned(),
            source_port: "4711".to_owned(),
        }
    }

    #[test]
    fn patterns_match_the_whole_value_of_each_attribute() {
        for (patterns, expected) in [
            ("", true),
            ("client_id=orders-.*", true),
            ("client_id=orders", false),
            ("client_id = orders-7 ", true),
            ("client_id=orders-7=", true),
            (r"client_id=orders-\d|other", true),
            ("client_id=o|orders-7", true),
            ("client_software_version=.*", false),
            ("client_software_name=apache-kafka-java,client_id=no", false),
            ("client_software_name=apache-kafka-java,client_source_address=10\\..*", true),
            ("client_source_port=4711", true),
            ("client_instance_id=A+", true),
            ("client_id=no,client_id=orders-7", true),
        ] {
            let subscription = Subscription::parse(&configs(&[(MATCH, patterns)])).expect(patterns);
            assert_eq!(subscription.is_for(&client()), expected, "{patterns}");
        }
    }

    #[test]
    fn what_kafka_refuses_is_refused_in_its_words() {
        for (name, value, expected) in [
            ("metrics", "org.apache.,*", None),
            ("interval.ms", "100", None),
            ("interval.ms", " 3600000 ", None),
            (
                "interval.ms",
                "99",
                Some("Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)"),
            ),
            (
                "interval.ms",
                "x",
                Some("Invalid value x for configuration interval.ms: Not a number of type INT"),
            ),
            ("foo", "1", Some("Unknown client metrics configuration: foo")),
            ("match", "nope=1", Some("Illegal client matching pattern: nope=1")),
            ("match", "client_id", Some("Illegal client matching pattern: client_id")),
            ("match", "client_id=a=b", Some("Illegal client matching pattern: client_id=a=b")),
            ("match", "client_id=(", Some("Illegal client matching pattern: client_id=(")),
            ("match", "client_id=a)(b", Some("Illegal client matching pattern: client_id=a)(b")),
            ("match", r"client_id=(a)\1", Some(r"Illegal client matching pattern: client_id=(a)\1")),
            (
                "match",
                "client_id=(((a{99}){99}){99})",
                Some("Illegal client matching pattern: client_id=(((a{99}){99}){99})"),
            ),
        ] {
            let outcome = check("x", &configs(&[(name, value)])).map_err(|error| error.message);
            let expected = expected.map_or(Ok(()), |words| Err(Some(words.to_owned())));
            assert_eq!(outcome, expected, "{name}={value}");
        }
        assert!(check("", &configs(&[])).is_err());
    }

    #[test]
    fn subscriptions_add_up_and_the_shortest_interval_counts() {
        let parse = |pairs| Subscription::parse(&configs(pairs)).expect("valid");
        let parsed = [
            parse(&[("metrics", "b,a,b"), ("interval.ms", "1000")]),
            parse(&[("metrics", "c,a"), ("interval.ms", "400000")]),
            parse(&[("metrics", "x,*")]),
        ];
        let told = |places: &[usize]| {
            let asked = together(&parsed, places);
            (asked.metrics.join(" "), asked.interval_ms)
        };
        assert_eq!(told(&[]), (String::new(), 300_000));
        assert_eq!(told(&[0, 1]), ("a b c".to_owned(), 1000));
        assert_eq!(told(&[1]), ("a c".to_owned(), 300_000));
        assert_eq!(told(&[0, 2]), ("*".to_owned(), 1000));
    }

    #[test]
    fn lists_are_shown_as_kafka_takes_them_apart() {
        let shown = |value: &str| render(&CLIENT_METRICS_CONFIGS[2], Some(&configs(&[("metrics", value)])));
        assert_eq!(shown(" a , b,a "), "a,b");
        assert_eq!(render(&CLIENT_METRICS_CONFIGS[0], None), "300000");
    }
}
