//! The levels of this broker's log as configurations of a resource (KIP-412): what DescribeConfigs shows of them, and how
//! IncrementalAlterConfigs changes them, here and at once, past the controller. After Kafka's `RuntimeLoggerManager`.

use super::alteration::invalid;
use super::text;
use crate::broker::BrokerOptions;
use crate::logging::{Level, Loggers, ROOT};
use crate::metadata::controller::{ApiError, ConfigChange, ConfigOperation};
use crate::metadata::image::NodeId;
use hayate_net::error::ErrorCode;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;

/// Kafka's number of the source of every level, set or not.
const DYNAMIC_BROKER_LOGGER: i8 = 6;

/// Each logger that `is_asked` for, with the level that it goes by.
pub(super) fn describe(
    loggers: &Loggers,
    is_asked: impl Fn(&str) -> bool,
) -> Vec<DescribeConfigsResourceResult> {
    let levels = loggers.levels();
    let show = |logger: String| {
        DescribeConfigsResourceResult::default()
            .with_value(Some(text(levels.of(&logger).name())))
            .with_name(text(logger))
            .with_config_source(DYNAMIC_BROKER_LOGGER)
    };
    levels.loggers().into_iter().filter(|logger| is_asked(logger)).map(show).collect()
}

/// Refuses the name of a resource that is not this broker.
pub(super) fn check_described(name: &str, here: NodeId) -> Result<(), (ErrorCode, String)> {
    let message = match name.parse::<NodeId>() {
        Ok(id) if id == here => return Ok(()),
        Ok(_) => format!("Unexpected broker id, expected {here} but received {name}"),
        Err(_) if name.is_empty() => "Broker id must not be empty".to_owned(),
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err((ErrorCode::InvalidRequest, message))
}

/// Changes levels: all that is asked for, or nothing.
///
/// # Errors
/// A resource that is not this broker, a logger or a level that does not exist, and what cannot be done with a level.
pub(super) fn alter(
    options: &BrokerOptions,
    name: &str,
    changes: &[ConfigChange],
    validate_only: bool,
) -> Result<(), ApiError> {
    let here = options.node_id;
    match name.parse::<NodeId>() {
        Ok(id) if id == here => {}
        Ok(_) => return Err(invalid(format!("Unexpected node id. Expected {here}, but received {name}"))),
        Err(_) => return Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
    }
    let loggers = options.loggers.levels().loggers();
    let planned: Result<Vec<_>, _> =
        changes.iter().map(|change| plan(change, loggers.contains(&change.name))).collect();
    let planned = planned?;
    if validate_only {
        return Ok(());
    }
    options.loggers.change(|levels| {
        for (logger, level) in &planned {
            match level {
                Some(level) => levels.set(logger, *level),
                None => levels.unset(logger),
            }
        }
    });
    for (logger, level) in planned {
        tracing::warn!(logger, level = level.map(Level::name), "the log level was changed by a client");
    }
    Ok(())
}

/// The level that a logger is to have of its own.
fn plan(change: &ConfigChange, exists: bool) -> Result<(&str, Option<Level>), ApiError> {
    let logger = change.name.as_str();
    let bad = |message| Err(ApiError::new(ResponseError::InvalidConfig, message));
    match &change.operation {
        ConfigOperation::Append(_) => Err(not_allowed("APPEND operation is")),
        ConfigOperation::Subtract(_) => Err(not_allowed("SUBTRACT operation is")),
        ConfigOperation::Set(_) | ConfigOperation::Delete if !exists => {
            bad(format!("Logger {logger} does not exist!"))
        }
        ConfigOperation::Set(level) => match Level::settable(level) {
            Some(level) => Ok((logger, Some(level))),
            None => bad(format!(
                "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log levels are {}",
                Level::SETTABLE.map(Level::name).join(", ")
            )),
        },
        ConfigOperation::Delete if logger == ROOT => {
            Err(invalid(format!("Removing the log level of the {ROOT} logger is not allowed")))
        }
        ConfigOperation::Delete => Ok((logger, None)),
    }
}

/// An error for an operation, named with its verb, that makes no sense for a level.
pub(super) fn not_allowed(operation_is: &str) -> ApiError {
    invalid(format!("{operation_is} not allowed for the BROKER_LOGGER resource"))
}
