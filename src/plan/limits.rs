//! Quiet hours, closed days and the daily limit.

use super::{Occurrence, Program};

pub(super) fn apply(program: &Program, occurrences: &mut [Occurrence]) {
    todo!("{program:?} {occurrences:?}")
}
