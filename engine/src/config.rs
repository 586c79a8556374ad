//! The broker's configuration: from a file in Java's properties format and `KEY=VALUE` overrides to checked values that each
//! know where they come from.
//!
//! [`keys`] is the table of settings; the topics' table is `partition::topic_config`, and broker settings that are a topic's
//! default are checked by it. A key that nobody knows, or that has no effect here, is a warning, as in Kafka; a bad
//! value, or a promise of protection that cannot be kept, an error. Nothing here reads a file or looks at the machine:
//! both come in.

pub mod connections;
pub mod dynamic;
pub mod file;
pub mod keys;
mod known;
pub mod listeners;
pub(crate) mod nearest;
pub mod properties;
mod resolve;
mod show;

use crate::broker::BrokerOptions;
use keys::{KEYS, Key};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What the defaults depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that the process may use, 1 or more.
    pub cores: usize,
    /// Bytes of memory that the process may use.
    pub memory_bytes: u64,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Not set.
    Default,
    /// A line of a file.
    File(Arc<PathBuf>, usize),
    /// An option of the command line, such as `--override`.
    CommandLine(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => out.write_str("default"),
            Origin::File(path, line) => write!(out, "{}, line {line}", path.display()),
            Origin::CommandLine(option) => out.write_str(option),
        }
    }
}

/// A key and the text that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// By whom.
    pub origin: Origin,
}

/// Why a value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    key: String,
    value: String,
    origin: Origin,
    reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigError { key, value, origin, reason } = self;
        write!(out, "{key}={value} ({origin}): {reason}")
    }
}

impl std::error::Error for ConfigError {}

/// The value in force of one setting.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The setting.
    pub key: &'static Key,
    /// Its value; `None` for one that is absent unless set.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// A broker's whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The value of every setting of [`KEYS`], in the order of their names.
    pub settings: Vec<Setting>,
    /// What single listeners have for themselves (`listener.name.…`), as far as it has an effect.
    pub of_listeners: Vec<Given>,
    /// What was set and has no effect, in the words for the log.
    pub warnings: Vec<String>,
    /// How many shards to run.
    pub shards: u16,
    /// Where to serve metrics and health.
    pub http: Vec<SocketAddr>,
    /// How long a shard spins before it sleeps.
    pub spin: Duration,
    /// What the broker is told. A port 0 is still to be replaced.
    pub options: BrokerOptions,
}

impl Config {
    /// Checks what was given, last value first, and works out the rest.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn resolve(given: &[Given], machine: &Machine) -> Result<Config, Vec<ConfigError>> {
        let last: BTreeMap<&str, &Given> = given.iter().map(|given| (given.key.as_str(), given)).collect();
        let (mut errors, mut warnings, mut of_listeners) = (Vec::new(), Vec::new(), Vec::new());
        for given in last.values().filter(|given| keys::find(&given.key).is_none()) {
            if let Some((_, base)) = connections::of_listener(&given.key) {
                match connections::check_of_listener(base, &given.value) {
                    Ok(()) => of_listeners.push(Given::clone(given)),
                    Err(reason) => errors.push(refusal(given, reason)),
                }
                continue;
            }
            match without_effect(given) {
                Ok(warning) => warnings.push(warning),
                Err(error) => errors.push(error),
            }
        }
        let mut settings = Vec::with_capacity(KEYS.len());
        for key in KEYS {
            match setting(key, last.get(key.name).copied()) {
                Ok(setting) => settings.push(setting),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        resolve::resolve(settings, of_listeners, warnings, machine)
    }

    /// A setting by its name.
    ///
    /// # Panics
    /// When there is no such setting.
    pub fn setting(&self, name: &str) -> &Setting {
        let at = self.settings.binary_search_by(|setting| setting.key.name.cmp(name));
        &self.settings[at.expect("a setting of the table")]
    }
}

fn setting(key: &'static Key, given: Option<&Given>) -> Result<Setting, ConfigError> {
    let Some(given) = given else {
        return Ok(Setting { key, value: key.default.map(str::to_owned), origin: Origin::Default });
    };
    match key.check(&given.value) {
        Ok(value) => Ok(Setting { key, value: Some(value.to_owned()), origin: given.origin.clone() }),
        Err(reason) => Err(refusal(given, reason)),
    }
}

fn refusal(given: &Given, reason: impl Into<String>) -> ConfigError {
    let Given { key, value, origin } = given.clone();
    ConfigError { key, value, origin, reason: reason.into() }
}

/// The warning for a key that has no effect.
fn without_effect(given: &Given) -> Result<String, ConfigError> {
    let Given { key, value, origin } = given;
    let why = known::why_without_effect(key);
    match why {
        Some(why) if known::is_refused(key, value) => Err(refusal(
            given,
            format!("{why}, and the broker would run without it; leave the key out to accept that"),
        )),
        Some(why) => Ok(format!("{key} ({origin}) has no effect: {why}")),
        None => {
            let names = KEYS.iter().map(|key| key.name).chain(known::kafka_keys());
            let hint =
                nearest::nearest(key, names).map_or(String::new(), |name| format!("; is {name} meant?"));
            Ok(format!("{key} ({origin}) is unknown and has no effect{hint}"))
        }
    }
}

#[cfg(test)]
mod tests;
