//! Sending responses: a rope of segments goes out by vectored writes, and what was sent is counted.
//!
//! Nothing is copied in user space here: the kernel copies from the segments, which are slices of append chunks, of
//! read buffers, or of small headers that the codec wrote.

use crate::socket::{Socket, SocketError};
use bytes::Bytes;
use std::cell::Cell;
use std::collections::VecDeque;

/// What one shard has sent so far.
#[derive(Debug, Default)]
pub struct SendCounters {
    bytes: Cell<u64>,
    ropes: Cell<u64>,
}

impl SendCounters {
    /// Bytes handed to the kernel.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Ropes sent whole.
    pub fn ropes(&self) -> u64 {
        self.ropes.get()
    }

    /// Sends `rope` to its end and leaves it empty.
    ///
    /// # Errors
    /// [`SocketError::Closed`] when the peer is gone; the rest of the rope is then undefined.
    pub async fn send(&self, socket: &Socket, rope: &mut VecDeque<Bytes>) -> Result<(), SocketError> {
        let sent_bytes = socket.write_rope(rope).await?;
        self.bytes.set(self.bytes.get() + sent_bytes);
        self.ropes.set(self.ropes.get() + 1);
        Ok(())
    }
}
