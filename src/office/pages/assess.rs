//! 考评: a month of every station on one page, to print and as a workbook; a station's month day by day, with the files
//! that prove it; a year month by month.
//!
//! What is counted and how: [`crate::office::assess`]. A workbook is written on a thread of its own, few at a time.

use super::{
    Pages,
    frame::{Frame, Place, Times, fill, query},
    words::Words as AllWords,
};
use crate::{
    clock,
    link::{GroupName, StationId},
    office::{
        assess::{
            Assessment, ByReason, Class, DayState, Month, Numbers, Row, Span, Unplaced, assess, days,
            definitions::{Definition, definitions, reasons},
            evidence::{self, EvidenceError, Form},
            xlsx::{MOST_ROWS, Xlsx},
        },
        store::{Found, Search},
    },
    text::Language,
    web::{Asked, Problem, attachment, nameless, no_room},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, collections::BTreeSet, fs::File, io};
use tokio::sync::{Semaphore, mpsc};

/// Texts of these pages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub month: String,
    pub group: String,
    pub any: String,
    pub no_group: String,
    pub look: String,
    pub month_before: String,
    pub month_after: String,
    pub year: String,
    pub year_before: String,
    pub year_after: String,
    pub running: String,
    pub none: String,
    pub all: String,
    pub together: String,
    pub ranking: String,
    pub station: String,
    pub place: String,
    pub score: String,
    pub rate: String,
    pub fair_rate: String,
    pub punctuality: String,
    pub planned: String,
    pub played: String,
    pub on_time: String,
    pub made_up: String,
    pub partial: String,
    pub missed: String,
    pub excused: String,
    pub blamed: String,
    pub chosen: String,
    pub asked: String,
    pub minutes: String,
    pub days: String,
    pub silent: String,
    pub online: String,
    pub groups: String,
    pub stations: String,
    pub reasons: String,
    pub reason: String,
    pub class: String,
    pub no_reasons: String,
    pub carry: String,
    pub print_page: String,
    pub xlsx: String,
    pub too_many: String,
    pub definitions: String,
    pub searching: String,
    pub bad_month: String,
    pub bad_year: String,
    pub back: String,
    pub by_day: String,
    pub by_month: String,
    pub day: String,
    pub state: String,
    pub recorded: String,
    pub unplanned: String,
    pub no_record: String,
    pub not_over: String,
    pub evidence: String,
    pub evidence_hint: String,
    pub no_evidence: String,
    pub evidence_file: String,
    pub as_csv: String,
    pub as_json: String,
    pub not_counted: String,
    pub print: String,
    pub print_hint: String,
    pub printed_at: String,
    pub compiled_by: String,
    pub reviewed_by: String,
    pub signed_on: String,
}

/// Files that are being written at a time, at most.
static WRITING: Semaphore = Semaphore::const_new(2);
/// Rows read at a time for a workbook.
const PAGE: usize = 1000;
/// Pages on their way to the thread that writes them.
const AHEAD: usize = 2;

/// What is looked at.
#[derive(Debug, Clone)]
struct Chosen {
    month: Month,
    group: Option<GroupName>,
    now: Timestamp,
}

impl Chosen {
    fn named(pages: &Pages, asked: &Asked) -> Result<Self, Problem> {
        let words = &AllWords::of(asked.language).assess;
        let now = clock::wall();
        let given = |name| query(&asked.path, name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let month = match given("month") {
            Some(text) => text.parse().map_err(|_| Problem::bad(fill(&words.bad_month, &[("text", &text)])))?,
            None => Month::of(now.to_zoned_datetime(pages.office.zone.clone()).date()),
        };
        let group = given("group");
        let no_group = |text: &String| Problem::bad(fill(&words.no_group, &[("text", text)]));
        let group = group.map(|text| text.clone().try_into().map_err(|_| no_group(&text))).transpose()?;
        Ok(Self { month, group, now })
    }

    /// The same for another month, as the query of an address.
    fn query(&self, month: Month) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("month", &month.to_string());
        if let Some(group) = &self.group {
            query.append_pair("group", group.as_str());
        }
        query.finish()
    }
}

