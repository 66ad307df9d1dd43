//! 记录: what really played by day, why the rest did not, what it comes to, and the proof; as a page, CSV, a workbook, and
//! the printed 播出信息登记本.
//!
//! The journal is read on a thread of its own: a year of it takes seconds, and plays are conducted on the daemon's.

use super::{
    Panel,
    aside::{self, apart},
    day,
    frame::{self, Frame, Place},
    words,
};
use crate::{
    clock,
    entry::Line,
    journal::{
        JournalError, SelfTest,
        export::{Csv, export},
        read::{Reader, Stored, Verdict},
        totals::{Count, Totals},
        xlsx::{MOST_ROWS, Xlsx},
    },
    outcome::{Outcome, Reason},
    text::Language,
    web::{Asked, Problem, attachment},
};
use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fs::File, io, ops::Range, path::Path, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Texts of these pages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub from: String,
    pub until: String,
    pub show: String,
    pub today: String,
    pub day_before: String,
    pub day_after: String,
    pub outcome: String,
    pub announcement: String,
    pub reason: String,
    pub any: String,
    pub nothing: String,
    pub nothing_chosen: String,
    pub more: String,
    pub due: String,
    pub started: String,
    pub length: String,
    pub evidence: String,
    pub device: String,
    pub operator: String,
    pub note: String,
    pub totals: String,
    pub times: String,
    pub minutes_due: String,
    pub minutes_heard: String,
    pub all_due: String,
    pub carry: String,
    pub carry_hint: String,
    pub csv: String,
    pub xlsx: String,
    pub book: String,
    pub check: String,
    pub check_hint: String,
    pub self_tests: String,
    pub self_tests_none: String,
    pub tested_at: String,
    pub tested_result: String,
    pub good: String,
    pub no_device: String,
    pub bad_date: String,
    pub bad_choice: String,
    pub backwards: String,
    pub too_long: String,
    pub too_many: String,
    pub check_title: String,
    pub checking: String,
    pub checked_at: String,
    pub whole: String,
    pub unsigned: String,
    pub key: String,
    pub fingerprint: String,
    pub broken: String,
    pub check_failed: String,
    pub check_again: String,
    pub back: String,
    pub book_title: String,
    pub station: String,
    pub period: String,
    pub number: String,
    pub date: String,
    pub recorder: String,
    pub reviewer: String,
    pub signed_on: String,
    pub print: String,
    pub print_hint: String,
    pub month_before: String,
    pub month_after: String,
    pub printed_at: String,
    pub other_period: String,
}

/// Days that a page shows at a time, at most.
const MOST_DAYS: i64 = 366;
/// Rows that a page lists.
const LISTED: usize = 1000;
/// Rows that the printed book holds.
const PRINTED: usize = 20_000;

/// Days from the first to the last, both within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    from: Date,
    until: Date,
}

impl Period {
    /// Returns the period that the query of `path` names; none where it names none.
    fn named(path: &str, words: &Words) -> Result<Option<Self>, Problem> {
        let day = |name| match given(path, name) {
            Some(text) => text
                .parse::<Date>()
                .map(Some)
                .map_err(|_| Problem::bad(words::fill(&words.bad_date, &[("text", &text)]))),
            None => Ok(None),
        };
        if let Some(on) = day("on")? {
            return Ok(Some(Self { from: on, until: on }));
        }
        if let Some(month) = given(path, "month") {
            let first = format!("{month}-01").parse::<Date>();
            let first = first.map_err(|_| Problem::bad(words::fill(&words.bad_date, &[("text", &month)])))?;
            return Ok(Some(Self { from: first, until: first.last_of_month() }));
        }
        match (day("from")?, day("until")?) {
            (Some(from), Some(until)) if until < from => Err(Problem::bad(words.backwards.clone())),
            (Some(from), Some(until)) => Ok(Some(Self { from, until })),
            (Some(one), None) | (None, Some(one)) => Ok(Some(Self { from: one, until: one })),
            (None, None) => Ok(None),
        }
    }

