//! Rows and day totals as they are read: for 考评, for a search, for a file that proves a month.
//!
//! A month's numbers come from `day`, never from the rows; rows are read a page at a time and day by day, along the
//! tables' indexes, so that no question holds a month in memory.
//!
//! Not here: how rows get in ([`crate::office::store`]'s journals), what the numbers mean ([`crate::office::assess`]).

use super::{Deed, Station, StationState, Store, StoreError, stations::read};
use crate::{
    link::StationId,
    office::assess::{self, Month, Presence, Record, Span, Subject, Tally},
    outcome::{Outcome, Reason},
    plan::instant,
};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Any, AssertSqlSafe, Row as _, any::AnyRow, query::Query};
use std::collections::{BTreeMap, BTreeSet};

/// A row of the journals, less its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Whose.
    pub station: StationId,
    /// In which of its journals.
    pub epoch: String,
    /// Its number there.
    pub seq: i64,
    /// What became of.
    pub occurrence: String,
    /// Of `due`, in the office's zone.
    pub date: Date,
    /// When it was due.
    pub due: Timestamp,
    /// Who issued it.
    pub source: String,
    /// Its key.
    pub announcement: String,
    /// What people call it.
    pub title: String,
    /// The final word.
    pub outcome: Outcome,
    /// Why not in full.
    pub reason: Option<Reason>,
    /// How long it was to sound.
    pub expected_ms: i64,
    /// How long it did.
    pub heard_ms: i64,
    /// Started less due; none where nothing sounded.
    pub late_ms: Option<i64>,
    /// In the chain.
    pub hash: String,
}

/// What starts within as many milliseconds of its due moment is on time.
const ON_TIME_MS: u64 = 60_000;

impl Found {
    /// Returns whether it started within 60 s of its due moment.
    pub fn is_on_time(&self) -> bool {
        self.late_ms.is_some_and(|late| late.unsigned_abs() <= ON_TIME_MS)
    }
}

const FOUND: &str = "station, epoch, seq, occurrence, date, due, source, announcement, title, outcome, reason, \
                     expected_ms, heard_ms, late_ms, hash";

fn found(row: &AnyRow) -> Result<Found, StoreError> {
    Ok(Found {
        station: read(row.try_get::<String, _>("station")?.try_into())?,
        epoch: row.try_get("epoch")?,
        seq: row.try_get("seq")?,
        occurrence: row.try_get("occurrence")?,
        date: date(row, "date")?,
        due: moment(row, "due")?,
        source: row.try_get("source")?,
        announcement: row.try_get("announcement")?,
        title: row.try_get("title")?,
        outcome: word(&row.try_get::<String, _>("outcome")?)?,
        reason: row.try_get::<Option<String>, _>("reason")?.map(|reason| word(&reason)).transpose()?,
        expected_ms: row.try_get("expected_ms")?,
        heard_ms: row.try_get("heard_ms")?,
        late_ms: row.try_get("late_ms")?,
        hash: row.try_get("hash")?,
    })
}

fn date(row: &AnyRow, column: &str) -> Result<Date, StoreError> {
    read(row.try_get::<String, _>(column)?.parse())
}

fn moment(row: &AnyRow, column: &str) -> Result<Timestamp, StoreError> {
    read(Timestamp::from_millisecond(row.try_get(column)?))
}

/// Reads a word of a closed list.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    read(serde_json::from_value(serde_json::Value::String(text.to_owned())))
}

/// The word of a closed list in tables, addresses and JSON.
fn key(of: &impl Serialize) -> Result<String, StoreError> {
    let value = read(serde_json::to_value(of))?;
    value.as_str().map(str::to_owned).ok_or_else(|| StoreError::Unreadable(value.to_string()))
}

/// Which rows are looked for: those for which everything holds that is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Search {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub until: Date,
    /// Whose.
    pub station: Option<StationId>,
    /// An announcement's key, or a part of its title.
    pub announcement: Option<String>,
    /// The final word.
    pub outcome: Option<Outcome>,
    /// Why not in full.
    pub reason: Option<Reason>,
}

impl Search {
    /// Returns a search for all rows of some days.
    pub fn days(from: Date, until: Date) -> Self {
        Self { from, until, station: None, announcement: None, outcome: None, reason: None }
    }
}

