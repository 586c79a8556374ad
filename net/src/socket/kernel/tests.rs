//! What is sent without a copy arrives as it was sent, although its memory is overwritten the moment it is let go. The fallback is off:
//! on loopback, where the kernel copies when a segment leaves, what waits in the send queue is still the sender's memory.

use super::*;
use crate::socket::zerocopy::ZerocopyMode;
use crate::socket::{Network, NetworkInner, Socket, SocketInner};
use hayate_rt::notify::Notify;
use hayate_rt::{Queue, Rt};
use nix::sys::socket::{MsgFlags, sendmsg};
use std::future::Future;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};

mod listening;
mod veth;

const SLOT_BYTES: usize = 128 << 10;
const SLOTS: usize = 8;
/// What a slot is overwritten with when it is let go.
const GARBAGE: u8 = 0xEE;
const FORCED: ZerocopyOptions = ZerocopyOptions { mode: ZerocopyMode::Force, bytes_min: 1 };

type Home = Arc<Mutex<Vec<Box<[u8]>>>>;

/// Memory that is used again and again.
struct Slot {
    memory: Box<[u8]>,
    home: Home,
}

impl AsRef<[u8]> for Slot {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        memory.fill(GARBAGE);
        self.home.lock().unwrap().push(memory);
    }
}

/// The byte at a position of the stream: never garbage.
fn pattern(position: usize) -> u8 {
    ((position % 199) ^ ((position >> 12) % 7)) as u8
}

fn assert_intact(received: &[u8], from: usize) {
    let wrong = received.iter().enumerate().find(|&(at, byte)| *byte != pattern(from + at));
    assert_eq!(wrong, None, "behind {from}");
}

/// A connection whose sender lends its memory, and the slots that it sends from.
struct Bench {
    rt: Rt,
    network: Network,
    sender: Socket,
    reader: Socket,
    slots: Home,
    returned: Rc<Notify>,
}

impl Bench {
    fn new(network: Network, sender: KernelSocket, reader: KernelSocket) -> Bench {
        let returned = Rc::new(Notify::default());
        let told = returned.clone();
        network.watch_pins(Rc::new(move |_| told.notify()));
        let slots: Vec<Box<[u8]>> =
            (0..SLOTS).map(|_| vec![GARBAGE; SLOT_BYTES].into_boxed_slice()).collect();
        let socket = |socket| Socket { inner: SocketInner::Kernel(socket) };
        Bench {
            rt: Rt::kernel(),
            network,
            sender: socket(sender),
            reader: socket(reader),
            slots: Arc::new(Mutex::new(slots)),
            returned,
        }
    }

    async fn on_loopback() -> Bench {
        let network = Network::kernel_with(FORCED);
        let NetworkInner::Kernel(kernel) = network.inner.clone() else {
            unreachable!("the kernel's was made")
        };
        let listener = listening::on_loopback(&kernel).unwrap();
        let reader = KernelSocket::connect(listener.local_addr().unwrap(), &kernel).await.unwrap();
        let (sender, _) = listener.accept().await.unwrap();
        Bench::new(network, sender, reader)
    }

    /// A slot filled with what belongs at `position`, once one is free.
    async fn filled(&self, position: usize) -> Bytes {
        loop {
            let returned = self.returned.notified();
            if let Some(slot) = self.free_slot(position) {
                return slot;
            }
            returned.await;
        }
    }

    fn free_slot(&self, position: usize) -> Option<Bytes> {
        let mut memory = self.slots.lock().unwrap().pop()?;
        memory.iter_mut().enumerate().for_each(|(at, byte)| *byte = pattern(position + at));
        Some(Bytes::from_owner(Slot { memory, home: self.slots.clone() }))
    }

    /// Sends every free slot; all of them are then lent, and in part still unsent.
    async fn lend_all(&self) {
        for slot in 0..SLOTS {
            let mut rope = VecDeque::from([self.filled(slot * SLOT_BYTES).await]);
            self.sender.write_rope(&mut rope).await.unwrap();
        }
        assert_ne!(self.sender.pins().held_bytes, 0);
    }

    /// Reads to the end, in small portions, and checks all of it; the count.
    async fn read_slowly(&self, from: usize) -> Result<usize, SocketError> {
        let mut position = from;
        loop {
            let mut part = BytesMut::with_capacity(3000);
            if self.reader.read_into(&mut part).await? == 0 {
                return Ok(position);
            }
            assert_intact(&part, position);
            position += part.len();
            self.rt.yield_now().await;
        }
    }

