//! A connected TCP stream with the buffers that the kernel still sends from: they outlive every task that sent them, and the socket's
//! last handle, until the kernel is done with them.

use super::completions::Completions;
use crate::socket::zerocopy::{Ledger, Pins, Policy};
use crate::socket::{SEGMENTS_PER_WRITE_MAX, advance_rope};
use bytes::Bytes;
use glommio::io::PollableFd;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, sendmsg, setsockopt};
use nix::{setsockopt_impl, sockopt_impl};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;

/// `SO_EE_ORIGIN_ZEROCOPY` and `SO_EE_CODE_ZEROCOPY_COPIED` of linux/errqueue.h.
const ORIGIN_ZEROCOPY: u8 = 5;
const CODE_COPIED: u8 = 1;

sockopt_impl!(
    /// `SO_ZEROCOPY`: sends may ask for it.
    ZeroCopy, SetOnly, libc::SOL_SOCKET, libc::SO_ZEROCOPY, bool);

pub(super) struct Stream {
    pub(super) fd: PollableFd<TcpStream>,
    lent: RefCell<Lent>,
    completions: Rc<Completions>,
}

/// What is lent to the kernel.
struct Lent {
    policy: Policy,
    ledger: Ledger,
    /// By which the shard hears of the kernel's reports; none before the first send that has one.
    watch: Option<u64>,
}

/// Room for one report as the kernel writes it: a header, an error, the address of who caused it.
#[repr(align(8))]
struct Control([u8; 128]);

/// A report of the kernel: it is done with the sends of these numbers, and whether it copied them.
struct Report {
    low: u32,
    high: u32,
    copied: bool,
}

impl Stream {
    pub(super) fn new(fd: PollableFd<TcpStream>, completions: Rc<Completions>) -> Rc<Stream> {
        let lent =
            Lent { policy: Policy::new(completions.options()), ledger: Ledger::default(), watch: None };
        Rc::new(Stream { fd, lent: RefCell::new(lent), completions })
    }

    /// One `sendmsg` of the rope's first segments; what the kernel took is no longer in the rope.
    pub(super) fn send(self: &Rc<Self>, rope: &mut VecDeque<Bytes>) -> Result<usize, Errno> {
        let mut slices = [IoSlice::new(&[]); SEGMENTS_PER_WRITE_MAX];
        let (mut count, mut bytes) = (0, 0);
        for (slice, segment) in slices.iter_mut().zip(&*rope) {
            *slice = IoSlice::new(segment);
            count += 1;
            bytes += segment.len();
        }
        let slices = &slices[..count];
        let flags = MsgFlags::MSG_NOSIGNAL;
        let hand_over = |flags| sendmsg::<()>(self.fd.as_raw_fd(), slices, &[], flags, None);
        if self.may_lend(bytes, count) {
            match hand_over(flags | MsgFlags::from_bits_retain(libc::MSG_ZEROCOPY)) {
                Ok(taken) => {
                    self.lend(rope, taken);
                    return Ok(taken);
                }
                // No more may be pinned, or reported: this one is copied.
                Err(Errno::ENOBUFS) => self.completions.account().refuse(),
                Err(errno) => return Err(errno),
            }
        }
        let taken = hand_over(flags)?;
        advance_rope(rope, taken);
        Ok(taken)
    }

    fn may_lend(self: &Rc<Self>, bytes: usize, pieces: usize) -> bool {
        let mut lent = self.lent.borrow_mut();
        if !lent.policy.wants(bytes, pieces) {
            return false;
        }
        if lent.watch.is_none() {
            let watched =
                setsockopt(self.fd.get_ref(), ZeroCopy, &true).and_then(|()| self.completions.watch(self));
            match watched {
                Ok(watch) => lent.watch = Some(watch),
                Err(errno) => {
                    tracing::debug!(%errno, "a socket cannot send from the buffers themselves");
                    lent.policy.give_up();
                }
            }
        }
        lent.watch.is_some()
    }

    /// The kernel took the first `bytes` of `rope` without a copy: they stay where they are until it reports.
    fn lend(&self, rope: &mut VecDeque<Bytes>, bytes: usize) {
        let mut lent = self.lent.borrow_mut();
        lent.ledger.take(rope, bytes);
        lent.policy.sent();
        drop(lent);
        self.completions.account().pin(bytes);
    }

    /// Takes every report that has come. To be called whenever a wait for this socket ends: reports end any wait.
    pub(super) fn take_reports(&self) {
        while !self.is_settled() {
            match self.next_report() {
                Ok(Some(report)) => self.settle(&report),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    fn next_report(&self) -> Result<Option<Report>, Errno> {
        let mut control = Control([0; 128]);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(self.fd.as_raw_fd(), &mut [], Some(&mut control.0), flags)?;
        let mut reports = message.cmsgs()?.filter_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                Some(error)
            }
            _ => None,
        });
        let report = reports.find(|error| error.ee_origin == ORIGIN_ZEROCOPY);
        Ok(report.map(|error| Report {
            low: error.ee_info,
            high: error.ee_data,
            copied: error.ee_code & CODE_COPIED != 0,
        }))
    }

    fn settle(&self, report: &Report) {
        let mut lent = self.lent.borrow_mut();
        let settled = lent.ledger.settle(report.low, report.high);
        let fell_back = lent.policy.reported(report.copied);
        drop(lent);
        self.completions.account().unpin(settled, report.copied, fell_back);
    }

    /// Whether the kernel is done with everything that was lent to it.
    pub(super) fn is_settled(&self) -> bool {
        self.lent.borrow().ledger.is_settled()
    }

    pub(super) fn pins(&self) -> Pins {
        self.lent.borrow().ledger.pins()
    }

    pub(super) fn shutdown(&self) {
        // Fails only when the connection is already gone.
        let _ = self.fd.get_ref().shutdown(Shutdown::Write);
    }

    pub(super) fn abort(&self) {
        let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
        // SAFETY: the pointer and the length describe `nowhere`, which outlives the call. Connecting a stream to no
        // family dissolves it with a reset (connect(2)) and wakes whoever polls it.
        let outcome = unsafe {
            libc::connect(
                self.fd.as_raw_fd(),
                &raw const nowhere,
                std::mem::size_of::<libc::sockaddr>() as libc::socklen_t,
            )
        };
        if outcome != 0 {
            let _ = self.fd.get_ref().shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Stream {
    /// What is lent comes back before the descriptor is closed: a closed socket reports nothing. Only when the executor ends is
    /// anything left; what the kernel then still holds after a reset, on its way through a device, is never used again.
    fn drop(&mut self) {
        if !self.is_settled() {
            self.abort();
            self.take_reports();
        }
        let lent = self.lent.get_mut();
        lent.ledger.leak();
        if let Some(watch) = lent.watch {
            self.completions.forget(watch, self.fd.get_ref());
        }
    }
}

/// The handles on a stream. When the last one is gone, the stream lives on until what it has lent is back.
pub(super) struct End {
    pub(super) stream: Rc<Stream>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.stream.take_reports();
        if !self.stream.is_settled() {
            self.stream.shutdown();
            self.stream.completions.linger(&self.stream);
        }
    }
}
