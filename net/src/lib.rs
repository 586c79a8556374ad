//! The Kafka wire protocol and the sockets it travels on. Knows nothing of storage: records are opaque bytes here.
