//! What is in `audio/` and what became of it.
