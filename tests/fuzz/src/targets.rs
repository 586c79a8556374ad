//! Every target by name, and what several of them need. A module for each family; none knows how inputs are changed or runs counted.

pub mod batches;
pub mod coordinators;
pub mod files;
pub mod metadata;
pub mod text;
pub mod wal;
pub mod wire;

use crate::Target;
use hayate_rt::random::Prng;

/// Everything that is fuzzed.
pub const ALL: &[Target] = &[
    Target {
        name: "frames",
        one_in: 1,
        sample: wire::request_frame,
        mend: wire::mend_frame,
        run: wire::frames,
    },
    Target { name: "responses", one_in: 1, sample: wire::response, mend: unmended, run: wire::responses },
    Target {
        name: "produce",
        one_in: 4,
        sample: batches::records,
        mend: batches::mend,
        run: batches::produce,
    },
    Target { name: "records", one_in: 8, sample: batches::segment, mend: batches::mend, run: batches::read },
    Target { name: "codecs", one_in: 4, sample: batches::packed, mend: unmended, run: batches::unpack },
    Target { name: "wal", one_in: 20, sample: wal::file, mend: wal::mend, run: wal::scan },
    Target { name: "wal-guard", one_in: 1, sample: wal::guard, mend: wal::mend_guard, run: wal::read_guard },
    Target {
        name: "checkpoint",
        one_in: 1,
        sample: files::checkpoint,
        mend: files::mend_checkpoint,
        run: files::read_checkpoint,
    },
    Target {
        name: "text-checkpoints",
        one_in: 1,
        sample: files::text,
        mend: unmended,
        run: files::read_text,
    },
    Target { name: "indexes", one_in: 1, sample: files::index, mend: unmended, run: files::read_index },
    Target {
        name: "producers",
        one_in: 1,
        sample: files::producers,
        mend: files::mend_producers,
        run: files::read_producers,
    },
    Target {
        name: "placement",
        one_in: 1,
        sample: files::placement,
        mend: files::mend_placement,
        run: files::read_placement,
    },
    Target {
        name: "metadata-records",
        one_in: 1,
        sample: metadata::record,
        mend: unmended,
        run: metadata::read_record,
    },
    Target {
        name: "metadata-snapshots",
        one_in: 2,
        sample: metadata::snapshot,
        mend: batches::mend,
        run: metadata::read_snapshot,
    },
    Target {
        name: "metadata-entries",
        one_in: 1,
        sample: metadata::entry,
        mend: unmended,
        run: metadata::read_entry,
    },
    Target {
        name: "group-records",
        one_in: 1,
        sample: coordinators::group_record,
        mend: coordinators::mend,
        run: coordinators::read_group_record,
    },
    Target {
        name: "transaction-records",
        one_in: 1,
        sample: coordinators::transaction_record,
        mend: coordinators::mend,
        run: coordinators::read_transaction_record,
    },
    Target {
        name: "share-state-records",
        one_in: 1,
        sample: coordinators::share_state_record,
        mend: coordinators::mend,
        run: coordinators::read_share_state_record,
    },
    Target {
        name: "consumer-protocol",
        one_in: 1,
        sample: coordinators::consumer_protocol,
        mend: unmended,
        run: coordinators::read_consumer_protocol,
    },
    Target {
        name: "properties",
        one_in: 100,
        sample: text::properties,
        mend: unmended,
        run: text::read_properties,
    },
    Target { name: "http", one_in: 1, sample: text::http, mend: unmended, run: text::read_http },
    Target { name: "names", one_in: 1, sample: text::name, mend: unmended, run: text::read_name },
];

/// For formats without lengths or checksums that a parser checks first.
fn unmended(_: &mut Vec<u8>) {}

/// Lower-case letters.
fn word(prng: &mut Prng, length_max: u64) -> String {
    (0..prng.below(length_max + 1)).map(|_| char::from(b'a' + prng.below(26) as u8)).collect()
}

/// A non-empty word that may name a topic.
fn topic_name(prng: &mut Prng) -> String {
    format!("t{}{}", word(prng, 12), ["", ".x", "_y", "-0"][prng.below(4) as usize])
}

fn id(prng: &mut Prng) -> [u8; 16] {
    (u128::from(prng.next_u64()) << 64 | u128::from(prng.next_u64())).to_be_bytes()
}

fn noise(prng: &mut Prng, length_max: u64) -> Vec<u8> {
    (0..prng.below(length_max + 1)).map(|_| prng.below(256) as u8).collect()
}

/// One of them.
fn choose<'a, T>(of: &'a [T], prng: &mut Prng) -> &'a T {
    &of[prng.below(of.len() as u64) as usize]
}