    fn is_a_day(self) -> bool {
        self.from == self.until
    }

    fn window(self, zone: &TimeZone) -> Range<Timestamp> {
        day::window(zone, self.from).start..day::window(zone, self.until).end
    }

    /// Refuses what takes a page too long.
    fn bearable(self, words: &Words) -> Result<Self, Problem> {
        let days = self.until.duration_since(self.from).as_hours() / 24 + 1;
        if days > MOST_DAYS { Err(Problem::bad(words.too_long.clone())) } else { Ok(self) }
    }
}

/// Returns a value of the query; a field left empty is as good as none.
fn given(path: &str, name: &str) -> Option<String> {
    frame::query(path, name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Which rows are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Filter {
    outcome: Option<Outcome>,
    reason: Option<Reason>,
    /// Its key.
    announcement: Option<String>,
}

impl Filter {
    fn named(path: &str, words: &Words) -> Result<Self, Problem> {
        fn one<T: DeserializeOwned>(path: &str, name: &str, words: &Words) -> Result<Option<T>, Problem> {
            let Some(text) = given(path, name) else { return Ok(None) };
            let read = serde_json::from_value(serde_json::Value::String(text.clone()));
            read.map(Some).map_err(|_| Problem::bad(words::fill(&words.bad_choice, &[("text", &text)])))
        }
        Ok(Self {
            outcome: one(path, "outcome", words)?,
            reason: one(path, "reason", words)?,
            announcement: given(path, "announcement"),
        })
    }

    fn takes(&self, line: &Line) -> bool {
        let entry = &line.entry;
        self.outcome.is_none_or(|outcome| outcome == entry.outcome)
            && self.reason.is_none_or(|reason| Some(reason) == entry.reason)
            && self.announcement.as_ref().is_none_or(|key| *key == entry.announcement)
    }
}

/// What was found in a period.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<Line>,
    /// There are more than were taken.
    more: bool,
    totals: Totals,
    /// Every announcement of the period by key, with the title it last had.
    titles: BTreeMap<String, String>,
    self_tests: Vec<SelfTest>,
}

async fn find(journal: &Path, window: Range<Timestamp>, filter: &Filter, most: usize) -> Result<Found, JournalError> {
    let mut found = Found::default();
    if !journal.exists() {
        return Ok(found);
    }
    let mut reader = Reader::open(journal).await?;
    let mut count = Count::default();
    let take = |stored: Stored| {
        let line: Line = serde_json::from_str(&stored.line)?;
        found.titles.insert(line.entry.announcement.clone(), line.entry.title.clone());
        if filter.takes(&line) {
            count.add(&line.entry);
            found.more = found.rows.len() >= most;
            if !found.more {
                found.rows.push(line);
            }
        }
        Ok::<_, JournalError>(())
    };
    reader.entries(window, take).await?;
    found.totals = count.totals();
    // What was off is written afterwards.
    found.rows.sort_by_key(|line| (line.entry.due, line.seq));
    found.self_tests = reader.self_tests().await?;
    found.self_tests.truncate(TESTS);
    Ok(found)
}

/// Self-tests that the page shows.
const TESTS: usize = 14;

/// The journal of a period.
#[derive(Debug, Serialize)]
struct View {
    station: String,
    from: Date,
    until: Date,
    filter: Filter,
    rows: Vec<Line>,
    more: bool,
    totals: Totals,
    self_tests: Vec<SelfTest>,
    #[serde(skip)]
    titles: BTreeMap<String, String>,
    #[serde(skip)]
    zone: TimeZone,
    #[serde(skip)]
    now: Timestamp,
}

impl View {
    fn is_a_day(&self) -> bool {
        self.from == self.until
    }

    fn day_before(&self) -> Date {
        self.from.saturating_sub(1.day())
    }

    fn day_after(&self) -> Date {
        self.until.saturating_add(1.day())
    }

    fn month_before(&self) -> String {
        self.from.first_of_month().saturating_sub(1.day()).strftime("%Y-%m").to_string()
    }

    fn month_after(&self) -> String {
        self.from.last_of_month().saturating_add(1.day()).strftime("%Y-%m").to_string()
    }

    fn is_filtered(&self) -> bool {
        self.filter != Filter::default()
    }

    fn day(&self, at: &Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d").to_string()
    }

    fn time(&self, at: &Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    fn due(&self, at: &Timestamp) -> String {
        if self.is_a_day() { self.time(at) } else { format!("{} {}", self.day(at), self.time(at)) }
    }

    fn printed(&self) -> String {
        format!("{} {}", self.day(&self.now), self.time(&self.now))
    }
}

/// `0:12`, rounded to the second.
fn length(ms: &i64) -> String {
    let seconds = (ms.max(&0) + 500) / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn minutes(ms: &i64) -> String {
    format!("{:.1}", *ms as f64 / 60_000.0)
}

fn said(line: &Line, language: Language) -> String {
    let outcome = line.entry.outcome.said(language);
    match line.entry.reason {
        Some(reason) => format!("{outcome} · {}", reason.said(language)),
        None => outcome.to_owned(),
    }
}

fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Played => "played",
        Outcome::Partial => "partial",
        Outcome::Skipped => "skipped",
        Outcome::Missed => "missed",
    }
}

/// The word that stands for a value in an address and in JSON.
fn code(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "journal.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a View,
}

/// `GET /journal?on=DATE` or `?from=DATE&until=DATE`, with `outcome`, `reason` and `announcement`
pub(super) async fn page(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let words = &words::Words::of(asked.language).journal;
    let seen = panel.daemon.snapshot().await?;
    let today = seen.now.to_zoned_datetime(seen.zone.clone()).date();
    let period = Period::named(&asked.path, words)?.unwrap_or(Period { from: today, until: today }).bearable(words)?;
    let filter = Filter::named(&asked.path, words)?;
    let (journal, window, chosen) = (seen.journal.clone(), period.window(&seen.zone), filter.clone());
    let mut found = panel.aside.read(move || async move { find(&journal, window, &chosen, LISTED).await }).await??;
    for schedule in &seen.program.schedules {
        for (key, announcement) in &schedule.announcements {
            found.titles.entry(key.clone()).or_insert_with(|| announcement.title.clone());
        }
    }
    let view = view(&seen, period, filter, found);
    let frame = Frame::new(asked, &seen.name, Place::Journal);
    let language = frame.asked.language;
    Ok(frame.answer(&view, &Page { frame: &frame, words, language, view: &view }))
}

fn view(seen: &crate::daemon::Snapshot, period: Period, filter: Filter, found: Found) -> View {
    let Found { rows, more, totals, titles, self_tests } = found;
    View {
        station: seen.name.clone(),
        from: period.from,
        until: period.until,
        filter,
        rows,
        more,
        totals,
        self_tests,
        titles,
        zone: seen.zone.clone(),
        now: seen.now,
    }
}

#[derive(Template)]
#[template(path = "journal-print.html")]
struct Book<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a View,
}