/// Behind which row a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Its day.
    pub date: Date,
    /// Whose it is.
    pub station: StationId,
    /// In which journal.
    pub epoch: String,
    /// Its number.
    pub seq: i64,
}

impl Mark {
    /// The mark of a row.
    pub fn of(row: &Found) -> Self {
        Self { date: row.date, station: row.station.clone(), epoch: row.epoch.clone(), seq: row.seq }
    }
}

/// Conditions of a statement, and the texts in their places.
#[derive(Default)]
struct Where {
    sql: String,
    values: Vec<String>,
}

impl Where {
    /// These days, of every station or of this one.
    fn days(span: Span, station: Option<&StationId>) -> Self {
        let mut wanted = Self::default();
        wanted.add("date >= ?", span.first.to_string());
        wanted.add("date <= ?", span.last.to_string());
        if let Some(station) = station {
            wanted.add("station = ?", station.as_str());
        }
        wanted
    }

    /// Adds a condition, in which `?` stands for the value.
    fn add(&mut self, condition: &str, value: impl Into<String>) {
        self.values.push(value.into());
        let place = format!("${}", self.values.len());
        let and = if self.sql.is_empty() { "" } else { " AND " };
        self.sql.push_str(and);
        self.sql.push_str(&condition.replace('?', &place));
    }

    fn bind<'q>(&'q self, query: Query<'q, Any, sqlx::any::AnyArguments>) -> Query<'q, Any, sqlx::any::AnyArguments> {
        self.values.iter().fold(query, |query, value| query.bind(value.as_str()))
    }
}

/// A pattern that finds a text anywhere, whatever is in it.
fn anywhere(text: &str) -> String {
    format!("%{}%", text.replace('!', "!!").replace('%', "!%").replace('_', "!_"))
}

/// A journal's rows of a month, and what proves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The journal.
    pub epoch: String,
    /// The first row that was due in the month.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// The row behind which the station signed: the last, or one after it.
    pub signed: i64,
    /// Where the batch began that it signed.
    pub from: i64,
    /// By the station's key.
    pub signature: String,
    /// The station's public key as it was then, 64 hexadecimal digits.
    pub key: String,
}

/// A stored line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLine {
    /// Its number.
    pub seq: i64,
    /// As it came.
    pub line: String,
    /// In the chain.
    pub hash: String,
}

