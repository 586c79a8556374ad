//! What `listeners` and the settings beside it say together: which addresses to open, and what the clients of each are told.
//!
//! Listeners that `controller.listener.names` names are checked like the others and not opened: the controller runs in this
//! process, and no other node comes to it. Rules and refusals: `KafkaConfig` and `SocketServerConfigs` of Kafka 4.2.

use super::{Endpoint, PROTOCOL_NAMES, parse_endpoint, parse_protocols, resolve, words};
use crate::broker::{Advertised, ListenerOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PROTOCOLS: &str = "listener.security.protocol.map";
const INTER_BROKER: &str = "inter.broker.listener.name";

/// The settings, as they are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'a> {
    /// `listeners`
    pub listeners: &'a str,
    /// `advertised.listeners`
    pub advertised: Option<&'a str>,
    /// `listener.security.protocol.map`; `None` for its default.
    pub protocols: Option<&'a str>,
    /// `controller.listener.names`
    pub controllers: &'a str,
    /// `inter.broker.listener.name`
    pub inter_broker: Option<&'a str>,
}

/// What comes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The listeners to open, in their order; at least one.
    pub listeners: Vec<ListenerOptions>,
    /// Those of controllers, which are not opened.
    pub unopened: Vec<Endpoint>,
    /// Of several listeners the one for the cluster's own traffic.
    pub inter_broker: Option<String>,
}

/// What is wrong, and with which setting.
pub type Wrong = (&'static str, String);

/// Works the listeners out.
///
/// # Errors
/// The first thing that is wrong.
pub fn plan(texts: &Texts<'_>) -> Result<Plan, Wrong> {
    let protocols = protocols(texts).map_err(|reason| (PROTOCOLS, reason))?;
    let all = endpoints(LISTENERS, texts.listeners, &protocols)?;
    check_ports(&all, texts.listeners).map_err(|reason| (LISTENERS, reason))?;
    let told = match texts.advertised {
        Some(text) => Some(endpoints(ADVERTISED, text, &protocols)?),
        None => None,
    };
    let is_controllers =
        |endpoint: &Endpoint| words(texts.controllers).any(|name| name.eq_ignore_ascii_case(&endpoint.name));
    let (unopened, clients): (Vec<_>, Vec<_>) = all.iter().cloned().partition(is_controllers);
    check_told(told.as_ref().unwrap_or(&clients), &all)?;
    let mut listeners = Vec::with_capacity(clients.len());
    for client in &clients {
        check_protocol(client, &protocols)?;
        let told = match &told {
            Some(told) => told.iter().find(|told| told.name == client.name),
            None => Some(client),
        };
        listeners.push(listener(client, told, &clients)?);
    }
    let inter_broker = inter_broker(texts.inter_broker, &protocols, &listeners)?;
    Ok(Plan { listeners, unopened, inter_broker })
}

/// What each listener speaks: by default what its name says, and PLAINTEXT those of controllers.
fn protocols(texts: &Texts<'_>) -> Result<BTreeMap<String, &'static str>, String> {
    if let Some(text) = texts.protocols {
        return parse_protocols(text);
    }
    let mut protocols: BTreeMap<String, &'static str> =
        PROTOCOL_NAMES.iter().map(|name| ((*name).to_owned(), *name)).collect();
    for controller in words(texts.controllers) {
        protocols.entry(controller.to_ascii_uppercase()).or_insert("PLAINTEXT");
    }
    Ok(protocols)
}

/// The entries of a list of endpoints: none empty, each with a name of its own and a protocol.
fn endpoints(
    key: &'static str,
    text: &str,
    protocols: &BTreeMap<String, &'static str>,
) -> Result<Vec<Endpoint>, Wrong> {
    if text.trim().is_empty() {
        let reason =
            format!("Configuration '{key}' must not be empty. Valid values include: any non-empty value");
        return Err((key, reason));
    }
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    if entries.contains(&"") {
        return Err((key, format!("Configuration '{key}' values must not be empty.")));
    }
    let parsed: Result<Vec<Endpoint>, String> = entries.into_iter().map(parse_endpoint).collect();
    let endpoints = parsed.map_err(|reason| (key, reason))?;
    let names: BTreeSet<&String> = endpoints.iter().map(|endpoint| &endpoint.name).collect();
    if names.len() < endpoints.len() {
        let reason = format!("Each listener must have a different name, listeners: {}", list(text));
        return Err((key, reason));
    }
    match endpoints.iter().find(|endpoint| !protocols.contains_key(&endpoint.name)) {
        Some(Endpoint { name, .. }) => Err((
            key,
            format!("No security protocol defined for listener {name}: set {PROTOCOLS}={name}:PLAINTEXT"),
        )),
        None => Ok(endpoints),
    }
}

/// A list as Kafka shows one.
fn list(text: &str) -> String {
    format!("[{}]", words(text).collect::<Vec<_>>().join(", "))
}

/// Two listeners share a port only if one has an address of IPv4 and the other one of IPv6.
fn check_ports(endpoints: &[Endpoint], text: &str) -> Result<(), String> {
    let mut ports: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.port != 0) {
        ports.entry(endpoint.port).or_default().push(&endpoint.host);
    }
    for (port, hosts) in ports.into_iter().filter(|(_, hosts)| hosts.len() > 1) {
        let addresses: Vec<IpAddr> = hosts.iter().filter_map(|host| host.parse().ok()).collect();
        let listeners = list(text);
        if hosts.len() - addresses.len() > 1 {
            return Err(format!("Each listener must have a different port, listeners: {listeners}"));
        }
        match addresses[..] {
            [one, other] if hosts.len() == 2 && one.is_ipv4() != other.is_ipv4() => {}
            [_, _] if hosts.len() == 2 => {
                return Err(format!(
                    "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, \
                     listeners: {listeners}, port: {port}"
                ));
            }
            _ => {
                return Err(format!(
                    "Each listener must have a different port unless exactly one listener has an IPv4 address and the \
                     other IPv6 address, listeners: {listeners}, port: {port}"
                ));
            }
        }
    }
    Ok(())
}

/// What is told leads somewhere, and to what is opened.
fn check_told(told: &[Endpoint], all: &[Endpoint]) -> Result<(), Wrong> {
    let names = |endpoints: &[Endpoint]| {
        endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect::<Vec<_>>().join(",")
    };
    if told.iter().any(|told| !all.iter().any(|endpoint| endpoint.name == told.name)) {
        return Err((
            ADVERTISED,
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. \
                 Found {}. The valid options based on the current configuration are {}",
                names(told),
                names(all)
            ),
        ));
    }
    let is_meta = |endpoint: &&Endpoint| match endpoint.host.parse::<IpAddr>() {
        // Kafka lets it pass and tells clients of it. Where it is only listened on, the machine's name is told instead.
        Ok(IpAddr::V6(address)) => address.is_unspecified() && !all.contains(endpoint),
        Ok(IpAddr::V4(address)) => address.is_unspecified(),
        Err(_) => false,
    };
    match told.iter().find(is_meta) {
        Some(Endpoint { host, .. }) => Err((
            ADVERTISED,
            format!(
                "advertised.listeners cannot use the nonroutable meta-address {host}. Use a routable IP address."
            ),
        )),
        None => Ok(()),
    }
}

