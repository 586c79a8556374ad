//! What the files say: pure. Source: `Workload` of the OpenMessaging Benchmark's framework, `Config` of its Kafka driver, and the files that it ships.

use crate::plan;
use std::collections::BTreeMap;
use yaml_rust2::{Yaml, YamlLoader};

/// Different keys that the benchmark's distributors draw from.
const KEYS: &str = "10000";
/// `warmupDurationMinutes` where a file has none.
const WARM_UP_MINUTES: f64 = 1.0;
const SECONDS_OF_MINUTE: f64 = 60.0;

/// A load of this harness, as a file asks for it.
#[derive(Clone, Debug)]
pub struct Load {
    /// The file's name for it.
    pub name: String,
    /// Its sides.
    pub workload: plan::Workload,
    /// Its options, by name.
    pub options: Vec<(String, String)>,
    /// What has no counterpart here, a line each.
    pub told: Vec<String>,
}

/// A workload file.
#[derive(Clone, Debug)]
pub struct Workload {
    name: String,
    topics: i64,
    partitions: i64,
    producers: i64,
    subscriptions: i64,
    consumers: i64,
    message_bytes: i64,
    random_share: f64,
    rate: f64,
    keys: &'static str,
    minutes: f64,
    warm_up_minutes: f64,
    told: Vec<String>,
}

/// A driver file: options, and what has no counterpart.
#[derive(Clone, Debug, Default)]
pub struct Driver {
    options: Vec<(String, String)>,
    told: Vec<String>,
}

/// The fields of a file; those that were asked for are gone from it.
struct Fields(BTreeMap<String, Yaml>);

impl Fields {
    fn read(text: &str, what: &str) -> Result<Fields, String> {
        let documents = YamlLoader::load_from_str(text)
            .map_err(|error| format!("not YAML: {}", error.to_string().lines().next().unwrap_or_default()))?;
        let Some(Yaml::Hash(hash)) = documents.into_iter().next() else {
            return Err(format!("not a {what}: it has no fields"));
        };
        let field = |(name, value): (Yaml, Yaml)| Some((name.into_string()?, value));
        Ok(Fields(hash.into_iter().filter_map(field).collect()))
    }

    fn number(&mut self, name: &str) -> Result<Option<f64>, String> {
        match self.0.remove(name) {
            None | Some(Yaml::Null) => Ok(None),
            Some(Yaml::Integer(number)) => Ok(Some(number as f64)),
            Some(real @ Yaml::Real(_)) => real.as_f64().map(Some).ok_or_else(|| format!("{name}: no number")),
            Some(_) => Err(format!("{name}: no number")),
        }
    }

    /// A count, 0 or more; an error without `or` where there is none.
    fn count(&mut self, name: &str, or: Option<i64>) -> Result<i64, String> {
        match (self.number(name)?, or) {
            (Some(number), _) if number >= 0.0 && number.fract() == 0.0 && number < 1e9 => Ok(number as i64),
            (Some(number), _) => Err(format!("{name}: {number} is no count")),
            (None, Some(or)) => Ok(or),
            (None, None) => Err(format!("{name} is missing")),
        }
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.0.remove(name) {
            None | Some(Yaml::Null) => Ok(None),
            Some(Yaml::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name}: no text")),
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some_and(|value| value.as_bool() == Some(true))
    }

    /// Java properties in a block of text.
    fn properties(&mut self, name: &str) -> Result<Vec<(String, String)>, String> {
        let text = self.text(name)?.unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let pair = |line: &str| {
            let (key, value) =
                line.split_once('=').ok_or_else(|| format!("{name}: {line}: not NAME=VALUE"))?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        };
        lines.map(pair).collect()
    }

    /// What is left, told.
    fn left(self, file: &str) -> impl Iterator<Item = String> {
        self.0.into_keys().map(move |name| format!("{file}: {name} has no counterpart here"))
    }
}

impl Workload {
    /// Reads a workload file.
    ///
    /// # Errors
    /// What is mistaken or cannot be done, in one line.
    pub fn read(text: &str) -> Result<Workload, String> {
        let mut fields = Fields::read(text, "workload")?;
        let rate = fields.number("producerRate")?.ok_or("producerRate is missing")?;
        if rate <= 0.0 {
            return Err(
                "producerRate: 0 has the benchmark look for the highest rate: `hayate-perf search` does"
                    .to_owned(),
            );
        }
        if fields.number("consumerBacklogSizeGB")?.unwrap_or(0.0) > 0.0 {
            return Err("consumerBacklogSizeGB: no backlog can be built up yet".to_owned());
        }
        let keys = match fields.text("keyDistributor")?.as_deref() {
            None | Some("NO_KEY") => "0",
            Some("KEY_ROUND_ROBIN" | "RANDOM_NANO") => KEYS,
            Some(other) => return Err(format!("keyDistributor: {other} is unknown")),
        };
        let is_random = fields.flag("useRandomizedPayloads");
        let random_share = fields.number("randomBytesRatio")?.filter(|_| is_random).unwrap_or(1.0);
        let mut workload = Workload {
            name: fields.text("name")?.unwrap_or_else(|| "workload".to_owned()),
            topics: fields.count("topics", None)?,
            partitions: fields.count("partitionsPerTopic", Some(1))?,
            producers: fields.count("producersPerTopic", Some(1))?,
            subscriptions: fields.count("subscriptionsPerTopic", Some(0))?,
            consumers: fields.count("consumerPerSubscription", Some(1))?,
            message_bytes: fields.count("messageSize", None)?,
            random_share,
            rate,
            keys,
            minutes: fields.number("testDurationMinutes")?.ok_or("testDurationMinutes is missing")?,
            warm_up_minutes: fields.number("warmupDurationMinutes")?.unwrap_or(WARM_UP_MINUTES),
            told: Vec::new(),
        };
        if fields.text("payloadFile")?.is_some() {
            workload.told.push("workload: payloadFile is not read: payloads are drawn".to_owned());
        }
        workload.told.extend(fields.left("workload"));
        Ok(workload)
    }

