//! ListConfigResources (KIP-1142): what has configurations. Before version 1 it was ListClientMetricsResources (KIP-714).
//! There are no groups' configurations here.

use super::{RequestContext, text};
use crate::metadata::image::ConfigKind;
use crate::shard::view::ClusterView;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use std::collections::BTreeSet;

/// What can be asked for before kinds can be named.
const CLIENT_METRICS_ALONE: &[ConfigKind] = &[ConfigKind::ClientMetrics];
/// What can be asked for since.
const ALL: &[ConfigKind] = &[
    ConfigKind::Topic,
    ConfigKind::Broker,
    ConfigKind::BrokerLogger,
    ConfigKind::ClientMetrics,
    ConfigKind::Group,
];

pub(super) fn serve(context: &RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: ListConfigResourcesRequest = context.decode(body)?;
    let supported = if context.version() == 0 { CLIENT_METRICS_ALONE } else { ALL };
    let response = ListConfigResourcesResponse::default();
    let response = match asked(&request.resource_types, supported) {
        Some(kinds) => {
            let view = context.shard.view();
            let listed = kinds.into_iter().rev().flat_map(|kind| list(&view, kind));
            response.with_config_resources(listed.collect())
        }
        None => response.with_error_code(ErrorCode::UnsupportedVersion.code()),
    };
    context.answer(&response)
}

/// The kinds asked for, all without any; `None` if one of them is not supported.
fn asked(numbers: &[i8], supported: &[ConfigKind]) -> Option<BTreeSet<ConfigKind>> {
    if numbers.is_empty() {
        return Some(supported.iter().copied().collect());
    }
    let kind = |number: &i8| ConfigKind::from_number(*number).filter(|kind| supported.contains(kind));
    numbers.iter().map(kind).collect()
}

fn list(view: &ClusterView, kind: ConfigKind) -> Vec<ConfigResource> {
    let resource = |name: String| {
        ConfigResource::default().with_resource_name(text(name)).with_resource_type(kind.number())
    };
    match kind {
        ConfigKind::Topic => view.image.topics().map(|topic| resource(topic.name.to_string())).collect(),
        ConfigKind::Broker | ConfigKind::BrokerLogger => {
            let active = view.image.brokers().filter(|(_, broker)| broker.is_active());
            active.map(|(id, _)| resource(id.to_string())).collect()
        }
        ConfigKind::ClientMetrics | ConfigKind::Group => {
            let of_kind = view.image.configs().filter(|(resource, _)| resource.kind == kind);
            of_kind.map(|(of_one, _)| resource(of_one.name.clone())).collect()
        }
    }
}
