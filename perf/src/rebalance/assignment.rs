//! What classic members tell each other through the broker, in the format of Kafka's consumers (`ConsumerProtocolSubscription.json`,
//! `ConsumerProtocolAssignment.json`, version 0: a number of two bytes stands before each), and the assignment `range`.

use crate::trial::admin::text;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
use kafka_protocol::protocol::Encodable;

const VERSION: i16 = 0;

/// A subscription to one topic.
///
/// # Errors
/// The topic's name has no form, in words.
pub fn subscription(topic: &str) -> Result<Bytes, String> {
    encode(&ConsumerProtocolSubscription::default().with_topics(vec![text(topic)]))
}

/// An assignment of partitions of one topic.
///
/// # Errors
/// The topic's name has no form, in words.
pub fn assignment(topic: &str, partitions: &[i32]) -> Result<Bytes, String> {
    let assigned =
        TopicPartition::default().with_topic(TopicName(text(topic))).with_partitions(partitions.to_vec());
    encode(&ConsumerProtocolAssignment::default().with_assigned_partitions(vec![assigned]))
}

fn encode(message: &impl Encodable) -> Result<Bytes, String> {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    message.encode(&mut out, VERSION).map_err(|error| error.to_string())?;
    Ok(out.freeze())
}

/// The partitions of an assignment, whatever their topic; of an empty one none.
///
/// # Errors
/// It is none, in words.
pub fn partitions(assignment: &Bytes) -> Result<Vec<i32>, String> {
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    read(assignment.clone()).map_err(|_| "an assignment that makes no sense".to_owned())
}

fn read(mut from: Bytes) -> Result<Vec<i32>, bytes::TryGetError> {
    from.try_get_i16()?;
    let mut partitions = Vec::new();
    for _ in 0..from.try_get_i32()? {
        let name_bytes = usize::try_from(from.try_get_i16()?).unwrap_or(0);
        from.try_copy_to_slice(&mut vec![0; name_bytes])?;
        for _ in 0..from.try_get_i32()? {
            partitions.push(from.try_get_i32()?);
        }
    }
    Ok(partitions)
}

/// Kafka's `range` of one topic: of `members` in the order of their ids the first ones have one partition more.
pub fn range(members: &[String], partitions: i32) -> Vec<(String, Vec<i32>)> {
    let mut sorted = members.to_vec();
    sorted.sort();
    let count = i32::try_from(sorted.len()).unwrap_or(i32::MAX).max(1);
    let (each, more) = (partitions / count, partitions % count);
    let mut next = 0;
    let part = |(number, member): (usize, String)| {
        let first = next;
        next += each + i32::from(i32::try_from(number).is_ok_and(|number| number < more));
        (member, (first..next).collect())
    };
    sorted.into_iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::{assignment, partitions, range, subscription};
    use bytes::Bytes;

    #[test]
    fn range_is_kafkas() {
        let names: Vec<String> = ["c", "a", "b"].map(str::to_owned).to_vec();
        for (count, due) in [
            (7, [("a", vec![0, 1, 2]), ("b", vec![3, 4]), ("c", vec![5, 6])]),
            (3, [("a", vec![0]), ("b", vec![1]), ("c", vec![2])]),
            (1, [("a", vec![0]), ("b", vec![]), ("c", vec![])]),
        ] {
            assert_eq!(range(&names, count), due.map(|(name, some)| (name.to_owned(), some)), "{count}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_kafkas_consumers() {
        let told = subscription("t").expect("a form");
        assert_eq!(&told[..], b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
        let told = assignment("t", &[5, 6]).expect("a form");
        assert_eq!(&told[..], b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x05\0\0\0\x06\xff\xff\xff\xff");
        assert_eq!(partitions(&told), Ok(vec![5, 6]));
        assert_eq!(partitions(&Bytes::new()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let told = assignment("t", &[5, 6]).expect("a form");
        // What follows the partitions is for the application.
        for bytes in 1..told.len() - 4 {
            assert!(partitions(&told.slice(..bytes)).is_err(), "{bytes} bytes");
        }
        assert!(partitions(&Bytes::from_static(b"\0\0\x7f\xff\xff\xff")).is_err());
    }
}
