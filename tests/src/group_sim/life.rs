//! One life of a node: runs that begin with a load and end with a crash, a kill or a stop, and at the end what must be there.

use super::ledger::Ledger;
use super::member::Client;
use super::node::{End, Node};
use super::others::NEW_MEMBER_MS;
use super::{GROUPS, Life, SIMPLE, text};
use crate::campaign::Outcome;
use hayate_engine::coordinator::group::{GroupAnswer, GroupConfig, GroupRequest, Groups};
use hayate_engine::coordinator::load::load;
use hayate_engine::coordinator::offsets::OffsetLimits;
use hayate_engine::coordinator::{Effects, Machine, Moment, Token};
use hayate_engine::partition::PartitionState;
use hayate_rt::sim::{NodeId, Sim};
use hayate_rt::{Queue, Rt};
use hayate_storage::disk::sim::FaultPlan;
use hayate_storage::mutants::{Mutant, activate};
use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

const CLIENTS: NodeId = NodeId(100);
/// More virtual time than any life takes: whatever is still not done hangs.
const LIFE_LIMIT: Duration = Duration::from_secs(3600);
/// The static members; each of them may have a twin.
pub(super) const INSTANCES: [&str; 2] = ["i-1", "i-2"];
/// Once everybody is silent, so much later nobody is a member any more.
const QUIET: Duration = Duration::from_secs(20);
/// How long offsets are kept in lives in which they expire.
const RETENTION_MS: u64 = 4_000;

/// Lives one life, with a defect or without.
pub fn run_seed(seed: u64, mutant: Option<Mutant>) -> Outcome {
    activate(mutant);
    let sim = Sim::new(seed);
    let (config, expires) = config(&sim);
    let mut ledger = Ledger::default();
    ledger.expires_after_ms = expires.then_some(RETENTION_MS);
    let life = Life {
        node: Rc::new(Node::new(&sim, config)),
        rt: Rt::sim(sim.node(CLIENTS)),
        ledger: Rc::new(RefCell::new(ledger)),
        ends: Rc::default(),
        busy: Rc::default(),
        undecided: Rc::default(),
    };
    let plan = faults(&sim);
    let outcome = sim.run(LIFE_LIMIT, life.live(plan));
    sim.end();
    activate(None);
    let broken = outcome.err().map(|stalled| format!("the coordinator hangs: {stalled:?}"));
    Outcome { broken, counts: sim.counts(), trace: sim.trace_hash(), steps: sim.steps() }
}

/// The settings of a life, and whether offsets expire in it.
fn config(sim: &Sim) -> (GroupConfig, bool) {
    let expires = sim.chance(1, 4);
    let mut config = GroupConfig {
        session_min_ms: 100,
        initial_rebalance_delay_ms: 200,
        new_member_join_timeout_ms: NEW_MEMBER_MS,
        ..GroupConfig::default()
    };
    if expires {
        config.offsets = OffsetLimits { retention_ms: RETENTION_MS as i64, ..OffsetLimits::default() };
        config.expiry_check = Duration::from_millis(700);
    }
    (config, expires)
}

fn faults(sim: &Sim) -> FaultPlan {
    let errors = if sim.chance(1, 8) { 1_500 } else { 0 };
    // On a slow disk a crash often comes between a step and its flush.
    let sync_us = if sim.chance(1, 3) { 1_000..=40_000 } else { 50..=400 };
    FaultPlan {
        sync_us,
        write_errors_per_million: errors,
        sync_errors_per_million: errors,
        capacity_bytes: sim.chance(1, 8).then(|| 90_000 + sim.random_below(150_000)),
        slow_syncs_per_million: if sim.chance(1, 4) { 20_000 } else { 0 },
        slow_sync: Duration::from_millis(200),
        garbage_sector: sim.chance(1, 2),
        ..FaultPlan::default()
    }
}

impl Life {
    async fn live(self, plan: FaultPlan) {
        self.node.start(&plan).await;
        self.start_clients(&plan);
        for _ in 0..2 + self.rt.random_below(3) {
            self.pause(300, 4_000).await;
            self.compare().await;
            self.restart(&plan).await;
        }
        self.pause(300, 3_000).await;
        self.ends.set(true);
        self.node.make_room();
        while self.busy.get() > 0 {
            self.rt.sleep(Duration::from_millis(20)).await;
            // Where the folder is offline, transactions wait for the next start.
            if self.is_offline() {
                self.restart(&FaultPlan::default()).await;
            }
        }
        self.restart(&FaultPlan::default()).await;
        self.rt.sleep(QUIET).await;
        self.check_end().await;
        self.restart(&FaultPlan::default()).await;
        self.check_end().await;
    }

    fn is_offline(&self) -> bool {
        self.node.serving().is_some_and(|serving| serving.partition.state() == PartitionState::Offline)
    }