impl Store {
    /// Returns what 考评 of a month is made of: every station of which a day counts, by id; or this one alone.
    pub async fn month_records(
        &self,
        month: Month,
        station: Option<&StationId>,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Result<Vec<Record>, StoreError> {
        let whole = Span { first: month.first(), last: month.last() };
        let (subjects, mut tallies, mut dates, mut journals, mut presence) = tokio::try_join!(
            self.subjects(station),
            self.tallies(whole, station),
            self.dates_on_record(whole, station),
            self.journal_spans(station, zone),
            self.presence(whole, station, zone),
        )?;
        let today = now.to_zoned_datetime(zone.clone()).date();
        let mut records = Vec::new();
        for subject in subjects {
            let Some(counted) = assess::counted(&subject, month, now, zone) else { continue };
            let id = subject.id.as_str();
            // Sums of the whole month are wrong only where a day of it that was, does not count.
            let is_whole = counted.first == whole.first && (counted.last == whole.last || counted.last == today);
            let of_its_days = match is_whole {
                true => tallies.remove(id).unwrap_or_default(),
                false => self.tallies(counted, Some(&subject.id)).await?.remove(id).unwrap_or_default(),
            };
            records.push(Record {
                counted,
                tallies: of_its_days,
                dates: dates.remove(id).unwrap_or_default(),
                journals: journals.remove(id).unwrap_or_default(),
                presence: presence.remove(id).unwrap_or_default(),
                subject,
            });
        }
        Ok(records)
    }

    /// Every station that was taken in.
    async fn subjects(&self, station: Option<&StationId>) -> Result<Vec<Subject>, StoreError> {
        let revoked = "SELECT about, max(at) AS at FROM audit WHERE what = $1 GROUP BY about";
        let mut ended = BTreeMap::new();
        for row in sqlx::query(revoked).bind(Deed::Revoked.key()).fetch_all(self.reads()).await? {
            ended.insert(row.try_get::<String, _>("about")?, moment(&row, "at")?);
        }
        let subject = |station: Station| {
            let confirmed = station.confirmed.filter(|_| station.state != StationState::Pending)?;
            let is_revoked = station.state == StationState::Revoked;
            Some(Subject {
                revoked: is_revoked
                    .then(|| ended.get(station.id.as_str()).copied().or(station.heard).unwrap_or(confirmed)),
                id: station.id,
                name: station.name,
                groups: station.groups,
                confirmed,
                heard: station.heard,
                up: station.up,
            })
        };
        let stations = match station {
            Some(station) => self.station(station).await?.into_iter().collect(),
            None => self.stations().await?,
        };
        Ok(stations.into_iter().filter_map(subject).collect())
    }

    /// What the days of each station add up to.
    async fn tallies(
        &self,
        span: Span,
        station: Option<&StationId>,
    ) -> Result<BTreeMap<String, Vec<Tally>>, StoreError> {
        let wanted = Where::days(span, station);
        // PostgreSQL adds large numbers up to numbers that `Any` does not know.
        let sql = format!(
            "SELECT station, outcome, reason, asked, CAST(sum(times) AS BIGINT) AS times,
                CAST(sum(on_time) AS BIGINT) AS on_time, CAST(sum(heard_ms) AS BIGINT) AS heard_ms
            FROM day WHERE {} GROUP BY station, outcome, reason, asked",
            wanted.sql
        );
        let mut tallies: BTreeMap<String, Vec<Tally>> = BTreeMap::new();
        for row in wanted.bind(sqlx::query(AssertSqlSafe(sql))).fetch_all(self.reads()).await? {
            tallies.entry(row.try_get("station")?).or_default().push(tally(&row)?);
        }
        Ok(tallies)
    }

    /// The days of which there is a record.
    async fn dates_on_record(
        &self,
        span: Span,
        station: Option<&StationId>,
    ) -> Result<BTreeMap<String, BTreeSet<Date>>, StoreError> {
        let wanted = Where::days(span, station);
        let sql = format!("SELECT DISTINCT station, date FROM day WHERE {}", wanted.sql);
        let mut dates: BTreeMap<String, BTreeSet<Date>> = BTreeMap::new();
        for row in wanted.bind(sqlx::query(AssertSqlSafe(sql))).fetch_all(self.reads()).await? {
            dates.entry(row.try_get("station")?).or_default().insert(date(&row, "date")?);
        }
        Ok(dates)
    }

    /// From which day to which each journal reaches. A row that a wrong clock dated in the future proves nothing about
    /// the days before it, so no journal reaches beyond the day on which the last of it came.
    async fn journal_spans(
        &self,
        station: Option<&StationId>,
        zone: &TimeZone,
    ) -> Result<BTreeMap<String, Vec<Span>>, StoreError> {
        // Crossed, so that SQLite begins with the journals: of its own accord it looks through every row for the first ones.
        let query = "SELECT journal.station AS station, journal.at AS at, first.due AS first, last.due AS last
            FROM journal CROSS JOIN entry AS first CROSS JOIN entry AS last
            WHERE first.station = journal.station AND first.epoch = journal.epoch AND first.seq = 1
                AND last.station = journal.station AND last.epoch = journal.epoch AND last.seq = journal.acked
                AND $1 IN ('', journal.station)";
        let query = sqlx::query(query).bind(station.map_or("", StationId::as_str));
        let day = |at: Timestamp| at.to_zoned_datetime(zone.clone()).date();
        let mut spans: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for row in query.fetch_all(self.reads()).await? {
            let last = day(moment(&row, "last")?.min(moment(&row, "at")?));
            spans.entry(row.try_get("station")?).or_default().push(Span { first: day(moment(&row, "first")?), last });
        }
        Ok(spans)
    }

    /// Coming and going within some days, and how it stood before.
    async fn presence(
        &self,
        span: Span,
        station: Option<&StationId>,
        zone: &TimeZone,
    ) -> Result<BTreeMap<String, Presence>, StoreError> {
        let midnight = |day: Date| instant(zone, day.at(0, 0, 0, 0)).as_millisecond();
        let (start, end) = (midnight(span.first), midnight(span.last.saturating_add(1.day())));
        // By the key of the table, station for station: it has grown for years.
        let before = "SELECT id, (SELECT up FROM presence WHERE presence.station = station.id AND presence.at < $1
            ORDER BY presence.at DESC, presence.up DESC LIMIT 1) AS up FROM station WHERE $2 IN ('', id)";
        let within = "SELECT presence.station AS station, presence.at AS at, presence.up AS up
            FROM station CROSS JOIN presence
            WHERE presence.station = station.id AND presence.at >= $1 AND presence.at < $2 AND $3 IN ('', station.id)";
        let only = station.map_or("", StationId::as_str);
        let mut presence: BTreeMap<String, Presence> = BTreeMap::new();
        for row in sqlx::query(before).bind(start).bind(only).fetch_all(self.reads()).await? {
            let was_up = row.try_get::<Option<i64>, _>("up")? == Some(1);
            presence.insert(row.try_get("id")?, Presence { was_up, changes: Vec::new() });
        }
        for row in sqlx::query(within).bind(start).bind(end).bind(only).fetch_all(self.reads()).await? {
            let change = (moment(&row, "at")?, row.try_get::<i64, _>("up")? == 1);
            presence.entry(row.try_get("station")?).or_default().changes.push(change);
        }
        Ok(presence)
    }

