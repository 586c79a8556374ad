//! Brokers and controllers in the image.
//!
//! After Kafka's `BrokerRegistration` and `ControllerRegistration`; whether a broker is alive is not known here.

use std::fmt;

use uuid::Uuid;

use super::NodeId;
use crate::metadata::records::{
    BrokerEndpoint, BrokerFeature, RegisterBrokerRecord, RegisterControllerRecord,
};

/// Tells incarnations of a broker apart: the offset of its registration in the metadata log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BrokerEpoch(pub i64);

impl fmt::Display for BrokerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    /// The epoch of its registration.
    pub epoch: BrokerEpoch,
    /// Made anew at each start of its process.
    pub incarnation_id: Uuid,
    /// Where it listens.
    pub endpoints: Vec<BrokerEndpoint>,
    /// What it supports.
    pub features: Vec<BrokerFeature>,
    /// Its rack, if it told one.
    pub rack: Option<String>,
    /// Whether it may not lead.
    pub fenced: bool,
    /// Whether it is shutting down.
    pub in_controlled_shutdown: bool,
    /// The ids of its log directories.
    pub log_dirs: Vec<Uuid>,
    is_migrating_zk_broker: bool,
}

impl BrokerImage {
    /// Whether it may take part in an in-sync set and lead.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Where clients of the listener of that name are told to connect.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&BrokerEndpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == listener)
    }

    pub(super) fn from_record(record: &RegisterBrokerRecord) -> Self {
        Self {
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation_id: record.incarnation_id,
            endpoints: record.endpoints.clone(),
            features: record.features.clone(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
            is_migrating_zk_broker: record.is_migrating_zk_broker,
        }
    }

    /// The registration as a record.
    #[must_use]
    pub fn to_record(&self, broker_id: NodeId) -> RegisterBrokerRecord {
        RegisterBrokerRecord {
            broker_id,
            is_migrating_zk_broker: self.is_migrating_zk_broker,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch.0,
            endpoints: self.endpoints.clone(),
            features: self.features.clone(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.log_dirs.clone(),
        }
    }
}

/// A registered controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerImage {
    /// Made anew at each start of its process.
    pub incarnation_id: Uuid,
    /// Where it listens.
    pub endpoints: Vec<BrokerEndpoint>,
    /// What it supports.
    pub features: Vec<BrokerFeature>,
    zk_migration_ready: bool,
}

impl ControllerImage {
    pub(super) fn from_record(record: &RegisterControllerRecord) -> Self {
        Self {
            incarnation_id: record.incarnation_id,
            endpoints: record.endpoints.clone(),
            features: record.features.clone(),
            zk_migration_ready: record.zk_migration_ready,
        }
    }

    /// The registration as a record.
    #[must_use]
    pub fn to_record(&self, controller_id: NodeId) -> RegisterControllerRecord {
        RegisterControllerRecord {
            controller_id,
            incarnation_id: self.incarnation_id,
            zk_migration_ready: self.zk_migration_ready,
            endpoints: self.endpoints.clone(),
            features: self.features.clone(),
        }
    }
}
