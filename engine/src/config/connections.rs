//! How many connections there may be, and how fast they may come: Kafka's `max.connections` and what belongs to it, for the whole
//! broker, for single listeners (`listener.name.NAME.…`) and for single addresses.
//!
//! What the file says and what is set while the broker runs go through the same [`ConnectionLimits::set`], one layer over
//! the other. Who is let in by these numbers is decided in `shard::admission`.

use super::keys;
use super::listeners::words;
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

const PREFIX: &str = "listener.name.";
const CONNECTIONS: &str = "max.connections";
const PER_IP: &str = "max.connections.per.ip";
const OVERRIDES: &str = "max.connections.per.ip.overrides";
const RATE: &str = "max.connection.creation.rate";

/// The settings that stand here, which may all change while the broker runs.
pub const CONNECTION_KEYS: [&str; 4] = [RATE, CONNECTIONS, PER_IP, OVERRIDES];
/// Those of them that a listener may have for itself.
const LISTENER_KEYS: [&str; 2] = [CONNECTIONS, RATE];

/// What a listener has for itself; `None`: what the broker has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// `listener.name.NAME.max.connections`
    pub connections_max: Option<u32>,
    /// `listener.name.NAME.max.connection.creation.rate`
    pub rate_max: Option<u32>,
}

/// The limits in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// `max.connections`: of all listeners together.
    pub connections_max: u32,
    /// `max.connections.per.ip`
    pub per_ip_max: u32,
    /// `max.connections.per.ip.overrides`
    pub per_ip_overrides: BTreeMap<IpAddr, u32>,
    /// `max.connection.creation.rate`: connections a second.
    pub rate_max: u32,
    /// Of single listeners, by their names in capitals.
    pub of_listeners: BTreeMap<String, ListenerLimits>,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        const NONE: u32 = i32::MAX as u32;
        ConnectionLimits {
            connections_max: NONE,
            per_ip_max: NONE,
            per_ip_overrides: BTreeMap::new(),
            rate_max: NONE,
            of_listeners: BTreeMap::new(),
        }
    }
}

/// Where the names of hosts may be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// At the start: that may take its time.
    LookUp,
    /// On a shard, which must not wait: only addresses are taken.
    AddressesAlone,
}

impl ConnectionLimits {
    /// Takes a setting over, if it is one of those that stand here. A value that cannot be changes nothing.
    pub fn set(&mut self, key: &str, value: &str, hosts: Hosts) {
        let number = || value.trim().parse::<u32>().ok();
        if let Some((listener, base)) = of_listener(key) {
            let limits = self.of_listeners.entry(listener).or_default();
            match base {
                CONNECTIONS => limits.connections_max = number().or(limits.connections_max),
                RATE => limits.rate_max = number().or(limits.rate_max),
                _ => unreachable!("LISTENER_KEYS has two"),
            }
            return;
        }
        match key {
            CONNECTIONS => self.connections_max = number().unwrap_or(self.connections_max),
            PER_IP => self.per_ip_max = number().unwrap_or(self.per_ip_max),
            RATE => self.rate_max = number().unwrap_or(self.rate_max),
            OVERRIDES => {
                if let Ok(overrides) = parse_overrides(value, hosts) {
                    self.per_ip_overrides = overrides;
                }
            }
            _ => {}
        }
    }

    /// Whether the limits make sense together.
    ///
    /// # Errors
    /// Why not, in Kafka's words.
    pub fn check(&self) -> Result<(), String> {
        if self.per_ip_max == 0 && self.per_ip_overrides.is_empty() {
            return Err(format!("{PER_IP} can be set to zero only if {OVERRIDES} property is set."));
        }
        Ok(())
    }

    /// The most connections of a listener.
    pub fn connections_max_of(&self, listener: &str) -> u32 {
        let own = self.of_listeners.get(listener).and_then(|limits| limits.connections_max);
        own.unwrap_or(self.connections_max)
    }

    /// The most connections that a listener accepts in a second.
    pub fn rate_max_of(&self, listener: &str) -> u32 {
        let own = self.of_listeners.get(listener).and_then(|limits| limits.rate_max);
        own.unwrap_or(self.rate_max)
    }

    /// The most connections from an address.
    pub fn per_ip_max_of(&self, address: IpAddr) -> u32 {
        self.per_ip_overrides.get(&address).copied().unwrap_or(self.per_ip_max)
    }
}

/// The listener, in capitals, and the setting that a key gives it for itself.
pub fn of_listener(key: &str) -> Option<(String, &'static str)> {
    let rest = key.strip_prefix(PREFIX)?;
    LISTENER_KEYS.into_iter().find_map(|base| {
        let listener = rest.strip_suffix(base)?.strip_suffix('.')?;
        // Kafka makes the names small and looks them up so.
        let is_known_form = !listener.is_empty() && !listener.contains(|c: char| c.is_ascii_uppercase());
        is_known_form.then(|| (listener.to_ascii_uppercase(), base))
    })
}

