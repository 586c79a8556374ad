//! Whose configurations the image holds.
//!
//! After Kafka's `ConfigResource`; which keys a resource has, and their defaults, is not known here.

/// The kind of a resource that has configurations, with Kafka's numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i8)]
pub enum ConfigKind {
    /// A topic.
    Topic = 2,
    /// A broker by node id, or the default of all brokers by the empty name.
    Broker = 4,
    /// The levels of a broker's logs.
    BrokerLogger = 8,
    /// A subscription to clients' metrics (KIP-714).
    ClientMetrics = 16,
    /// A consumer or share group.
    Group = 32,
}

impl ConfigKind {
    /// The kind with that number, if there is one.
    #[must_use]
    pub fn from_number(number: i8) -> Option<Self> {
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group]
            .into_iter()
            .find(|kind| kind.number() == number)
    }

    /// Kafka's number of the kind.
    #[must_use]
    pub fn number(self) -> i8 {
        self as i8
    }
}

/// A resource that has configurations.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConfigResource {
    /// What it is.
    pub kind: ConfigKind,
    /// Its name; empty for the default of all brokers.
    pub name: String,
}

impl ConfigResource {
    /// A topic.
    #[must_use]
    pub fn topic(name: &str) -> Self {
        Self { kind: ConfigKind::Topic, name: name.to_owned() }
    }

    /// A broker.
    #[must_use]
    pub fn broker(id: super::NodeId) -> Self {
        Self { kind: ConfigKind::Broker, name: id.to_string() }
    }

    /// The default of all brokers.
    #[must_use]
    pub fn default_broker() -> Self {
        Self { kind: ConfigKind::Broker, name: String::new() }
    }
}
