//! A client of a real broker that blocks: one connection, one request at a time.

use bytes::{Bytes, BytesMut};
use hayate_net::client::{Answer, ClientCore, ClientLimits};
use kafka_protocol::protocol::Request;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer that takes longer does not come.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;

/// A connection.
pub struct Client {
    stream: TcpStream,
    core: ClientCore,
    received: BytesMut,
}

impl Client {
    /// Connects under a name.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: SocketAddr, client_id: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIME_MAX))?;
        stream.set_nodelay(true)?;
        let core = ClientCore::new(client_id, ClientLimits::default());
        Ok(Client { stream, core, received: BytesMut::new() })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedEof`] when the broker closes the connection instead; a time that is over.
    ///
    /// # Panics
    /// When the request or the answer is not of this version.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send_request(version, request)?;
        self.heard::<R>()
    }

    /// Sends a request whose answer is heard later; answers come in the order of requests.
    ///
    /// # Errors
    /// As [`Client::ask`].
    ///
    /// # Panics
    /// When the request is not of this version.
    pub fn send_request<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        let (_, frame) = self.core.request(version, request).expect("a valid request");
        self.send(&frame)
    }

    /// The answer to the oldest request that has none yet.
    ///
    /// # Errors
    /// As [`Client::ask`].
    ///
    /// # Panics
    /// When it is no answer to such a request.
    pub fn heard<R: Request>(&mut self) -> io::Result<R::Response> {
        Ok(self.receive()?.decode::<R>().expect("a valid answer"))
    }

    fn send(&mut self, frame: &Bytes) -> io::Result<()> {
        self.stream.write_all(frame).map_err(as_end)
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut part = [0; READ_BYTES];
        loop {
            if let Some(answer) = self.core.next_answer(&mut self.received).expect("a valid answer") {
                return Ok(answer);
            }
            match self.stream.read(&mut part).map_err(as_end)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&part[..count]),
            }
        }
    }
}

/// A reset ends a connection as well as an orderly end does.
fn as_end(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => ErrorKind::UnexpectedEof.into(),
        _ => error,
    }
}
