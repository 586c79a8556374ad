//! Kafka's text form of a 16-byte id: base64 with the URL alphabet, no padding, 22 characters (RFC 4648 §5).
//! Used for topic, cluster and directory ids.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of an id: 128 bits in groups of 6, the last 4 bits of the last group are 0.
const CHARS: usize = 22;
const SPARE_BITS: u32 = 4;

/// The text of an id.
#[must_use]
pub fn uuid_to_text(id: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(id);
    let group = |number: usize| match number {
        last if last == CHARS - 1 => (bits << SPARE_BITS) & 63,
        number => (bits >> (122 - 6 * number)) & 63,
    };
    (0..CHARS).map(|number| char::from(ALPHABET[group(number) as usize])).collect()
}

/// The id of a text; `None` unless it is exactly what [`uuid_to_text`] writes.
#[must_use]
pub fn uuid_from_text(text: &str) -> Option<[u8; 16]> {
    let (last, groups) = text.as_bytes().split_last()?;
    if text.len() != CHARS {
        return None;
    }
    let mut bits = 0_u128;
    for byte in groups {
        bits = bits << 6 | value(*byte)?;
    }
    let last = value(*last)?;
    (last % (1 << SPARE_BITS) == 0).then(|| (bits << 2 | last >> SPARE_BITS).to_be_bytes())
}

fn value(byte: u8) -> Option<u128> {
    let value = ALPHABET.iter().position(|letter| *letter == byte)?;
    u128::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_ids() {
        let counted: [u8; 16] = std::array::from_fn(|index| index as u8);
        for (id, text) in [
            ([0; 16], "AAAAAAAAAAAAAAAAAAAAAA"),
            (1_u128.to_be_bytes(), "AAAAAAAAAAAAAAAAAAAAAQ"),
            ([255; 16], "_____________________w"),
            (counted, "AAECAwQFBgcICQoLDA0ODw"),
        ] {
            assert_eq!(uuid_to_text(id), text);
            assert_eq!(uuid_from_text(text), Some(id));
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "A",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAAAAAAAA ",
            "éAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(uuid_from_text(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_round_trip(id in any::<[u8; 16]>()) {
            prop_assert_eq!(uuid_from_text(&uuid_to_text(id)), Some(id));
        }
    }
}
