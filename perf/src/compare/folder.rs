//! The folder that a comparison keeps its targets' folders in: new, and gone with it.

use super::file::Comparison;
use super::words::{Values, fill};
use crate::PerfError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder that is removed when it is dropped.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it, below the place that the file names.
    ///
    /// # Errors
    /// [`PerfError::File`].
    pub fn create(comparison: &Comparison) -> Result<Folder, PerfError> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let below = match &comparison.folder {
            Some(folder) => PathBuf::from(fill(folder, &Values::new()).map_err(PerfError::Impossible)?),
            None => std::env::temp_dir(),
        };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Folder::below(&below, &format!("hayate-perf-compare-{}-{number}", std::process::id()))
    }

    /// Makes an empty one of this name.
    ///
    /// # Errors
    /// [`PerfError::File`].
    pub fn below(parent: &Path, name: &str) -> Result<Folder, PerfError> {
        let path = parent.join(name);
        let failed = |cause| PerfError::File { path: path.display().to_string(), cause };
        // A process of an earlier run may have had this number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(failed)?;
        // Commands may run elsewhere.
        let path = path.canonicalize().map_err(failed)?;
        Ok(Folder { path })
    }

    /// Where it is: absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("hayate-perf: {} is left: {error}", self.path.display());
        }
    }
}
