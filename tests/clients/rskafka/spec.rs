//! The generator and the hash of the interop tests in Rust; tests/clients/README.md specifies both and tests/clients/spec.py
//! is their first implementation. A record is a pure function of (seed, partition, index). Knows no client.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

const POOL_BYTES: usize = 1 << 20;
const HALF_POOL: usize = POOL_BYTES / 2;
const HEADER_NAMES: [&str; 4] = ["h", "h", "trace-id", "ключ"];
const HEADER_COUNTS: [u64; 4] = [0, 0, 1, 4];
const TS0: &str = "1700000000000";

/// What a record holds; the absent and the empty are not the same.
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since the epoch; 0 where the SPEC leaves timestamps out.
    pub timestamp_ms: i64,
}

/// One SPEC: `key=value` words.
pub struct Spec {
    pub topic: String,
    pub partitions: usize,
    pub records: usize,
    seed: u64,
    ts0_ms: i64,
    codecs: Vec<String>,
    without: Vec<String>,
    pool: Vec<u8>,
}

impl Spec {
    /// # Errors
    /// A word that is none, or a number that is none.
    pub fn parse(text: &str) -> Result<Spec, String> {
        let mut words = BTreeMap::from([
            ("topic", ""),
            ("seed", "1"),
            ("partitions", "1"),
            ("records", "0"),
            ("ts0", TS0),
            ("codecs", "none,gzip,snappy,lz4,zstd"),
            ("without", ""),
        ]);
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("SPEC {word}: no value"))?;
            words.insert(key, value);
        }
        let number = |key| words[key].parse::<u64>().map_err(|e| format!("SPEC {key}: {e}"));
        let list = |key| words[key].split(',').map(str::to_owned).collect();
        let seed = number("seed")?;
        Ok(Spec {
            topic: words["topic"].to_owned(),
            partitions: number("partitions")? as usize,
            records: number("records")? as usize,
            seed,
            ts0_ms: number("ts0")? as i64,
            codecs: list("codecs"),
            without: list("without"),
            pool: pool(seed),
        })
    }

    pub fn codec(&self, partition: usize) -> &str {
        &self.codecs[partition % self.codecs.len()]
    }

    /// How many of the records lie in this partition.
    pub fn count(&self, partition: usize) -> usize {
        self.records / self.partitions + usize::from(partition < self.records % self.partitions)
    }

    pub fn leaves_out(&self, what: &str) -> bool {
        self.without.iter().any(|word| word == what)
    }

    pub fn record(&self, partition: usize, index: usize) -> Record {
        let at = |index: u64| mix(mix(self.seed) ^ ((partition as u64) << 40 | index));
        let base = at(index as u64);
        let value_bytes = value_length(base);
        let mut value = value_bytes.map(|length| self.slice(pick(base, 3, HALF_POOL), length));
        let mut key = match pick(base, 4, 10) {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(self.slice(pick(base, 5, HALF_POOL), 1 + pick(base, 6, 32))),
        };
        if self.leaves_out("empty") {
            key = key.filter(|bytes| !bytes.is_empty());
            value = value.filter(|bytes| !bytes.is_empty());
        }
        if self.leaves_out("null-records") && key.is_none() {
            value = value.or(Some(Vec::new()));
        }
        let header_base = if self.leaves_out("row-headers") { at(0xFFFF_FFFF) } else { base };
        let timestamp_ms = self.ts0_ms + index as i64 * 5 + pick(base, 30, 2001) as i64 - 1000;
        let timestamp_ms = if self.leaves_out("timestamps") { 0 } else { timestamp_ms };
        Record { key, value, headers: self.headers(header_base), timestamp_ms }
    }

    fn headers(&self, base: u64) -> Vec<(String, Option<Vec<u8>>)> {
        let count = HEADER_COUNTS[pick(base, 7, 4)];
        let mut headers: Vec<_> = (0..count).map(|j| self.header(base, 3 * j)).collect();
        if self.leaves_out("duplicate-headers") {
            headers = last_of_each_name(headers);
        }
        if self.leaves_out("header-order") {
            headers.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        headers
    }

    fn header(&self, base: u64, draw: u64) -> (String, Option<Vec<u8>>) {
        let name = HEADER_NAMES[pick(base, 8 + draw, 4)].to_owned();
        let value = pick(base, 9 + draw, 18).checked_sub(1).map(|size| {
            let bytes = self.slice(pick(base, 10 + draw, HALF_POOL), size);
            bytes.into_iter().map(|byte| byte | 0x80).collect()
        });
        let instead = self.leaves_out("null-headers").then(Vec::new);
        (name, value.or(instead))
    }

    fn slice(&self, start: usize, length: usize) -> Vec<u8> {
        self.pool[start..start + length].to_vec()
    }

    /// What every reader must answer, from the generator alone.
    pub fn expect(&self) -> String {
        let mut hash = Hash::new(self);
        for partition in 0..self.partitions {
            for index in 0..self.count(partition) {
                hash.add(partition, index as i64, &self.record(partition, index));
            }
        }
        hash.answer()
    }
}

