//! Answers to ApiVersions, the request with which a client finds out what a broker speaks, and its rules: KIP-35,
//! KIP-511 (a version that the broker lacks is answered in version 0), KIP-584 (features), KAFKA-17011 (what version 3
//! must not see). Knows nothing of which kinds are served: that is [`Supported`].

use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::protocol::StrBytes;

use super::table::{API_VERSIONS, Supported, SupportedApi};
use crate::error::ErrorCode;

/// A feature that a broker has (KIP-584).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportedFeature {
    /// Kafka's name for it, e.g. `metadata.version`.
    pub name: String,
    /// Lowest level that this broker can run at.
    pub level_min: i16,
    /// Highest level that this broker can run at.
    pub level_max: i16,
}

/// The features of a broker and of its cluster (KIP-584).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// What this broker has.
    pub supported: Vec<SupportedFeature>,
    /// The level that the cluster runs each at, above 0; there may be some that this broker lacks.
    pub finalized: Vec<(String, i16)>,
    /// Counts changes of the finalized ones; −1 when unknown.
    pub epoch: i64,
}

/// The answer to an ApiVersions request of a served version; versions below 3 carry no features.
pub fn response(api_version: i16, supported: &Supported, features: &Features) -> ApiVersionsResponse {
    let response =
        ApiVersionsResponse::default().with_api_keys(supported.announced().map(announce).collect());
    if api_version < 3 {
        return response;
    }
    // A client that speaks version 3 takes a lowest level of 0 for an error (KAFKA-17011).
    let shown = features.supported.iter().filter(|feature| api_version >= 4 || feature.level_min > 0);
    response
        .with_supported_features(shown.map(supported_feature).collect())
        .with_finalized_features(features.finalized.iter().map(finalized_feature).collect())
        .with_finalized_features_epoch(features.epoch)
}

/// The answer, to be sent in version 0, to an ApiVersions request of a version that is not served: error 35, and the
/// versions of ApiVersions from which the client may choose.
pub fn unsupported_version_response(supported: &Supported) -> ApiVersionsResponse {
    let own = supported.announced().filter(|api| api.api_key == API_VERSIONS);
    ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(own.map(announce).collect())
}

/// Whether a client's name or version of itself is one that Kafka takes, in ApiVersions from version 3; otherwise the
/// answer is [`ErrorCode::InvalidRequest`] (KIP-511): letters, digits, dots and hyphens, the latter two not at an end.
pub fn is_valid_software_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    bytes.iter().all(is_inner)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

fn announce(api: SupportedApi) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.api_key)
        .with_min_version(api.versions.min)
        .with_max_version(api.versions.max)
}

fn supported_feature(feature: &SupportedFeature) -> SupportedFeatureKey {
    SupportedFeatureKey::default()
        .with_name(StrBytes::from_string(feature.name.clone()))
        .with_min_version(feature.level_min)
        .with_max_version(feature.level_max)
}

fn finalized_feature((name, level): &(String, i16)) -> FinalizedFeatureKey {
    FinalizedFeatureKey::default()
        .with_name(StrBytes::from_string(name.clone()))
        .with_min_version_level(*level)
        .with_max_version_level(*level)
}

#[cfg(test)]
mod tests {
    use super::{Features, SupportedFeature, is_valid_software_name, response, unsupported_version_response};
    use crate::wire::codec::encode_response;
    use crate::wire::table::Supported;

    fn supported() -> Supported {
        Supported::new(&[(18, 0, 4), (0, 3, 13), (3, 0, 13)])
    }

    fn feature(name: &str, level_min: i16) -> SupportedFeature {
        SupportedFeature { name: name.to_owned(), level_min, level_max: 9 }
    }

    #[test]
    fn version_3_hides_features_that_may_be_off() {
        let level = |name: &str, level| (name.to_owned(), level);
        let features = Features {
            supported: vec![feature("metadata.version", 7), feature("kraft.version", 0), feature("off", 0)],
            finalized: vec![level("metadata.version", 9), level("kraft.version", 1), level("foreign", 2)],
            epoch: 4,
        };
        let shown = |version| response(version, &supported(), &features);
        assert_eq!((shown(2).supported_features.len(), shown(2).finalized_features.len()), (0, 0));
        assert_eq!((shown(3).supported_features.len(), shown(3).finalized_features.len()), (1, 3));
        assert_eq!((shown(4).supported_features.len(), shown(4).finalized_features.len()), (3, 3));
        assert_eq!(shown(4).finalized_features_epoch, 4);
    }

    #[test]
    fn the_answer_to_an_unknown_version_is_readable_by_all() {
        let answer = encode_response(7, 0, &unsupported_version_response(&supported())).expect("encodable");
        let expected = [0, 0, 0, 16, 0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
        assert_eq!(&answer[..], expected);
    }

    #[test]
    fn produce_is_announced_from_zero_in_every_version() {
        for version in 0..=4 {
            let answer = response(version, &supported(), &Features::default());
            assert_eq!((answer.api_keys[0].api_key, answer.api_keys[0].min_version), (0, 0));
            // The header stays at version 0: the body begins right behind the correlation id.
            let frame = encode_response(7, version, &answer).expect("encodable");
            assert_eq!(&frame[4..10], [0, 0, 0, 7, 0, 0]);
        }
    }

    #[test]
    fn software_names_follow_kafkas_rule() {
        for name in ["librdkafka", "a", "apache-kafka-java", "1.2.3"] {
            assert!(is_valid_software_name(name), "{name}");
        }
        for name in ["", "-a", "a.", "a b", "ä", "."] {
            assert!(!is_valid_software_name(name), "{name}");
        }
    }
}
