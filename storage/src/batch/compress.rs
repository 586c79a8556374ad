//! The four codecs of Kafka's batches, both ways, over whole bodies: gzip, snappy (in the framing of xerial's snappy-java, which
//! Kafka's clients write; raw blocks are read too), lz4 frames, zstd. Knows nothing of batches or records.
//!
//! Decompression never grows beyond the caller's cap, whatever the compressed bytes claim.
//!
//! ```text
//!  xerial snappy: 82 'SNAPPY' 00 │ version i32 = 1 │ compatible i32 = 1 │ (block length i32 │ raw snappy block) …
//! ```

use std::io::{Read, Write};

use flate2::Compression as GzipLevel;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::header::Codec;

/// Why a body could not be decompressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodecError {
    /// More than `cap_bytes` would come out.
    TooLarge { cap_bytes: usize },
    /// The bytes are not a whole stream of this codec.
    Corrupt(Codec),
}

/// How hard a codec tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// The codec's own default, as in Kafka: gzip 6, zstd 3.
    #[default]
    Default,
    /// `compression.gzip.level` 1 to 9, `compression.zstd.level` −131072 to 22; beyond them the nearest one. Snappy and lz4 here
    /// have one level, so the number does not matter to them.
    Exact(i32),
}

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_VERSION: i32 = 1;
/// Uncompressed bytes of one xerial block, as snappy-java cuts them.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No snappy element gives more than 64 bytes for 3, or for 2 of them when it copies from nearby (at most 11).
const SNAPPY_RATIO_MAX: usize = 32;
/// The magic number of an lz4 frame, then its flags.
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4D, 0x18];
/// Of the flags: version 1, independent blocks, reserved bits clear; checksums and the content's size may be there or not.
const LZ4_FLAGS_MASK: u8 = 0b1110_0011;
const LZ4_FLAGS: u8 = 0b0110_0000;
const GZIP_LEVEL_DEFAULT: u32 = 6;
const ZSTD_LEVEL_DEFAULT: i32 = 3;
const ZSTD_LEVEL_MIN: i32 = -131_072;
const ZSTD_LEVEL_MAX: i32 = 22;

/// Decompresses a whole body.
///
/// # Errors
/// [`CodecError::TooLarge`] as soon as more than `cap_bytes` come out (no more than that is ever buffered, twice while growing);
/// [`CodecError::Corrupt`] when the stream is damaged or cut short.
pub fn decompress(codec: Codec, packed: &[u8], cap_bytes: usize) -> Result<Vec<u8>, CodecError> {
    match codec {
        Codec::None if packed.len() > cap_bytes => Err(CodecError::TooLarge { cap_bytes }),
        Codec::None => Ok(packed.to_vec()),
        Codec::Gzip => drain(codec, MultiGzDecoder::new(packed), cap_bytes),
        Codec::Snappy => snappy_decompress(packed, cap_bytes),
        Codec::Lz4 => drain(codec, FrameDecoder::new(packed), cap_bytes),
        Codec::Zstd => {
            let decoder = zstd::Decoder::with_buffer(packed).map_err(|_| CodecError::Corrupt(codec))?;
            drain(codec, decoder, cap_bytes)
        }
    }
}

/// Whether Kafka's Java clients know how the body is framed, as far as its first bytes tell: of lz4 they read frames of independent
/// blocks only, though blocks that refer to earlier ones are good lz4 (their `Lz4BlockInputStream`).
#[must_use]
pub fn is_framed_for_kafka(codec: Codec, packed: &[u8]) -> bool {
    let flags_at = LZ4_MAGIC.len();
    let flags = packed.get(flags_at).filter(|_| packed.starts_with(&LZ4_MAGIC));
    codec != Codec::Lz4 || flags.is_some_and(|flags| flags & LZ4_FLAGS_MASK == LZ4_FLAGS)
}

/// Reads a decoder to its end, or one byte beyond the cap.
fn drain(codec: Codec, decoder: impl Read, cap_bytes: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    let limit = u64::try_from(cap_bytes).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut out).map_err(|_| CodecError::Corrupt(codec))?;
    if out.len() > cap_bytes { Err(CodecError::TooLarge { cap_bytes }) } else { Ok(out) }
}

fn snappy_decompress(packed: &[u8], cap_bytes: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    if !packed.starts_with(&XERIAL_MAGIC) {
        snappy_block(packed, &mut out, cap_bytes)?;
        return Ok(out);
    }
    let mut left = packed;
    while !left.is_empty() {
        // snappy-java begins anew where streams were joined end to end.
        if left.starts_with(&XERIAL_MAGIC) {
            check_xerial_header(&mut left)?;
            continue;
        }
        let block = next_xerial_block(&mut left).ok_or(CodecError::Corrupt(Codec::Snappy))?;
        snappy_block(block, &mut out, cap_bytes)?;
    }
    Ok(out)
}

