//! 预排: what played and what is to play, day by day, with the reason of everything that does not; one day's override.
//!
//! What waits for another, is cut by another or is left out is told before it happens, since lengths are known.

use super::{
    Panel,
    day::{self, Moment, State as Stands},
    frame::{self, Frame, Place, query},
    schedules::files,
    words,
};
use crate::{
    calendar::DayKind,
    daemon::Snapshot,
    outcome::Reason,
    plan::Program,
    schedule::{
        Band, Schedule, Severity, Source,
        edit::{Torn, cancel},
        file,
    },
    text::{Language, day_named},
    web::{Asked, Input, Problem},
};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub from: String,
    pub days: String,
    pub show: String,
    pub today: String,
    pub earlier: String,
    pub later: String,
    pub overview: String,
    pub mark_good: String,
    pub mark_to_come: String,
    pub mark_partial: String,
    pub mark_missed: String,
    pub mark_left_out: String,
    pub mark_quiet: String,
    pub plays: String,
    pub left_out: String,
    pub nothing: String,
    pub nothing_to_come: String,
    pub waits: String,
    pub cut: String,
    pub closed: String,
    pub cancelled: String,
    pub cancelled_all: String,
    pub skip_one: String,
    pub skip_day: String,
    pub take_back: String,
    pub unofficial: String,
    pub confirm_skip: String,
    pub confirm_back: String,
    pub which: String,
    pub everything: String,
    pub why: String,
    pub no: String,
}

/// The days that are shown where the address does not say.
const DAYS: i64 = 7;
/// As many at most.
const MOST_DAYS: i64 = 31;

/// Some days of the station.
#[derive(Debug, Serialize)]
struct View {
    station: String,
    now: Timestamp,
    from: Date,
    today: Date,
    days: Vec<Day>,
}

/// One day.
#[derive(Debug, Serialize)]
struct Day {
    date: Date,
    kind: DayKind,
    /// Whether the year follows the official arrangement.
    official: bool,
    /// By `[[closed]]` in the station file.
    closed: bool,
    /// By the overrides of schedules.
    cancelled: Vec<Cancelled>,
    moments: Vec<Shown>,
    #[serde(skip)]
    quiet: Vec<(i64, i64)>,
}

/// One schedule's override of a day.
#[derive(Debug, Serialize)]
struct Cancelled {
    schedule: String,
    title: String,
    /// None for everything in the file.
    announcement: Option<String>,
    announcement_title: Option<String>,
    note: String,
    #[serde(skip)]
    is_ours: bool,
}

/// A moment and what its neighbours do to it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    moment: Moment,
    /// Local time at which it is to begin, if later than due.
    waits_until: Option<String>,
    /// What cuts it, and when.
    cut_by: Option<Cut>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Cut {
    title: String,
    at: String,
}

/// Where things are in the picture of a day, in its units.
struct Mark {
    x: i64,
    width: i64,
    /// Where it was due, if it waits.
    due: Option<i64>,
}

/// Left edge, width and seconds of a day in the picture.
const LEFT: i64 = 130;
const WIDTH: i64 = 864;
const DAY: i64 = 86_400;
/// Height of a day in the picture, and of the line of hours.
const ROW: i64 = 36;
const HEAD: i64 = 24;

fn along(seconds: i64) -> i64 {
    LEFT + seconds.clamp(0, DAY) * WIDTH / DAY
}

fn second_of_day(at: Timestamp, zone: &TimeZone, day: Date) -> i64 {
    let local = zone.to_datetime(at);
    seconds_from(day, local)
}

fn seconds_from(day: Date, local: DateTime) -> i64 {
    local.duration_since(day.at(0, 0, 0, 0)).as_secs().clamp(0, DAY)
}

