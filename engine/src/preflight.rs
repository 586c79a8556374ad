//! What must be right before a broker starts: limits, the kernel, the data folder, the ports. Each refusal is one line that
//! says the cause and what to do about it.
//!
//! Runs on the main thread, before any shard: plain blocking calls. It makes the data folder and takes its lock; everything
//! else in the folder is the broker's.

mod folder;
mod kernel;
mod limits;
mod linger;
pub mod machine;
mod ports;

pub use folder::FolderLock;
pub use limits::Limits;
pub use machine::System;

use crate::config::Config;
use std::fmt;
use std::net::{SocketAddr, TcpListener};

/// Why a broker cannot start here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Refusal {
        Refusal { cause: cause.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.cause, self.remedy)
    }
}

impl std::error::Error for Refusal {}

/// What the checks leave behind; the folder is ours as long as it lives.
#[derive(Debug)]
pub struct Cleared {
    /// The data folder's lock.
    pub lock: FolderLock,
    /// Where to listen for clients, with real ports, one an address of `listeners`.
    pub listen: Vec<SocketAddr>,
    /// Bound and listening, one an address of `http.listeners`.
    pub http: Vec<TcpListener>,
    /// The limits in force.
    pub limits: Limits,
}

/// Locks the folder alone: for work on it without a broker. Unlike a start, this makes no folder.
///
/// # Errors
/// What is wrong with it.
pub fn lock_folder(config: &Config) -> Result<FolderLock, Refusal> {
    let folder = &config.options.data_dir;
    if !folder.is_dir() {
        return Err(Refusal::new(format!("there is no folder {}", folder.display()), "set log.dirs"));
    }
    folder::take(folder)
}

/// Raises limits as far as they go, then checks everything.
///
/// # Errors
/// The first thing that is wrong.
pub fn clear(config: &Config, system: &System) -> Result<Cleared, Refusal> {
    let limits = limits::raise();
    limits.check()?;
    kernel::check(system)?;
    let lock = folder::take(&config.options.data_dir)?;
    let listen = ports::probe(&config.options.listeners)?;
    let http = config.http.iter().map(|address| ports::bind_http(*address)).collect::<Result<_, _>>()?;
    Ok(Cleared { lock, listen, http, limits })
}
