//! Rows as files that people carry away, and the proof that such a file is what the station wrote.
//!
//! **JSON**: one object a line. It is the stored line with more fields behind: `hash`, `signed` where the station signed
//! this head, and in the last row `export`, the station's signature over the whole file:
//!
//! ```text
//! {…the line as it was hashed…,"hash":"…","signed":{"at":…,"signature":"…"},"export":{"rows":…,"at":…,"key":"…","signature":"…"}}
//! ```
//!
//! `export` signs the number of rows and the sha256 of their hashes, so no row can be taken out, added, moved or changed,
//! be it a whole journal or one day of it. It is made while exporting, with `data/station.key`; nothing is written there.
//!
//! An office has rows and no key. Its files end with `sent` instead, the signature under which the station sent the last
//! of these rows, and hold every row from the first to that one:
//!
//! ```text
//! {…the line as it was hashed…,"hash":"…","sent":{"from":…,"key":"…","signature":"…"}}
//! ```
//!
//! It is over the hash of that row, to which the chain binds all those before: each row is what the station wrote, and
//! between the first and the last none is missing. What came before the first the file does not show; its number and its
//! `prev` say how much that was, and bind that too. What came behind the last it cannot know.
//!
//! **CSV**: the columns of the brief for people and their spreadsheets (UTF-8 with its mark, times in the station's zone),
//! and a last column `proof` with the row's JSON. The proof needs the cells to say what `proof` says: a table that a
//! spreadsheet saved anew may have been formatted anew, and is then refused. The file as exported is the evidence.
//!
//! Always true: a file is proved whole or refused with a sentence. Whoever holds the key can prove anything; so the
//! verdict says which key it was, and `--key` compares.

use super::{
    JournalError, moment,
    read::{Broken, CHANGED, Flaw, REWRITTEN, Reader, Signed, Stored, UNCHAINED, UNREADABLE, Verdict},
    sign::{PublicKey, batch_text, existing_key, export_text, sign},
};
use crate::{
    entry::{GENESIS, Line, chain},
    plan::rfc3339,
    text::{Said, hex},
};
use ed25519_dalek::SigningKey;
use jiff::{
    Timestamp,
    fmt::temporal::Pieces,
    tz::{Offset, TimeZone},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    io::{self, BufRead},
    ops::Range,
    path::Path,
};

/// The station's signature over an exported file; its last row carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// How many rows the file has.
    pub rows: i64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The station's public key, hex.
    pub key: String,
    /// Hex; over rows, digest and moment.
    pub signature: String,
}

/// The station's signature under rows that it sent to an office, of which this one was the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// The number of the first of them.
    pub from: i64,
    /// The station's public key, hex.
    pub key: String,
    /// Hex; over [`batch_text`].
    pub signature: String,
}

/// One row of an exported file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As it is stored.
    pub stored: Stored,
    /// In the last row of a file that a station exported.
    pub seal: Option<Seal>,
    /// In the last row of a file that an office exported.
    pub sent: Option<Sent>,
}

/// What stands behind the line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<Signed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<Seal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Sent>,
}

impl Row {
    /// The row as one JSON object: what `--json` prints and `--verify FILE` reads.
    pub fn json(&self) -> serde_json::Result<String> {
        let Stored { line, hash, signed, .. } = &self.stored;
        let tail =
            Tail { hash: hash.clone(), signed: signed.clone(), export: self.seal.clone(), sent: self.sent.clone() };
        let tail = serde_json::to_string(&tail)?;
        Ok(format!("{},{}", line.strip_suffix('}').unwrap_or(line), &tail[1..]))
    }

    /// Takes an exported object apart again, to the letter. Inside a JSON string a quotation mark is escaped, so what
    /// the line says cannot look like its end.
    fn parse(text: &str) -> Option<Self> {
        const HASH: &str = ",\"hash\":";
        let end = text.rfind(HASH)?;
        let tail: Tail = serde_json::from_str(&format!("{{{}", &text[end + 1..])).ok()?;
        let line = format!("{}}}", &text[..end]);
        let seq = serde_json::from_str::<Line>(&line).ok()?.seq;
        let stored = Stored { seq, line, hash: tail.hash, signed: tail.signed };
        Some(Self { stored, seal: tail.export, sent: tail.sent })
    }
}

