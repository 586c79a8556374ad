//! The commands `hayate topics|produce|consume|configs` as processes, against a real broker: what they do, print and end with.

#[path = "commands/fake.rs"]
mod fake;

use fake::{Fake, Trick};
use hayate_tests::broker::{Broker, Setup, binary, fresh_folder, get};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What takes longer has failed.
const TIME_MAX: Duration = Duration::from_secs(60);

fn address(broker: &Broker) -> String {
    broker.addresses().kafka.to_string()
}

fn command(broker: &Broker, line: &str) -> Command {
    let mut command = Command::new(binary());
    command.args(line.split(' ')).arg("--bootstrap-server").arg(address(broker));
    command
}

/// Runs a command with this input.
fn run(mut command: Command, input: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary can be run");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // A command that ends early does not take all of it.
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("our own child");
    writing.join().expect("it only writes");
    output
}

/// What a command prints that succeeds.
#[track_caller]
fn done(broker: &Broker, line: &str, input: &[u8]) -> Vec<u8> {
    let output = run(command(broker, line), input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{line}");
    output.stdout
}

#[track_caller]
fn text(broker: &Broker, line: &str) -> String {
    String::from_utf8(done(broker, line, b"")).expect("UTF-8")
}

/// What a command says that fails with this code.
#[track_caller]
fn failed(broker: &Broker, line: &str, input: &[u8], code: i32) -> String {
    let output = run(command(broker, line), input);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{line}: {said}");
    assert!(said.lines().all(|line| line.starts_with("hayate: ")), "{line}: {said}");
    said
}

#[test]
fn topics_are_created_described_altered_and_deleted() {
    let broker = Broker::start();
    assert_eq!(text(&broker, "topics list"), "");
    done(&broker, "topics create orders bills --partitions 3 --config retention.ms=5000", b"");
    done(&broker, "topics create orders --partitions 9 --if-not-exists", b"");
    assert_eq!(text(&broker, "topics list"), "bills\norders\n");
    let described = text(&broker, "topics describe orders");
    let lines: Vec<&str> = described.lines().collect();
    assert!(lines[0].starts_with("Topic: orders\tTopicId: "), "{described}");
    let rest = "\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: retention.ms=5000";
    assert!(lines[0].ends_with(rest), "{described}");
    assert_eq!(lines[3], "\tTopic: orders\tPartition: 2\tLeader: 1\tReplicas: 1\tIsr: 1");
    assert_eq!(lines.len(), 4);
    done(&broker, "topics alter orders --partitions 4", b"");
    done(&broker, "topics alter orders --partitions 5 --validate-only", b"");
    assert_eq!(text(&broker, "topics describe orders").lines().count(), 5);
    done(&broker, "topics delete orders bills", b"");
    done(&broker, "topics delete orders --if-exists", b"");
    assert_eq!(text(&broker, "topics list"), "");
}

#[test]
fn refusals_are_said_with_kafkas_names_and_end_with_1() {
    let broker = Setup::default().set("auto.create.topics.enable", false).start();
    done(&broker, "topics create t", b"");
    for (line, expected) in [
        ("topics create t", "hayate: topic t: TOPIC_ALREADY_EXISTS: Topic 't' already exists.\n"),
        ("topics create t u --config no.such=1", "topic u: INVALID_CONFIG: "),
        ("topics alter t --partitions 1", "topic t: INVALID_PARTITIONS: "),
        ("topics delete nowhere", "topic nowhere: UNKNOWN_TOPIC_OR_PARTITION"),
        ("topics describe nowhere", "topic nowhere: UNKNOWN_TOPIC_OR_PARTITION\n"),
        ("consume nowhere -e", "topic nowhere: UNKNOWN_TOPIC_OR_PARTITION\n"),
        ("consume t -p 7", "topic t has no partition 7\n"),
        ("consume t -o 9 -e", "topic t partition 0 offset 9: OFFSET_OUT_OF_RANGE\n"),
        ("configs describe topic nowhere", "topic nowhere: UNKNOWN_TOPIC_OR_PARTITION: "),
        ("configs alter topic t --set retention.ms=soon", "topic t: INVALID_CONFIG: Invalid value soon"),
        ("configs alter broker-logger 1 --set root=loud", "broker-logger 1: INVALID_CONFIG: Cannot set"),
        ("configs describe broker 9", "the cluster has no broker 9\n"),
    ] {
        let said = failed(&broker, line, b"", 1);
        assert!(said.contains(expected), "{line}: {said}");
    }
    assert!(failed(&broker, "produce t -p 7", b"a\n", 1).contains("topic t has no partition 7"));
    let several = failed(&broker, "topics delete a b", b"", 1);
    assert_eq!(several.lines().count(), 2, "{several}");
}

#[test]
fn what_cannot_be_reached_or_understood_is_said() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Command::new(binary()).args(["topics", "list", "-b", &free.to_string()]).output().unwrap();
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert_eq!(
        (nobody.status.code(), said.contains("cannot be reached: Connection refused")),
        (Some(1), true),
        "{said}"
    );
    let broker = Broker::start();
    let mut two = Command::new(binary());
    let both = format!("{free},{}", address(&broker));
    assert_eq!(
        run(
            {
                two.args(["topics", "list", "-b", &both]);
                two
            },
            b""
        )
        .status
        .code(),
        Some(0)
    );
    let folder = fresh_folder();
    let file = folder.join("client.properties");
    let with_file = |content: &str| {
        std::fs::write(&file, content).unwrap();
        let mut command = Command::new(binary());
        command.args(["topics", "list", "--command-config"]).arg(&file);
        run(command, b"")
    };
    let good = with_file(&format!("bootstrap.servers={}\nclient.id=me\ngroup.id=g\n", address(&broker)));
    let said = String::from_utf8(good.stderr).unwrap();
    assert_eq!(
        (good.status.code(), said.as_str()),
        (Some(0), "hayate: group.id has no effect on this command\n")
    );
    let bad = with_file("\nsecurity.protocol=SASL_SSL\n");
    let said = String::from_utf8(bad.stderr).unwrap();
    assert_eq!(bad.status.code(), Some(2));
    assert!(said.contains("client.properties, line 2: security.protocol=SASL_SSL: only PLAINTEXT"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn lines_go_in_and_come_out() {
    let broker = Broker::start();
    done(&broker, "topics create t --partitions 1", b"");
    done(&broker, "produce t -K : -H source=test -z zstd", b"k1:one\nk2:two\nthree\n\xff\xfe:\x00bytes");
    assert_eq!(done(&broker, "consume t -o beginning -e", b""), b"one\ntwo\nthree\n\x00bytes\n");
    let shown = done(&broker, "consume t -o beginning -e -f %t/%p/%o:%k,%K,%V,%h;", b"");
    assert_eq!(
        shown,
        b"t/0/0:k1,2,3,source=test;t/0/1:k2,2,3,source=test;t/0/2:,-1,5,source=test;t/0/3:\xff\xfe,2,6,source=test;"
    );
    for (line, expected) in [
        ("consume t -o 1 -c 2", &b"two\nthree\n"[..]),
        ("consume t -o -2 -c 1", b"three\n"),
        ("consume t --from-beginning -e -p 0 -c 1", b"one\n"),
        ("consume t -o @0 -c 1", b"one\n"),
        ("consume t -e", b""),
        ("consume t -c 0", b""),
        ("consume t -o @9999999999999 -e", b""),
    ] {
        assert_eq!(done(&broker, line, b""), expected, "{line}");
    }
}

#[test]
fn what_is_printed_as_json_can_be_sent_again_to_the_byte() {
    let broker = Broker::start();
    done(&broker, "topics create from to --partitions 2", b"");
    let lines = br#"{"key":"a","value":"one","partition":1,"timestamp":1700000000000,"headers":[["h","x"],["h",null]]}
{"value_base64":"/wA=","partition":0,"headers":{"b":"y"}}
{"key":"only","value":null,"partition":1}
"#;
    done(&broker, "produce from --json", lines);
    let printed = done(&broker, "consume from --json -o beginning -e", b"");
    done(&broker, "produce to --json --acks 1", &printed);
    let again = done(&broker, "consume to --json -o beginning -e", b"");
    let named = String::from_utf8(printed).unwrap().replace("\"topic\":\"from\"", "\"topic\":\"to\"");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&String::from_utf8(again).unwrap()), sorted(&named));
    let first = r#"{"topic":"to","partition":1,"offset":0,"timestamp":1700000000000,"key":"a","value":"one","headers":[["h","x"],["h",null]]}"#;
    assert!(sorted(&named).contains(&first.to_owned()), "{named}");
    let said = failed(&broker, "produce to --json", b"{\"value\":\"good\"}\n{\"value\":1}\n", 1);
    assert_eq!(said, "hayate: line 2: value is neither text nor null\n");
    let kept = done(&broker, "consume to -o beginning -e", b"");
    assert!(String::from_utf8_lossy(&kept).contains("good\n"), "what stands before a bad line is sent");
}

#[test]
fn records_with_a_key_go_where_javas_clients_send_them() {
    let broker = Broker::start();
    done(&broker, "topics create t --partitions 4", b"");
    done(&broker, "produce t -K :", b"21:a\nfoobar:b\n21:c\nabc:d\n");
    let shown = String::from_utf8(done(&broker, "consume t -o beginning -e -f %k=%p\\n", b"")).unwrap();
    let mut lines: Vec<&str> = shown.lines().collect();
    lines.sort_unstable();
    // Kafka's hashes of these keys, without their signs, modulo 4.
    assert_eq!(lines, ["21=0", "21=0", "abc=3", "foobar=2"]);
}

#[test]
fn many_and_large_records_arrive_in_their_order() {
    let broker = Broker::start();
    done(&broker, "topics create t --partitions 1 --config max.message.bytes=5000", b"");
    let mut input = String::new();
    for number in 0..20_000 {
        input.push_str(&format!("{number}-{}\n", "x".repeat(number % 100)));
    }
    // Batches are too large for the topic, and are halved until they are not.
    done(&broker, "produce t", input.as_bytes());
    assert!(done(&broker, "consume t -o beginning -e", b"") == input.as_bytes());
    let said = failed(&broker, "produce t", "y".repeat(6000).as_bytes(), 1);
    assert!(said.contains("topic t partition 0: MESSAGE_TOO_LARGE"), "{said}");
}

#[test]
fn configurations_are_described_and_altered() {
    let broker = Broker::start();
    done(&broker, "topics create t", b"");
    let topic = "configs describe topic t";
    assert_eq!(text(&broker, topic), "");
    done(&broker, "configs alter topic t --set retention.ms=5 --append cleanup.policy=compact", b"");
    let shown = text(&broker, topic);
    assert!(
        shown.starts_with("cleanup.policy=delete,compact sensitive=false source=DYNAMIC_TOPIC_CONFIG"),
        "{shown}"
    );
    assert!(shown.contains("\nretention.ms=5 "), "{shown}");
    done(&broker, "configs alter topic t --subtract cleanup.policy=compact --delete retention.ms", b"");
    assert_eq!(
        text(&broker, &format!("{topic} --key retention.ms")).split(' ').next(),
        Some("retention.ms=604800000")
    );
    assert!(text(&broker, &format!("{topic} --all")).lines().count() > 20);
    done(&broker, "configs alter broker --set message.max.bytes=77777", b"");
    let shown = text(&broker, "configs describe broker");
    assert!(
        shown.starts_with("message.max.bytes=77777 sensitive=false source=DYNAMIC_DEFAULT_BROKER_CONFIG"),
        "{shown}"
    );
    assert!(text(&broker, "configs describe broker 1").contains("message.max.bytes=77777"));
}

#[test]
fn log_levels_are_changed_by_command_and_over_http_and_forgotten_at_the_end() {
    let mut broker = Broker::start();
    let logger = "hayate_engine::shard::connection";
    assert!(text(&broker, "configs describe broker-logger 1").contains("\nroot=INFO "));
    done(&broker, &format!("configs alter broker-logger 1 --set {logger}=TRACE --set root=WARN"), b"");
    let shown = get(broker.addresses().http, &format!("/loggers/{logger}")).unwrap();
    assert_eq!((shown.status, shown.body.as_str()), (200, "{\"level\":\"TRACE\"}\n"));
    let one = text(&broker, "configs describe broker-logger 1 --key root");
    assert_eq!(one, "root=WARN sensitive=false source=DYNAMIC_BROKER_LOGGER_CONFIG\n");
    broker.stop();
    assert!(
        !broker.log().contains("clean=true"),
        "what is below WARN is not logged any more: {}",
        broker.log()
    );
    broker.restart();
    assert!(
        text(&broker, "configs describe broker-logger 1").contains("\nroot=INFO "),
        "not kept, as in Kafka"
    );
}

#[test]
fn topics_have_series_of_their_own_in_the_metrics() {
    let broker = Setup::default().set("metrics.topics.max", 1).start();
    done(&broker, "topics create a b c --partitions 2", b"");
    for topic in ["a", "b", "c"] {
        done(&broker, &format!("produce {topic}"), b"one\ntwo\n");
    }
    done(&broker, "consume a -o beginning -e", b"");
    let metrics = broker.metrics();
    assert_eq!(metrics["hayate_topic_produced_records_total{topic=\"a\"}"], 2.0);
    assert_eq!(metrics["hayate_topic_produced_records_total{topic=\"(other)\"}"], 4.0);
    assert_eq!(metrics["hayate_topic_fetched_records_total{topic=\"a\"}"], 2.0);
    assert!(metrics["hayate_topic_produced_bytes_total{topic=\"a\"}"] > 61.0);
    done(&broker, "topics delete a", b"");
    assert!(!broker.metrics().keys().any(|series| series.contains("topic=\"a\"")));
}

/// Reads until `expected` has come.
#[track_caller]
fn read_until(output: &mut impl Read, expected: &[u8]) {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while !bytes.ends_with(expected) {
        let count = output.read(&mut part).expect("it can be read");
        assert!(count > 0, "it ended: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&part[..count]);
    }
}

fn start(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run")
}

#[track_caller]
fn wait(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    while began.elapsed() < TIME_MAX {
        if let Some(status) = child.try_wait().expect("our own child") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    panic!("it does not end");
}

#[test]
fn lines_are_sent_and_printed_as_they_come() {
    let broker = Broker::start();
    done(&broker, "topics create t --partitions 3", b"");
    let mut consumer = start(command(&broker, "consume t --from-beginning -c 2"));
    let mut producer = start(command(&broker, "produce t"));
    let (mut printed, mut typed) = (consumer.stdout.take().unwrap(), producer.stdin.take().unwrap());
    typed.write_all(b"first\n").unwrap();
    read_until(&mut printed, b"first\n");
    typed.write_all(b"second\n").unwrap();
    read_until(&mut printed, b"second\n");
    assert_eq!(wait(&mut consumer), Some(0), "after as many as were asked for");
    drop(typed);
    assert_eq!(wait(&mut producer), Some(0), "at the end of its input");
}

#[test]
fn output_that_nobody_reads_ends_a_command() {
    let broker = Broker::start();
    done(&broker, "topics create t", b"");
    done(&broker, "produce t", "a line\n".repeat(200_000).as_bytes());
    let mut consumer = start(command(&broker, "consume t -o beginning"));
    let mut printed = consumer.stdout.take().unwrap();
    let mut part = [0; 7];
    printed.read_exact(&mut part).unwrap();
    drop(printed);
    let mut said = String::new();
    assert_eq!(wait(&mut consumer), Some(0));
    consumer.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((&part, said.as_str()), (b"a line\n", ""));
}

#[test]
fn a_producer_and_a_consumer_outlive_their_broker_and_nothing_comes_twice() {
    let mut broker = Broker::start();
    done(&broker, "topics create t --partitions 2", b"");
    let mut consumer = start(command(&broker, "consume t -o beginning"));
    let mut producer = start(command(&broker, "produce t"));
    let (mut printed, mut typed) = (consumer.stdout.take().unwrap(), producer.stdin.take().unwrap());
    for round in 0..3 {
        let line = format!("round {round}\n");
        typed.write_all(line.as_bytes()).unwrap();
        read_until(&mut printed, line.as_bytes());
        broker.kill();
        typed.write_all(format!("lost {round}\n").as_bytes()).unwrap();
        broker.restart();
        read_until(&mut printed, format!("lost {round}\n").as_bytes());
    }
    drop(typed);
    assert_eq!(wait(&mut producer), Some(0));
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    let all = text(&broker, "consume t -o beginning -e");
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["lost 0", "lost 1", "lost 2", "round 0", "round 1", "round 2"]);
}

fn against(fake: &Fake, line: &str) -> Command {
    let mut command = Command::new(binary());
    command.args(line.split(' ')).args(["-b", &fake.address()]);
    command
}

#[test]
fn records_follow_their_leader_and_a_lost_answer_makes_no_second_one() {
    let fake = Fake::start(&[Trick::Move, Trick::LoseAnswer, Trick::LoseAnswer, Trick::Serve], &[]);
    let output = run(against(&fake, "produce t"), b"one\ntwo\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{:?}", fake.seen());
    assert_eq!(fake.records(), [("one".to_owned(), 0), ("two".to_owned(), 1)]);
    let expected = [
        "produce 0 NOT_LEADER_OR_FOLLOWER Move",
        "produce 1 NONE LoseAnswer",
        "produce 1 NONE LoseAnswer",
        "produce 1 NONE Serve",
    ];
    assert_eq!(fake.seen(), expected);
}

#[test]
fn readers_follow_their_leader_and_print_each_record_once() {
    let tricks = [Trick::Serve, Trick::Move, Trick::LoseAnswer, Trick::Serve, Trick::Move];
    let fake = Fake::start(&tricks, &["one", "two", "three"]);
    let output = run(against(&fake, "consume t -o beginning -e"), b"");
    assert_eq!(
        (output.status.code(), &output.stdout[..]),
        (Some(0), &b"one\ntwo\nthree\n"[..]),
        "{:?}",
        fake.seen()
    );
    assert_eq!(fake.seen().iter().filter(|seen| seen.contains("Move")).count(), 2);
}
