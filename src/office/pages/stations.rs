//! 总览: every station at a glance, worst first: by how long ago an announcement was last heard there, then by its faults,
//! then by its last word.
//!
//! The list is made of what the store says now; what stations said of themselves is kept here as it was read, and only
//! newer words are fetched, so that ten thousand stations cost a look at the table and no more. While people look, the
//! list follows by itself, and the table is looked at once for all of them.

use super::{
    Pages,
    frame::{Frame, Place, Times, fill, query},
    report::Report,
};
use crate::{
    clock,
    link::{Division, GroupName},
    office::store::{Station, StationState, StoreError},
    text::{Language, Said},
    web::{Asked, Problem, Role},
};
use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub none: String,
    pub none_chosen: String,
    pub begin: String,
    pub search: String,
    pub group: String,
    pub division: String,
    pub any: String,
    pub look: String,
    /// By [`Show`].
    pub shows: BTreeMap<String, String>,
    pub station: String,
    pub sounded: String,
    pub state: String,
    pub plan: String,
    pub faults: String,
    pub up: String,
    pub down: String,
    pub no_word: String,
    pub behind: String,
    pub fetching: String,
    pub no_plan: String,
    pub clock: String,
    pub office_clock: String,
    pub disk: String,
    pub refused: String,
    pub page: String,
    pub next: String,
    pub previous: String,
    pub waiting: String,
    pub ahead: String,
    pub ahead_admin: String,
    pub ahead_others: String,
    pub short_of_disk: String,
}

/// Stations on one page.
const PAGE: usize = 100;
/// Without an announcement for so long a station counts as silent.
const SILENT: SignedDuration = SignedDuration::from_hours(24);
/// So much free on the office's own disk is little, in MB: what a county sends in a month.
const SHORT_MB: u64 = 2_000;
/// How exactly that is said, in MB; the list is not told anew for less.
const STEP_MB: u64 = 10;
/// How often the list is looked at again while somebody looks.
const LIVE: Duration = Duration::from_secs(2);
/// Words are fetched again for so long, since the clocks of two office processes differ.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);

/// Every station, as the store last said; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Town {
    reports: Arc<Mutex<Reports>>,
    seen: Arc<tokio::sync::Mutex<Last>>,
}

/// What was seen last, and when.
type Last = Option<(Instant, Arc<Seen>)>;

/// What stations last said, as it was read.
#[derive(Debug, Default)]
struct Reports {
    newest: Option<Timestamp>,
    reports: BTreeMap<String, Arc<Report>>,
}

/// The town at one moment.
#[derive(Debug)]
struct Seen {
    office: String,
    stations: Vec<Station>,
    reports: BTreeMap<String, Arc<Report>>,
    /// Stations that have seen more than this office knows of.
    ahead: usize,
    /// Free where the office's folder is, where that can be told.
    disk_free_mb: Option<u64>,
}

impl Town {
    /// Looks at the town. Whoever looks soon after somebody else sees what they saw, unless it has to be `fresh`.
    async fn look(&self, pages: &Pages, fresh: bool) -> Result<Arc<Seen>, Problem> {
        let mut last = self.seen.lock().await;
        if let Some((at, seen)) = &*last
            && !fresh
            && at.elapsed() < LIVE
        {
            return Ok(Arc::clone(seen));
        }
        let (about, stations) = (pages.about().await?, pages.office.store.stations().await?);
        let (reports, ahead) = (self.reports(pages).await?, pages.office.store.stations_ahead().await?.len());
        let disk_free = fs4::available_space(&pages.office.home).ok();
        let disk_free_mb = disk_free.map(|bytes| bytes / 1_000_000 / STEP_MB * STEP_MB);
        let seen = Arc::new(Seen { office: about.name, stations, reports, ahead, disk_free_mb });
        *last = Some((clock::monotonic(), Arc::clone(&seen)));
        Ok(seen)
    }

