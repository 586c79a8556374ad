//! `.kafka_cleanshutdown`: its presence says that the data folder was left in order; its content, with which registration of
//! the broker that was (KIP-966). Kafka ignores a content that it cannot read, the presence still counts.
//!
//! ```text
//!  {"version":0,"brokerEpoch":42}
//! ```

/// The largest marker that is read.
pub const CLEAN_SHUTDOWN_BYTES_MAX: usize = 4096;

/// What the marker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanShutdown {
    /// The epoch of the broker's registration when it stopped; −1 when it had none.
    pub broker_epoch: i64,
}

impl CleanShutdown {
    /// Reads the marker: a flat JSON object of whole numbers that has `brokerEpoch`; `None` for anything else (an empty file of
    /// older brokers too).
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<CleanShutdown> {
        let text = (bytes.len() <= CLEAN_SHUTDOWN_BYTES_MAX).then(|| str::from_utf8(bytes).ok()).flatten()?;
        let fields = text.trim_matches(JSON_SPACE).strip_prefix('{')?.strip_suffix('}')?;
        let mut broker_epoch = None;
        for field in fields.split(',') {
            let (name, value) = field.split_once(':')?;
            let name = name.trim_matches(JSON_SPACE).strip_prefix('"')?.strip_suffix('"')?;
            let value: i64 = value.trim_matches(JSON_SPACE).parse().ok()?;
            if name == "brokerEpoch" {
                broker_epoch = Some(value);
            }
        }
        broker_epoch.map(|broker_epoch| CleanShutdown { broker_epoch })
    }

    /// The marker's text.
    #[must_use]
    pub fn render(&self) -> String {
        format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.broker_epoch)
    }
}

const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_kafkas() {
        for (broker_epoch, text) in
            [(42, r#"{"version":0,"brokerEpoch":42}"#), (-1, r#"{"version":0,"brokerEpoch":-1}"#)]
        {
            let marker = CleanShutdown { broker_epoch };
            assert_eq!(marker.render(), text);
            assert_eq!(CleanShutdown::parse(text.as_bytes()), Some(marker));
            for cut in 0..text.len() {
                assert_eq!(CleanShutdown::parse(&text.as_bytes()[..cut]), None, "{cut}");
            }
        }
        let other = " {\n \"brokerEpoch\" : 7 , \"version\" : 0, \"later\": 1 }\n";
        assert_eq!(CleanShutdown::parse(other.as_bytes()), Some(CleanShutdown { broker_epoch: 7 }));
    }

    #[test]
    fn anything_else_says_nothing() {
        let long = format!("{{\"brokerEpoch\":{}}}", " ".repeat(CLEAN_SHUTDOWN_BYTES_MAX));
        for text in
            ["", "{}", "[]", r#"{"version":0}"#, r#"{"brokerEpoch":"7"}"#, r#"{"brokerEpoch":7.5}"#, &long]
        {
            assert_eq!(CleanShutdown::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(CleanShutdown::parse(b"{\"brokerEpoch\":\xff}"), None);
    }
}
