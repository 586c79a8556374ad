//! Judging what a producer sent, and the rewriting that only Kafka's settings ask for. Pure, and done before the records reach
//! their partition: where each record must be looked at, or written anew, the work is as large as the producer made it, and is done
//! off the shard's thread ([`is_large`]). A panic in it takes the producer's connection, never the process.

use super::PartitionSettings;
use super::refusal::AppendFailure;
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

/// What came of judging.
pub type Verdict = Result<Judged, AppendFailure>;

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
pub fn judge(records: &Bytes, settings: &PartitionSettings, produce_version: i16, now_ms: i64) -> Verdict {
    let rules = settings.rules(produce_version);
    let valid = validate(records, &rules, now_ms)
        .map_err(|error| AppendFailure::of_batch(error, records, &rules, now_ms))?;
    match valid.recompress {
        None => Ok(Judged { records: records.clone(), valid, rewritten_bytes: 0 }),
        Some(codec) => rewrite(records, valid, codec, &settings.log),
    }
}

/// The batch in the topic's own codec. Its size is judged again, as Kafka does.
fn rewrite(records: &[u8], valid: ValidBatch, codec: Codec, config: &LogConfig) -> Verdict {
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

#[cfg(test)]
mod tests {
    use super::*;
    use hayate_storage::batch::BatchBuilder;
    use hayate_storage::config::CompressionType;

    const NOW_MS: i64 = 1_767_225_600_000;

    fn batch(codec: Codec, bytes: usize) -> Bytes {
        BatchBuilder::new().codec(codec).record(NOW_MS, Some(b"k"), Some(&vec![b'v'; bytes])).build()
    }

    fn settings(adjust: impl FnOnce(&mut LogConfig)) -> PartitionSettings {
        let mut settings = PartitionSettings::default();
        adjust(&mut settings.log);
        settings
    }

    #[test]
    fn only_what_the_header_does_not_tell_is_looked_at_and_only_the_costly_elsewhere() {
        let plain = settings(|_| ());
        let zstd = settings(|log| log.compression_type = CompressionType::Broker(Codec::Zstd));
        let compacted = settings(|log| log.cleanup_policy.compact = true);
        for (case, settings, codec, bytes, looked_at, elsewhere) in [
            ("as it came", &plain, Codec::Lz4, 100, false, true),
            ("plain", &plain, Codec::None, 100, false, false),
            ("in its codec already", &zstd, Codec::Zstd, 100, false, true),
            ("to be written anew", &zstd, Codec::None, 100, true, true),
            ("keys looked at", &compacted, Codec::None, 100, true, false),
            ("many keys looked at", &compacted, Codec::None, SMALL_BYTES_MAX, true, true),
            ("packed keys looked at", &compacted, Codec::Snappy, 100, true, true),
        ] {
            let batch = batch(codec, bytes);
            assert_eq!(needs_judging(&batch, settings, 13, NOW_MS), looked_at, "{case}");
            assert_eq!(is_large(&batch, settings), elsewhere, "{case}");
        }
        assert!(needs_judging(&batch(Codec::None, 1), &plain, 13, 0), "a time that is in doubt");
        assert!(!needs_judging(b"no batch", &zstd, 13, NOW_MS));
    }

    #[test]
    fn what_is_written_anew_says_so_and_must_not_outgrow_the_topics_limit() {
        let zstd = settings(|log| log.compression_type = CompressionType::Broker(Codec::Zstd));
        let judged = judge(&batch(Codec::None, 5000), &zstd, 13, NOW_MS).unwrap();
        assert_eq!(judged.rewritten_bytes, judged.records.len());
        assert_eq!(judged.valid.header.codec(), Some(Codec::Zstd));
        let unpacked = settings(|log| {
            log.compression_type = CompressionType::Broker(Codec::None);
            log.max_message_bytes = 1000;
        });
        let refused = judge(&batch(Codec::Zstd, 5000), &unpacked, 13, NOW_MS).unwrap_err();
        assert_eq!(refused.code, ErrorCode::MessageTooLarge);
        let kept = judge(&batch(Codec::Lz4, 500), &settings(|_| ()), 13, NOW_MS).unwrap();
        assert_eq!(kept.rewritten_bytes, 0);
    }
}