/// Hands the rows due in `window` to `take`, oldest first, the last one with the station's signature over all of them
/// where its key can be read. Returns how many there are.
pub async fn export<E: From<JournalError>>(
    reader: &mut Reader,
    data: &Path,
    now: Timestamp,
    window: Range<Timestamp>,
    mut take: impl FnMut(&Row) -> Result<(), E>,
) -> Result<i64, E> {
    // Who may read the journal and not the key still gets the rows.
    let key = existing_key(data).ok().flatten();
    let (mut digest, mut rows) = (Sha256::new(), 0);
    let mut last: Option<Row> = None;
    reader
        .entries(window, |stored| {
            rows += 1;
            digest.update(&stored.hash);
            match last.replace(Row { stored, seal: None, sent: None }) {
                Some(row) => take(&row),
                None => Ok(()),
            }
        })
        .await?;
    if let Some(mut row) = last {
        row.seal = key.map(|key| seal(&key, rows, &hex(&digest.finalize()), now));
        take(&row)?;
    }
    Ok(rows)
}

fn seal(key: &SigningKey, rows: i64, digest: &str, now: Timestamp) -> Seal {
    let signature = sign(key, &export_text(rows, digest, now));
    Seal { rows, at: now.as_millisecond(), key: PublicKey::from(key).to_string(), signature }
}

/// Proves an exported file, JSON or CSV, with nothing but the file.
pub fn verify(text: &mut dyn BufRead) -> io::Result<Verdict> {
    let begins = text.fill_buf()?;
    if begins.starts_with(MARK.as_bytes()) || begins.starts_with(COLUMNS[0].as_bytes()) {
        return verify_csv(text);
    }
    let mut proof = Proof::default();
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line)? > 0 {
        let row = std::str::from_utf8(&line).ok().and_then(|line| Row::parse(line.trim_end()));
        if let Err(broken) = proof.take(row.as_ref()) {
            return Ok(broken.into());
        }
        line.clear();
    }
    Ok(proof.verdict())
}

fn verify_csv(text: &mut dyn BufRead) -> io::Result<Verdict> {
    if text.fill_buf()?.starts_with(MARK.as_bytes()) {
        text.consume(MARK.len());
    }
    let mut proof = Proof::default();
    let mut records = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
    for (index, record) in records.records().enumerate() {
        let record = match record {
            Ok(record) => record,
            Err(error) if error.is_io_error() => return Err(error.into()),
            Err(_) => {
                return Ok(proof
                    .broken((
                        "这一行与表头的列数不同，或者不是 UTF-8 文字",
                        "this line has other columns than the first, or is not UTF-8",
                    ))
                    .into());
            }
        };
        if index == 0 {
            if record.iter().ne(COLUMNS) {
                return Ok(proof.broken(("表头不是导出时的表头", "the first line is not that of an export")).into());
            }
            continue;
        }
        let row = Row::parse(&record[COLUMNS.len() - 1]);
        if let Err(broken) = proof.take(row.as_ref()) {
            return Ok(broken.into());
        }
        let Some(row) = row else { continue };
        if let Some(column) = differing(&row, &record)? {
            let seq = row.stored.seq;
            let why = Said::new(
                format!("“{column}”这一格与记录不同：被改动过，或者用表格软件另存过；请检验导出时的原文件"),
                format!(
                    "the cell \"{column}\" differs from its entry: it was changed, or saved by a spreadsheet; check the file as exported"
                ),
            );
            return Ok(Verdict::Broken { seq, why });
        }
    }
    Ok(proof.verdict())
}

/// Returns the first column that says something else than the row.
fn differing(row: &Row, record: &csv::StringRecord) -> io::Result<Option<&'static str>> {
    let value = flat(row)?;
    let differs = |(column, written): &(&'static str, &str)| {
        // The zone of the exporting station is not in the row, but in the cell.
        let offset = Pieces::parse(written).ok().and_then(|pieces| pieces.to_numeric_offset());
        cell(column, &value[*column], &TimeZone::fixed(offset.unwrap_or(Offset::UTC))) != *written
    };
    Ok(COLUMNS.into_iter().zip(record).find(differs).map(|(column, _)| column))
}

