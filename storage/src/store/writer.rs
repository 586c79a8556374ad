//! The writer of a shard's WAL: takes what the logs have, writes it as one group, flushes it, and tells the logs. One
//! write at a time; what arrives meanwhile is the next group.

use super::Shared;
use crate::error::StorageError;
use crate::log::{Carried, Fed, LogInner};
use crate::mutants::{Mutant, is_active, panic_if};
use crate::wal::format::FRAME_HEADER_BYTES;
use crate::wal::group::GroupBuilder;
use crate::wal::{make_file, write_header};
use hayate_rt::{MonoTime, Queue};
use std::rc::Rc;

/// Frame headers that a group has room for beyond its batches.
const FRAMES_EXTRA: usize = 8;

/// Logs with what a group carries of each.
type Carriage = Vec<(Rc<LogInner>, Carried)>;

/// Runs until the store is closed or failed.
pub(super) async fn run(shared: Rc<Shared>) {
    loop {
        let work = shared.work.notified();
        if shared.check().is_err() {
            return;
        }
        if shared.queue.borrow().is_empty() {
            if shared.stopped.get() {
                return;
            }
            work.await;
            continue;
        }
        if let Err(error) = write_group(&shared).await {
            shared.fail(&error);
            return;
        }
    }
}

async fn write_group(shared: &Rc<Shared>) -> Result<(), StorageError> {
    divert_large(shared);
    let Some(body_bytes) = group_size(shared) else { return Ok(()) };
    let mut group = GroupBuilder::new(body_bytes)?;
    if !shared.wal.borrow().has_room(group.capacity()) {
        // What waits may be more by then: sized anew.
        return next_file(shared).await;
    }
    let sequence = shared.wal.borrow().active_sequence();
    let taken = shared.rt.now();
    let carried = fill(shared, &mut group, sequence, taken);
    if group.is_empty() {
        carried.into_iter().for_each(|(log, carried)| log.flushed_to(carried, taken));
        return Ok(());
    }
    if is_active(Mutant::AckBeforeFlush) {
        carried.iter().for_each(|(log, carried)| log.flushed_to(*carried, taken));
    }
    let copied = group.payload_bytes();
    let lsn = shared.next_lsn.replace(shared.next_lsn.get() + 1);
    let wal_id = shared.wal.borrow().wal_id();
    let bytes = group.finish(wal_id, lsn);
    let written = bytes.len();
    let place = shared.wal.borrow_mut().place(written);
    let (file, position) = place.expect("room was made for the group");
    {
        let _phase = shared.rt.phase("writing a group");
        file.write_at(position, bytes, crate::disk::Durability::Durable).await?;
    }
    let batch_bytes = carried.iter().map(|(_, carried)| carried.batch_bytes).sum();
    shared.count_group(written, copied, batch_bytes);
    let flushed = shared.rt.now();
    carried.into_iter().for_each(|(log, carried)| log.flushed_to(carried, flushed));
    shared.freed.notify();
    prepare_ahead(shared);
    Ok(())
}

/// Sends logs with much to write straight to their segments, and takes them off the queue until they are there.
fn divert_large(shared: &Rc<Shared>) {
    let queued = std::mem::take(&mut *shared.queue.borrow_mut());
    let (large, small): (Vec<_>, Vec<_>) = queued.into_iter().partition(|log| log.is_large());
    shared.queue.borrow_mut().extend(small);
    for log in large {
        log.begin_direct(shared.rt.now());
        let shared = shared.clone();
        let rt = shared.rt.clone();
        let appending = async move {
            if let Err(error) = append_directly(&shared, &log).await {
                shared.fail(&error);
            }
        };
        rt.spawn(Queue::Foreground, appending).detach();
    }
}

