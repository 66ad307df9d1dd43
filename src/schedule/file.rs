//! Schedule text to a [`Schedule`] and its [`Finding`]s, with line and column.

use super::{Finding, Schedule, Source};

/// A schedule file as far as it could be read.
#[derive(Debug)]
pub struct Parsed {
    /// None if the structure cannot be recovered: then the version in force stays in force.
    pub schedule: Option<Schedule>,
    /// Every mistake at once, in order of place.
    pub findings: Vec<Finding>,
}

/// Reads one schedule file. `file` is its path relative to the home, for the findings; its stem is the schedule's name.
pub fn parse(source: Source, file: &str, text: &str) -> Parsed {
    todo!("{source:?} {file} {text}")
}
