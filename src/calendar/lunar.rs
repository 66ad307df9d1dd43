//! Lunar dates and solar terms; the tyme4rs crate appears here alone.
