//! Whether the addresses are free. Shards share the broker's port among themselves, so that a second broker on it would
//! start unnoticed: hence an exclusive probe first.

use super::Refusal;
use super::linger::{LINGER_TIME_MAX, retry_while};
use crate::broker::ListenerOptions;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, listen, setsockopt, socket, sockopt,
};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

/// Binds each address alone and, when all are bound, lets them go; the addresses with their real ports.
pub(super) fn probe(listeners: &[ListenerOptions]) -> Result<Vec<SocketAddr>, Refusal> {
    let mut held = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let bind = || bind(listener.listen, listener.ipv6_only);
        let probed = retry_while(LINGER_TIME_MAX, bind, |error| error.kind() == ErrorKind::AddrInUse);
        held.push(probed.map_err(|error| refusal(listener.listen, "listeners", &error))?);
    }
    let addresses = held.iter().zip(listeners).map(|(held, listener)| {
        held.local_addr().map_err(|error| refusal(listener.listen, "listeners", &error))
    });
    addresses.collect()
}

fn bind(address: SocketAddr, ipv6_only: bool) -> std::io::Result<TcpListener> {
    if !ipv6_only {
        return TcpListener::bind(address);
    }
    let descriptor = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&descriptor, sockopt::ReuseAddr, &true)?;
    setsockopt(&descriptor, sockopt::Ipv6V6Only, &true)?;
    nix::sys::socket::bind(descriptor.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&descriptor, Backlog::new(1)?)?;
    Ok(TcpListener::from(descriptor))
}

/// Binds an address for metrics and health.
pub(super) fn bind_http(address: SocketAddr) -> Result<TcpListener, Refusal> {
    TcpListener::bind(address).map_err(|error| refusal(address, "http.listeners", &error))
}

fn refusal(address: SocketAddr, key: &str, error: &std::io::Error) -> Refusal {
    let port = address.port();
    match error.kind() {
        ErrorKind::AddrInUse => Refusal::new(
            format!("{address} is in use"),
            format!("stop what listens there (ss -ltnp 'sport = :{port}' shows it), or set {key}"),
        ),
        ErrorKind::AddrNotAvailable => Refusal::new(
            format!("{address} is no address of this machine"),
            format!("set {key} to one of those that ip address shows"),
        ),
        ErrorKind::PermissionDenied => Refusal::new(
            format!("this user may not listen on port {port}"),
            format!("set {key} to a port from 1024 on, or give the program CAP_NET_BIND_SERVICE"),
        ),
        _ => Refusal::new(format!("cannot listen on {address} ({error})"), format!("set {key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe_one(address: SocketAddr) -> Result<SocketAddr, Refusal> {
        probe(&[ListenerOptions::new("A", address)]).map(|addresses| addresses[0])
    }

    #[test]
    fn several_listeners_get_ports_of_their_own_and_the_two_families_share_one() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let both = probe(&[ListenerOptions::new("A", any), ListenerOptions::new("B", any)]).unwrap();
        assert_ne!(both[0], both[1]);
        let wildcard = SocketAddr::from(([0; 16], both[0].port()));
        let wildcard = ListenerOptions { ipv6_only: true, ..ListenerOptions::new("B", wildcard) };
        let shared = probe(&[ListenerOptions::new("A", both[0]), wildcard]).unwrap();
        assert_eq!(shared[0].port(), shared[1].port());
    }

    #[test]
    fn a_taken_port_is_named_and_a_free_one_found() {
        let free = probe_one(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        assert_ne!(free.port(), 0);
        let holder = bind_http(free).unwrap();
        let refusal = probe_one(free).unwrap_err();
        assert_eq!(refusal.cause, format!("{free} is in use"));
        assert!(refusal.remedy.contains("listeners"));
        drop(holder);
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        assert!(probe_one(elsewhere).unwrap_err().cause.contains("no address of this machine"));
    }
}
