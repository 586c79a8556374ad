//! What consumers of the classic protocol tell within it, as a coordinator reads and writes it in their place: subscriptions, assignments.
//!
//! Source: `ConsumerProtocolSubscription.json` and `ConsumerProtocolAssignment.json` of Apache Kafka 4.2. The bytes are a client's: they
//! may be anything. Versions that come later begin as the last known one.

use crate::coordinator::assignor::Partitions;
use crate::metadata::image::MetadataImage;
use crate::primitives::{DecodeError, Form, Reader, Writer};
use bytes::Bytes;

/// The last version that is known.
const VERSION_MAX: i16 = 3;

/// What a consumer is subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: Vec<String>,
    /// What it has, by topic.
    pub(super) owned: Vec<(String, Vec<i32>)>,
    /// Its rack; empty for none.
    pub(super) rack: String,
}

fn reader(bytes: &[u8]) -> Reader<'_> {
    let mut r = Reader::new(bytes);
    r.set_form(Form::Classic);
    r
}

fn version(r: &mut Reader<'_>) -> Option<i16> {
    r.i16().ok().filter(|version| *version >= 0).map(|version| version.min(VERSION_MAX))
}

fn topics(r: &mut Reader<'_>) -> Result<Vec<(String, Vec<i32>)>, DecodeError> {
    r.list(6, |r| Ok((r.string()?, r.i32_list()?)))
}

fn has_user_data(r: &mut Reader<'_>) -> Result<bool, DecodeError> {
    Ok(r.list_or_null(1, Reader::i8)?.is_some_and(|bytes| !bytes.is_empty()))
}

/// Reads a subscription; `None` if it is none.
pub(super) fn subscription(bytes: &[u8]) -> Option<Subscription> {
    let mut r = reader(bytes);
    let version = version(&mut r)?;
    let mut read = Subscription { topics: r.list(2, Reader::string).ok()?, ..Subscription::default() };
    has_user_data(&mut r).ok()?;
    if version >= 1 {
        read.owned = topics(&mut r).ok()?;
    }
    if version >= 2 {
        r.i32().ok()?;
    }
    if version >= 3 {
        read.rack = r.string_or_null().ok()?.unwrap_or_default();
    }
    Some(read)
}

/// The version in which a consumer has told its subscription; `None` if it is none.
pub(super) fn version_of(subscription: &[u8]) -> Option<i16> {
    version(&mut reader(subscription))
}

/// What an assignment says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    /// The partitions, by topic.
    pub(super) partitions: Vec<(String, Vec<i32>)>,
    /// An assignor has put something of its own beside them.
    pub(super) has_user_data: bool,
}

/// Reads an assignment; `None` if it is none. No bytes at all assign nothing.
pub(super) fn assignment(bytes: &[u8]) -> Option<Assigned> {
    if bytes.is_empty() {
        return Some(Assigned { partitions: Vec::new(), has_user_data: false });
    }
    let mut r = reader(bytes);
    version(&mut r)?;
    Some(Assigned { partitions: topics(&mut r).ok()?, has_user_data: has_user_data(&mut r).ok()? })
}

/// Writes an assignment in some version. Topics that do not exist any more are left out.
pub(super) fn write_assignment(partitions: &Partitions, version: i16, image: &MetadataImage) -> Bytes {
    let named = partitions.iter();
    let named = named.filter_map(|(id, numbers)| Some((&image.topic_by_id(id)?.name, numbers)));
    let named: Vec<(&str, Vec<i32>)> =
        named.map(|(name, numbers)| (&**name, numbers.iter().copied().collect())).collect();
    let mut w = Writer::new();
    w.set_form(Form::Classic);
    w.i16(version.clamp(0, VERSION_MAX));
    w.list(&named, |w, (name, numbers)| {
        w.string(name);
        w.i32_list(numbers);
    });
    w.i32(-1);
    w.finish().expect("topics have short names")
}

/// Partitions by the ids of topics; what does not exist is left out.
pub(super) fn by_id(named: &[(String, Vec<i32>)], image: &MetadataImage) -> Partitions {
    let each = named.iter().filter(|(_, numbers)| !numbers.is_empty());
    each.filter_map(|(name, numbers)| Some((image.topic_id(name)?, numbers.iter().copied().collect())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: &[u8] = b"\x00\x03\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x02ab\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x05\x00\x02r1";

    #[test]
    fn subscriptions_are_read_in_every_version() {
        let expected =
            Subscription { topics: vec!["t".into()], owned: vec![("t".into(), vec![7])], rack: "r1".into() };
        assert_eq!(subscription(SUBSCRIPTION), Some(expected.clone()));
        let mut later = SUBSCRIPTION.to_vec();
        later[1] = 9;
        later.extend(b"more");
        assert_eq!(subscription(&later), Some(expected.clone()));
        let mut first = SUBSCRIPTION.to_vec();
        first[1] = 0;
        assert_eq!(
            subscription(&first),
            Some(Subscription { topics: vec!["t".into()], ..Subscription::default() })
        );
        assert_eq!(version_of(SUBSCRIPTION), Some(3));
    }

    #[test]
    fn what_is_cut_or_absurd_is_refused() {
        for end in 0..SUBSCRIPTION.len() {
            assert_eq!(subscription(&SUBSCRIPTION[..end]), None, "cut at {end}");
        }
        assert_eq!(subscription(b"\x00\x00\x7f\xff\xff\xff\x00\x01t"), None);
        assert_eq!(subscription(b"\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff"), None, "a negative version");
        assert_eq!(assignment(b"\x00\x01\x7f\xff\xff\xff"), None);
        assert_eq!(version_of(b"\x00"), None);
    }

    #[test]
    fn assignments_are_read_back() {
        let image = MetadataImage::empty("c");
        let empty = write_assignment(&Partitions::new(), 9, &image);
        assert_eq!(&empty[..], b"\x00\x03\x00\x00\x00\x00\xff\xff\xff\xff");
        let nothing = Assigned { partitions: vec![], has_user_data: false };
        assert_eq!(assignment(&empty), Some(nothing));
        let custom = b"\x00\x00\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x01x";
        let expected = Assigned { partitions: vec![("t".into(), vec![7])], has_user_data: true };
        assert_eq!(assignment(custom), Some(expected));
    }
}