fn check_protocol(client: &Endpoint, protocols: &BTreeMap<String, &'static str>) -> Result<(), Wrong> {
    match protocols.get(&client.name) {
        Some(&"PLAINTEXT") | None => Ok(()),
        Some(protocol) => Err((
            LISTENERS,
            format!("{} speaks {protocol}, and only PLAINTEXT is built yet: leave it out", client.name),
        )),
    }
}

fn listener(
    client: &Endpoint,
    told: Option<&Endpoint>,
    clients: &[Endpoint],
) -> Result<ListenerOptions, Wrong> {
    let listen = resolve(&client.host, client.port).map_err(|reason| (LISTENERS, reason))?;
    let shares_port = |other: &Endpoint| other.name != client.name && other.port == client.port;
    let ipv6_only = listen.is_ipv6() && client.port != 0 && clients.iter().any(shares_port);
    let advertised = told.map(|told| {
        let is_anywhere = told.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        let host = (!told.host.is_empty() && !is_anywhere).then(|| told.host.clone());
        Advertised { host, port: told.port }
    });
    Ok(ListenerOptions { name: client.name.clone(), listen, ipv6_only, advertised })
}

/// The listener for the cluster's own traffic: the one that is named, or else one that is called PLAINTEXT.
fn inter_broker(
    given: Option<&str>,
    protocols: &BTreeMap<String, &'static str>,
    listeners: &[ListenerOptions],
) -> Result<Option<String>, Wrong> {
    let told = listeners.iter().filter(|listener| listener.advertised.is_some());
    let told: Vec<&str> = told.map(|listener| listener.name.as_str()).collect();
    if told.is_empty() {
        let reason = "There must be at least one broker advertised listener. Perhaps all listeners appear in \
                      controller.listener.names?";
        return Err((LISTENERS, reason.to_owned()));
    }
    let name = given.map_or_else(|| "PLAINTEXT".to_owned(), |name| name.trim().to_ascii_uppercase());
    if given.is_some() && !protocols.contains_key(&name) {
        let reason = format!("Listener with name {name} defined in {INTER_BROKER} not found in {PROTOCOLS}.");
        return Err((INTER_BROKER, reason));
    }
    match (told.contains(&name.as_str()), given) {
        (true, _) => Ok(Some(name)),
        (false, None) => Ok(None),
        (false, Some(_)) => Err((
            INTER_BROKER,
            format!(
                "{INTER_BROKER} must be a listener name defined in advertised.listeners. The valid options based on \
                 currently configured listeners are {}",
                told.join(",")
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
