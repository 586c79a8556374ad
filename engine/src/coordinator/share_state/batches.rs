//! Runs of offsets in the same state, as records and requests have them: new ones laid over those that are known.
//!
//! Of two that overlap, the one with the higher delivery count holds, then the one with the higher state. After Kafka's
//! `PersisterStateBatchCombiner`.

use crate::coordinator::records::share_state::StateBatch;
use std::collections::BTreeMap;

/// What is known of a run of offsets; ordered by which of two holds.
type Standing = (i16, i8);

/// The runs, by first offset: last offset and standing. No two overlap.
type Runs = BTreeMap<i64, (i64, Standing)>;

/// `known` with `new` laid over it, from `start` on; neighbours in the same state are one.
pub fn combine(known: &[StateBatch], new: &[StateBatch], start: i64) -> Vec<StateBatch> {
    let mut runs = Runs::new();
    for batch in known.iter().chain(new) {
        let first = batch.first_offset.max(start);
        if first <= batch.last_offset {
            lay(&mut runs, first, batch.last_offset, (batch.delivery_count, batch.delivery_state));
        }
    }
    joined(&runs)
}

fn lay(runs: &mut Runs, first: i64, last: i64, standing: Standing) {
    let before = runs.range(..first).next_back().filter(|(_, (end, _))| *end >= first).map(|(at, _)| *at);
    let overlapped: Vec<i64> =
        before.into_iter().chain(runs.range(first..=last).map(|(at, _)| *at)).collect();
    let mut next = first;
    for at in overlapped {
        let Some((end, known)) = runs.remove(&at) else { continue };
        // What lies outside stays as it is, what lies between is new, what is common is whichever holds.
        let (from, to) = (at.max(first), end.min(last));
        put(runs, at, from - 1, known);
        put(runs, next, from - 1, standing);
        put(runs, from, to, known.max(standing));
        put(runs, to + 1, end, known);
        next = to + 1;
    }
    put(runs, next, last, standing);
}

fn put(runs: &mut Runs, first: i64, last: i64, standing: Standing) {
    if first <= last {
        runs.insert(first, (last, standing));
    }
}

fn joined(runs: &Runs) -> Vec<StateBatch> {
    let mut joined: Vec<StateBatch> = Vec::with_capacity(runs.len());
    for (first, (last, (delivery_count, delivery_state))) in runs {
        match joined.last_mut() {
            Some(before)
                if before.last_offset + 1 == *first
                    && (before.delivery_count, before.delivery_state)
                        == (*delivery_count, *delivery_state) =>
            {
                before.last_offset = *last;
            }
            _ => joined.push(StateBatch {
                first_offset: *first,
                last_offset: *last,
                delivery_state: *delivery_state,
                delivery_count: *delivery_count,
            }),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::combine;
    use crate::coordinator::records::share_state::StateBatch;

    /// First, last, state, count.
    type Short = (i64, i64, i8, i16);

    fn batches(batches: &[Short]) -> Vec<StateBatch> {
        let long = |&(first_offset, last_offset, delivery_state, delivery_count): &Short| StateBatch {
            first_offset,
            last_offset,
            delivery_state,
            delivery_count,
        };
        batches.iter().map(long).collect()
    }

    fn check(known: &[Short], new: &[Short], start: i64, expected: &[Short]) {
        let combined = combine(&batches(known), &batches(new), start);
        assert_eq!(combined, batches(expected), "{known:?} and {new:?} from {start}");
    }

    #[test]
    fn new_runs_are_laid_over_known_ones() {
        check(&[], &[(0, 9, 0, 1)], 0, &[(0, 9, 0, 1)]);
        check(&[(0, 9, 0, 1)], &[(10, 19, 0, 1)], 0, &[(0, 19, 0, 1)]);
        check(&[(0, 9, 0, 1)], &[(3, 5, 2, 1)], 0, &[(0, 2, 0, 1), (3, 5, 2, 1), (6, 9, 0, 1)]);
        check(&[(5, 9, 0, 1)], &[(0, 19, 2, 2)], 0, &[(0, 19, 2, 2)]);
        check(&[(0, 2, 0, 1), (7, 9, 0, 1)], &[(1, 8, 0, 2)], 0, &[(0, 0, 0, 1), (1, 8, 0, 2), (9, 9, 0, 1)]);
    }

    #[test]
    fn the_higher_count_holds_then_the_higher_state() {
        check(&[(0, 9, 0, 3)], &[(0, 9, 2, 1)], 0, &[(0, 9, 0, 3)]);
        check(&[(0, 9, 2, 1)], &[(5, 14, 0, 1)], 0, &[(0, 9, 2, 1), (10, 14, 0, 1)]);
    }

    #[test]
    fn what_lies_before_the_start_is_dropped() {
        check(&[(0, 9, 2, 1), (10, 19, 0, 1)], &[], 15, &[(15, 19, 0, 1)]);
        check(&[(0, 9, 2, 1)], &[(0, 4, 2, 2)], 10, &[]);
    }
}
