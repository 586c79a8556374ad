//! What hot paths allocate, counted by an allocator: nothing a record, and in the steady state the same for each request. The simulator's and the
//! client's allocations are in it, and bound it from above.

use hayate_tests::hot_paths::HotPath;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;

/// The system's, counted for each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and nobody asks for it.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: all is left to the system's allocator; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the step that follows `times` others.
fn of_one_step(path: HotPath, times: usize) -> u64 {
    let marks = Rc::new(Cell::new((0, 0)));
    let noted = marks.clone();
    path.go(times, move || noted.set((noted.get().1, COUNT.get())));
    let (before, after) = marks.get();
    after - before
}

/// Of several steps the cheapest: what now and then makes room for more is not a request's.
fn steady(path: HotPath) -> u64 {
    (40..48).map(|times| of_one_step(path, times)).min().expect("some")
}

#[test]
fn a_record_takes_no_allocation() {
    let (one, many) = (steady(HotPath::ProduceLarge), steady(HotPath::ProduceBatch));
    assert_eq!(one, many, "16 KiB in one record, and in sixteen");
}

#[test]
fn a_request_takes_as_many_as_it_is_known_to() {
    let known = [
        (HotPath::ProduceOne, 51),
        (HotPath::ProduceHop, 111),
        (HotPath::ProducePipelined, 257),
        (HotPath::FetchHot, 54),
        (HotPath::CommitOffset, 75),
    ];
    let more: Vec<String> = known
        .into_iter()
        .map(|(path, most)| (path, most, steady(path)))
        .filter(|(_, most, takes)| takes > most)
        .map(|(path, most, takes)| format!("{}: {takes} allocations, {most} are known", path.name()))
        .collect();
    assert!(more.is_empty(), "{more:#?}");
}
