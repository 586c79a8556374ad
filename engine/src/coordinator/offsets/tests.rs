//! Scripts of commits, fetches, deletes, transactions and expiry.
