//! WriteTxnMarkers: the ends of transactions, as their coordinator has decided, or an administrator who ends one that hangs (KIP-664).
//! After Kafka's `KafkaApis.handleWriteTxnMarkersRequest`; of a partition that is named again for a producer, the last answer counts.

use super::RequestContext;
use super::topics::{ask_owners, topic_name};
use crate::shard::calls::{MarkerPart, PartitionCall};
use crate::shard::router::markers_written;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_storage::batch::control::{EndTxnMarker, TxnOutcome};
use hayate_storage::batch::{Offset, ProducerId};
use hayate_storage::log::TransactionEnd;
use hayate_storage::producers::TransactionVersion;
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use std::collections::BTreeMap;

/// Codes by producer, topic and partition.
type Outcomes<'a> = BTreeMap<i64, BTreeMap<&'a str, BTreeMap<i32, ErrorCode>>>;

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: WriteTxnMarkersRequest = context.decode(body)?;
    let mut written = write(&context, &request).await.into_iter();
    let mut outcomes = Outcomes::new();
    // One that names no partition has no answer.
    let is_somewhere =
        |marker: &&WritableTxnMarker| marker.topics.iter().any(|topic| !topic.partition_indexes.is_empty());
    for marker in request.markers.iter().filter(is_somewhere) {
        let topics = outcomes.entry(marker.producer_id.0).or_default();
        for topic in &marker.topics {
            let codes = topics.entry(topic.name.as_str()).or_default();
            for index in &topic.partition_indexes {
                let outcome = written.next().unwrap_or(Err(ErrorCode::UnknownServerError));
                codes.insert(*index, outcome.err().unwrap_or(ErrorCode::None));
            }
        }
    }
    let markers = outcomes.into_iter().map(|(producer_id, topics)| {
        WritableTxnMarkerResult::default()
            .with_producer_id(kafka_protocol::messages::ProducerId(producer_id))
            .with_topics(topics.into_iter().map(|(name, codes)| answer(name, codes)).collect())
    });
    context.answer(&WriteTxnMarkersResponse::default().with_markers(markers.collect()))
}

/// One outcome for each partition of each marker, in request order, once the marker is safe.
async fn write(context: &RequestContext, request: &WriteTxnMarkersRequest) -> Vec<Result<Offset, ErrorCode>> {
    let view = context.shard.view();
    let mut parts = Vec::new();
    for marker in &request.markers {
        let end = end_of(marker);
        for topic in &marker.topics {
            let found = view.topic_by_name(&topic.name);
            let route = |index: &i32| {
                // As Kafka, whatever keeps this broker from leading it.
                let route = found.and_then(|topic| view.route(topic, *index));
                let route = route.map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
                Ok((route.shard, MarkerPart { key: route.key, end }))
            };
            parts.extend(topic.partition_indexes.iter().map(route));
        }
    }
    context.shard.owner.writable().await;
    ask_owners(context, parts, PartitionCall::WriteMarkers, markers_written).await
}

/// Requests of these versions do not tell the coordinator's rules: Kafka takes them for the first ones.
fn end_of(marker: &WritableTxnMarker) -> TransactionEnd {
    let outcome = if marker.transaction_result { TxnOutcome::Commit } else { TxnOutcome::Abort };
    TransactionEnd {
        producer_id: ProducerId(marker.producer_id.0),
        producer_epoch: marker.producer_epoch,
        marker: EndTxnMarker { outcome, coordinator_epoch: marker.coordinator_epoch },
        version: TransactionVersion::Classic,
    }
}

fn answer(name: &str, codes: BTreeMap<i32, ErrorCode>) -> WritableTxnMarkerTopicResult {
    let partitions = codes.into_iter().map(|(index, code)| {
        WritableTxnMarkerPartitionResult::default().with_partition_index(index).with_error_code(code.code())
    });
    WritableTxnMarkerTopicResult::default().with_name(topic_name(name)).with_partitions(partitions.collect())
}
