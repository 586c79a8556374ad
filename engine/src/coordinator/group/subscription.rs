//! What consumers tell each other through a classic group, as far as a coordinator looks: the topics they subscribe to, and, to
//! show them, the partitions that they are assigned.
//!
//! Source: `ConsumerProtocolSubscription.json` and `ConsumerProtocolAssignment.json` of Apache Kafka 4.2: a version (`i16`), then in
//! all versions an array of topics and nullable user data; what later versions append is not read. The bytes are a client's: they
//! may be anything.

use bytes::Buf;
use std::collections::{BTreeMap, BTreeSet};

/// Adds the topics of a subscription to `topics`. `None` if it does not comply with the schema.
pub fn add_topics(mut subscription: &[u8], topics: &mut BTreeSet<String>) -> Option<()> {
    subscription.try_get_i16().ok()?;
    let count = usize::try_from(subscription.try_get_i32().ok()?).ok()?;
    for _ in 0..count {
        let name = topic_of(&mut subscription)?;
        if !topics.contains(name) {
            topics.insert(name.into());
        }
    }
    let user_data = subscription.try_get_i32().ok()?;
    (user_data == -1 || subscription.len() >= usize::try_from(user_data).ok()?).then_some(())
}

/// The partitions of an assignment by topic, in its order; as many as can be read.
pub fn assigned(mut assignment: &[u8]) -> BTreeMap<String, Vec<i32>> {
    let mut topics = BTreeMap::new();
    let _ = assignment.try_get_i16();
    for _ in 0..assignment.try_get_i32().unwrap_or(0) {
        let Some((topic, partitions)) = topic_and_partitions(&mut assignment) else { break };
        topics.insert(topic, partitions);
    }
    topics
}

fn topic_and_partitions(assignment: &mut &[u8]) -> Option<(String, Vec<i32>)> {
    let topic = topic_of(assignment)?.to_owned();
    let count = usize::try_from(assignment.try_get_i32().ok()?).ok()?;
    let (partitions, rest) = assignment.split_at_checked(count.checked_mul(size_of::<i32>())?)?;
    *assignment = rest;
    let (numbers, _) = partitions.as_chunks();
    Some((topic, numbers.iter().map(|number| i32::from_be_bytes(*number)).collect()))
}

fn topic_of<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    let (name, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::{add_topics, assigned};
    use std::collections::BTreeSet;

    fn topics(bytes: &[u8]) -> Option<Vec<String>> {
        let mut topics = BTreeSet::new();
        add_topics(bytes, &mut topics)?;
        Some(topics.into_iter().collect())
    }

    const SUBSCRIPTION: &[u8] = b"\x00\x03\x00\x00\x00\x02\x00\x02t1\x00\x01x\x00\x00\x00\x02ab\x00\x00";

    #[test]
    fn topics_are_read_whatever_the_version_appends() {
        assert_eq!(topics(SUBSCRIPTION), Some(vec!["t1".into(), "x".into()]));
        assert_eq!(topics(b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"), Some(vec![]));
    }

    #[test]
    fn bytes_that_are_no_subscription_are_refused() {
        let whole = SUBSCRIPTION.len() - 2;
        for end in 0..whole {
            assert_eq!(topics(&SUBSCRIPTION[..end]), None, "cut at {end}");
        }
        assert_eq!(topics(b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), None, "no array of topics");
        assert_eq!(topics(b"\x00\x00\x7f\xff\xff\xff\x00\x01t"), None, "more topics than bytes");
        assert_eq!(topics(b"\x00\x00\x00\x00\x00\x01\x00\x01\xff\xff\xff\xff\xff"), None, "not UTF-8");
        assert_eq!(topics(b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xfe"), None, "negative user data");
    }

    #[test]
    fn assignments_are_read_as_far_as_they_go() {
        let whole = b"\x00\x01\x00\x00\x00\x02\x00\x02t1\x00\x00\x00\x02\x00\x00\x00\x05\x00\x00\x00\x07\x00\x01x\x00\x00\x00\x00\xff\xff\xff\xff";
        let expected = [("t1".to_owned(), vec![5, 7]), ("x".to_owned(), vec![])];
        assert_eq!(assigned(whole), expected.into());
        assert_eq!(assigned(&whole[..24]), [("t1".to_owned(), vec![5, 7])].into());
        assert!(assigned(&whole[..20]).is_empty(), "a cut partition");
        assert!(assigned(b"\x00\x01\x7f\xff\xff\xff\x00\x01x\x7f\xff\xff\xff").is_empty());
        assert!(assigned(b"").is_empty());
    }
}
