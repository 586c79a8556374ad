//! The checksum of a record batch (CRC-32C over everything from the attributes on), and its repair after a change in the header
//! that does not read the records again. Knows nothing of what the bytes mean.
//!
//! A CRC is linear: crc(A‖B) = shift(crc(A), |B|) ⊕ crc(B), where `shift` multiplies by x^(8·|B|) modulo the polynomial. So when A
//! becomes A′, the new sum is the old one ⊕ shift(crc(A) ⊕ crc(A′), |B|): the sum of B alone is never needed. The powers of x are
//! tabled at compile time, as Mark Adler does in zlib's `crc32_combine`.

use super::header::{ATTRIBUTES_AT, HEADER_BYTES};

/// The Castagnoli polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `BYTE_POWERS[n]` is x^(8·2^n) modulo the polynomial: what 2^n bytes behind a sum do to it.
const BYTE_POWERS: [u32; usize::BITS as usize] = byte_powers();

/// CRC-32C of `bytes`; hardware instructions where the machine has them.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The CRC that a whole batch must carry.
///
/// `batch` is header and records, nothing behind them; with fewer than 21 bytes there is nothing to sum and the answer is 0.
#[must_use]
pub fn batch_crc(batch: &[u8]) -> u32 {
    crc32c(batch.get(ATTRIBUTES_AT..).unwrap_or_default())
}

/// CRC-32C of A‖B from those of A and of B, and the length of B.
#[must_use]
pub fn combine(crc_a: u32, crc_b: u32, b_bytes: usize) -> u32 {
    shift(crc_a, b_bytes) ^ crc_b
}

/// The CRC of a batch whose header changed: from its old CRC, both headers, and the number of bytes behind the header.
#[must_use]
pub fn after_header_change(
    crc_old: u32,
    head_old: &[u8; HEADER_BYTES],
    head_new: &[u8; HEADER_BYTES],
    records_bytes: usize,
) -> u32 {
    let difference = crc32c(&head_old[ATTRIBUTES_AT..]) ^ crc32c(&head_new[ATTRIBUTES_AT..]);
    combine(difference, crc_old, records_bytes)
}

/// `crc` · x^(8·bytes) modulo the polynomial.
fn shift(crc: u32, bytes: usize) -> u32 {
    let mut shifted = crc;
    for (n, power) in BYTE_POWERS.iter().enumerate() {
        if bytes >> n == 0 {
            break;
        }
        if bytes >> n & 1 == 1 {
            shifted = multiply(*power, shifted);
        }
    }
    shifted
}

/// a · b modulo the polynomial; the highest bit is the coefficient of x^0.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 1 << 31;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 1 { b >> 1 ^ POLYNOMIAL } else { b >> 1 };
        bit >>= 1;
    }
    product
}

const fn byte_powers() -> [u32; usize::BITS as usize] {
    let mut powers = [0; usize::BITS as usize];
    let mut power = 1 << 23;
    let mut n = 0;
    while n < powers.len() {
        powers[n] = power;
        power = multiply(power, power);
        n += 1;
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::seeded;
    use proptest::prelude::*;

    #[test]
    fn the_check_value_of_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(combine(crc32c(b"1234"), crc32c(b"56789"), 5), 0xe306_9283);
    }

    proptest! {
        #![proptest_config(seeded(256))]

        #[test]
        fn combining_equals_summing_it_all(bytes in proptest::collection::vec(any::<u8>(), 0..70_000), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(bytes.len() + 1);
            let (a, b) = bytes.split_at(cut);
            prop_assert_eq!(combine(crc32c(a), crc32c(b), b.len()), crc32c(&bytes));
            prop_assert_eq!(combine(crc32c(a), crc32c(b), b.len()), ::crc32c::crc32c_combine(crc32c(a), crc32c(b), b.len()));
        }

        #[test]
        fn a_changed_header_needs_no_second_look_at_the_records(
            records in proptest::collection::vec(any::<u8>(), 0..5_000),
            old in proptest::collection::vec(any::<u8>(), HEADER_BYTES),
            new in proptest::collection::vec(any::<u8>(), HEADER_BYTES),
        ) {
            let old: [u8; HEADER_BYTES] = old.try_into().unwrap();
            let new: [u8; HEADER_BYTES] = new.try_into().unwrap();
            let before = batch_crc(&[old.as_slice(), &records].concat());
            let after = batch_crc(&[new.as_slice(), &records].concat());
            prop_assert_eq!(after_header_change(before, &old, &new, records.len()), after);
        }
    }
}