/// `GET /journal/print?month=YYYY-MM` or `?from=DATE&until=DATE`: 播出信息登记本, ready to print.
pub(super) async fn book(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let words = &words::Words::of(asked.language).journal;
    let seen = panel.daemon.snapshot().await?;
    let today = seen.now.to_zoned_datetime(seen.zone.clone()).date();
    let this_month = Period { from: today.first_of_month(), until: today.last_of_month() };
    let period = Period::named(&asked.path, words)?.unwrap_or(this_month).bearable(words)?;
    let (journal, window) = (seen.journal.clone(), period.window(&seen.zone));
    // Thousands of rows are also drawn on the other thread.
    panel
        .aside
        .run(move || {
            let found = apart(find(&journal, window, &Filter::default(), PRINTED))??;
            if found.more {
                let (rows, most) = (found.totals.due.times, PRINTED);
                return Err(Problem::bad(words::fill(&words.too_many, &[("rows", &rows), ("most", &most)])));
            }
            let view = view(&seen, period, Filter::default(), found);
            let frame = Frame::new(asked, &seen.name, Place::Elsewhere);
            let language = frame.asked.language;
            Ok(frame.answer(&view, &Book { frame: &frame, words, language, view: &view }))
        })
        .await?
}

/// `GET /journal.csv?from=DATE&until=DATE`: the rows with their proof, all of them without dates.
pub(super) async fn csv(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    carry(panel, asked, "csv", "text/csv; charset=utf-8").await
}

