//! The records about brokers and controllers, as Kafka's schemas of the same names have them.
//!
//! Fields and versions only; it does not know when a broker counts as alive.

use uuid::Uuid;

use super::Message;
use crate::primitives::{DecodeError, Reader, Writer};

/// Where a broker or controller listens (`BrokerEndpoint`, `ControllerEndpoint`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEndpoint {
    /// The listener's name.
    pub name: String,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
    /// Kafka's number of the protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

impl BrokerEndpoint {
    /// Two string lengths, a port, a protocol, a count of tags.
    const BYTES_MIN: usize = 7;

    fn write(&self, w: &mut Writer) {
        w.string(&self.name);
        w.string(&self.host);
        w.u16(self.port);
        w.i16(self.security_protocol);
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let endpoint =
            Self { name: r.string()?, host: r.string()?, port: r.u16()?, security_protocol: r.i16()? };
        r.no_tags()?;
        Ok(endpoint)
    }
}

/// The levels of a feature that a node supports (`BrokerFeature`, `ControllerFeature`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerFeature {
    /// The feature's name.
    pub name: String,
    /// The lowest level supported.
    pub min_supported_version: i16,
    /// The highest level supported.
    pub max_supported_version: i16,
}

impl BrokerFeature {
    /// A string's length, two levels, a count of tags.
    const BYTES_MIN: usize = 6;

    fn write(&self, w: &mut Writer) {
        w.string(&self.name);
        w.i16(self.min_supported_version);
        w.i16(self.max_supported_version);
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let feature =
            Self { name: r.string()?, min_supported_version: r.i16()?, max_supported_version: r.i16()? };
        r.no_tags()?;
        Ok(feature)
    }
}

fn write_endpoints_and_features(w: &mut Writer, endpoints: &[BrokerEndpoint], features: &[BrokerFeature]) {
    w.list(endpoints, |w, endpoint| endpoint.write(w));
    w.list(features, |w, feature| feature.write(w));
}

fn read_endpoints(r: &mut Reader<'_>) -> Result<Vec<BrokerEndpoint>, DecodeError> {
    r.list(BrokerEndpoint::BYTES_MIN, BrokerEndpoint::read)
}

fn read_features(r: &mut Reader<'_>) -> Result<Vec<BrokerFeature>, DecodeError> {
    r.list(BrokerFeature::BYTES_MIN, BrokerFeature::read)
}

/// `RegisterBrokerRecord` (0): a broker, or a new incarnation of it, joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBrokerRecord {
    /// The node id.
    pub broker_id: i32,
    /// Of the time of ZooKeeper; from version 2.
    pub is_migrating_zk_broker: bool,
    /// Made anew at each start of the process.
    pub incarnation_id: Uuid,
    /// Grows with each registration: the offset of this record in the metadata log.
    pub broker_epoch: i64,
    /// Where it listens.
    pub endpoints: Vec<BrokerEndpoint>,
    /// What it supports.
    pub features: Vec<BrokerFeature>,
    /// Its rack, if it told one.
    pub rack: Option<String>,
    /// Whether it may not lead yet.
    pub fenced: bool,
    /// Whether it is shutting down; from version 1.
    pub in_controlled_shutdown: bool,
    /// The ids of its log directories; from version 3.
    pub log_dirs: Vec<Uuid>,
}

impl Message for RegisterBrokerRecord {
    const API_KEY: u16 = 0;
    const VERSION_MAX: u16 = 3;

