//! The configuration as people and clients see it: `hayate config` and DescribeConfigs.

use super::{Config, Given, Origin, Setting, connections, keys};
use crate::api::BrokerConfig;
use std::fmt::Write;

/// The settings as DescribeConfigs shows them.
pub(super) fn broker_configs(settings: &[Setting], of_listeners: &[Given]) -> Vec<BrokerConfig> {
    let shown = |setting: &Setting| BrokerConfig {
        name: setting.key.name.to_owned(),
        value: setting.value.clone(),
        default: setting.key.default.map(str::to_owned),
        is_set: setting.origin != Origin::Default,
        is_sensitive: false,
        kind: setting.key.kind,
        documentation: setting.key.documentation.to_owned(),
    };
    settings.iter().map(shown).chain(of_listeners.iter().filter_map(of_listener)).collect()
}

fn of_listener(given: &Given) -> Option<BrokerConfig> {
    let key = keys::find(connections::of_listener(&given.key)?.1)?;
    Some(BrokerConfig {
        name: given.key.clone(),
        value: Some(given.value.trim().to_owned()),
        default: None,
        is_set: true,
        is_sensitive: false,
        kind: key.kind,
        documentation: key.documentation.to_owned(),
    })
}

impl Config {
    /// Every effective value with its origin, as a file that can be read back.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for Setting { key, value, origin } in &self.settings {
            let written = match value {
                Some(value) => writeln!(text, "# {origin}\n{}={}", key.name, escaped(value)),
                None => writeln!(text, "# {origin}: not set\n# {}=", key.name),
            };
            written.expect("a String takes all that is written to it");
        }
        for Given { key, value, origin } in &self.of_listeners {
            let written = writeln!(text, "# {origin}\n{key}={}", escaped(value));
            written.expect("a String takes all that is written to it");
        }
        text
    }
}

/// A value so that the properties format reads it back.
fn escaped(value: &str) -> String {
    let begins_with_space = value.starts_with(' ');
    let body = value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    if begins_with_space { format!("\\{body}") } else { body }
}
