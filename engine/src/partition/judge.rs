//! Judging what a producer sent, and the rewriting that only Kafka's settings ask for. Pure, and done before the records reach
//! their partition: where each record must be looked at, or written anew, the work is as large as the producer made it, and is done
//! off the shard's thread ([`is_large`]). A panic in it takes the producer's connection, never the process.

use super::{AppendFailure, PartitionSettings};
use bytes::Bytes;
use hayate_net::error::ErrorCode;
use hayate_storage::batch::compress::Level;
use hayate_storage::batch::recompress::recompress;
use hayate_storage::batch::validate::{needs_records, validate};
use hayate_storage::batch::{BatchError, BatchHeader, Codec, ProduceRules, ValidBatch};
use hayate_storage::config::LogConfig;

/// Batches up to this are looked through on the shard's thread, if nothing in them must be unpacked: 100 µs or so.
const SMALL_BYTES_MAX: usize = 256 << 10;

/// A batch that may be appended.
#[derive(Debug)]
pub struct Judged {
    /// The batch: as it came, or written anew.
    pub records: Bytes,
    /// What is known of it.
    pub valid: ValidBatch,
    /// Bytes that were written anew.
    pub rewritten_bytes: usize,
}

/// Whether the header does not tell all that the settings ask: the batch must be judged before it goes to its partition.
pub fn needs_judging(
    records: &[u8],
    settings: &PartitionSettings,
    produce_version: i16,
    now_ms: i64,
) -> bool {
    needs_records(records, &settings.rules(produce_version), now_ms)
}

/// Whether judging these records takes long, or may take much memory.
pub fn is_large(records: &[u8], settings: &PartitionSettings) -> bool {
    let is_plain = BatchHeader::parse(records).is_ok_and(|header| header.codec() == Some(Codec::None));
    let stays = matches!(settings.rules(0).codec, None | Some(Codec::None));
    !is_plain || !stays || records.len() > SMALL_BYTES_MAX
}

/// Judges the records of a produce request of `produce_version` for a partition with these settings.
///
/// # Errors
/// [`AppendFailure`]: what the producer gets to hear.
pub fn judge(
    records: &Bytes,
    settings: &PartitionSettings,
    produce_version: i16,
    now_ms: i64,
) -> Result<Judged, AppendFailure> {
    let valid = validate(records, &settings.rules(produce_version), now_ms)?;
    match valid.recompress {
        None => Ok(Judged { records: records.clone(), valid, rewritten_bytes: 0 }),
        Some(codec) => rewrite(records, valid, codec, &settings.log),
    }
}

/// The batch in the topic's own codec. Its size is judged again, as Kafka does.
fn rewrite(
    records: &[u8],
    valid: ValidBatch,
    codec: Codec,
    config: &LogConfig,
) -> Result<Judged, AppendFailure> {
    let batch = &records[..valid.header.total_bytes()];
    let cap_bytes = ProduceRules::default().unpacked_bytes_max;
    let rewritten = recompress(batch, codec, level_of(codec, config), cap_bytes)
        .map_err(|error| AppendFailure::from(BatchError::Records(error)))?;
    let max_bytes = config.max_message_bytes as usize;
    if rewritten.len() > max_bytes {
        return Err(BatchError::TooLarge { batch_bytes: rewritten.len(), max_bytes }.into());
    }
    let header = BatchHeader::parse(&rewritten).map_err(|_| ErrorCode::UnknownServerError)?;
    let rewritten_bytes = rewritten.len();
    let valid = ValidBatch { header, stamp: valid.stamp, recompress: None };
    Ok(Judged { records: rewritten, valid, rewritten_bytes })
}

/// The topic's compression level for a codec; codecs without levels ignore it.
fn level_of(codec: Codec, config: &LogConfig) -> Level {
    match codec {
        Codec::Gzip if config.compression_gzip_level < 0 => Level::Default,
        Codec::Gzip => Level::Exact(config.compression_gzip_level),
        Codec::Zstd => Level::Exact(config.compression_zstd_level),
        Codec::None | Codec::Snappy | Codec::Lz4 => Level::Default,
    }
}