    /// Waits until nothing is lent any more.
    async fn all_back(&self) {
        loop {
            let returned = self.returned.notified();
            if self.network.zerocopy_figures().pinned_bytes == 0 {
                break;
            }
            returned.await;
        }
        assert_eq!(self.slots.lock().unwrap().len(), SLOTS);
    }
}

fn run<F: Future<Output = ()> + 'static>(scenario: impl FnOnce() -> F + 'static) {
    let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20).make().unwrap();
    executor.run(async move { scenario().await });
}

/// Sends many times the memory of all slots to a slow reader; so many slots were sent already.
async fn check_reuse(bench: Bench, lent: usize) {
    const TOTAL: usize = 10 * SLOTS * SLOT_BYTES;
    let bench = Rc::new(bench);
    let sending = bench.clone();
    let sender = bench.rt.spawn(Queue::Foreground, async move {
        for position in (lent * SLOT_BYTES..TOTAL).step_by(SLOT_BYTES) {
            let mut rope = VecDeque::from([sending.filled(position).await]);
            assert_eq!(sending.sender.write_rope(&mut rope).await, Ok(SLOT_BYTES as u64));
        }
        sending.sender.shutdown();
    });
    assert_eq!(bench.read_slowly(0).await, Ok(TOTAL));
    sender.await;
    bench.all_back().await;
    let figures = bench.network.zerocopy_figures();
    assert_eq!((figures.completions, figures.fallbacks), (figures.sends, 0));
    // The ends of slots that the socket took in two parts may be too small.
    assert!(figures.bytes > TOTAL as u64 / 2, "{figures:?}");
    println!("{figures:?}");
}

#[test]
fn memory_that_is_used_again_at_once_arrives_as_it_was_sent() {
    run(async || {
        let bench = Bench::on_loopback().await;
        bench.lend_all().await;
        check_reuse(bench, SLOTS).await;
    });
}

/// What the other tests would see if anything were let go too early.
#[test]
fn memory_that_is_overwritten_before_the_kernel_is_done_arrives_overwritten() {
    run(async || {
        let bench = Bench::on_loopback().await;
        let SocketInner::Kernel(sender) = &bench.sender.inner else { unreachable!("the kernel's was made") };
        setsockopt(sender.stream().fd.get_ref(), stream::ZeroCopy, &true).unwrap();
        let mut memory: Vec<u8> = (0..SLOTS * SLOT_BYTES).map(pattern).collect();
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::from_bits_retain(libc::MSG_ZEROCOPY);
        let sent = sendmsg::<()>(sender.stream().fd.as_raw_fd(), &[IoSlice::new(&memory)], &[], flags, None);
        let sent = sent.unwrap();
        memory.fill(GARBAGE);
        std::hint::black_box(&memory);
        bench.sender.shutdown();
        let mut received = BytesMut::with_capacity(sent);
        while received.len() < sent {
            received.reserve(sent - received.len());
            bench.reader.read_into(&mut received).await.unwrap();
        }
        assert!(
            received.contains(&GARBAGE),
            "{sent} bytes were copied at once: the other tests prove nothing"
        );
    });
}

#[test]
fn a_reset_gives_everything_back_and_what_came_before_is_intact() {
    run(async || {
        let bench = Bench::on_loopback().await;
        bench.lend_all().await;
        bench.sender.abort();
        bench.all_back().await;
        assert_eq!(bench.read_slowly(0).await, Err(SocketError::Closed));
    });
}

#[test]
fn a_peer_that_resets_gives_everything_back() {
    run(async || {
        let bench = Bench::on_loopback().await;
        bench.lend_all().await;
        bench.reader.abort();
        bench.all_back().await;
        let mut rope = VecDeque::from([Bytes::from_static(b"late")]);
        assert_eq!(bench.sender.write_rope(&mut rope).await, Err(SocketError::Closed));
    });
}

