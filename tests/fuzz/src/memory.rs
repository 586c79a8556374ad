//! What a call takes of memory, counted by this process's allocator for each thread: every byte asked for, and the most that was held
//! at once. An allocation that fails names the input that asked for it before the process aborts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

thread_local! {
    static ASKED_BYTES: Cell<usize> = const { Cell::new(0) };
    static HELD_BYTES: Cell<isize> = const { Cell::new(0) };
    static HELD_BYTES_MAX: Cell<isize> = const { Cell::new(0) };
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// The input that a thread is at: enough to repeat it.
#[derive(Clone, Copy, Debug)]
pub struct Current {
    /// The target's name.
    pub target: &'static str,
    /// The run's seed.
    pub seed: u64,
    /// The input's number.
    pub number: u64,
}

/// Counts, and leaves the work to the system's allocator.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes on to `System` unchanged; counting touches thread-local cells that need no allocation, being
// const-initialised and without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract, which is `System`'s too.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() {
            report_failure(layout.size());
        }
        grown(layout.size());
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD_BYTES.with(|held| held.set(held.get() - layout.size().cast_signed()));
        // SAFETY: the pointer came from `System` through `alloc` or `realloc`, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the pointer came from `System` with this layout, and the caller keeps `realloc`'s contract.
        let grown_memory = unsafe { System.realloc(memory, layout, size) };
        if grown_memory.is_null() {
            report_failure(size);
        }
        // Old and new exist side by side while one is copied to the other.
        grown(size);
        HELD_BYTES.with(|held| held.set(held.get() - layout.size().cast_signed()));
        grown_memory
    }
}

fn grown(bytes: usize) {
    ASKED_BYTES.with(|asked| asked.set(asked.get().wrapping_add(bytes)));
    let held = HELD_BYTES.with(|held| {
        held.set(held.get() + bytes.cast_signed());
        held.get()
    });
    HELD_BYTES_MAX.with(|most| most.set(most.get().max(held)));
}

/// Says whose allocation failed; allocates nothing.
fn report_failure(bytes: usize) {
    let mut stderr = std::io::stderr();
    let _ = match CURRENT.with(Cell::get) {
        Some(Current { target, seed, number }) => {
            writeln!(
                stderr,
                "FAILED {target}: {bytes} bytes could not be allocated; fuzz replay {target} {seed} {number}"
            )
        }
        None => writeln!(stderr, "FAILED: {bytes} bytes could not be allocated"),
    };
}

/// Notes the input that this thread goes on with.
pub fn note_current(current: Option<Current>) {
    CURRENT.with(|cell| cell.set(current));
}

/// Memory that a call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes asked for, freed meanwhile or not.
    pub asked_bytes: usize,
    /// The most bytes held at once.
    pub held_bytes_max: usize,
}

/// What `call` returns, and the memory that it took on this thread.
pub fn taken<T>(call: impl FnOnce() -> T) -> (T, Taken) {
    let (asked, held) = (ASKED_BYTES.with(Cell::get), HELD_BYTES.with(Cell::get));
    let outer_max = HELD_BYTES_MAX.with(|most| most.replace(held));
    let result = call();
    let asked_bytes = ASKED_BYTES.with(Cell::get).wrapping_sub(asked);
    let most = HELD_BYTES_MAX.with(Cell::get);
    HELD_BYTES_MAX.with(|cell| cell.set(outer_max.max(most)));
    (result, Taken { asked_bytes, held_bytes_max: usize::try_from(most - held).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_and_what_is_held_are_counted() {
        let (_, nothing) = taken(|| 1);
        assert_eq!(nothing, Taken::default());
        let (_, twice) = taken(|| (0..2).for_each(|_| drop(vec![0u8; 1000])));
        assert_eq!(twice, Taken { asked_bytes: 2000, held_bytes_max: 1000 });
        let (inner, outer) = taken(|| {
            let kept = vec![0u8; 300];
            let (_, inner) = taken(|| vec![0u8; 50]);
            drop(kept);
            inner
        });
        assert_eq!((inner.held_bytes_max, outer.held_bytes_max), (50, 350));
    }
}