/// `GET /journal.xlsx?from=DATE&until=DATE`: the rows as a workbook, all of them without dates.
pub(super) async fn xlsx(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    carry(panel, asked, "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet").await
}

async fn carry(panel: Panel, asked: Asked, ending: &'static str, kind: &'static str) -> Result<Response, Problem> {
    let words = &words::Words::of(asked.language).journal;
    let seen = panel.daemon.snapshot().await?;
    let period = Period::named(&asked.path, words)?;
    let window = period.map_or(Timestamp::MIN..Timestamp::MAX, |period| period.window(&seen.zone));
    let data = panel.home.data();
    // Written to a file first: what goes wrong is a sentence and no half of a download.
    let written = move || async move {
        let mut reader = Reader::open(&seen.journal).await?;
        let rows = reader.count(&window).await?;
        if rows > MOST_ROWS {
            return Err(Problem::bad(words::fill(&words.too_many, &[("rows", &rows), ("most", &MOST_ROWS)])));
        }
        let file = aside::nameless(&data)?;
        let to = file.try_clone().map_err(|error| aside::no_room(&error))?;
        if ending == "csv" {
            write_csv(&mut reader, &data, window, to, seen.zone).await?;
        } else {
            write_xlsx(&mut reader, window, to, seen.zone).await?;
        }
        Ok(file)
    };
    let file = panel.aside.read(written).await??;
    let days = match period {
        None => String::new(),
        Some(period) if period.is_a_day() => format!("-{}", period.from),
        Some(Period { from, until }) => format!("-{from}-{until}"),
    };
    attachment(file, kind, &format!("dalaba-journal{days}.{ending}"))
}

async fn write_csv(
    reader: &mut Reader,
    data: &Path,
    window: Range<Timestamp>,
    to: File,
    zone: TimeZone,
) -> Result<(), Problem> {
    let no_room = |error: csv::Error| aside::no_room(&error.into());
    let mut csv = Csv::new(io::BufWriter::new(to), zone).map_err(no_room)?;
    export(reader, data, clock::wall(), window, |row| csv.row(row).map_err(no_room)).await?;
    csv.finish().map_err(|error| aside::no_room(&error))
}

async fn write_xlsx(reader: &mut Reader, window: Range<Timestamp>, to: File, zone: TimeZone) -> Result<(), Problem> {
    let failed = |error: rust_xlsxwriter::XlsxError| aside::no_room(&io::Error::other(error));
    let mut xlsx = Xlsx::new(zone).map_err(failed)?;
    let take = |stored: Stored| {
        let line = serde_json::from_str(&stored.line).map_err(JournalError::from)?;
        xlsx.row(&line, &stored.hash).map_err(failed)
    };
    reader.entries(window, take).await?;
    xlsx.finish(to).map_err(failed)
}

/// How a verification stands.
#[derive(Debug, Clone)]
enum Check {
    Never,
    Running,
    Done { at: Timestamp, verdict: Arc<Result<Verdict, String>> },
}

/// The verifications of the journal: one at a time, and the last one's verdict.
#[derive(Debug, Clone)]
pub(super) struct Checks(watch::Sender<Check>);

impl Default for Checks {
    fn default() -> Self {
        Self(watch::Sender::new(Check::Never))
    }
}

/// How long an answer waits for a verdict; after that the page asks again.
const VERDICT: Duration = Duration::from_secs(3);