/// 考评 of a month, of all or of a group.
#[derive(Debug, Serialize)]
struct View {
    office: String,
    group: Option<GroupName>,
    #[serde(flatten)]
    report: Assessment,
    #[serde(skip)]
    chosen: Chosen,
    /// Every group that there is.
    #[serde(skip)]
    every_group: BTreeSet<GroupName>,
}

impl View {
    async fn of(pages: &Pages, office: String, chosen: Chosen) -> Result<Self, Problem> {
        let zone = &pages.office.zone;
        let mut records = pages.office.store.month_records(chosen.month, None, chosen.now, zone).await?;
        let every_group = records.iter().flat_map(|record| record.subject.groups.iter().cloned()).collect();
        if let Some(group) = &chosen.group {
            records.retain(|record| record.subject.groups.contains(group));
        }
        let report = assess(chosen.month, &records, chosen.now, zone);
        Ok(Self { office, group: chosen.group.clone(), report, chosen, every_group })
    }

    fn query(&self) -> String {
        self.chosen.query(self.report.month)
    }

    fn before(&self) -> String {
        self.chosen.query(self.report.month.before())
    }

    fn after(&self) -> String {
        self.chosen.query(self.report.month.after())
    }

    /// Rows that a workbook of it has.
    fn rows(&self) -> i64 {
        let of = |row: &Row| row.numbers.planned + row.numbers.chosen + row.numbers.asked;
        self.report.stations.iter().map(of).sum()
    }
}

/// `97.5%`; a stroke where there is nothing to divide.
fn percent(rate: impl Borrow<Option<f64>>) -> String {
    rate.borrow().map_or_else(|| "–".to_owned(), |rate| format!("{:.1}%", rate * 100.0))
}

fn minutes(numbers: &Numbers) -> String {
    format!("{:.0}", numbers.minutes())
}

/// How good it is at a glance.
fn class(numbers: &Numbers) -> &'static str {
    match numbers.score() {
        Some(score) if score >= 0.95 => "played",
        Some(score) if score >= 0.8 => "partial",
        Some(_) => "missed",
        None if numbers.silent > 0 => "missed",
        None => "skipped",
    }
}

/// How bad a reason is at a glance.
fn look(by: &ByReason) -> &'static str {
    match by.class {
        Class::Chosen => "skipped",
        Class::Excused => "partial",
        Class::Blamed => "missed",
    }
}

fn place(row: &Row, language: &Language) -> String {
    match row.place {
        Some(place) => place.to_string(),
        None => row.unplaced.map_or_else(String::new, |why: Unplaced| why.said(*language).to_owned()),
    }
}

#[derive(Template)]
#[template(path = "assess.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a View,
    definitions: Vec<Definition>,
    classes: Vec<(String, String)>,
}

/// `GET /assess?month=2026-11&group=NAME`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let view = View::of(&pages, about.name.clone(), Chosen::named(&pages, &asked)?).await?;
    let frame = Frame::new(asked, &about.name, Place::Assess);
    let (words, language) = (&frame.words.assess, frame.asked.language);
    let (definitions, classes) = (definitions(), reasons(language));
    Ok(frame.answer(&view, &Page { frame: &frame, words, language, view: &view, definitions, classes }))
}

#[derive(Template)]
#[template(path = "assess-print.html")]
struct Sheet<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a View,
    times: Times,
    definitions: Vec<Definition>,
    classes: Vec<(String, String)>,
}

