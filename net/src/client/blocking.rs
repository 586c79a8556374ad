//! One connection to a broker over the kernel's TCP, for threads that are no shard's: blocking, every step bounded in time, any number
//! of requests under way, answers in their order. The protocol is the [core](super::ClientCore)'s.

use super::{Answer, BrokerVersions, ClientCore, ClientError, ClientLimits, Negotiation};
use crate::wire::table::Versions;
use bytes::{Bytes, BytesMut};
use hayate_rt::MonoTime;
use hayate_rt::kernel::now;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::{Message, Request, StrBytes};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// Who connects, and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `client.id`, at most 32,767 bytes.
    pub client_id: String,
    /// Name and version of the program, as brokers count them (KIP-511).
    pub software: (&'static str, &'static str),
    /// `socket.connection.setup.timeout.ms`, above 0; for each address of a name.
    pub connect_timeout: Duration,
    /// `request.timeout.ms`, above 0.
    pub request_timeout: Duration,
}

/// Why a connection is of no use.
#[derive(Debug)]
pub enum ConnectionError {
    /// Nobody answers there.
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// It broke, or its broker took too long. What was asked for may have been done.
    Lost {
        /// The broker.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// What came over it makes no sense, or the broker is too old.
    Protocol {
        /// The broker.
        address: String,
        /// What is wrong.
        cause: ClientError,
    },
}

impl ConnectionError {
    /// Whether another attempt may succeed.
    pub fn is_passing(&self) -> bool {
        match self {
            ConnectionError::Unreachable { .. } | ConnectionError::Lost { .. } => true,
            ConnectionError::Protocol { .. } => false,
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionError::Unreachable { address, cause } => {
                write!(out, "{address} cannot be reached: {cause}")
            }
            ConnectionError::Lost { address, cause } => {
                write!(out, "{address}: the connection is lost: {cause}")
            }
            ConnectionError::Protocol { address, cause } => write!(out, "{address}: {cause}"),
        }
    }
}

impl std::error::Error for ConnectionError {}

/// A connection whose broker's versions are known.
pub struct Connection {
    address: String,
    stream: TcpStream,
    core: ClientCore,
    received: BytesMut,
    versions: BrokerVersions,
    patience: Duration,
    software: (&'static str, &'static str),
}

impl Connection {
    /// Connects to `host:port`, at the first of its addresses that answers.
    ///
    /// # Errors
    /// [`ConnectionError::Unreachable`], and what can go wrong with the first request.
    pub fn open(address: &str, caller: &Caller) -> Result<Connection, ConnectionError> {
        let unreachable = |cause| ConnectionError::Unreachable { address: address.to_owned(), cause };
        let stream = connect(address, caller.connect_timeout).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let mut connection = Connection {
            address: address.to_owned(),
            stream,
            core: ClientCore::new(&caller.client_id, ClientLimits::default()),
            received: BytesMut::new(),
            versions: BrokerVersions::new(&Default::default()),
            patience: caller.request_timeout,
            software: caller.software,
        };
        connection.versions = connection.negotiate()?;
        Ok(connection)
    }

    fn negotiate(&mut self) -> Result<BrokerVersions, ConnectionError> {
        let mut version = ApiVersionsRequest::VERSIONS.max;
        loop {
            let request = match version {
                3.. => ApiVersionsRequest::default()
                    .with_client_software_name(StrBytes::from_static_str(self.software.0))
                    .with_client_software_version(StrBytes::from_static_str(self.software.1)),
                _ => ApiVersionsRequest::default(),
            };
            let (_, frame) = self.core.request(version, &request).map_err(|error| self.nonsense(error))?;
            self.write(&frame)?;
            match self.answer()?.negotiate().map_err(|error| self.nonsense(error))? {
                Negotiation::Done(versions) => return Ok(versions),
                Negotiation::AskAgain { api_version } => version = api_version,
            }
        }
    }

    /// Its socket, its protocol core and what its broker serves, for a driver of another kind.
    ///
    /// # Panics
    /// While an answer is awaited.
    pub fn into_parts(self) -> (TcpStream, ClientCore, BrokerVersions) {
        assert!(
            self.core.in_flight() == 0 && self.received.is_empty(),
            "a connection in use is not taken apart"
        );
        (self.stream, self.core, self.versions)
    }

    /// Whether the broker serves requests of this kind.
    pub fn serves<R: Request>(&self) -> bool {
        self.versions.pick::<R>().is_ok()
    }

    /// Sends a request in the highest version that both sides know, of those up to `version_max`.
    ///
    /// # Errors
    /// [`ConnectionError::Lost`] and [`ConnectionError::Protocol`].
    pub fn send<R: Request>(&mut self, version_max: i16, request: &R) -> Result<(), ConnectionError> {
        let version = self.pick::<R>(version_max)?;
        let (_, frame) = self.core.request(version, request).map_err(|error| self.nonsense(error))?;
        self.write(&frame)
    }

    /// [`Connection::send`] for what gets no answer.
    ///
    /// # Errors
    /// As there.
    pub fn send_unanswered<R: Request>(
        &mut self,
        version_max: i16,
        request: &R,
    ) -> Result<(), ConnectionError> {
        let version = self.pick::<R>(version_max)?;
        let (_, frame) =
            self.core.request_unanswered(version, request).map_err(|error| self.nonsense(error))?;
        self.write(&frame)
    }

    /// The answer to the oldest request that has none yet.
    ///
    /// # Errors
    /// [`ConnectionError::Lost`] and [`ConnectionError::Protocol`].
    pub fn receive<R: Request>(&mut self) -> Result<R::Response, ConnectionError> {
        let answer = self.answer()?;
        answer.decode::<R>().map_err(|error| self.nonsense(error.into()))
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn ask<R: Request>(&mut self, request: &R) -> Result<R::Response, ConnectionError> {
        self.send(R::VERSIONS.max, request)?;
        self.receive::<R>()
    }

    fn pick<R: Request>(&self, version_max: i16) -> Result<i16, ConnectionError> {
        let ours = Versions { min: R::VERSIONS.min, max: version_max.min(R::VERSIONS.max) };
        let missing = || self.nonsense(ClientError::NoCommonVersion { api_key: R::KEY });
        self.versions.common(R::KEY, ours).ok_or_else(missing)
    }

    fn write(&mut self, frame: &Bytes) -> Result<(), ConnectionError> {
        let written = self.stream.set_write_timeout(Some(self.patience));
        written.and_then(|()| self.stream.write_all(frame)).map_err(|cause| self.lost(cause))
    }

    fn answer(&mut self) -> Result<Answer, ConnectionError> {
        let deadline = now() + self.patience;
        loop {
            let next = self.core.next_answer(&mut self.received);
            if let Some(answer) = next.map_err(|error| self.nonsense(error))? {
                return Ok(answer);
            }
            self.read(deadline).map_err(|cause| self.lost(cause))?;
        }
    }

    fn read(&mut self, deadline: MonoTime) -> io::Result<()> {
        let left = deadline.since(now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let before = self.received.len();
        self.received.resize(before + READ_BYTES, 0);
        let read = self.stream.read(self.received.get_mut(before..).unwrap_or_default());
        self.received.truncate(before + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the broker closed it")),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn lost(&self, cause: io::Error) -> ConnectionError {
        ConnectionError::Lost { address: self.address.clone(), cause }
    }

    fn nonsense(&self, cause: ClientError) -> ConnectionError {
        ConnectionError::Protocol { address: self.address.clone(), cause }
    }
}

fn connect(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut last = None;
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(ErrorKind::NotFound, "the name has no address")))
}