    /// Returns what every station last said.
    async fn reports(&self, pages: &Pages) -> Result<BTreeMap<String, Arc<Report>>, StoreError> {
        let newest = self.known().newest;
        let since = newest.and_then(|newest| newest.checked_sub(OVERLAP).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
        let words = pages.office.store.last_words(since).await?;
        let mut known = self.known();
        for word in words {
            known.newest = known.newest.max(Some(word.at));
            if known.reports.get(&word.station).is_some_and(|report| report.at == word.at) {
                continue;
            }
            match Report::read(&word.document, word.at) {
                Some(report) => drop(known.reports.insert(word.station, Arc::new(report))),
                None => drop(known.reports.remove(&word.station)),
            }
        }
        Ok(known.reports.clone())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which stations are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Show {
    All,
    Down,
    Silent,
    Behind,
    Faults,
    Refused,
    Revoked,
}

impl Show {
    const ALL: [Self; 7] =
        [Self::All, Self::Down, Self::Silent, Self::Behind, Self::Faults, Self::Refused, Self::Revoked];

    fn key(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Down => "down",
            Self::Silent => "silent",
            Self::Behind => "behind",
            Self::Faults => "faults",
            Self::Refused => "refused",
            Self::Revoked => "revoked",
        }
    }

    fn includes(self, row: &Row) -> bool {
        let is_revoked = row.station.state == StationState::Revoked;
        match self {
            Self::Revoked => is_revoked,
            _ if is_revoked => false,
            Self::All => true,
            Self::Down => !row.station.up,
            Self::Silent => row.silent,
            Self::Behind => row.behind,
            Self::Faults => row.troubles > 0,
            Self::Refused => row.refused > 0,
        }
    }
}

/// What can be asked to be shown.
pub(super) fn shows() -> [&'static str; 7] {
    Show::ALL.map(Show::key)
}

/// What is asked for.
#[derive(Debug, Clone, Serialize)]
struct Filter {
    show: Show,
    text: String,
    group: String,
    division: String,
    page: usize,
}

impl Filter {
    fn named(path: &str) -> Self {
        let given = |name| query(path, name).unwrap_or_default().trim().to_owned();
        let show = given("show");
        Self {
            show: Show::ALL.into_iter().find(|one| one.key() == show).unwrap_or(Show::All),
            text: given("text"),
            group: given("group"),
            division: given("division"),
            page: given("page").parse().unwrap_or(1).max(1),
        }
    }

    fn includes(&self, row: &Row) -> bool {
        let station = &row.station;
        let division = Division::try_from(self.division.clone()).ok();
        let within = match &division {
            Some(division) => division.contains(&station.division),
            // What is no code yet is the beginning of one.
            None => station.division.as_str().starts_with(&self.division),
        };
        self.show.includes(row)
            && within
            && (self.group.is_empty() || station.groups.iter().any(|group| group.as_str() == self.group))
            && (self.text.is_empty() || station.name.contains(&self.text) || station.id.as_str().contains(&self.text))
    }

    fn address(&self, show: &Show, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("show", show.key());
        for (name, value) in [("text", &self.text), ("group", &self.group), ("division", &self.division)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        format!("/?{}", query.finish())
    }
}

/// One station.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    station: Station,
    report: Option<Arc<Report>>,
    /// Nothing was heard there for a day.
    silent: bool,
    /// The plan that it should have is not in force.
    behind: bool,
    /// How much is wrong there.
    troubles: usize,
    /// Documents that it refused.
    refused: usize,
}

impl Row {
    fn new(station: Station, report: Option<Arc<Report>>, now: Timestamp) -> Self {
        let silent = station.sounded.is_none_or(|sounded| now.duration_since(sounded) > SILENT);
        let in_force = report.as_ref().and_then(|report| report.in_force).unwrap_or(0);
        let troubles = report.as_ref().map_or(0, |report| {
            let wrong = [report.doubts_clock(), report.doubts_office_clock(), report.is_short_of_disk()];
            report.faults.len() + wrong.into_iter().filter(|is_so| *is_so).count()
        });
        Self {
            silent,
            behind: in_force < station.plan_revision.unsigned_abs(),
            troubles,
            refused: report.as_ref().map_or(0, |report| report.rejected.len()),
            station,
            report,
        }
    }

    fn class(&self) -> &'static str {
        match (self.station.up, self.silent, self.troubles) {
            (true, false, 0) => "played",
            (true, ..) => "partial",
            (false, ..) => "missed",
        }
    }

    /// What of the plan is in force.
    fn plan(&self, words: &Words) -> String {
        let Some(report) = &self.report else { return String::new() };
        match (report.fetching, self.behind, report.in_force) {
            (Some((revision, missing)), true, _) => {
                fill(&words.fetching, &[("revision", &revision), ("missing", &missing)])
            }
            (_, true, _) => {
                fill(&words.behind, &[("have", &report.in_force.unwrap_or(0)), ("want", &self.station.plan_revision)])
            }
            (_, false, Some(revision)) => revision.to_string(),
            (_, false, None) => words.no_plan.clone(),
        }
    }

    /// What is wrong, one after the other.
    fn wrong(&self, words: &Words, language: Language) -> String {
        let Some(report) = &self.report else { return words.no_word.clone() };
        let mut wrong: Vec<&str> = report.faults.iter().map(|fault| Said::in_language(fault, language)).collect();
        for (is_so, text) in [
            (report.doubts_clock(), &words.clock),
            (report.doubts_office_clock(), &words.office_clock),
            (report.is_short_of_disk(), &words.disk),
            (self.refused > 0, &words.refused),
        ] {
            if is_so {
                wrong.push(text);
            }
        }
        wrong.join("；")
    }
}

/// How many are how.
#[derive(Debug, Default, Serialize)]
struct Counts(BTreeMap<&'static str, usize>);

impl Counts {
    fn of(rows: &[Row]) -> Self {
        let count = |show: Show| (show.key(), rows.iter().filter(|row| show.includes(row)).count());
        Self(Show::ALL.map(count).into())
    }

    fn get(&self, show: &Show) -> usize {
        self.0.get(show.key()).copied().unwrap_or(0)
    }
}

/// The page.
#[derive(Debug, Serialize)]
struct View {
    office: String,
    counts: Counts,
    filter: Filter,
    /// Worst first; those of one page.
    stations: Vec<Row>,
    /// How many the filter leaves.
    found: usize,
    pages: usize,
    /// Stations that ask to be taken in.
    waiting: usize,
    /// Stations that have seen more than this office knows of: it was restored from an old backup.
    ahead: usize,
    /// Free where the office's folder is, where that can be told.
    disk_free_mb: Option<u64>,
    groups: BTreeSet<GroupName>,
}

fn view(seen: &Seen, filter: Filter, now: Timestamp) -> View {
    let Seen { office, stations, reports, ahead, disk_free_mb } = seen;
    let waiting = stations.iter().filter(|station| station.state == StationState::Pending).count();
    let groups = stations.iter().flat_map(|station| station.groups.iter().cloned()).collect();
    let mut rows: Vec<Row> = stations
        .iter()
        .filter(|station| station.state != StationState::Pending)
        .map(|station| {
            let report = reports.get(station.id.as_str()).cloned();
            Row::new(station.clone(), report, now)
        })
        .collect();
    let counts = Counts::of(&rows);
    rows.retain(|row| filter.includes(row));
    rows.sort_by(|a, b| {
        // By whole hours: a list that is looked at does not turn over with every announcement.
        let hours = |at: Option<Timestamp>| at.map(|at| Reverse(now.duration_since(at).as_hours()));
        let rank = |row: &Row| {
            let station = &row.station;
            (hours(station.sounded), Reverse(row.troubles + row.refused), hours(station.heard), station.name.clone())
        };
        rank(a).cmp(&rank(b)).then_with(|| a.station.id.cmp(&b.station.id))
    });
    let (found, pages) = (rows.len(), rows.len().div_ceil(PAGE).max(1));
    let filter = Filter { page: filter.page.min(pages), ..filter };
    let stations = rows.into_iter().skip((filter.page - 1) * PAGE).take(PAGE).collect();
    let (office, ahead, disk_free_mb) = (office.clone(), *ahead, *disk_free_mb);
    View { office, counts, filter, stations, found, pages, waiting, ahead, disk_free_mb, groups }
}

/// The part of the page that changes while one looks: all of it.
#[derive(Template)]
#[template(path = "stations-live.html")]
struct Live<'a> {
    words: &'static Words,
    language: Language,
    view: &'a View,
    times: Times,
    /// Of whoever looks.
    role: Role,
}

impl Live<'_> {
    /// How many wait to be taken in; none where nobody does.
    fn waiting(&self) -> Option<String> {
        (self.view.waiting > 0).then(|| fill(&self.words.waiting, &[("n", &self.view.waiting)]))
    }