    fn write(&self, w: &mut Writer, version: u16) {
        w.i32(self.broker_id);
        if version >= 2 {
            w.bool(self.is_migrating_zk_broker);
        } else {
            w.absent("is_migrating_zk_broker", !self.is_migrating_zk_broker);
        }
        w.uuid(&self.incarnation_id);
        w.i64(self.broker_epoch);
        write_endpoints_and_features(w, &self.endpoints, &self.features);
        w.string_or_null(self.rack.as_deref());
        w.bool(self.fenced);
        if version >= 1 {
            w.bool(self.in_controlled_shutdown);
        } else {
            w.absent("in_controlled_shutdown", !self.in_controlled_shutdown);
        }
        if version < 3 {
            w.absent("log_dirs", self.log_dirs.is_empty());
        }
        w.tags(|t| {
            t.field(0, version >= 3 && !self.log_dirs.is_empty(), |w| w.uuid_list(&self.log_dirs));
        });
    }

    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError> {
        let mut record = Self {
            broker_id: r.i32()?,
            is_migrating_zk_broker: version >= 2 && r.bool()?,
            incarnation_id: r.uuid()?,
            broker_epoch: r.i64()?,
            endpoints: read_endpoints(r)?,
            features: read_features(r)?,
            rack: r.string_or_null()?,
            fenced: r.bool()?,
            in_controlled_shutdown: version >= 1 && r.bool()?,
            log_dirs: Vec::new(),
        };
        r.tags(|tag, value| {
            match tag {
                0 if version >= 3 => record.log_dirs = value.uuid_list()?,
                0 => return Err(DecodeError::TagNotInVersion(tag)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(record)
    }
}

/// `BrokerRegistrationChangeRecord` (17): a broker was fenced or unfenced, or told something new about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistrationChangeRecord {
    /// The node id.
    pub broker_id: i32,
    /// The epoch of its registration.
    pub broker_epoch: i64,
    /// −1 unfenced, 0 as before, 1 fenced.
    pub fenced: i8,
    /// 0 as before, 1 shutting down; from version 1.
    pub in_controlled_shutdown: i8,
    /// The ids of its log directories, empty for "as before"; from version 2.
    pub log_dirs: Vec<Uuid>,
}

impl Message for BrokerRegistrationChangeRecord {
    const API_KEY: u16 = 17;
    const VERSION_MAX: u16 = 2;

    fn write(&self, w: &mut Writer, version: u16) {
        w.i32(self.broker_id);
        w.i64(self.broker_epoch);
        if version < 1 {
            w.absent("in_controlled_shutdown", self.in_controlled_shutdown == 0);
        }
        if version < 2 {
            w.absent("log_dirs", self.log_dirs.is_empty());
        }
        w.tags(|t| {
            t.field(0, self.fenced != 0, |w| w.i8(self.fenced));
            let shutdown = self.in_controlled_shutdown;
            t.field(1, version >= 1 && shutdown != 0, |w| w.i8(shutdown));
            t.field(2, version >= 2 && !self.log_dirs.is_empty(), |w| w.uuid_list(&self.log_dirs));
        });
    }

    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError> {
        let mut record = Self {
            broker_id: r.i32()?,
            broker_epoch: r.i64()?,
            fenced: 0,
            in_controlled_shutdown: 0,
            log_dirs: Vec::new(),
        };
        r.tags(|tag, value| {
            match tag {
                0 => record.fenced = value.i8()?,
                1 if version >= 1 => record.in_controlled_shutdown = value.i8()?,
                2 if version >= 2 => record.log_dirs = value.uuid_list()?,
                1 | 2 => return Err(DecodeError::TagNotInVersion(tag)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(record)
    }
}

/// A record that holds nothing but a broker and the epoch of its registration.
macro_rules! broker_and_epoch {
    ($( $(#[$doc:meta])* $name:ident = $api_key:literal; )+) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            /// The node id.
            pub broker_id: i32,
            /// The epoch of its registration.
            pub broker_epoch: i64,
        }

        impl Message for $name {
            const API_KEY: u16 = $api_key;
            const VERSION_MAX: u16 = 0;

            fn write(&self, w: &mut Writer, _version: u16) {
                w.i32(self.broker_id);
                w.i64(self.broker_epoch);
                w.no_tags();
            }

            fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
                let record = Self { broker_id: r.i32()?, broker_epoch: r.i64()? };
                r.no_tags()?;
                Ok(record)
            }
        }
    )+ };
}

broker_and_epoch! {
    /// `UnregisterBrokerRecord` (1): a broker was taken out of the cluster.
    UnregisterBrokerRecord = 1;
    /// `FenceBrokerRecord` (7): a broker may not lead.
    FenceBrokerRecord = 7;
    /// `UnfenceBrokerRecord` (8): a broker may lead again.
    UnfenceBrokerRecord = 8;
}

/// `RegisterControllerRecord` (27): a controller told where it listens (KIP-919).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterControllerRecord {
    /// The node id.
    pub controller_id: i32,
    /// Made anew at each start of the process.
    pub incarnation_id: Uuid,
    /// Of the time of ZooKeeper.
    pub zk_migration_ready: bool,
    /// Where it listens.
    pub endpoints: Vec<BrokerEndpoint>,
    /// What it supports.
    pub features: Vec<BrokerFeature>,
}

impl Message for RegisterControllerRecord {
    const API_KEY: u16 = 27;
    const VERSION_MAX: u16 = 0;

    fn write(&self, w: &mut Writer, _version: u16) {
        w.i32(self.controller_id);
        w.uuid(&self.incarnation_id);
        w.bool(self.zk_migration_ready);
        write_endpoints_and_features(w, &self.endpoints, &self.features);
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
        let record = Self {
            controller_id: r.i32()?,
            incarnation_id: r.uuid()?,
            zk_migration_ready: r.bool()?,
            endpoints: read_endpoints(r)?,
            features: read_features(r)?,
        };
        r.no_tags()?;
        Ok(record)
    }
}
