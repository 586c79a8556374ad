//! What the README shows is so: its settings start a broker as they stand, under the limits of its systemd unit; systemd understands that
//! unit; each of two sides is told its own address; every command line of ours is understood. All is taken from the README itself.

#[path = "readme/blocks.rs"]
mod blocks;
#[path = "readme/unit.rs"]
mod unit;

use blocks::{blocks, commands};
use hayate_net::error::ErrorCode;
use hayate_tests::broker::{Broker, Client, Setup, binary, fresh_folder};
use hayate_tests::broker_sim::{self as requests, Topic, checked, name, records_of, values};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use unit::Unit;

/// The settings that the README calls a `server.properties`, as a file, and their text.
fn server_properties() -> (PathBuf, String) {
    let text = blocks("properties").remove(0);
    let file = fresh_folder().join("server.properties");
    std::fs::write(&file, &text).expect("the folder is writable");
    (file, text)
}

fn settings(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').expect("a key and a value")).collect()
}

fn setting<'a>(text: &'a str, key: &str) -> &'a str {
    let found = settings(text).into_iter().find(|(name, _)| *name == key);
    found.unwrap_or_else(|| panic!("the README's settings lack {key}")).1
}

fn connect(address: SocketAddr) -> Client {
    Client::connect(address, "reader of the README").expect("the broker listens")
}

/// Where clients are told that the broker is, as `host:port`.
fn told(client: &mut Client) -> String {
    let answer = client.ask(12, &MetadataRequest::default().with_topics(Some(vec![]))).expect("an answer");
    let [broker] = &answer.brokers[..] else { panic!("one broker") };
    format!("{}:{}", broker.host.as_str(), broker.port)
}

/// What is told of a topic by a request that would create it.
fn look_up(client: &mut Client, topic: &str) -> MetadataResponse {
    let wanted = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request =
        MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(true);
    client.ask(12, &request).expect("an answer")
}

#[test]
fn the_settings_are_understood_key_by_key() {
    let (file, text) = server_properties();
    let output = Command::new(binary()).args(["config", "--config"]).arg(&file).output().expect("it runs");
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), &*said), (Some(0), ""), "{shown}");
    for (key, value) in settings(&text) {
        let line = 1 + text.lines().position(|line| line.starts_with(&format!("{key}="))).expect("there");
        let expected = format!("# {}, line {line}\n{key}={value}\n", file.display());
        assert!(shown.contains(&expected), "{expected}{shown}");
    }
}

/// A broker with the README's settings under the README's limits; only its folder, its ports and the number of shards are ours.
fn start_as_a_service(unit: &Unit) -> (Broker, String) {
    let (file, text) = server_properties();
    let limits = unit.limits();
    let setup = Setup::default().config(&file).set("listeners", "PLAINTEXT://:0").set("shards", 1);
    // SAFETY: system calls alone; the limits were worked out before.
    let setup = unsafe { setup.before_exec(move || limits.iter().try_for_each(unit::Limit::set)) };
    (setup.start(), text)
}

