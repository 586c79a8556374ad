//! Having the share coordinator write: one write of a share partition at a time, again while the coordinator cannot be reached.

use super::{Leaders, Led};
use crate::coordinator::records::share_state::SharePartitionKey;
use crate::coordinator::share_state::{Ask, Change, ShareStateAnswer, ShareStateRequest};
use crate::share::partition::{SharePartition, Writing};
use hayate_net::error::ErrorCode;
use hayate_rt::Queue;
use std::rc::Rc;
use std::time::Duration;

/// Attempts to reach the share coordinator, and the pause before the second; it doubles each time.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(100);

impl Leaders {
    /// Has written what is to be, unless a write is under way: then it is done after that.
    pub(super) fn flush(self: &Rc<Self>, led: &Rc<Led>) {
        let begun = match led.state.borrow_mut().as_mut() {
            Some(state) => state.begin_write().map(|writing| (writing, state.state_epoch())),
            None => None,
        };
        let Some((writing, state_epoch)) = begun else { return };
        let (leaders, led) = (self.clone(), led.clone());
        let write = async move {
            let number = writing.number;
            let outcome = leaders.write(&led, writing, state_epoch).await;
            leaders.written(&led, number, outcome);
        };
        self.rt.spawn(Queue::Foreground, write).detach();
    }

    async fn write(&self, led: &Led, writing: Writing, state_epoch: i32) -> Result<(), ErrorCode> {
        let change = Change {
            state_epoch,
            leader_epoch: led.partition.leader_epoch().0,
            start_offset: writing.start,
            delivery_complete_count: i32::try_from(writing.complete).unwrap_or(i32::MAX),
            batches: writing.batches,
        };
        match self.ask(&led.key, Ask::Write(change)).await? {
            ShareStateAnswer::Done => Ok(()),
            ShareStateAnswer::Refused(code, _) => Err(code),
            ShareStateAnswer::State { .. } | ShareStateAnswer::Summary { .. } => {
                Err(ErrorCode::UnknownServerError)
            }
        }
    }

    fn written(self: &Rc<Self>, led: &Rc<Led>, number: u64, outcome: Result<(), ErrorCode>) {
        if let Some(state) = led.state.borrow_mut().as_mut() {
            state.written(number, outcome.is_ok(), self.rt.now());
        }
        let told = outcome.map_err(code_told);
        led.waiting.borrow_mut().retain(|(waits_for, tell)| {
            let is_over = *waits_for <= number;
            if is_over {
                let _ = tell.try_send(told);
            }
            !is_over
        });
        if let Err(code) = outcome {
            tracing::warn!(group = led.key.group, topic = %led.key.topic_id, partition = led.key.partition, code = code.name(),
                "what members have settled could not be written");
            if is_fenced(code) && !led.gone.get() {
                self.forget(&led.key);
            }
        }
        led.waiters.disturbed();
        if !led.gone.get() {
            self.arm(led);
            self.flush(led);
        }
    }

    /// Asks the share coordinator, again and again while it cannot answer.
    ///
    /// # Errors
    /// 14, 15 or 16 when it could not for long.
    pub(super) async fn ask(&self, key: &SharePartitionKey, ask: Ask) -> Result<ShareStateAnswer, ErrorCode> {
        let mut pause = PAUSE;
        let mut last = ErrorCode::CoordinatorNotAvailable;
        for attempt in 1..=ATTEMPTS {
            let Some(ways) = self.ways.borrow().upgrade() else { return Err(ErrorCode::NotCoordinator) };
            let request = ShareStateRequest { key: key.clone(), ask: ask.clone() };
            let answer = match ways.ask_share_state(request).await {
                Ok(answering) => answering.answer().await,
                Err(code) => Err(code),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(code) => last = code,
            }
            if attempt < ATTEMPTS {
                self.rt.sleep(pause).await;
                pause *= 2;
            }
        }
        Err(last)
    }

    /// Reads where the group is, for the first member that fetches.
    pub(super) async fn load(&self, led: &Led) -> Result<SharePartition, ErrorCode> {
        let leader_epoch = led.partition.leader_epoch().0;
        let answer = self.ask(&led.key, Ask::Read { leader_epoch }).await.map_err(code_told)?;
        let (state_epoch, start, batches) = match answer {
            ShareStateAnswer::State { state_epoch, start_offset, batches } => {
                (state_epoch, start_offset, batches)
            }
            ShareStateAnswer::Refused(code, _) => return Err(code_told(code)),
            ShareStateAnswer::Done | ShareStateAnswer::Summary { .. } => {
                return Err(ErrorCode::UnknownServerError);
            }
        };
        if start < 0 {
            let start = self.begin_at(led).await?;
            return Ok(SharePartition::beginning(self.config.limits, state_epoch, start));
        }
        SharePartition::new(self.config.limits, state_epoch, start, &batches)
    }
}

/// Whether somebody else leads now, or the state was set up anew or deleted.
fn is_fenced(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FencedLeaderEpoch
            | ErrorCode::FencedStateEpoch
            | ErrorCode::InvalidRequest
            | ErrorCode::UnknownTopicOrPartition
    )
}

/// What a member is told, as Kafka's `SharePartition` does.
fn code_told(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::FencedLeaderEpoch | ErrorCode::FencedStateEpoch => ErrorCode::NotLeaderOrFollower,
        ErrorCode::GroupIdNotFound | ErrorCode::UnknownTopicOrPartition => code,
        _ => ErrorCode::UnknownServerError,
    }
}
