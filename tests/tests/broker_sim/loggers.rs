//! The levels of the broker's log as configurations (KIP-412): shown, changed, refused in Kafka's words, and not kept.

use super::check;
use super::configs::{Change, alter, ask, describe_all, incremental, replace};
use hayate_engine::logging::Level;
use hayate_net::error::ErrorCode;
use hayate_tests::broker_sim::{Client, checked};
use kafka_protocol::messages::DescribeConfigsRequest;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::protocol::StrBytes;

const LOGGERS: (i8, &str) = (8, "1");
const CONNECTIONS: &str = "hayate_engine::shard::connection";

async fn level(client: &mut Client, logger: &str) -> String {
    let all = describe_all(client, LOGGERS).await;
    let (_, shown) = all.into_iter().find(|(name, _)| name == logger).expect("it is shown");
    assert_eq!((shown.source, shown.synonyms.len(), shown.read_only, shown.sensitive), (6, 0, false, false));
    shown.value.expect("a level")
}

#[test]
fn levels_are_set_and_unset_and_hold_for_what_is_below() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        assert_eq!(level(&mut client, "root").await, "INFO");
        let changes: &[Change<'_>] =
            &[("hayate_engine", Some("DEBUG")), (CONNECTIONS, Some("FATAL")), ("root", Some("WARN"))];
        for (changes, expected) in [
            (changes, ["WARN", "DEBUG", "DEBUG", "FATAL"]),
            (&[(CONNECTIONS, None)], ["WARN", "DEBUG", "DEBUG", "DEBUG"]),
            (
                &[("hayate_engine", None), ("hayate_engine::shard", Some("TRACE"))],
                ["WARN", "WARN", "TRACE", "TRACE"],
            ),
        ] {
            assert_eq!(alter(&mut client, LOGGERS, changes).await, Ok(()));
            let loggers = ["root", "hayate_engine", "hayate_engine::shard", CONNECTIONS];
            for (logger, expected) in loggers.into_iter().zip(expected) {
                assert_eq!(level(&mut client, logger).await, expected, "{logger}");
            }
        }
        let levels = bench.options.loggers.levels();
        assert_eq!((levels.of(CONNECTIONS), levels.of("hayate_storage")), (Level::Trace, Level::Warn));
    });
}

#[test]
fn what_cannot_be_done_with_a_level_is_refused_and_changes_nothing() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        let good = (CONNECTIONS, Some("DEBUG"));
        for (resource, change, code, message) in [
            (LOGGERS, ("kafka", Some("DEBUG")), ErrorCode::InvalidConfig, "Logger kafka does not exist!"),
            (LOGGERS, ("kafka", None), ErrorCode::InvalidConfig, "Logger kafka does not exist!"),
            (
                LOGGERS,
                ("root", Some("debug")),
                ErrorCode::InvalidConfig,
                "Cannot set the log level of root to debug as it is not a supported log level. Valid log levels are \
                 DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
            ),
            (
                LOGGERS,
                ("root", None),
                ErrorCode::InvalidRequest,
                "Removing the log level of the root logger is not allowed",
            ),
            (
                LOGGERS,
                ("+root", Some("DEBUG")),
                ErrorCode::InvalidRequest,
                "APPEND operation is not allowed for the BROKER_LOGGER resource",
            ),
            (
                LOGGERS,
                ("-root", Some("DEBUG")),
                ErrorCode::InvalidRequest,
                "SUBTRACT operation is not allowed for the BROKER_LOGGER resource",
            ),
            (
                (8, "2"),
                ("root", Some("DEBUG")),
                ErrorCode::InvalidRequest,
                "Unexpected node id. Expected 1, but received 2",
            ),
            (
                (8, ""),
                ("root", Some("DEBUG")),
                ErrorCode::InvalidRequest,
                "Node id must be an integer, but it is: ",
            ),
        ] {
            let refused = alter(&mut client, resource, &[good, change]).await;
            assert_eq!(refused, Err((code, message.to_owned())), "{resource:?} {change:?}");
        }
        let mut unknown = incremental(LOGGERS, &[good]);
        unknown.configs[0].config_operation = 9;
        let message = "Unknown operation type 9 is not allowed for the BROKER_LOGGER resource";
        let refused = Err((ErrorCode::InvalidRequest, message.to_owned()));
        assert_eq!(ask(&mut client, vec![unknown], false).await, [refused]);
        let replaced = replace(&mut client, LOGGERS, &[good]).await;
        assert_eq!(replaced, Err((ErrorCode::InvalidRequest, "Unknown resource type 8".to_owned())));
        assert_eq!(ask(&mut client, vec![incremental(LOGGERS, &[good])], true).await, [Ok(())]);
        assert_eq!(level(&mut client, CONNECTIONS).await, "INFO");
    });
}

#[test]
fn loggers_are_changed_beside_what_the_controller_keeps() {
    check(2, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        client.create_topic("t", 1).await;
        let resources = vec![
            incremental((2, "t"), &[("retention.ms", Some("5"))]),
            incremental(LOGGERS, &[("root", Some("ERROR"))]),
            incremental((2, "nowhere"), &[("retention.ms", Some("5"))]),
        ];
        let outcomes = ask(&mut client, resources, false).await;
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(level(&mut client, "root").await, "ERROR");
    });
}

#[test]
fn only_what_is_asked_for_of_this_broker_is_shown() {
    check(1, |bench| async move {
        let _running = bench.start().await;
        let mut client = bench.client().await;
        for (name, shown) in [
            ("1", Ok(vec!["root"])),
            ("", Err("Broker id must not be empty")),
            ("2", Err("Unexpected broker id, expected 1 but received 2")),
            ("one", Err("Broker id must be an integer, but it is: one")),
        ] {
            let string = |text: &str| StrBytes::from_string(text.to_owned());
            let resource = DescribeConfigsResource::default()
                .with_resource_type(8)
                .with_resource_name(string(name))
                .with_configuration_keys(Some(vec![string("root"), string("nobody")]));
            let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
            let response = client.ask(4, &request).await;
            let result = &response.results[0];
            let outcome = match checked(result.error_code) {
                Ok(()) => Ok(result.configs.iter().map(|config| config.name.as_str()).collect()),
                Err(code) => {
                    assert_eq!(code, ErrorCode::InvalidRequest);
                    Err(result.error_message.as_deref().unwrap_or_default())
                }
            };
            assert_eq!(outcome, shown, "{name}");
        }
    });
}
