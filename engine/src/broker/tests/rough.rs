//! A broker on a rough network, crashing at random under load: what was acknowledged stays, in order and once, and what a
//! consumer has seen neither changes nor goes away.

use super::client::{Client, Topic, values};
use super::{Bench, CLIENT, HOUR};
use hayate_net::socket::Network;
use hayate_net::socket::sim::NetPlan;
use hayate_rt::{Queue, Rt};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const PARTITIONS: usize = 3;

/// What is known of each partition from outside.
#[derive(Default)]
struct Ledger {
    /// Values that were acknowledged, with their offsets.
    acknowledged: Vec<(i64, String)>,
    /// Values by offset that a consumer has seen.
    seen: Vec<String>,
}

type Ledgers = Rc<Vec<RefCell<Ledger>>>;

impl Ledger {
    /// A consumer read this from offset `from`: it must agree with everything known.
    fn note_seen(&mut self, from: usize, values: Vec<String>) {
        for (offset, value) in (from..).zip(values) {
            match self.seen.get(offset) {
                Some(known) => assert_eq!(*known, value, "offset {offset} has changed"),
                None => {
                    assert_eq!(self.seen.len(), offset, "no gaps");
                    self.seen.push(value);
                }
            }
        }
    }

    /// The first `count` acknowledged values are among what was seen.
    fn check(&self, count: usize) {
        for (offset, value) in &self.acknowledged[..count] {
            assert_eq!(self.seen.get(*offset as usize), Some(value), "acknowledged at {offset}");
        }
    }
}

/// A new connection, for as long as it takes.
async fn connect(bench: &Bench, rt: &Rt) -> Client {
    let network = Network::sim(&bench.network, rt);
    loop {
        match network.connect(bench.options.listen).await {
            Ok(socket) => return Client::new(socket),
            Err(_) => rt.sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Produces values of its own until the world ends; after a failure, on a new connection.
async fn produce_for_ever(bench: Bench, rt: Rt, topic: Topic, producer: usize, ledgers: Ledgers) {
    let mut client = connect(&bench, &rt).await;
    for number in 0u64.. {
        let partition = rt.random_below(PARTITIONS as u64) as usize;
        let value = format!("{producer}/{number}");
        let produced =
            rt.timeout(Duration::from_secs(2), client.try_produce(&topic, partition as i32, &value)).await;
        match produced {
            Ok(Some(Ok(offset))) => ledgers[partition].borrow_mut().acknowledged.push((offset, value)),
            Ok(Some(Err(_))) => {}
            Ok(None) | Err(_) => client = connect(&bench, &rt).await,
        }
        rt.sleep(Duration::from_micros(rt.random_below(3000))).await;
    }
}

/// Reads everything there is of every partition and holds it against the ledgers.
async fn read_all(bench: &Bench, rt: &Rt, topic: &Topic, ledgers: &Ledgers) {
    bench.network.set_plan(NetPlan::CALM);
    let mut client = connect(bench, rt).await;
    for (partition, ledger) in ledgers.iter().enumerate() {
        let acknowledged = ledger.borrow().acknowledged.len();
        let mut next = 0;
        loop {
            let fetched = client.fetch(topic, &[(partition as i32, next as i64)], 1, 0).await;
            let values = values(&fetched, partition as i32);
            if values.is_empty() {
                break;
            }
            let count = values.len();
            ledger.borrow_mut().note_seen(next, values);
            next += count;
        }
        assert_eq!(next, ledger.borrow().seen.len(), "what was seen is still there");
        ledger.borrow().check(acknowledged);
    }
}

async fn scenario(bench: Bench) -> usize {
    let mut running = Some(bench.start().await);
    let rt = Rt::sim(bench.sim.node(CLIENT));
    let topic = bench.client().await.create_topic("rough", PARTITIONS as i32).await;
    let ledgers: Ledgers = Rc::new((0..PARTITIONS).map(|_| RefCell::default()).collect());
    for producer in 0..3 {
        let producing = produce_for_ever(bench.clone(), rt.clone(), topic.clone(), producer, ledgers.clone());
        rt.spawn(Queue::Foreground, producing).detach();
    }
    for _ in 0..4 {
        bench.network.set_plan(NetPlan::ROUGH);
        rt.sleep(Duration::from_millis(50 + rt.random_below(250))).await;
        if rt.random_below(4) == 0 {
            bench.stop(running.take().expect("running")).await;
        }
        bench.crash();
        running = Some(bench.start().await);
        read_all(&bench, &rt, &topic, &ledgers).await;
    }
    ledgers.iter().map(|ledger| ledger.borrow().acknowledged.len()).sum()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_seen_changes() {
    let mut acknowledged = 0;
    for seed in 0..30 {
        let bench = Bench::new(seed, 1 + (seed % 3) as u16, |_| ());
        let sim = bench.sim.clone();
        match sim.run(HOUR, scenario(bench)) {
            Ok(count) => acknowledged += count,
            Err(stalled) => panic!("seed {seed}: {stalled:?}"),
        }
    }
    assert!(acknowledged > 2000, "the load was felt: {acknowledged}");
}
