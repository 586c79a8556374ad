//! The coordinator of groups under the simulator: members of classic groups, commits with and without a group and in transactions,
//! administrators, a faulty disk, crashes at random moments and what a load makes of the log. One seed is one life of a node.
//!
//! Promised is: a partition has one owner a generation; no generation comes again, and none is taken for the present one that is not;
//! no committed offset goes back unasked, whatever crashes; what a transaction commits is seen when it is decided, and if it is;
//! a load makes what was there; and nobody is a member for longer than its session. The reference is in [`ledger`]; below this there
//! is no network and no API: those are in [`crate::broker_sim`].

mod ledger;
mod life;
mod member;
mod node;
mod others;

pub use life::run_seed;

use hayate_rt::Rt;
use kafka_protocol::protocol::StrBytes;
use ledger::Ledger;
use node::Node;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// Faults and states that a campaign must have reached, each at least once.
pub const MUST_REACH: &[&str] = &[
    "assigned",
    "committed",
    "committed without a group",
    "committed in a transaction",
    "aborted in a transaction",
    "withheld while a transaction is open",
    "deleted a group",
    "deleted offsets",
    "left",
    "taken out by an administrator",
    "silent",
    "silent instead of SyncGroup",
    "stalled",
    "given up",
    "unknown member",
    "stale commit refused",
    "fenced by its twin",
    "not taken",
    "answer lost",
    "an offset has expired",
    "compared with its replay",
    "crash",
    "kill",
    "clean stop",
    "disk full",
    "log folder offline",
];

/// The topic whose offsets are committed.
const TOPIC: &str = "t";
/// Its partitions.
const PARTITIONS: i32 = 4;
/// Groups with members.
const GROUPS: [&str; 2] = ["dynamic", "static"];
/// A group that never has a member.
const SIMPLE: &str = "simple";

/// What all parts of a life share.
#[derive(Clone)]
struct Life {
    node: Rc<Node>,
    /// The clients' machine, which never crashes.
    rt: Rt,
    ledger: Rc<RefCell<Ledger>>,
    ends: Rc<Cell<bool>>,
    /// Clients that have not stopped yet.
    busy: Rc<Cell<usize>>,
    /// The values of transactions that are neither committed nor aborted.
    undecided: Rc<RefCell<Vec<i64>>>,
}

impl Life {
    fn now_ms(&self) -> u64 {
        self.rt.now().as_nanos() / 1_000_000
    }

    async fn pause(&self, from_ms: u64, to_ms: u64) {
        self.rt.sleep(Duration::from_millis(from_ms + self.rt.random_below(to_ms - from_ms))).await;
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
