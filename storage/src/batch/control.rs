//! What control records hold: the broker's own records, which end transactions and mark changes of leadership. Consumers skip them.
//! Knows nothing of when they are written.
//!
//! ```text
//!  key: version i16 = 0 │ type i16                          end of a transaction: version i16 = 0 │ coordinator epoch i32
//!  leader change (flexible): version i16 = 0 │ leader i32 │ voters │ granting voters │ no tags
//!                            voters: count + 1 varint │ (id i32 │ no tags) …
//!  snapshot header (flexible): version i16 = 0 │ last contained log time, ms, i64 │ no tags
//!  snapshot footer (flexible): version i16 = 0 │ no tags
//! ```
//! Source: KIP-98, KIP-595 and KIP-630; Kafka's schemas `EndTxnMarker`, `LeaderChangeMessage`, `SnapshotHeaderRecord`,
//! `SnapshotFooterRecord`, `ControlRecordType`.

use bytes::Bytes;

use super::encode::BatchBuilder;
use super::{LeaderEpoch, NO_SEQUENCE, Offset, ProducerId};

/// The version of keys and values that this module writes.
const VERSION: i16 = 0;
/// No tagged fields.
const NO_TAGS: u8 = 0;

/// What a control record says. The numbers are Kafka's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i16)]
pub enum ControlType {
    Abort = 0,
    Commit = 1,
    LeaderChange = 2,
    SnapshotHeader = 3,
    SnapshotFooter = 4,
    KraftVersion = 5,
    KraftVoters = 6,
}

impl ControlType {
    /// Reads a control record's key. `None` when it is too short, negative in version, or of a type that Kafka 4.2 does not know;
    /// what a newer version appends is ignored, as Kafka does.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<ControlType> {
        let version = i16::from_be_bytes(*key.first_chunk()?);
        let number = i16::from_be_bytes(*key.get(2..)?.first_chunk()?);
        if version < 0 {
            return None;
        }
        match number {
            0 => Some(ControlType::Abort),
            1 => Some(ControlType::Commit),
            2 => Some(ControlType::LeaderChange),
            3 => Some(ControlType::SnapshotHeader),
            4 => Some(ControlType::SnapshotFooter),
            5 => Some(ControlType::KraftVersion),
            6 => Some(ControlType::KraftVoters),
            _ => None,
        }
    }

    /// The key that says so.
    #[must_use]
    pub fn to_key(self) -> [u8; 4] {
        let [v0, v1] = VERSION.to_be_bytes();
        let [t0, t1] = (self as i16).to_be_bytes();
        [v0, v1, t0, t1]
    }
}

/// How a transaction ended on one partition, and the epoch of the coordinator that decided it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndTxnMarker {
    pub outcome: TxnOutcome,
    pub coordinator_epoch: i32,
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TxnOutcome {
    /// None of it becomes visible to readers of committed records.
    Abort,
    /// All of it does.
    Commit,
}

impl EndTxnMarker {
    /// Reads a marker from a control record's key and value; `None` when the record is something else or is damaged.
    #[must_use]
    pub fn from_record(key: &[u8], value: &[u8]) -> Option<EndTxnMarker> {
        let outcome = match ControlType::from_key(key)? {
            ControlType::Abort => TxnOutcome::Abort,
            ControlType::Commit => TxnOutcome::Commit,
            ControlType::LeaderChange
            | ControlType::SnapshotHeader
            | ControlType::SnapshotFooter
            | ControlType::KraftVersion
            | ControlType::KraftVoters => return None,
        };
        let version = i16::from_be_bytes(*value.first_chunk()?);
        let coordinator_epoch = i32::from_be_bytes(*value.get(2..)?.first_chunk()?);
        (version >= 0).then_some(EndTxnMarker { outcome, coordinator_epoch })
    }

