//! Who is measured when: a list of steps, known before anything starts. In each round every workload is run by every target, one after
//! the other, so that the turns which are held against each other lie close together; who goes first changes from workload to workload
//! and from round to round.

/// A target runs a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The round, from 1; rounds that warm up are 0 and below.
    pub round: i64,
    /// The workload, by its place in the file.
    pub workload: usize,
    /// The target, by its place in the file.
    pub target: usize,
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The workload's physical limit is measured.
    Limit {
        /// The round, as in [`Turn`].
        round: i64,
        /// The workload, as in [`Turn`].
        workload: usize,
    },
    /// A turn.
    Turn(Turn),
}

impl Turn {
    /// Whether its figures count: not while it warms up.
    pub fn counts(self) -> bool {
        self.round > 0
    }
}

/// All steps of so many counted rounds after so many that warm up. `limits` says of each workload whether it has a limit to be measured;
/// that is done in counted rounds, just before the workload's turns.
pub fn steps(rounds: u32, warm_up_rounds: u32, targets: usize, limits: &[bool]) -> Vec<Step> {
    let first = 1 - i64::from(warm_up_rounds);
    let rounds = first..=i64::from(rounds);
    rounds.enumerate().flat_map(|(number, round)| round_steps(number, round, targets, limits)).collect()
}

fn round_steps(number: usize, round: i64, targets: usize, limits: &[bool]) -> impl Iterator<Item = Step> {
    limits.iter().enumerate().flat_map(move |(workload, has_limit)| {
        let limit = (*has_limit && round > 0).then_some(Step::Limit { round, workload });
        let turn = move |place| {
            Step::Turn(Turn { round, workload, target: (place + number + workload) % targets.max(1) })
        };
        limit.into_iter().chain((0..targets).map(turn))
    })
}

#[cfg(test)]
mod tests {
    use super::{Step, Turn, steps};

    fn turns(rounds: u32, warm_up: u32, targets: usize, workloads: usize) -> Vec<Turn> {
        let turn = |step| match step {
            Step::Turn(turn) => Some(turn),
            Step::Limit { .. } => None,
        };
        steps(rounds, warm_up, targets, &vec![true; workloads]).into_iter().filter_map(turn).collect()
    }

    #[test]
    fn in_each_round_each_target_runs_each_workload_once() {
        for (rounds, warm_up, targets, workloads) in [(1, 0, 1, 1), (5, 2, 3, 4), (2, 0, 2, 1)] {
            let all = turns(rounds, warm_up, targets, workloads);
            let count = |round: i64, workload: usize, target: usize| {
                all.iter().filter(|turn| **turn == Turn { round, workload, target }).count()
            };
            for round in 1 - i64::from(warm_up)..=i64::from(rounds) {
                for workload in 0..workloads {
                    assert!(
                        (0..targets).all(|target| count(round, workload, target) == 1),
                        "{round} {workload}"
                    );
                }
            }
            assert_eq!(all.len(), (rounds + warm_up) as usize * targets * workloads);
            assert_eq!(
                all.iter().filter(|turn| turn.counts()).count(),
                rounds as usize * targets * workloads
            );
        }
    }

    #[test]
    fn everyone_goes_first_equally_often() {
        let all = turns(6, 0, 3, 2);
        let firsts: Vec<usize> = all.chunks(3).map(|turns| turns[0].target).collect();
        assert!(
            (0..3).all(|target| firsts.iter().filter(|first| **first == target).count() == 4),
            "{firsts:?}"
        );
        // And of one workload, too.
        let firsts: Vec<usize> = firsts.into_iter().step_by(2).collect();
        assert!(
            (0..3).all(|target| firsts.iter().filter(|first| **first == target).count() == 2),
            "{firsts:?}"
        );
    }

    #[test]
    fn limits_are_measured_beside_the_turns_they_bound_and_only_where_rounds_count() {
        let all = steps(2, 1, 2, &[false, true]);
        let limits: Vec<usize> = (0..all.len()).filter(|at| matches!(all[*at], Step::Limit { .. })).collect();
        assert_eq!(limits.len(), 2);
        for at in limits {
            let (Step::Limit { round, workload: 1 }, Step::Turn(turn)) = (all[at], all[at + 1]) else {
                panic!("{:?}", &all[at..]);
            };
            assert_eq!((turn.round, turn.workload), (round, 1));
        }
    }
}
