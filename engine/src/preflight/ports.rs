//! Whether the addresses are free. Shards share the broker's port among themselves, so that a second broker on it would
//! start unnoticed: hence an exclusive probe first.

use super::Refusal;
use super::linger::{LINGER_TIME_MAX, retry_while};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// Binds the address alone and lets it go; the address with its real port.
pub(super) fn probe(address: SocketAddr) -> Result<SocketAddr, Refusal> {
    let bind = || TcpListener::bind(address).and_then(|listener| listener.local_addr());
    let probed = retry_while(LINGER_TIME_MAX, bind, |error| error.kind() == ErrorKind::AddrInUse);
    probed.map_err(|error| refusal(address, "listeners", &error))
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

    #[test]
    fn a_taken_port_is_named_and_a_free_one_found() {
        let free = probe(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        assert_ne!(free.port(), 0);
        let holder = bind_http(free).unwrap();
        let refusal = probe(free).unwrap_err();
        assert_eq!(refusal.cause, format!("{free} is in use"));
        assert!(refusal.remedy.contains("listeners"));
        drop(holder);
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        assert!(probe(elsewhere).unwrap_err().cause.contains("no address of this machine"));
    }
}
