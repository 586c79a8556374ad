//! ApiVersions: what this broker serves (KIP-35, KIP-511, KIP-584).

use super::RequestContext;
use crate::metadata::features::SUPPORTED;
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use hayate_net::wire::api_versions::{
    Features, SupportedFeature, is_valid_software_name, response, unsupported_version_response,
};
use hayate_net::wire::codec;
use hayate_storage::mutants::Mutant;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use std::collections::VecDeque;

pub(super) fn serve(context: &RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let version = context.version();
    if !(context.spec.version_min..=context.spec.version_max).contains(&version) {
        let refused = unsupported_version_response(context.shard.served.supported());
        return answer_in(context, 0, &refused);
    }
    let request: ApiVersionsRequest = context.decode(body)?;
    let named = is_valid_software_name(&request.client_software_name)
        && is_valid_software_name(&request.client_software_version);
    if version >= 3 && !named {
        let refused = ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
        return answer_in(context, version, &refused);
    }
    if named {
        context.connection.set_software(&request.client_software_name, &request.client_software_version);
    }
    let view = context.shard.view();
    let supported: Vec<_> = SUPPORTED
        .iter()
        .map(|feature| SupportedFeature {
            name: feature.name.to_owned(),
            level_min: feature.level_min,
            level_max: feature.level_max,
        })
        .collect();
    let features = Features {
        supported,
        finalized: view.image.features().map(|(name, level)| (name.to_owned(), level)).collect(),
        epoch: view.image.position().offset.0,
    };
    answer_in(context, version, &response(version, context.shard.served.supported(), &features))
}

fn answer_in(
    context: &RequestContext,
    version: i16,
    response: &ApiVersionsResponse,
) -> Result<Answer, WireError> {
    context.panic_if(Mutant::PanicInAnswer);
    let frame = codec::encode_response(context.head.correlation_id, version, response)?;
    Ok(Answer::Frame(VecDeque::from([frame])))
}