impl Checks {
    /// Starts a verification unless one is on its way.
    fn start(&self, journal: std::path::PathBuf) {
        let starts = self.0.send_if_modified(|check| {
            let starts = !matches!(check, Check::Running);
            if starts {
                *check = Check::Running;
            }
            starts
        });
        if starts {
            let checks = self.0.clone();
            tokio::task::spawn_blocking(move || {
                let verify = async { Reader::open(&journal).await?.verify().await };
                let verdict = match apart(verify) {
                    Ok(verdict) => verdict.map_err(|error| error.to_string()),
                    Err(problem) => Err(problem.said),
                };
                checks.send_replace(Check::Done { at: clock::wall(), verdict: Arc::new(verdict) });
            });
        }
    }

    /// Waits a little for the verdict, and returns how it stands.
    async fn look(&self) -> Check {
        let mut changes = self.0.subscribe();
        let verdict = changes.wait_for(|check| !matches!(check, Check::Running));
        // Whatever it was that ended the waiting, the state says how it stands.
        let _ = tokio::time::timeout(VERDICT, verdict).await;
        self.0.borrow().clone()
    }
}

/// What a verification found.
#[derive(Debug, Serialize)]
struct CheckView {
    running: bool,
    at: Option<Timestamp>,
    whole: Option<bool>,
    rows: Option<i64>,
    signed: Option<i64>,
    key: Option<String>,
    fingerprint: Option<String>,
    /// The first row that is broken, and why.
    broken: Option<(i64, String)>,
    failed: Option<String>,
}

impl CheckView {
    fn of(check: &Check, language: Language) -> Self {
        let mut view = Self {
            running: matches!(check, Check::Running),
            at: None,
            whole: None,
            rows: None,
            signed: None,
            key: None,
            fingerprint: None,
            broken: None,
            failed: None,
        };
        let Check::Done { at, verdict } = check else { return view };
        view.at = Some(*at);
        match verdict.as_ref() {
            Ok(Verdict::Whole { rows, signed, key }) => {
                (view.whole, view.rows, view.signed) = (Some(true), Some(*rows), Some(*signed));
                view.key = key.map(|key| key.to_string());
                view.fingerprint = key.map(|key| key.fingerprint());
            }
            Ok(Verdict::Broken { seq, why }) => {
                (view.whole, view.broken) = (Some(false), Some((*seq, why.in_language(language).to_owned())));
            }
            Err(why) => view.failed = Some(why.clone()),
        }
        view
    }

    /// Returns the verdict in words.
    fn said(&self, words: &Words) -> String {
        match (&self.broken, &self.failed, self.rows, self.signed) {
            (Some((seq, why)), ..) => words::fill(&words.broken, &[("seq", seq), ("why", why)]),
            (_, Some(why), ..) => words::fill(&words.check_failed, &[("why", why)]),
            (_, _, Some(rows), Some(0)) => words::fill(&words.unsigned, &[("rows", &rows)]),
            (_, _, Some(rows), Some(signed)) => words::fill(&words.whole, &[("rows", &rows), ("signed", &signed)]),
            _ => words.checking.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "journal-check.html")]
struct CheckPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a CheckView,
    at: Option<String>,
}

