//! A target under LLVM's libFuzzer, which looks for inputs that reach new code. Built only where clang is; tests/README.md has the
//! command. The variable `HAYATE_FUZZ_TARGET` names the target.

#![no_main]

use hayate_fuzz::{Target, find};
use std::sync::OnceLock;

fn target() -> &'static Target {
    static TARGET: OnceLock<&'static Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("HAYATE_FUZZ_TARGET").unwrap_or_else(|_| "frames".to_owned());
        find(&name).unwrap_or_else(|| panic!("no target is called {name}"))
    })
}

/// libFuzzer's entry: −1 keeps an input out of the corpus, 0 leaves that to its coverage.
#[unsafe(no_mangle)]
extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> i32 {
    let bytes = match size {
        0 => &[],
        // SAFETY: libFuzzer hands in `size` readable bytes that stay as they are during the call.
        _ => unsafe { std::slice::from_raw_parts(data, size) },
    };
    (target().run)(bytes);
    0
}
