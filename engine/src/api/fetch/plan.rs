//! The decisions of a fetch, pure: whether what is readable is enough, and how many bytes each partition may give.

use super::Target;
use super::request::Bounds;
use crate::partition::Probed;
use crate::shard::sessions::{SessionKey, Wanted};
use hayate_net::error::ErrorCode;

/// What a fetch does with what the owners report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Read and answer.
    Answer,
    /// Too little: wait.
    Wait,
}

/// Kafka answers at once when nothing is asked for, when something went wrong or diverges, or when enough is there.
pub(super) fn decide(targets: &[Target], probes: &[Result<Probed, ErrorCode>], bounds: &Bounds) -> Decision {
    let disturbed = probes.iter().any(|probe| match probe {
        Ok(probed) => probed.diverging.is_some(),
        Err(_) => true,
    });
    let counted = |(target, probe): (&Target, &Result<Probed, ErrorCode>)| match (target, probe) {
        (Ok((_, part)), Ok(probed)) => part.counted_bytes(probed),
        _ => 0,
    };
    let readable: u64 = targets.iter().zip(probes).map(counted).sum();
    if probes.is_empty() || disturbed || readable >= bounds.min_bytes {
        Decision::Answer
    } else {
        Decision::Wait
    }
}

/// What one partition may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Bytes at most.
    pub(super) max_bytes: usize,
    /// Whether its first batch comes whatever its size.
    pub(super) at_least_one: bool,
}

/// The partitions' budgets; `None` for those with nothing to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Budgets(Vec<Option<Budget>>);

impl Budgets {
    /// Hands out `max_bytes` in request order. The first partition that has anything gives at least one batch.
    pub(super) fn plan(
        wanted: &[(SessionKey, Wanted)],
        probes: &[Result<Probed, ErrorCode>],
        max_bytes: usize,
    ) -> Budgets {
        let mut left_bytes = max_bytes;
        let mut at_least_one = true;
        let mut budget = |((_, wanted), probe): (&(SessionKey, Wanted), &Result<Probed, ErrorCode>)| {
            let readable = probe.as_ref().map_or(0, |probed| probed.readable_bytes);
            let max_bytes = usize::try_from(wanted.max_bytes).unwrap_or(0).min(left_bytes);
            if readable == 0 || (max_bytes == 0 && !at_least_one) {
                return None;
            }
            left_bytes -= max_bytes.min(usize::try_from(readable).unwrap_or(usize::MAX));
            Some(Budget { max_bytes, at_least_one: std::mem::replace(&mut at_least_one, false) })
        };
        Budgets(wanted.iter().zip(probes).map(&mut budget).collect())
    }

    /// Bytes that will be read, as far as can be told: the first batch may be larger than what is handed out.
    pub(super) fn bytes(&self, probes: &[Result<Probed, ErrorCode>]) -> usize {
        let one = |(budget, probe): (&Option<Budget>, &Result<Probed, ErrorCode>)| match (budget, probe) {
            (Some(budget), Ok(probed)) => {
                budget.max_bytes.min(probed.readable_bytes.try_into().unwrap_or(usize::MAX))
            }
            _ => 0,
        };
        self.0.iter().zip(probes).map(one).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Option<Budget>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{FetchFrom, Isolation};
    use crate::placement::{PartitionKey, ShardId};
    use crate::shard::calls::FetchPart;
    use crate::shard::sessions::SessionTopic;
    use crate::shard::view::Route;
    use hayate_storage::batch::{LeaderEpoch, Offset};
    use std::time::Duration;
    use uuid::Uuid;

    fn readable(readable_bytes: u64) -> Result<Probed, ErrorCode> {
        Ok(Probed {
            readable_bytes,
            high_watermark: Offset(9),
            last_stable: Offset(9),
            log_start: Offset(0),
            diverging: None,
        })
    }

    fn bounds(min_bytes: u64) -> Bounds {
        Bounds { min_bytes, max_bytes: 100, max_wait: Duration::ZERO, isolation: Isolation::Uncommitted }
    }

    fn plan(max_bytes: usize, partitions: &[(i32, u64)]) -> Vec<Option<(usize, bool)>> {
        let key = |partition| SessionKey { topic: SessionTopic::Id(Uuid::nil()), partition };
        let wanted = |max_bytes| Wanted {
            fetch_offset: 0,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            max_bytes,
        };
        let asked: Vec<_> =
            partitions.iter().enumerate().map(|(n, (max, _))| (key(n as i32), wanted(*max))).collect();
        let probes: Vec<_> = partitions.iter().map(|(_, bytes)| readable(*bytes)).collect();
        let budgets = Budgets::plan(&asked, &probes, max_bytes);
        budgets.iter().map(|budget| budget.map(|budget| (budget.max_bytes, budget.at_least_one))).collect()
    }

    fn target(counted_bytes_max: u64) -> Target {
        let key = PartitionKey { topic_id: Uuid::nil(), partition: 0 };
        let from = FetchFrom {
            offset: Offset(0),
            current_epoch: None,
            last_fetched_epoch: None,
            isolation: Isolation::Uncommitted,
        };
        Ok((Route { shard: ShardId::FIRST, key }, FetchPart { key, from, counted_bytes_max }))
    }

    /// Decides on partitions that may give up to 1,000 bytes each.
    fn decided(probes: &[Result<Probed, ErrorCode>], min_bytes: u64) -> Decision {
        let targets: Vec<_> = probes.iter().map(|_| target(1000)).collect();
        decide(&targets, probes, &bounds(min_bytes))
    }

    #[test]
    fn enough_is_answered_and_too_little_waits() {
        assert_eq!(decided(&[readable(40), readable(60)], 100), Decision::Answer);
        assert_eq!(decided(&[readable(40), readable(59)], 100), Decision::Wait);
        assert_eq!(decided(&[readable(0)], 0), Decision::Answer);
        assert_eq!(decided(&[], 100), Decision::Answer);
    }

    #[test]
    fn what_a_partition_may_not_give_does_not_count() {
        let probes = [readable(500), readable(500)];
        assert_eq!(decide(&[target(40), target(60)], &probes, &bounds(100)), Decision::Answer);
        assert_eq!(decide(&[target(40), target(59)], &probes, &bounds(100)), Decision::Wait);
    }

    #[test]
    fn what_went_wrong_is_answered_at_once() {
        assert_eq!(decided(&[readable(0), Err(ErrorCode::OffsetOutOfRange)], 1), Decision::Answer);
        let diverging = Probed { diverging: Some((LeaderEpoch(1), Offset(2))), ..readable(0).unwrap() };
        assert_eq!(decided(&[Ok(diverging)], 1), Decision::Answer);
    }

    #[test]
    fn budgets_are_handed_out_in_request_order() {
        assert_eq!(
            plan(100, &[(60, 1000), (60, 1000), (60, 1000)]),
            [Some((60, true)), Some((40, false)), None]
        );
        assert_eq!(plan(100, &[(60, 10), (60, 0), (60, 1000)]), [Some((60, true)), None, Some((60, false))]);
    }

    #[test]
    fn the_first_partition_with_records_gives_at_least_one_batch() {
        assert_eq!(plan(0, &[(0, 0), (0, 500), (10, 500)]), [None, Some((0, true)), None]);
    }
}
