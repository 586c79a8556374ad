//! The ways from a connection's shard to the coordinators: which partition coordinates, which shard leads it, and the call to there.
//!
//! A call takes a credit only until its request is taken in; the answer comes through a channel of its own, as a group's member
//! may wait for minutes. How many wait is bounded by the connections and what each may have open. Calls of one
//! connection are taken in the order of their dispatch.

use super::owner::Owner;
use super::view::ClusterView;
use crate::coordinator::group::{GroupAnswer, GroupRequest, Groups};
use crate::coordinator::hosted::ReplyTo;
use crate::coordinator::partitioner::partition_of;
use crate::coordinator::records::share_state::SharePartitionKey;
use crate::coordinator::runtime::Runtime;
use crate::coordinator::share_state::{ShareStateAnswer, ShareStateRequest, ShareStates, coordinator_key};
use crate::coordinator::topics::{OFFSETS_TOPIC, SHARE_TOPIC, TRANSACTIONS_TOPIC};
use crate::coordinator::txn::{Transactions, TxnAnswer, TxnRequest};
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metrics::Tour;
use crate::partition::verification::FirstBatch;
use crate::placement::ShardId;
use crate::share::leaders::{Leaders, ShareAnswer, ShareRequest};
use hayate_net::error::ErrorCode;
use hayate_rt::mailbox::{Caller, Inbox};
use hayate_storage::batch::{NO_SEQUENCE, ProducerId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// A call of class *coordinator*, to the shard that leads the partition in it.
pub enum CoordinatorCall {
    /// For the coordinator of groups.
    Groups(i32, GroupRequest, ReplyTo<GroupAnswer>),
    /// For the coordinator of transactions.
    Transactions(i32, TxnRequest, ReplyTo<TxnAnswer>),
    /// For the coordinator of share groups' states.
    ShareStates(i32, ShareStateRequest, ReplyTo<ShareStateAnswer>),
    /// For the leader of partitions that share groups read.
    Shares(ShareRequest, ReplyTo<ShareAnswer>),
}

/// Callers by shard number; the own one is not used.
pub type CoordinatorCallers = Vec<Caller<CoordinatorCall, ()>>;

/// The coordinators of a shard, and its ways to those of others.
pub struct Coordination {
    owner: Rc<Owner>,
    callers: CoordinatorCallers,
    /// Those of groups.
    pub groups: Rc<Runtime<Groups>>,
    /// How far the walk has come that shows groups.
    pub tour: RefCell<Tour>,
    /// Those of transactions.
    pub transactions: Rc<Runtime<Transactions>>,
    /// Those of share groups' states.
    pub share_states: Rc<Runtime<ShareStates>>,
    /// The share partitions that the shard leads.
    pub shares: Rc<Leaders>,
    /// The topics of the last view.
    followed: RefCell<Arc<MetadataImage>>,
}

/// An answer to come.
pub struct Answering<A: 'static>(Option<flume::r#async::RecvFut<'static, Result<A, ErrorCode>>>);

impl<A> Answering<A> {
    /// Waits for it. A coordinator that is gone answers 16: the client looks for it again.
    ///
    /// # Errors
    /// 14, 15 or 16.
    pub async fn answer(self) -> Result<A, ErrorCode> {
        match self.0 {
            Some(answer) => answer.await.unwrap_or(Err(ErrorCode::NotCoordinator)),
            None => Err(ErrorCode::NotCoordinator),
        }
    }
}

impl Coordination {
    /// Of the shard of `owner`.
    pub fn new(
        owner: Rc<Owner>,
        callers: CoordinatorCallers,
        groups: Rc<Runtime<Groups>>,
        transactions: Rc<Runtime<Transactions>>,
        (share_states, shares): (Rc<Runtime<ShareStates>>, Rc<Leaders>),
    ) -> Coordination {
        let followed = RefCell::new(Arc::new(MetadataImage::empty("")));
        let tour = RefCell::default();
        Coordination { owner, callers, groups, transactions, share_states, shares, tour, followed }
    }

    /// The partition of an internal topic that coordinates `id`, and its shard.
    ///
    /// # Errors
    /// 15 when the topic does not exist yet, and 16 when this node does not lead the partition.
    pub fn route(&self, view: &ClusterView, topic: &str, id: &str) -> Result<(ShardId, i32), ErrorCode> {
        let topic = view.image.topic(topic).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let number = partition_of(id, count);
        view.route(topic, number).map(|route| (route.shard, number)).map_err(|_| ErrorCode::NotCoordinator)
    }

    /// Hands a request to the coordinator of `group`; it has its place there when this resolves.
    ///
    /// # Errors
    /// As [`Coordination::route`].
    pub async fn ask_group(
        &self,
        group: &str,
        request: GroupRequest,
    ) -> Result<Answering<GroupAnswer>, ErrorCode> {
        let (shard, number) = self.route(&self.owner.view(), OFFSETS_TOPIC, group)?;
        Ok(self.ask_groups_of(shard, number, request).await)
    }

    /// Hands a request to the coordinator of one partition.
    pub async fn ask_groups_of(
        &self,
        shard: ShardId,
        number: i32,
        request: GroupRequest,
    ) -> Answering<GroupAnswer> {
        let (reply, answer) = flume::bounded(1);
        self.dispatch(shard, CoordinatorCall::Groups(number, request, reply)).await;
        Answering(Some(answer.into_recv_async()))
    }

    /// Hands a request to the coordinator of a transactional id; it has its place there when this resolves.
    ///
    /// # Errors
    /// 16 when this node does not lead the partition, or there is none yet: then nobody has begun with that id.
    pub async fn ask_transaction(
        &self,
        transactional_id: &str,
        request: TxnRequest,
    ) -> Result<Answering<TxnAnswer>, ErrorCode> {
        let route = self.route(&self.owner.view(), TRANSACTIONS_TOPIC, transactional_id);
        let (shard, number) = route.map_err(|_| ErrorCode::NotCoordinator)?;
        Ok(self.ask_transactions_of(shard, number, request).await)
    }

