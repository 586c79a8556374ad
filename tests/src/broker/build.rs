//! The broker's binary: of the profile that the tests run in, built once a process when it is not there or not current.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binary `hayate`.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("HAYATE_BINARY") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

/// Whether it is a released one, as far as is known: one that is named should be.
pub fn is_released() -> bool {
    std::env::var_os("HAYATE_BINARY").is_some() || !cfg!(debug_assertions)
}

/// Where the build puts what it makes.
pub(super) fn target_folder() -> PathBuf {
    profile_folder().parent().expect("a profile's folder lies in the target folder").to_path_buf()
}

/// The folder `debug` or `release` that this test lies in, below `deps`.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows where it lies");
    let deps = test.parent().expect("a test lies in a folder");
    deps.parent().expect("that lies in the profile's folder").to_path_buf()
}

fn build() -> PathBuf {
    let profile = profile_folder();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--package", "hayate-engine", "--bin", "hayate"]);
    command.arg("--target-dir").arg(target_folder());
    if profile.ends_with("release") {
        command.arg("--release");
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.status().expect("cargo can be run");
    assert!(status.success(), "the broker does not build");
    profile.join("hayate")
}
