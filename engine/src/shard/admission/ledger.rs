//! The account of a broker's connections, and who is let in by it: a pure state machine over limits, arrivals and departures.
//! After Kafka's `ConnectionQuotas`.

use super::rate::Rate;
use crate::config::connections::ConnectionLimits;
use hayate_rt::MonoTime;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// What becomes of a connection that asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in.
    Admitted,
    /// It waits until another one leaves.
    Full,
    /// Its address has as many as it may have: so many.
    TooManyFromAddress(u32),
}

/// The connections of all shards.
#[derive(Debug)]
pub struct Ledger {
    limits: ConnectionLimits,
    /// Names of the listeners, in capitals; elsewhere they go by their places here.
    listeners: Vec<String>,
    /// The one that `max.connections` does not keep from accepting, if there is another.
    spared: Option<usize>,
    total: u32,
    of_listener: Vec<u32>,
    of_address: BTreeMap<IpAddr, u32>,
    /// Connections that were told to make room and are not gone yet.
    leaving: u32,
    rate: Rate,
    rate_of_listener: Vec<Rate>,
}

impl Ledger {
    /// Nobody is in. `inter_broker` is the listener for the cluster's own traffic.
    pub fn new(listeners: Vec<String>, inter_broker: Option<&str>, limits: ConnectionLimits) -> Ledger {
        let place = listeners.iter().position(|listener| Some(listener.as_str()) == inter_broker);
        Ledger {
            limits,
            spared: place.filter(|_| listeners.len() > 1),
            total: 0,
            of_listener: vec![0; listeners.len()],
            of_address: BTreeMap::new(),
            leaving: 0,
            rate: Rate::default(),
            rate_of_listener: listeners.iter().map(|_| Rate::default()).collect(),
            listeners,
        }
    }

    /// Replaces the limits, and says whether they differ; what is beyond them makes room by and by.
    pub fn set_limits(&mut self, limits: ConnectionLimits) -> bool {
        std::mem::replace(&mut self.limits, limits) != self.limits
    }

    /// A connection has come to a listener: how long it must wait for the rate's sake.
    pub fn arrive(&mut self, listener: usize, now: MonoTime) -> Duration {
        let of_listener = self.limits.rate_max_of(&self.listeners[listener]);
        let delay = self.rate_of_listener[listener].record(now, of_listener);
        if self.spared == Some(listener) {
            return delay;
        }
        delay.max(self.rate.record(now, self.limits.rate_max))
    }

    /// Lets a connection in, if there is room for it.
    pub fn admit(&mut self, listener: usize, address: IpAddr) -> Verdict {
        if !self.has_room(listener) {
            return Verdict::Full;
        }
        let of_address = self.of_address.get(&address).copied().unwrap_or(0);
        let of_address_max = self.limits.per_ip_max_of(address);
        if of_address >= of_address_max {
            return Verdict::TooManyFromAddress(of_address_max);
        }
        self.of_address.insert(address, of_address + 1);
        self.of_listener[listener] += 1;
        self.total += 1;
        Verdict::Admitted
    }

    fn has_room(&self, listener: usize) -> bool {
        let of_listener_max = self.limits.connections_max_of(&self.listeners[listener]);
        self.of_listener[listener] < of_listener_max
            && (self.spared == Some(listener) || self.total < self.limits.connections_max)
    }

