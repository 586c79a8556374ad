//! How requests name a topic: by its name, or since KIP-516 by its id; and the text form of an id, which Kafka's tools
//! show and parse. The text is the sixteen bytes in URL-safe base64 without padding (`org.apache.kafka.common.Uuid`).

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// A topic in a produce or fetch body: which of the two forms it has follows from the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRef {
    /// By name. A decoded name shares the frame's memory: copy it before storing it.
    Name(StrBytes),
    /// By id.
    Id(Uuid),
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters of an id's text: 128 bits in sixes.
const TEXT_CHARS: usize = 22;

/// The text of a topic id, 22 characters.
pub fn topic_id_to_text(id: Uuid) -> String {
    // Four zero bits on the right make 22 sextets of the 128 bits; the first holds the top two of them.
    let (high, low) = (id.as_u128() >> 8, (id.as_u128() & 0xff) << 4);
    let sextet = |index: usize| match index {
        0..20 => (high >> (114 - 6 * index)) & 0x3f,
        _ => (low >> (6 * (21 - index))) & 0x3f,
    };
    (0..TEXT_CHARS).map(|index| char::from(ALPHABET[sextet(index) as usize])).collect()
}

/// The id with this text; `None` unless it is 22 characters of the alphabet, with or without `==` behind them.
pub fn topic_id_from_text(text: &str) -> Option<Uuid> {
    let digits = text.strip_suffix("==").unwrap_or(text).as_bytes();
    if digits.len() != TEXT_CHARS {
        return None;
    }
    let mut value = 0u128;
    for (index, digit) in digits.iter().enumerate() {
        let sextet = sextet_of(*digit)?;
        // The last character carries two bits; the four below them are padding, which Kafka does not look at.
        value = if index + 1 == TEXT_CHARS {
            value << 2 | u128::from(sextet >> 4)
        } else {
            value << 6 | u128::from(sextet)
        };
    }
    Some(Uuid::from_u128(value))
}

fn sextet_of(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{topic_id_from_text, topic_id_to_text};

    #[test]
    fn ids_read_as_kafka_prints_them() {
        // Uuid.ZERO_UUID, ONE_UUID and new Uuid(Long.MAX_VALUE, Long.MIN_VALUE), printed by Kafka 4.1.
        for (value, text) in [
            (0, "AAAAAAAAAAAAAAAAAAAAAA"),
            (1, "AAAAAAAAAAAAAAAAAAAAAQ"),
            (0x7fff_ffff_ffff_ffff_8000_0000_0000_0000, "f_________-AAAAAAAAAAA"),
            (u128::MAX, "_____________________w"),
        ] {
            assert_eq!(topic_id_to_text(Uuid::from_u128(value)), text);
            assert_eq!(topic_id_from_text(text), Some(Uuid::from_u128(value)));
        }
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAA+A",
            "ÄAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(topic_id_from_text(text), None, "{text}");
        }
        assert_eq!(topic_id_from_text("AAAAAAAAAAAAAAAAAAAAAQ=="), Some(Uuid::from_u128(1)));
    }

    proptest! {
        #[test]
        fn every_id_comes_back(value: u128) {
            let id = Uuid::from_u128(value);
            prop_assert_eq!(topic_id_from_text(&topic_id_to_text(id)), Some(id));
        }
    }
}