/// A full disk is waited out: the batches stay in memory, nobody was told that they are durable.
async fn append_directly(shared: &Rc<Shared>, log: &Rc<LogInner>) -> Result<(), StorageError> {
    loop {
        match log.append_directly().await {
            Ok(bytes) => {
                shared.count_direct(bytes);
                shared.set_no_space(false);
                log.end_direct();
                return Ok(());
            }
            Err(StorageError::NoSpace) => {
                shared.wait_for_space().await;
            }
            Err(StorageError::Closed) => {
                // Nobody will flush what a deleted log left.
                shared.count_flushed(log.state.borrow().pending_bytes());
                shared.freed.notify();
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Bytes of frames for the next group: what is queued, within the limit, but at least the first log's first frame.
fn group_size(shared: &Shared) -> Option<usize> {
    let queue = shared.queue.borrow();
    let first = queue.front()?.first_frame_bytes();
    let frames = FRAME_HEADER_BYTES * FRAMES_EXTRA;
    let max = shared.config.wal.group_bytes_max;
    let mut total = 0;
    for log in queue.iter() {
        total += log.frames_bytes() + frames;
        if total >= max {
            break;
        }
    }
    Some(total.min(max).max(first + frames))
}

fn fill(shared: &Shared, group: &mut GroupBuilder, sequence: u64, now: MonoTime) -> Carriage {
    let mut carriage = Carriage::new();
    loop {
        let next = shared.queue.borrow_mut().pop_front();
        let Some(log) = next else { break };
        panic_if(Mutant::PanicInLog, log.partition.topic.as_bytes());
        let (carried, fed) = log.feed(group, sequence, now);
        carriage.push((log.clone(), carried));
        if fed == Fed::Full {
            assert!(!group.is_empty(), "a group has room for the first frame");
            shared.queue.borrow_mut().push_front(log);
            break;
        }
        log.unqueued();
    }
    carriage
}

/// Takes the next file into use, waiting until there is one.
async fn next_file(shared: &Rc<Shared>) -> Result<(), StorageError> {
    loop {
        let freed = shared.freed.notified();
        shared.check()?;
        let next = shared.wal.borrow().next_use(shared.next_lsn.get());
        if let Some((file, header)) = next {
            write_header(&file, &header).await?;
            shared.wal.borrow_mut().switch();
            shared.set_no_space(false);
            shared.rt.reached("WAL file switched");
            shared.pressure.notify();
            return Ok(());
        }
        if shared.wal.borrow().can_grow() && !shared.making_file.get() {
            make_next(shared).await?;
            continue;
        }
        shared.count_stall();
        shared.rt.reached("WAL full");
        shared.pressure.notify();
        freed.await;
    }
}

/// Makes another file; a full disk is waited out.
async fn make_next(shared: &Rc<Shared>) -> Result<(), StorageError> {
    shared.making_file.set(true);
    let (disk, path, bytes) = shared.wal.borrow_mut().begin_file();
    let made = make_file(&disk, &path, bytes).await.map_err(StorageError::from);
    shared.making_file.set(false);
    match made {
        Ok(file) => {
            shared.wal.borrow_mut().add_free(file, bytes);
            shared.set_no_space(false);
        }
        Err(StorageError::NoSpace) => {
            shared.wal.borrow_mut().abandon_file();
            shared.wait_for_space().await;
        }
        Err(error) => return Err(error),
    }
    shared.freed.notify();
    Ok(())
}

/// Makes the next file in the background once the active one is half full.
fn prepare_ahead(shared: &Rc<Shared>) {
    if shared.making_file.get() || shared.closing.get() || !shared.wal.borrow().wants_preparing() {
        return;
    }
    let preparing = shared.clone();
    let work = async move {
        loop {
            if let Err(error) = make_next(&preparing).await {
                return preparing.fail(&error);
            }
            // A full disk is waited out here: with room left in the active file nobody else would try again. If somebody does, it is
            // theirs to go on: one file is made at a time.
            let is_theirs = preparing.making_file.get();
            if !is_theirs && preparing.wal.borrow().has_free() {
                // A checkpoint gave one back meanwhile, and appends have room: while they are refused, nobody would find that out.
                preparing.set_no_space(false);
            }
            if is_theirs || preparing.wal.borrow().has_free() || !preparing.is_usable() {
                return;
            }
        }
    };
    shared.making_file.set(true);
    shared.rt.spawn(Queue::Background, work).detach();
}
