//! The codecs against bytes that Apache Kafka wrote, against themselves, and against hostile bytes.
//!
//! The files in `fixtures` say how their bytes were made; what they hold stands in a module for each topic.

mod group;
mod share_state;
mod transaction_log;

use super::schema::{UnknownRecord, encode_value_at};
use super::{DecodeError, EncodeError};
use crate::metadata::records::arbitrary::seeded;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fmt::Debug;

/// 2023-11-14, and a little later.
const THEN_MS: i64 = 1_700_000_000_123;
const LATER_MS: i64 = 1_700_000_000_456;

/// The records of a topic, as the checks below want them.
trait Codec: Sized + Debug + PartialEq {
    /// The bytes that Kafka wrote.
    const FIXTURES: &str;
    /// The kinds that are known.
    const KINDS: &[u16];

    fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError>;

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, DecodeError>;

    /// The value in a version that need not be the one that is written.
    fn value_at(&self, version: u16) -> Result<Bytes, EncodeError>;

    /// What a line of the fixtures holds.
    fn expected(fixture: &Fixture) -> Self;

    /// Whether Kafka 4.2 writes the record of that line in the kind and version that the line has.
    fn is_written(fixture: &Fixture) -> bool;
}

/// A line of the fixtures.
struct Fixture {
    name: &'static str,
    /// `None` for a tombstone.
    version: Option<u16>,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Fixture {
    /// The name of the record, of which there may be a tombstone too.
    fn subject(&self) -> &'static str {
        self.name.trim_end_matches("-gone")
    }

    fn kind(&self) -> u16 {
        u16::from_be_bytes([self.key[0], self.key[1]])
    }

    /// The record as it is kept if its kind is not known.
    fn unknown(&self) -> UnknownRecord {
        let key = Bytes::copy_from_slice(&self.key[2..]);
        UnknownRecord { kind: self.kind(), key, value: self.value.clone().map(Bytes::from) }
    }

    /// The value, unless the line is a tombstone.
    fn holds<V>(&self, value: V) -> Option<V> {
        self.version.map(|_| value)
    }

    /// What was set, or what stands there in a line in which nothing was.
    fn or_plain<T>(&self, set: T, plain: T) -> T {
        if self.name.ends_with("-plain") { plain } else { set }
    }
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

fn fixtures<R: Codec>() -> Vec<Fixture> {
    let lines = R::FIXTURES.lines().filter(|line| !line.starts_with('#'));
    let fixture = |line: &'static str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, version, key, value] = fields[..] else { panic!("four fields: {line}") };
        let value = (value != "-").then(|| from_hex(value));
        Fixture { name, version: version.parse().ok(), key: from_hex(key), value }
    };
    lines.map(fixture).collect()
}

fn check_bytes_of_kafka<R: Codec>() {
    for fixture in fixtures::<R>() {
        let at = format!("{} {:?}", fixture.name, fixture.version);
        let record = R::expected(&fixture);
        assert_eq!(R::decode(&fixture.key, fixture.value.as_deref()).as_ref(), Ok(&record), "{at}");
        let (key, value) = record.encode().expect("encodes");
        let same = (&*key, value.as_deref()) == (&*fixture.key, fixture.value.as_deref());
        assert_eq!(same, R::is_written(&fixture), "{at}: {key:02x?} {value:02x?}");
        if let Some(version) = fixture.version {
            let value = record.value_at(version).expect("encodes");
            assert_eq!(Some(&*value), fixture.value.as_deref(), "{at}");
        }
    }
    let shown: BTreeSet<u16> = fixtures::<R>().iter().map(Fixture::kind).collect();
    let missing: Vec<_> = R::KINDS.iter().filter(|kind| !shown.contains(kind)).collect();
    assert!(missing.is_empty(), "no fixtures of kinds {missing:?}");
}

fn check_cuts<R: Codec>() {
    let known = fixtures::<R>().into_iter().filter(|fixture| R::KINDS.contains(&fixture.kind()));
    for Fixture { name, key, value, .. } in known {
        for cut in 0..key.len() {
            assert!(R::decode(&key[..cut], value.as_deref()).is_err(), "{name}: key cut at {cut}");
        }
        let longer = [&*key, &[0]].concat();
        assert_eq!(R::decode(&longer, value.as_deref()), Err(DecodeError::Trailing(1)), "{name}");
        let Some(value) = value else { continue };
        for cut in 0..value.len() {
            assert!(R::decode(&key, Some(&value[..cut])).is_err(), "{name}: value cut at {cut}");
        }
        let longer = [&*value, &[0]].concat();
        assert_eq!(R::decode(&key, Some(&longer)), Err(DecodeError::Trailing(1)), "{name}");
    }
}

/// Whatever is accepted comes back when it is written again.
fn check_comes_back<R: Codec>(key: &[u8], value: Option<&[u8]>) -> bool {
    let Ok(record) = R::decode(key, value) else { return false };
    let (key, value) = record.encode().expect("encodes");
    assert_eq!(R::decode(&key, value.as_deref()), Ok(record));
    true
}

/// Every byte of every fixture, replaced by some others.
fn check_changed_bytes<R: Codec>() {
    let (mut accepted, mut refused) = (0, 0);
    let mut count = |comes_back| if comes_back { accepted += 1 } else { refused += 1 };
    for Fixture { key, value, .. } in fixtures::<R>() {
        for change in [|_| 0, |_| 1, |_| 0x7f, |_| 0x80, |_| 0xff, |byte: u8| byte ^ 2] {
            for at in 0..key.len() {
                let mut changed = key.clone();
                changed[at] = change(changed[at]);
                count(check_comes_back::<R>(&changed, value.as_deref()));
            }
            let Some(value) = &value else { continue };
            for at in 0..value.len() {
                let mut changed = value.clone();
                changed[at] = change(changed[at]);
                count(check_comes_back::<R>(&key, Some(&changed)));
            }
        }
    }
    assert!(accepted > 250 && refused > 250, "{accepted} accepted, {refused} refused");
}

macro_rules! check_all {
    ($($topic:ident: $record:ty;)+) => { $(
        mod $topic {
            use super::*;

            #[test]
            fn bytes_of_kafka_decode_to_what_was_meant_and_encode_to_the_same_bytes() {
                check_bytes_of_kafka::<$record>();
            }

            #[test]
            fn a_key_or_value_cut_short_or_followed_by_more_is_refused() {
                check_cuts::<$record>();
            }

            #[test]
            fn what_is_accepted_of_changed_bytes_comes_back() {
                check_changed_bytes::<$record>();
            }

            proptest! {
                #![proptest_config(seeded())]

                #[test]
                fn noise_never_panics(
                    kind in 0u8..24,
                    key in proptest::collection::vec(any::<u8>(), 0..32),
                    version in 0u8..6,
                    value in proptest::collection::vec(any::<u8>(), 0..64),
                ) {
                    let key = [&[0, kind], &*key].concat();
                    let value = [&[0, version], &*value].concat();
                    check_comes_back::<$record>(&key, None);
                    check_comes_back::<$record>(&key, Some(&value));
                    check_comes_back::<$record>(&value, Some(&key));
                }
            }
        }
    )+ };
}

check_all! {
    consumer_offsets: super::super::GroupRecord;
    transaction_state: super::super::transaction_log::TransactionLogRecord;
    share_group_state: super::super::share_state::ShareStateRecord;
}
