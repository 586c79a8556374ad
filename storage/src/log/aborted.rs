//! The aborted transactions of a log: noted in its active segment with their markers, stored before a checkpoint counts on them,
//! and read by fetches of committed records.
//!
//! In the files is everything up to the checkpoint's end, so that recovery learns of the rest from the batches behind it. Of a segment
//! that takes no more appends only the file is kept: how many transactions were aborted, clients decide.

use super::files::{SMALL_BYTES_MAX, aborted_of, store_aborted};
use super::{Log, LogInner, LogState};
use crate::batch::Offset;
use crate::error::{ReadError, StorageError};
use crate::index::{AbortedTxn, Search, TxnIndex};
use crate::names::FileKind;
use crate::producers::CompletedTransaction;
use crate::segment::{Aborted, Segment};
use std::rc::Rc;

/// Indexes of finished segments that are kept in memory for the next reader, a log.
const KEPT_MAX: usize = 2;

impl Log {
    /// The aborted transactions with a record or their marker in `from..to`, by first offset: what a reader of committed records leaves
    /// out of a read that began at `from` and ended before `to`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn aborted_transactions(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTxn>, ReadError> {
        let mut found = Vec::new();
        let truncations = self.inner.state.borrow().truncations;
        let mut search = Some(from);
        while let Some(at) = search {
            let step = self.inner.state.borrow().search_aborted(at, from, to, &mut found);
            search = match step {
                Step::Done => None,
                Step::Load(base) => {
                    let index = self.inner.kept_aborted(base).await?;
                    match index.collect(from, to, &mut found) {
                        Search::Done => None,
                        Search::GoesOn => self.inner.state.borrow().segment_after(base).map(|next| next.base),
                    }
                }
            };
        }
        if self.inner.state.borrow().truncations != truncations {
            return Err(ReadError::Storage(StorageError::Closed));
        }
        found.sort_by_key(|aborted| aborted.first_offset);
        Ok(found)
    }
}

/// What a search in memory came to.
enum Step {
    /// Nothing more can be found.
    Done,
    /// The file of this segment comes next.
    Load(Offset),
}

impl LogState {
    /// Searches the segments from the one that holds `at` on, as far as they are in memory.
    fn search_aborted(&self, at: Offset, from: Offset, to: Offset, found: &mut Vec<AbortedTxn>) -> Step {
        let first = self.segments.partition_point(|segment| segment.base <= at).saturating_sub(1);
        for segment in &self.segments[first..] {
            match &segment.aborted {
                Aborted::InFile => return Step::Load(segment.base),
                Aborted::Here(index) if index.collect(from, to, found) == Search::Done => return Step::Done,
                Aborted::Here(_) => {}
            }
        }
        Step::Done
    }

    /// Notes what a marker in the active segment has ended.
    pub(super) fn note_completed(&mut self, completed: Option<CompletedTransaction>) {
        let Some(aborted) = completed.and_then(|completed| completed.aborted()) else { return };
        self.active_mut().aborted.active().append(aborted).expect("markers come in the order of the log");
        self.aborted_changed = true;
    }
}

impl Segment {
    /// What the file lacks, or has too much, of the transactions whose marker lies before `upto`: its content, and of how many.
    fn unstored_aborted(&self, upto: Offset) -> Option<(Vec<u8>, usize)> {
        let Aborted::Here(index) = &self.aborted else { return None };
        let mut index = index.clone();
        index.truncate_to(upto);
        let count = index.entries().len();
        (self.aborted_stored != Some(count)).then(|| (index.encode(), count))
    }

    fn has_unstored(&self) -> bool {
        matches!(&self.aborted, Aborted::Here(index) if Some(index.entries().len()) != self.aborted_stored)
    }
}

impl LogInner {
    /// Makes the transaction indexes hold every aborted transaction whose marker lies before `upto`. The caller holds the `files` lock.
    pub(crate) async fn store_aborted(&self, upto: Offset) -> Result<(), StorageError> {
        let due: Vec<(Offset, Vec<u8>, usize)> = {
            let state = self.state.borrow();
            if !state.aborted_changed {
                return Ok(());
            }
            let due = state.segments.iter().filter(|segment| segment.has_unstored());
            due.filter_map(|segment| {
                let (bytes, count) = segment.unstored_aborted(upto)?;
                Some((segment.base, bytes, count))
            })
            .collect()
        };
        for (base, bytes, count) in due {
            store_aborted(&self.shared.disk, &self.folder, base, &bytes).await?;
            if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
                segment.aborted_stored = Some(count);
            }
        }
        let mut state = self.state.borrow_mut();
        state.aborted_changed = state.segments.iter().any(Segment::has_unstored);
        Ok(())
    }

    /// From now on the file alone holds the transactions of a segment that takes no more appends, if there are any.
    pub(crate) async fn leave_aborted_in_file(&self, base: Offset) -> Result<(), StorageError> {
        self.store_aborted(Offset::MAX).await?;
        if let Some(segment) = self.state.borrow_mut().segment_mut(base)
            && segment.aborted_stored != Some(0)
        {
            segment.aborted = Aborted::InFile;
        }
        Ok(())
    }

    /// Brings a segment's aborted transactions back to memory: it is about to take appends again. The caller holds the `files` lock.
    pub(super) async fn bring_aborted(&self, base: Offset) -> Result<(), StorageError> {
        let is_in_file =
            |segment: Option<&Segment>| segment.is_some_and(|s| matches!(s.aborted, Aborted::InFile));
        if !is_in_file(self.state.borrow().segment(base)) {
            return Ok(());
        }
        let index = self.load_aborted(base).await?;
        if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
            segment.aborted_stored = Some(index.entries().len());
            segment.aborted = Aborted::Here(index);
        }
        Ok(())
    }

    /// The index of a segment whose file alone has it; kept for the next reader.
    async fn kept_aborted(&self, base: Offset) -> Result<Rc<TxnIndex>, StorageError> {
        let kept = {
            let state = self.state.borrow();
            state.kept_aborted.iter().find(|(of, _)| *of == base).map(|(_, index)| index.clone())
        };
        if let Some(index) = kept {
            return Ok(index);
        }
        let index = Rc::new(self.load_aborted(base).await?);
        let mut state = self.state.borrow_mut();
        state.kept_aborted.truncate(KEPT_MAX - 1);
        state.kept_aborted.push_front((base, index.clone()));
        Ok(index)
    }

    /// Reads the file, or what it should hold from the batches.
    async fn load_aborted(&self, base: Offset) -> Result<TxnIndex, StorageError> {
        let path = self.segment_path(base, FileKind::TxnIndex);
        let bytes = self.shared.disk.read_small(&path, SMALL_BYTES_MAX).await?;
        let decoded = bytes.map(|bytes| TxnIndex::decode(&bytes, base));
        if let Some(Ok(index)) = decoded {
            return Ok(index);
        }
        if self.state.borrow().segment(base).is_none() {
            // It expired meanwhile, and what it says with it.
            return Ok(TxnIndex::default());
        }
        tracing::warn!(partition = %self.partition, segment = %base, ?decoded, "transaction index rebuilt");
        let end = self.state.borrow().end_mark();
        aborted_of(&self.shared.disk, &self.folder, base, end).await
    }
}