#[test]
fn a_send_that_is_given_up_leaves_its_memory_lent_until_it_is_taken() {
    run(async || {
        let bench = Bench::on_loopback().await;
        // More than send buffers take: the write waits for ever, and is dropped there.
        let first = bench.free_slot(0).unwrap();
        let mut rope: VecDeque<Bytes> = (0..1000).map(|_| first.clone()).collect();
        let patience = std::time::Duration::from_millis(1);
        assert!(bench.rt.timeout(patience, bench.sender.write_rope(&mut rope)).await.is_err());
        drop((rope, first));
        assert_eq!(bench.slots.lock().unwrap().len(), SLOTS - 1, "it is lent");
        bench.sender.shutdown();
        let mut received = Vec::new();
        loop {
            let mut part = BytesMut::with_capacity(64 << 10);
            if bench.reader.read_into(&mut part).await.unwrap() == 0 {
                break;
            }
            received.extend_from_slice(&part);
        }
        received.chunks(SLOT_BYTES).for_each(|slot| assert_intact(slot, 0));
        bench.all_back().await;
    });
}

/// Drops the sender's last handle while its memory is lent.
fn close_sender(bench: Bench) -> Bench {
    let Bench { rt, network, sender, reader, slots, returned } = bench;
    let unused = reader.clone();
    drop(sender);
    assert_ne!(network.zerocopy_figures().pinned_bytes, 0, "it is still lent");
    Bench { rt, network, sender: unused, reader, slots, returned }
}

#[test]
fn a_closed_socket_sends_what_is_left_and_ends_the_stream() {
    run(async || {
        let bench = Bench::on_loopback().await;
        bench.lend_all().await;
        let bench = close_sender(bench);
        assert_eq!(bench.read_slowly(0).await, Ok(SLOTS * SLOT_BYTES));
        bench.all_back().await;
    });
}

#[test]
fn a_closed_socket_whose_peer_takes_nothing_is_reset_and_gives_everything_back() {
    run(async || {
        let bench = Bench::on_loopback().await;
        bench.lend_all().await;
        let bench = close_sender(bench);
        let NetworkInner::Kernel(kernel) = bench.network.inner.clone() else {
            unreachable!("it is the kernel's")
        };
        for _ in 0..completions::LINGER_LOOKS_MAX {
            assert_ne!(bench.network.zerocopy_figures().pinned_bytes, 0, "it has its time");
            kernel.completions.look_after_lingering();
        }
        bench.all_back().await;
        assert_eq!(bench.read_slowly(0).await, Err(SocketError::Closed));
    });
}

#[test]
fn a_stream_that_cannot_be_waited_for_is_reset_before_its_memory_is_let_go() {
    run(async || {
        let bench = Bench::on_loopback().await;
        bench.lend_all().await;
        let bench = close_sender(bench);
        let NetworkInner::Kernel(kernel) = bench.network.inner.clone() else {
            unreachable!("it is the kernel's")
        };
        kernel.completions.abandon();
        assert_eq!(bench.slots.lock().unwrap().len(), SLOTS);
        assert_eq!(bench.read_slowly(0).await, Err(SocketError::Closed));
    });
}

#[test]
fn on_loopback_a_connection_falls_back_after_its_trial() {
    run(async || {
        for (mode, sends) in [(ZerocopyMode::Auto, 1), (ZerocopyMode::Off, 0)] {
            let options = ZerocopyOptions { mode, bytes_min: SLOT_BYTES };
            let kernel = KernelNetwork::new(options);
            let listener = listening::on_loopback(&kernel).unwrap();
            let reader = KernelSocket::connect(listener.local_addr().unwrap(), &kernel).await.unwrap();
            let (sender, _) = listener.accept().await.unwrap();
            let network = Network { inner: NetworkInner::Kernel(kernel) };
            let bench = Rc::new(Bench::new(network, sender, reader));
            let sending = bench.clone();
            let task = bench.rt.spawn(Queue::Foreground, async move {
                for slot in 0..SLOTS * 4 {
                    let mut rope = VecDeque::from([sending.filled(slot * SLOT_BYTES).await]);
                    sending.sender.write_rope(&mut rope).await.unwrap();
                }
                sending.sender.shutdown();
            });
            assert_eq!(bench.read_slowly(0).await, Ok(4 * SLOTS * SLOT_BYTES));
            task.await;
            bench.all_back().await;
            let figures = bench.network.zerocopy_figures();
            assert_eq!((figures.sends, figures.copied, figures.fallbacks), (sends, sends, sends), "{mode:?}");
        }
    });
}
