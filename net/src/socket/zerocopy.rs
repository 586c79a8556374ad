//! Sending without a copy in the kernel (`MSG_ZEROCOPY`): what is decided and remembered, without a system call.
//!
//! A [`Ledger`] a socket owns the buffers that the kernel still sends from, by the numbers that the kernel gives such sends; a
//! [`Policy`] a socket says which sends are worth it and falls back where the kernel copies all the same; an [`Account`] a shard adds
//! up. Source: the kernel's `Documentation/networking/msg_zerocopy.rst`.

use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// What a pinned page costs beside its bytes makes sends of smaller pieces than this on average not worth it.
const PIECE_BYTES_MIN: usize = 4 << 10;

/// Whether sockets send from the buffers themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZerocopyMode {
    /// Never.
    Off,
    /// A connection tries once, and goes on if the kernel did not copy.
    Auto,
    /// From the first send on, until the kernel says that it copied.
    On,
    /// Always, whatever the kernel says: for tests and measurements.
    Force,
}

/// How sockets send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZerocopyOptions {
    /// Whether they send from the buffers themselves.
    pub mode: ZerocopyMode,
    /// The fewest bytes of one system call for which they do.
    pub bytes_min: usize,
}

impl ZerocopyOptions {
    /// Ordinary sends alone.
    pub const OFF: ZerocopyOptions = ZerocopyOptions { mode: ZerocopyMode::Off, bytes_min: usize::MAX };
}

/// What is known of a connection's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Nothing yet: the next send that is large enough tries it.
    Untried,
    /// That send is under way; others are ordinary until the kernel reports on it.
    OnTrial,
    /// The kernel does not copy, or was told to be believed so.
    Free,
    /// The kernel copies, or this is switched off: ordinary sends for good.
    Copies,
}

/// Which sends of one connection go out from the buffers themselves.
#[derive(Debug)]
pub(super) struct Policy {
    path: Path,
    falls_back: bool,
    bytes_min: usize,
}

impl Policy {
    pub(super) fn new(options: ZerocopyOptions) -> Policy {
        let path = match options.mode {
            ZerocopyMode::Off => Path::Copies,
            ZerocopyMode::Auto => Path::Untried,
            ZerocopyMode::On | ZerocopyMode::Force => Path::Free,
        };
        let falls_back = options.mode != ZerocopyMode::Force;
        Policy { path, falls_back, bytes_min: options.bytes_min }
    }

    /// Whether a send of so many bytes in so many pieces is to go out from the buffers themselves.
    pub(super) fn wants(&self, bytes: usize, pieces: usize) -> bool {
        let may = match self.path {
            Path::Untried | Path::Free => true,
            Path::OnTrial | Path::Copies => false,
        };
        may && bytes >= self.bytes_min.max(pieces.saturating_mul(PIECE_BYTES_MIN))
    }

    /// Such a send was begun.
    pub(super) fn sent(&mut self) {
        if self.path == Path::Untried {
            self.path = Path::OnTrial;
        }
    }

    /// The kernel is done with such a send; true when this connection falls back now.
    pub(super) fn reported(&mut self, copied: bool) -> bool {
        let falls_back = copied && self.falls_back && self.path != Path::Copies;
        self.path = match self.path {
            _ if falls_back => Path::Copies,
            Path::Untried | Path::OnTrial | Path::Free => Path::Free,
            Path::Copies => Path::Copies,
        };
        falls_back
    }

    /// The kernel does not know such sends on this socket.
    pub(super) fn give_up(&mut self) {
        self.path = Path::Copies;
    }
}

/// One send that the kernel numbered.
#[derive(Debug)]
struct Numbered {
    pieces: usize,
    bytes: usize,
    is_open: bool,
}

/// The buffers of a socket that the kernel still sends from.
///
/// The kernel counts the sends of a socket from 0 in 32 bits, and reports ranges of these numbers, in any order.
///
/// ```text
///   sends   first: 7 │ 2 pieces, open │ 1 piece, done │ 1 piece, open
///   held             │ a       b      │ (empty)       │ c
/// ```
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Number of the oldest send.
    first: u32,
    /// From the oldest that is open to the newest.
    sends: VecDeque<Numbered>,
    /// The pieces of all of them in order. Those of a send that is done are empty.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    returned_bytes: u64,
}

/// What a report of the kernel settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) sends: u64,
    pub(super) bytes: usize,
}

impl Ledger {
    /// Takes over the first `bytes` of `rope`, which the kernel has just taken as one send; they are no longer in the rope.
    ///
    /// # Panics
    /// When the rope is shorter: the kernel took what it was given.
    pub(super) fn take(&mut self, rope: &mut VecDeque<Bytes>, bytes: usize) {
        let (mut left, mut pieces) = (bytes, 0);
        while left > 0 {
            let front = rope.front_mut().expect("no more was sent than the rope holds");
            let piece = if front.len() > left { front.split_to(left) } else { std::mem::take(front) };
            left -= piece.len();
            if front.is_empty() {
                rope.pop_front();
            }
            pieces += 1;
            self.held.push_back(piece);
        }
        self.sends.push_back(Numbered { pieces, bytes, is_open: true });
        self.held_bytes += bytes;
    }

