//! One connection to a broker: blocking, every step bounded in time, any number of requests under way, answers in their order. The
//! protocol is `hayate_net::client`'s.

use super::CommandError;
use super::settings::Settings;
use bytes::{Bytes, BytesMut};
use hayate_net::client::{Answer, BrokerVersions, ClientCore, ClientError, ClientLimits, Negotiation};
use hayate_net::wire::table::Versions;
use hayate_rt::MonoTime;
use hayate_rt::kernel::now;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::{Message, Request, StrBytes};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// A connection whose broker's versions are known.
pub(super) struct Connection {
    address: String,
    stream: TcpStream,
    core: ClientCore,
    received: BytesMut,
    versions: BrokerVersions,
    patience: Duration,
}

impl Connection {
    /// Connects to `host:port`, at the first of its addresses that answers.
    ///
    /// # Errors
    /// [`CommandError::Unreachable`], and what can go wrong with the first request.
    pub(super) fn open(address: &str, settings: &Settings) -> Result<Connection, CommandError> {
        let unreachable = |cause| CommandError::Unreachable { address: address.to_owned(), cause };
        let stream = connect(address, settings.connect_timeout).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let mut connection = Connection {
            address: address.to_owned(),
            stream,
            core: ClientCore::new(&settings.client_id, ClientLimits::default()),
            received: BytesMut::new(),
            versions: BrokerVersions::new(&Default::default()),
            patience: settings.request_timeout,
        };
        connection.versions = connection.negotiate()?;
        Ok(connection)
    }

    fn negotiate(&mut self) -> Result<BrokerVersions, CommandError> {
        let mut version = ApiVersionsRequest::VERSIONS.max;
        loop {
            let request = match version {
                3.. => ApiVersionsRequest::default()
                    .with_client_software_name(StrBytes::from_static_str("hayate"))
                    .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION"))),
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

    /// Whether the broker serves requests of this kind.
    pub(super) fn serves<R: Request>(&self) -> bool {
        self.versions.pick::<R>().is_ok()
    }

    /// Sends a request in the highest version that both sides know, of those up to `version_max`.
    ///
    /// # Errors
    /// [`CommandError::Lost`] and [`CommandError::Protocol`].
    pub(super) fn send<R: Request>(&mut self, version_max: i16, request: &R) -> Result<(), CommandError> {
        let version = self.pick::<R>(version_max)?;
        let (_, frame) = self.core.request(version, request).map_err(|error| self.nonsense(error))?;
        self.write(&frame)
    }

    /// [`Connection::send`] for what gets no answer.
    ///
    /// # Errors
    /// As there.
    pub(super) fn send_unanswered<R: Request>(
        &mut self,
        version_max: i16,
        request: &R,
    ) -> Result<(), CommandError> {
        let version = self.pick::<R>(version_max)?;
        let (_, frame) =
            self.core.request_unanswered(version, request).map_err(|error| self.nonsense(error))?;
        self.write(&frame)
    }

    /// The answer to the oldest request that has none yet.
    ///
    /// # Errors
    /// [`CommandError::Lost`] and [`CommandError::Protocol`].
    pub(super) fn receive<R: Request>(&mut self) -> Result<R::Response, CommandError> {
        let answer = self.answer()?;
        answer.decode::<R>().map_err(|error| self.nonsense(error.into()))
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub(super) fn ask<R: Request>(&mut self, request: &R) -> Result<R::Response, CommandError> {
        self.send(R::VERSIONS.max, request)?;
        self.receive::<R>()
    }

    fn pick<R: Request>(&self, version_max: i16) -> Result<i16, CommandError> {
        let ours = Versions { min: R::VERSIONS.min, max: version_max.min(R::VERSIONS.max) };
        let missing = || self.nonsense(ClientError::NoCommonVersion { api_key: R::KEY });
        self.versions.common(R::KEY, ours).ok_or_else(missing)
    }

    fn write(&mut self, frame: &Bytes) -> Result<(), CommandError> {
        let written = self.stream.set_write_timeout(Some(self.patience));
        written.and_then(|()| self.stream.write_all(frame)).map_err(|cause| self.lost(cause))
    }

    fn answer(&mut self) -> Result<Answer, CommandError> {
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

    fn lost(&self, cause: io::Error) -> CommandError {
        CommandError::Lost { address: self.address.clone(), cause }
    }

    fn nonsense(&self, cause: ClientError) -> CommandError {
        CommandError::Protocol { address: self.address.clone(), cause }
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