    /// Returns what became of a station's announcements, day by day.
    pub async fn tallies_by_day(
        &self,
        station: &StationId,
        span: Span,
    ) -> Result<BTreeMap<Date, Vec<Tally>>, StoreError> {
        let query = "SELECT date, outcome, reason, asked, times, on_time, heard_ms FROM day
            WHERE station = $1 AND date >= $2 AND date <= $3";
        let query = sqlx::query(query).bind(station.as_str()).bind(span.first.to_string()).bind(span.last.to_string());
        let mut days: BTreeMap<Date, Vec<Tally>> = BTreeMap::new();
        for row in query.fetch_all(self.reads()).await? {
            days.entry(date(&row, "date")?).or_default().push(tally(&row)?);
        }
        Ok(days)
    }

    /// Returns the days with rows that may be looked for, the newest first, and how many rows of each are; where an
    /// announcement is looked for, at most as many.
    pub async fn days_found(&self, search: &Search) -> Result<Vec<(Date, i64)>, StoreError> {
        let mut wanted = Where::days(Span { first: search.from, last: search.until }, search.station.as_ref());
        if let Some(outcome) = &search.outcome {
            wanted.add("outcome = ?", key(outcome)?);
        }
        if let Some(reason) = &search.reason {
            wanted.add("reason = ?", key(reason)?);
        }
        let sql = format!(
            "SELECT date, CAST(sum(times) AS BIGINT) AS times FROM day WHERE {} GROUP BY date ORDER BY date DESC",
            wanted.sql
        );
        let rows = wanted.bind(sqlx::query(AssertSqlSafe(sql))).fetch_all(self.reads()).await?;
        rows.iter().map(|row| Ok((date(row, "date")?, row.try_get("times")?))).collect()
    }

    /// Returns the rows of one day that are looked for, by station and number, behind a mark of that day, `most` at most.
    pub async fn rows_of_day(
        &self,
        search: &Search,
        day: Date,
        after: Option<&Mark>,
        most: usize,
    ) -> Result<Vec<Found>, StoreError> {
        let mut wanted = Where::default();
        wanted.add("date = ?", day.to_string());
        if let Some(station) = &search.station {
            wanted.add("station = ?", station.as_str());
        }
        if let Some(outcome) = &search.outcome {
            wanted.add("outcome = ?", key(outcome)?);
        }
        if let Some(reason) = &search.reason {
            wanted.add("reason = ?", key(reason)?);
        }
        if let Some(announcement) = &search.announcement {
            wanted.add("(announcement = ?", announcement.as_str());
            wanted.values.push(anywhere(announcement));
            wanted.sql.push_str(&format!(" OR title LIKE ${} ESCAPE '!')", wanted.values.len()));
        }
        if let Some(mark) = after {
            wanted.add("(station > ?", mark.station.as_str());
            wanted.values.push(mark.epoch.clone());
            let (station, epoch) = (wanted.values.len() - 1, wanted.values.len());
            // A number of the office's own making: it needs no place.
            wanted.sql.push_str(&format!(
                " OR (station = ${station} AND (epoch > ${epoch} OR (epoch = ${epoch} AND seq > {}))))",
                mark.seq
            ));
        }
        let sql = format!("SELECT {FOUND} FROM entry WHERE {} ORDER BY station, epoch, seq LIMIT {most}", wanted.sql);
        let rows = wanted.bind(sqlx::query(AssertSqlSafe(sql))).fetch_all(self.reads()).await?;
        rows.iter().map(found).collect()
    }