/// As in snappy-java, only the first of the two versions counts, and newer ones pass.
fn check_xerial_header(left: &mut &[u8]) -> Result<(), CodecError> {
    let header = left.split_off(..XERIAL_HEADER_BYTES).ok_or(CodecError::Corrupt(Codec::Snappy))?;
    let version = header.get(XERIAL_MAGIC.len()..).and_then(|rest| rest.first_chunk());
    let version = version.map_or(0, |bytes| i32::from_be_bytes(*bytes));
    if version < XERIAL_VERSION { Err(CodecError::Corrupt(Codec::Snappy)) } else { Ok(()) }
}

fn next_xerial_block<'a>(left: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = i32::from_be_bytes(*left.split_off(..4)?.first_chunk()?);
    left.split_off(..usize::try_from(length).ok()?)
}

/// Appends one raw snappy block; its claimed length is judged before anything is allocated.
fn snappy_block(block: &[u8], out: &mut Vec<u8>, cap_bytes: usize) -> Result<(), CodecError> {
    let corrupt = CodecError::Corrupt(Codec::Snappy);
    let length = snap::raw::decompress_len(block).map_err(|_| corrupt)?;
    if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(corrupt);
    }
    let start = out.len();
    if length > cap_bytes - start.min(cap_bytes) {
        return Err(CodecError::TooLarge { cap_bytes });
    }
    out.resize(start + length, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, room).map_err(|_| corrupt)?;
    if written == length { Ok(()) } else { Err(corrupt) }
}

/// Compresses a whole body in the framing that Kafka's Java clients write.
///
/// # Panics
/// Only when memory runs out: the encoders write to memory, which cannot fail otherwise.
#[must_use]
pub fn compress(codec: Codec, level: Level, plain: &[u8]) -> Vec<u8> {
    let packed = match codec {
        Codec::None => Ok(plain.to_vec()),
        Codec::Gzip => gzip_compress(level, plain),
        Codec::Snappy => Ok(snappy_compress(plain)),
        Codec::Lz4 => lz4_compress(plain),
        Codec::Zstd => zstd::bulk::compress(plain, zstd_level(level)),
    };
    packed.expect("compressing into memory fails only without memory")
}

fn gzip_compress(level: Level, plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let level = match level {
        Level::Default => GZIP_LEVEL_DEFAULT,
        // 1 to 9, so the sign never matters.
        Level::Exact(level) => level.clamp(1, 9).unsigned_abs(),
    };
    let mut encoder = GzEncoder::new(Vec::new(), GzipLevel::new(level));
    encoder.write_all(plain)?;
    encoder.finish()
}

fn snappy_compress(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).expect("a block of 32 KiB is within snappy's limits");
        let length = i32::try_from(packed.len()).expect("32 KiB grow by a sixth at most");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&packed);
    }
    out
}

