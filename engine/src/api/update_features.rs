//! UpdateFeatures (KIP-584, KIP-778): changes the levels that the cluster runs its features at, all of them or none. The
//! controller decides, and the answer waits until every shard announces the new ones.

use super::{RequestContext, text};
use crate::metadata::controller::{ApiError, Command, Reply, UpdateFeatures, UpgradeType};
use crate::shard::calls::{ControlAnswer, ControlCall};
use bytes::Bytes;
use hayate_net::conn::Answer;
use hayate_net::error::{ErrorCode, WireError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use kafka_protocol::protocol::StrBytes;

/// Last version that says the same of each feature again.
const RESULTS_UNTIL: i16 = 1;
/// Kafka's words for error 0.
const NO_ERROR: &str = "NONE";

pub(super) async fn serve(context: RequestContext, body: Bytes) -> Result<Answer, WireError> {
    let request: UpdateFeaturesRequest = context.decode(body)?;
    let updates = request.feature_updates.iter().map(|update| {
        let upgrade_type = UpgradeType::from_number(update.upgrade_type);
        (update.feature.to_string(), (update.max_version_level, upgrade_type))
    });
    let command = UpdateFeatures { updates: updates.collect(), validate_only: request.validate_only };
    let call = ControlCall::Command(Command::UpdateFeatures(command));
    let outcome = match context.shard.control(call).await {
        ControlAnswer::Replied(Reply::UpdateFeatures(outcome)) => outcome,
        _ => Err(ApiError { code: ResponseError::NotController, message: None }),
    };
    let response = match outcome {
        Ok(()) => done(&request, context.version()),
        Err(error) => {
            context.count_error(ErrorCode::from_code(error.code.code()).unwrap_or_default());
            refused(error)
        }
    };
    context.answer(&response)
}

fn done(request: &UpdateFeaturesRequest, version: i16) -> UpdateFeaturesResponse {
    let response = UpdateFeaturesResponse::default().with_error_message(None);
    if version > RESULTS_UNTIL {
        return response;
    }
    let results = request.feature_updates.iter().map(|update| {
        UpdatableFeatureResult::default()
            .with_feature(update.feature.clone())
            .with_error_message(Some(StrBytes::from_static_str(NO_ERROR)))
    });
    response.with_results(results.collect())
}

fn refused(error: ApiError) -> UpdateFeaturesResponse {
    let message = error.message.map(|message| {
        format!("The update failed for all features since the following feature had an error: {message}")
    });
    UpdateFeaturesResponse::default().with_error_code(error.code.code()).with_error_message(message.map(text))
}