const UNSEALED: Flaw = (
    "文件末尾没有站点签名：后面的记录被删掉了，或者导出的人没有站点的密钥；请在站点上重新导出",
    "the file does not end with the station's signature: entries were cut off, or it was exported without the key; \
     export it at the station",
);
const UNREADABLE_SEAL: Flaw =
    ("文件末尾的站点签名读不懂：内容被改动过", "the signature at the end cannot be read: it was changed");
const INCOMPLETE: Flaw = (
    "这一条之前缺少记录：平台导出的文件里，从第一条到最后一条必须连续",
    "entries before this one are missing: in the file of an office, they go on without gap from the first to the last",
);
const UNSENT: Flaw = (
    "这一条不是站点当时签名上传的内容：记录被改动过，校验值是后来重算的",
    "this one is not what the station signed and sent: entries were changed and hashed anew",
);
const RESEALED: Flaw = (
    "整个文件与站点的签名不符：有记录被改动、增加或删除，校验值是后来重算的",
    "the file as a whole is not what the station signed: entries were changed, added or deleted and hashed anew",
);

/// The file as far as it was followed.
struct Proof {
    rows: i64,
    seq: i64,
    hash: String,
    digest: Sha256,
    /// Signed heads: their key comes with the seal.
    heads: Vec<(i64, String, Signed)>,
    /// Of the last row.
    epoch: String,
    /// The first row in front of which one or more are missing.
    gap: Option<i64>,
    seal: Option<Seal>,
    sent: Option<Sent>,
}

impl Default for Proof {
    fn default() -> Self {
        Self {
            rows: 0,
            seq: 0,
            hash: GENESIS.to_owned(),
            digest: Sha256::new(),
            heads: Vec::new(),
            epoch: String::new(),
            gap: None,
            seal: None,
            sent: None,
        }
    }
}

impl Proof {
    /// Follows the file by one row; none for a line that is no row.
    fn take(&mut self, row: Option<&Row>) -> Result<(), Broken> {
        if self.seal.is_some() || self.sent.is_some() {
            return Err(self.broken((
                "文件到前一条为止有站点签名，这一条是后来加上的",
                "the station signed up to the line before: this one was added later",
            )));
        }
        let Some(Row { stored, seal, sent }) = row else {
            return Err(self.broken(("这一行不是导出的播出记录", "this line is no exported entry")));
        };
        let Ok(line) = serde_json::from_str::<Line>(&stored.line) else {
            return Err(self.broken(UNREADABLE));
        };
        let broken = |flaw| Err(Broken::at(stored.seq, flaw));
        if stored.seq <= self.seq {
            return broken((
                "这一条的次序不对：记录被调换过或重复",
                "this one is out of order: entries were exchanged or repeated",
            ));
        }
        if stored.seq == self.seq + 1 && line.prev != self.hash {
            return broken(UNCHAINED);
        }
        if chain(&line.prev, &stored.line) != stored.hash {
            return broken(CHANGED);
        }
        // Of one journal the chain alone would tell, but not of a gap.
        let follows = self.rows == 0 || (stored.seq == self.seq + 1 && line.epoch == self.epoch);
        self.gap = self.gap.or((!follows).then_some(stored.seq));
        self.rows += 1;
        self.seq = stored.seq;
        self.epoch = line.epoch;
        self.hash.clone_from(&stored.hash);
        self.digest.update(&stored.hash);
        self.heads.extend(stored.signed.clone().map(|signed| (stored.seq, stored.hash.clone(), signed)));
        self.seal.clone_from(seal);
        self.sent.clone_from(sent);
        Ok(())
    }

    /// What is wrong with the row after the last good one.
    fn broken(&self, flaw: Flaw) -> Broken {
        Broken::at(self.seq + 1, flaw)
    }

