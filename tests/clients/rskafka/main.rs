//! rskafka behind the line protocol of tests/clients/README.md: commands on standard input, one answer line each on standard
//! output. Knows the broker by its address only.
//!
//! Its headers are a sorted map without nulls, and it knows no idempotent producer: `produce` and `read` insist on a SPEC with
//! `without=null-headers,duplicate-headers,header-order`; of what others produced, `read` hashes what such a map can hold.

mod spec;

use std::error::Error;
use std::io::{BufRead, Write};

use chrono::DateTime;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record as Sent;

use spec::{Hash, Record, Spec};

type Answer<T> = Result<T, Box<dyn Error>>;

const BATCH_BYTES_MAX: usize = 400_000;
const FETCH_BYTES_MAX: i32 = 4 << 20;
const CREATE_WITHIN_MS: i32 = 30_000;
const FETCH_WAIT_MS: i32 = 100;
const CANNOT_SAY: [&str; 3] = ["null-headers", "duplicate-headers", "header-order"];

fn main() -> Answer<()> {
    let bootstrap = std::env::args().nth(1).ok_or("usage: rskafka BOOTSTRAP")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let answer = runtime.block_on(answer(&bootstrap, command, rest));
        let answer = answer.unwrap_or_else(|e| format!("error {e}").replace('\n', " "));
        writeln!(std::io::stdout(), "{answer}")?;
    }
    Ok(())
}

async fn answer(bootstrap: &str, command: &str, rest: &str) -> Answer<String> {
    if command == "expect" {
        return Ok(Spec::parse(rest)?.expect());
    }
    let client = ClientBuilder::new(vec![bootstrap.to_owned()]).build().await?;
    match command {
        "create" => create(&client, rest).await,
        "produce" => produce(&client, &sayable(rest)?).await,
        "read" => read(&client, &sayable(rest)?).await,
        other => Err(format!("unknown command {other}").into()),
    }
}

/// A SPEC of what the client can say.
fn sayable(text: &str) -> Answer<Spec> {
    let spec = Spec::parse(text)?;
    if CANNOT_SAY.iter().all(|word| spec.leaves_out(word)) {
        return Ok(spec);
    }
    Err(format!("rskafka needs without={}", CANNOT_SAY.join(",")).into())
}

/// `create TOPIC PARTITIONS`: it has no way to set configurations.
async fn create(client: &Client, rest: &str) -> Answer<String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let [topic, partitions] = words[..] else {
        return Err("rskafka creates topics without configurations".into());
    };
    client.controller_client()?.create_topic(topic, partitions.parse()?, 1, CREATE_WITHIN_MS).await?;
    Ok("ok".to_owned())
}

async fn partition_client(client: &Client, spec: &Spec, partition: usize) -> Answer<PartitionClient> {
    let partition = i32::try_from(partition)?;
    Ok(client.partition_client(&spec.topic, partition, UnknownTopicHandling::Retry).await?)
}

async fn produce(client: &Client, spec: &Spec) -> Answer<String> {
    for partition in 0..spec.partitions {
        let to = partition_client(client, spec, partition).await?;
        let codec = compression(spec.codec(partition))?;
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        for index in 0..spec.count(partition) {
            let record = spec.record(partition, index);
            let value_bytes = record.value.as_ref().map_or(0, Vec::len);
            if !batch.is_empty() && batch_bytes + value_bytes > BATCH_BYTES_MAX {
                to.produce(std::mem::take(&mut batch), codec).await?;
                batch_bytes = 0;
            }
            batch_bytes += value_bytes;
            batch.push(sent(record)?);
        }
        to.produce(batch, codec).await?;
    }
    Ok(format!("ok {}", spec.records))
}

fn sent(record: Record) -> Answer<Sent> {
    let headers = record.headers.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
    let timestamp = DateTime::from_timestamp_millis(record.timestamp_ms).ok_or("no such time")?;
    Ok(Sent { key: record.key, value: record.value, headers, timestamp })
}

fn compression(codec: &str) -> Answer<Compression> {
    Ok(match codec {
        "none" => Compression::NoCompression,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        other => return Err(format!("unknown codec {other}").into()),
    })
}

/// All records up to the ends seen at the start.
async fn read(client: &Client, spec: &Spec) -> Answer<String> {
    let mut hash = Hash::new(spec);
    for partition in 0..spec.partitions {
        let from = partition_client(client, spec, partition).await?;
        let end = from.get_offset(OffsetAt::Latest).await?;
        let mut next = from.get_offset(OffsetAt::Earliest).await?;
        while next < end {
            let (records, _) = from.fetch_records(next, 1..FETCH_BYTES_MAX, FETCH_WAIT_MS).await?;
            for read in records {
                next = read.offset + 1;
                hash.add(partition, read.offset, &received(read.record));
            }
        }
    }
    Ok(hash.answer())
}

fn received(record: Sent) -> Record {
    let headers = record.headers.into_iter().map(|(name, value)| (name, Some(value))).collect();
    Record {
        key: record.key,
        value: record.value,
        headers,
        timestamp_ms: record.timestamp.timestamp_millis(),
    }
}