    /// The marker as a batch of its own, byte for byte as Kafka's leaders append it.
    #[must_use]
    pub fn to_batch(
        self,
        base_offset: Offset,
        epoch: LeaderEpoch,
        now_ms: i64,
        producer_id: ProducerId,
        producer_epoch: i16,
    ) -> Bytes {
        let (kind, [v0, v1]) = (self.control_type(), VERSION.to_be_bytes());
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        BatchBuilder::new()
            .base_offset(base_offset)
            .leader_epoch(epoch)
            .producer(producer_id, producer_epoch, NO_SEQUENCE)
            .transactional(true)
            .control(true)
            .record(now_ms, Some(&kind.to_key()), Some(&[v0, v1, e0, e1, e2, e3]))
            .build()
    }

    fn control_type(self) -> ControlType {
        match self.outcome {
            TxnOutcome::Abort => ControlType::Abort,
            TxnOutcome::Commit => ControlType::Commit,
        }
    }
}

/// A leader-change batch (schema version 0), byte for byte as Kafka's quorum leaders append it when they take over.
///
/// # Panics
/// With 127 voters or more: quorums are a handful of nodes.
#[must_use]
pub fn leader_change_batch(
    base_offset: Offset,
    epoch: LeaderEpoch,
    now_ms: i64,
    leader_id: i32,
    voters: &[i32],
    granting_voters: &[i32],
) -> Bytes {
    let mut value = Vec::new();
    value.extend_from_slice(&VERSION.to_be_bytes());
    value.extend_from_slice(&leader_id.to_be_bytes());
    put_voters(&mut value, voters);
    put_voters(&mut value, granting_voters);
    value.push(NO_TAGS);
    BatchBuilder::new()
        .base_offset(base_offset)
        .leader_epoch(epoch)
        .control(true)
        .record(now_ms, Some(&ControlType::LeaderChange.to_key()), Some(&value))
        .build()
}

fn put_voters(out: &mut Vec<u8>, voters: &[i32]) {
    assert!(voters.len() < 0x7f, "the count fits one varint byte");
    out.push(voters.len() as u8 + 1);
    for voter in voters {
        out.extend_from_slice(&voter.to_be_bytes());
        out.push(NO_TAGS);
    }
}

/// The batch that opens a snapshot (schema version 0), byte for byte as Kafka writes it: at offset 0 of the snapshot.
///
/// `last_contained_ms` is the time of the last batch of the log that the snapshot accounts for; `quorum` is what the control records of
/// the quorum said last (KIP-853), type and value of each.
#[must_use]
pub fn snapshot_header_batch(
    epoch: LeaderEpoch,
    now_ms: i64,
    last_contained_ms: i64,
    quorum: &[(ControlType, &[u8])],
) -> Bytes {
    let mut value = VERSION.to_be_bytes().to_vec();
    value.extend_from_slice(&last_contained_ms.to_be_bytes());
    value.push(NO_TAGS);
    let header = [(ControlType::SnapshotHeader, value.as_slice())];
    let batch = BatchBuilder::new().base_offset(Offset::ZERO).leader_epoch(epoch).control(true);
    let records = header.iter().chain(quorum);
    records
        .fold(batch, |batch, (kind, value)| batch.record(now_ms, Some(&kind.to_key()), Some(value)))
        .build()
}

/// A voter of a quorum whose voters stand in its log (KIP-853).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its node id.
    pub id: i32,
    /// The id of the folder that holds its log.
    pub directory_id: [u8; 16],
    /// The name of its controllers' listener, its host and its port.
    pub endpoint: (String, String, u16),
}

/// The value of a control record of type [`ControlType::KraftVersion`] (schema version 0).
#[must_use]
pub fn kraft_version_value(version: i16) -> Vec<u8> {
    let ([v0, v1], [k0, k1]) = (VERSION.to_be_bytes(), version.to_be_bytes());
    vec![v0, v1, k0, k1, NO_TAGS]
}

/// The value of a control record of type [`ControlType::KraftVoters`] (schema version 0) that names one voter.
///
/// `None` when a name of its endpoint is longer than 126 bytes.
#[must_use]
pub fn kraft_voters_value(voter: &Voter) -> Option<Vec<u8>> {
    let (name, host, port) = &voter.endpoint;
    let mut value = VERSION.to_be_bytes().to_vec();
    value.push(1 + 1);
    value.extend_from_slice(&voter.id.to_be_bytes());
    value.extend_from_slice(&voter.directory_id);
    value.push(1 + 1);
    put_short_text(&mut value, name)?;
    put_short_text(&mut value, host)?;
    value.extend_from_slice(&port.to_be_bytes());
    value.push(NO_TAGS);
    // It supports version 0 and 1 of the quorum's protocol.
    value.extend_from_slice(&[0, 0, 0, 1, NO_TAGS, NO_TAGS, NO_TAGS]);
    Some(value)
}

