//! What it costs to know where a request's time went: nanoseconds a produce request, for its stamps and its recording, and of a look
//! at the clock. `cargo bench -p hayate-engine --bench stages`; prints the median of 21 rounds.

use hayate_engine::metrics::{AppendTimes, Metrics, RequestTimes, SlowestAppend, Stage, Stages};
use hayate_rt::MonoTime;
use hayate_rt::kernel::now;
use hayate_storage::log::GroupTimes;
use std::hint::black_box;
use std::time::Duration;

const ROUNDS: usize = 21;
const CALLS: u64 = 200_000;

/// Prints what a call costs.
fn bench(name: &str, mut call: impl FnMut(u64)) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = now();
            (0..CALLS).for_each(|number| call(black_box(number)));
            now().since(began).as_nanos() as f64 / CALLS as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:<44} {:>9.1} ns", rounds[ROUNDS / 2]);
}

/// The stages of a produce request that begins at `number` microseconds; each takes another time each time.
fn stages(number: u64) -> Stages {
    let at = |step: u64| MonoTime::from_nanos(number * 1_000 + step * (1 << (number % 12)));
    let mut stages = Stages::new(at(0), at(1));
    stages.until(Stage::Queue, at(2));
    let mut times = AppendTimes::default();
    times.note_copy(at(3), at(4));
    times.note_group(Some(GroupTimes { taken: at(6), flushed: at(100) }));
    let mut slowest = SlowestAppend::default();
    slowest.note(times, None);
    stages.appended(&slowest);
    stages.answered(at(103));
    stages.until(Stage::Respond, at(104));
    stages.until(Stage::Send, at(110));
    stages
}

fn main() {
    let metrics = Metrics::new(1);
    let shard = metrics.shard(0);
    let at = MonoTime::from_nanos;
    let none = Stages::new(at(0), at(0));
    let times = |number: u64| RequestTimes {
        dispatch_nanos: number & 0xfff,
        wait_nanos: number & 0xfffff,
        send_nanos: number & 0x1fff,
    };
    bench("a look at the clock", |_| {
        black_box(now());
    });
    bench("stamps of a produce request", |number| {
        black_box(stages(number));
    });
    bench("recording a request without its stages", |number| {
        shard.request_done(0, &times(number), black_box(&none));
    });
    bench("stamps and recording of a produce request", |number| {
        shard.request_done(0, &times(number), black_box(&stages(number)));
    });
    assert!(metrics.stages()["Produce"].total.count() >= CALLS && Duration::ZERO < now().since(at(0)));
}
