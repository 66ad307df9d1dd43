//! The last gate: quiet hours, hush, the stop latch, the volume ceiling, the longest run. For every source without
//! exception; signatures do not pass it.
