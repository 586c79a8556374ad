//! The binary `hayate-perf`.

use hayate_perf::cli;
use std::process::ExitCode;

/// Exit code of a mistaken command line.
const EXIT_USAGE: u8 = 2;
/// Exit code of a run that could not be done, or not to its end.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let asked = match cli::parse(std::env::args_os()) {
        Ok(cli::Asked::Do(asked)) => asked,
        Ok(cli::Asked::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("hayate-perf: {mistake}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match asked.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hayate-perf: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}
