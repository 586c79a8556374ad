//! One hot path, gone so many times, for whoever counts its instructions: `instructions PATH TIMES`; `instructions --list` names the paths.

use hayate_tests::hot_paths::HotPath;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--list"] => {
            HotPath::ALL.iter().for_each(|path| println!("{}", path.name()));
            ExitCode::SUCCESS
        }
        [path, times] => {
            let path = HotPath::ALL.into_iter().find(|known| known.name() == *path);
            let Some((path, times)) = path.zip(times.parse().ok()) else { return usage() };
            path.go(times, || ());
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: instructions --list | instructions PATH TIMES");
    ExitCode::from(2)
}
