//! SIGINT and SIGTERM while a comparison is under way: a flag that is looked at between steps and while anything is waited for. No signal
//! is blocked, so that brokers start with none blocked either.

use crate::PerfError;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The handlers of this process, which stay.
struct Handlers {
    raised: Arc<AtomicBool>,
    /// No comparison is under way: signals do what they do without handlers.
    idle: Arc<AtomicBool>,
    /// Comparisons under way.
    under_way: Mutex<usize>,
}

static HANDLERS: OnceLock<Handlers> = OnceLock::new();

/// Signals are listened to while this lives.
pub struct Interrupt {
    handlers: &'static Handlers,
}

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// The kernel does not let us.
    pub fn listen() -> Result<Interrupt, PerfError> {
        let handlers = HANDLERS.get_or_init(|| Handlers {
            raised: Arc::default(),
            idle: Arc::new(AtomicBool::new(true)),
            under_way: Mutex::new(0),
        });
        let mut under_way = handlers.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if *under_way == 0 {
            handlers.register()?;
        }
        *under_way += 1;
        handlers.idle.store(false, Ordering::Release);
        Ok(Interrupt { handlers })
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// A signal has come.
    pub fn check(&self) -> Result<(), PerfError> {
        match self.handlers.raised.load(Ordering::Acquire) {
            true => Err(PerfError::Incomplete("interrupted by a signal".to_owned())),
            false => Ok(()),
        }
    }
}

impl Handlers {
    fn register(&self) -> Result<(), PerfError> {
        static DONE: AtomicBool = AtomicBool::new(false);
        if DONE.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, self.idle.clone())
                .and_then(|_| flag::register(signal, self.raised.clone()))
                .map_err(|error| PerfError::Impossible(format!("signals cannot be listened to: {error}")))?;
        }
        Ok(())
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        let mut under_way = self.handlers.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        *under_way -= 1;
        self.handlers.idle.store(*under_way == 0, Ordering::Release);
    }
}
