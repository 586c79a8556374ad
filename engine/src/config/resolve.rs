//! From checked texts to the typed values that the broker starts with. What several settings say together is decided here:
//! time spans in three units, listeners, ids of two names.

use super::connections::{self, ConnectionLimits, Hosts};
use super::listeners::{self, Plan, Texts};
use super::{Config, ConfigError, Given, Machine, Origin, Setting, show};
use crate::broker::BrokerOptions;
use crate::coordinator::group::{Assignors, ConsumerGroupConfig, GroupConfig, MigrationPolicy};
use crate::coordinator::offsets::OffsetLimits;
use crate::coordinator::share_state::ShareStateConfig;
use crate::coordinator::topics::{InternalTopic, InternalTopics};
use crate::coordinator::txn::TxnLimits;
use crate::partition::PartitionSettings;
use crate::partition::topic_config::settings_of;
use crate::share::partition::ShareLimits;
use crate::share::settings::ShareConfig;
use hayate_net::socket::{ListenOptions, ZerocopyMode, ZerocopyOptions};
use hayate_storage::wal::WalConfig;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// The most memory that is taken without being asked for.
const MEMORY_DEFAULT_MAX: u64 = 4 << 30;
/// `connection.failed.authentication.delay.ms` of Kafka, which no idle time may be shorter than.
const AUTHENTICATION_DELAY_MS: i64 = 100;

/// All settings by name.
struct Values<'a>(BTreeMap<&'static str, &'a Setting>);

