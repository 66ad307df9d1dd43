//! The child `dalaba speaker`: sole owner of the sound device, plays prepared clips only.

pub mod chain;
pub mod protocol;
pub mod render;
