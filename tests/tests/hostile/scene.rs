//! A broker, and somebody on it who is served whatever others do: what all tests of hostile peers share.

use hayate_tests::broker::{Broker, Client, Setup};
use hayate_tests::broker_sim::{self as requests, Topic, checked, name, records_of, values};
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const MIB: f64 = 1_048_576.0;
const BUDGET_BYTES: usize = 64 << 20;
/// What a broker of two shards may take without any load, in MiB.
const IDLE_MIB_MAX: f64 = 64.0;
/// Nobody waits longer than that because of somebody else, however busy the machine is.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// What peers did is counted by then.
const COUNT_TIME_MAX: Duration = Duration::from_secs(30);
/// How often memory is looked at.
const SERVED_PER_LOOK: usize = 20;

/// A broker with little memory.
pub fn setup() -> Setup {
    Setup::default().set("memory.budget", BUDGET_BYTES)
}

/// See the head of this file.
pub struct Scene {
    broker: Broker,
    bystander: Client,
    topic: Topic,
    served: usize,
    /// The offset of the bystander's next record.
    next: i64,
    longest: Duration,
    most_mib: f64,
}

impl Scene {
    /// Starts the broker and connects the bystander.
    pub fn start(setup: Setup) -> Scene {
        let broker = setup.start();
        let mut bystander = Client::connect(broker.addresses().kafka, "bystander").expect("it listens");
        let topic = create_topic(&mut bystander, "calm");
        let mut scene =
            Scene { broker, bystander, topic, served: 0, next: 0, longest: Duration::ZERO, most_mib: 0.0 };
        scene.serve();
        scene
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.broker.addresses().kafka
    }

    /// The bystander's topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// A topic of one partition.
    pub fn create_topic(&mut self, topic: &str) -> Topic {
        create_topic(&mut self.bystander, topic)
    }

    /// The bystander writes a record and reads it back, in time.
    pub fn serve(&mut self) {
        let asked = Instant::now();
        let value = format!("record {}", self.next);
        let produce = requests::Client::produce_in(13, &self.topic, 0, records_of(&[&value]));
        let produced = self.bystander.ask(13, &produce).expect("an answer");
        let outcome = &produced.responses[0].partition_responses[0];
        assert_eq!((checked(outcome.error_code), outcome.base_offset), (Ok(()), self.next));
        let fetch = requests::Client::fetch_request(&self.topic, &[(0, self.next)], 1, 1_000);
        let fetched = self.bystander.ask(17, &fetch).expect("an answer");
        assert_eq!(values(&fetched, 0), [value]);
        let took = asked.elapsed();
        assert!(took <= ANSWER_TIME_MAX, "the bystander waited for {took:?}");
        self.longest = self.longest.max(took);
        self.next += 1;
        if self.served.is_multiple_of(SERVED_PER_LOOK) {
            self.look();
        }
        self.served += 1;
    }

    /// As [`Scene::serve`], after somebody else has written `records` there.
    pub fn serve_on_from(&mut self, records: i64) {
        self.next += records;
        self.serve();
    }

    fn look(&mut self) {
        let resident_mib = self.broker.metrics()["process_resident_memory_bytes"] / MIB;
        self.most_mib = self.most_mib.max(resident_mib);
    }

    /// The sum of a family's series that have this label, over the shards.
    pub fn count(&self, family: &str, label: &str) -> f64 {
        let samples = self.broker.metrics();
        let of_family = samples.iter().filter(|(series, _)| series.split('{').next() == Some(family));
        of_family.filter(|(series, _)| series.contains(label)).map(|(_, value)| value).sum()
    }

    /// Serves the bystander until the sum is that. It must not become more.
    pub fn await_count(&mut self, family: &str, label: &str, expected: f64) {
        let began = Instant::now();
        loop {
            let count = self.count(family, label);
            if count == expected {
                return;
            }
            let late = began.elapsed() > COUNT_TIME_MAX;
            assert!(!late, "{family} {label}: {count}, not {expected}: {}", self.broker.log());
            self.serve();
        }
    }

    /// All peers but the bystander have gone, for these causes and no other; memory was bounded; the stop is clean.
    pub fn finish(mut self, what: &str, causes: &[(&str, usize)]) {
        let peers: usize = causes.iter().map(|(_, count)| count).sum();
        self.await_count("hayate_connections", "", 1.0);
        self.await_count("hayate_connections_closed_total", "", peers as f64);
        for (cause, expected) in causes {
            let label = format!("\"{cause}\"");
            assert_eq!(
                self.count("hayate_connections_closed_total", &label),
                *expected as f64,
                "{what}: {cause}"
            );
        }
        assert_eq!(self.count("hayate_connections_opened_total", ""), (peers + 1) as f64, "{what}");
        assert_eq!(self.count("hayate_contained_panics_total", ""), 0.0, "{what}");
        self.serve();
        self.look();
        let limit = IDLE_MIB_MAX + BUDGET_BYTES as f64 / MIB;
        println!(
            "{what}: {peers} peers; somebody else was served {} times, within {:.1?} each; {:.1} MiB resident at most (limit {limit:.0})",
            self.served, self.longest, self.most_mib
        );
        assert!(self.most_mib <= limit, "{what}: {:.1} MiB resident", self.most_mib);
        drop(self.bystander);
        self.broker.stop();
        let log = self.broker.log();
        assert!(log.contains("clean=true") && !log.contains(" ERROR "), "{what}: {log}");
    }
}

fn create_topic(client: &mut Client, topic: &str) -> Topic {
    let new =
        CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(-1);
    let response = client.ask(7, &CreateTopicsRequest::default().with_topics(vec![new])).expect("an answer");
    assert_eq!(checked(response.topics[0].error_code), Ok(()));
    Topic { name: topic.to_owned(), id: response.topics[0].topic_id }
}