    /// The load that it is with a driver's settings.
    pub fn load(&self, driver: &Driver) -> Load {
        let reads = self.subscriptions > 0;
        let named: String = self
            .name
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
            .collect();
        let mut options: Vec<(&str, String)> = vec![
            ("topic", format!("omb-{named}")),
            ("topics", self.topics.to_string()),
            ("partitions", self.partitions.to_string()),
            ("producers", (self.topics * self.producers).to_string()),
            ("record-size", self.message_bytes.to_string()),
            ("random", self.random_share.to_string()),
            ("rate", self.rate.to_string()),
            ("keys", self.keys.to_owned()),
            ("duration", (self.minutes * SECONDS_OF_MINUTE).to_string()),
            ("warm-up", (self.warm_up_minutes * SECONDS_OF_MINUTE).to_string()),
        ];
        if reads {
            options.push(("subscriptions", self.subscriptions.to_string()));
            options.push(("consumers", (self.topics * self.consumers).to_string()));
        }
        let of_sides = |name: &str| reads || !CONSUMER.iter().any(|(_, option)| *option == name);
        let of_driver = driver.options.iter().filter(|(name, _)| of_sides(name)).cloned();
        Load {
            name: self.name.clone(),
            workload: if reads { plan::Workload::EndToEnd } else { plan::Workload::Produce },
            options: options
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .chain(of_driver)
                .collect(),
            told: self.told.iter().chain(&driver.told).cloned().collect(),
        }
    }
}

/// Kafka's settings of all clients, and our options.
const COMMON: &[(&str, &str)] = &[("bootstrap.servers", "bootstrap-server")];
const PRODUCER: &[(&str, &str)] = &[
    ("acks", "acks"),
    ("linger.ms", "linger-ms"),
    ("batch.size", "batch-size"),
    ("compression.type", "compression-type"),
    ("enable.idempotence", "idempotence"),
    ("max.in.flight.requests.per.connection", "max-in-flight"),
    ("max.request.size", "max-request-size"),
];
const CONSUMER: &[(&str, &str)] = &[
    ("fetch.min.bytes", "fetch-min-bytes"),
    ("fetch.max.wait.ms", "fetch-max-wait-ms"),
    ("max.partition.fetch.bytes", "max-partition-fetch-bytes"),
    ("check.crcs", "check-crcs"),
];

impl Driver {
    /// Reads a driver file.
    ///
    /// # Errors
    /// What is mistaken, in one line.
    pub fn read(text: &str) -> Result<Driver, String> {
        let mut fields = Fields::read(text, "driver file")?;
        let mut driver = Driver::default();
        fields.text("name")?;
        if let Some(class) = fields.text("driverClass")?.filter(|class| !class.contains("Kafka")) {
            driver.told.push(format!("driver: {class} is not Kafka's; its settings are read as if it were"));
        }
        if let Some(factor) = fields.number("replicationFactor")? {
            driver.options.push(("replication-factor".to_owned(), factor.to_string()));
        }
        for (name, value) in fields.properties("topicConfig")? {
            driver.options.push(("topic-config".to_owned(), format!("{name}={value}")));
        }
        for (field, known) in
            [("commonConfig", COMMON), ("producerConfig", PRODUCER), ("consumerConfig", CONSUMER)]
        {
            for (name, value) in fields.properties(field)? {
                match known.iter().find(|(kafkas, _)| *kafkas == name) {
                    Some((_, ours)) => driver.options.push(((*ours).to_owned(), value)),
                    None => driver.told.push(format!("driver: {field}: {name} has no counterpart here")),
                }
            }
        }
        driver.told.extend(fields.left("driver"));
        Ok(driver)
    }
}
