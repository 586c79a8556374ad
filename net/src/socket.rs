//! The socket seam: stream sockets on the kernel's TCP, or on the simulator's faulty network.
//!
//! Everything above reads and writes through [`Network`], [`Listener`] and [`Socket`], and so runs unchanged in a
//! simulation. Knows nothing of frames or of Kafka. A socket serves one reader and one writer task at once; neither
//! operation copies in user space beyond what the caller's own buffers ask for.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

mod kernel;
#[cfg(feature = "sim")]
pub mod sim;
mod zerocopy;

pub use zerocopy::{PinWatch, Pins, ZerocopyFigures, ZerocopyMode, ZerocopyOptions};

/// Segments that one vectored write hands to the kernel at most.
pub const SEGMENTS_PER_WRITE_MAX: usize = 64;

/// How a listener's sockets are set; what the simulator has no counterpart of, it ignores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that may wait for `accept`, 1 or more; the kernel caps it at `net.core.somaxconn`.
    pub backlog: i32,
    /// Bytes of the kernel's send buffer of each connection; `None` lets the kernel adapt it.
    pub send_buffer_bytes: Option<usize>,
    /// Bytes of the kernel's receive buffer of each connection; `None` lets the kernel adapt it.
    pub receive_buffer_bytes: Option<usize>,
    /// Whether an IPv6 address takes no IPv4 connections: another listener has them.
    pub ipv6_only: bool,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { backlog: 4096, send_buffer_bytes: None, receive_buffer_bytes: None, ipv6_only: false }
    }
}

