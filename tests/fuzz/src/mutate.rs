//! Changes to valid inputs: numbers, lengths and varints at their limits, bits, cuts, repetitions, and splices of two inputs. Draws only
//! from the source that it is given. Knows no format: what only a format knows, checksums above all, is mended afterwards.

use crate::Target;
use hayate_rt::random::Prng;

/// No input grows beyond this.
pub const INPUT_BYTES_MAX: usize = 64 << 10;

/// Where parsers go wrong.
const NUMBERS: [i64; 24] = [
    0,
    1,
    2,
    -1,
    -2,
    7,
    16,
    100,
    127,
    128,
    255,
    256,
    4096,
    i16::MAX as i64,
    i16::MIN as i64,
    u16::MAX as i64,
    1 << 20,
    1 << 24,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    1 << 40,
    i64::MAX,
    i64::MIN,
];

/// One kind of change.
type Change = fn(&mut Vec<u8>, &mut Prng);

const CHANGES: [Change; 13] = [
    flip_bit,
    set_byte,
    set_number,
    set_number,
    set_varint,
    set_varint,
    truncate,
    extend,
    remove,
    repeat,
    inflate,
    insert_zeros,
    set_digits,
];

/// Changes `bytes`, an input of `target`, once.
pub fn change(bytes: &mut Vec<u8>, target: &Target, prng: &mut Prng) {
    if prng.chance(1, 12) {
        splice(bytes, &(target.sample)(prng), prng);
    } else {
        CHANGES[index(CHANGES.len(), prng)](bytes, prng);
    }
    bytes.truncate(INPUT_BYTES_MAX);
}

/// A number below `bound`, 0 when that is 0.
pub fn index(bound: usize, prng: &mut Prng) -> usize {
    prng.below(bound as u64) as usize
}

fn flip_bit(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let at = index(bytes.len(), prng);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << prng.below(8);
    }
}

fn set_byte(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let at = index(bytes.len(), prng);
    if let Some(byte) = bytes.get_mut(at) {
        *byte = prng.below(256) as u8;
    }
}

/// Puts a fixed-size number of any width and order somewhere: one at a limit, or a neighbour of the one that is there.
fn set_number(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let width = 1 << prng.below(4);
    let at = index(bytes.len(), prng);
    let Some(field) = bytes.get_mut(at..at + width) else { return };
    let little = prng.chance(1, 3);
    let mut whole = [0; 8];
    whole[8 - width..].copy_from_slice(field);
    if little {
        whole[8 - width..].reverse();
    }
    let number = match prng.below(4) {
        0 => i64::from_be_bytes(whole).wrapping_add(prng.below(5).cast_signed() - 2),
        _ => NUMBERS[index(NUMBERS.len(), prng)],
    };
    whole = number.to_be_bytes();
    if little {
        whole[8 - width..].reverse();
    }
    field.copy_from_slice(&whole[8 - width..]);
}

/// Puts a varint, plain or zigzag, in the place of one byte or of as many as it has.
fn set_varint(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let number = NUMBERS[index(NUMBERS.len(), prng)];
    let number =
        if prng.chance(1, 2) { (number << 1 ^ number >> 63).cast_unsigned() } else { number.cast_unsigned() };
    let varint = varint(if prng.chance(1, 2) { number & u64::from(u32::MAX) } else { number });
    let at = index(bytes.len() + 1, prng);
    let replaced = if prng.chance(1, 2) { 1 } else { varint.len() };
    let end = (at + replaced).min(bytes.len());
    bytes.splice(at..end, varint);
}

/// LEB128.
pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn truncate(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let length = index(bytes.len(), prng);
    bytes.truncate(length);
}

fn extend(bytes: &mut Vec<u8>, prng: &mut Prng) {
    for _ in 0..=prng.below(16) {
        bytes.push(prng.below(256) as u8);
    }
}

/// A range that is short more often than long.
fn some_range(bytes: &[u8], prng: &mut Prng) -> std::ops::Range<usize> {
    let at = index(bytes.len(), prng);
    let left = bytes.len() - at;
    let most = if prng.chance(3, 4) { left.min(24) } else { left };
    at..at + index(most + 1, prng)
}

fn remove(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let range = some_range(bytes, prng);
    bytes.drain(range);
}

fn repeat(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let range = some_range(bytes, prng);
    let at = range.end;
    let copies = bytes[range].repeat(times(prng));
    insert(bytes, at, copies);
}

/// A few, and now and then many.
fn times(prng: &mut Prng) -> usize {
    let most = if prng.chance(1, 16) { 4096 } else { 16 };
    1 + index(most, prng)
}

/// Claims that many elements come, and lets them come: small ones, which grow most when they are decoded.
fn inflate(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let at = index(bytes.len(), prng);
    let element = element(&bytes[at..], prng);
    let count = times(prng);
    let (length, replaced) = match prng.below(3) {
        0 => (varint(count as u64 + 1), 1),
        1 => (varint((count as u64) << 1), 1),
        _ => ((count as u32).to_be_bytes().to_vec(), 4),
    };
    let end = (at + replaced).min(bytes.len());
    let inserted = [length, element.repeat(count)].concat();
    if bytes.len() + inserted.len() <= INPUT_BYTES_MAX {
        bytes.splice(at..end, inserted);
    }
}

/// Empty strings and lists, or what stands at `source`.
fn element(source: &[u8], prng: &mut Prng) -> Vec<u8> {
    let length = 1 + index(24, prng);
    match prng.below(3) {
        0 => vec![0; length],
        1 => [&vec![1; length][..], &[0]].concat(),
        _ => source[..length.min(source.len())].to_vec(),
    }
}

fn insert_zeros(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let at = index(bytes.len() + 1, prng);
    let zeros = vec![0; times(prng)];
    insert(bytes, at, zeros);
}

fn insert(bytes: &mut Vec<u8>, at: usize, inserted: Vec<u8>) {
    if bytes.len() + inserted.len() <= INPUT_BYTES_MAX {
        bytes.splice(at..at, inserted);
    }
}

/// Puts another number where one is written in digits.
fn set_digits(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let from = index(bytes.len(), prng);
    let Some(at) = bytes.iter().skip(from).position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = NUMBERS[index(NUMBERS.len(), prng)].to_string();
    bytes.splice(at..at + digits, number.into_bytes());
}

/// The beginning of one input and the end of another.
fn splice(bytes: &mut Vec<u8>, other: &[u8], prng: &mut Prng) {
    let (kept, from) = (index(bytes.len() + 1, prng), index(other.len() + 1, prng));
    bytes.truncate(kept);
    bytes.extend_from_slice(&other[from..]);
}
