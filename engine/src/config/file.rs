//! Reading a file of properties: a broker's settings or a client's. The one place here that opens a file.

use super::properties::{FILE_BYTES_MAX, Property, parse};
use std::path::Path;

/// The properties of the file at `path`, in their order.
///
/// # Errors
/// Why it cannot be read, beginning with the path.
pub fn read(path: &Path) -> Result<Vec<Property>, String> {
    let unreadable = |cause: String| format!("{}: {cause}", path.display());
    let bytes = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX as u64 {
        return Err(unreadable(format!("{bytes} bytes are no configuration")));
    }
    let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    parse(&text).map_err(|error| unreadable(error.to_string()))
}
