//! Listeners: where to listen and what clients are told, from Kafka's `listeners` and `advertised.listeners`.
//!
//! One PLAINTEXT listener is built. Those that `controller.listener.names` names are left out, so that the file that Kafka
//! ships starts here too.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// One entry of `listeners` or `advertised.listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Its host, without brackets; empty for all addresses.
    pub host: String,
    /// Its port; 0 lets the system choose.
    pub port: u16,
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
    let wrong = || format!("{text} is not of the form NAME://host:port");
    let (name, address) = text.split_once("://").ok_or_else(wrong)?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if name.is_empty() || !plain {
        return Err(wrong());
    }
    let (host, port) = parse_host_port(address).ok_or_else(wrong)?;
    Ok(Endpoint { name: name.to_ascii_uppercase(), host, port })
}

/// Reads `host:port`, `[v6]:port` or `:port`.
pub fn parse_host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok().map(|_| (inner.to_owned(), port)),
        None if host.contains([':', '/', '[', ']', ' ']) => None,
        None => Some((host.to_owned(), port)),
    }
}

/// The protocols of `listener.security.protocol.map`, by listener name.
///
/// # Errors
/// An entry that is no `NAME:PROTOCOL`.
pub fn parse_protocols(text: &str) -> Result<BTreeMap<String, String>, String> {
    let entry = |word: &str| match word.split_once(':') {
        Some((name, protocol)) => {
            Ok((name.trim().to_ascii_uppercase(), protocol.trim().to_ascii_uppercase()))
        }
        None => Err(format!("{word} is not of the form NAME:PROTOCOL")),
    };
    words(text).map(entry).collect()
}

/// The one listener for clients, out of all entries.
///
/// # Errors
/// None, more than one, or one that is not PLAINTEXT.
pub fn client_listener(
    listeners: &str,
    controller_names: &str,
    protocols: &BTreeMap<String, String>,
) -> Result<Endpoint, String> {
    let endpoints: Vec<Endpoint> = words(listeners).map(parse_endpoint).collect::<Result<_, _>>()?;
    let is_controllers =
        |endpoint: &Endpoint| words(controller_names).any(|name| name.eq_ignore_ascii_case(&endpoint.name));
    let mut clients = endpoints.into_iter().filter(|endpoint| !is_controllers(endpoint));
    let Some(listener) = clients.next() else { return Err("there is no listener for clients".to_owned()) };
    if let Some(second) = clients.next() {
        return Err(format!("more than one listener is not built yet: leave {} out", second.name));
    }
    let protocol = protocols.get(&listener.name).unwrap_or(&listener.name);
    match protocol.as_str() {
        "PLAINTEXT" => Ok(listener),
        "SSL" | "SASL_PLAINTEXT" | "SASL_SSL" => {
            Err(format!("{} speaks {protocol}, and only PLAINTEXT is built yet", listener.name))
        }
        _ => Err(format!(
            "no protocol is known for the listener {}: set listener.security.protocol.map={}:PLAINTEXT",
            listener.name, listener.name
        )),
    }
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

/// What clients are told. `listener` is the one they come to, `this_host` the machine's name.
///
/// # Errors
/// An entry of another listener, or an address that leads nowhere.
pub fn advertised(
    advertised: Option<&str>,
    controller_names: &str,
    listener: &Endpoint,
    this_host: &str,
) -> Result<(String, u16), String> {
    let entries: Vec<Endpoint> =
        words(advertised.unwrap_or_default()).map(parse_endpoint).collect::<Result<_, _>>()?;
    let own = entries.iter().find(|entry| entry.name == listener.name);
    let foreign = entries.iter().find(|entry| {
        let is_controllers = words(controller_names).any(|name| name.eq_ignore_ascii_case(&entry.name));
        entry.name != listener.name && !is_controllers
    });
    if let Some(foreign) = foreign {
        return Err(format!("{} is advertised, but listeners does not name it", foreign.name));
    }
    let told = own.unwrap_or(listener);
    let is_anywhere = told.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    if is_anywhere {
        let host = &told.host;
        return Err(format!(
            "clients cannot connect to {host}: set advertised.listeners to an address that they reach"
        ));
    }
    let host = if told.host.is_empty() { this_host } else { &told.host };
    Ok((host.to_owned(), told.port))
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

    fn endpoint(name: &str, host: &str, port: u16) -> Endpoint {
        Endpoint { name: name.to_owned(), host: host.to_owned(), port }
    }

    #[test]
    fn endpoints() {
        for (text, expected) in [
            ("PLAINTEXT://localhost:9092", Some(endpoint("PLAINTEXT", "localhost", 9092))),
            ("inner://:0", Some(endpoint("INNER", "", 0))),
            ("A://[::1]:9", Some(endpoint("A", "::1", 9))),
            ("localhost:9092", None),
            ("A://localhost", None),
            ("A://localhost:x", None),
            ("A://localhost:65536", None),
            ("A://::1:9", None),
            ("://a:1", None),
            ("A B://a:1", None),
        ] {
            assert_eq!(parse_endpoint(text).ok(), expected, "{text}");
        }
    }

    fn client(listeners: &str, controllers: &str, protocols: &str) -> Result<Endpoint, String> {
        client_listener(listeners, controllers, &parse_protocols(protocols).unwrap())
    }

    #[test]
    fn one_plaintext_listener_is_taken() {
        let kafkas = "PLAINTEXT://:9092,CONTROLLER://:9093";
        let map = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL";
        assert_eq!(client(kafkas, "CONTROLLER", map), Ok(endpoint("PLAINTEXT", "", 9092)));
        assert_eq!(client("INNER://a:1", "", "inner:plaintext"), Ok(endpoint("INNER", "a", 1)));
        for (listeners, map, expected) in [
            ("", "", "no listener for clients"),
            ("A://:1,B://:2", "A:PLAINTEXT", "more than one"),
            ("SSL://:1", "", "only PLAINTEXT"),
            ("A://:1", "A:SASL_SSL", "only PLAINTEXT"),
            ("A://:1", "", "listener.security.protocol.map=A:PLAINTEXT"),
            ("9092", "", "NAME://host:port"),
        ] {
            let refusal = client(listeners, "", map).unwrap_err();
            assert!(refusal.contains(expected), "{listeners}: {refusal}");
        }
        assert!(parse_protocols("A").is_err());
    }

    #[test]
    fn what_is_advertised_leads_somewhere() {
        let told = |text, host| advertised(text, "CONTROLLER", &endpoint("PLAINTEXT", host, 9092), "machine");
        assert_eq!(told(None, "127.0.0.1"), Ok(("127.0.0.1".into(), 9092)));
        assert_eq!(told(None, ""), Ok(("machine".into(), 9092)));
        assert_eq!(told(Some("PLAINTEXT://b:1,CONTROLLER://c:2"), ""), Ok(("b".into(), 1)));
        assert!(told(None, "0.0.0.0").unwrap_err().contains("advertised.listeners"));
        assert!(told(Some("PLAINTEXT://[::]:1"), "a").is_err());
        assert!(told(Some("OTHER://a:1"), "a").unwrap_err().contains("OTHER"));
    }

    #[test]
    fn addresses_resolve() {
        assert_eq!(resolve("127.0.0.1", 5), Ok(SocketAddr::from(([127, 0, 0, 1], 5))));
        assert!(resolve("", 5).unwrap().ip().is_unspecified());
        assert!(resolve("no-such-host.invalid", 5).is_err());
        let both = http_addresses("127.0.0.1:1, http://[::1]:2").unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(http_addresses(" "), Ok(Vec::new()));
        assert!(http_addresses("nonsense").is_err());
    }
}
