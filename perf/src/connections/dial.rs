//! One connection of very many: a socket that never blocks and the protocol core, with as little memory as can be.

use crate::run::caller;
use bytes::BytesMut;
use hayate_net::client::{ClientCore, ClientLimits, Negotiation};
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
    sockopt,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The kernel connects.
    Connecting,
    /// `ApiVersions` awaits its answer.
    Asking,
    /// Nothing is under way.
    Idle,
}

/// A connection.
pub struct Dial {
    stream: TcpStream,
    core: ClientCore,
    received: BytesMut,
    /// How far it is.
    pub phase: Phase,
    /// When what is under way was meant to begin, in nanoseconds.
    pub since: u64,
}

impl Dial {
    /// Begins to connect; `since` is when that was meant to be.
    ///
    /// # Errors
    /// The kernel's.
    pub fn begin(target: SocketAddr, source: Option<IpAddr>, since: u64) -> Result<Dial, Errno> {
        let family = if target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
        if let Some(source) = source {
            // The port is chosen when the target is known: others may have the same one to another target.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
        }
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(target)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Dial {
            stream: TcpStream::from(socket),
            core: ClientCore::new(&caller().client_id, ClientLimits::default()),
            received: BytesMut::new(),
            phase: Phase::Connecting,
            since,
        })
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Sends `ApiVersions` in a version.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn ask(&mut self, version: i16) -> Result<(), String> {
        let software = caller().software;
        let request = match version {
            3.. => ApiVersionsRequest::default()
                .with_client_software_name(StrBytes::from_static_str(software.0))
                .with_client_software_version(StrBytes::from_static_str(software.1)),
            _ => ApiVersionsRequest::default(),
        };
        let (_, frame) = self.core.request(version, &request).map_err(|error| error.to_string())?;
        // A few bytes into an empty buffer of the kernel: they fit, or the connection is lost.
        self.stream.write_all(&frame).map_err(|error| error.to_string())?;
        self.phase = Phase::Asking;
        Ok(())
    }

    /// Goes on as far as it can after its socket woke. Returns whether an answer came.
    ///
    /// # Errors
    /// Why it is lost, in words.
    pub fn go_on(&mut self, version: i16, scratch: &mut [u8]) -> Result<bool, String> {
        if self.phase == Phase::Connecting {
            match self.stream.take_error() {
                Ok(None) if self.stream.peer_addr().is_err() => return Ok(false),
                Ok(None) => self.ask(version)?,
                Ok(Some(error)) | Err(error) => return Err(error.to_string()),
            }
        }
        self.read(scratch)?;
        let Some(answer) = self.core.next_answer(&mut self.received).map_err(|error| error.to_string())?
        else {
            return Ok(false);
        };
        // An empty buffer keeps its memory.
        self.received = BytesMut::new();
        match answer.negotiate().map_err(|error| error.to_string())? {
            Negotiation::Done(_) => {
                self.phase = Phase::Idle;
                Ok(true)
            }
            Negotiation::AskAgain { .. } => Err("the broker knew this version before".to_owned()),
        }
    }

    fn read(&mut self, scratch: &mut [u8]) -> Result<(), String> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err("the broker closed it".to_owned()),
                Ok(count) => self.received.extend_from_slice(scratch.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
