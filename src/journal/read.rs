//! Reads a journal beside a running daemon: opens read-only, takes no lock, writes nothing.

use super::{
    JournalError, moment,
    sign::{is_signed, public_key},
};
use crate::{
    entry::{GENESIS, Line, chain},
    plan::rfc3339,
};
use ed25519_dalek::VerifyingKey;
use jiff::{Timestamp, tz::TimeZone};
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{io, ops::Range, path::Path};

/// Rows fetched at a time.
const PAGE: i64 = 500;

/// One row as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The row's number.
    pub seq: i64,
    /// The JSON line, kept as written.
    pub line: String,
    /// Of this line.
    pub hash: String,
}

impl Stored {
    /// The line with its hash, as one JSON object: what `--json` prints and `--verify FILE` reads.
    pub fn export(&self) -> String {
        let open = self.line.strip_suffix('}').unwrap_or(&self.line);
        format!("{open},\"hash\":\"{}\"}}", self.hash)
    }

    /// Takes an exported line apart again.
    fn import(text: &str) -> Option<Self> {
        let (open, rest) = text.trim_end().rsplit_once(",\"hash\":\"")?;
        let line = format!("{open}}}");
        let seq = serde_json::from_str::<Line>(&line).ok()?.seq;
        Some(Self { seq, line, hash: rest.strip_suffix("\"}")?.to_owned() })
    }
}

/// A journal open for reading.
#[derive(Debug)]
pub struct Reader {
    connection: SqliteConnection,
}

impl Reader {
    /// Opens `journal.db`, which must exist.
    pub async fn open(file: &Path) -> Result<Self, JournalError> {
        let options = SqliteConnectOptions::new().filename(file).read_only(true).disable_statement_logging();
        Ok(Self { connection: options.connect().await? })
    }

    /// Hands the rows due in `window` to `take`, oldest first.
    pub async fn entries<E: From<JournalError>>(
        &mut self,
        window: Range<Timestamp>,
        mut take: impl FnMut(Stored) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after = 0;
        loop {
            let page = self.page(after, &window).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.seq;
            for stored in page {
                take(stored)?;
            }
        }
    }

    async fn page(&mut self, after: i64, window: &Range<Timestamp>) -> Result<Vec<Stored>, JournalError> {
        let rows = sqlx::query(
            "SELECT seq, line, hash FROM entry WHERE seq > ? AND due >= ? AND due < ? ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(window.start.as_millisecond())
        .bind(window.end.as_millisecond())
        .bind(PAGE)
        .fetch_all(&mut self.connection)
        .await?;
        let stored = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Stored { seq: row.try_get(0)?, line: row.try_get(1)?, hash: row.try_get(2)? })
        };
        rows.iter().map(stored).collect()
    }

    /// Proves the chain and every signed head, or names the first row that is broken.
    pub async fn verify(&mut self) -> Result<Verdict, JournalError> {
        let mut proof = Proof::default();
        let everything = Timestamp::MIN..Timestamp::MAX;
        let mut after = 0;
        let mut heads = self.heads().await?.into_iter().peekable();
        let key = super::get(&mut self.connection, "public-key").await?.and_then(|text| public_key(&text));
        loop {
            let page = self.page(after, &everything).await?;
            if page.is_empty() {
                break;
            }
            for stored in page {
                after = stored.seq;
                if let Err(broken) = proof.take(&stored) {
                    return Ok(broken);
                }
                if let Some(head) = heads.next_if(|head| head.seq <= stored.seq)
                    && let Err(broken) = proof.head(&head, &stored, key.as_ref())
                {
                    return Ok(broken);
                }
            }
        }
        if let Some(head) = heads.next() {
            return Ok(Verdict::Broken {
                seq: proof.rows + 1,
                why: format!("第 {} 条已经签过名，但这里只有 {} 条：后面的记录被删掉了", head.seq, proof.rows),
            });
        }
        Ok(Verdict::Whole { rows: proof.rows, signed: proof.signed })
    }

    async fn heads(&mut self) -> Result<Vec<Head>, JournalError> {
        let rows = sqlx::query("SELECT seq, hash, at, signature FROM head ORDER BY seq")
            .fetch_all(&mut self.connection)
            .await?;
        let head = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Head { seq: row.try_get(0)?, hash: row.try_get(1)?, at: row.try_get(2)?, signature: row.try_get(3)? })
        };
        rows.iter().map(head).collect()
    }
}

struct Head {
    seq: i64,
    hash: String,
    at: i64,
    signature: String,
}

/// What `--verify` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every row follows from the one before.
    Whole {
        /// How many.
        rows: i64,
        /// The last row under a signature of the station; rows behind it are chained and not yet signed.
        signed: i64,
    },
    /// The first row that does not.
    Broken {
        /// Its number.
        seq: i64,
        /// What is wrong with it, in Chinese.
        why: String,
    },
}