impl View {
    async fn of(seen: &Snapshot, from: Date, days: i64) -> Result<Self, Problem> {
        let today = seen.zone.to_datetime(seen.now).date();
        let dates: Vec<Date> = from.series(1.day()).take(usize::try_from(days).unwrap_or(0)).collect();
        let last = dates.last().copied().unwrap_or(from);
        let window = day::window(&seen.zone, from).start..day::window(&seen.zone, last).end;
        let moments = day::moments(seen, window).await.map_err(|error| {
            Problem::failed(format!("播出记录读不出来：{error}；请检查磁盘 the journal cannot be read; check the disk"))
        })?;
        let mut shown = shown(moments, &seen.zone);
        for one in &mut shown {
            if one.moment.reason == Some(Reason::Cancelled) && one.moment.note.is_none() {
                let date = seen.zone.to_datetime(one.moment.due).date();
                one.moment.note = note_of(&seen.program, date, &one.moment.schedule, &one.moment.announcement);
            }
        }
        let days = dates
            .into_iter()
            .map(|date| {
                let window = day::window(&seen.zone, date);
                let of_day = shown.iter().position(|one| one.moment.due >= window.end).unwrap_or(shown.len());
                Day::new(&seen.program, date, shown.drain(..of_day).collect())
            })
            .collect();
        Ok(Self { station: seen.name.clone(), now: seen.now, from, today, days })
    }

    fn height(&self) -> i64 {
        HEAD + ROW * i64::try_from(self.days.len()).unwrap_or(0)
    }

    fn shifted(&self, days: i64) -> Date {
        self.from.saturating_add(days.days())
    }

    fn count(&self) -> i64 {
        i64::try_from(self.days.len()).unwrap_or(DAYS)
    }

    /// Where now is in the picture of `day`.
    fn now_in(&self, day: &Day, zone: &TimeZone) -> Option<i64> {
        (day.date == self.today).then(|| along(second_of_day(self.now, zone, day.date)))
    }
}

impl Day {
    fn new(program: &Program, date: Date, moments: Vec<Shown>) -> Self {
        let of_schedule = |schedule: &Schedule| -> Vec<Cancelled> {
            let overrides = schedule.overrides.iter().filter(|over| over.date == date);
            let one = |announcement: Option<&String>, note: &str| Cancelled {
                schedule: schedule.name.clone(),
                title: schedule.title.clone(),
                announcement: announcement.cloned(),
                announcement_title: announcement
                    .map(|name| schedule.announcements.get(name).map_or_else(|| name.clone(), |one| one.title.clone())),
                note: note.to_owned(),
                is_ours: schedule.source == Source::Station,
            };
            overrides
                .flat_map(|over| match &over.cancel {
                    crate::schedule::Cancel::All => vec![one(None, &over.note)],
                    crate::schedule::Cancel::Named(names) => {
                        names.iter().map(|name| one(Some(name), &over.note)).collect()
                    }
                })
                .collect()
        };
        let yesterday = date.yesterday().unwrap_or(date);
        let windows = program.hours.quiet.iter().flat_map(|window| [window.on(yesterday), window.on(date)]);
        let quiet = windows
            .map(|(open, close)| (along(seconds_from(date, open)), along(seconds_from(date, close))))
            .filter(|(open, close)| open < close)
            .collect();
        Self {
            date,
            kind: program.calendar.kind(date),
            official: program.calendar.is_official(date.year()),
            closed: program.closed.contains(&date),
            cancelled: program.schedules.iter().flat_map(of_schedule).collect(),
            moments,
            quiet,
        }
    }

    fn named(&self, language: Language) -> String {
        day_named(self.date, language)
    }

    /// Returns how many play or played, and how many do not.
    fn counts(&self, words: &Words) -> String {
        let plays = |one: &&Shown| {
            matches!(
                one.moment.state,
                Stands::Played | Stands::Partial | Stands::Playing | Stands::ToCome | Stands::Due
            )
        };
        let plays = self.moments.iter().filter(plays).count();
        let rest = self.moments.len() - plays;
        let mut text = words::fill(&words.plays, &[("n", &plays)]);
        if rest > 0 {
            text = format!("{text} · {}", words::fill(&words.left_out, &[("n", &rest)]));
        }
        text
    }

    fn has_to_come(&self) -> bool {
        self.moments.iter().any(Shown::is_to_come)
    }
}

impl Shown {
    fn is_to_come(&self) -> bool {
        self.moment.state == Stands::ToCome
    }

    fn mark(&self, day: &Date, zone: &TimeZone) -> Mark {
        let due = second_of_day(self.moment.due, zone, *day);
        let start = second_of_day(self.moment.start, zone, *day).max(due);
        let x = along(start);
        let width = (along(start.saturating_add(self.moment.expected_ms / 1000)) - x).max(4);
        Mark { x, width, due: (start > due).then(|| along(due)) }
    }