fn put_short_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    let count = u8::try_from(text.len() + 1).ok().filter(|count| *count <= 0x7f)?;
    out.push(count);
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// How many voters the value of a control record names that is a leader change or a set of voters. `None` for any other type, or a
/// value that is cut.
#[must_use]
pub fn voters_named(kind: ControlType, value: &[u8]) -> Option<usize> {
    let at = match kind {
        // Behind version and leader.
        ControlType::LeaderChange => 6,
        ControlType::KraftVoters => 2,
        ControlType::Abort
        | ControlType::Commit
        | ControlType::SnapshotHeader
        | ControlType::SnapshotFooter
        | ControlType::KraftVersion => return None,
    };
    usize::from(*value.get(at)?).checked_sub(1)
}

/// The batch that ends a snapshot (schema version 0), byte for byte as Kafka writes it. One without it is not whole.
#[must_use]
pub fn snapshot_footer_batch(base_offset: Offset, epoch: LeaderEpoch, now_ms: i64) -> Bytes {
    let [v0, v1] = VERSION.to_be_bytes();
    let (key, value) = (ControlType::SnapshotFooter.to_key(), [v0, v1, NO_TAGS]);
    let batch = BatchBuilder::new().base_offset(base_offset).leader_epoch(epoch).control(true);
    batch.record(now_ms, Some(&key), Some(&value)).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::unhex;

    const NOW_MS: i64 = 1_700_000_000_000;

    /// Written by Apache Kafka's kafka-clients 4.2.1, `MemoryRecords.withEndTransactionMarker`.
    const COMMIT: &str = "\
        00000000000000050000004200000003020c5e17c20030000000000000018bcfe568000000018bcf \
        e5680000000000000000090002ffffffff000000012000000008000000010c00000000000700";
    const ABORT: &str = "\
        0000000000000005000000420000000302f860c18a0030000000000000018bcfe568000000018bcf \
        e5680000000000000000090002ffffffff000000012000000008000000000c00000000000700";
    /// Written by Apache Kafka's kafka-clients 4.2.1, `MemoryRecords.withLeaderChangeMessage`.
    const LEADER_CHANGE: &str = "\
        000000000000000b000000540000000402725319f00020000000000000018bcfe568000000018bcf \
        e56800ffffffffffffffffffffffffffff0000000144000000080000000230000000000001030000 \
        00010000000002000200000001000000";

    /// Written by Apache Kafka's kafka-clients 4.2.1, `MemoryRecordsBuilder.appendSnapshotHeaderMessage` and
    /// `appendSnapshotFooterMessage`.
    const SNAPSHOT_HEADER: &str = "\
        00000000000000000000004700000004020239695e0020000000000000018bcfe568000000018bcf \
        e56800ffffffffffffffffffffffffffff000000012a00000008000000031600000000018bcfe564 \
        180000";
    const SNAPSHOT_FOOTER: &str = "\
        000000000000000b0000003f00000004028f6608e60020000000000000018bcfe568000000018bcf \
        e56800ffffffffffffffffffffffffffff000000011a00000008000000040600000000";

    /// As `kafka-storage format --standalone` of Kafka 4.2.1 begins the first snapshot of a quorum.
    const SNAPSHOT_HEADER_OF_QUORUM: &str = "\
        00000000000000000000009a000000000201ae3a80002000000002000001a20da959e5000001a20d \
        a959e5ffffffffffffffffffffffffffff000000032a0000000800000003160000000001a20da959 \
        e200001e00000208000000050a000000010000820100000408000000066e000002000000011825c2 \
        40f6524c1eb431541abe16fb6d020b434f4e54524f4c4c45520a3132372e302e302e3162b7000000 \
        000100000000";

    #[test]
    fn the_voters_of_a_quorum_are_kafkas_byte_for_byte() {
        let endpoint = ("CONTROLLER".to_owned(), "127.0.0.1".to_owned(), 25_271);
        let directory_id = *unhex("1825c240f6524c1eb431541abe16fb6d").first_chunk().unwrap();
        let voters = kraft_voters_value(&Voter { id: 1, directory_id, endpoint }).unwrap();
        let version = kraft_version_value(1);
        let quorum = [(ControlType::KraftVersion, version.as_slice()), (ControlType::KraftVoters, &voters)];
        let header = snapshot_header_batch(LeaderEpoch(0), 1_795_525_532_133, 1_795_525_532_130, &quorum);
        assert_eq!(header, unhex(SNAPSHOT_HEADER_OF_QUORUM));
        assert_eq!(voters_named(ControlType::KraftVoters, &voters), Some(1));
        let long = ("C".repeat(127), String::new(), 1);
        assert_eq!(kraft_voters_value(&Voter { id: 1, directory_id, endpoint: long }), None);
    }

    #[test]
    fn voters_are_counted() {
        let batch = leader_change_batch(Offset(0), LeaderEpoch(4), NOW_MS, 1, &[1, 2], &[1]);
        // Behind the header: length, attributes, two deltas, the key and its length, the value's length.
        let value = &batch[super::super::HEADER_BYTES + 10..];
        assert_eq!(voters_named(ControlType::LeaderChange, value), Some(2));
        assert_eq!(voters_named(ControlType::LeaderChange, &value[..6]), None);
        assert_eq!(voters_named(ControlType::KraftVoters, &[0, 0, 0]), None);
        assert_eq!(voters_named(ControlType::KraftVersion, value), None);
    }

    #[test]
    fn markers_are_kafkas_byte_for_byte() {
        for (outcome, expected) in [(TxnOutcome::Commit, COMMIT), (TxnOutcome::Abort, ABORT)] {
            let marker = EndTxnMarker { outcome, coordinator_epoch: 7 };
            let batch = marker.to_batch(Offset(5), LeaderEpoch(3), NOW_MS, ProducerId(9), 2);
            assert_eq!(batch, unhex(expected));
        }
    }

    #[test]
    fn leader_changes_are_kafkas_byte_for_byte() {
        let batch = leader_change_batch(Offset(11), LeaderEpoch(4), NOW_MS, 1, &[1, 2], &[1]);
        assert_eq!(batch, unhex(LEADER_CHANGE));
    }

    #[test]
    fn headers_and_footers_of_snapshots_are_kafkas_byte_for_byte() {
        let header = snapshot_header_batch(LeaderEpoch(4), NOW_MS, NOW_MS - 1000, &[]);
        assert_eq!(header, unhex(SNAPSHOT_HEADER));
        let footer = snapshot_footer_batch(Offset(11), LeaderEpoch(4), NOW_MS);
        assert_eq!(footer, unhex(SNAPSHOT_FOOTER));
    }

    #[test]
    fn markers_are_read_back_and_damage_is_refused() {
        let marker = EndTxnMarker { outcome: TxnOutcome::Commit, coordinator_epoch: 7 };
        let (key, value) = (ControlType::Commit.to_key(), [0, 0, 0, 0, 0, 7]);
        assert_eq!(EndTxnMarker::from_record(&key, &value), Some(marker));
        assert_eq!(
            EndTxnMarker::from_record(&key, &[0, 1, 0, 0, 0, 7, 9]),
            Some(marker),
            "a newer version may append"
        );
        assert_eq!(EndTxnMarker::from_record(&ControlType::LeaderChange.to_key(), &value), None);
        assert_eq!(EndTxnMarker::from_record(&[0xff, 0xff, 0, 1], &value), None);
        assert_eq!(EndTxnMarker::from_record(&[0, 0, 0, 9], &value), None);
        for cut in 0..key.len() {
            assert_eq!(EndTxnMarker::from_record(&key[..cut], &value), None);
        }
        for cut in 0..value.len() {
            assert_eq!(EndTxnMarker::from_record(&key, &value[..cut]), None);
        }
    }
}
