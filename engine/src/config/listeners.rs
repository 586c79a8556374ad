//! Listeners, entry by entry: the parts of Kafka's `listeners`, `advertised.listeners` and `listener.security.protocol.map`, and
//! the addresses that they name. What all of them say together is worked out in [`plan`].
//!
//! The refusals are those of Kafka 4.2, where it has one.

mod plan;

pub use plan::{Plan, Texts, plan};

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};

/// The protocols that Kafka has.
const PROTOCOL_NAMES: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// One entry of `listeners` or `advertised.listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, in capitals.
    pub name: String,
    /// Its host, without brackets; empty for all addresses.
    pub host: String,
    /// Its port; 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { name, host, port } = self;
        if host.contains(':') {
            write!(out, "{name}://[{host}]:{port}")
        } else {
            write!(out, "{name}://{host}:{port}")
        }
    }
}

/// Comma-separated entries without the space around them; none for an empty text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Reads `NAME://host:port`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    let wrong =
        || format!("Unable to parse {text} to a broker endpoint: it is not of the form NAME://host:port");
    let (name, address) = text.split_once("://").ok_or_else(wrong)?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if name.is_empty() || !plain {
        return Err(wrong());
    }
    let (host, port) = parse_host_port(address).ok_or_else(wrong)?;
    Ok(Endpoint { name: name.to_ascii_uppercase(), host, port })
}

/// Reads `host:port`, `[v6]:port`, `v6:port` or `:port`.
pub fn parse_host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_valid = match inner {
        Some(inner) => is_ipv6(inner),
        None => is_ipv6(host) || host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    is_valid.then(|| (inner.unwrap_or(host).to_owned(), port))
}

/// Whether it is an address of IPv6, with or without the network interface behind it (`fe80::1%eth0`).
fn is_ipv6(host: &str) -> bool {
    host.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// The protocols of `listener.security.protocol.map`, by listener name; the last entry of a name counts.
///
/// # Errors
/// An entry that is no `NAME:PROTOCOL`, or a protocol that does not exist.
pub fn parse_protocols(text: &str) -> Result<BTreeMap<String, &'static str>, String> {
    let entry = |word: &str| {
        let wrong = || format!("{word} is not of the form NAME:PROTOCOL");
        let (name, given) = word.rsplit_once(':').ok_or_else(wrong)?;
        let protocol = PROTOCOL_NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(given.trim()));
        let unknown =
            || format!("Invalid security protocol `{given}` defined in listener.security.protocol.map");
        Ok((name.trim().to_ascii_uppercase(), protocol.ok_or_else(unknown)?))
    };
    words(text).map(entry).collect()
}

/// The address to bind. No host means all addresses, of IPv6 too where there is any.
///
/// # Errors
/// A host that does not resolve.
pub fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let host = match host {
        "" if has_ipv6() => "::",
        "" => "0.0.0.0",
        host => host,
    };
    let resolved =
        (host, port).to_socket_addrs().map_err(|error| format!("{host} does not resolve: {error}"))?;
    let addresses: Vec<SocketAddr> = resolved.collect();
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    v4.or(addresses.first()).copied().ok_or_else(|| format!("{host} has no address"))
}

fn has_ipv6() -> bool {
    std::net::TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// The addresses of `http.listeners`; none for an empty text.
///
/// # Errors
/// An entry that is no `host:port`, or does not resolve.
pub fn http_addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let address = |word: &str| {
        let plain = word.strip_prefix("http://").unwrap_or(word);
        let (host, port) =
            parse_host_port(plain).ok_or_else(|| format!("{word} is not of the form host:port"))?;
        resolve(&host, port)
    };
    words(text).map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let endpoint = |name: &str, host: &str, port| {
            Some(Endpoint { name: name.to_owned(), host: host.to_owned(), port })
        };
        for (text, expected) in [
            ("PLAINTEXT://localhost:9092", endpoint("PLAINTEXT", "localhost", 9092)),
            ("inner://:0", endpoint("INNER", "", 0)),
            ("A://[::1]:9", endpoint("A", "::1", 9)),
            ("A://::1:9", endpoint("A", "::1", 9)),
            ("A://[fe80::1%eth0]:9", endpoint("A", "fe80::1%eth0", 9)),
            ("A://a_b.C-d:9", endpoint("A", "a_b.C-d", 9)),
            ("localhost:9092", None),
            ("A://localhost", None),
            ("A://localhost:x", None),
            ("A://localhost:-1", None),
            ("A://localhost:65536", None),
            ("A://:9092:1", None),
            ("A://[::1:9", None),
            ("A://[]:9", None),
            ("A://a/b:9", None),
            ("://a:1", None),
            ("A B://a:1", None),
        ] {
            assert_eq!(parse_endpoint(text).ok(), expected, "{text}");
        }
        for text in ["A://[::1]:9", "A://b:9", "A://:9"] {
            assert_eq!(parse_endpoint(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn protocols() {
        let map = parse_protocols("a:plaintext, B:SSL,B:SASL_SSL").unwrap();
        assert_eq!(map, BTreeMap::from([("A".to_owned(), "PLAINTEXT"), ("B".to_owned(), "SASL_SSL")]));
        assert_eq!(parse_protocols("A").unwrap_err(), "A is not of the form NAME:PROTOCOL");
        let unknown = "Invalid security protocol `PLAIN` defined in listener.security.protocol.map";
        assert_eq!(parse_protocols("A:PLAIN").unwrap_err(), unknown);
    }

    #[test]
    fn addresses_resolve() {
        assert_eq!(resolve("127.0.0.1", 5), Ok(SocketAddr::from(([127, 0, 0, 1], 5))));
        assert_eq!(resolve("::1", 5), Ok("[::1]:5".parse().unwrap()));
        assert!(resolve("", 5).unwrap().ip().is_unspecified());
        assert!(resolve("no-such-host.invalid", 5).is_err());
        let both = http_addresses("127.0.0.1:1, http://[::1]:2").unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(http_addresses(" "), Ok(Vec::new()));
        assert!(http_addresses("nonsense").is_err());
    }
}
