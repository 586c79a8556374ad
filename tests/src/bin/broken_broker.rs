//! The broker `hayate` with a deliberate defect, chosen by name in the environment: what a panic takes with it is shown on a real
//! process, and the released binary knows nothing of it.

use hayate_storage::mutants::{Mutant, activate_in_process};
use hayate_tests::broker::DEFECT_VARIABLE;
use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::var(DEFECT_VARIABLE).unwrap_or_default();
    let Some((_, mutant)) = Mutant::OF_BROKER.into_iter().find(|(known, _)| *known == name) else {
        eprintln!("{DEFECT_VARIABLE}={name}: no defect is called so");
        return ExitCode::from(2);
    };
    activate_in_process(mutant);
    hayate_engine::process::run(std::env::args_os().skip(1))
}
