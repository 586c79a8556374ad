//! DescribeLogDirs (KIP-113, KIP-827): the data folder, how much it holds of which partition, and how much it would still
//! take. After Kafka's `ReplicaManager.describeLogDirs`; of a partition that is named again, one answer.

use super::topics::{ask_owners, topic_name};
use super::{RequestContext, text};
use crate::partition::LogSize;
use crate::placement::{PartitionKey, ShardId};
use crate::shard::calls::PartitionCall;
use crate::shard::router::sizes;
use crate::shard::view::ClusterView;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::WireError;
use hayate_storage::disk::DiskSpace;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// First version that tells how large the file system is.
const SPACE_SINCE: i16 = 4;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: DescribeLogDirsRequest = context.decode(body)?;
    let folder = absolute(&context.shard.options.data_dir);
    let result = DescribeLogDirsResult::default().with_log_dir(text(folder));
    let result = match context.shard.owner.disk_space().await {
        Err(code) => {
            context.count_error(code);
            result.with_error_code(code.code())
        }
        Ok(space) => {
            let view = context.shard.view();
            let logs = hosted(&view, &wanted(&request, &view));
            let result = result.with_topics(describe(&context, &logs).await);
            if context.version() >= SPACE_SINCE { with_space(result, space) } else { result }
        }
    };
    context.answer(&DescribeLogDirsResponse::default().with_results(vec![result]))
}

/// As Kafka names folders. A relative one is below the folder that the process was started in.
fn absolute(folder: &Path) -> String {
    let absolute = std::path::absolute(folder);
    absolute.as_deref().unwrap_or(folder).to_string_lossy().into_owned()
}

fn with_space(result: DescribeLogDirsResult, space: DiskSpace) -> DescribeLogDirsResult {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    result.with_total_bytes(bytes(space.total_bytes)).with_usable_bytes(bytes(space.free_bytes))
}

type Wanted<'a> = BTreeMap<&'a str, BTreeSet<i32>>;

/// What is asked for: each partition of each topic once, or all of them.
fn wanted<'a>(request: &'a DescribeLogDirsRequest, view: &'a ClusterView) -> Wanted<'a> {
    let Some(topics) = &request.topics else {
        let all = view.image.topics();
        return all.map(|topic| (&*topic.name, topic.partitions.keys().copied().collect())).collect();
    };
    let mut wanted = Wanted::new();
    for topic in topics {
        wanted.entry(&topic.topic).or_default().extend(&topic.partitions);
    }
    wanted
}

/// One log of this node: its topic, and where it is.
type Hosted<'a> = (&'a str, ShardId, PartitionKey);

/// Those of the wanted that this node has, by topic.
fn hosted<'a>(view: &ClusterView, wanted: &Wanted<'a>) -> Vec<Hosted<'a>> {
    let mut logs = Vec::new();
    for (name, partitions) in wanted {
        let Ok(topic) = view.topic_by_name(name) else { continue };
        for partition in partitions {
            let key = PartitionKey { topic_id: topic.id, partition: *partition };
            logs.extend(view.placement.owner(key).map(|shard| (*name, shard, key)));
        }
    }
    logs
}

/// What could not be opened has no log to tell of.
async fn describe(context: &RequestContext, logs: &[Hosted<'_>]) -> Vec<DescribeLogDirsTopic> {
    let parts = logs.iter().map(|(_, shard, key)| Ok((*shard, *key))).collect();
    let outcomes = ask_owners(context, parts, PartitionCall::Sizes, sizes).await;
    let mut topics: Vec<(&str, Vec<DescribeLogDirsPartition>)> = Vec::new();
    for ((name, _, key), outcome) in logs.iter().zip(outcomes) {
        let Ok(size) = outcome else { continue };
        let partition = describe_partition(key.partition, size);
        match topics.last_mut().filter(|(last, _)| last == name) {
            Some((_, partitions)) => partitions.push(partition),
            None => topics.push((*name, vec![partition])),
        }
    }
    let named = |(name, partitions): (&str, Vec<DescribeLogDirsPartition>)| {
        DescribeLogDirsTopic::default().with_name(topic_name(name)).with_partitions(partitions)
    };
    topics.into_iter().map(named).collect()
}

fn describe_partition(partition: i32, size: LogSize) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition::default()
        .with_partition_index(partition)
        .with_partition_size(i64::try_from(size.bytes).unwrap_or(i64::MAX))
        .with_offset_lag(size.offset_lag)
        .with_is_future_key(false)
}
