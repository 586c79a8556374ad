//! Writes a batch anew with another codec, as the leader does when the topic's `compression.type` differs from the producer's.
//! The one place on the produce path where records are decoded; knows nothing of topics.

use bytes::Bytes;

use super::compress::Level;
use super::encode::BatchBuilder;
use super::header::{BatchHeader, Codec, TimestampType};
use super::records::{Records, RecordsError, body};

/// The batch that `batch` begins with, its records packed by `codec`.
///
/// Offsets are assigned anew without gaps from the base offset on, and the base and greatest timestamps come from the records, as
/// Kafka's `LogValidator` does when it rebuilds. Producer, sequence, leader epoch, flags and record attributes stay.
///
/// # Errors
/// [`RecordsError`] when the records cannot be read, or unpack to more than `cap_bytes`. The result may be larger than the
/// original: the caller compares it with `max.message.bytes` again.
pub fn recompress(batch: &[u8], codec: Codec, level: Level, cap_bytes: usize) -> Result<Bytes, RecordsError> {
    let header = BatchHeader::parse(batch).map_err(RecordsError::Header)?;
    let body = body(batch, &header, cap_bytes)?;
    let mut builder = BatchBuilder::new()
        .base_offset(header.base_offset)
        .leader_epoch(header.partition_leader_epoch)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.is_transactional())
        .control(header.is_control())
        .codec(codec)
        .level(level);
    if header.timestamp_type() == TimestampType::LogAppendTime {
        builder = builder.log_append_time(header.max_timestamp_ms);
    }
    for record in Records::new(&header, &body)? {
        builder.append_record(&record?);
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::compress::CodecError;
    use crate::batch::header::HeaderError;
    use crate::batch::records::Header;
    use crate::batch::scan::verify;
    use crate::batch::{LeaderEpoch, Offset, ProducerId};

    fn sample(codec: Codec) -> BatchBuilder {
        let mut builder = BatchBuilder::new()
            .codec(codec)
            .base_offset(Offset(40))
            .leader_epoch(LeaderEpoch(6))
            .producer(ProducerId(3), 1, 77)
            .transactional(true);
        let headers = [
            Header { key: b"h", value: None },
            Header { key: b"h", value: Some(b"\xff") },
            Header { key: b"", value: None },
        ];
        builder.append(1_000, Some(b"k"), Some(&[b'v'; 3_000]), &headers);
        builder.append(990, None, None, &[]);
        builder
    }

    #[test]
    fn every_pair_of_codecs_gives_what_writing_directly_gives() {
        for from in Codec::ALL {
            for to in Codec::ALL {
                let rewritten = recompress(&sample(from).build(), to, Level::Default, 1 << 20).unwrap();
                assert_eq!(rewritten, sample(to).build(), "{from:?} → {to:?}");
                verify(&BatchHeader::parse(&rewritten).unwrap(), &rewritten).unwrap();
            }
        }
    }

    #[test]
    fn log_append_time_is_kept() {
        let batch = sample(Codec::None).log_append_time(5_000).build();
        let rewritten = recompress(&batch, Codec::Zstd, Level::Exact(9), 1 << 20).unwrap();
        let header = BatchHeader::parse(&rewritten).unwrap();
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp_ms, 5_000);
    }

    #[test]
    fn bad_batches_are_errors() {
        let batch = sample(Codec::Zstd).build();
        let run = |bytes: &[u8], cap| recompress(bytes, Codec::None, Level::Default, cap).unwrap_err();
        assert_eq!(run(&batch, 1_000), RecordsError::Codec(CodecError::TooLarge { cap_bytes: 1_000 }));
        for cut in 0..batch.len() {
            let expected = match cut {
                0..61 => RecordsError::Header(HeaderError::Short { have_bytes: cut }),
                _ => RecordsError::Short,
            };
            assert_eq!(run(&batch[..cut], 1 << 20), expected);
        }
    }
}
