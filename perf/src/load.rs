//! The load itself: producers and consumers as machines without IO, and the threads that drive them.

pub mod consumer;
pub mod producer;
pub mod thread;
mod topics;

pub use topics::{Place, Topic, Topics};