/// `GET /assess/print?month=2026-11&group=NAME`: the same, ready to print.
pub(super) async fn sheet(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let times = pages.times(asked.language);
    let view = View::of(&pages, about.name.clone(), Chosen::named(&pages, &asked)?).await?;
    let frame = Frame::new(asked, &about.name, Place::Elsewhere);
    let (words, language) = (&frame.words.assess, frame.asked.language);
    let (definitions, classes) = (definitions(), reasons(language));
    Ok(frame.answer(&view, &Sheet { frame: &frame, words, language, view: &view, times, definitions, classes }))
}

/// `GET /assess.xlsx?month=2026-11&group=NAME`, or `&station=ID`
pub(super) async fn workbook(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let chosen = Chosen::named(&pages, &asked)?;
    let month = chosen.month;
    let mut view = View::of(&pages, about.name, chosen).await?;
    let station = query(&asked.path, "station").filter(|text| !text.is_empty());
    if let Some(station) = &station {
        view.report.stations.retain(|row| row.station.as_str() == station);
        let records = match view.report.stations.first() {
            Some(row) => {
                let zone = &pages.office.zone;
                pages.office.store.month_records(month, Some(&row.station), view.chosen.now, zone).await?
            }
            None => return Err(Problem::missing(&asked)),
        };
        view.report = assess(month, &records, view.chosen.now, &pages.office.zone);
    }
    let file = write_workbook(&pages, view).await?;
    let of = station.map(|station| format!("-{station}")).unwrap_or_default();
    let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    attachment(file, kind, &format!("dalaba-assessment-{month}{of}.xlsx"))
}

async fn write_workbook(pages: &Pages, view: View) -> Result<File, Problem> {
    let _turn = WRITING.acquire().await.map_err(|error| Problem::failed(error.to_string()))?;
    let file = nameless(&pages.office.home)?;
    let to = file.try_clone().map_err(|error| no_room(&error))?;
    let has_raw = view.rows() <= MOST_ROWS;
    let stations: Vec<_> = view.report.stations.iter().map(|row| (row.station.clone(), row.first, row.last)).collect();
    let (send, mut receive) = mpsc::channel::<Vec<Found>>(AHEAD);
    let zone = pages.office.zone.clone();
    let writer = tokio::task::spawn_blocking(move || {
        let mut xlsx = Xlsx::new(&view.office, &view.report, zone, has_raw)?;
        while let Some(rows) = receive.blocking_recv() {
            rows.iter().try_for_each(|row| xlsx.row(row))?;
        }
        xlsx.finish(io::BufWriter::new(to))
    });
    for (station, first, last) in stations.into_iter().filter(|_| has_raw) {
        let search = Search { station: Some(station), ..Search::days(first, last) };
        let mut found = pages.office.store.days_found(&search).await?;
        found.reverse();
        for (day, _) in found {
            let mut after = None;
            loop {
                let rows = pages.office.store.rows_of_day(&search, day, after.as_ref(), PAGE).await?;
                after = rows.last().map(crate::office::store::Mark::of);
                let is_full = rows.len() == PAGE;
                // The writer says why it takes no more.
                if send.send(rows).await.is_err() || !is_full {
                    break;
                }
            }
        }
    }
    drop(send);
    let written = writer.await.map_err(|error| Problem::failed(error.to_string()))?;
    written.map_err(|error| no_room(&io::Error::other(error)))?;
    Ok(file)
}

/// A day of a station.
#[derive(Debug, Serialize)]
struct Day {
    date: Date,
    state: DayState,
    #[serde(flatten)]
    numbers: Numbers,
}

/// A month of a station or of all.
#[derive(Debug, Serialize)]
struct InYear {
    month: Month,
    score: Option<f64>,
    #[serde(flatten)]
    numbers: Numbers,
}

/// A file that proves a journal's month.
#[derive(Debug, Serialize)]
struct Proof {
    epoch: String,
    first: i64,
    last: i64,
    signed: i64,
}

/// A station's month.
#[derive(Debug, Serialize)]
struct StationView {
    month: Month,
    station: StationId,
    name: String,
    /// None where no day of the month counts.
    row: Option<Row>,
    days: Vec<Day>,
    months: Vec<InYear>,
    evidence: Vec<Proof>,
    /// Its public key, to be held against the files.
    key: String,
}

