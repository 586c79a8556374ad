//! Delivers the markers that a transaction coordinator orders to the shards that lead the partitions, and reports what became of each.
//!
//! It repeats nothing: what is not written is reported so, and the coordinator orders it again. After Kafka's
//! `TransactionMarkerChannelManager` and `TransactionMarkerRequestCompletionHandler`.

use super::calls::{MarkerPart, PartitionCall};
use super::router::{Grouped, Router, markers_written};
use crate::coordinator::runtime::Runtime;
use crate::coordinator::txn::{MarkerOrder, MarkerResult, Transactions};
use hayate_net::error::ErrorCode;
use hayate_rt::{Queue, Rt};
use hayate_storage::batch::control::EndTxnMarker;
use hayate_storage::log::TransactionEnd;
use std::rc::Rc;

/// Carries out an order of the coordinator of partition `number`, in a task of its own.
pub fn deliver(
    rt: &Rt,
    router: &Rc<Router>,
    coordinators: &Rc<Runtime<Transactions>>,
    number: i32,
    order: MarkerOrder,
) {
    let (router, coordinators) = (router.clone(), coordinators.clone());
    let delivery = async move {
        let results = write(&router, &order).await;
        let results = results.iter().map(|(topic, partition, result)| (*topic, *partition, *result));
        coordinators.step(number, |machine, moment, effects| {
            machine.markers_written(
                moment,
                &order.transactional_id,
                order.decided_at,
                results.clone(),
                effects,
            );
        });
    };
    rt.spawn(Queue::Coordination, delivery).detach();
}

/// Writes the markers; one result for each partition of the order.
async fn write<'a>(router: &Router, order: &'a MarkerOrder) -> Vec<(&'a str, i32, MarkerResult)> {
    let view = router.own().view();
    let named = order.partitions.iter();
    let named: Vec<(&str, i32)> =
        named.flat_map(|(topic, numbers)| numbers.iter().map(|number| (topic.as_str(), *number))).collect();
    let mut groups = Grouped::new(named.len());
    let end = end_of(order);
    for (place, (topic, partition)) in named.iter().enumerate() {
        let route = view.topic_by_name(topic).and_then(|topic| view.route(topic, *partition));
        if let Ok(route) = route {
            groups.push(route.shard, place, MarkerPart { key: route.key, end });
        }
    }
    router.own().writable().await;
    let written = groups.dispatch(router, PartitionCall::WriteMarkers).await.collect(markers_written).await;
    let named = named.into_iter().zip(written);
    named.map(|((topic, partition), outcome)| (topic, partition, result_of(outcome))).collect()
}

fn end_of(order: &MarkerOrder) -> TransactionEnd {
    TransactionEnd {
        producer_id: order.producer_id,
        producer_epoch: order.producer_epoch,
        marker: EndTxnMarker { outcome: order.outcome, coordinator_epoch: order.coordinator_epoch },
        version: order.version,
    }
}

/// `None`: nobody was asked, as the partition is led nowhere or gone.
fn result_of<T>(outcome: Option<Result<T, ErrorCode>>) -> MarkerResult {
    match outcome {
        Some(Ok(_)) => MarkerResult::Written,
        Some(Err(ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced)) => {
            MarkerResult::Fenced
        }
        Some(Err(_)) | None => MarkerResult::Again,
    }
}
