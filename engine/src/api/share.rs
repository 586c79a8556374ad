//! What the requests of share groups have in common: whether the cluster has them, where their partitions are led, and the ends of sessions.

use super::RequestContext;
use crate::metadata::features::SHARE_VERSION;
use crate::placement::{PartitionKey, ShardId};
use crate::shard::Shard;
use crate::shard::calls::Outcomes;
use crate::shard::coordination::Answering;
use crate::share::leaders::{Settling, ShareAnswer, ShareRequest};
use crate::share::partition::AckBatch;
use crate::share::sessions::SessionName;
use hayate_net::error::ErrorCode;
use hayate_rt::Queue;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Whether the cluster has share groups.
///
/// # Errors
/// 35.
pub(super) fn check_enabled(context: &RequestContext) -> Result<(), ErrorCode> {
    let level = context.shard.view().image.feature_level(SHARE_VERSION);
    if level > 0 { Ok(()) } else { Err(ErrorCode::UnsupportedVersion) }
}

/// Whose session a request means.
///
/// # Errors
/// 42 for nobody's.
pub(super) fn session_name(group: Option<&str>, member: Option<&str>) -> Result<SessionName, ErrorCode> {
    match (group, member) {
        (Some(group), Some(member)) if !group.is_empty() && !member.is_empty() => {
            Ok(SessionName { group: group.into(), member: member.into() })
        }
        _ => Err(ErrorCode::InvalidRequest),
    }
}

/// The shard that leads a partition.
pub(super) fn route(shard: &Shard, key: PartitionKey) -> Result<ShardId, ErrorCode> {
    let view = shard.view();
    let topic = view.topic_by_id(&key.topic_id)?;
    Ok(view.route(topic, key.partition)?.shard)
}

/// What a member says of the records of one partition, or why it cannot be understood.
pub(super) type Said = (PartitionKey, Result<Vec<AckBatch>, ErrorCode>);

/// Settles records; one outcome for each partition, in order.
pub(super) async fn settle(context: &RequestContext, name: &SessionName, said: &[Said]) -> Outcomes<()> {
    let mut outcomes: Outcomes<()> = vec![Err(ErrorCode::NotLeaderOrFollower); said.len()];
    let mut by_shard: BTreeMap<ShardId, (Vec<usize>, Vec<(PartitionKey, Vec<AckBatch>)>)> = BTreeMap::new();
    for (place, (key, batches)) in said.iter().enumerate() {
        match route(&context.shard, *key).and_then(|shard| Ok((shard, batches.clone()?))) {
            Ok((shard, batches)) => {
                let (places, parts) = by_shard.entry(shard).or_default();
                places.push(place);
                parts.push((*key, batches));
            }
            Err(code) => outcomes[place] = Err(code),
        }
    }
    let mut asked: Vec<(Vec<usize>, Answering<ShareAnswer>)> = Vec::with_capacity(by_shard.len());
    for (shard, (places, parts)) in by_shard {
        let (group, member) = (name.group.to_string(), name.member.to_string());
        let request = ShareRequest::Acknowledge(Settling { group, member, parts });
        asked.push((places, context.shard.coordination.ask_shares_of(shard, request).await));
    }
    for (places, answering) in asked {
        if let Ok(ShareAnswer::Acknowledge(of_shard)) = answering.answer().await {
            places.into_iter().zip(of_shard).for_each(|(place, outcome)| outcomes[place] = outcome);
        }
    }
    outcomes
}

/// Frees what a member has in these partitions.
pub async fn release(shard: &Shard, name: &SessionName, partitions: &[PartitionKey]) {
    let mut by_shard: BTreeMap<ShardId, Vec<PartitionKey>> = BTreeMap::new();
    for key in partitions {
        if let Ok(of) = route(shard, *key) {
            by_shard.entry(of).or_default().push(*key);
        }
    }
    for (of, keys) in by_shard {
        let (group, member) = (name.group.to_string(), name.member.to_string());
        let request = ShareRequest::Release { group, member, keys };
        // Where nobody answers any more nothing is held.
        let _ = shard.coordination.ask_shares_of(of, request).await.answer().await;
    }
}

/// A connection has ended: what its members had is free.
pub fn connection_ended(shard: &Rc<Shard>, connection: u64) {
    let ended = shard.share_sessions.borrow_mut().end_connection(connection);
    if ended.is_empty() {
        return;
    }
    let of = shard.clone();
    let releasing = async move {
        for (name, partitions) in ended {
            release(&of, &name, &partitions).await;
        }
    };
    shard.rt.spawn(Queue::Foreground, releasing).detach();
}
