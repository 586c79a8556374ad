//! The materialiser of a shard: writes logs out so that WAL files and memory can be let go. Order always: segments,
//! then the checkpoint, then the release.

use super::Shared;
use crate::error::StorageError;
use crate::log::LogInner;
use std::rc::Rc;
use std::time::Duration;

/// How long it waits for memory that others hold.
const MEMORY_WAIT: Duration = Duration::from_millis(2);
/// How long it waits for a cut to finish.
const CUT_WAIT: Duration = Duration::from_millis(1);
/// An index is stored again when so many bytes came behind what it covers: bounds what a restart must scan.
const INDEX_EVERY_BYTES: u64 = 64 << 20;

/// Runs until the store is closed or failed.
pub(super) async fn run(shared: Rc<Shared>) {
    loop {
        let pressure = shared.pressure.notified();
        if shared.stopped.get() || shared.check().is_err() {
            return;
        }
        let held = shared.wal.borrow().newest_held();
        let outcome = match held {
            Some(sequence) => release(&shared, sequence).await,
            None if shared.is_memory_short() => shed_memory(&shared).await,
            None => {
                pressure.await;
                continue;
            }
        };
        match outcome {
            Ok(()) => shared.set_no_space(false),
            Err(StorageError::NoSpace) => {
                shared.wait_for_space().await;
            }
            Err(error) => {
                shared.fail(&error);
                return;
            }
        }
    }
}

/// Lets go of the WAL files up to `sequence`.
async fn release(shared: &Rc<Shared>, sequence: u64) -> Result<(), StorageError> {
    let needed = |log: &&Rc<LogInner>| log.state.borrow().oldest_wal.is_some_and(|oldest| oldest <= sequence);
    let logs: Vec<_> = shared.logs.borrow().values().filter(needed).cloned().collect();
    for log in logs {
        account(&log).await?;
    }
    // What the checkpoint on disk needs stays, whatever the logs were accounted for since it was made.
    let needed_from = shared.write_checkpoint().await?;
    let last = sequence.min(needed_from.saturating_sub(1));
    if shared.wal.borrow_mut().release(last) {
        shared.rt.reached("WAL released");
    } else {
        // A cut on its way still needs it.
        shared.rt.sleep(CUT_WAIT).await;
    }
    shared.evict();
    shared.freed.notify();
    Ok(())
}

/// Writes out logs that hold memory, so that their chunks may go.
async fn shed_memory(shared: &Rc<Shared>) -> Result<(), StorageError> {
    let dirty = |log: &&Rc<LogInner>| log.state.borrow().oldest_wal.is_some();
    let logs: Vec<_> = shared.logs.borrow().values().filter(dirty).cloned().collect();
    for log in logs {
        account(&log).await?;
        shared.evict();
        if !shared.is_memory_short() {
            break;
        }
    }
    shared.freed.notify();
    if shared.is_memory_short() {
        // What is left waits for its flush, or for readers.
        shared.rt.sleep(MEMORY_WAIT).await;
    }
    Ok(())
}

/// Accounts for one log; one that was deleted or failed meanwhile no longer matters.
async fn account(log: &Rc<LogInner>) -> Result<(), StorageError> {
    match log.account().await {
        Ok(()) => {}
        Err(StorageError::Closed) => return Ok(()),
        Err(error) => return Err(error),
    }
    let stale = {
        let state = log.state.borrow();
        let active = state.active();
        (active.durable_pos.saturating_sub(active.indexed_bytes) >= INDEX_EVERY_BYTES).then_some(active.base)
    };
    let Some(base) = stale else { return Ok(()) };
    log.store_indexes_of_sound(base).await
}
