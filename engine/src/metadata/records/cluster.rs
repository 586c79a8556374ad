//! The records about the cluster as a whole: configurations, features, producer ids, transactions of metadata.
//!
//! Fields only, as Kafka's schemas of the same names have them.

use super::Message;
use crate::primitives::{DecodeError, Reader, Writer};

/// `ConfigRecord` (4): one configuration was set or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRecord {
    /// Kafka's number of the kind of resource: 2 topic, 4 broker, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// The resource's name; empty for the default of all brokers.
    pub resource_name: String,
    /// The configuration's key.
    pub name: String,
    /// Its value; `None` deletes it.
    pub value: Option<String>,
}

impl Message for ConfigRecord {
    const API_KEY: u16 = 4;
    const VERSION_MAX: u16 = 0;

    fn write(&self, w: &mut Writer, _version: u16) {
        w.i8(self.resource_type);
        w.string(&self.resource_name);
        w.string(&self.name);
        w.string_or_null(self.value.as_deref());
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
        let record = Self {
            resource_type: r.i8()?,
            resource_name: r.string()?,
            name: r.string()?,
            value: r.string_or_null()?,
        };
        r.no_tags()?;
        Ok(record)
    }
}

/// `FeatureLevelRecord` (12): the finalized level of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureLevelRecord {
    /// The feature's name.
    pub name: String,
    /// Its level; 0 switches it off.
    pub feature_level: i16,
}

impl Message for FeatureLevelRecord {
    const API_KEY: u16 = 12;
    const VERSION_MAX: u16 = 0;

    fn write(&self, w: &mut Writer, _version: u16) {
        w.string(&self.name);
        w.i16(self.feature_level);
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
        let record = Self { name: r.string()?, feature_level: r.i16()? };
        r.no_tags()?;
        Ok(record)
    }
}

/// `ProducerIdsRecord` (15): a broker took a block of producer ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerIdsRecord {
    /// The broker that took it, −1 in a snapshot.
    pub broker_id: i32,
    /// The epoch of its registration, −1 in a snapshot.
    pub broker_epoch: i64,
    /// The first id of the next block.
    pub next_producer_id: i64,
}

impl Message for ProducerIdsRecord {
    const API_KEY: u16 = 15;
    const VERSION_MAX: u16 = 0;

    fn write(&self, w: &mut Writer, _version: u16) {
        w.i32(self.broker_id);
        w.i64(self.broker_epoch);
        w.i64(self.next_producer_id);
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
        let record = Self { broker_id: r.i32()?, broker_epoch: r.i64()?, next_producer_id: r.i64()? };
        r.no_tags()?;
        Ok(record)
    }
}

/// `ZkMigrationStateRecord` (21): a leftover of migrations from ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZkMigrationStateRecord {
    /// 0 none, 1 migration, 2 before it, 3 after it.
    pub zk_migration_state: i8,
}

impl Message for ZkMigrationStateRecord {
    const API_KEY: u16 = 21;
    const VERSION_MAX: u16 = 0;

    fn write(&self, w: &mut Writer, _version: u16) {
        w.i8(self.zk_migration_state);
        w.no_tags();
    }

    fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
        let record = Self { zk_migration_state: r.i8()? };
        r.no_tags()?;
        Ok(record)
    }
}

/// A record without fields.
macro_rules! empty_record {
    ($( $(#[$doc:meta])* $name:ident = $api_key:literal; )+) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name;

        impl Message for $name {
            const API_KEY: u16 = $api_key;
            const VERSION_MAX: u16 = 0;

            fn write(&self, w: &mut Writer, _version: u16) {
                w.no_tags();
            }

            fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
                r.no_tags()?;
                Ok(Self)
            }
        }
    )+ };
}

empty_record! {
    /// `NoOpRecord` (20): nothing.
    NoOpRecord = 20;
    /// `EndTransactionRecord` (24): the open transaction takes effect.
    EndTransactionRecord = 24;
}

/// A record with one optional text, tagged 0.
macro_rules! text_record {
    ($( $(#[$doc:meta])* $name:ident = $api_key:literal { $(#[$field_doc:meta])* $field:ident } )+) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $(#[$field_doc])*
            pub $field: Option<String>,
        }

        impl Message for $name {
            const API_KEY: u16 = $api_key;
            const VERSION_MAX: u16 = 0;

            fn write(&self, w: &mut Writer, _version: u16) {
                w.tags(|t| t.option(0, self.$field.as_deref(), Writer::string));
            }

            fn read(r: &mut Reader<'_>, _version: u16) -> Result<Self, DecodeError> {
                let mut record = Self { $field: None };
                r.tags(|tag, value| {
                    if tag == 0 {
                        record.$field = value.string_or_null()?;
                    }
                    Ok(tag == 0)
                })?;
                Ok(record)
            }
        }
    )+ };
}

text_record! {
    /// `BeginTransactionRecord` (23): what follows takes effect together (KIP-868).
    BeginTransactionRecord = 23 {
        /// What the transaction is about.
        name
    }
    /// `AbortTransactionRecord` (25): the open transaction never happened.
    AbortTransactionRecord = 25 {
        /// Why.
        reason
    }
}
