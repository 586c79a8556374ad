//! A gate that opens for all shards once each of them has come to it.

use hayate_rt::mailbox::Publisher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Passed once by each of a number of shards.
pub(super) struct Gate {
    missing: AtomicUsize,
    arrivals: Publisher<()>,
}

impl Gate {
    /// For `shards` shards.
    pub(super) fn new(shards: usize) -> Arc<Gate> {
        Arc::new(Gate { missing: AtomicUsize::new(shards), arrivals: Publisher::new(Arc::new(())) })
    }

    /// Arrives, and waits for the others.
    pub(super) async fn pass(&self) {
        let arrivals = self.arrivals.subscribe();
        self.missing.fetch_sub(1, Ordering::AcqRel);
        self.arrivals.publish(Arc::new(()));
        while self.missing.load(Ordering::Acquire) > 0 {
            if arrivals.changed().await.is_err() {
                return;
            }
        }
    }
}
