//! Client telemetry: how much of it there is, and what clients have pushed, shown with the broker's own figures.

use super::cells::{Counter, Gauge};
use super::text::{MetricType, TextWriter};
use crate::telemetry::{ClientFigures, Series};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What one shard counts of its clients' telemetry.
#[derive(Debug, Default)]
pub struct ClientCells {
    /// Clients that take part.
    pub instances: Gauge,
    /// Pushes taken.
    pub pushes: Counter,
    /// Requests that came before their time.
    pub throttled: Counter,
    /// Pushes for subscriptions that are no more.
    pub unknown_subscriptions: Counter,
    /// Pushes that could not be read.
    pub unreadable: Counter,
    /// Points that were left out.
    pub left_out_points: Counter,
    figures: Mutex<Arc<[Arc<ClientFigures>]>>,
}

impl ClientCells {
    /// Publishes what clients have pushed; false when that is being read just now, and nothing was published. Never waits.
    pub fn publish(&self, figures: &[Arc<ClientFigures>]) -> bool {
        let Ok(mut published) = self.figures.try_lock() else { return false };
        *published = figures.into();
        true
    }

    /// What was published last.
    pub fn figures(&self) -> Arc<[Arc<ClientFigures>]> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type Cell = fn(&ClientCells) -> u64;

const FAMILIES: [(&str, MetricType, &str, Cell); 6] = [
    (
        "hayate_client_metrics_instances",
        MetricType::Gauge,
        "Clients that take part in telemetry (Kafka: kafka.server:type=client-metrics instance-count).",
        |cells| cells.instances.get(),
    ),
    (
        "hayate_client_metrics_pushes_total",
        MetricType::Counter,
        "Pushes of client metrics taken (Kafka: kafka.server:type=client-metrics plugin-export-count).",
        |cells| cells.pushes.get(),
    ),
    (
        "hayate_client_metrics_throttled_total",
        MetricType::Counter,
        "Telemetry requests that came before their time (Kafka: kafka.server:type=client-metrics throttle-count).",
        |cells| cells.throttled.get(),
    ),
    (
        "hayate_client_metrics_unknown_subscriptions_total",
        MetricType::Counter,
        "Pushes for subscriptions that have changed since (Kafka: kafka.server:type=client-metrics unknown-subscription-request-count).",
        |cells| cells.unknown_subscriptions.get(),
    ),
    (
        "hayate_client_metrics_unreadable_total",
        MetricType::Counter,
        "Pushes of client metrics that could not be read (Kafka: kafka.server:type=client-metrics plugin-error-count).",
        |cells| cells.unreadable.get(),
    ),
    (
        "hayate_client_metrics_left_out_points_total",
        MetricType::Counter,
        "Points of client metrics beyond what is kept, or of kinds that are not shown. No counterpart in Kafka.",
        |cells| cells.left_out_points.get(),
    ),
];

type Figures = fn(&ClientFigures) -> &BTreeMap<Series, f64>;

const PUSHED: [(&str, MetricType, &str, Figures); 2] = [
    (
        "hayate_client_metric_value",
        MetricType::Gauge,
        "What clients push that goes up and down, in the client's unit (Kafka hands it to a ClientTelemetryReceiver).",
        |client| &client.gauges,
    ),
    (
        "hayate_client_metric_total",
        MetricType::Counter,
        "What clients push that only grows, in the client's unit (Kafka hands it to a ClientTelemetryReceiver).",
        |client| &client.sums,
    ),
];

/// Writes all of it, of every shard.
pub(super) fn render<'a>(text: &mut TextWriter, shards: impl Iterator<Item = &'a ClientCells> + Clone) {
    for (name, kind, help, value) in FAMILIES {
        text.single(name, kind, help, shards.clone().map(value).sum());
    }
    let clients: Vec<Arc<ClientFigures>> =
        shards.flat_map(|cells| cells.figures().iter().cloned().collect::<Vec<_>>()).collect();
    for (name, kind, help, figures) in PUSHED {
        text.family(name, kind, help);
        for client in &clients {
            render_client(text, client, figures(client));
        }
    }
}

fn render_client(text: &mut TextWriter, client: &ClientFigures, figures: &BTreeMap<Series, f64>) {
    for (series, value) in figures {
        let ours = [
            ("metric", series.metric.as_str()),
            ("client_id", &client.client_id),
            ("client_instance_id", &client.instance_id),
        ];
        let theirs = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels: Vec<_> = ours.into_iter().chain(theirs).collect();
        text.decimal(&labels, *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_push_is_shown_with_who_they_are() {
        let series = |metric: &str, labels: &[(&str, &str)]| Series {
            metric: metric.to_owned(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let client = |id: &str, rate| ClientFigures {
            client_id: "orders".to_owned(),
            instance_id: id.to_owned(),
            gauges: BTreeMap::from([(series("a.rate", &[("topic", "t\"1")]), rate)]),
            sums: BTreeMap::from([(series("a.total", &[]), 7.0)]),
        };
        let cells = [ClientCells::default(), ClientCells::default()];
        cells[0].pushes.add(2);
        cells[1].pushes.add(3);
        assert!(cells[0].publish(&[Arc::new(client("one", 0.5))]));
        assert!(cells[1].publish(&[Arc::new(client("two", f64::NAN))]));
        let mut text = TextWriter::default();
        render(&mut text, cells.iter());
        let text = text.finish();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("client_metric_")).collect();
        let samples: Vec<_> = lines.into_iter().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"hayate_client_metric_value{metric="a.rate",client_id="orders",client_instance_id="one",topic="t\"1"} 0.5"#,
                r#"hayate_client_metric_value{metric="a.rate",client_id="orders",client_instance_id="two",topic="t\"1"} NaN"#,
                r#"hayate_client_metric_total{metric="a.total",client_id="orders",client_instance_id="one"} 7"#,
                r#"hayate_client_metric_total{metric="a.total",client_id="orders",client_instance_id="two"} 7"#,
            ]
        );
        assert!(text.contains("hayate_client_metrics_pushes_total 5\n"));
        let reader = cells[0].figures.lock().expect("sound");
        assert!(!cells[0].publish(&[]), "what is being read is left as it is");
        drop(reader);
    }
}
