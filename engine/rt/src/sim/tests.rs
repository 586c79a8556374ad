//! The simulator is itself tested: replay, crashes, cancellation, virtual time.

use super::*;
use crate::{Queue, Rt};

const NODE: NodeId = NodeId(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Several tasks that draw, sleep and count; returns what they did and the digest of the run.
fn busy_run(seed: u64) -> (Vec<u64>, u64) {
    let sim = Sim::new(seed);
    let rt = Rt::sim(sim.node(NODE));
    let seen = Rc::new(RefCell::new(Vec::new()));
    for worker in 0..8 {
        let (rt, seen) = (rt.clone(), seen.clone());
        let task = rt.clone().spawn(Queue::Foreground, async move {
            for _ in 0..20 {
                rt.sleep(Duration::from_micros(rt.random_below(50))).await;
                seen.borrow_mut().push(worker);
            }
        });
        task.detach();
    }
    let world = sim.clone();
    sim.run(HOUR, async move { world.sleep(Duration::from_secs(1)).await }).unwrap();
    let seen = seen.borrow().clone();
    (seen, sim.trace_hash())
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    assert_eq!(busy_run(42), busy_run(42));
    assert_ne!(busy_run(42).1, busy_run(43).1);
}

#[test]
fn time_jumps_instead_of_passing() {
    let sim = Sim::new(1);
    let rt = Rt::sim(sim.node(NODE));
    let slept = rt.clone();
    sim.run(HOUR * 2, async move { slept.sleep(HOUR).await }).unwrap();
    assert!(rt.now().as_nanos() >= HOUR.as_nanos() as u64);
}

#[test]
fn a_crash_drops_the_tasks_and_timers_of_its_node_only() {
    let sim = Sim::new(2);
    let (victim, other) = (Rt::sim(sim.node(NODE)), Rt::sim(sim.node(NodeId(2))));
    let done = Rc::new(RefCell::new(Vec::new()));
    for (name, rt) in [("victim", victim), ("other", other)] {
        let (done, sleeper) = (done.clone(), rt.clone());
        let task = rt.spawn(Queue::Foreground, async move {
            sleeper.sleep(Duration::from_millis(5)).await;
            done.borrow_mut().push(name);
        });
        task.detach();
    }
    let world = sim.clone();
    sim.run(HOUR, async move {
        world.sleep(Duration::from_millis(1)).await;
        world.crash(NODE);
        world.sleep(Duration::from_millis(20)).await;
    })
    .unwrap();
    assert_eq!(*done.borrow(), ["other"]);
}

#[test]
fn a_crash_is_counted_in_the_phase_it_hits() {
    let sim = Sim::new(3);
    let rt = Rt::sim(sim.node(NODE));
    let inside = rt.clone();
    rt.spawn(Queue::Foreground, async move {
        let _phase = inside.phase("rolling");
        inside.sleep(HOUR).await;
    })
    .detach();
    let world = sim.clone();
    sim.run(HOUR, async move {
        world.sleep(Duration::from_millis(1)).await;
        world.crash(NODE);
    })
    .unwrap();
    assert_eq!(sim.counts().get("crash in rolling"), Some(&1));
}

#[test]
fn dropping_a_task_cancels_it_and_detaching_does_not() {
    let sim = Sim::new(4);
    let rt = Rt::sim(sim.node(NODE));
    let done = Rc::new(RefCell::new(Vec::new()));
    let start = |name: &'static str| {
        let (done, sleeper) = (done.clone(), rt.clone());
        rt.spawn(Queue::Background, async move {
            sleeper.sleep(Duration::from_millis(1)).await;
            done.borrow_mut().push(name);
        })
    };
    drop(start("cancelled"));
    start("detached").detach();
    let awaited = start("awaited");
    let sleeper = rt.clone();
    sim.run(HOUR, async move {
        awaited.await;
        sleeper.sleep(Duration::from_millis(5)).await;
    })
    .unwrap();
    done.borrow_mut().sort_unstable();
    assert_eq!(*done.borrow(), ["awaited", "detached"]);
}

#[test]
fn a_future_that_nothing_can_wake_is_reported() {
    let sim = Sim::new(5);
    assert_eq!(sim.run(HOUR, std::future::pending::<()>()), Err(Stalled::Deadlock));
}

#[test]
fn a_timeout_drops_what_is_late() {
    let sim = Sim::new(6);
    let rt = Rt::sim(sim.node(NODE));
    let outcome = sim.run(HOUR, async move {
        let late = rt.timeout(Duration::from_millis(1), rt.sleep(HOUR)).await;
        let early = rt.timeout(HOUR, async { 7 }).await;
        (late, early)
    });
    assert_eq!(outcome, Ok((Err(crate::timer::Elapsed), Ok(7))));
}
