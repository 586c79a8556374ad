//! The commands that talk to a cluster: topics, configurations, lines in, lines out. Clients like any other, over the protocol core of
//! `hayate_net::client` and blocking sockets, one thread; they know nothing of the broker that may run on the same machine.
//!
//! Whatever fails is a [`CommandError`] with the broker or the topic it is about and Kafka's name of the error. Output that nobody
//! reads any more ends a command without an error.

mod cluster;
mod configs;
mod consume;
mod error;
pub mod format;
mod json;
mod produce;
mod settings;
mod topics;

pub use error::CommandError;

use crate::cli::{Configs, Connect, Consume, Produce, Topics};
use cluster::Cluster;
use settings::Settings;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

/// Bytes that are gathered before they are written.
const OUTPUT_BYTES: usize = 64 << 10;

/// A command and what it is to do.
#[derive(Clone, Debug)]
pub enum Task {
    /// [`Topics`]
    Topics(Topics),
    /// [`Configs`]
    Configs(Configs),
    /// [`Produce`]
    Produce(Produce),
    /// [`Consume`]
    Consume(Consume),
}

/// Does it, from standard input and to standard output.
///
/// # Errors
/// [`CommandError`].
pub fn run(connect: &Connect, task: &Task) -> Result<(), CommandError> {
    let settings = Settings::load(connect)?;
    for warning in &settings.warnings {
        eprintln!("hayate: {warning}");
    }
    let mut cluster = Cluster::new(&settings);
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let done = match task {
        Task::Topics(asked) => topics::run(&mut cluster, asked, &mut out),
        Task::Configs(asked) => configs::run(&mut cluster, asked, &mut out),
        Task::Produce(asked) => produce::run(&mut cluster, asked),
        Task::Consume(asked) => consume::run(&mut cluster, asked, &mut out),
    };
    let flushed = out.flush().map_err(CommandError::Output);
    // What was printed of a pipe that is closed is lost on purpose.
    let _ = out.into_parts();
    match done.and(flushed) {
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[expect(clippy::disallowed_methods, reason = "a command's thread is no shard's")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