/// `GET /journal/check`: the verdict on the whole journal; with `again` a new one is sought.
pub(super) async fn check(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let again = given(&asked.path, "again").is_some();
    if again || matches!(*panel.checks.0.borrow(), Check::Never) {
        panel.checks.start(seen.journal.clone());
    }
    if again && !asked.wants_json {
        // So that a reload looks and does not begin anew.
        return Ok(crate::web::go_to("/journal/check"));
    }
    let view = CheckView::of(&panel.checks.look().await, asked.language);
    let at = view.at.map(|at| at.to_zoned_datetime(seen.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string());
    let frame = Frame::new(asked, &seen.name, Place::Journal);
    let words = &frame.words.journal;
    Ok(frame.answer(&view, &CheckPage { frame: &frame, words, view: &view, at }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Said;

    fn words() -> &'static Words {
        &words::Words::of(Language::English).journal
    }

    #[test]
    fn an_address_names_a_day_a_month_or_days_from_the_first_to_the_last() {
        for (query, expected) in [
            ("", "none"),
            ("?on=", "none"),
            ("?said=x&on=2026-06-17", "2026-06-17 2026-06-17"),
            ("?on=2026-06-17&from=2026-01-01", "2026-06-17 2026-06-17"),
            ("?from=2026-06-17&until=2026-06-19", "2026-06-17 2026-06-19"),
            ("?from=2026-06-17&until=+", "2026-06-17 2026-06-17"),
            ("?until=2026-06-17", "2026-06-17 2026-06-17"),
            ("?month=2024-02", "2024-02-01 2024-02-29"),
            ("?month=2026-13", "422 “2026-13” is no date"),
            ("?on=yesterday", "422 “yesterday” is no date"),
            ("?from=2026-06-31", "422 “2026-06-31” is no date"),
            ("?from=2026-06-19&until=2026-06-17", "422 The last day lies before the first"),
            ("?from=2024-01-01&until=2024-12-31", "2024-01-01 2024-12-31"),
            ("?from=2024-01-01&until=2025-01-01", "422 366 days at a time"),
            ("?from=-009999-01-01&until=9999-12-31", "422 366 days at a time"),
        ] {
            let named = Period::named(&format!("/journal{query}"), words());
            let said = match named.and_then(|period| period.map(|period| period.bearable(words())).transpose()) {
                Ok(None) => "none".to_owned(),
                Ok(Some(Period { from, until })) => format!("{from} {until}"),
                Err(problem) => format!("{} {}", problem.status.as_u16(), problem.said),
            };
            assert!(said.starts_with(expected), "{query}: {said}");
        }
    }

    #[test]
    fn a_choice_is_of_the_list_or_refused_with_what_was_written() {
        let chosen = |query: &str| Filter::named(&format!("/journal?{query}"), words()).map_err(|problem| problem.said);
        let missed = Filter {
            outcome: Some(Outcome::Missed),
            reason: Some(Reason::StationDown),
            announcement: Some("早间".into()),
        };
        assert_eq!(chosen("outcome=missed&reason=station-down&announcement=%E6%97%A9%E9%97%B4"), Ok(missed));
        assert_eq!(chosen("outcome=&reason=&announcement="), Ok(Filter::default()));
        for query in ["outcome=lost", "reason=%3Cscript%3E"] {
            assert!(chosen(query).unwrap_err().contains("to choose"), "{query}");
        }
    }

    #[test]
    fn a_length_is_rounded_to_the_second() {
        for (ms, expected) in
            [(0, "0:00"), (499, "0:00"), (500, "0:01"), (59_500, "1:00"), (3_600_000, "60:00"), (-5, "0:00")]
        {
            assert_eq!(length(&ms), expected, "{ms}");
        }
    }

    #[test]
    fn a_verdict_is_said_in_words() {
        let verdict = |verdict| Check::Done { at: Timestamp::UNIX_EPOCH, verdict: Arc::new(verdict) };
        for (check, expected) in [
            (Check::Never, "Being verified"),
            (Check::Running, "Being verified"),
            (verdict(Ok(Verdict::Whole { rows: 7, signed: 0, key: None })), "Every row follows from the one before: 7"),
            (
                verdict(Ok(Verdict::Whole { rows: 7, signed: 5, key: None })),
                "The journal is whole: 7 rows, none changed; signed by the station up to row 5",
            ),
            (
                verdict(Ok(Verdict::Broken { seq: 3, why: Said::new("内容", "the content") })),
                "Row 3 is the first that is wrong: the content",
            ),
            (verdict(Err("disk".into())), "It could not be verified: disk"),
        ] {
            let said = CheckView::of(&check, Language::English).said(words());
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
