//! One file a year: China's statutory holidays and make-up workdays, as the State Council's notice arranges them.

use super::{Calendar, DayKind};
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};

/// Whether a year's arrangement is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YearStatus {
    /// From the notice.
    Official,
    /// Only the days that the law fixes; make-up workdays are unknown.
    LegalDaysOnly,
}

/// One year's arrangement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YearFile {
    /// Every date below lies in it.
    pub year: i16,
    /// The notice's title and number.
    pub source: String,
    /// The notice's date.
    pub published: Option<Date>,
    /// Whether the arrangement is known.
    pub status: YearStatus,
    /// Days off with the holiday's name, weekend days inside an arrangement included.
    pub off: BTreeMap<Date, String>,
    /// Saturdays and Sundays on which people work.
    pub work: BTreeSet<Date>,
}

/// Why a year file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YearError {
    /// Byte offset in the text, where known.
    pub at: Option<usize>,
    /// What is wrong and what to do, in Chinese.
    pub message: String,
}

impl YearFile {
    /// Reads and checks one year file; returns every mistake.
    pub fn parse(year: i16, text: &str) -> Result<Self, Vec<YearError>> {
        todo!("{year} {text}")
    }
}

pub(super) fn shipped() -> Calendar {
    todo!()
}

pub(super) fn kind(file: Option<&YearFile>, date: Date) -> DayKind {
    todo!("{file:?} {date}")
}
