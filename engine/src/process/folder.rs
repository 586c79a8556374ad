//! The commands that make a data folder this broker's or Apache Kafka's: no broker runs, one executor does the work on this thread.

use super::{Failure, given, print, resolve, run_here};
use crate::broker::StartError;
use crate::broker::kafka::{KafkaQuorum, Report, leave, take_over};
use crate::cli::{Handover, Heir, Sources};
use crate::config::{Given, listeners};
use crate::logging::Logging;
use crate::preflight::{self, System};
use hayate_rt::Rt;
use hayate_storage::disk::Disk;

/// Does what the command says; prints what was done, or would be.
pub(super) fn hand_over(handover: Handover, sources: &Sources) -> Result<(), Failure> {
    let variable = |name| std::env::var(name).ok();
    let level = variable("HAYATE_LOG").unwrap_or_else(|| "warn".to_owned());
    let logging = Logging::parse(Some(&level), variable("HAYATE_LOG_FORMAT").as_deref());
    logging.map_err(Failure::usage)?.start();
    let given = given(sources)?;
    let config = resolve(&given, &System::default())?;
    let quorum = quorum(&given).map_err(Failure::usage)?;
    let lock = preflight::lock_folder(&config).map_err(Failure::failed)?;
    let work = async {
        let rt = Rt::kernel();
        let disk = Disk::kernel(&rt)?;
        disk.hold(lock.file())?;
        match handover.to {
            Heir::Hayate => take_over(&rt, &disk, &config.options, handover.dry_run).await,
            Heir::Kafka => leave(&rt, &disk, &config.options, &quorum, handover.dry_run).await,
        }
    };
    let report = run_here(work)?.map_err(|error: StartError| Failure::failed(error))?;
    print(&text(&report, handover.dry_run))
}

fn text(report: &Report, dry_run: bool) -> String {
    let mut text = String::new();
    for line in &report.done {
        text += &format!("{line}\n");
    }
    for line in &report.warnings {
        text += &format!("warning: {line}\n");
    }
    if dry_run {
        text += "nothing was changed: this was a dry run\n";
    }
    text
}

/// How Kafka, started with the same file, learns who votes: by the file where it names voters, else by the log, where its controllers
/// listen as the file says.
fn quorum(given: &[Given]) -> Result<KafkaQuorum, String> {
    let set = |key: &str| given.iter().rfind(|given| given.key == key).map(|given| given.value.trim());
    let is_static = set("controller.quorum.voters").is_some_and(|voters| !voters.is_empty());
    let names = set("controller.listener.names").unwrap_or_default();
    let Some(name) = listeners::words(names).next().filter(|_| !is_static) else {
        return Ok(KafkaQuorum::Static);
    };
    let of_controllers = |key: &str| {
        let endpoints = listeners::words(set(key).unwrap_or_default())
            .filter_map(|text| listeners::parse_endpoint(text).ok());
        endpoints.into_iter().find(|endpoint| endpoint.name.eq_ignore_ascii_case(name))
    };
    let endpoint = of_controllers("advertised.listeners").or_else(|| of_controllers("listeners"));
    let endpoint =
        endpoint.ok_or_else(|| format!("listeners has no {name}, which controller.listener.names names"))?;
    let host = if endpoint.host.is_empty() { "localhost".to_owned() } else { endpoint.host };
    Ok(KafkaQuorum::InLog(endpoint.name, host, endpoint.port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn of(pairs: &[(&str, &str)]) -> Result<KafkaQuorum, String> {
        let given = |(key, value): &(&str, &str)| Given {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            origin: Origin::Default,
        };
        quorum(&pairs.iter().map(given).collect::<Vec<_>>())
    }

    #[test]
    fn who_votes_is_learnt_from_the_file() {
        let in_log =
            |host: &str, port| Ok(KafkaQuorum::InLog("CONTROLLER".to_owned(), host.to_owned(), port));
        let names = ("controller.listener.names", "CONTROLLER");
        let listeners = ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093");
        assert_eq!(of(&[]), Ok(KafkaQuorum::Static));
        assert_eq!(of(&[names, listeners]), in_log("localhost", 9093));
        let advertised = ("advertised.listeners", "PLAINTEXT://a:1,CONTROLLER://b:2");
        assert_eq!(of(&[names, listeners, advertised]), in_log("b", 2));
        assert_eq!(
            of(&[names, listeners, ("advertised.listeners", "PLAINTEXT://a:1")]),
            in_log("localhost", 9093)
        );
        assert_eq!(of(&[names, listeners, ("controller.quorum.voters", "1@b:2")]), Ok(KafkaQuorum::Static));
        assert!(of(&[names, ("listeners", "PLAINTEXT://:9092")]).is_err());
    }
}