    /// Hands a request to the coordinator of one partition.
    pub async fn ask_transactions_of(
        &self,
        shard: ShardId,
        number: i32,
        request: TxnRequest,
    ) -> Answering<TxnAnswer> {
        let (reply, answer) = flume::bounded(1);
        self.dispatch(shard, CoordinatorCall::Transactions(number, request, reply)).await;
        Answering(Some(answer.into_recv_async()))
    }

    /// Hands a request to the share coordinator of a group's partition.
    ///
    /// # Errors
    /// As [`Coordination::route`].
    pub async fn ask_share_state(
        &self,
        request: ShareStateRequest,
    ) -> Result<Answering<ShareStateAnswer>, ErrorCode> {
        let (shard, number) = self.route(&self.owner.view(), SHARE_TOPIC, &coordinator_key(&request.key))?;
        let (reply, answer) = flume::bounded(1);
        self.dispatch(shard, CoordinatorCall::ShareStates(number, request, reply)).await;
        Ok(Answering(Some(answer.into_recv_async())))
    }

    /// Hands a request to a shard that leads partitions which share groups read; it has its place there when this resolves.
    pub async fn ask_shares_of(&self, shard: ShardId, request: ShareRequest) -> Answering<ShareAnswer> {
        let (reply, answer) = flume::bounded(1);
        self.dispatch(shard, CoordinatorCall::Shares(request, reply)).await;
        Answering(Some(answer.into_recv_async()))
    }

    /// Has the leaders of partitions forget what they know of share groups in them.
    pub async fn forget_shares(&self, keys: Vec<SharePartitionKey>) {
        let view = self.owner.view();
        let mut by_shard: BTreeMap<ShardId, Vec<SharePartitionKey>> = BTreeMap::new();
        for key in keys {
            let topic = view.topic_by_id(&key.topic_id);
            if let Ok(route) = topic.and_then(|topic| view.route(topic, key.partition)) {
                by_shard.entry(route.shard).or_default().push(key);
            }
        }
        for (shard, keys) in by_shard {
            // Who is gone knows nothing any more.
            let _ = self.ask_shares_of(shard, ShareRequest::Forget(keys)).await.answer().await;
        }
    }

    /// Every partition of an internal topic that this node leads, with its shard.
    pub fn all(&self, topic: &str) -> Vec<(ShardId, i32)> {
        let view = self.owner.view();
        let Some(topic) = view.image.topic(topic) else { return Vec::new() };
        let led = topic
            .partitions
            .keys()
            .filter_map(|number| Some((view.route(topic, *number).ok()?.shard, *number)));
        led.collect()
    }

    async fn dispatch(&self, shard: ShardId, call: CoordinatorCall) {
        if shard == self.owner.shard() {
            self.owner.writable().await;
            return self.take(call);
        }
        let Some(caller) = self.callers.get(shard.index()) else { return };
        if caller.is_exhausted() {
            self.owner.mailbox_full();
        }
        // Of a shard that has stopped the reply is dropped with the call, which is an answer.
        let _ = caller.send(call).await;
    }

    fn take(&self, call: CoordinatorCall) {
        match call {
            CoordinatorCall::Groups(number, request, reply) => match self.may_write(number, &request) {
                Ok(()) => self.groups.submit(number, request, reply),
                Err(code) => drop(reply.try_send(Err(code))),
            },
            CoordinatorCall::Transactions(number, request, reply) => {
                self.transactions.submit(number, request, reply);
            }
            CoordinatorCall::ShareStates(number, request, reply) => {
                self.share_states.submit(number, request, reply);
            }
            CoordinatorCall::Shares(request, reply) => self.shares.submit(request, reply),
        }
    }

    /// Whether the partition would take what a request writes in a transaction: a machine's writes must not fail.
    fn may_write(&self, number: i32, request: &GroupRequest) -> Result<(), ErrorCode> {
        let GroupRequest::TxnOffsetCommit { request, guard } = request else { return Ok(()) };
        let Some(partition) = self.groups.partition(number) else { return Ok(()) };
        let batch = FirstBatch {
            producer_id: ProducerId(request.producer_id.0),
            producer_epoch: request.producer_epoch,
            sequence: NO_SEQUENCE,
        };
        partition.admits_own(&batch, *guard).map_err(|failure| failure.code)
    }

    /// Takes in other shards' calls in their order. Awaits its inbox, and the disk while too much is unflushed.
    pub async fn receive(self: Rc<Self>, inbox: Inbox<CoordinatorCall, ()>) {
        while let Ok(call) = inbox.recv().await {
            self.owner.writable().await;
            self.take(call.request);
            call.reply.send(());
        }
    }

    /// Goes by a new view.
    pub fn follow(&self, view: &ClusterView) {
        self.groups.follow(view);
        self.transactions.follow(view);
        self.share_states.follow(view);
        self.shares.follow();
        let before = self.followed.replace(view.image.clone());
        let is_gone = |topic: &&Arc<TopicImage>| view.image.topic_by_id(&topic.id).is_none();
        let gone: Vec<_> =
            before.topics().filter(is_gone).map(|topic| (topic.name.to_string(), topic.id)).collect();
        if !gone.is_empty() {
            self.groups.step_all(|machine, moment, effects| machine.topics_deleted(moment, &gone, effects));
            self.share_states
                .step_all(|machine, moment, effects| machine.topics_deleted(moment, &gone, effects));
        }
    }
}
