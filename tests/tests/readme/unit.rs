//! A systemd unit: its directives, what is wrong with them, its limits on a process. What is known of them here is what a service such as
//! ours may need; where systemd is, it is asked too. Source: systemd.unit(5), systemd.service(5), systemd.exec(5).

use super::blocks::blocks;
use hayate_tests::broker::{binary, fresh_folder};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::process::{Command, Stdio};

/// The directives that are understood, by section.
const KNOWN: &[(&str, &[&str])] = &[
    ("Unit", &["Description", "Documentation", "Wants", "Requires", "After"]),
    (
        "Service",
        &[
            "Type",
            "ExecStart",
            "User",
            "Group",
            "StateDirectory",
            "Restart",
            "RestartSec",
            "KillSignal",
            "TimeoutStopSec",
            "TimeoutStartSec",
            "LimitMEMLOCK",
            "LimitNOFILE",
            "LimitCORE",
            "NoNewPrivileges",
            "ProtectSystem",
            "ProtectHome",
            "PrivateTmp",
        ],
    ),
    ("Install", &["WantedBy"]),
];
/// What `Restart=` may be.
const RESTARTS: [&str; 7] =
    ["no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"];
/// Without these a broker does not start, or not again, or not with many connections.
const NEEDED: [&str; 5] = ["ExecStart", "User", "Restart", "LimitMEMLOCK", "LimitNOFILE"];

/// A unit: section, directive, value.
pub struct Unit(Vec<(String, String, String)>);

/// A limit of a process.
#[derive(Clone, Copy)]
pub struct Limit {
    resource: Resource,
    value: u64,
}

impl Limit {
    /// Sets it for this process, as far as its hard limit or its rights allow: two system calls.
    pub fn set(&self) -> io::Result<()> {
        if setrlimit(self.resource, self.value, self.value).is_err() {
            let (_, hard) = getrlimit(self.resource)?;
            setrlimit(self.resource, self.value.min(hard), hard)?;
        }
        Ok(())
    }
}

impl Unit {
    /// The one in the README.
    pub fn of_the_readme() -> Unit {
        Unit::parse(&blocks("ini").remove(0))
    }

    /// Takes a unit apart. Whatever is no directive becomes one that is not known.
    pub fn parse(text: &str) -> Unit {
        let (mut section, mut directives) = (String::new(), Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name.to_owned();
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            directives.push((section.clone(), key.to_owned(), value.to_owned()));
        }
        Unit(directives)
    }

    /// The value of a directive that is there.
    pub fn value(&self, section: &str, directive: &str) -> &str {
        let found = self.0.iter().find(|(of, key, _)| of == section && key == directive);
        &found.unwrap_or_else(|| panic!("the unit lacks {directive}")).2
    }

    /// What is wrong with it.
    pub fn check(&self) -> Vec<String> {
        let is_known = |section: &str, key: &str| {
            KNOWN.iter().any(|(known, keys)| *known == section && keys.contains(&key))
        };
        let unknown = self.0.iter().filter(|(section, key, _)| !is_known(section, key));
        let unknown = unknown.map(|(section, key, _)| format!("[{section}] {key} is not known"));
        let has = |needed: &str| self.0.iter().any(|(section, key, _)| section == "Service" && key == needed);
        let missing = NEEDED.iter().filter(|key| !has(key)).map(|key| format!("{key} is missing"));
        let wrong = self.0.iter().filter(|(_, key, value)| match key.as_str() {
            "Restart" => !RESTARTS.contains(&value.as_str()),
            limit if limit.starts_with("Limit") => bytes(value).is_none(),
            _ => false,
        });
        let wrong = wrong.map(|(_, key, value)| format!("{key} cannot be {value}"));
        unknown.chain(missing).chain(wrong).collect()
    }

    /// What systemd says of it, nothing when all is well; `None` where it is not. The unit runs this build's binary.
    pub fn verify(&self) -> Option<String> {
        if !has_systemd() {
            println!("skipped: systemd-analyze is not here, so systemd was not asked");
            return None;
        }
        let file = fresh_folder().join("hayate.service");
        std::fs::write(&file, self.text()).expect("the folder is writable");
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&file)
            .output()
            .expect("it is here");
        let said = String::from_utf8_lossy(&output.stderr);
        Some(said.lines().filter(|line| line.contains("hayate")).map(|line| format!("{line}\n")).collect())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (section, key, value) in &self.0 {
            let value = match key.as_str() {
                "ExecStart" => {
                    let arguments = value.split_once(' ').map_or("", |(_, arguments)| arguments);
                    format!("{} {arguments}", binary().display())
                }
                _ => value.clone(),
            };
            text.push_str(&format!("[{section}]\n{key}={value}\n"));
        }
        text
    }

    /// What it limits.
    pub fn limits(&self) -> Vec<Limit> {
        let limits = self.0.iter().filter_map(|(_, key, value)| {
            let resource = match key.as_str() {
                "LimitMEMLOCK" => Resource::RLIMIT_MEMLOCK,
                "LimitNOFILE" => Resource::RLIMIT_NOFILE,
                "LimitCORE" => Resource::RLIMIT_CORE,
                _ => return None,
            };
            Some(Limit { resource, value: bytes(value).expect("a size") })
        });
        limits.collect()
    }

    /// How many files a process of it may open.
    pub fn files_max(&self) -> u64 {
        bytes(self.value("Service", "LimitNOFILE")).expect("a number")
    }

    /// How many of them at least, when a test starts it, which may not raise every limit.
    pub fn files_max_here(&self) -> u64 {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("known");
        self.files_max().min(hard)
    }
}

/// A size of systemd's: bytes, or with a suffix to the base of 1024.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Whether systemd's own check is on this machine.
pub fn has_systemd() -> bool {
    let mut asked = Command::new("systemd-analyze");
    asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}