    /// What is wrong where the office was restored; none where it was not.
    fn ahead(&self) -> Option<String> {
        (self.view.ahead > 0).then(|| fill(&self.words.ahead, &[("n", &self.view.ahead)]))
    }

    /// What is wrong where the office's own disk is nearly full; none where it is not.
    fn short_of_disk(&self) -> Option<String> {
        let free = self.view.disk_free_mb.filter(|free| *free < SHORT_MB)?;
        Some(fill(&self.words.short_of_disk, &[("mb", &free)]))
    }

    fn paging(&self) -> String {
        let view = self.view;
        fill(&self.words.page, &[("page", &view.filter.page), ("pages", &view.pages), ("found", &view.found)])
    }

    fn shown(&self, show: &Show) -> &str {
        self.words.shows.get(show.key()).map_or("", String::as_str)
    }
}

#[derive(Template)]
#[template(path = "stations.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    events: String,
    live: Live<'a>,
}

/// Who looks has signed in: the table of routes says so.
fn role(asked: &Asked) -> Role {
    asked.who.as_ref().map_or(Role::Viewer, |who| who.role)
}

/// `GET /`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let seen = pages.town.look(&pages, true).await?;
    let (times, language, role) = (pages.times(asked.language), asked.language, role(&asked));
    let view = view(&seen, Filter::named(&asked.path), times.now);
    let frame = Frame::new(asked, &seen.office, Place::Stations);
    let words = &frame.words.stations;
    let events = format!("/events{}", view.filter.address(&view.filter.show, view.filter.page).trim_start_matches('/'));
    let live = Live { words, language, view: &view, times, role };
    Ok(frame.answer(&view, &Page { frame: &frame, words, events, live }))
}

