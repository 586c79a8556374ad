//! The kernel half of the socket seam: non-blocking TCP sockets whose readiness glommio's reactor awaits.
//!
//! Each operation tries its system call first and waits only on EAGAIN, so that a busy connection costs no trip
//! through the ring. Vectored sends go through `sendmsg`, which glommio's own streams lack, some of them without a copy.

mod completions;
mod stream;

use super::zerocopy::{PinWatch, Pins, ZerocopyFigures, ZerocopyOptions};
use super::{ListenOptions, SocketError, advance_rope};
use bytes::{BufMut, Bytes, BytesMut};
use completions::Completions;
use glommio::io::PollableFd;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, listen,
    setsockopt, socket, sockopt,
};
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use stream::{End, Stream};

/// The kernel's TCP as one shard uses it.
#[derive(Clone)]
pub(super) struct KernelNetwork {
    completions: Rc<Completions>,
}

impl KernelNetwork {
    pub(super) fn new(options: ZerocopyOptions) -> KernelNetwork {
        KernelNetwork { completions: Completions::new(options) }
    }

    pub(super) fn zerocopy_figures(&self) -> ZerocopyFigures {
        self.completions.account().figures()
    }

    pub(super) fn watch_pins(&self, watch: PinWatch) {
        self.completions.account().watch(watch);
    }

    fn adopt(&self, stream: TcpStream) -> Result<KernelSocket, SocketError> {
        stream.set_nonblocking(true).map_err(|error| classify_io("fcntl", &error))?;
        stream.set_nodelay(true).map_err(|error| classify_io("TCP_NODELAY", &error))?;
        let polled = PollableFd::new(stream).map_err(unwatched)?;
        Ok(KernelSocket { end: Rc::new(End { stream: Stream::new(polled, self.completions.clone()) }) })
    }
}

pub(super) struct KernelListener {
    listener: PollableFd<TcpListener>,
    network: KernelNetwork,
}

#[derive(Clone)]
pub(super) struct KernelSocket {
    end: Rc<End>,
}

/// What an error number means to a caller.
fn classify(op: &'static str, errno: Errno) -> SocketError {
    match errno {
        Errno::ECONNRESET
        | Errno::EPIPE
        | Errno::ENOTCONN
        | Errno::ECONNABORTED
        | Errno::ETIMEDOUT
        | Errno::EHOSTUNREACH
        | Errno::ENETUNREACH
        | Errno::ESHUTDOWN => SocketError::Closed,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => {
            SocketError::Exhausted { errno: errno as i32 }
        }
        other => SocketError::Os { op, errno: other as i32 },
    }
}

