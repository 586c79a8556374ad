//! Client telemetry (KIP-714): which metrics clients are asked for, and what they push.
//!
//! Pure: what administrators subscribe to, a client's request and the time go in, an answer and figures come out; no clock, no
//! socket, no lock. Each shard keeps the clients of its own connections, as Kafka forgets a client whose connection ends.
//! Specification: Kafka's `ClientMetricsManager`, `ClientMetricsConfigs`, `ClientMetricsInstance`.

mod figures;
mod instances;
mod otlp;
mod subscriptions;

pub use figures::{ClientFigures, Series};
pub use instances::{Counts, Grant, Instances, Limits, Push};
pub use subscriptions::{
    Asked, CLIENT_METRICS_CONFIGS, ClientAttributes, ClientMetricsConfig, check, render,
};
