//! Settles overlaps: who goes first, who is left out, and why.

use super::Occurrence;

pub(super) fn settle(occurrences: &mut [Occurrence]) {
    todo!("{occurrences:?}")
}
