//! The bounds the child puts on itself before it looks at the file.
//!
//! On Windows there are none here: a job object needs unsafe calls, which this crate denies. There the parent's limit of
//! time stands alone.

/// Bounds this process: memory, processor time, size of what it writes; gives way to everybody else. A bound that the
/// system refuses is left out: the parent's limit of time remains.
#[cfg(unix)]
pub(super) fn apply() {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    let bounds = [(Resource::As, 512 << 20), (Resource::Cpu, 120), (Resource::Fsize, 1 << 30), (Resource::Core, 0)];
    for (resource, most) in bounds {
        let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    }
    let _ = nice(10);
}

#[cfg(not(unix))]
pub(super) fn apply() {}
