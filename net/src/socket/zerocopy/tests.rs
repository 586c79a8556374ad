//! Scripts of sends and reports, and what is still held after each.

use super::*;
use std::sync::Arc;

/// A buffer that tells when it is let go.
struct Watched {
    text: &'static str,
    _alive: Arc<()>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// A ledger, and the buffers that were ever given to it.
struct Bench {
    ledger: Ledger,
    buffers: Vec<(&'static str, Arc<()>)>,
}

impl Bench {
    /// A ledger of a socket that has made so many sends before.
    fn after(sends: u32) -> Bench {
        Bench { ledger: Ledger { first: sends, ..Ledger::default() }, buffers: Vec::new() }
    }

    fn buffer(&mut self, text: &'static str) -> Bytes {
        let alive = Arc::new(());
        self.buffers.push((text, alive.clone()));
        Bytes::from_owner(Watched { text, _alive: alive })
    }

    /// Sends `pieces` whole.
    fn send(&mut self, pieces: &[&'static str]) {
        let mut rope: VecDeque<Bytes> = pieces.iter().map(|piece| self.buffer(piece)).collect();
        self.ledger.take(&mut rope, pieces.iter().map(|piece| piece.len()).sum());
        assert!(rope.is_empty());
    }

    /// The buffers that are still held.
    fn held(&self) -> String {
        let alive = self.buffers.iter().filter(|(_, alive)| Arc::strong_count(alive) > 1);
        alive.map(|(text, _)| *text).collect::<Vec<_>>().join(" ")
    }
}

/// Sends `a` to `e`, each alone, on a socket that has made `before` sends; then each report leaves these held.
fn check(before: u32, reports: &[(u32, u32, &str)]) {
    let mut bench = Bench::after(before);
    for text in ["a", "bb", "ccc", "dddd", "eeeee"] {
        bench.send(&[text]);
    }
    let total = bench.ledger.pins().held_bytes;
    assert_eq!((bench.held().as_str(), total), ("a bb ccc dddd eeeee", 15));
    for &(low, high, held) in reports {
        let numbers = (before.wrapping_add(low), before.wrapping_add(high));
        let earlier = bench.ledger.pins();
        let settled = bench.ledger.settle(numbers.0, numbers.1);
        assert_eq!(bench.held(), held, "after {low}..={high} behind {before}");
        let pins = bench.ledger.pins();
        assert_eq!(pins.held_bytes, held.split_whitespace().map(str::len).sum::<usize>());
        assert_eq!(pins.returned_bytes as usize, total - pins.held_bytes);
        assert_eq!(settled.bytes, earlier.held_bytes - pins.held_bytes);
    }
    let all_back = reports.last().is_some_and(|(.., held)| held.is_empty());
    assert_eq!((bench.ledger.is_settled(), bench.ledger.held.is_empty()), (all_back, all_back));
}

#[test]
fn a_report_lets_go_of_its_sends_and_of_no_others() {
    // Also where the kernel's number goes round.
    for before in [0, 1, u32::MAX - 5, u32::MAX - 4, u32::MAX - 2, u32::MAX, i32::MAX as u32 - 1] {
        check(before, &[(0, 0, "bb ccc dddd eeeee"), (1, 3, "eeeee"), (4, 4, "")]);
        check(before, &[(0, 4, "")]);
        check(before, &[(2, 2, "a bb dddd eeeee"), (4, 4, "a bb dddd"), (0, 1, "dddd"), (3, 3, "")]);
        check(before, &[(4, 4, "a bb ccc dddd"), (3, 3, "a bb ccc"), (1, 2, "a"), (0, 0, "")]);
    }
}

#[test]
fn numbers_that_are_not_open_change_nothing() {
    let all = "a bb ccc dddd eeeee";
    for before in [0, 7, u32::MAX - 1] {
        check(before, &[(5, 9, all), (u32::MAX - 3, u32::MAX, all), (3, 2, all), (9, 1, all)]);
        check(before, &[(1, 2, "a dddd eeeee"), (1, 2, "a dddd eeeee"), (0, 3, "eeeee"), (3, 40, "")]);
        check(before, &[(0, 1, "ccc dddd eeeee"), (0, 1, "ccc dddd eeeee"), (u32::MAX, 2, "dddd eeeee")]);
    }
}

#[test]
fn a_send_holds_all_of_its_pieces_and_what_was_not_sent_stays_in_the_rope() {
    let mut bench = Bench::after(0);
    let mut rope: VecDeque<Bytes> = ["head", "records", "tail"].map(|text| bench.buffer(text)).into();
    bench.ledger.take(&mut rope, 6);
    assert_eq!(rope, ["cords", "tail"]);
    bench.ledger.take(&mut rope, 9);
    assert!(rope.is_empty());
    assert_eq!(bench.ledger.settle(1, 1), Settled { sends: 1, bytes: 9 });
    assert_eq!(bench.held(), "head records", "the first send's half holds the buffer");
    assert_eq!(bench.ledger.settle(0, 0), Settled { sends: 1, bytes: 6 });
    assert_eq!((bench.held().as_str(), bench.ledger.is_settled()), ("", true));
    bench.send(&["later"]);
    assert_eq!(bench.ledger.settle(2, 2), Settled { sends: 1, bytes: 5 });
}

#[test]
fn what_is_leaked_is_never_let_go() {
    let mut bench = Bench::after(0);
    bench.send(&["under", "way"]);
    bench.ledger.leak();
    bench.ledger = Ledger::default();
    assert_eq!(bench.held(), "under way");
}

/// What happens to a connection, and what is wanted of a large send after it.
enum Event {
    Sent,
    Reported { copied: bool, falls_back: bool },
}

#[test]
fn a_connection_tries_goes_on_or_falls_back_for_good() {
    use Event::{Reported, Sent};
    use ZerocopyMode::{Auto, Force, Off, On};
    let report = |copied, falls_back| Reported { copied, falls_back };
    for (mode, at_first, events) in [
        (Off, false, vec![]),
        (Auto, true, vec![(Sent, false), (report(false, false), true), (Sent, true), (Sent, true)]),
        (Auto, true, vec![(Sent, false), (report(true, true), false), (report(false, false), false)]),
        (Auto, true, vec![(Sent, false), (report(false, false), true), (report(true, true), false)]),
        (On, true, vec![(Sent, true), (report(false, false), true), (report(true, true), false)]),
        (On, true, vec![(Sent, true), (report(true, true), false), (report(true, false), false)]),
        (Force, true, vec![(Sent, true), (report(true, false), true), (Sent, true)]),
    ] {
        let mut policy = Policy::new(ZerocopyOptions { mode, bytes_min: 10_000 });
        assert_eq!(policy.wants(1 << 20, 1), at_first, "{mode:?}");
        for (number, (event, wanted)) in events.into_iter().enumerate() {
            match event {
                Sent => policy.sent(),
                Reported { copied, falls_back } => assert_eq!(policy.reported(copied), falls_back),
            }
            assert_eq!(policy.wants(1 << 20, 1), wanted, "{mode:?}, event {number}");
        }
    }
}

#[test]
fn small_sends_and_sends_of_small_pieces_are_ordinary() {
    let policy = Policy::new(ZerocopyOptions { mode: ZerocopyMode::Force, bytes_min: 10_000 });
    for (bytes, pieces, wanted) in
        [(9_999, 1, false), (10_000, 1, true), (10_000, 3, false), (12_288, 3, true), (200_000, 64, false)]
    {
        assert_eq!(policy.wants(bytes, pieces), wanted, "{bytes} bytes in {pieces} pieces");
    }
    let mut policy = Policy::new(ZerocopyOptions { mode: ZerocopyMode::Force, bytes_min: 0 });
    policy.give_up();
    assert!(!policy.wants(1 << 20, 1));
}

#[test]
fn an_account_adds_up_and_tells_when_what_is_pinned_changes() {
    let account = Account::default();
    let told = Rc::new(RefCell::new(Vec::new()));
    account.pin(5);
    let telling = told.clone();
    account.watch(Rc::new(move |bytes| telling.borrow_mut().push(bytes)));
    account.pin(10);
    account.refuse();
    account.unpin(Settled { sends: 1, bytes: 5 }, false, false);
    account.unpin(Settled { sends: 1, bytes: 10 }, true, true);
    assert_eq!(*told.borrow(), [5, 15, 10, 0]);
    let expected = ZerocopyFigures {
        sends: 2,
        bytes: 15,
        completions: 2,
        copied: 1,
        fallbacks: 1,
        refusals: 1,
        pinned_bytes: 0,
    };
    assert_eq!(account.figures(), expected);
}