/// `GET /events`: the page's live part, whenever it has changed.
pub(super) async fn events(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let (language, role) = (asked.language, role(&asked));
    let filter = Filter::named(&asked.path);
    let name = format!("stations {} {} {}", language.tag(), role.key(), filter.address(&filter.show, filter.page));
    let site = pages.clone();
    pages.follow(&asked, name, move || {
        let (pages, filter) = (site.clone(), filter.clone());
        async move {
            let seen = pages.town.look(&pages, false).await.ok()?;
            let (words, times) = (&super::words::Words::of(language).stations, pages.times(language));
            let view = view(&seen, filter, times.now);
            let live = Live { words, language, view: &view, times, role };
            Some((live.render().ok()?, LIVE))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 10_000_000;

    /// A station that sounded, and last said something, so many hours ago.
    fn station(id: &str, sounded: Option<i64>, up: bool) -> Station {
        let at = |hours: i64| Timestamp::from_second(NOW - hours * 3600).unwrap();
        Station {
            id: id.to_owned().try_into().unwrap(),
            name: format!("{id}村"),
            key: String::new(),
            division: "330127104201".to_owned().try_into().unwrap(),
            groups: ["沿河".to_owned().try_into().unwrap()].into(),
            state: StationState::Active,
            asked: at(100),
            confirmed: Some(at(100)),
            next_key: None,
            plan_revision: 12,
            wants: 12,
            heard: Some(at(0)),
            sounded: sounded.map(at),
            up,
        }
    }

    fn report(in_force: u64, faults: usize) -> Arc<Report> {
        let document = json!({
            "sequence": 1, "root": 1, "generation": 1, "in_force": [{ "source": "town", "revision": in_force }],
            "fetching": [], "journal": null, "acked": 0, "clock": { "state": "trusted", "offset_ms": 0 },
            "rejected": [], "facts": { "faults": vec!["x"; faults] },
        });
        Arc::new(Report::read(&document.to_string(), Timestamp::UNIX_EPOCH).unwrap())
    }

    fn shown(query: &str) -> String {
        let stations = vec![
            station("fine", Some(1), true),
            station("silent", Some(30), true),
            station("never", None, false),
            station("faulty", Some(1), true),
            Station { state: StationState::Pending, ..station("new", None, false) },
            Station { state: StationState::Revoked, ..station("gone", None, false) },
        ];
        let reports = [("fine", report(12, 0)), ("silent", report(11, 0)), ("faulty", report(12, 2))];
        let reports = reports.into_iter().map(|(id, report)| (id.to_owned(), report)).collect();
        let filter = Filter::named(&format!("/?{query}"));
        let seen = Seen { office: "镇".into(), stations, reports, ahead: 0, disk_free_mb: None };
        let view = view(&seen, filter, Timestamp::from_second(NOW).unwrap());
        assert_eq!((view.waiting, view.counts.get(&Show::All)), (1, 4));
        view.stations.iter().map(|row| row.station.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_worst_comes_first_and_a_filter_leaves_what_it_names() {
        for (query, expected) in [
            ("", "never silent faulty fine"),
            ("show=down", "never"),
            ("show=silent", "never silent"),
            ("show=behind", "never silent"),
            ("show=faults", "faulty"),
            ("show=revoked", "gone"),
            ("show=nonsense&page=-7", "never silent faulty fine"),
            ("page=99999999999999999999", "never silent faulty fine"),
            ("page=4", "never silent faulty fine"),
            ("text=fa", "faulty"),
            ("text=%3Cscript%3E", ""),
            ("group=%E6%B2%BF%E6%B2%B3", "never silent faulty fine"),
            ("group=%E5%B1%B1%E5%8C%BA", ""),
            ("division=330127104000", "never silent faulty fine"),
            ("division=3301271042", "never silent faulty fine"),
            ("division=330127105", ""),
        ] {
            assert_eq!(shown(query), expected, "{query}");
        }
    }

    #[test]
    fn whoever_sounded_within_the_same_hour_stays_in_the_same_place() {
        let order = |minutes: [i64; 3]| {
            let at = |minutes: i64| Timestamp::from_second(NOW - minutes * 60).unwrap();
            let names = ["a", "b", "c"].into_iter().zip(minutes);
            let stations =
                names.map(|(id, ago)| Station { sounded: Some(at(ago)), ..station(id, None, true) }).collect();
            let seen = Seen { office: "镇".into(), stations, reports: BTreeMap::new(), ahead: 0, disk_free_mb: None };
            let view = view(&seen, Filter::named("/"), Timestamp::from_second(NOW).unwrap());
            view.stations.iter().map(|row| row.station.id.to_string()).collect::<String>()
        };
        for (minutes, expected) in [([1, 2, 3], "abc"), ([3, 1, 2], "abc"), ([1, 61, 2], "bac"), ([59, 0, 60], "cab")] {
            assert_eq!(order(minutes), expected, "{minutes:?}");
        }
    }

    #[test]
    fn the_page_says_so_before_the_disk_is_full() {
        let words = super::super::words::Words::of(Language::Chinese);
        let now = Timestamp::from_second(NOW).unwrap();
        let times = Times { zone: jiff::tz::TimeZone::UTC, now, words: &words.frame };
        for (disk_free_mb, is_said) in [(None, false), (Some(2_000), false), (Some(1_990), true), (Some(0), true)] {
            let seen =
                Seen { office: "镇".into(), stations: vec![], reports: BTreeMap::new(), ahead: 0, disk_free_mb };
            let view = view(&seen, Filter::named("/"), now);
            let (words, times, role) = (&words.stations, times.clone(), Role::Viewer);
            let shown = Live { words, language: Language::Chinese, view: &view, times, role }.render().unwrap();
            assert_eq!(shown.contains("磁盘只剩"), is_said, "{disk_free_mb:?}: {shown}");
        }
    }

    #[test]
    fn ten_thousand_stations_are_shown_a_page_at_a_time() {
        let stations = (0..10_000).map(|n| station(&format!("s{n:05}"), Some(n % 24), true)).collect();
        let filter = Filter { page: 2, ..Filter::named("/") };
        let seen = Seen { office: "县".into(), stations, reports: BTreeMap::new(), ahead: 0, disk_free_mb: None };
        let view = view(&seen, filter, Timestamp::from_second(NOW).unwrap());
        assert_eq!((view.found, view.pages, view.stations.len()), (10_000, 100, PAGE));
    }
}
