//! What settings are taken, and what each refusal says. The refusals were read off Kafka 4.2.1.

use super::*;
use std::net::SocketAddr;

const MAP: &str = "A:PLAINTEXT,B:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,S:SASL_SSL";

fn texts(listeners: &str) -> Texts<'_> {
    Texts { listeners, protocols: Some(MAP), controllers: "CONTROLLER", ..Texts::default() }
}

/// What is opened where, and what is told: `NAME address host:port`.
fn opened(texts: &Texts<'_>) -> Vec<String> {
    let plan = plan(texts).unwrap_or_else(|wrong| panic!("{texts:?}: {wrong:?}"));
    let shown = |listener: ListenerOptions| {
        let told = listener.advertised.map_or("nothing".to_owned(), |told| {
            format!("{}:{}", told.host.unwrap_or_else(|| "this".to_owned()), told.port)
        });
        format!("{} {} {told}", listener.name, listener.listen)
    };
    plan.listeners.into_iter().map(shown).collect()
}

fn anywhere(port: u16) -> SocketAddr {
    resolve("", port).unwrap()
}

#[test]
fn every_listener_for_clients_is_opened() {
    let shipped = texts("PLAINTEXT://:9092,CONTROLLER://:9093");
    assert_eq!(opened(&shipped), [format!("PLAINTEXT {} this:9092", anywhere(9092))]);
    let unopened: Vec<String> = plan(&shipped).unwrap().unopened.iter().map(Endpoint::to_string).collect();
    assert_eq!(unopened, ["CONTROLLER://:9093"]);
    assert_eq!(opened(&Texts { protocols: None, ..shipped }), opened(&shipped));
    let several = "PLAINTEXT://127.0.0.1:1,a://[::1]:2";
    assert_eq!(opened(&texts(several)), ["PLAINTEXT 127.0.0.1:1 127.0.0.1:1", "A [::1]:2 ::1:2"]);
    let told = Texts { advertised: Some("A://x:3,PLAINTEXT://[::2]:4"), ..texts(several) };
    assert_eq!(opened(&told), ["PLAINTEXT 127.0.0.1:1 ::2:4", "A [::1]:2 x:3"]);
    let one = Texts { advertised: Some("PLAINTEXT://:4"), ..texts(several) };
    assert_eq!(opened(&one), ["PLAINTEXT 127.0.0.1:1 this:4", "A [::1]:2 nothing"]);
    assert_eq!(opened(&texts("PLAINTEXT://[::]:9")), ["PLAINTEXT [::]:9 this:9"]);
    assert_eq!(opened(&texts("PLAINTEXT://127.0.0.1:0,A://127.0.0.1:0")).len(), 2);
}

#[test]
fn a_port_is_shared_by_the_two_families_of_addresses() {
    let plan = plan(&texts("PLAINTEXT://127.0.0.1:9,A://[::]:9")).unwrap();
    assert_eq!(plan.listeners.iter().map(|listener| listener.ipv6_only).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn the_clusters_own_listener() {
    let of =
        |listeners, inter_broker| plan(&Texts { inter_broker, ..texts(listeners) }).unwrap().inter_broker;
    assert_eq!(of("PLAINTEXT://127.0.0.1:1,A://127.0.0.1:2", None).as_deref(), Some("PLAINTEXT"));
    assert_eq!(of("PLAINTEXT://127.0.0.1:1,A://127.0.0.1:2", Some("a")).as_deref(), Some("A"));
    assert_eq!(of("A://127.0.0.1:2", None), None);
}

#[track_caller]
fn check_refused(texts: &Texts<'_>, key: &str, reason: &str) {
    let wrong = plan(texts).expect_err("refused");
    assert_eq!((wrong.0, wrong.1.as_str()), (key, reason), "{texts:?}");
}

#[test]
fn listeners_that_cannot_be_are_refused_in_kafkas_words() {
    for (listeners, reason) in [
        ("", "Configuration 'listeners' must not be empty. Valid values include: any non-empty value"),
        (",PLAINTEXT://:1", "Configuration 'listeners' values must not be empty."),
        ("9092", "Unable to parse 9092 to a broker endpoint: it is not of the form NAME://host:port"),
        (
            "PLAINTEXT://:1,PLAINTEXT://:2",
            "Each listener must have a different name, listeners: [PLAINTEXT://:1, PLAINTEXT://:2]",
        ),
        (
            "PLAINTEXT://:1,CONTROLLER://:1",
            "Each listener must have a different port, listeners: [PLAINTEXT://:1, CONTROLLER://:1]",
        ),
        (
            "PLAINTEXT://127.0.0.1:1,A://127.0.0.2:1",
            "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, listeners: \
             [PLAINTEXT://127.0.0.1:1, A://127.0.0.2:1], port: 1",
        ),
        (
            "PLAINTEXT://127.0.0.1:1,A://[::1]:1,B://127.0.0.3:1",
            "Each listener must have a different port unless exactly one listener has an IPv4 address and the other \
             IPv6 address, listeners: [PLAINTEXT://127.0.0.1:1, A://[::1]:1, B://127.0.0.3:1], port: 1",
        ),
        (
            "PLAINTEXT://localhost:1,A://[::1]:1",
            "Each listener must have a different port unless exactly one listener has an IPv4 address and the other \
             IPv6 address, listeners: [PLAINTEXT://localhost:1, A://[::1]:1], port: 1",
        ),
        (
            "C://:1",
            "No security protocol defined for listener C: set listener.security.protocol.map=C:PLAINTEXT",
        ),
        (
            "CONTROLLER://:9093",
            "There must be at least one broker advertised listener. Perhaps all listeners appear in \
             controller.listener.names?",
        ),
        ("S://:1", "S speaks SASL_SSL, and only PLAINTEXT is built yet: leave it out"),
    ] {
        check_refused(&texts(listeners), "listeners", reason);
    }
}

#[test]
fn what_is_told_and_leads_nowhere_is_refused_in_kafkas_words() {
    let meta =
        "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.";
    check_refused(&texts("PLAINTEXT://0.0.0.0:1"), "advertised.listeners", meta);
    for (advertised, reason) in [
        ("PLAINTEXT://0.0.0.0:1", meta),
        ("PLAINTEXT://x:1,CONTROLLER://0.0.0.0:1", meta),
        (
            "PLAINTEXT://[::]:2",
            "advertised.listeners cannot use the nonroutable meta-address ::. Use a routable IP address.",
        ),
        (
            "PLAINTEXT://x:1,A://x:2",
            "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found \
             PLAINTEXT,A. The valid options based on the current configuration are PLAINTEXT,CONTROLLER",
        ),
        (
            "PLAINTEXT://x:1,PLAINTEXT://y:2",
            "Each listener must have a different name, listeners: [PLAINTEXT://x:1, PLAINTEXT://y:2]",
        ),
        (
            "",
            "Configuration 'advertised.listeners' must not be empty. Valid values include: any non-empty value",
        ),
    ] {
        let texts = Texts { advertised: Some(advertised), ..texts("PLAINTEXT://:1,CONTROLLER://:2") };
        check_refused(&texts, "advertised.listeners", reason);
    }
    for (inter_broker, reason) in [
        (
            "C",
            "Listener with name C defined in inter.broker.listener.name not found in listener.security.protocol.map.",
        ),
        (
            "CONTROLLER",
            "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options \
             based on currently configured listeners are PLAINTEXT",
        ),
    ] {
        let texts = Texts { inter_broker: Some(inter_broker), ..texts("PLAINTEXT://:1,CONTROLLER://:2") };
        check_refused(&texts, "inter.broker.listener.name", reason);
    }
}
