//! The settings of a command: a client's, by Kafka's names, from the file of `--command-config`, under what the command line says.

use super::CommandError;
use crate::cli::{Connect, acks_of};
use crate::config::{file, properties::Property};
use hayate_net::client::blocking::Caller;
use hayate_storage::batch::Codec;
use std::time::Duration;

const BOOTSTRAP_DEFAULT: &str = "127.0.0.1:9092";

/// How a command talks to its cluster. Each field names Kafka's setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `bootstrap.servers`
    pub(super) bootstrap: Vec<String>,
    /// `client.id`
    pub(super) client_id: String,
    /// `request.timeout.ms`
    pub(super) request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`
    pub(super) connect_timeout: Duration,
    /// `retry.backoff.ms`
    pub(super) retry_backoff: Duration,
    /// `delivery.timeout.ms`
    pub(super) delivery_timeout: Duration,
    /// `linger.ms`
    pub(super) linger: Duration,
    /// `acks`
    pub(super) acks: i16,
    /// `enable.idempotence`
    pub(super) idempotence: bool,
    /// `compression.type`
    pub(super) codec: Codec,
    /// What has no effect.
    pub(super) warnings: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            bootstrap: vec![BOOTSTRAP_DEFAULT.to_owned()],
            client_id: "hayate".to_owned(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            retry_backoff: Duration::from_millis(100),
            delivery_timeout: Duration::from_secs(120),
            linger: Duration::from_millis(5),
            acks: -1,
            idempotence: true,
            codec: Codec::None,
            warnings: Vec::new(),
        }
    }
}

impl Settings {
    /// Those of the command line, over those of its file.
    ///
    /// # Errors
    /// [`CommandError::Settings`]: the file cannot be read, or asks for what is not there.
    pub(super) fn load(connect: &Connect) -> Result<Settings, CommandError> {
        let mut settings = Settings::default();
        if let Some(path) = &connect.file {
            let wrong = |reason: String| CommandError::Settings(format!("--command-config {reason}"));
            for property in file::read(path).map_err(wrong)? {
                let at = |reason| wrong(format!("{}, line {}: {reason}", path.display(), property.line));
                settings.take(&property).map_err(at)?;
            }
        }
        if let Some(servers) = &connect.bootstrap {
            settings.bootstrap = list(servers);
        }
        if settings.bootstrap.is_empty() {
            return Err(CommandError::Settings("--bootstrap-server names no broker".to_owned()));
        }
        Ok(settings)
    }

    /// Who connects with them.
    pub(super) fn caller(&self) -> Caller {
        Caller {
            client_id: self.client_id.clone(),
            software: ("hayate", env!("CARGO_PKG_VERSION")),
            connect_timeout: self.connect_timeout,
            request_timeout: self.request_timeout,
        }
    }

    fn take(&mut self, property: &Property) -> Result<(), String> {
        let Property { key, value, .. } = property;
        let value = value.trim();
        match key.as_str() {
            "bootstrap.servers" => self.bootstrap = list(value),
            "client.id" if value.len() <= i16::MAX as usize => self.client_id = value.to_owned(),
            "client.id" => return Err("client.id is too long".to_owned()),
            "request.timeout.ms" => self.request_timeout = millis(key, value)?,
            "socket.connection.setup.timeout.ms" => self.connect_timeout = millis(key, value)?,
            "retry.backoff.ms" => self.retry_backoff = millis(key, value)?,
            "delivery.timeout.ms" => self.delivery_timeout = millis(key, value)?,
            "linger.ms" => self.linger = millis(key, value)?,
            "acks" => self.acks = acks_of(value).ok_or("acks is all, 1 or 0")?,
            "enable.idempotence" => self.idempotence = value.eq_ignore_ascii_case("true"),
            "compression.type" => self.codec = codec(value).ok_or("compression.type is none of Kafka's")?,
            "security.protocol" if value.eq_ignore_ascii_case("PLAINTEXT") => {}
            "security.protocol" => return Err(format!("{key}={value}: only PLAINTEXT is built yet")),
            _ => self.warnings.push(format!("{key} has no effect on this command")),
        }
        Ok(())
    }
}

/// The codec of that name.
pub(super) fn codec(name: &str) -> Option<Codec> {
    Codec::ALL.into_iter().find(|codec| codec.name() == name)
}

fn list(servers: &str) -> Vec<String> {
    servers.split(',').map(str::trim).filter(|server| !server.is_empty()).map(str::to_owned).collect()
}

fn millis(key: &str, value: &str) -> Result<Duration, String> {
    let ms: u32 = value.parse().map_err(|_| format!("{key}={value}: not a number of milliseconds"))?;
    // 0 would be no time-out at all for a socket.
    Ok(Duration::from_millis(ms.max(1).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(key: &str, value: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let property = Property { key: key.to_owned(), value: value.to_owned(), line: 1 };
        settings.take(&property).map(|()| settings)
    }

    #[test]
    fn a_clients_settings_are_taken() {
        assert_eq!(taken("bootstrap.servers", "a:1, b:2,").unwrap().bootstrap, ["a:1", "b:2"]);
        assert_eq!(taken("acks", "1").unwrap().acks, 1);
        assert_eq!(taken("compression.type", "zstd").unwrap().codec, Codec::Zstd);
        assert_eq!(
            taken("request.timeout.ms", " 1500 ").unwrap().request_timeout,
            Duration::from_millis(1500)
        );
        assert_eq!(taken("security.protocol", "PLAINTEXT"), Ok(Settings::default()));
        assert_eq!(taken("group.id", "g").unwrap().warnings, ["group.id has no effect on this command"]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for (key, value) in [
            ("security.protocol", "SASL_SSL"),
            ("acks", "2"),
            ("compression.type", "brotli"),
            ("linger.ms", "soon"),
        ] {
            assert!(taken(key, value).is_err(), "{key}={value}");
        }
        let nowhere = Connect { bootstrap: Some(" , ".to_owned()), file: None };
        assert!(Settings::load(&nowhere).unwrap_err().is_mistake());
    }
}