    /// Returns what stands beside the state: what it waits for, what cuts it, the note.
    fn more(&self, words: &Words) -> Vec<String> {
        let waits = self.waits_until.as_ref().map(|at| words::fill(&words.waits, &[("at", at)]));
        let cut = self.cut_by.as_ref().map(|cut| words::fill(&words.cut, &[("title", &cut.title), ("at", &cut.at)]));
        waits.into_iter().chain(cut).chain(self.moment.note.clone()).collect()
    }
}

impl Cancelled {
    fn said(&self, words: &Words) -> String {
        let what = match &self.announcement_title {
            Some(title) => words::fill(&words.cancelled, &[("title", title)]),
            None => words::fill(&words.cancelled_all, &[("title", &self.title)]),
        };
        if self.note.is_empty() { what } else { format!("{what} · {}", self.note) }
    }
}

/// Returns why a moment was cancelled, in the words of whoever did it.
fn note_of(program: &Program, date: Date, schedule: &str, announcement: &str) -> Option<String> {
    let schedule = program.schedules.iter().find(|one| one.name == schedule)?;
    let over = schedule.overrides.iter().find(|over| over.date == date && over.cancels(announcement))?;
    Some(over.note.clone()).filter(|note| !note.is_empty())
}

/// Adds to each moment to come what its neighbours do to it.
fn shown(moments: Vec<Moment>, zone: &TimeZone) -> Vec<Shown> {
    let local = |at: Timestamp| zone.to_datetime(at).strftime("%H:%M:%S").to_string();
    let cuts: Vec<_> = cuts(&moments).into_iter().map(|by| by.map(|by| &moments[by])).collect();
    let cuts: Vec<_> =
        cuts.into_iter().map(|by| by.map(|by| Cut { title: by.title.clone(), at: local(by.start) })).collect();
    moments
        .into_iter()
        .zip(cuts)
        .map(|(moment, cut_by)| {
            let waits = moment.state == Stands::ToCome && moment.start > moment.due;
            Shown { waits_until: waits.then(|| local(moment.start)), cut_by, moment }
        })
        .collect()
}

/// Returns for each moment to come the one that cuts it: whatever begins in its lane before its end. The plan lets
/// nothing begin there that does not cut.
fn cuts(moments: &[Moment]) -> Vec<Option<usize>> {
    let mut cut = vec![None; moments.len()];
    for background in [false, true] {
        let in_lane = |at: &usize| {
            let moment = &moments[*at];
            moment.state == Stands::ToCome && moment.expected_ms > 0 && (moment.band == Band::Background) == background
        };
        let mut lane: Vec<usize> = (0..moments.len()).filter(in_lane).collect();
        lane.sort_by_key(|at| (moments[*at].start, moments[*at].due));
        for pair in lane.windows(2) {
            let end =
                moments[pair[0]].start.saturating_add(jiff::SignedDuration::from_millis(moments[pair[0]].expected_ms));
            if end.is_ok_and(|end| moments[pair[1]].start < end) {
                cut[pair[0]] = Some(pair[1]);
            }
        }
    }
    cut
}

#[derive(Template)]
#[template(path = "plan.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a View,
    zone: &'a TimeZone,
    hours: [(i64, i64); 9],
}

/// `GET /plan?from=DATE&days=N`
pub(super) async fn page(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let today = seen.zone.to_datetime(seen.now).date();
    let given = |name| query(&asked.path, name).filter(|text| !text.is_empty());
    let from = match given("from") {
        Some(text) => a_day(&text, &asked)?,
        None => today,
    };
    let days = given("days").and_then(|days| days.parse().ok()).unwrap_or(DAYS).clamp(1, MOST_DAYS);
    let view = View::of(&seen, from, days).await?;
    let frame = Frame::new(asked, &seen.name, Place::Plan);
    let (words, language) = (&frame.words.plan, frame.asked.language);
    let hours = std::array::from_fn(|n| {
        let hour = i64::try_from(n).unwrap_or(0) * 3;
        (hour, along(hour * 3600))
    });
    Ok(frame.answer(&view, &Page { frame: &frame, words, language, view: &view, zone: &seen.zone, hours }))
}