#[derive(Template)]
#[template(path = "assess-station.html")]
struct StationPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a StationView,
}

impl StationPage<'_> {
    fn state(&self, state: &DayState) -> &'static str {
        match state {
            DayState::Recorded => &self.words.recorded,
            DayState::Unplanned => &self.words.unplanned,
            DayState::Silent => &self.words.no_record,
            DayState::Running => &self.words.not_over,
        }
    }

    /// What one of the files holds.
    fn file(&self, proof: &Proof) -> String {
        let (first, last, signed) = (&proof.first, &proof.last, &proof.signed);
        fill(&self.words.evidence_file, &[("first", first), ("last", last), ("signed", signed)])
    }
}

/// `GET /assess/{station}?month=2026-11`
pub(super) async fn station(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let Chosen { month, now, .. } = Chosen::named(&pages, &asked)?;
    let (store, zone) = (&pages.office.store, &pages.office.zone);
    let id = StationId::try_from(id).map_err(|_| Problem::missing(&asked))?;
    let station = store.station(&id).await?.ok_or_else(|| Problem::missing(&asked))?;
    let records = store.month_records(month, Some(&id), now, zone).await?;
    let mut each = Vec::new();
    if let [record] = &records[..] {
        let today = now.to_zoned_datetime(zone.clone()).date();
        let tallies = store.tallies_by_day(&id, record.counted).await?;
        for date in days(record.counted.first, record.counted.last) {
            let mut numbers = Numbers::default();
            tallies.get(&date).into_iter().flatten().for_each(|tally| numbers.add(tally));
            each.push(Day { date, state: record.state(date, today), numbers });
        }
    }
    let proof = |found: crate::office::store::Evidence| {
        let crate::office::store::Evidence { epoch, first, last, signed, .. } = found;
        Proof { epoch, first, last, signed }
    };
    let evidence = store.evidence(&id, Span { first: month.first(), last: month.last() }).await?;
    let view = StationView {
        month,
        name: station.name,
        key: station.key,
        row: assess(month, &records, now, zone).stations.pop(),
        days: each,
        months: year(&pages, month.year(), Some(&id), None, now).await?,
        evidence: evidence.into_iter().map(proof).collect(),
        station: id,
    };
    let frame = Frame::new(asked, &about.name, Place::Assess);
    let (words, language) = (&frame.words.assess, frame.asked.language);
    Ok(frame.answer(&view, &StationPage { frame: &frame, words, language, view: &view }))
}

/// The months of a year that have begun, of one station, of a group, or of all.
async fn year(
    pages: &Pages,
    year: i16,
    station: Option<&StationId>,
    group: Option<&GroupName>,
    now: Timestamp,
) -> Result<Vec<InYear>, Problem> {
    let (store, zone) = (&pages.office.store, &pages.office.zone);
    let today = now.to_zoned_datetime(zone.clone()).date();
    let Ok(january) = Date::new(year, 1, 1) else { return Ok(Vec::new()) };
    let (mut month, mut months) = (Month::of(january), Vec::new());
    while month.year() == year && month.first() <= today {
        let mut records = store.month_records(month, station, now, zone).await?;
        if let Some(group) = group {
            records.retain(|record| record.subject.groups.contains(group));
        }
        if !records.is_empty() {
            let numbers = assess(month, &records, now, zone).total;
            months.push(InYear { month, score: numbers.score(), numbers });
        }
        month = month.after();
    }
    Ok(months)
}

/// A year, month by month.
#[derive(Debug, Serialize)]
struct YearView {
    year: i16,
    group: Option<GroupName>,
    months: Vec<InYear>,
    #[serde(skip)]
    chosen: Chosen,
}