/// What is wrong, and with which setting.
type Wrong = (&'static str, String);

impl Values<'_> {
    fn text(&self, name: &'static str) -> Option<&str> {
        self.0.get(name).and_then(|setting| setting.value.as_deref())
    }

    fn text_or_empty(&self, name: &'static str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// A number that was checked to be one; `None` when absent.
    fn number(&self, name: &'static str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    fn is_on(&self, name: &'static str) -> bool {
        self.text(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    fn is_set(&self, name: &'static str) -> bool {
        self.0.get(name).is_some_and(|setting| setting.origin != Origin::Default)
    }

    /// A number of the table that has a default.
    fn required(&self, name: &'static str) -> i64 {
        self.number(name).expect("the table's defaults are numbers")
    }

    fn size(&self, name: &'static str) -> usize {
        usize::try_from(self.required(name)).unwrap_or(usize::MAX)
    }

    fn millis(&self, name: &'static str) -> Duration {
        Duration::from_millis(u64::try_from(self.required(name)).unwrap_or(0))
    }

    fn wrong(&self, wrong: Wrong) -> ConfigError {
        let (key, reason) = wrong;
        let value = self.text_or_empty(key).to_owned();
        let origin = self.0.get(key).map_or(Origin::Default, |setting| setting.origin.clone());
        ConfigError { key: key.to_owned(), value, origin, reason }
    }
}

pub(super) fn resolve(
    mut settings: Vec<Setting>,
    of_listeners: Vec<Given>,
    mut warnings: Vec<String>,
    machine: &Machine,
) -> Result<Config, Vec<ConfigError>> {
    let shards = worked_out(&mut settings, "shards", machine.cores.clamp(1, 1024) as u64);
    let memory = (machine.memory_bytes / 2).clamp(32 << 20, MEMORY_DEFAULT_MAX);
    worked_out(&mut settings, "memory.budget", memory);
    let values = Values(settings.iter().map(|setting| (setting.key.name, setting)).collect());
    let mut errors = Vec::new();
    let plan = plan(&values).map_err(|wrong| errors.push(wrong)).ok();
    warnings.extend(plan.iter().flat_map(|plan| said_of(plan, &of_listeners)));
    let options = options(&values, &of_listeners, plan, &mut errors);
    let http = listeners::http_addresses(values.text_or_empty("http.listeners"));
    let http = keep(http, "http.listeners", &mut errors);
    if let Err(wrong) = check_roles(&values) {
        errors.push(wrong);
    }
    let mut errors: Vec<ConfigError> = errors.into_iter().map(|wrong| values.wrong(wrong)).collect();
    let (Some(mut options), Some(http)) = (options, http) else { return Err(errors) };
    if !errors.is_empty() {
        return Err(std::mem::take(&mut errors));
    }
    options.broker_configs = show::broker_configs(&settings, &of_listeners);
    let spin = Duration::from_micros(values_number(&settings, "io.spin.us"));
    let shards = u16::try_from(shards).unwrap_or(1);
    Ok(Config { shards, settings, of_listeners, warnings, http, spin, options })
}

/// Fills in the value of a setting that has no fixed default; the value in force.
fn worked_out(settings: &mut [Setting], name: &str, default: u64) -> u64 {
    let Some(setting) = settings.iter_mut().find(|setting| setting.key.name == name) else { return default };
    let value = setting.value.get_or_insert_with(|| default.to_string());
    value.parse().unwrap_or(default)
}

fn values_number(settings: &[Setting], name: &str) -> u64 {
    let setting = settings.iter().find(|setting| setting.key.name == name);
    setting.and_then(|setting| setting.value.as_deref()?.parse().ok()).unwrap_or(0)
}

fn keep<T>(outcome: Result<T, String>, name: &'static str, errors: &mut Vec<Wrong>) -> Option<T> {
    outcome.map_err(|reason| errors.push((name, reason))).ok()
}

/// What is to be said of listeners: those that are not opened, and settings of some that do not exist.
fn said_of(plan: &Plan, of_listeners: &[Given]) -> Vec<String> {
    let unopened = plan.unopened.iter().map(|endpoint| {
        format!(
            "the controller's listener {endpoint} is not opened: the controller runs inside this process, and no other node \
             connects to it"
        )
    });
    let is_foreign = |given: &&Given| {
        connections::of_listener(&given.key)
            .is_some_and(|(name, _)| plan.listeners.iter().all(|listener| listener.name != name))
    };
    let foreign = of_listeners.iter().filter(is_foreign).map(|Given { key, origin, .. }| {
        format!("{key} ({origin}) has no effect: listeners opens none of that name")
    });
    unopened.chain(foreign).collect()
}

fn options(
    values: &Values<'_>,
    of_listeners: &[Given],
    plan: Option<Plan>,
    errors: &mut Vec<Wrong>,
) -> Option<BrokerOptions> {
    let node_id = node_id(values).map_err(|wrong| errors.push(wrong)).ok();
    let data_dir = data_dir(values).map_err(|wrong| errors.push(wrong)).ok();
    let topic_defaults = topic_defaults(values).map_err(|wrong| errors.push(wrong)).ok();
    let limits = connection_limits(values, of_listeners).map_err(|wrong| errors.push(wrong)).ok();
    let idle_max = idle_max(values).map_err(|wrong| errors.push(wrong)).ok();
    let queued_bytes = queued_bytes_max(values).map_err(|wrong| errors.push(wrong)).ok();
    let consumer = consumer_groups(values).map_err(|wrong| errors.push(wrong)).ok();
    let Plan { listeners, inter_broker, unopened: _ } = plan?;
    Some(BrokerOptions {
        node_id: node_id?,
        rack: values.text("broker.rack").map(str::to_owned),
        listeners,
        inter_broker_listener: inter_broker,
        sockets: sockets(values),
        connection_limits: limits?,
        request_bytes_max: values.size("socket.request.max.bytes"),
        zerocopy: zerocopy(values),
        queued_requests_max: values.size("queued.max.requests"),
        queued_request_bytes_max: queued_bytes?,
        connections_max_idle: idle_max?,
        memory_budget_bytes: values.size("memory.budget"),
        fetch_session_slots: values.size("max.incremental.fetch.session.cache.slots"),
        described_partitions_max: values.size("max.request.partition.size.limit"),
        telemetry_bytes_max: values.size("telemetry.max.bytes"),
        fetch_bytes_max: values.size("fetch.max.bytes"),
        num_partitions: i32::try_from(values.required("num.partitions")).unwrap_or(1),
        default_replication_factor: i16::try_from(values.required("default.replication.factor")).unwrap_or(1),
        auto_create_topics: values.is_on("auto.create.topics.enable"),
        delete_topic_enable: values.is_on("delete.topic.enable"),
        topic_defaults: topic_defaults?,
        retention_check_every: values.millis("log.retention.check.interval.ms"),
        wal: wal(values),
        metadata_snapshot_bytes: values.size("metadata.log.max.record.bytes.between.snapshots") as u64,
        metadata_snapshot_every: Some(values.millis("metadata.log.max.snapshot.interval.ms"))
            .filter(|every| !every.is_zero()),
        producer_expiration_ms: values.required("producer.id.expiration.ms"),
        metrics_topics_max: values.size("metrics.topics.max"),
        metrics_groups_max: values.size("metrics.groups.max"),
        groups: groups(values, consumer?),
        share_states: share_states(values),
        transactions: transactions(values),
        enlist_retry: (
            values.millis("add.partitions.to.txn.retry.backoff.ms"),
            values.millis("add.partitions.to.txn.retry.backoff.max.ms"),
        ),
        internal_topics: internal_topics(values),
        ..BrokerOptions::new(data_dir?)
    })
}

/// What holds for consumer groups: what is said for all must be within what a group may say.
fn consumer_groups(values: &Values<'_>) -> Result<ConsumerGroupConfig, Wrong> {
    let number = |name| i32::try_from(values.required(name)).unwrap_or(i32::MAX);
    let within = |name, least, most| {
        if number(most) < number(least) {
            return Err((most, format!("{most} must be greater than or equal to {least}")));
        }
        if number(name) < number(least) {
            return Err((name, format!("{name} must be greater than or equal to {least}")));
        }
        if number(name) > number(most) {
            return Err((name, format!("{name} must be less than or equal to {most}")));
        }
        Ok((number(name), (number(least), number(most))))
    };
    const HEARTBEAT: &str = "group.consumer.heartbeat.interval.ms";
    const SESSION: &str = "group.consumer.session.timeout.ms";
    let (heartbeat_ms, heartbeat_ms_range) = within(
        HEARTBEAT,
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    )?;
    let (session_ms, session_ms_range) =
        within(SESSION, "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms")?;
    if heartbeat_ms >= session_ms {
        return Err((HEARTBEAT, format!("{HEARTBEAT} must be less than {SESSION}")));
    }
    const ASSIGNORS: &str = "group.consumer.assignors";
    let names = values.text_or_empty(ASSIGNORS).split(',').map(str::trim).filter(|name| !name.is_empty());
    let assignors = Assignors::of_names(names);
    const MIGRATION: &str = "group.consumer.migration.policy";
    let migration = MigrationPolicy::of_name(values.text_or_empty(MIGRATION));
    let expected = |names: &[&str]| format!("String must be one of: {}", names.join(", "));
    Ok(ConsumerGroupConfig {
        session_ms,
        heartbeat_ms,
        session_ms_range,
        heartbeat_ms_range,
        size_max: values.size("group.consumer.max.size"),
        assignors: assignors.ok_or_else(|| {
            (ASSIGNORS, "only uniform and range are there: Java classes cannot be loaded here".to_owned())
        })?,
        migration: migration.ok_or_else(|| (MIGRATION, expected(MigrationPolicy::NAMES)))?,
        expressions_refresh_ms: values.required("group.consumer.regex.refresh.interval.ms"),
    })
}

fn groups(values: &Values<'_>, consumer: ConsumerGroupConfig) -> GroupConfig {
    let number = |name| i32::try_from(values.required(name)).unwrap_or(i32::MAX);
    GroupConfig {
        session_min_ms: number("group.min.session.timeout.ms"),
        session_max_ms: number("group.max.session.timeout.ms"),
        initial_rebalance_delay_ms: number("group.initial.rebalance.delay.ms"),
        size_max: values.size("group.max.size"),
        consumer,
        offsets: OffsetLimits {
            metadata_max: values.size("offset.metadata.max.bytes"),
            retention_ms: values.required("offsets.retention.minutes") * MINUTE_MS,
        },
        expiry_check: values.millis("offsets.retention.check.interval.ms"),
        shares: shares(values),
        ..GroupConfig::default()
    }
}

fn shares(values: &Values<'_>) -> ShareConfig {
    let number = |name| i32::try_from(values.required(name)).unwrap_or(i32::MAX);
    ShareConfig {
        limits: ShareLimits {
            deliveries_max: i16::try_from(values.required("group.share.delivery.count.limit"))
                .unwrap_or(i16::MAX),
            locks_max: values.required("group.share.partition.max.record.locks"),
        },
        lock_ms: number("group.share.record.lock.duration.ms"),
        lock_ms_range: (
            number("group.share.min.record.lock.duration.ms"),
            number("group.share.max.record.lock.duration.ms"),
        ),
        session_ms: number("group.share.session.timeout.ms"),
        session_ms_range: (
            number("group.share.min.session.timeout.ms"),
            number("group.share.max.session.timeout.ms"),
        ),
        heartbeat_ms: number("group.share.heartbeat.interval.ms"),
        heartbeat_ms_range: (
            number("group.share.min.heartbeat.interval.ms"),
            number("group.share.max.heartbeat.interval.ms"),
        ),
        size_max: values.size("group.share.max.size"),
        sessions_max: values.size("group.share.max.share.sessions"),
    }
}

fn share_states(values: &Values<'_>) -> ShareStateConfig {
    ShareStateConfig {
        updates_per_snapshot: values.size("share.coordinator.snapshot.update.records.per.snapshot"),
        prune_interval: values.millis("share.coordinator.state.topic.prune.interval.ms"),
        cold_interval: values.millis("share.coordinator.cold.partition.snapshot.interval.ms"),
    }
}

fn transactions(values: &Values<'_>) -> TxnLimits {
    TxnLimits {
        timeout_ms_max: i32::try_from(values.required("transaction.max.timeout.ms")).unwrap_or(i32::MAX),
        expiration_ms: values.required("transactional.id.expiration.ms"),
        abort_interval: values.millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
        expiry_interval: values.millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
    }
}

fn internal_topics(values: &Values<'_>) -> InternalTopics {
    let number = |name| i32::try_from(values.required(name)).unwrap_or(i32::MAX);
    let small = |name| i16::try_from(values.required(name)).unwrap_or(i16::MAX);
    let defaults = InternalTopics::default();
    InternalTopics {
        offsets: InternalTopic {
            partitions: number("offsets.topic.num.partitions"),
            replication_factor: small("offsets.topic.replication.factor"),
            replication_is_set: values.is_set("offsets.topic.replication.factor"),
            segment_bytes: values.required("offsets.topic.segment.bytes"),
            ..defaults.offsets
        },
        transactions: InternalTopic {
            partitions: number("transaction.state.log.num.partitions"),
            replication_factor: small("transaction.state.log.replication.factor"),
            replication_is_set: values.is_set("transaction.state.log.replication.factor"),
            min_insync: Some((
                small("transaction.state.log.min.isr"),
                values.is_set("transaction.state.log.min.isr"),
            )),
            segment_bytes: values.required("transaction.state.log.segment.bytes"),
            ..defaults.transactions
        },
        share: InternalTopic {
            partitions: number("share.coordinator.state.topic.num.partitions"),
            replication_factor: small("share.coordinator.state.topic.replication.factor"),
            replication_is_set: values.is_set("share.coordinator.state.topic.replication.factor"),
            min_insync: Some((
                small("share.coordinator.state.topic.min.isr"),
                values.is_set("share.coordinator.state.topic.min.isr"),
            )),
            segment_bytes: values.required("share.coordinator.state.topic.segment.bytes"),
            ..defaults.share
        },
    }
}

fn zerocopy(values: &Values<'_>) -> ZerocopyOptions {
    let mode = match values.text_or_empty("socket.send.zerocopy") {
        "off" => ZerocopyMode::Off,
        "on" => ZerocopyMode::On,
        "force" => ZerocopyMode::Force,
        _ => ZerocopyMode::Auto,
    };
    ZerocopyOptions { mode, bytes_min: values.size("socket.send.zerocopy.min.bytes") }
}

fn wal(values: &Values<'_>) -> WalConfig {
    let file_bytes = values.size("io.wal.file.bytes") as u64 / 4096 * 4096;
    let default = WalConfig::default();
    let first_file_bytes = default.first_file_bytes.min(file_bytes);
    WalConfig {
        first_file_bytes,
        file_bytes,
        files_max: values.size("io.wal.files.max"),
        // A group must fit into the first file, behind its header and with its own.
        group_bytes_max: values.size("io.wal.group.bytes.max").min(first_file_bytes as usize - 2 * 4096),
    }
}

fn node_id(values: &Values<'_>) -> Result<i32, Wrong> {
    let id = values.required("node.id");
    let older = values.number("broker.id").filter(|older| *older != -1);
    let id = match older {
        Some(older) if values.is_set("node.id") && older != id => {
            return Err(("broker.id", format!("it must be the same as node.id, which is {id}")));
        }
        Some(older) => older,
        None => id,
    };
    i32::try_from(id).map_err(|_| ("node.id", "it is too large".to_owned()))
}

fn data_dir(values: &Values<'_>) -> Result<PathBuf, Wrong> {
    let key = if values.is_set("log.dirs") { "log.dirs" } else { "log.dir" };
    let mut folders = listeners::words(values.text_or_empty(key));
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(PathBuf::from(folder)),
        (Some(_), Some(_)) => Err((key, "more than one data folder is not built yet".to_owned())),
        (None, _) => Err((key, "it names no folder".to_owned())),
    }
}

fn plan(values: &Values<'_>) -> Result<Plan, Wrong> {
    const PROTOCOLS: &str = "listener.security.protocol.map";
    listeners::plan(&Texts {
        listeners: values.text_or_empty("listeners"),
        advertised: values.text("advertised.listeners"),
        protocols: values.text(PROTOCOLS).filter(|_| values.is_set(PROTOCOLS)),
        controllers: values.text_or_empty("controller.listener.names"),
        inter_broker: values.text("inter.broker.listener.name"),
    })
}

/// −1 leaves a size to the kernel.
fn sockets(values: &Values<'_>) -> ListenOptions {
    let bytes = |name| usize::try_from(values.required(name)).ok();
    ListenOptions {
        backlog: i32::try_from(values.required("socket.listen.backlog.size")).unwrap_or(i32::MAX),
        send_buffer_bytes: bytes("socket.send.buffer.bytes"),
        receive_buffer_bytes: bytes("socket.receive.buffer.bytes"),
        ipv6_only: false,
    }
}

fn connection_limits(values: &Values<'_>, of_listeners: &[Given]) -> Result<ConnectionLimits, Wrong> {
    const OVERRIDES: &str = "max.connections.per.ip.overrides";
    connections::parse_overrides(values.text_or_empty(OVERRIDES), Hosts::LookUp)
        .map_err(|reason| (OVERRIDES, reason))?;
    let mut limits = ConnectionLimits::default();
    for key in connections::CONNECTION_KEYS {
        limits.set(key, values.text_or_empty(key), Hosts::LookUp);
    }
    for given in of_listeners {
        limits.set(&given.key, &given.value, Hosts::LookUp);
    }
    limits.check().map_err(|reason| ("max.connections.per.ip", reason))?;
    Ok(limits)
}

/// A negative time is none: no connection is idle for too long.
fn idle_max(values: &Values<'_>) -> Result<Option<Duration>, Wrong> {
    const KEY: &str = "connections.max.idle.ms";
    match values.required(KEY) {
        ms @ 0..=AUTHENTICATION_DELAY_MS => Err((
            KEY,
            format!(
                "connection.failed.authentication.delay.ms={AUTHENTICATION_DELAY_MS} should always be less than {KEY}={ms} to \
                 prevent failed authentication responses from timing out"
            ),
        )),
        ms => Ok(u64::try_from(ms).ok().map(Duration::from_millis)),
    }
}

/// 0 and less are no limit.
fn queued_bytes_max(values: &Values<'_>) -> Result<Option<usize>, Wrong> {
    const KEY: &str = "queued.max.request.bytes";
    match values.required(KEY) {
        ..=0 => Ok(None),
        bytes if bytes < values.required("socket.request.max.bytes") => {
            Err((KEY, format!("{KEY} must be larger or equal to socket.request.max.bytes")))
        }
        bytes => Ok(Some(usize::try_from(bytes).unwrap_or(usize::MAX))),
    }
}

fn check_roles(values: &Values<'_>) -> Result<(), Wrong> {
    let roles = listeners::words(values.text("process.roles").unwrap_or("broker"));
    let mut is_broker = false;
    for role in roles {
        match role {
            "broker" => is_broker = true,
            "controller" => {}
            _ => return Err(("process.roles", "String must be one of: broker, controller".to_owned())),
        }
    }
    if is_broker {
        Ok(())
    } else {
        Err(("process.roles", "a controller that is no broker is not built yet".to_owned()))
    }
}

/// What topics have that set nothing themselves: the settings that are topics' defaults, under the topics' names.
fn topic_defaults(values: &Values<'_>) -> Result<PartitionSettings, Wrong> {
    let mut configs: BTreeMap<String, String> = BTreeMap::new();
    for setting in values.0.values() {
        if let (super::keys::Rule::AsTopic(topic), Some(value)) = (setting.key.rule, &setting.value) {
            configs.insert(topic.to_owned(), value.clone());
        }
    }
    let flush_ms = values.number("log.flush.interval.ms");
    let flush_ms = flush_ms.unwrap_or_else(|| values.required("log.flush.scheduler.interval.ms"));
    for (topic, ms) in [
        ("flush.ms", flush_ms),
        ("retention.ms", retention_ms(values)?),
        ("segment.ms", in_hours(values, "log.roll.ms", "log.roll.hours")),
        ("segment.jitter.ms", in_hours(values, "log.roll.jitter.ms", "log.roll.jitter.hours")),
    ] {
        configs.insert(topic.to_owned(), ms.to_string());
    }
    let mut base = PartitionSettings::default();
    base.verifies_transactions = values.is_on("transaction.partition.verification.enable");
    settings_of(&configs, &base).map_err(|error| ("log.dirs", error.to_string()))
}

fn retention_ms(values: &Values<'_>) -> Result<i64, Wrong> {
    let (key, ms) = match (values.number("log.retention.ms"), values.number("log.retention.minutes")) {
        (Some(ms), _) => ("log.retention.ms", ms),
        (None, Some(minutes)) => ("log.retention.minutes", minutes.saturating_mul(MINUTE_MS)),
        (None, None) => {
            ("log.retention.hours", values.required("log.retention.hours").saturating_mul(HOUR_MS))
        }
    };
    match ms {
        0 => Err((key, "it must be unlimited (-1) or at least 1".to_owned())),
        ms => Ok(ms.max(-1)),
    }
}

fn in_hours(values: &Values<'_>, millis: &'static str, hours: &'static str) -> i64 {
    values.number(millis).unwrap_or_else(|| values.required(hours).saturating_mul(HOUR_MS))
}
