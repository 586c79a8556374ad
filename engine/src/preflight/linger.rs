//! Waiting for what a killed broker leaves behind for a moment: the kernel takes down its rings after the process is gone, and
//! until then they hold its listeners and the lock of its data folder. A restart must not trip over that.

use hayate_rt::kernel::now;
use std::time::Duration;

/// 20 ms were measured on an idle machine, over 300 ms on a busy one.
pub(super) const LINGER_TIME_MAX: Duration = Duration::from_secs(3);
const RETRY_EVERY: Duration = Duration::from_millis(5);

/// Calls `attempt` again for up to `patience` while it fails in a way that may pass.
pub(super) fn retry_while<T, E>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
    may_pass: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let began = now();
    loop {
        match attempt() {
            Err(error) if may_pass(&error) && now().since(began) < patience => pause(),
            outcome => return outcome,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "before any shard runs")]
fn pause() {
    std::thread::sleep(RETRY_EVERY);
}