    fn verdict(self) -> Verdict {
        if self.rows == 0 {
            return self
                .broken(("文件里没有播出记录，什么也证明不了", "there is no entry in the file, and nothing to prove"))
                .into();
        }
        match (&self.seal, &self.sent) {
            (Some(seal), None) => self.sealed(seal),
            (None, Some(sent)) => self.signed_when_sent(sent),
            (None, None) => Err(self.broken(UNSEALED)),
            (Some(_), Some(_)) => Err(self.broken(UNREADABLE_SEAL)),
        }
        .map_or_else(Verdict::from, |key| Verdict::Whole { rows: self.rows, signed: self.seq, key: Some(key) })
    }

    /// Proves the file of a station.
    fn sealed(&self, seal: &Seal) -> Result<PublicKey, Broken> {
        let (Ok(key), Some(at)) = (seal.key.parse::<PublicKey>(), moment(seal.at)) else {
            return Err(self.broken(UNREADABLE_SEAL));
        };
        self.heads_are_by(&key)?;
        let text = export_text(self.rows, &hex(&self.digest.clone().finalize()), at);
        if seal.rows != self.rows || !key.has_signed(&text, &seal.signature) {
            return Err(Broken::at(self.seq, RESEALED));
        }
        Ok(key)
    }

    /// Proves the file of an office.
    fn signed_when_sent(&self, sent: &Sent) -> Result<PublicKey, Broken> {
        let key = sent.key.parse::<PublicKey>().map_err(|_| self.broken(UNREADABLE_SEAL))?;
        if let Some(seq) = self.gap {
            return Err(Broken::at(seq, INCOMPLETE));
        }
        self.heads_are_by(&key)?;
        if !key.has_signed(&batch_text(&self.epoch, sent.from, self.seq, &self.hash), &sent.signature) {
            return Err(Broken::at(self.seq, UNSENT));
        }
        Ok(key)
    }

    fn heads_are_by(&self, key: &PublicKey) -> Result<(), Broken> {
        match self.heads.iter().find(|(seq, hash, signed)| !signed.is_by(key, *seq, hash)) {
            Some((seq, ..)) => Err(Broken::at(*seq, REWRITTEN)),
            None => Ok(()),
        }
    }
}

/// What tells a spreadsheet that the text is UTF-8.
const MARK: &str = "\u{feff}";

/// Writes rows as CSV that spreadsheets open as UTF-8, times in the station's zone.
pub struct Csv<W: io::Write> {
    writer: csv::Writer<W>,
    zone: TimeZone,
}

/// The columns, in the order of the brief, with what else was measured; the row itself stands in the last one.
const COLUMNS: [&str; 31] = [
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
    "rms_dbfs",
    "underruns",
    "volume",
    "clock_state",
    "clock_offset_ms",
    "operator",
    "note",
    "revision",
    "prev",
    "hash",
    "proof",
];

impl<W: io::Write> Csv<W> {
    /// Starts a file.
    pub fn new(mut to: W, zone: TimeZone) -> csv::Result<Self> {
        to.write_all(MARK.as_bytes())?;
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(COLUMNS)?;
        Ok(Self { writer, zone })
    }

    /// Writes one row.
    pub fn row(&mut self, row: &Row) -> csv::Result<()> {
        let value = flat(row)?;
        self.writer.write_record(COLUMNS.map(|column| cell(column, &value[column], &self.zone)))
    }

    /// Writes what is left.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The row with a value for each column.
fn flat(row: &Row) -> io::Result<serde_json::Value> {
    let json = row.json()?;
    let mut value: serde_json::Value = serde_json::from_str(&json)?;
    for (column, part) in [("clock_state", "state"), ("clock_offset_ms", "offset_ms")] {
        value[column] = value["clock"][part].clone();
    }
    value["proof"] = json.into();
    Ok(value)
}

fn cell(column: &str, value: &serde_json::Value, zone: &TimeZone) -> String {
    let text = match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => match (column, text.parse::<Timestamp>()) {
            ("due" | "started" | "ended", Ok(at)) => rfc3339(&at.to_zoned_datetime(zone.clone())),
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