fn lz4_compress(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    // Independent blocks: Kafka's Java reader knows no others. 64 KiB each, as its writer makes them.
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

fn zstd_level(level: Level) -> i32 {
    match level {
        Level::Default => ZSTD_LEVEL_DEFAULT,
        Level::Exact(level) => level.clamp(ZSTD_LEVEL_MIN, ZSTD_LEVEL_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{seeded, unhex};
    use proptest::prelude::*;

    const PACKED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    const MIB: usize = 1 << 20;

    fn text(bytes: usize) -> Vec<u8> {
        b"All happy families are alike. ".iter().copied().cycle().take(bytes).collect()
    }

    #[test]
    fn every_codec_both_ways_at_every_size_that_matters() {
        for codec in Codec::ALL {
            for bytes in [0, 1, 100, XERIAL_BLOCK_BYTES, XERIAL_BLOCK_BYTES + 1, 64 * 1024, 3 * MIB + 5] {
                let plain = text(bytes);
                let packed = compress(codec, Level::Default, &plain);
                assert_eq!(decompress(codec, &packed, bytes), Ok(plain), "{codec:?} {bytes}");
            }
        }
    }

    #[test]
    fn lz4_of_dependent_blocks_is_not_kafkas() {
        for codec in Codec::ALL {
            assert!(
                is_framed_for_kafka(codec, &compress(codec, Level::Default, &text(100_000))),
                "{codec:?}"
            );
        }
        let linked = FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max64KB);
        let mut encoder = FrameEncoder::with_frame_info(linked, Vec::new());
        encoder.write_all(&text(100_000)).unwrap();
        let linked = encoder.finish().unwrap();
        assert_eq!(decompress(Codec::Lz4, &linked, MIB), Ok(text(100_000)), "good lz4 all the same");
        assert!(!is_framed_for_kafka(Codec::Lz4, &linked));
        for (bytes, known) in [("04224d1860", true), ("04224d187c", true), ("04224d18", false), ("", false)] {
            assert_eq!(is_framed_for_kafka(Codec::Lz4, &unhex(bytes)), known, "{bytes}");
        }
        for bytes in ["04224d1861", "04224d18a0", "02214c1860"] {
            assert!(!is_framed_for_kafka(Codec::Lz4, &unhex(bytes)), "{bytes}");
        }
    }

    #[test]
    fn levels_are_held_within_what_the_codec_knows() {
        for level in [i32::MIN, -1, 0, 1, 9, 22, i32::MAX] {
            for codec in PACKED {
                let packed = compress(codec, Level::Exact(level), &text(10_000));
                assert_eq!(decompress(codec, &packed, 10_000), Ok(text(10_000)), "{codec:?} {level}");
            }
        }
    }

    #[test]
    fn the_cap_stops_bombs() {
        let zeros = vec![0; 64 * MIB];
        for codec in PACKED {
            let packed = compress(codec, Level::Default, &zeros);
            assert!(packed.len() < zeros.len() / 20, "{codec:?} gives {}", packed.len());
            assert_eq!(
                decompress(codec, &packed, MIB),
                Err(CodecError::TooLarge { cap_bytes: MIB }),
                "{codec:?}"
            );
            let one_short = zeros.len() - 1;
            assert_eq!(
                decompress(codec, &packed, one_short),
                Err(CodecError::TooLarge { cap_bytes: one_short })
            );
        }
        assert_eq!(decompress(Codec::None, &[0; 3], 2), Err(CodecError::TooLarge { cap_bytes: 2 }));
    }

    #[test]
    fn cutting_anywhere_is_noticed_or_gives_a_prefix() {
        let plain = text(XERIAL_BLOCK_BYTES + 500);
        for codec in PACKED {
            let packed = compress(codec, Level::Default, &plain);
            for cut in 0..packed.len() {
                match decompress(codec, &packed[..cut], plain.len()) {
                    Err(CodecError::Corrupt(of)) => assert_eq!(of, codec),
                    Err(CodecError::TooLarge { .. }) => panic!("{codec:?} grew when cut to {cut}"),
                    // xerial has no end mark, lz4's may be missing, gzip and zstd read nothing as nothing: the count tells.
                    Ok(got) => assert!(plain.starts_with(&got), "{codec:?} cut to {cut}"),
                }
            }
        }
    }

    #[test]
    fn snappy_comes_raw_or_framed_or_in_several_streams() {
        let plain = text(5_000);
        let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        assert_eq!(decompress(Codec::Snappy, &raw, MIB), Ok(plain.clone()));
        let framed = compress(Codec::Snappy, Level::Default, &plain);
        let twice = [framed.as_slice(), &framed].concat();
        assert_eq!(decompress(Codec::Snappy, &twice, MIB), Ok([plain.as_slice(), &plain].concat()));
    }

    #[test]
    fn snappy_lengths_are_judged_before_they_are_believed() {
        let corrupt = Err(CodecError::Corrupt(Codec::Snappy));
        let header = "82534e41505059000000000100000001";
        for (bytes, expected) in [
            // A raw block that claims 4 GiB − 1 and holds nothing.
            ("ffffffff0f", corrupt.clone()),
            // Framed: a negative block length, one beyond the bytes, a header cut short, a version that never was.
            (&format!("{header}ffffffff00"), corrupt.clone()),
            (&format!("{header}7fffffff00"), corrupt.clone()),
            (&format!("{header}000000"), corrupt.clone()),
            ("8253 4e41 5050 5900 0000 0001", corrupt.clone()),
            ("8253 4e41 5050 5900 0000 0000 0000 0001 0000 0001 00", corrupt),
            (header, Ok(Vec::new())),
        ] {
            assert_eq!(decompress(Codec::Snappy, &unhex(bytes), usize::MAX), expected, "{bytes}");
        }
    }

    proptest! {
        #![proptest_config(seeded(512))]

        #[test]
        fn anything_survives_the_round_trip(plain in proptest::collection::vec(any::<u8>(), 0..9_000), codec in 0..5_u8) {
            let codec = Codec::from_id(codec).unwrap();
            let packed = compress(codec, Level::Default, &plain);
            prop_assert_eq!(decompress(codec, &packed, plain.len()), Ok(plain));
        }

        #[test]
        fn damage_never_breaks_the_cap(
            at in any::<prop::sample::Index>(),
            with in any::<[u8; 3]>(),
            codec in 1..5_u8,
        ) {
            let codec = Codec::from_id(codec).unwrap();
            let mut packed = compress(codec, Level::Default, &text(70_000));
            let at = at.index(packed.len() - with.len());
            packed[at..at + with.len()].copy_from_slice(&with);
            if let Ok(plain) = decompress(codec, &packed, 80_000) {
                prop_assert!(plain.len() <= 80_000);
            }
        }

        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), codec in 1..5_u8) {
            let _ = decompress(Codec::from_id(codec).unwrap(), &bytes, 4_096);
        }
    }
}
