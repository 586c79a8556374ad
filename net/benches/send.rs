//! What it costs to send: ordinary vectored sends, sends from the buffers themselves (`MSG_ZEROCOPY`), and splice from a file, over
//! loopback and over a veth pair. Not a test: figures depend on the machine, and are compared only within one run.
//!
//! `cargo bench -p hayate-net --bench send [-- FOLDER]`. The folder is where the file for the cold patterns is made; it must have
//! direct IO and defaults to the build's own. The veth pair needs `unshare`, `ip` and the right to make a user namespace:
//! `unshare --user --map-root-user --net -- FILE --bench FOLDER veth`, FILE being what the line above built.
//!
//! Printed: bytes a second, and CPU milliseconds of the sending thread for each GiB: what the kernel copies in that thread's system
//! calls counts, over loopback with the receiving side of the stack. The peer is a thread that discards what comes without a copy.

use bytes::Bytes;
use hayate_net::socket::{Network, Socket, ZerocopyMode, ZerocopyOptions};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::Pid;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const SPAN: Duration = Duration::from_millis(1500);
const FILE_BYTES: u64 = 128 << 20;
const PAGE: usize = 4096;
/// Bytes of one send.
const SIZES: [usize; 6] = [16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20];
const HERE: &str = "10.98.0.1";
const THERE: &str = "10.98.0.2";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Memory, ordinary sends.
    Copied,
    /// Memory, `MSG_ZEROCOPY`.
    Lent,
    /// Memory, as a broker does by default.
    Auto,
    /// A direct read into memory, then an ordinary send.
    ReadCopied,
    /// A direct read into memory, then `MSG_ZEROCOPY`.
    ReadLent,
    /// From the file through a pipe to the socket.
    Splice,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Copied, "hot, copied"),
    (Kind::Lent, "hot, zerocopy"),
    (Kind::Auto, "hot, auto"),
    (Kind::ReadCopied, "cold, copied"),
    (Kind::ReadLent, "cold, zerocopy"),
    (Kind::Splice, "cold, splice"),
];

/// Page-aligned memory, as chunks and read buffers are.
struct Pages {
    start: *mut u8,
    layout: Layout,
}

// SAFETY: `Pages` owns its memory alone; the global allocator frees from any thread.
unsafe impl Send for Pages {}

impl Pages {
    fn new(bytes: usize) -> Pages {
        let layout = Layout::from_size_align(bytes, PAGE).expect("a small size");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        assert!(!start.is_null(), "there is memory");
        Pages { start, layout }
    }

    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is this long, initialised, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.layout.size()) }
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the memory is this long and initialised; nobody writes while it is shared.
        unsafe { std::slice::from_raw_parts(self.start, self.layout.size()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout and is freed once.
        unsafe { dealloc(self.start, self.layout) }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time, outside the simulator")]
fn now() -> Instant {
    Instant::now()
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let mut spent = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut spent) };
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// Discards what comes on every connection without a copy, on the second core.
#[expect(clippy::disallowed_methods, reason = "the peer of a benchmark is a thread of its own")]
fn discard(listener: TcpListener) {
    std::thread::spawn(move || {
        let mut other = CpuSet::new();
        other.set(1).expect("a small number");
        // On a machine of one core it stays on that.
        let _ = sched_setaffinity(Pid::from_raw(0), &other);
        for stream in listener.incoming().flatten() {
            // SAFETY: with MSG_TRUNC a TCP socket drops the bytes and writes to no memory (tcp(7)).
            let discard = move || unsafe {
                libc::recv(stream.as_raw_fd(), std::ptr::null_mut(), 1 << 20, libc::MSG_TRUNC)
            };
            std::thread::spawn(move || while discard() > 0 {});
        }
    });
}

fn command(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap_or_default()).args(words).status();
    assert!(status.is_ok_and(|status| status.success()), "{line}");
}

/// A peer at the other end of a veth pair. This process must be in a network namespace of its own.
#[expect(clippy::disallowed_methods, reason = "a network namespace is a thread's")]
fn peer_over_veth() -> SocketAddr {
    command("ip link add here type veth peer name there");
    let (enter, entered) = std::sync::mpsc::sync_channel(1);
    let (connect, connected) = std::sync::mpsc::sync_channel(1);
    let there = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        // SAFETY: gettid takes and touches nothing.
        enter.send(unsafe { libc::gettid() }).expect("it is waited for");
        connected.recv().expect("the cable is made");
        command(&format!("ip addr add {THERE}/24 dev there"));
        command("ip link set there up");
        TcpListener::bind((THERE, 0)).expect("the address is there")
    });
    let thread = entered.recv().expect("it starts");
    command(&format!("ip link set there netns /proc/{}/task/{thread}/ns/net", std::process::id()));
    command(&format!("ip addr add {HERE}/24 dev here"));
    command("ip link set here up");
    connect.send(()).expect("it waits");
    let listener = there.join().expect("it listens");
    let addr = listener.local_addr().expect("it is bound");
    discard(listener);
    addr
}

fn peer_over_loopback() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("it is bound");
    discard(listener);
    addr
}

