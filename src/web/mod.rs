//! The station's page and what the commands ask over loopback: accept loop with limits, `Host` and `Origin` checks,
//! the token.
//!
//! The stock server of axum kept 300 of 300 half-open connections; this loop drops a connection whose headers are not
//! in within five seconds, and at its cap the oldest that has not yet sent a complete request, never the newest.

mod api;
mod page;
mod serve;

pub use api::PlayRequest;
pub use serve::serve;

use crate::daemon::{Control, Handle};
use std::sync::Arc;

/// What every handler can reach.
#[derive(Debug, Clone)]
struct Web {
    daemon: Handle,
    control: Arc<Control>,
}