impl YearView {
    fn query(&self, by: i16) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("year", &(self.year + by).to_string());
        if let Some(group) = &self.group {
            query.append_pair("group", group.as_str());
        }
        query.finish()
    }

    fn month(&self, month: &Month) -> String {
        self.chosen.query(*month)
    }
}

#[derive(Template)]
#[template(path = "assess-year.html")]
struct YearPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a YearView,
}

/// `GET /assess/year?year=2026&group=NAME`
pub(super) async fn whole_year(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let chosen = Chosen::named(&pages, &asked)?;
    let number = match query(&asked.path, "year") {
        Some(text) => {
            let words = &AllWords::of(asked.language).assess;
            let number = text.trim().parse().ok().filter(|number| (1..=9998_i16).contains(number));
            number.ok_or_else(|| Problem::bad(fill(&words.bad_year, &[("text", &text)])))?
        }
        None => chosen.month.year(),
    };
    let months = year(&pages, number, None, chosen.group.as_ref(), chosen.now).await?;
    let view = YearView { year: number, group: chosen.group.clone(), months, chosen };
    let frame = Frame::new(asked, &about.name, Place::Assess);
    let words = &frame.words.assess;
    Ok(frame.answer(&view, &YearPage { frame: &frame, words, view: &view }))
}

/// `GET /assess/{station}/evidence?month=2026-11&epoch=JOURNAL&form=csv`: what `dalaba journal --verify` proves.
pub(super) async fn proof(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let month = Chosen::named(&pages, &asked)?.month;
    let id = StationId::try_from(id).map_err(|_| Problem::missing(&asked))?;
    let span = Span { first: month.first(), last: month.last() };
    let found = pages.office.store.evidence(&id, span).await?;
    let wanted = query(&asked.path, "epoch");
    let position = match &wanted {
        Some(epoch) => found.iter().position(|one| one.epoch == *epoch),
        None => (!found.is_empty()).then_some(0),
    };
    let position = position.ok_or_else(|| Problem::missing(&asked))?;
    let (form, kind, ending) = match query(&asked.path, "form").as_deref() {
        Some("csv") => (Form::Csv, "text/csv; charset=utf-8", "csv"),
        _ => (Form::Json, "application/x-ndjson; charset=utf-8", "jsonl"),
    };
    let _turn = WRITING.acquire().await.map_err(|error| Problem::failed(error.to_string()))?;
    let file = nameless(&pages.office.home)?;
    let to = file.try_clone().map_err(|error| no_room(&error))?;
    let zone = pages.office.zone.clone();
    evidence::write(&pages.office.store, &id, &found[position], form, zone, to).await?;
    let number = if found.len() > 1 { format!("-{}", position + 1) } else { String::new() };
    attachment(file, kind, &format!("dalaba-journal-{id}-{month}{number}.{ending}"))
}

impl From<EvidenceError> for Problem {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Store(error) => error.into(),
            EvidenceError::Io(error) => no_room(&error),
            EvidenceError::Missing { .. } => {
                Self::failed(format!("{error} a row is missing in the office's database: check it or restore it"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_to_a_tenth_and_nothing_is_a_stroke() {
        for (rate, expected) in [(Some(1.0), "100.0%"), (Some(0.9749), "97.5%"), (Some(0.0), "0.0%"), (None, "–")] {
            assert_eq!(percent(rate), expected);
        }
    }

    #[test]
    fn what_is_good_what_is_poor_and_what_is_unknown_look_different() {
        let of = |planned, played, silent| Numbers { planned, played, silent, days: 30, ..Numbers::default() };
        for (numbers, expected) in [
            (of(100, 95, 0), "played"),
            (of(100, 94, 0), "partial"),
            (of(100, 79, 0), "missed"),
            (of(100, 100, 15), "missed"),
            (of(0, 0, 30), "missed"),
            (of(0, 0, 0), "skipped"),
        ] {
            assert_eq!(class(&numbers), expected, "{numbers:?}");
        }
    }
}
