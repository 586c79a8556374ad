//! What the kernel reports on a shard's sends without a copy, and the closed sockets that wait for it.
//!
//! Reports come on the sockets' error queues. One epoll descriptor a shard, itself watched by the reactor, tells which socket has
//! some: the reactor's own polls ask for readable or writable, which an idle socket with unread requests always is. Edges, so that a
//! hung-up socket is told of once. Nothing here waits in a loop.

use super::stream::Stream;
use crate::socket::zerocopy::{Account, ZerocopyOptions};
use glommio::io::PollableFd;
use hayate_rt::notify::Notify;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Sockets that one look takes reports from.
const EVENTS_MAX: usize = 64;
/// How often it is looked whether closed sockets' peers take what is left.
const LINGER_LOOK_EVERY: Duration = Duration::from_secs(2);
/// After so many looks at which a peer has taken nothing, the connection is reset.
pub(super) const LINGER_LOOKS_MAX: u32 = 5;

struct Watcher(Epoll);

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

/// A socket that nobody holds any more and whose peer has not taken everything yet.
struct Lingering {
    stream: Rc<Stream>,
    returned_bytes: u64,
    looks: u32,
}

/// One shard's.
pub(super) struct Completions {
    options: ZerocopyOptions,
    account: Account,
    watcher: OnceCell<PollableFd<Watcher>>,
    watched: RefCell<BTreeMap<u64, Weak<Stream>>>,
    next_watch: Cell<u64>,
    lingering: RefCell<Vec<Lingering>>,
    lingers: Notify,
}

impl Completions {
    pub(super) fn new(options: ZerocopyOptions) -> Rc<Completions> {
        Rc::new(Completions {
            options,
            account: Account::default(),
            watcher: OnceCell::new(),
            watched: RefCell::default(),
            next_watch: Cell::new(0),
            lingering: RefCell::default(),
            lingers: Notify::default(),
        })
    }

    pub(super) fn options(&self) -> ZerocopyOptions {
        self.options
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Hears of the reports to `stream` from now on.
    pub(super) fn watch(self: &Rc<Self>, stream: &Rc<Stream>) -> Result<u64, Errno> {
        let watch = self.next_watch.replace(self.next_watch.get() + 1);
        // Errors and hang-ups are always told of.
        let event = EpollEvent::new(EpollFlags::EPOLLET, watch);
        self.watcher()?.0.add(stream.fd.get_ref(), event)?;
        self.watched.borrow_mut().insert(watch, Rc::downgrade(stream));
        Ok(watch)
    }

    /// Ends that.
    pub(super) fn forget(&self, watch: u64, stream: &TcpStream) {
        self.watched.borrow_mut().remove(&watch);
        if let Some(watcher) = self.watcher.get() {
            // A socket that is not watched any more needs nothing.
            let _ = watcher.get_ref().0.delete(stream);
        }
    }

    /// The shard's watcher, made and started by the first socket that needs it.
    fn watcher(self: &Rc<Self>) -> Result<&Watcher, Errno> {
        if self.watcher.get().is_none() {
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            let polled = PollableFd::new(Watcher(epoll)).map_err(|_| Errno::EIO)?;
            assert!(self.watcher.set(polled).is_ok(), "one watcher a shard");
            glommio::spawn_local(self.clone().collect()).detach();
            glommio::spawn_local(self.clone().see_off()).detach();
        }
        Ok(self.watcher.get().expect("it was made").get_ref())
    }

    /// Has sockets take their reports as they come, as long as the executor runs.
    async fn collect(self: Rc<Self>) {
        let Some(watcher) = self.watcher.get() else { return };
        while watcher.readable().await.is_ok() {
            let mut events = [EpollEvent::empty(); EVENTS_MAX];
            let count = match watcher.get_ref().0.wait(&mut events, EpollTimeout::ZERO) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => {
                    tracing::error!(%errno, "the kernel's reports on what it sent cannot be heard of any more");
                    return;
                }
            };
            for event in &events[..count] {
                let stream = self.watched.borrow().get(&event.data()).and_then(Weak::upgrade);
                if let Some(stream) = stream {
                    stream.take_reports();
                }
            }
            self.let_go();
        }
    }

    /// Keeps a closed socket until its peer has taken everything.
    pub(super) fn linger(&self, stream: &Rc<Stream>) {
        let returned_bytes = stream.pins().returned_bytes;
        self.lingering.borrow_mut().push(Lingering { stream: stream.clone(), returned_bytes, looks: 0 });
        self.lingers.notify();
    }

    /// Closes the sockets that have nothing left to wait for.
    fn let_go(&self) {
        let gone: Vec<Lingering> =
            self.lingering.borrow_mut().extract_if(.., |lingering| lingering.stream.is_settled()).collect();
        drop(gone);
    }

    /// Resets the closed sockets whose peers take nothing, as long as the executor runs.
    async fn see_off(self: Rc<Self>) {
        loop {
            let lingers = self.lingers.notified();
            if self.lingering.borrow().is_empty() {
                lingers.await;
            }
            glommio::timer::sleep(LINGER_LOOK_EVERY).await;
            self.look_after_lingering();
        }
    }

    /// Waits for no closed socket any longer, as when the executor ends.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        self.lingering.take();
    }

    pub(super) fn look_after_lingering(&self) {
        self.lingering.borrow_mut().iter_mut().for_each(Lingering::look);
        self.let_go();
    }
}

impl Lingering {
    fn look(&mut self) {
        self.stream.take_reports();
        let returned_bytes = self.stream.pins().returned_bytes;
        self.looks = if returned_bytes == self.returned_bytes { self.looks + 1 } else { 0 };
        self.returned_bytes = returned_bytes;
        if self.looks == LINGER_LOOKS_MAX {
            tracing::debug!("connection reset: its peer takes nothing of what was left to send");
            self.stream.abort();
        }
    }
}
