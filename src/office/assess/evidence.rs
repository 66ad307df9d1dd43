//! A station's month as a file that proves itself: `dalaba journal --verify FILE`, on any machine and without a line.
//!
//! The file holds the rows that were due in the month, all others between the first and the last of them (what was off
//! is written afterwards), and those up to the next moment at which the station signed what it sent. See
//! [`crate::journal::export`] for what that proves, and what not: no row can be changed, taken out or put in between the
//! first and the last by anybody without the station's key, the office included. It does not prove that the station wrote
//! the truth, nor that nothing of the month came before the first row or behind the last; their dates show it.

use crate::{
    journal::{
        export::{Csv, Row, Sent},
        read::Stored,
    },
    link::StationId,
    office::store::{Evidence, Store, StoreError},
};
use jiff::tz::TimeZone;
use std::io::{self, BufWriter, Write};

/// Rows read at a time.
const PAGE: i64 = 500;

/// Why the file was not written.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The rows could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be written.
    #[error("证据文件写不出来")]
    Io(#[from] io::Error),
    /// A row that came from the station is not here.
    #[error("平台的数据库里缺少第 {seq} 条记录；请检查数据库或从备份恢复")]
    Missing {
        /// Its number.
        seq: i64,
    },
}

impl From<csv::Error> for EvidenceError {
    fn from(error: csv::Error) -> Self {
        Self::Io(error.into())
    }
}

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One object a line.
    Json,
    /// A table for people, with the proof in its last column.
    Csv,
}

/// Writes the file of a station's journal, and returns how many rows it has.
pub async fn write(
    store: &Store,
    station: &StationId,
    evidence: &Evidence,
    form: Form,
    zone: TimeZone,
    to: impl Write,
) -> Result<i64, EvidenceError> {
    let to = BufWriter::new(to);
    let mut file = match form {
        Form::Json => File::Json(to),
        Form::Csv => File::Csv(Box::new(Csv::new(to, zone)?)),
    };
    let mut next = evidence.first;
    while next <= evidence.signed {
        let page = store.lines(station, &evidence.epoch, next, PAGE.min(evidence.signed - next + 1)).await?;
        if page.is_empty() {
            return Err(EvidenceError::Missing { seq: next });
        }
        for line in page {
            if line.seq != next {
                return Err(EvidenceError::Missing { seq: next });
            }
            let sent = (line.seq == evidence.signed).then(|| Sent {
                from: evidence.from,
                key: evidence.key.clone(),
                signature: evidence.signature.clone(),
            });
            let stored = Stored { seq: line.seq, line: line.line, hash: line.hash, signed: None };
            file.row(&Row { stored, seal: None, sent })?;
            next += 1;
        }
    }
    file.finish()?;
    Ok(next - evidence.first)
}

enum File<W: Write> {
    Json(W),
    Csv(Box<Csv<W>>),
}

impl<W: Write> File<W> {
    fn row(&mut self, row: &Row) -> Result<(), EvidenceError> {
        match self {
            Self::Json(to) => Ok(writeln!(to, "{}", row.json().map_err(io::Error::from)?)?),
            Self::Csv(csv) => Ok(csv.row(row)?),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Json(mut to) => to.flush(),
            Self::Csv(csv) => csv.finish(),
        }
    }
}