    /// The kernel is done with the sends from `low` to `high`, both counted: their buffers are let go. Numbers that are not open do
    /// not count.
    pub(super) fn settle(&mut self, low: u32, high: u32) -> Settled {
        // Far fewer than 2^31 are open at a time, so that the sign says on which side of the oldest a number is.
        let place = |number: u32| i64::from(number.wrapping_sub(self.first).cast_signed());
        let (from, to) = (place(low).max(0), place(high).min(self.sends.len() as i64 - 1));
        let mut settled = Settled::default();
        let mut at = 0;
        for (number, send) in (0..=to).zip(&mut self.sends) {
            if number >= from && send.is_open {
                send.is_open = false;
                settled.sends += 1;
                settled.bytes += send.bytes;
                self.held.range_mut(at..at + send.pieces).for_each(|piece| *piece = Bytes::new());
            }
            at += send.pieces;
        }
        self.held_bytes -= settled.bytes;
        self.returned_bytes += settled.bytes as u64;
        self.forget_settled();
        settled
    }

    /// Drops the oldest sends as far as they are done.
    fn forget_settled(&mut self) {
        while let Some(oldest) = self.sends.pop_front_if(|send| !send.is_open) {
            self.held.drain(..oldest.pieces);
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Whether the kernel is done with everything.
    pub(super) fn is_settled(&self) -> bool {
        self.sends.is_empty()
    }

    pub(super) fn pins(&self) -> Pins {
        Pins { held_bytes: self.held_bytes, returned_bytes: self.returned_bytes }
    }

    /// Never gives back what is still held: for when nobody will hear of the kernel's being done with it.
    pub(super) fn leak(&mut self) {
        self.held.drain(..).for_each(std::mem::forget);
        self.sends.clear();
    }
}

/// What the kernel sends from this process's buffers, of one socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Bytes that must stay where they are.
    pub held_bytes: usize,
    /// Bytes that were given back since the beginning.
    pub returned_bytes: u64,
}

/// What a shard's sockets did without a copy in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZerocopyFigures {
    /// System calls that sent from the buffers themselves.
    pub sends: u64,
    /// Bytes that they sent.
    pub bytes: u64,
    /// Of these sends, those that the kernel is done with.
    pub completions: u64,
    /// Of those, the ones that it copied all the same.
    pub copied: u64,
    /// Connections that went back to ordinary sends.
    pub fallbacks: u64,
    /// Sends that the kernel had no room to pin, and that were sent ordinarily.
    pub refusals: u64,
    /// Bytes that are pinned now.
    pub pinned_bytes: usize,
}

/// Is told how many bytes are pinned, whenever that changes.
pub type PinWatch = Rc<dyn Fn(usize)>;

/// The sum over a shard's sockets.
#[derive(Default)]
pub(super) struct Account {
    figures: Cell<ZerocopyFigures>,
    watch: RefCell<Option<PinWatch>>,
}

impl Account {
    pub(super) fn figures(&self) -> ZerocopyFigures {
        self.figures.get()
    }

    pub(super) fn watch(&self, watch: PinWatch) {
        watch(self.figures.get().pinned_bytes);
        *self.watch.borrow_mut() = Some(watch);
    }

    fn change(&self, change: impl FnOnce(&mut ZerocopyFigures)) {
        let mut figures = self.figures.get();
        let before = figures.pinned_bytes;
        change(&mut figures);
        self.figures.set(figures);
        let watch = self.watch.borrow().clone();
        if let Some(watch) = watch.filter(|_| figures.pinned_bytes != before) {
            watch(figures.pinned_bytes);
        }
    }

    /// A send went out from the buffers themselves.
    pub(super) fn pin(&self, bytes: usize) {
        self.change(|figures| {
            figures.sends += 1;
            figures.bytes += bytes as u64;
            figures.pinned_bytes += bytes;
        });
    }

    /// The kernel is done with some.
    pub(super) fn unpin(&self, settled: Settled, copied: bool, fell_back: bool) {
        self.change(|figures| {
            figures.completions += settled.sends;
            figures.copied += if copied { settled.sends } else { 0 };
            figures.fallbacks += u64::from(fell_back);
            figures.pinned_bytes -= settled.bytes;
        });
    }

    /// The kernel had no room for one.
    pub(super) fn refuse(&self) {
        self.change(|figures| figures.refusals += 1);
    }
}

#[cfg(test)]
mod tests;