fn last_of_each_name(headers: Vec<(String, Option<Vec<u8>>)>) -> Vec<(String, Option<Vec<u8>>)> {
    let mut named: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    for header in headers {
        match named.iter_mut().find(|(name, _)| *name == header.0) {
            Some(earlier) => *earlier = header,
            None => named.push(header),
        }
    }
    named
}

fn pool(seed: u64) -> Vec<u8> {
    let words = (0..POOL_BYTES as u64 / 8).map(|i| if i >> 9 & 1 == 0 { i } else { i & !511 | i & 7 });
    words.flat_map(|word| mix(seed.wrapping_add(word)).to_le_bytes()).collect()
}

/// splitmix64: the state advanced once and scrambled.
fn mix(state: u64) -> u64 {
    let x = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

fn pick(base: u64, draw: u64, below: usize) -> usize {
    ((mix(base.wrapping_add(draw)) >> 32) % below as u64) as usize
}

/// Bytes of a value, `None` for null.
fn value_length(base: u64) -> Option<usize> {
    let length = match pick(base, 1, 1000) {
        0..30 => return None,
        30..50 => 0,
        50..980 => 1 + pick(base, 2, 1023),
        980..995 => 1 + pick(base, 2, 16_384),
        995..999 => 1 + pick(base, 2, 65_536),
        _ if pick(base, 2, 8) == 0 => 524_288,
        _ => 524_288 - pick(base, 2, 524_288),
    };
    Some(length)
}

/// Order-sensitive hash of what a topic holds: a SHA-256 a partition, and one over those in partition order.
pub struct Hash {
    partitions: Vec<Sha256>,
    count: usize,
    with_timestamps: bool,
}

impl Hash {
    pub fn new(spec: &Spec) -> Hash {
        let partitions = vec![Sha256::new(); spec.partitions];
        Hash { partitions, count: 0, with_timestamps: !spec.leaves_out("timestamps") }
    }

    pub fn add(&mut self, partition: usize, offset: i64, record: &Record) {
        let timestamp_ms = if self.with_timestamps { record.timestamp_ms } else { 0 };
        let hash = &mut self.partitions[partition];
        hash.update((partition as i32).to_be_bytes());
        hash.update(offset.to_be_bytes());
        hash.update(timestamp_ms.to_be_bytes());
        update(hash, record.key.as_deref());
        update(hash, record.value.as_deref());
        hash.update((record.headers.len() as i32).to_be_bytes());
        for (name, value) in &record.headers {
            update(hash, Some(name.as_bytes()));
            update(hash, value.as_deref());
        }
        self.count += 1;
    }

    /// `<count> <hash>`.
    pub fn answer(self) -> String {
        let total =
            self.partitions.into_iter().fold(Sha256::new(), |total, one| total.chain_update(one.finalize()));
        let hex: String = total.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{} {hex}", self.count)
    }
}

fn update(hash: &mut Sha256, field: Option<&[u8]>) {
    hash.update(field.map_or(-1, |bytes| bytes.len() as i32).to_be_bytes());
    hash.update(field.unwrap_or_default());
}