/// Reads a date that a plan can be made for.
fn a_day(text: &str, asked: &Asked) -> Result<Date, Problem> {
    let date = text.parse().ok().filter(|date: &Date| (2000..=2100).contains(&date.year()));
    date.ok_or_else(|| {
        Problem::bad(asked.pick(
            "日期请写成 2026-12-13 这样，2000 年到 2100 年之间",
            "write a date as 2026-12-13, between 2000 and 2100",
        ))
    })
}

/// What is to be silent on one date, or to play on it again: the query of the question and the body of the change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OverrideRequest {
    date: String,
    /// The file's stem; none for every schedule.
    #[serde(default)]
    schedule: String,
    /// The announcement's key; none for all of the schedule.
    #[serde(default)]
    announcement: String,
    /// `on`: to play again.
    #[serde(default)]
    back: String,
    #[serde(default)]
    note: String,
}

impl OverrideRequest {
    fn is_back(&self) -> bool {
        self.back == "on"
    }

    /// Returns whether it is about this announcement.
    fn means(&self, schedule: &str, announcement: &str) -> bool {
        [(&self.schedule, schedule), (&self.announcement, announcement)]
            .iter()
            .all(|(asked, one)| asked.is_empty() || asked == one)
    }
}

#[derive(Template)]
#[template(path = "plan-override.html")]
struct Question<'a> {
    frame: &'a Frame,
    words: &'static Words,
    request: &'a OverrideRequest,
    day: String,
    /// What it is about, with its times.
    what: Vec<(String, String)>,
}

/// `GET /plan/override`: the first of two presses, which says what the second does.
pub(super) async fn ask(
    State(panel): State<Panel>,
    asked: Asked,
    request: Result<Query<OverrideRequest>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Ok(Query(request)) = request else { return Err(Problem::missing(&asked)) };
    let date = a_day(&request.date, &asked)?;
    let seen = panel.daemon.snapshot().await?;
    let mut what: std::collections::BTreeMap<(String, String), (String, Vec<String>)> = Default::default();
    let view = View::of(&seen, date, 1).await?;
    for one in view.days.iter().flat_map(|day| &day.moments) {
        let Moment { schedule, announcement, title, at, .. } = &one.moment;
        let counts = if request.is_back() {
            one.moment.reason == Some(Reason::Cancelled) && one.moment.state == Stands::LeftOut
        } else {
            one.is_to_come()
        };
        if counts && request.means(schedule, announcement) {
            let entry = what.entry((schedule.clone(), announcement.clone()));
            entry.or_insert_with(|| (title.clone(), Vec::new())).1.push(at.trim_end_matches(":00").to_owned());
        }
    }
    let what: Vec<_> = what.into_values().map(|(title, times)| (title, times.join("、"))).collect();
    let frame = Frame::new(asked, &seen.name, Place::Plan);
    let words = &frame.words.plan;
    let day = day_named(date, frame.asked.language);
    let facts = json!({ "request": request, "what": what });
    Ok(frame.answer(&facts, &Question { frame: &frame, words, request: &request, day, what }))
}

/// `POST /plan/override`: 仅此一天不播, 这一天都不播, and back.
pub(super) async fn change(
    State(panel): State<Panel>,
    asked: Asked,
    Input(request): Input<OverrideRequest>,
) -> Result<Response, Problem> {
    let date = a_day(&request.date, &asked)?;
    let note = request.note.trim();
    if note.chars().count() > 200 {
        return Err(Problem::bad(asked.pick("原因请写在 200 字以内", "the reason is 200 characters at most")));
    }
    let _saving = panel.writing.lock().await;
    let seen = panel.daemon.snapshot().await?;
    if date < seen.zone.to_datetime(seen.now).date() {
        return Err(Problem::refused(asked.pick(
            "这一天已经过去，改不了；播出记录里有当天的情况",
            "this day is over; the journal says what became of it",
        )));
    }
    let mut changes = files::Changes::new();
    for schedule in concerned(&seen, date, &request) {
        let file = files::file(&schedule.name);
        let Some(text) = files::read(&panel.home, &asked, &schedule.name)? else { continue };
        let name = Some(request.announcement.as_str()).filter(|name| !name.is_empty());
        let changed = if request.is_back() {
            let all: Vec<_> = schedule.announcements.keys().map(String::as_str).collect();
            cancel::restore(&text, date, name, &all)
        } else {
            cancel::cancel(&text, date, name, note)
        };
        let changed = changed.map_err(|Torn| torn(&asked, &file))?;
        if changed != text {
            let errors = |text: &str| {
                let findings = file::parse(Source::Station, &file, text).findings;
                findings.iter().filter(|finding| finding.severity == Severity::Error).count()
            };
            // Old mistakes of the file are no reason to sound on a day of mourning; new ones are.
            if errors(&changed) > errors(&text) {
                return Err(torn(&asked, &file));
            }
            changes.push((schedule.name.clone(), Some(changed)));
        }
    }
    if changes.is_empty() {
        return Err(Problem::refused(if request.is_back() {
            asked.pick(
                "这一天没有取消过这些播报；请刷新预排再看",
                "nothing of this is cancelled on that day; look at the plan again",
            )
        } else {
            asked.pick(
                "这一天没有要播的，不用取消；请刷新预排再看",
                "nothing of this is to play on that day; look at the plan again",
            )
        }));
    }
    files::keep(&panel, &asked, changes).await?;
    let (done, code) = if request.is_back() { ("restored", "plan-restored") } else { ("cancelled", "plan-cancelled") };
    Ok(frame::done(&asked, &json!({ "done": done, "date": date }), &format!("/plan?from={date}"), code))
}

