//! A frame in pieces for a vectored send: everything but the records in one small buffer, the records' own slices between the pieces of
//! it, so that no record is copied on its way to a socket. Knows nothing of messages.

use bytes::Bytes;

use super::writer::Writer;
use crate::error::WireError;

/// A frame under construction: the buffer, and which records belong at which of its positions.
pub(crate) struct Rope {
    pub(crate) writer: Writer,
    records: Vec<(usize, Bytes)>,
    records_bytes: usize,
}

impl Rope {
    /// Goes on behind what `writer` has written.
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer, records: Vec::new(), records_bytes: 0 }
    }

    /// A field of records, in as many slices as they lie in.
    pub(crate) fn records(&mut self, records: impl IntoIterator<Item = Bytes>) -> Result<(), WireError> {
        let slices: Vec<Bytes> = records.into_iter().collect();
        let records_bytes: usize = slices.iter().map(Bytes::len).sum();
        self.writer.length(records_bytes)?;
        self.records_bytes += records_bytes;
        let position = self.writer.position();
        self.records
            .extend(slices.into_iter().filter(|slice| !slice.is_empty()).map(|slice| (position, slice)));
        Ok(())
    }

    /// The frame, its length filled in: the buffer is cut where records belong. No piece is empty.
    pub(crate) fn finish(self) -> Result<Vec<Bytes>, WireError> {
        let frame = self.writer.finish(self.records_bytes)?.freeze();
        let mut rope = Vec::with_capacity(2 * self.records.len() + 1);
        let mut cut = 0;
        for (position, slice) in self.records {
            if position > cut {
                rope.push(frame.slice(cut..position));
                cut = position;
            }
            rope.push(slice);
        }
        if cut < frame.len() {
            rope.push(frame.slice(cut..));
        }
        Ok(rope)
    }
}
