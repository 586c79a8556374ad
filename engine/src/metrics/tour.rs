//! A walk through the groups that a shard coordinates: a part each second, so that no second is long, however many there are. And
//! what is counted of groups and transactions.

use super::groups::{GroupCells, Passage};
use super::transactions::TxnCells;
use crate::coordinator::group::Groups;
use crate::coordinator::topics::OFFSETS_TOPIC;
use crate::coordinator::txn::TxnGauges;
use crate::metadata::image::MetadataImage;
use crate::shard::Shard;
use std::collections::BTreeMap;

/// How much is copied at a time: groups, members and offsets together.
const PARTS_MAX: usize = 5_000;

/// Where the walk goes on.
#[derive(Debug, Default)]
pub struct Tour {
    /// In this coordinator, by the number of its partition.
    coordinator: i32,
    /// After this group.
    after: Option<String>,
}

/// Publishes the next part of the groups of `shard`, and what is counted of all of them.
pub(super) fn sample_groups(shard: &Shard, cells: &GroupCells) {
    let mut states = BTreeMap::new();
    let (mut active, mut offsets) = (0, 0);
    let groups = &shard.coordination.groups;
    groups.each_mut(|_, machine| {
        cells.count(&machine.take_counts());
        machine.states().for_each(|state| *states.entry(state).or_default() += 1);
        offsets += machine.offsets().kept() as u64;
        active += 1;
    });
    cells.publish_states(states);
    cells.active.set(active);
    cells.loading.set((groups.hosted_count() as u64).saturating_sub(active));
    cells.offsets.set(offsets);
    go_on(shard, cells);
    let partitions = shard.owner.partitions();
    let ends = partitions.iter().map(|partition| {
        let at = partition.log().partition();
        (at.topic.as_str(), at.partition, partition.high_watermark().0)
    });
    cells.series.publish_ends(ends);
}

/// Publishes what is counted of the transactions of `shard`.
pub(super) fn sample_transactions(shard: &Shard, cells: &TxnCells) {
    let mut all = TxnGauges::default();
    shard.coordination.transactions.each_mut(|_, machine| {
        cells.count(&machine.take_counters());
        let gauges = machine.gauges();
        all.ids += gauges.ids;
        all.ongoing += gauges.ongoing;
        all.preparing += gauges.preparing;
    });
    cells.publish(all);
}

fn go_on(shard: &Shard, cells: &GroupCells) {
    let mut tour = shard.coordination.tour.borrow_mut();
    let (first, mut left) = (tour.coordinator, PARTS_MAX);
    let view = shard.view();
    shard.coordination.groups.each_mut(|number, machine| {
        if number < first || left == 0 {
            return;
        }
        let after = tour.after.take().filter(|_| number == first);
        let passage = pass(machine, &view.image, after, &mut left);
        *tour = match passage.is_last {
            true => Tour { coordinator: number + 1, after: None },
            false => Tour { coordinator: number, after: passage.groups.last().map(|(id, _)| id.clone()) },
        };
        cells.series.publish(number, passage);
    });
    if left > 0 {
        *tour = Tour::default();
        let led = shard.coordination.all(OFFSETS_TOPIC);
        cells.series.retain(|coordinator| led.iter().any(|(_, number)| *number == coordinator));
    }
}

/// Copies groups after `after` while something is left.
fn pass(machine: &Groups, image: &MetadataImage, after: Option<String>, left: &mut usize) -> Passage {
    let mut passage = Passage { after, groups: Vec::new(), is_last: false };
    while *left > 0 {
        let last =
            passage.groups.last().map(|(id, _): &(String, _)| id.as_str()).or(passage.after.as_deref());
        let Some((id, figures)) = machine.figures_after(last, image) else {
            passage.is_last = true;
            break;
        };
        *left = left.saturating_sub(figures.parts());
        passage.groups.push((id.to_owned(), figures));
    }
    passage
}
