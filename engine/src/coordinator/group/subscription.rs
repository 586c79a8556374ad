//! What consumers tell each other through a classic group, as far as a coordinator looks: the topics they subscribe to.
//!
//! Source: `ConsumerProtocolSubscription.json` of Apache Kafka 4.2: a version (`i16`), then in all versions an array of
//! topics and nullable user data; what later versions append is not read. The bytes are a client's: they may be anything.

use bytes::Buf;
use std::collections::BTreeSet;

/// Adds the topics of a subscription to `topics`. `None` if it does not comply with the schema.
pub(super) fn add_topics(mut subscription: &[u8], topics: &mut BTreeSet<String>) -> Option<()> {
    subscription.try_get_i16().ok()?;
    let count = usize::try_from(subscription.try_get_i32().ok()?).ok()?;
    for _ in 0..count {
        let length = usize::try_from(subscription.try_get_i16().ok()?).ok()?;
        let (name, rest) = subscription.split_at_checked(length)?;
        let name = std::str::from_utf8(name).ok()?;
        if !topics.contains(name) {
            topics.insert(name.into());
        }
        subscription = rest;
    }
    let user_data = subscription.try_get_i32().ok()?;
    (user_data == -1 || subscription.len() >= usize::try_from(user_data).ok()?).then_some(())
}

#[cfg(test)]
mod tests {
    use super::add_topics;
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
}