    fn start_clients(&self, plan: &FaultPlan) {
        let is_faulty = plan.capacity_bytes.is_some() || plan.write_errors_per_million > 0;
        for _ in 0..3 {
            self.spawn(Client::new(self, GROUPS[0], None).live());
        }
        for instance in [Some(INSTANCES[0]), Some(INSTANCES[1]), None] {
            self.spawn(Client::new(self, GROUPS[1], instance).live());
        }
        if self.rt.random_below(3) == 0 {
            self.spawn(Client::new(self, GROUPS[1], Some(INSTANCES[0])).live());
        }
        self.spawn(self.clone().commit_simply());
        self.spawn(self.clone().administer());
        self.spawn(self.clone().transact(1));
        self.spawn(self.clone().transact(2));
        self.spawn(self.clone().watch(is_faulty));
    }

    fn spawn(&self, client: impl Future<Output = ()> + 'static) {
        self.busy.set(self.busy.get() + 1);
        self.rt.spawn(Queue::Foreground, client).detach();
    }

    async fn restart(&self, plan: &FaultPlan) {
        if self.is_offline() {
            self.rt.reached("restarted offline");
        }
        let end = [End::Stop, End::Kill, End::Crash, End::Crash][self.rt.random_below(4) as usize];
        self.node.end(end).await;
        self.ledger.borrow_mut().coordinator_gone(&self.undecided.borrow());
        if self.rt.random_below(2) == 0 {
            self.pause(1, 400).await;
        }
        self.node.start(plan).await;
    }

    /// Nobody is a member any more, nothing is withheld, and the offsets are there.
    async fn check_end(&self) {
        let described = self.when_loaded().await;
        for group in &described {
            assert!(group.members.is_empty(), "members beyond their sessions: {group:?}");
        }
        for group in [GROUPS[0], GROUPS[1], SIMPLE] {
            assert!(self.read(group, true).await, "offsets of {group} are withheld for good");
        }
        self.compare().await;
    }

    async fn when_loaded(&self) -> Vec<DescribedGroup> {
        let deadline = self.rt.now() + QUIET;
        loop {
            if let Some(described) = self.describe().await {
                return described;
            }
            assert!(self.rt.now() < deadline, "the coordinator does not come to serve");
            self.rt.sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a load makes of the log is what is there, if nothing was written meanwhile.
    async fn compare(&self) {
        let Some(serving) = self.node.serving() else { return };
        let partition = &serving.partition;
        let end = partition.log().offsets().end;
        if partition.state() == PartitionState::Offline || partition.high_watermark() < end {
            return;
        }
        let mut loaded = Groups::new(Rc::new(self.node.config));
        let outcome = load(&self.node.rt(), partition, &mut loaded).await;
        if partition.state() == PartitionState::Offline || partition.log().offsets().end != end {
            return;
        }
        outcome.expect("what was written can be loaded");
        let moment = Moment {
            now: self.rt.now(),
            wall_ms: self.rt.wall_ms(),
            image: self.node.image.clone(),
            log_end: end,
        };
        let compared = Cell::new(false);
        serving.runtime.each_mut(|_, live| {
            compared.set(true);
            for ((live, live_offsets), (loaded, loaded_offsets)) in
                shown(live, &moment).into_iter().zip(shown(&mut loaded, &moment))
            {
                assert_eq!(live_offsets, loaded_offsets, "a load makes the offsets that were there");
                // What a rebalance has come to is not written before it ends.
                if matches!(live.group_state.as_str(), "Stable" | "Empty" | "Dead") {
                    assert_eq!(live, loaded, "a load makes the group that was there");
                }
            }
        });
        if compared.get() {
            self.rt.reached("compared with its replay");
        }
    }
}

/// All that a machine tells of its groups, with and without what is withheld.
fn shown(groups: &mut Groups, moment: &Moment) -> Vec<(DescribedGroup, [OffsetFetchResponseGroup; 2])> {
    let mut ask = |request| {
        let mut effects = Effects::default();
        groups.handle(moment, Token(u64::MAX), request, &mut effects);
        assert!(effects.writes.is_empty(), "who looks changes nothing");
        effects.answers.remove(0).1
    };
    let mut show = |group: &str| {
        let described = ask(GroupRequest::Describe { groups: vec![group.to_owned()], version: 6 });
        let GroupAnswer::Describe(mut described) = described else { panic!("{described:?}") };
        let offsets = [false, true].map(|require_stable| {
            let request = OffsetFetchRequestGroup::default().with_group_id(GroupId(text(group)));
            let request = request.with_topics(None);
            match ask(GroupRequest::OffsetFetch { request, require_stable, version: 9 }) {
                GroupAnswer::OffsetFetch(answer) => answer,
                other => panic!("{other:?}"),
            }
        });
        (described.remove(0), offsets)
    };
    [GROUPS[0], GROUPS[1], SIMPLE].into_iter().map(&mut show).collect()
}
