//! The binary `hayate`: a broker as a process, with the command line that it was started with.

use std::process::ExitCode;

fn main() -> ExitCode {
    hayate_engine::process::run(std::env::args_os().skip(1))
}
