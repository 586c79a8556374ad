//! The health of the data folder, which the stores of all shards and the metadata's share: when the disk fails one of them, no
//! record of the others is known to be safe either, and all go offline until a restart has recovered the folder.

use hayate_rt::mailbox::Publisher;
use hayate_rt::{Queue, Rt};
use hayate_storage::disk::DiskError;
use hayate_storage::store::Store;
use std::sync::Arc;

/// What is known of the folder: nothing bad, or what took it offline.
pub(super) struct FolderHealth {
    failure: Publisher<Option<DiskError>>,
}

impl FolderHealth {
    /// Healthy.
    pub(super) fn new() -> FolderHealth {
        FolderHealth { failure: Publisher::new(Arc::new(None)) }
    }

    /// From now on `store` fails with the folder, and the folder with `store`.
    pub(super) fn share(self: &Arc<Self>, rt: &Rt, store: &Store) {
        let (health, failing) = (self.clone(), store.clone());
        let tell = async move {
            let cause = failing.failed().await;
            if health.failure.latest().is_none() {
                health.failure.publish(Arc::new(Some(cause)));
            }
        };
        rt.spawn(Queue::Coordination, tell).detach();
        let (health, store) = (self.clone(), store.clone());
        let told = self.failure.subscribe();
        let hear = async move {
            loop {
                if let Some(cause) = &*health.failure.latest() {
                    return store.fail(cause);
                }
                if told.changed().await.is_err() {
                    return;
                }
            }
        };
        rt.spawn(Queue::Coordination, hear).detach();
    }
}