/// Proves an exported file: the lines of `journal --json`, from the first row on.
pub fn verify_export(text: &mut dyn io::BufRead) -> io::Result<Verdict> {
    let mut proof = Proof::default();
    let mut line = String::new();
    while text.read_line(&mut line)? > 0 {
        let next = proof.rows + 1;
        let Some(stored) = Stored::import(&line) else {
            return Ok(Verdict::Broken { seq: next, why: "这一行不是导出的播出记录".into() });
        };
        if let Err(broken) = proof.take(&stored) {
            return Ok(broken);
        }
        line.clear();
    }
    Ok(Verdict::Whole { rows: proof.rows, signed: 0 })
}

/// The chain as far as it was followed.
struct Proof {
    rows: i64,
    signed: i64,
    hash: String,
}

impl Default for Proof {
    fn default() -> Self {
        Self { rows: 0, signed: 0, hash: GENESIS.to_owned() }
    }
}

impl Proof {
    fn take(&mut self, stored: &Stored) -> Result<(), Verdict> {
        let seq = self.rows + 1;
        let broken = |why: &str| Err(Verdict::Broken { seq, why: why.to_owned() });
        if stored.seq != seq {
            return broken("这一条缺失：记录被删除或调换过");
        }
        match serde_json::from_str::<Line>(&stored.line) {
            Ok(line) if line.seq == seq && line.prev == self.hash => {}
            Ok(_) => return broken("这一条与前一条接不上：记录被插入、删除或调换过"),
            Err(_) => return broken("这一条读不懂：内容被改动过"),
        }
        if chain(&self.hash, &stored.line) != stored.hash {
            return broken("这一条的校验值不符：内容被改动过");
        }
        self.rows = seq;
        self.hash.clone_from(&stored.hash);
        Ok(())
    }

    fn head(&mut self, head: &Head, stored: &Stored, key: Option<&VerifyingKey>) -> Result<(), Verdict> {
        let signed =
            key.zip(moment(head.at)).is_some_and(|(key, at)| is_signed(key, head.seq, &head.hash, at, &head.signature));
        if head.seq == stored.seq && head.hash == stored.hash && signed {
            self.signed = head.seq;
            Ok(())
        } else {
            let why = "这一条与站点的签名不符：记录被重写过".to_owned();
            Err(Verdict::Broken { seq: head.seq, why })
        }
    }
}

/// Writes rows as CSV that spreadsheets open as UTF-8, times in the station's zone.
pub struct Csv<W: io::Write> {
    writer: csv::Writer<W>,
    zone: TimeZone,
}

/// The columns, in the order of the brief.
const COLUMNS: [&str; 28] = [
    "epoch",
    "seq",
    "occurrence",
    "source",
    "schedule",
    "announcement",
    "title",
    "clips",
    "band",
    "due",
    "started",
    "ended",
    "expected_ms",
    "heard_ms",
    "start_error_us",
    "outcome",
    "reason",
    "evidence",
    "device",
    "peak_dbfs",
    "volume",
    "clock_state",
    "clock_offset_ms",
    "operator",
    "note",
    "revision",
    "prev",
    "hash",
];

impl<W: io::Write> Csv<W> {
    /// Starts a file.
    pub fn new(mut to: W, zone: TimeZone) -> csv::Result<Self> {
        to.write_all("\u{feff}".as_bytes())?;
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(COLUMNS)?;
        Ok(Self { writer, zone })
    }

    /// Writes one row.
    pub fn row(&mut self, stored: &Stored) -> csv::Result<()> {
        let mut value: serde_json::Value = serde_json::from_str(&stored.export()).unwrap_or_default();
        for (column, part) in [("clock_state", "state"), ("clock_offset_ms", "offset_ms")] {
            value[column] = value["clock"][part].clone();
        }
        let record = COLUMNS.map(|column| self.cell(column, &value[column]));
        self.writer.write_record(record)
    }

    /// Writes what is left.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn cell(&self, column: &str, value: &serde_json::Value) -> String {
        let text = match value {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => match (column, text.parse::<Timestamp>()) {
                ("due" | "started" | "ended", Ok(at)) => rfc3339(&at.to_zoned_datetime(self.zone.clone())),
                _ => text.clone(),
            },
            serde_json::Value::Array(clips) => {
                let titles: Vec<_> = clips.iter().filter_map(|clip| clip["title"].as_str()).collect();
                titles.join("、")
            }
            other => other.to_string(),
        };
        // A spreadsheet runs what begins like a formula; numbers stay numbers.
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err() {
            format!("'{text}")
        } else {
            text
        }
    }
}
