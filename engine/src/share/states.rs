//! Tells share coordinators what a coordinator of groups orders, the leaders of the partitions with them, and reports what became of it.

use super::leaders::Ways;
use crate::coordinator::group::{GroupOrder, Groups, StateOf};
use crate::coordinator::records::share_state::SharePartitionKey;
use crate::coordinator::runtime::Runtime;
use crate::coordinator::share_state::{Ask, ShareStateAnswer, ShareStateRequest};
use crate::shard::coordination::{Answering, Coordination};
use hayate_net::error::ErrorCode;
use hayate_rt::{Queue, Rt};
use kafka_protocol::ResponseError;
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

/// Attempts to reach a share coordinator, and the pause before the second; it doubles each time.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);

/// Carries out an order of the coordinator of partition `number`, in a task of its own.
pub fn carry_out(rt: &Rt, ways: &Ways, groups: &Rc<Runtime<Groups>>, number: i32, order: GroupOrder) {
    let Some(ways) = ways.borrow().upgrade() else { return };
    let (rt, groups, clock) = (rt.clone(), groups.clone(), rt.clone());
    let carrying = async move {
        let outcomes = tell(&rt, &ways, &order).await;
        forget(&ways, &order).await;
        let outcomes: Vec<Result<(), ResponseError>> =
            outcomes.into_iter().map(|outcome| outcome.map_err(error_of)).collect();
        groups.step(number, |machine, moment, effects| {
            machine.order_done(moment, &order, &outcomes, effects);
        });
    };
    clock.spawn(Queue::Coordination, carrying).detach();
}

fn error_of(code: ErrorCode) -> ResponseError {
    ResponseError::try_from_code(code.code()).unwrap_or(ResponseError::UnknownServerError)
}

fn key_of(order: &GroupOrder, topic_id: Uuid, partition: i32) -> SharePartitionKey {
    SharePartitionKey { group: order.group.clone(), topic_id, partition }
}

/// Tells the coordinators of all partitions, and again those that could not be reached.
async fn tell(rt: &Rt, ways: &Coordination, order: &GroupOrder) -> Vec<Result<(), ErrorCode>> {
    let mut outcomes: Vec<Result<(), ErrorCode>> =
        vec![Err(ErrorCode::CoordinatorNotAvailable); order.states.len()];
    let mut pause = PAUSE;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            rt.sleep(pause).await;
            pause *= 2;
        }
        let mut asked: Vec<(usize, Result<Answering<ShareStateAnswer>, ErrorCode>)> = Vec::new();
        let again = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err_and(is_unreachable));
        for place in again.map(|(place, _)| place).collect::<Vec<_>>() {
            asked.push((place, ways.ask_share_state(request_of(order, place)).await));
        }
        if asked.is_empty() {
            break;
        }
        for (place, asked) in asked {
            let answer = match asked {
                Ok(answering) => answering.answer().await,
                Err(code) => Err(code),
            };
            outcomes[place] = match answer {
                Ok(ShareStateAnswer::Refused(code, _)) | Err(code) => Err(code),
                Ok(_) => Ok(()),
            };
        }
    }
    outcomes
}

fn is_unreachable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress
    )
}

fn request_of(order: &GroupOrder, place: usize) -> ShareStateRequest {
    let (topic, partition, state) = order.states[place];
    let ask = match state {
        StateOf::Initialize { start_offset } => {
            Ask::Initialize { state_epoch: order.state_epoch, start_offset }
        }
        StateOf::Delete => Ask::Delete,
    };
    ShareStateRequest { key: key_of(order, topic, partition), ask }
}

/// Who leads the partitions forgets what it knew of them.
async fn forget(ways: &Coordination, order: &GroupOrder) {
    let keys = order.states.iter().map(|(topic, partition, _)| key_of(order, *topic, *partition)).collect();
    ways.forget_shares(keys).await;
}