/// Why a socket operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketError {
    /// Another socket listens on the address.
    AddressInUse {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// Nobody listens there.
    Refused {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The peer closed or reset the connection, it timed out, or [`Socket::abort`] cut it.
    Closed,
    /// The process or the machine has no descriptor or memory left: try again later.
    Exhausted {
        /// The system's error number.
        errno: i32,
    },
    /// Anything else that the system refused.
    Os {
        /// The operation.
        op: &'static str,
        /// The system's error number.
        errno: i32,
    },
}

impl fmt::Display for SocketError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketError::AddressInUse { addr } => write!(out, "{addr} is in use by another process"),
            SocketError::Refused { addr } => write!(out, "nobody listens on {addr}"),
            SocketError::Closed => out.write_str("the connection is closed"),
            SocketError::Exhausted { errno } => {
                write!(
                    out,
                    "out of descriptors or socket memory: {}",
                    std::io::Error::from_raw_os_error(*errno)
                )
            }
            SocketError::Os { op, errno } => {
                write!(out, "{op} failed: {}", std::io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

impl std::error::Error for SocketError {}

/// A shard's way to the network. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    inner: NetworkInner,
}

#[derive(Clone)]
enum NetworkInner {
    Kernel(kernel::KernelNetwork),
    #[cfg(feature = "sim")]
    Sim(sim::NodeNetwork),
}

impl Network {
    /// The kernel's TCP, driven by the glommio executor that its sockets are made on. The kernel copies what is sent.
    pub fn kernel() -> Network {
        Network::kernel_with(ZerocopyOptions::OFF)
    }

    /// The same, with sends from the buffers themselves where `options` say so.
    pub fn kernel_with(options: ZerocopyOptions) -> Network {
        Network { inner: NetworkInner::Kernel(kernel::KernelNetwork::new(options)) }
    }

    /// The simulated network as the node of `rt` sees it.
    ///
    /// # Panics
    /// When `rt` is not simulated.
    #[cfg(feature = "sim")]
    pub fn sim(network: &sim::SimNetwork, rt: &hayate_rt::Rt) -> Network {
        let node = rt.as_sim().expect("a simulated network belongs to a simulated runtime");
        Network { inner: NetworkInner::Sim(network.of_node(node)) }
    }

    /// Listens on `addr` together with any other listener of this process on it (SO_REUSEPORT): each new connection
    /// goes to one of them. Port 0 lets the system choose.
    ///
    /// # Errors
    /// [`SocketError::AddressInUse`] when a listener without this sharing holds the address.
    pub fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> Result<Listener, SocketError> {
        let inner = match &self.inner {
            NetworkInner::Kernel(network) => {
                ListenerInner::Kernel(kernel::KernelListener::bind(addr, options, network)?)
            }
            #[cfg(feature = "sim")]
            NetworkInner::Sim(network) => ListenerInner::Sim(network.listen(addr)?),
        };
        Ok(Listener { inner })
    }

    /// Binds `addr` without sharing and lets it go: proves that nobody else listens there, which a shared bind would
    /// hide. Returns the address with the port that the system chose, if it was 0.
    ///
    /// # Errors
    /// [`SocketError::AddressInUse`] when anybody listens there.
    pub fn probe_exclusive(&self, addr: SocketAddr) -> Result<SocketAddr, SocketError> {
        match &self.inner {
            NetworkInner::Kernel(_) => kernel::probe_exclusive(addr),
            #[cfg(feature = "sim")]
            NetworkInner::Sim(network) => network.probe_exclusive(addr),
        }
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    /// [`SocketError::Refused`] when nobody listens, [`SocketError::Closed`] when the attempt times out.
    pub async fn connect(&self, addr: SocketAddr) -> Result<Socket, SocketError> {
        let inner = match &self.inner {
            NetworkInner::Kernel(network) => {
                SocketInner::Kernel(kernel::KernelSocket::connect(addr, network).await?)
            }
            #[cfg(feature = "sim")]
            NetworkInner::Sim(network) => SocketInner::Sim(network.connect(addr).await?),
        };
        Ok(Socket { inner })
    }

    /// What the sockets of this network sent from the buffers themselves so far.
    pub fn zerocopy_figures(&self) -> ZerocopyFigures {
        match &self.inner {
            NetworkInner::Kernel(network) => network.zerocopy_figures(),
            #[cfg(feature = "sim")]
            NetworkInner::Sim(network) => network.zerocopy_figures(),
        }
    }

    /// Has `watch` told, now and whenever it changes, how many bytes of this process's buffers the sockets of this network are sent
    /// from. It replaces an earlier one; it must not touch a socket.
    pub fn watch_pins(&self, watch: PinWatch) {
        match &self.inner {
            NetworkInner::Kernel(network) => network.watch_pins(watch),
            #[cfg(feature = "sim")]
            NetworkInner::Sim(network) => network.watch_pins(watch),
        }
    }
}

/// A listening socket of one shard.
pub struct Listener {
    inner: ListenerInner,
}

enum ListenerInner {
    Kernel(kernel::KernelListener),
    #[cfg(feature = "sim")]
    Sim(sim::SimListener),
}

impl Listener {
    /// The next connection and its peer's address.
    ///
    /// # Errors
    /// [`SocketError::Exhausted`]: wait and call again. [`SocketError::Closed`]: that connection is gone, call again.
    pub async fn accept(&self) -> Result<(Socket, SocketAddr), SocketError> {
        match &self.inner {
            ListenerInner::Kernel(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok((Socket { inner: SocketInner::Kernel(socket) }, peer))
            }
            #[cfg(feature = "sim")]
            ListenerInner::Sim(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok((Socket { inner: SocketInner::Sim(socket) }, peer))
            }
        }
    }

    /// The address that it is bound to, with its real port.
    ///
    /// # Errors
    /// [`SocketError::Os`].
    pub fn local_addr(&self) -> Result<SocketAddr, SocketError> {
        match &self.inner {
            ListenerInner::Kernel(listener) => listener.local_addr(),
            #[cfg(feature = "sim")]
            ListenerInner::Sim(listener) => Ok(listener.local_addr()),
        }
    }
}

/// A connected stream. Clones share it; it closes when the last one is dropped.
#[derive(Clone)]
pub struct Socket {
    inner: SocketInner,
}

#[derive(Clone)]
enum SocketInner {
    Kernel(kernel::KernelSocket),
    #[cfg(feature = "sim")]
    Sim(sim::SimSocket),
}

impl Socket {
    /// Appends what has arrived to `buffer`, at most its spare capacity, waiting for the first byte. Returns the
    /// count; 0 means that the peer will send no more.
    ///
    /// # Errors
    /// [`SocketError::Closed`] after a reset.
    ///
    /// # Panics
    /// When `buffer` has no spare capacity: reading into nothing would look like the end.
    pub async fn read_into(&self, buffer: &mut BytesMut) -> Result<usize, SocketError> {
        assert!(buffer.capacity() > buffer.len(), "reading needs spare capacity");
        match &self.inner {
            SocketInner::Kernel(socket) => socket.read_into(buffer).await,
            #[cfg(feature = "sim")]
            SocketInner::Sim(socket) => socket.read_into(buffer).await,
        }
    }

    /// Sends every segment of `rope` in order and leaves it empty; returns the bytes sent. After an error the rope
    /// holds what was not handed over, and how much of the rest arrived is unknown.
    ///
    /// # Errors
    /// [`SocketError::Closed`] when the peer is gone.
    pub async fn write_rope(&self, rope: &mut VecDeque<Bytes>) -> Result<u64, SocketError> {
        match &self.inner {
            SocketInner::Kernel(socket) => socket.write_rope(rope).await,
            #[cfg(feature = "sim")]
            SocketInner::Sim(socket) => socket.write_rope(rope).await,
        }
    }

    /// What of the segments sent so far must stay in memory because the network reads them there. They do, whatever becomes of this
    /// socket.
    pub fn pins(&self) -> Pins {
        match &self.inner {
            SocketInner::Kernel(socket) => socket.pins(),
            #[cfg(feature = "sim")]
            SocketInner::Sim(socket) => socket.pins(),
        }
    }

    /// Tells the peer that no more will be sent. Reading goes on.
    pub fn shutdown(&self) {
        match &self.inner {
            SocketInner::Kernel(socket) => socket.shutdown(),
            #[cfg(feature = "sim")]
            SocketInner::Sim(socket) => socket.shutdown(),
        }
    }

    /// Resets the connection at once: what is in flight is lost, and pending reads and writes of both sides end.
    pub fn abort(&self) {
        match &self.inner {
            SocketInner::Kernel(socket) => socket.abort(),
            #[cfg(feature = "sim")]
            SocketInner::Sim(socket) => socket.abort(),
        }
    }
}

/// Drops the first `bytes` of `rope`, and every empty segment at its front.
fn advance_rope(rope: &mut VecDeque<Bytes>, mut bytes: usize) {
    while let Some(front) = rope.front_mut() {
        if front.len() > bytes {
            front.advance(bytes);
            return;
        }
        bytes -= front.len();
        rope.pop_front();
    }
    assert_eq!(bytes, 0, "more was sent than the rope holds");
}

#[cfg(test)]
mod tests;
