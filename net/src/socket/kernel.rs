//! The kernel half of the socket seam: non-blocking TCP sockets whose readiness glommio's reactor awaits.
//!
//! Each operation tries its system call first and waits only on EAGAIN, so that a busy connection costs no trip
//! through the ring. Vectored sends go through `sendmsg`, which glommio's own streams lack.

use super::{ListenOptions, SEGMENTS_PER_WRITE_MAX, SocketError, advance_rope};
use bytes::{BufMut, Bytes, BytesMut};
use glommio::io::PollableFd;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, listen,
    sendmsg, setsockopt, socket, sockopt,
};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

pub(super) struct KernelListener {
    listener: PollableFd<TcpListener>,
}

#[derive(Clone)]
pub(super) struct KernelSocket {
    stream: Rc<PollableFd<TcpStream>>,
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
    pub(super) fn bind(addr: SocketAddr, options: &ListenOptions) -> Result<KernelListener, SocketError> {
        let descriptor = shared_listener(addr, options).map_err(|errno| at_address(addr, "bind", errno))?;
        let listener = PollableFd::new(TcpListener::from(descriptor)).map_err(unwatched)?;
        Ok(KernelListener { listener })
    }

    pub(super) fn local_addr(&self) -> Result<SocketAddr, SocketError> {
        self.listener.get_ref().local_addr().map_err(|error| classify_io("getsockname", &error))
    }

    pub(super) async fn accept(&self) -> Result<(KernelSocket, SocketAddr), SocketError> {
        loop {
            match self.listener.get_ref().accept() {
                Ok((stream, peer)) => return Ok((KernelSocket::new(stream)?, peer)),
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
    fn new(stream: TcpStream) -> Result<KernelSocket, SocketError> {
        stream.set_nonblocking(true).map_err(|error| classify_io("fcntl", &error))?;
        stream.set_nodelay(true).map_err(|error| classify_io("TCP_NODELAY", &error))?;
        Ok(KernelSocket { stream: Rc::new(PollableFd::new(stream).map_err(unwatched)?) })
    }

    pub(super) async fn connect(addr: SocketAddr) -> Result<KernelSocket, SocketError> {
        let descriptor = tcp_socket(addr).map_err(|errno| at_address(addr, "socket", errno))?;
        let started = connect(descriptor.as_raw_fd(), &SockaddrStorage::from(addr));
        let socket = KernelSocket::new(TcpStream::from(descriptor))?;
        match started {
            Ok(()) => return Ok(socket),
            Err(Errno::EINPROGRESS) => socket.stream.writable().await.map_err(unwatched)?,
            Err(errno) => return Err(at_address(addr, "connect", errno)),
        }
        let outcome = getsockopt(socket.stream.get_ref(), sockopt::SocketError);
        match outcome.map_err(|errno| at_address(addr, "connect", errno))? {
            0 => Ok(socket),
            errno => Err(at_address(addr, "connect", Errno::from_raw(errno))),
        }
    }

    pub(super) async fn read_into(&self, buffer: &mut BytesMut) -> Result<usize, SocketError> {
        loop {
            match self.receive(buffer) {
                Ok(count) => return Ok(count),
                Err(Errno::EAGAIN) => self.stream.readable().await.map_err(unwatched)?,
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
        let got = unsafe { libc::recv(self.stream.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len(), 0) };
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
            match self.send(rope) {
                Ok(count) => {
                    sent_bytes += count as u64;
                    advance_rope(rope, count);
                }
                Err(Errno::EAGAIN) => self.stream.writable().await.map_err(unwatched)?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(classify("sendmsg", errno)),
            }
        }
        Ok(sent_bytes)
    }

    /// One `sendmsg` of the rope's first segments.
    fn send(&self, rope: &VecDeque<Bytes>) -> Result<usize, Errno> {
        let mut slices = [IoSlice::new(&[]); SEGMENTS_PER_WRITE_MAX];
        let mut count = 0;
        for (slice, segment) in slices.iter_mut().zip(rope) {
            *slice = IoSlice::new(segment);
            count += 1;
        }
        sendmsg::<()>(self.stream.as_raw_fd(), &slices[..count], &[], MsgFlags::MSG_NOSIGNAL, None)
    }

    pub(super) fn shutdown(&self) {
        // Fails only when the connection is already gone.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    pub(super) fn abort(&self) {
        let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
        // SAFETY: the pointer and the length describe `nowhere`, which outlives the call. Connecting a stream to no
        // family dissolves it with a reset (connect(2)) and wakes whoever polls it.
        let outcome = unsafe {
            libc::connect(
                self.stream.as_raw_fd(),
                &raw const nowhere,
                std::mem::size_of::<libc::sockaddr>() as libc::socklen_t,
            )
        };
        if outcome != 0 {
            let _ = self.stream.get_ref().shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_their_listeners_sizes() {
        let options = ListenOptions {
            send_buffer_bytes: Some(20_000),
            receive_buffer_bytes: Some(30_000),
            backlog: 1,
            ipv6_only: false,
        };
        let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20).make().unwrap();
        executor.run(async move {
            let listener = KernelListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &options).unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            // The kernel doubles what it is told, for its own book-keeping (socket(7)).
            let stream = accepted.stream.get_ref();
            assert_eq!(getsockopt(stream, sockopt::SndBuf).unwrap(), 40_000);
            assert_eq!(getsockopt(stream, sockopt::RcvBuf).unwrap(), 60_000);
        });
    }

    #[test]
    fn an_address_of_ipv6_alone_leaves_the_port_of_ipv4_free() {
        let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20).make().unwrap();
        executor.run(async move {
            let wildcard = SocketAddr::from(([0; 16], 0));
            let alone = ListenOptions { ipv6_only: true, ..ListenOptions::default() };
            let six = KernelListener::bind(wildcard, &alone).unwrap();
            let port = six.local_addr().unwrap().port();
            assert!(TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).is_ok());
        });
    }
}
