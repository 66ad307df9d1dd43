//! 播出记录: what any station played and why the rest did not, looked for by day, station, announcement, outcome and reason.

use super::{
    Pages,
    frame::{Frame, Place, fill, query},
    words::Words as AllWords,
};
use crate::{
    clock,
    link::StationId,
    office::store::{Found, Mark, Search, Station, StationState},
    outcome::{Outcome, Reason},
    text::Language,
    web::{Asked, Problem},
};
use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub from: String,
    pub until: String,
    pub station: String,
    pub announcement: String,
    pub outcome: String,
    pub reason: String,
    pub any: String,
    pub look: String,
    pub none: String,
    pub found: String,
    pub due: String,
    pub late: String,
    pub heard: String,
    pub number: String,
    pub seconds: String,
    pub more: String,
    pub newest: String,
    pub bad_date: String,
    pub bad_choice: String,
    pub backwards: String,
    pub too_long: String,
    pub too_wide: String,
    pub no_station: String,
    pub several: String,
}

/// Rows on one page.
const PAGE: usize = 100;
/// Days looked through at a time, at most.
const MOST_DAYS: i32 = 366;
/// The same for an announcement at whatever station: every row of those days is looked at.
const MOST_DAYS_OF_ALL: i32 = 31;

fn given(path: &str, name: &str) -> Option<String> {
    query(path, name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Reads what is looked for; a day or all else left out is today.
fn named(path: &str, words: &Words, stations: &[Station], today: Date) -> Result<Search, Problem> {
    let day = |name| match given(path, name) {
        Some(text) => match text.parse::<Date>() {
            Ok(day) if day.year() > 0 => Ok(Some(day)),
            _ => Err(Problem::bad(fill(&words.bad_date, &[("text", &text)]))),
        },
        None => Ok(None),
    };
    fn one<T: DeserializeOwned>(path: &str, name: &str, words: &Words) -> Result<Option<T>, Problem> {
        let Some(text) = given(path, name) else { return Ok(None) };
        let read = serde_json::from_value(serde_json::Value::String(text.clone()));
        read.map(Some).map_err(|_| Problem::bad(fill(&words.bad_choice, &[("text", &text)])))
    }
    let (from, until) = match (day("from")?, day("until")?) {
        (Some(from), Some(until)) => (from, until),
        (Some(one), None) | (None, Some(one)) => (one, one),
        (None, None) => (today, today),
    };
    let search = Search {
        from,
        until,
        station: given(path, "station").map(|text| station_named(&text, words, stations)).transpose()?,
        announcement: given(path, "announcement"),
        outcome: one(path, "outcome", words)?,
        reason: one(path, "reason", words)?,
    };
    let count = from.until(until).map_or(i32::MAX, |span| span.get_days()) + 1;
    if count < 1 {
        return Err(Problem::bad(words.backwards.clone()));
    }
    if count > MOST_DAYS {
        return Err(Problem::bad(words.too_long.clone()));
    }
    if count > MOST_DAYS_OF_ALL && search.announcement.is_some() && search.station.is_none() {
        return Err(Problem::bad(words.too_wide.clone()));
    }
    Ok(search)
}

/// Returns the station that a text names: by its id, by its name, or by a part of a name that no other has.
fn station_named(text: &str, words: &Words, stations: &[Station]) -> Result<StationId, Problem> {
    if let Some(station) = stations.iter().find(|station| station.id.as_str() == text) {
        return Ok(station.id.clone());
    }
    let exactly: Vec<_> = stations.iter().filter(|station| station.name == text).collect();
    let partly = || stations.iter().filter(|station| station.name.contains(text)).collect();
    let named: Vec<&Station> = if exactly.is_empty() { partly() } else { exactly };
    match &named[..] {
        [station] => Ok(station.id.clone()),
        [] => Err(Problem::bad(fill(&words.no_station, &[("text", &text)]))),
        several => {
            let ids: Vec<_> = several.iter().take(10).map(|station| station.id.as_str()).collect();
            Err(Problem::bad(fill(&words.several, &[("text", &text), ("ids", &ids.join(" "))])))
        }
    }
}

/// Reads the mark behind which a page begins: `DATE STATION NUMBER JOURNAL`.
fn mark(text: &str) -> Option<Mark> {
    let mut parts = text.splitn(4, ' ');
    let (date, station) = (parts.next()?.parse().ok()?, parts.next()?.to_owned().try_into().ok()?);
    Some(Mark { date, station, seq: parts.next()?.parse().ok()?, epoch: parts.next()?.to_owned() })
}

/// The rows that were found.
#[derive(Debug, Serialize)]
struct View {
    search: Search,
    /// How many there are in all; none where they would have to be counted one by one.
    total: Option<i64>,
    rows: Vec<Found>,
    /// Where the next page begins: to be sent as `after`.
    next: Option<String>,
    #[serde(skip)]
    names: BTreeMap<StationId, String>,
    /// What was written for the station.
    #[serde(skip)]
    station: String,
    #[serde(skip)]
    zone: TimeZone,
}

impl View {
    fn due(&self, at: &Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn name<'a>(&'a self, station: &'a StationId) -> &'a str {
        self.names.get(station).map_or(station.as_str(), String::as_str)
    }

    /// The address of the page behind the mark, or of the first.
    fn address(&self, after: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("from", &self.search.from.to_string()).append_pair("until", &self.search.until.to_string());
        let reason = self.search.reason.as_ref().map(code).unwrap_or_default();
        let outcome = self.search.outcome.as_ref().map(code).unwrap_or_default();
        let announcement = self.search.announcement.clone().unwrap_or_default();
        for (name, value) in [
            ("station", self.station.as_str()),
            ("announcement", &announcement),
            ("outcome", &outcome),
            ("reason", &reason),
            ("after", after),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        format!("/journal?{}", query.finish())
    }
}

/// The word that stands for a value in an address and in JSON.
fn code(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Played => "played",
        Outcome::Partial => "partial",
        Outcome::Skipped => "skipped",
        Outcome::Missed => "missed",
    }
}

fn seconds(ms: &i64) -> String {
    format!("{:.1}", *ms as f64 / 1000.0)
}

#[derive(Template)]
#[template(path = "as-run.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a View,
}

impl Page<'_> {
    fn found(&self) -> Option<String> {
        self.view.total.map(|total| fill(&self.words.found, &[("n", &total)]))
    }
}

/// `GET /journal?from=DATE&until=DATE&station=…&announcement=…&outcome=…&reason=…`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let (store, zone) = (&pages.office.store, pages.office.zone.clone());
    let mut stations = store.stations().await?;
    stations.retain(|station| station.state != StationState::Pending);
    let today = clock::wall().to_zoned_datetime(zone.clone()).date();
    let words = &AllWords::of(asked.language).journal;
    let search = named(&asked.path, words, &stations, today)?;
    let after = given(&asked.path, "after").and_then(|text| mark(&text));
    let mut rows = store.search(&search, after.as_ref(), PAGE + 1).await?;
    let has_more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows.last().filter(|_| has_more).map(|last| {
        let Found { date, station, seq, epoch, .. } = last;
        format!("{date} {station} {seq} {epoch}")
    });
    let total = match search.announcement {
        Some(_) => None,
        None => Some(store.days_found(&search).await?.into_iter().map(|(_, times)| times).sum()),
    };
    let names = stations.into_iter().map(|station| (station.id, station.name)).collect();
    let station = given(&asked.path, "station").unwrap_or_default();
    let view = View { search, total, rows, next, names, station, zone };
    let frame = Frame::new(asked, &about.name, Place::Journal);
    let (words, language) = (&frame.words.journal, frame.asked.language);
    Ok(frame.answer(&view, &Page { frame: &frame, words, language, view: &view }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn words() -> &'static Words {
        &AllWords::of(Language::English).journal
    }

    fn station(id: &str, name: &str) -> Station {
        Station {
            id: id.to_owned().try_into().unwrap(),
            name: name.into(),
            key: String::new(),
            division: "330127104".to_owned().try_into().unwrap(),
            groups: BTreeSet::new(),
            state: StationState::Active,
            asked: Timestamp::UNIX_EPOCH,
            confirmed: None,
            next_key: None,
            plan_revision: 0,
            wants: 0,
            heard: None,
            sounded: None,
            up: true,
        }
    }

    #[test]
    fn an_address_says_what_is_looked_for_or_is_refused_with_what_was_written() {
        let stations = [station("beizhuang", "北庄"), station("bei-2", "北庄二组"), station("nan", "南庄")];
        let today = jiff::civil::date(2026, 11, 25);
        for (query, expected) in [
            ("", "2026-11-25 2026-11-25"),
            ("?from=2026-11-01&until=2026-11-30", "2026-11-01 2026-11-30"),
            ("?from=2026-11-01", "2026-11-01 2026-11-01"),
            ("?station=nan", "2026-11-25 2026-11-25 nan"),
            ("?station=%E5%8C%97%E5%BA%84", "2026-11-25 2026-11-25 beizhuang"),
            ("?station=%E4%BA%8C%E7%BB%84", "2026-11-25 2026-11-25 bei-2"),
            ("?station=%E5%8C%97", "“北” may be"),
            ("?station=%E4%B8%9C", "No station"),
            ("?outcome=missed&reason=station-down&announcement=+x+", "2026-11-25 2026-11-25 x Missed StationDown"),
            ("?outcome=lost", "“lost”"),
            ("?from=2026-02-30", "“2026-02-30”"),
            ("?from=-000005-01-01", "“-000005-01-01”"),
            ("?from=2026-11-02&until=2026-11-01", "The last day"),
            ("?from=2024-01-01&until=2024-12-31", "2024-01-01 2024-12-31"),
            ("?from=2024-01-01&until=2025-01-01", "366"),
            ("?from=2024-01-01&until=2024-02-01&announcement=x", "Without a station"),
            ("?from=2024-01-01&until=2024-02-01&announcement=x&station=nan", "2024-01-01 2024-02-01 nan x"),
        ] {
            let said = match named(&format!("/journal{query}"), words(), &stations, today) {
                Ok(search) => {
                    let mut said = format!("{} {}", search.from, search.until);
                    let station = search.station.map(|station| station.to_string());
                    let outcome = search.outcome.map(|outcome| format!("{outcome:?}"));
                    let reason = search.reason.map(|reason| format!("{reason:?}"));
                    for part in [station, search.announcement, outcome, reason].into_iter().flatten() {
                        said.push(' ');
                        said.push_str(&part);
                    }
                    said
                }
                Err(problem) => problem.said,
            };
            assert!(said.starts_with(expected), "{query}: {said}");
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_anything_else_is_none() {
        let read = mark("2026-11-05 beizhuang 12 beizhuang-0123 x").unwrap();
        assert_eq!((read.seq, read.station.as_str(), read.epoch.as_str()), (12, "beizhuang", "beizhuang-0123 x"));
        for text in ["", "2026-11-05", "2026-11-05 BEI 1 e", "x beizhuang 1 e", "2026-11-05 beizhuang one e"] {
            assert_eq!(mark(text), None, "{text}");
        }
    }
}
