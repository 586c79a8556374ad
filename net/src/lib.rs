//! The Kafka wire protocol and the sockets it travels on. Knows nothing of storage: records are opaque bytes here.

pub mod client;
pub mod conn;
pub mod error;
pub mod frame;
pub mod send;
pub mod socket;
pub mod wire;