#[test]
fn the_settings_start_a_broker_under_the_limits_of_the_unit() {
    let unit = Unit::of_the_readme();
    let (mut broker, text) = start_as_a_service(&unit);
    let mut client = connect(broker.addresses().kafka);
    assert_eq!(format!("PLAINTEXT://{}", told(&mut client)), setting(&text, "advertised.listeners"));
    let unknown = look_up(&mut client, "unknown");
    let created = checked(unknown.topics[0].error_code) != Err(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(created.to_string(), setting(&text, "auto.create.topics.enable"));
    let new = CreatableTopic::default()
        .with_name(name("orders"))
        .with_num_partitions(-1)
        .with_replication_factor(-1);
    let made = client.ask(7, &CreateTopicsRequest::default().with_topics(vec![new])).expect("an answer");
    assert_eq!(made.topics[0].num_partitions.to_string(), setting(&text, "num.partitions"));
    let topic = Topic { name: "orders".to_owned(), id: made.topics[0].topic_id };
    let produce = requests::Client::produce_in(13, &topic, 5, records_of(&["a record"]));
    let produced = client.ask(13, &produce).expect("an answer");
    assert_eq!(checked(produced.responses[0].partition_responses[0].error_code), Ok(()));
    let fetch = requests::Client::fetch_request(&topic, &[(5, 0)], 1, 1_000);
    assert_eq!(values(&client.ask(17, &fetch).expect("an answer"), 5), ["a record"]);
    let files_max = broker.metrics()["process_max_fds"] as u64;
    assert!(unit.files_max_here() <= files_max && files_max <= unit.files_max(), "{files_max} files");
    broker.stop();
    let log = broker.log();
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
}

#[test]
fn each_side_is_told_its_own_address() {
    let text = blocks("properties").remove(1);
    let file = fresh_folder().join("server.properties");
    std::fs::write(&file, &text).expect("the folder is writable");
    let names: Vec<&str> = setting(&text, "listeners")
        .split(',')
        .map(|listener| listener.split_once("://").expect("an address").0)
        .collect();
    let free: Vec<String> = names.iter().map(|name| format!("{name}://127.0.0.1:0")).collect();
    let mut broker = Setup::default().config(&file).set("listeners", free.join(",")).start();
    let log = broker.log();
    let listen = log.split_once(" listen=").expect("it tells").1.split(' ').next().expect("where");
    let advertised: Vec<&str> = setting(&text, "advertised.listeners").split(',').collect();
    assert_eq!(advertised.len(), 2);
    for ((address, name), advertised) in listen.split(',').zip(names).zip(advertised) {
        let mut client = connect(address.parse().expect("an address"));
        assert_eq!(format!("{name}://{}", told(&mut client)), advertised);
    }
    broker.stop();
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    let unit = Unit::of_the_readme();
    assert_eq!(unit.check(), Vec::<String>::new());
    assert_eq!(unit.verify(), Some(String::new()).filter(|_| unit::has_systemd()));
    let properties = blocks("properties").remove(0);
    let state = format!("/var/lib/{}", unit.value("Service", "StateDirectory"));
    assert_eq!(
        setting(&properties, "log.dirs"),
        state,
        "the folder that systemd makes is the one that is used"
    );
    let start = unit.value("Service", "ExecStart").split(' ').collect::<Vec<_>>();
    let [program, arguments @ ..] = &start[..] else { panic!("a program") };
    assert!(program.ends_with("/hayate"), "{program}");
    assert_understood(arguments);
    let signal = unit.value("Service", "KillSignal");
    assert!(["SIGTERM", "SIGINT"].contains(&signal), "{signal} stops no broker cleanly");
}

#[test]
fn a_wrong_unit_is_found() {
    let right = blocks("ini").remove(0);
    for (from, to, expected) in [
        ("LimitNOFILE=", "LimitNOFILES=", "LimitNOFILES"),
        ("Restart=on-failure", "Restart=on-fail", "on-fail"),
        ("[Service]", "[Servce]", "Servce"),
        ("LimitMEMLOCK=64M", "LimitMEMLOCK=64Q", "64Q"),
    ] {
        let wrong = Unit::parse(&right.replace(from, to));
        assert!(wrong.check().iter().any(|finding| finding.contains(expected)), "{:?}", wrong.check());
        if let Some(said) = wrong.verify() {
            assert!(said.contains(expected), "{to}: {said}");
        }
    }
}

/// The command line takes these arguments: with `--help` behind them it says so and does nothing.
#[track_caller]
fn assert_understood(arguments: &[&str]) {
    let output = Command::new(binary()).args(arguments).arg("--help").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*said), (Some(0), ""), "hayate {}", arguments.join(" "));
}

#[test]
fn every_command_is_understood() {
    let commands = commands();
    for command in &commands {
        assert_understood(&command.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let first: Vec<&str> =
        commands.iter().filter_map(|command| command.first().map(String::as_str)).collect();
    for word in ["topics", "produce", "consume", "configs", "completions", "metadata", "config"] {
        assert!(first.contains(&word), "the README shows no {word}: {first:?}");
    }
}
