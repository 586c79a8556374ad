//! The configuration as people and clients see it: `hayate config` and DescribeConfigs.

use super::{Config, Origin, Setting};
use crate::api::BrokerConfig;
use std::fmt::Write;

/// The settings as DescribeConfigs shows them.
pub(super) fn broker_configs(settings: &[Setting]) -> Vec<BrokerConfig> {
    let shown = |setting: &Setting| BrokerConfig {
        name: setting.key.name.to_owned(),
        value: setting.value.clone(),
        default: setting.key.default.map(str::to_owned),
        is_set: setting.origin != Origin::Default,
        is_sensitive: false,
        kind: setting.key.kind,
        documentation: setting.key.documentation.to_owned(),
    };
    settings.iter().map(shown).collect()
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
        text
    }
}

/// A value so that the properties format reads it back.
fn escaped(value: &str) -> String {
    let begins_with_space = value.starts_with(' ');
    let body = value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    if begins_with_space { format!("\\{body}") } else { body }
}
