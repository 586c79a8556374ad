//! A connection of a load: a socket that never blocks, the protocol core, and what is on its way out and in.

use crate::PerfError;
use crate::error::broke;
use bytes::{Buf, Bytes, BytesMut};
use hayate_net::client::blocking::{Caller, Connection};
use hayate_net::client::{Answer, BrokerVersions, ClientCore};
use nix::poll::PollFlags;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;
/// Pieces of one write.
const PIECES_MAX: usize = 64;

/// A connection of a load.
pub struct Link {
    address: String,
    stream: TcpStream,
    /// Its protocol.
    pub core: ClientCore,
    /// What its broker serves.
    pub versions: BrokerVersions,
    out: VecDeque<Bytes>,
    received: BytesMut,
}

impl Link {
    /// Connects, and learns the broker's versions.
    ///
    /// # Errors
    /// [`PerfError::Connection`].
    pub fn open(address: &str, caller: &Caller) -> Result<Link, PerfError> {
        let (stream, core, versions) = Connection::open(address, caller)?.into_parts();
        let link = Link {
            address: address.to_owned(),
            stream,
            core,
            versions,
            out: VecDeque::new(),
            received: BytesMut::new(),
        };
        link.stream.set_nonblocking(true).map_err(|cause| link.lost(&cause))?;
        Ok(link)
    }

    /// What it is called.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn lost(&self, cause: &io::Error) -> PerfError {
        PerfError::Broke { address: self.address.clone(), cause: format!("the connection is lost: {cause}") }
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What it waits for.
    pub fn interest(&self) -> PollFlags {
        if self.out.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT }
    }

    /// Whether all is handed to the kernel.
    pub fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// Queues a frame and hands over what fits.
    ///
    /// # Errors
    /// [`PerfError::Broke`].
    pub fn send(&mut self, frame: impl IntoIterator<Item = Bytes>) -> Result<(), PerfError> {
        self.out.extend(frame);
        self.flush()
    }

    /// Hands over what fits.
    ///
    /// # Errors
    /// [`PerfError::Broke`].
    pub fn flush(&mut self) -> Result<(), PerfError> {
        while !self.out.is_empty() {
            let pieces: Vec<IoSlice<'_>> =
                self.out.iter().take(PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
            match self.stream.write_vectored(&pieces) {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.out.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.out.pop_front();
        }
    }

    /// Takes in what has arrived, at most [`READ_BYTES`] of it.
    ///
    /// # Errors
    /// [`PerfError::Broke`], also at the end of the stream.
    pub fn fill(&mut self) -> Result<(), PerfError> {
        loop {
            let before = self.received.len();
            self.received.resize(before + READ_BYTES, 0);
            let read = self.stream.read(self.received.get_mut(before..).unwrap_or_default());
            self.received.truncate(before + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(0) => {
                    return Err(self.lost(&io::Error::new(ErrorKind::UnexpectedEof, "the broker closed it")));
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    /// The next whole answer of what has arrived.
    ///
    /// # Errors
    /// [`PerfError::Broke`].
    pub fn next_answer(&mut self) -> Result<Option<Answer>, PerfError> {
        self.core.next_answer(&mut self.received).map_err(|cause| broke(&self.address, &cause))
    }
}