/// Checks the value of a setting that a listener has for itself.
///
/// # Errors
/// Why it cannot be, in Kafka's words.
pub fn check_of_listener(base: &str, value: &str) -> Result<(), String> {
    let key = keys::find(base).expect("LISTENER_KEYS are in the table");
    match key.check(value) {
        Ok("0") => Err(format!("Invalid {base} 0")),
        Ok(_) => Ok(()),
        Err(reason) => Err(format!("Invalid value {value} for configuration {base}: {reason}")),
    }
}

/// Checks `max.connections.per.ip.overrides`.
///
/// # Errors
/// Why it cannot be, in Kafka's words where Kafka has some.
pub fn parse_overrides(text: &str, hosts: Hosts) -> Result<BTreeMap<IpAddr, u32>, String> {
    let mut overrides = BTreeMap::new();
    for word in words(text) {
        let wrong = || format!("{word} is not of the form address:number");
        let (host, number) = word.rsplit_once(':').ok_or_else(wrong)?;
        let number: i32 = number.trim().parse().map_err(|_| wrong())?;
        let address = address(host.trim(), hosts)?;
        overrides.insert(address.to_canonical(), u32::try_from(number).unwrap_or(0));
    }
    Ok(overrides)
}

fn address(host: &str, hosts: Hosts) -> Result<IpAddr, String> {
    let invalid = || format!("{OVERRIDES} contains invalid addresses : {host}");
    match (host.parse(), hosts) {
        (Ok(address), _) => Ok(address),
        (Err(_), Hosts::AddressesAlone) => {
            Err(format!("{} (names are looked up only from the file, at the start)", invalid()))
        }
        (Err(_), Hosts::LookUp) => {
            let found = (host, 0).to_socket_addrs().ok().and_then(|mut found| found.next());
            found.map(|address| address.ip()).ok_or_else(invalid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(pairs: &[(&str, &str)]) -> ConnectionLimits {
        let mut limits = ConnectionLimits::default();
        pairs.iter().for_each(|(key, value)| limits.set(key, value, Hosts::AddressesAlone));
        limits
    }

    #[test]
    fn a_listener_has_the_brokers_limits_unless_it_has_its_own() {
        let limits = limits(&[
            ("max.connections", "10"),
            ("max.connection.creation.rate", " 3 "),
            ("listener.name.inner.max.connections", "4"),
            ("listener.name.outer.max.connection.creation.rate", "2"),
            ("listener.name.OUTER.max.connections", "1"),
            ("listener.name.outer.ssl.keystore.type", "JKS"),
            ("num.io.threads", "8"),
        ]);
        let of = |name| (limits.connections_max_of(name), limits.rate_max_of(name));
        assert_eq!([of("INNER"), of("OUTER"), of("OTHER")], [(4, 3), (10, 2), (10, 3)]);
    }

    #[test]
    fn addresses_have_their_own() {
        let limits =
            limits(&[("max.connections.per.ip", "2"), (OVERRIDES, "127.0.0.1:5, ::1:6,::ffff:1.2.3.4:7")]);
        let of = |address: &str| limits.per_ip_max_of(address.parse().unwrap());
        assert_eq!([of("127.0.0.1"), of("::1"), of("1.2.3.4"), of("10.0.0.1")], [5, 6, 7, 2]);
        assert!(parse_overrides("localhost:5", Hosts::LookUp).unwrap().values().all(|number| *number == 5));
        assert_eq!(parse_overrides("127.0.0.1:-5,", Hosts::LookUp).unwrap().values().sum::<u32>(), 0);
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        for (text, expected) in [
            ("127.0.0.1", "is not of the form address:number"),
            ("127.0.0.1:x", "127.0.0.1:x is not of the form address:number"),
            ("a b:5", "max.connections.per.ip.overrides contains invalid addresses : a b"),
            ("[::1]:5", "contains invalid addresses : [::1]"),
            ("localhost:5", "only from the file"),
        ] {
            let refusal = parse_overrides(text, Hosts::AddressesAlone).unwrap_err();
            assert!(refusal.contains(expected), "{text}: {refusal}");
            assert_eq!(limits(&[(OVERRIDES, text)]), ConnectionLimits::default());
        }
        assert_eq!(limits(&[("max.connections", "x")]), ConnectionLimits::default());
        let zero = limits(&[("max.connections.per.ip", "0")]).check().unwrap_err();
        assert!(zero.contains("only if max.connections.per.ip.overrides property is set"));
        let with_one = limits(&[("max.connections.per.ip", "0"), (OVERRIDES, "127.0.0.1:5")]);
        assert_eq!(with_one.check(), Ok(()));
        for (value, expected) in [
            ("0", "Invalid max.connections 0"),
            ("-1", "Invalid value -1 for configuration max.connections: Value must be at least 0"),
            ("x", "Invalid value x for configuration max.connections: Not a number of type INT"),
        ] {
            assert_eq!(check_of_listener("max.connections", value).unwrap_err(), expected);
        }
    }
}