/// A file whose extents are written, opened past the page cache.
fn cold_file(folder: &Path) -> File {
    let path = folder.join(format!("hayate-send-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).custom_flags(libc::O_DIRECT);
    let file = options.open(&path).expect("the folder can be written");
    std::fs::remove_file(&path).expect("it is ours");
    let mut pages = Pages::new(1 << 20);
    pages.as_mut().fill(7);
    for at in (0..FILE_BYTES).step_by(1 << 20) {
        file.write_all_at(pages.as_ref(), at).expect("there is space");
    }
    file.sync_all().expect("the disk works");
    file
}

async fn send_all(socket: &Socket, piece: &Bytes) {
    let mut rope = VecDeque::from([piece.clone()]);
    socket.write_rope(&mut rope).await.expect("the peer reads");
}

fn read(file: &File, at: u64, size: usize) -> Bytes {
    let mut pages = Pages::new(size);
    file.read_exact_at(pages.as_mut(), at).expect("the file is that long");
    Bytes::from_owner(pages)
}

/// A blocking connection, and a pipe as large as a piece.
struct Splicer {
    stream: std::net::TcpStream,
    from: OwnedFd,
    to: OwnedFd,
}

impl Splicer {
    fn new(peer: SocketAddr, size: usize) -> Splicer {
        let mut ends = [0; 2];
        // SAFETY: pipe2 writes two descriptors into the array, which are owned from then on.
        let (from, to) = unsafe {
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
            libc::fcntl(ends[1], libc::F_SETPIPE_SZ, size.max(PAGE) as libc::c_int);
            (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
        };
        Splicer { stream: std::net::TcpStream::connect(peer).expect("the peer listens"), from, to }
    }

    fn send(&self, file: &File, at: u64, size: usize) {
        let (mut offset, mut left) = (at as libc::loff_t, size);
        while left > 0 {
            let null = std::ptr::null_mut();
            let (file, to) = (file.as_raw_fd(), self.to.as_raw_fd());
            // SAFETY: `offset` outlives the call; the other pointer is null.
            let got = unsafe { libc::splice(file, &raw mut offset, to, null, left, libc::SPLICE_F_MOVE) };
            let mut got = usize::try_from(got).expect("the file can be spliced");
            left -= got;
            while got > 0 {
                let (from, stream) = (self.from.as_raw_fd(), self.stream.as_raw_fd());
                let flags = libc::SPLICE_F_MOVE | if left > 0 { libc::SPLICE_F_MORE } else { 0 };
                // SAFETY: both pointers are null.
                let sent = unsafe { libc::splice(from, null.cast(), stream, null.cast(), got, flags) };
                got -= usize::try_from(sent).expect("the peer reads");
            }
        }
    }
}

/// Sends pieces of `size` until the span is over; bytes, seconds, and CPU seconds of this thread.
async fn run(kind: Kind, size: usize, peer: SocketAddr, file: &File) -> (u64, f64, f64) {
    let mode = match kind {
        Kind::Copied | Kind::ReadCopied | Kind::Splice => ZerocopyMode::Off,
        Kind::Lent | Kind::ReadLent => ZerocopyMode::Force,
        Kind::Auto => ZerocopyMode::Auto,
    };
    let network = Network::kernel_with(ZerocopyOptions { mode, bytes_min: PAGE });
    let socket = network.connect(peer).await.expect("the peer listens");
    let splicer = Splicer::new(peer, size);
    let hot: Vec<Bytes> = (0..32).map(|_| Bytes::from_owner(Pages::new(size))).collect();
    let (began, began_cpu, mut sent) = (now(), cpu(), 0);
    for number in 0.. {
        let at = number * size as u64 % (FILE_BYTES - size as u64) / PAGE as u64 * PAGE as u64;
        match kind {
            Kind::Copied | Kind::Lent | Kind::Auto => {
                send_all(&socket, &hot[number as usize % hot.len()]).await
            }
            Kind::ReadCopied | Kind::ReadLent => send_all(&socket, &read(file, at, size)).await,
            Kind::Splice => splicer.send(file, at, size),
        }
        sent += size as u64;
        if now() - began >= SPAN {
            break;
        }
    }
    let figures = (sent, (now() - began).as_secs_f64(), (cpu() - began_cpu).as_secs_f64());
    socket.abort();
    figures
}

async fn bench(folder: PathBuf, over_veth: bool) {
    let peer = if over_veth { peer_over_veth() } else { peer_over_loopback() };
    let file = cold_file(&folder);
    println!("{}: GB/s and CPU ms a GiB", if over_veth { "veth" } else { "loopback" });
    for (kind, name) in KINDS {
        print!("{name:<16}");
        for size in SIZES {
            let (sent, seconds, cpu_seconds) = run(kind, size, peer, &file).await;
            let gib = sent as f64 / f64::from(1 << 30);
            print!(
                "  {:>4} KiB {:>5.2} {:>5.0}",
                size >> 10,
                sent as f64 / seconds / 1e9,
                cpu_seconds * 1e3 / gib
            );
        }
        println!();
    }
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let own = || std::env::current_exe().expect("a path").parent().map(PathBuf::from).unwrap_or_default();
    let folder = given.first().map_or_else(own, PathBuf::from);
    let over_veth = given.get(1).is_some_and(|word| word == "veth");
    let builder = glommio::LocalExecutorBuilder::new(glommio::Placement::Fixed(0));
    let executor = builder.spawn(move || bench(folder, over_veth)).expect("an executor");
    executor.join().expect("the bench ends");
}