fn classify_io(op: &'static str, error: &std::io::Error) -> SocketError {
    classify(op, Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn at_address(addr: SocketAddr, op: &'static str, errno: Errno) -> SocketError {
    match errno {
        Errno::EADDRINUSE => SocketError::AddressInUse { addr },
        Errno::ECONNREFUSED => SocketError::Refused { addr },
        other => classify(op, other),
    }
}

/// The reactor refused to watch a descriptor.
fn unwatched<E>(_: E) -> SocketError {
    SocketError::Os { op: "poll", errno: libc::EIO }
}

fn tcp_socket(addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
}

fn shared_listener(addr: SocketAddr, options: &ListenOptions) -> Result<OwnedFd, Errno> {
    let descriptor = tcp_socket(addr)?;
    setsockopt(&descriptor, sockopt::ReuseAddr, &true)?;
    setsockopt(&descriptor, sockopt::ReusePort, &true)?;
    if addr.is_ipv6() {
        setsockopt(&descriptor, sockopt::Ipv6V6Only, &options.ipv6_only)?;
    }
    // Connections inherit the sizes; the window that is announced at the handshake depends on them.
    if let Some(bytes) = options.send_buffer_bytes {
        setsockopt(&descriptor, sockopt::SndBuf, &bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        setsockopt(&descriptor, sockopt::RcvBuf, &bytes)?;
    }
    bind(descriptor.as_raw_fd(), &SockaddrStorage::from(addr))?;
    listen(&descriptor, Backlog::new(options.backlog).unwrap_or(Backlog::MAXALLOWABLE))?;
    Ok(descriptor)
}

pub(super) fn probe_exclusive(addr: SocketAddr) -> Result<SocketAddr, SocketError> {
    let failed = |error: &std::io::Error| {
        at_address(addr, "bind", Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    };
    let listener = TcpListener::bind(addr).map_err(|error| failed(&error))?;
    listener.local_addr().map_err(|error| failed(&error))
}

impl KernelListener {
    pub(super) fn bind(
        addr: SocketAddr,
        options: &ListenOptions,
        network: &KernelNetwork,
    ) -> Result<KernelListener, SocketError> {
        let descriptor = shared_listener(addr, options).map_err(|errno| at_address(addr, "bind", errno))?;
        let listener = PollableFd::new(TcpListener::from(descriptor)).map_err(unwatched)?;
        Ok(KernelListener { listener, network: network.clone() })
    }

    pub(super) fn local_addr(&self) -> Result<SocketAddr, SocketError> {
        self.listener.get_ref().local_addr().map_err(|error| classify_io("getsockname", &error))
    }

    pub(super) async fn accept(&self) -> Result<(KernelSocket, SocketAddr), SocketError> {
        loop {
            match self.listener.get_ref().accept() {
                Ok((stream, peer)) => return Ok((self.network.adopt(stream)?, peer)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.listener.readable().await.map_err(unwatched)?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(classify_io("accept", &error)),
            }
        }
    }
}

impl KernelSocket {
    pub(super) async fn connect(
        addr: SocketAddr,
        network: &KernelNetwork,
    ) -> Result<KernelSocket, SocketError> {
        let descriptor = tcp_socket(addr).map_err(|errno| at_address(addr, "socket", errno))?;
        let started = connect(descriptor.as_raw_fd(), &SockaddrStorage::from(addr));
        let socket = network.adopt(TcpStream::from(descriptor))?;
        match started {
            Ok(()) => return Ok(socket),
            Err(Errno::EINPROGRESS) => socket.stream().fd.writable().await.map_err(unwatched)?,
            Err(errno) => return Err(at_address(addr, "connect", errno)),
        }
        let outcome = getsockopt(socket.stream().fd.get_ref(), sockopt::SocketError);
        match outcome.map_err(|errno| at_address(addr, "connect", errno))? {
            0 => Ok(socket),
            errno => Err(at_address(addr, "connect", Errno::from_raw(errno))),
        }
    }

    fn stream(&self) -> &Rc<Stream> {
        &self.end.stream
    }

    /// Waits for something to read. Reports on sends end that wait too: untaken, they would end the next one at once.
    async fn readable(&self) -> Result<(), SocketError> {
        self.stream().take_reports();
        self.stream().fd.readable().await.map_err(unwatched)
    }

    /// Waits for room to write, in the same way.
    async fn writable(&self) -> Result<(), SocketError> {
        self.stream().take_reports();
        self.stream().fd.writable().await.map_err(unwatched)
    }

    pub(super) async fn read_into(&self, buffer: &mut BytesMut) -> Result<usize, SocketError> {
        loop {
            match self.receive(buffer) {
                Ok(count) => return Ok(count),
                Err(Errno::EAGAIN) => self.readable().await?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(classify("recv", errno)),
            }
        }
    }

    /// One `recv` into the spare capacity.
    fn receive(&self, buffer: &mut BytesMut) -> Result<usize, Errno> {
        let spare = buffer.spare_capacity_mut();
        // SAFETY: the pointer and the length describe memory that `buffer` owns and lends exclusively here; recv only
        // writes to it.
        let got =
            unsafe { libc::recv(self.stream().fd.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len(), 0) };
        let count = usize::try_from(got).map_err(|_| Errno::last())?;
        assert!(count <= spare.len(), "recv wrote within the length it was given");
        // SAFETY: recv has initialised the first `count` bytes of the spare capacity, and `count` is within it.
        unsafe { buffer.advance_mut(count) };
        Ok(count)
    }

    pub(super) async fn write_rope(&self, rope: &mut VecDeque<Bytes>) -> Result<u64, SocketError> {
        let mut sent_bytes = 0;
        advance_rope(rope, 0);
        while !rope.is_empty() {
            match self.stream().send(rope) {
                Ok(count) => sent_bytes += count as u64,
                Err(Errno::EAGAIN) => self.writable().await?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(classify("sendmsg", errno)),
            }
        }
        Ok(sent_bytes)
    }

    pub(super) fn pins(&self) -> Pins {
        self.stream().pins()
    }

    pub(super) fn shutdown(&self) {
        self.stream().shutdown();
    }

    pub(super) fn abort(&self) {
        self.stream().abort();
    }
}

#[cfg(test)]
mod tests;