    /// A connection that was let in is gone; `was_told` whether it had been told to make room.
    pub fn leave(&mut self, listener: usize, address: IpAddr, was_told: bool) {
        self.total -= 1;
        self.of_listener[listener] -= 1;
        self.leaving -= u32::from(was_told);
        if let Some(count) = self.of_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&address);
            }
        }
    }

    /// Whether one more connection must make room, beyond those that were told to.
    pub fn is_overfull(&self) -> bool {
        self.total - self.leaving > self.limits.connections_max
    }

    /// The listener whose connections never make room, and that accepts above `max.connections`.
    pub fn spared(&self) -> Option<usize> {
        self.spared
    }

    /// A connection is told to make room, if one must; says whether.
    pub fn tell(&mut self) -> bool {
        let must = self.is_overfull();
        self.leaving += u32::from(must);
        must
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::connections::Hosts;

    const A: usize = 0;
    const B: usize = 1;

    fn limits(pairs: &[(&str, &str)]) -> ConnectionLimits {
        let mut limits = ConnectionLimits::default();
        pairs.iter().for_each(|(key, value)| limits.set(key, value, Hosts::AddressesAlone));
        limits
    }

    fn ledger(inter_broker: &str, pairs: &[(&str, &str)]) -> Ledger {
        Ledger::new(vec!["A".to_owned(), "B".to_owned()], Some(inter_broker), limits(pairs))
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_more_than_max_connections_waits_until_another_leaves() {
        let mut ledger = ledger("", &[("max.connections", "2")]);
        assert_eq!([ledger.admit(A, ip(1)), ledger.admit(B, ip(1))], [Verdict::Admitted; 2]);
        assert_eq!([ledger.admit(A, ip(2)), ledger.admit(B, ip(2))], [Verdict::Full; 2]);
        ledger.leave(A, ip(1), false);
        assert_eq!([ledger.admit(B, ip(2)), ledger.admit(A, ip(3))], [Verdict::Admitted, Verdict::Full]);
    }

    #[test]
    fn a_listeners_own_limit_binds_it_alone() {
        let mut ledger = ledger("", &[("listener.name.a.max.connections", "1")]);
        assert_eq!([ledger.admit(A, ip(1)), ledger.admit(A, ip(2))], [Verdict::Admitted, Verdict::Full]);
        assert_eq!([ledger.admit(B, ip(1)), ledger.admit(B, ip(2))], [Verdict::Admitted; 2]);
    }

    #[test]
    fn the_clusters_own_listener_gets_in_and_others_make_room() {
        let mut ledger = ledger("B", &[("max.connections", "1"), ("listener.name.b.max.connections", "2")]);
        assert_eq!([ledger.admit(A, ip(1)), ledger.admit(A, ip(1))], [Verdict::Admitted, Verdict::Full]);
        assert!(!ledger.tell());
        assert_eq!(ledger.admit(B, ip(1)), Verdict::Admitted);
        assert_eq!(ledger.spared(), Some(B));
        assert_eq!([ledger.tell(), ledger.tell()], [true, false], "one for one");
        ledger.leave(A, ip(1), true);
        assert!(!ledger.is_overfull());
        assert_eq!([ledger.admit(B, ip(1)), ledger.admit(B, ip(1))], [Verdict::Admitted, Verdict::Full]);
        let mut alone = Ledger::new(vec!["B".to_owned()], Some("B"), limits(&[("max.connections", "0")]));
        assert_eq!(alone.admit(0, ip(1)), Verdict::Full, "it is spared only where there is another");
    }

    #[test]
    fn an_address_that_has_enough_is_refused_and_the_count_is_given_back() {
        let mut ledger = ledger(
            "",
            &[("max.connections.per.ip", "1"), ("max.connections.per.ip.overrides", "10.0.0.2:2")],
        );
        assert_eq!(
            [ledger.admit(A, ip(1)), ledger.admit(B, ip(1))],
            [Verdict::Admitted, Verdict::TooManyFromAddress(1)]
        );
        let of_two = [ledger.admit(A, ip(2)), ledger.admit(A, ip(2)), ledger.admit(A, ip(2))];
        assert_eq!(of_two, [Verdict::Admitted, Verdict::Admitted, Verdict::TooManyFromAddress(2)]);
        ledger.leave(A, ip(1), false);
        assert_eq!(ledger.admit(B, ip(1)), Verdict::Admitted);
        (0..2).for_each(|_| ledger.leave(A, ip(2), false));
        assert_eq!(ledger.of_address.len(), 1, "addresses that are gone are forgotten");
    }

    #[test]
    fn limits_that_shrink_make_room() {
        let mut ledger = ledger("", &[]);
        (1..=3).for_each(|last| assert_eq!(ledger.admit(A, ip(last)), Verdict::Admitted));
        assert!(!ledger.set_limits(limits(&[])) && ledger.set_limits(limits(&[("max.connections", "1")])));
        assert_eq!([ledger.tell(), ledger.tell(), ledger.tell()], [true, true, false]);
        assert_eq!(ledger.admit(A, ip(4)), Verdict::Full);
    }

    #[test]
    fn rates_of_the_broker_and_of_a_listener() {
        let rates =
            [("max.connection.creation.rate", "1"), ("listener.name.b.max.connection.creation.rate", "2")];
        let now = MonoTime::from_nanos(1);
        let held_up = |inter_broker: &str, listener: usize, arrivals: u32| {
            let mut ledger = ledger(inter_broker, &rates);
            (0..arrivals).map(|_| ledger.arrive(listener, now)).any(|delay| !delay.is_zero())
        };
        assert!(!held_up("", A, 10) && held_up("", A, 11));
        assert!(held_up("", B, 11), "the broker's rate holds it up too");
        assert!(!held_up("B", B, 20) && held_up("B", B, 21), "its own alone, if it is the cluster's");
    }
}