    /// Returns the rows that are looked for, the newest day first, behind a mark, `most` at most.
    pub async fn search(&self, search: &Search, after: Option<&Mark>, most: usize) -> Result<Vec<Found>, StoreError> {
        let mut rows = Vec::new();
        for (day, _) in self.days_found(search).await? {
            if after.is_some_and(|mark| day > mark.date) {
                continue;
            }
            let mark = after.filter(|mark| mark.date == day);
            rows.extend(self.rows_of_day(search, day, mark, most - rows.len()).await?);
            if rows.len() >= most {
                break;
            }
        }
        Ok(rows)
    }

    /// Returns a station's journals that have rows due in some days, each with what proves them.
    pub async fn evidence(&self, station: &StationId, span: Span) -> Result<Vec<Evidence>, StoreError> {
        let search = Search { station: Some(station.clone()), ..Search::days(span.first, span.last) };
        let mut journals: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for (day, _) in self.days_found(&search).await? {
            let query = "SELECT epoch, min(seq) AS first, max(seq) AS last FROM entry
                WHERE date = $1 AND station = $2 GROUP BY epoch";
            let query = sqlx::query(query).bind(day.to_string()).bind(station.as_str());
            for row in query.fetch_all(self.reads()).await? {
                let (first, last): (i64, i64) = (row.try_get("first")?, row.try_get("last")?);
                let rows = journals.entry(row.try_get("epoch")?).or_insert((first, last));
                *rows = (rows.0.min(first), rows.1.max(last));
            }
        }
        let mut evidence = Vec::new();
        for (epoch, (first, last)) in journals {
            let query = "SELECT first, seq, signature, key FROM head WHERE station = $1 AND epoch = $2 AND seq >= $3
                ORDER BY seq LIMIT 1";
            let query = sqlx::query(query).bind(station.as_str()).bind(&epoch).bind(last);
            let Some(head) = query.fetch_optional(self.reads()).await? else { continue };
            let (from, signed) = (head.try_get("first")?, head.try_get("seq")?);
            let (signature, key) = (head.try_get("signature")?, head.try_get("key")?);
            evidence.push(Evidence { epoch, first, last, signed, from, signature, key });
        }
        Ok(evidence)
    }

    /// Returns stored lines of one journal from number `from` on, `most` at most.
    pub async fn lines(
        &self,
        station: &StationId,
        epoch: &str,
        from: i64,
        most: i64,
    ) -> Result<Vec<StoredLine>, StoreError> {
        let query = "SELECT seq, line, hash FROM entry WHERE station = $1 AND epoch = $2 AND seq >= $3
            ORDER BY seq LIMIT $4";
        let query = sqlx::query(query).bind(station.as_str()).bind(epoch).bind(from).bind(most);
        let line = |row: &AnyRow| {
            Ok(StoredLine { seq: row.try_get("seq")?, line: row.try_get("line")?, hash: row.try_get("hash")? })
        };
        query.fetch_all(self.reads()).await?.iter().map(line).collect()
    }
}

fn tally(row: &AnyRow) -> Result<Tally, StoreError> {
    let reason: String = row.try_get("reason")?;
    Ok(Tally {
        outcome: word(&row.try_get::<String, _>("outcome")?)?,
        reason: if reason.is_empty() { None } else { Some(word(&reason)?) },
        asked: row.try_get::<i64, _>("asked")? == 1,
        times: row.try_get("times")?,
        on_time: row.try_get("on_time")?,
        heard_ms: row.try_get("heard_ms")?,
    })
}