/// Returns the schedules whose files are to change.
fn concerned<'a>(seen: &'a Snapshot, date: Date, request: &OverrideRequest) -> Vec<&'a Schedule> {
    let program = &seen.program;
    let planned = crate::plan::plan(program, day::window(&seen.zone, date)).occurrences;
    let fits = |schedule: &&Schedule| {
        let named = request.schedule == schedule.name
            && (request.announcement.is_empty() || schedule.announcements.contains_key(&request.announcement));
        let is_meant = if request.schedule.is_empty() {
            // The whole day: whatever has something on it.
            request.announcement.is_empty()
                && (request.is_back() || planned.iter().any(|one| one.schedule == schedule.name))
        } else {
            named
        };
        schedule.source == Source::Station && is_meant
    };
    program.schedules.iter().filter(fits).collect()
}

fn torn(asked: &Asked, file: &str) -> Problem {
    Problem::refused(asked.pick(
        format!("{file} 有写错的地方，不能自动修改；请先到“计划”里改正"),
        format!("{file} has mistakes and cannot be changed by itself; correct it under Schedules first"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments to come as (second of start, seconds of length, band).
    fn moments(rows: &[(i64, i64, Band)]) -> Vec<Moment> {
        let one = |&(start, seconds, band): &(i64, i64, Band)| Moment {
            occurrence: format!("station/x/{start}"),
            due: Timestamp::from_second(start.min(100)).unwrap(),
            at: String::new(),
            start: Timestamp::from_second(start).unwrap(),
            title: start.to_string(),
            schedule: "x".into(),
            announcement: start.to_string(),
            band,
            expected_ms: seconds * 1000,
            state: Stands::ToCome,
            reason: None,
            note: None,
        };
        rows.iter().map(one).collect()
    }

    #[test]
    fn what_begins_in_the_same_lane_before_another_ends_cuts_it() {
        use Band::{Background, Normal, Urgent};
        for (rows, cut) in [
            (vec![(0, 60, Normal), (30, 10, Urgent)], vec![Some(1), None]),
            (vec![(0, 30, Normal), (30, 10, Urgent)], vec![None, None]),
            (vec![(0, 600, Background), (30, 10, Urgent)], vec![None, None]),
            (vec![(40, 60, Normal), (0, 60, Normal)], vec![None, Some(0)]),
        ] {
            assert_eq!(cuts(&moments(&rows)), cut, "{rows:?}");
        }
    }

    #[test]
    fn a_moment_stands_at_its_time_and_one_that_waits_shows_where_it_was_due() {
        let day = jiff::civil::date(1970, 1, 1);
        let mark = |start, seconds| {
            let one = shown(moments(&[(start, seconds, Band::Normal)]), &TimeZone::UTC).remove(0);
            let Mark { x, width, due } = one.mark(&day, &TimeZone::UTC);
            (x - LEFT, width, due.map(|due| due - LEFT))
        };
        assert_eq!(mark(0, 3600), (0, 36, None));
        assert_eq!(mark(43_200, 1), (432, 4, Some(1)), "never too thin to be seen");
        assert_eq!(mark(86_000, 3600), (860, 4, Some(1)), "never beyond the day");
    }
}
