//! What a process needs for many connections: file descriptors, and local addresses with ports enough.

use crate::PerfError;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// File descriptors that are needed besides those of the connections.
const OTHERS: u64 = 64;
/// Ports of a local address that are left to others.
const PORTS_SPARED: usize = 500;
/// Kafka listens here often enough: connections of a loopback target come from the addresses behind.
const LOOPBACK_FIRST: u32 = 0x7f00_0001;

/// Raises the limit of file descriptors as far as is allowed.
///
/// # Errors
/// [`PerfError::Impossible`]: that does not do.
pub fn raise_descriptors(connections: usize) -> Result<(), PerfError> {
    let failed = |error| PerfError::Impossible(format!("the limit of file descriptors: {error}"));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    let needed = connections as u64 + OTHERS;
    check_descriptors(needed, hard)?;
    if soft < needed { setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed) } else { Ok(()) }
}

fn check_descriptors(needed: u64, hard: u64) -> Result<(), PerfError> {
    if needed <= hard {
        return Ok(());
    }
    Err(PerfError::Impossible(format!(
        "{needed} file descriptors are needed, and this process may have {hard}: raise its hard limit (ulimit -Hn)"
    )))
}

/// Ports that the kernel gives to connections of one local address to one target.
pub fn ports() -> usize {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    ports_of(&text)
}

fn ports_of(range: &str) -> usize {
    let bounds: Vec<usize> = range.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match bounds.as_slice() {
        [first, last] if first <= last => (last - first + 1).saturating_sub(PORTS_SPARED).max(1),
        _ => 28_000,
    }
}

/// Local addresses for `connections` to one target, each with `ports`; none where the kernel's own choice does.
///
/// # Errors
/// [`PerfError::Impossible`]: there are too few.
pub fn sources(
    target: SocketAddr,
    connections: usize,
    ports: usize,
    named: &[IpAddr],
) -> Result<Vec<IpAddr>, PerfError> {
    let needed = connections.div_ceil(ports);
    if !named.is_empty() {
        return if needed <= named.len() {
            Ok(named.to_vec())
        } else {
            Err(too_few(target, connections, needed))
        };
    }
    match target.ip() {
        _ if needed <= 1 => Ok(Vec::new()),
        IpAddr::V4(ip) if ip.is_loopback() => {
            let number = u32::try_from(needed).unwrap_or(u32::MAX >> 9);
            Ok((0..number).map(|step| IpAddr::V4(Ipv4Addr::from_bits(LOOPBACK_FIRST + step))).collect())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Err(too_few(target, connections, needed)),
    }
}

fn too_few(target: SocketAddr, connections: usize, needed: usize) -> PerfError {
    PerfError::Impossible(format!(
        "{connections} connections to {target} need {needed} local addresses, for each has ports of its own: name them with --local-address"
    ))
}

#[cfg(test)]
mod tests {
    use super::{check_descriptors, ports_of, sources};

    #[test]
    fn ports_are_those_of_the_kernel_but_some() {
        for (range, ports) in
            [("32768\t60999\n", 27_732), ("1024 65535", 64_012), ("", 28_000), ("9 8", 28_000)]
        {
            assert_eq!(ports_of(range), ports, "{range:?}");
        }
    }

    #[test]
    fn loopback_has_as_many_addresses_as_are_needed_and_others_are_to_be_named() {
        let at = |target: &str, connections, named: &[&str]| {
            let named: Vec<_> = named.iter().map(|ip| ip.parse().expect("an address")).collect();
            let found = sources(target.parse().expect("an address"), connections, 100, &named);
            found.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(at("10.0.0.1:9092", 100, &[]).expect("enough"), Vec::<String>::new());
        assert_eq!(at("127.0.0.1:9092", 201, &[]).expect("enough"), ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        assert_eq!(at("10.0.0.1:9092", 200, &["10.0.0.8", "10.0.0.9"]).expect("enough").len(), 2);
        for (target, named) in
            [("10.0.0.1:9092", &[][..]), ("[::1]:9092", &[]), ("127.0.0.1:9092", &["127.0.0.1"])]
        {
            let said = at(target, 101, named).expect_err(target).to_string();
            assert!(said.contains("need 2 local addresses"), "{said}");
        }
    }

    #[test]
    fn too_few_descriptors_are_told_with_both_numbers() {
        assert!(check_descriptors(1024, 1024).is_ok());
        let said = check_descriptors(1025, 1024).expect_err("one too many").to_string();
        assert!(said.contains("1025") && said.contains("1024") && said.contains("ulimit"), "{said}");
    }
}
