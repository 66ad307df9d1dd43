//! 设置: the station and its hours, its sound, its pages, its people, its backup. For administrators; everybody who has
//! signed in may change their own password.
//!
//! Every change goes into `station.toml` through [`super::station_file`], so that what a page does and what an editor
//! does is the same.

pub(super) mod backup;
pub(super) mod office;
pub(super) mod restore;

use super::{
    Panel,
    frame::{self, Frame, Place, query},
    station_file::{self, texts, working},
    tone,
};
use crate::{
    calendar::{DaySet, Weekdays, WorkingHours},
    config::{Config, Kind, Screen},
    daemon::{Tone, sound_outputs},
    link::shell::{self, Stage},
    speaker::device::Found,
    text::Language,
    web::{Asked, Input, Problem, Role},
};
use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub save: String,
    pub restart: String,
    /// What takes effect at the next start, by its key.
    pub at_next_start: BTreeMap<String, String>,
    pub station: String,
    pub id: String,
    pub hours: String,
    pub quiet: String,
    pub quiet_hint: String,
    pub working: String,
    pub working_hint: String,
    pub daily_limit: String,
    pub closed: String,
    pub closed_hint: String,
    pub sound: String,
    pub open_output: String,
    pub none_open: String,
    pub first_output: String,
    pub next_output: String,
    pub no_other: String,
    pub volume: String,
    pub ceiling: String,
    pub latency: String,
    pub keep_audible: String,
    pub tone: String,
    pub page: String,
    pub reach: String,
    pub reach_machine: String,
    pub reach_lan: String,
    pub port: String,
    pub hosts: String,
    pub screen: String,
    pub screen_machine: String,
    pub screen_lan: String,
    pub screen_off: String,
    pub screen_open: String,
    pub backup: String,
    pub backup_hint: String,
    pub download: String,
    pub restore: String,
    pub restore_hint: String,
    pub file: String,
    pub restored: String,
    pub journal_kept: String,
    pub journal_restored: String,
    pub office: office::Words,
}

/// The settings as they stand.
#[derive(Debug, Serialize)]
struct View {
    id: String,
    name: String,
    kind: Kind,
    quiet: String,
    working: String,
    daily_limit_minutes: i64,
    closed: String,
    output: String,
    outputs: Vec<Found>,
    chosen: Vec<String>,
    open: Option<String>,
    volume: u8,
    ceiling: u8,
    latency_ms: i64,
    keep_audible: bool,
    listen: SocketAddr,
    hosts: String,
    screen: Screen,
    people: Vec<(String, Role)>,
    at_next_start: Vec<&'static str>,
    office: shell::View,
    tone: Option<Tone>,
    #[serde(skip)]
    zone: TimeZone,
    #[serde(skip)]
    problem: Option<String>,
}

/// One place in the order of outputs.
struct Choice<'a> {
    /// From 1.
    place: usize,
    output: &'a str,
}

impl Choice<'_> {
    fn is_first(&self) -> bool {
        self.place == 1
    }

    fn is(&self, output: &str) -> bool {
        self.output == output
    }
}

impl View {
    /// Returns the places of the order that the form has; the last ones may be empty.
    fn choices(&self) -> Vec<Choice<'_>> {
        let output = |at: usize| self.chosen.get(at).map_or("", String::as_str);
        (0..3).map(|at| Choice { place: at + 1, output: output(at) }).collect()
    }

    /// Returns the chosen outputs that this machine does not have now: they stay to be chosen.
    fn absent(&self) -> Vec<&String> {
        self.chosen
            .iter()
            .filter(|name| *name != "default" && !self.outputs.iter().any(|found| found.name == **name))
            .collect()
    }

    fn reach(&self) -> String {
        reach_of(self.listen.ip())
    }

    /// When the office was heard last; none where it never was.
    fn heard(&self) -> Option<String> {
        let at = self.office.heard?.to_zoned_datetime(self.zone.clone());
        Some(at.strftime("%Y-%m-%d %H:%M").to_string())
    }
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a View,
    kinds: [Kind; 5],
    people: &'a [(String, Role)],
    roles: &'static [Role; 3],
    /// The address of the forms for people.
    at: &'static str,
}

impl Page<'_> {
    fn at_next_start(&self, key: &str) -> &str {
        self.words.at_next_start.get(key).map_or("", String::as_str)
    }
}

/// `GET /settings`
pub(super) async fn page(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let view = look(&panel, asked.language, query(&asked.path, "output")).await?;
    Ok(show(asked, &view))
}

async fn look(panel: &Panel, language: Language, output: Option<String>) -> Result<View, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let config = &seen.config;
    let (outputs, problem) = match sound_outputs().await {
        Ok(outputs) => (outputs, None),
        Err(untried) => (Vec::new(), Some(untried.to_string())),
    };
    let chosen = config.sound.outputs.clone();
    let windows = config.hours.quiet.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(View {
        id: config.id.clone(),
        name: config.name.clone(),
        kind: config.kind,
        quiet: windows.join(" "),
        working: config.hours.working.iter().map(|one| working_line(one, language)).collect::<Vec<_>>().join("\n"),
        daily_limit_minutes: config.hours.daily_limit.as_mins(),
        closed: closed_lines(panel, config),
        output: output.or_else(|| chosen.first().cloned()).unwrap_or_default(),
        outputs,
        chosen,
        open: seen.status.device.clone(),
        volume: config.sound.volume.percent(),
        ceiling: config.sound.ceiling.percent(),
        latency_ms: i64::try_from(config.sound.latency_offset.as_millis()).unwrap_or(0),
        keep_audible: config.sound.keep_audible,
        listen: config.listen,
        hosts: config.hosts.join(" "),
        screen: config.screen,
        people: panel.people.all(),
        at_next_start: seen.at_next_start.clone(),
        office: panel.daemon.office().view(),
        tone: None,
        zone: seen.zone.clone(),
        problem,
    })
}

fn show(asked: Asked, view: &View) -> Response {
    let frame = Frame::new(asked, &view.name, Place::Settings);
    let (words, language) = (&frame.words.settings, frame.asked.language);
    let (people, roles, at) = (view.people.as_slice(), &Role::ALL, "/settings/people");
    frame.answer(view, &Page { frame: &frame, words, language, view, kinds: Kind::ALL, people, roles, at })
}

/// Returns the closed days with the notes that the file on disk has for them.
fn closed_lines(panel: &Panel, config: &Config) -> String {
    let (texts, _) = panel.home.read();
    let notes = station_file::StationFile::of(texts.station.as_deref()).map(|file| file.closed()).unwrap_or_default();
    let line = |day: &Date| format!("{day} {}", notes.get(day).map_or("", String::as_str)).trim_end().to_owned();
    config.closed.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What the station file calls days, and what people do.
const DAYS: [(&str, &str, &str); 11] = [
    ("workdays", "工作日", "workdays"),
    ("every-day", "每天", "every-day"),
    ("rest-days", "休息日", "rest-days"),
    ("holidays", "节假日", "holidays"),
    ("mon", "周一", "mon"),
    ("tue", "周二", "tue"),
    ("wed", "周三", "wed"),
    ("thu", "周四", "thu"),
    ("fri", "周五", "fri"),
    ("sat", "周六", "sat"),
    ("sun", "周日", "sun"),
];

/// Returns working hours as a line of the form.
fn working_line(hours: &WorkingHours, language: Language) -> String {
    let said = |key: &str| {
        let found = DAYS.iter().find(|(known, ..)| *known == key);
        found.map_or_else(|| key.to_owned(), |(_, zh, en)| language.pick(*zh, *en).to_owned())
    };
    let mut words: Vec<String> = match &hours.days {
        DaySet::Workdays => vec![said("workdays")],
        DaySet::RestDays => vec![said("rest-days")],
        DaySet::Holidays => vec![said("holidays")],
        DaySet::Weekdays(week) => DAYS
            .iter()
            .filter(|(key, ..)| Weekdays::day(key).is_some_and(|day| week.contains(day)))
            .map(|(key, ..)| said(key))
            .collect(),
        _ => vec![said("every-day")],
    };
    words.extend(hours.times.iter().map(ToString::to_string));
    words.join(" ")
}

/// Reads the lines of the form: days, then times. A word that nobody knows is left for the check of the file to name.
fn working_lines(text: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let key = |word| DAYS.iter().find(|(key, zh, _)| *key == word || *zh == word).map_or(word, |(key, ..)| *key);
    let line = |line| {
        let (times, days): (Vec<_>, Vec<_>) = words(line).partition(|word: &&str| word.contains(':'));
        (days.into_iter().map(key).collect(), times)
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

/// Returns the words of a line, however people part them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '，' | '、' | ';' | '；'))
        .filter(|word| !word.is_empty())
}

fn saved(asked: &Asked, part: &str) -> Response {
    tracing::info!(operator = asked.name(), part, "settings changed");
    frame::done(asked, &json!({ "done": "saved", "part": part }), "/settings", "saved")
}

/// The body of `POST /settings/station`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StationForm {
    name: String,
    kind: Kind,
}

/// `POST /settings/station`
pub(super) async fn station(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<StationForm>,
) -> Result<Response, Problem> {
    station_file::change(&panel, &asked, |file, now| {
        if form.name.trim() != now.name {
            file.set("station", "name", form.name.trim());
        }
        if form.kind != now.kind {
            file.set("station", "kind", form.kind.key());
        }
    })
    .await?;
    Ok(saved(&asked, "station"))
}

/// The body of `POST /settings/hours`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoursForm {
    #[serde(default)]
    quiet: String,
    #[serde(default)]
    working: String,
    daily_limit_minutes: u32,
    #[serde(default)]
    closed: String,
}

/// `POST /settings/hours`
pub(super) async fn hours(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<HoursForm>,
) -> Result<Response, Problem> {
    let closed = closed_days(&form.closed).map_err(|line| {
        Problem::bad(asked.pick(
            format!("不播的日子“{line}”读不懂；请一行写一天，例如 2026-12-13 国家公祭日"),
            format!("The closed day `{line}` cannot be read; write one a line, as 2026-12-13 memorial day."),
        ))
    })?;
    station_file::change(&panel, &asked, |file, now| {
        let quiet: Vec<_> = words(&form.quiet).collect();
        if now.hours.quiet.iter().map(ToString::to_string).ne(quiet.iter().copied()) {
            file.set("hours", "quiet", texts(quiet));
        }
        let lines = working_lines(&form.working);
        let before: Vec<_> = now.hours.working.iter().map(|one| working_line(one, Language::English)).collect();
        let after: Vec<_> = lines.iter().map(|(days, times)| [days.as_slice(), times].concat().join(" ")).collect();
        if before != after {
            file.set("hours", "working", working(&lines));
        }
        if i64::from(form.daily_limit_minutes) != now.hours.daily_limit.as_mins() {
            file.set("hours", "daily-limit", format!("{}m", form.daily_limit_minutes));
        }
        if file.closed() != closed {
            file.set_closed(&closed);
        }
    })
    .await?;
    Ok(saved(&asked, "hours"))
}

/// Reads one day a line, with what it is; returns the line that cannot be read.
fn closed_days(text: &str) -> Result<BTreeMap<Date, String>, String> {
    let day = |line: &str| {
        let (date, note) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        date.parse().map(|date| (date, note.trim().to_owned())).map_err(|_| line.trim().to_owned())
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(day).collect()
}

/// The body of `POST /settings/sound`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SoundForm {
    output_1: String,
    #[serde(default)]
    output_2: String,
    #[serde(default)]
    output_3: String,
    volume: u8,
    ceiling: u8,
    latency_ms: i32,
    #[serde(default, deserialize_with = "crate::web::ticked")]
    keep_audible: bool,
}

/// `POST /settings/sound`: takes effect at once.
pub(super) async fn sound(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<SoundForm>,
) -> Result<Response, Problem> {
    station_file::change(&panel, &asked, |file, now| {
        let now = &now.sound;
        let mut outputs: Vec<&str> = Vec::new();
        for output in [&form.output_1, &form.output_2, &form.output_3] {
            if !output.is_empty() && !outputs.contains(&output.as_str()) {
                outputs.push(output);
            }
        }
        // The form has three places; what a file has beyond them stays.
        outputs.extend(now.outputs.iter().skip(3).map(String::as_str));
        if outputs != now.outputs {
            file.set("sound", "output", texts(outputs));
        }
        for (key, written, before) in
            [("volume", form.volume, now.volume.percent()), ("ceiling", form.ceiling, now.ceiling.percent())]
        {
            if written != before {
                file.set("sound", key, i64::from(written));
            }
        }
        if i128::from(form.latency_ms) != now.latency_offset.as_millis() {
            file.set("sound", "latency-offset", format!("{}ms", form.latency_ms));
        }
        if form.keep_audible != now.keep_audible {
            file.set("sound", "keep-audible", form.keep_audible);
        }
    })
    .await?;
    Ok(saved(&asked, "sound"))
}

/// The body of `POST /settings/tone`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToneForm {
    output: String,
}

/// `POST /settings/tone`: a test tone on any output.
pub(super) async fn try_output(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<ToneForm>,
) -> Result<Response, Problem> {
    let tone = tone::play(&panel, &asked, &form.output).await?;
    let mut view = look(&panel, asked.language, Some(form.output)).await?;
    view.tone = Some(tone);
    Ok(show(asked, &view))
}

/// The body of `POST /settings/page`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageForm {
    reach: String,
    port: u16,
    #[serde(default)]
    hosts: String,
    screen: Screen,
}

/// `POST /settings/page`
pub(super) async fn pages(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<PageForm>,
) -> Result<Response, Problem> {
    let ip = match form.reach.as_str() {
        "machine" => IpAddr::from(Ipv4Addr::LOCALHOST),
        "lan" => Ipv4Addr::UNSPECIFIED.into(),
        ip => ip.parse().map_err(|_| Problem::bad(asked.pick("请选择谁能打开页面", "choose who may open the page")))?,
    };
    station_file::change(&panel, &asked, |file, now| {
        let listen = SocketAddr::new(ip, form.port);
        if listen != now.listen {
            file.set("panel", "listen", listen.to_string());
        }
        let hosts: Vec<_> = words(&form.hosts).collect();
        if hosts != now.hosts {
            file.set("panel", "hosts", texts(hosts));
        }
        if form.screen != now.screen {
            file.set("panel", "screen", form.screen.key());
        }
    })
    .await?;
    Ok(saved(&asked, "page"))
}

fn reach_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => "machine".into(),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => "lan".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_hours_are_read_as_people_write_them_and_shown_as_they_were_read() {
        for (text, days, times) in [
            ("工作日 08:00-12:00 13:30-17:30", vec!["workdays"], vec!["08:00-12:00", "13:30-17:30"]),
            ("周一、周三，09:00-11:00", vec!["mon", "wed"], vec!["09:00-11:00"]),
            ("every-day 22:00-06:00", vec!["every-day"], vec!["22:00-06:00"]),
            ("明天 09:00-11:00", vec!["明天"], vec!["09:00-11:00"]),
        ] {
            assert_eq!(working_lines(&format!("\n{text}\n\n")), [(days, times)], "{text}");
        }
        let file = "[station]\nid = \"a\"\nname = \"b\"\n[hours]\nworking = [{ days = [\"mon\", \"sun\"], times = [\"09:00-24:00\"] }, { days = \"rest-days\", times = [\"22:00-06:00\"] }]\n";
        let config = Config::parse(file).unwrap();
        let shown = |language| config.hours.working.iter().map(|one| working_line(one, language)).collect::<Vec<_>>();
        assert_eq!(shown(Language::Chinese), ["周一 周日 09:00-24:00", "休息日 22:00-06:00"]);
        assert_eq!(shown(Language::English), ["mon sun 09:00-24:00", "rest-days 22:00-06:00"]);
    }

    #[test]
    fn a_closed_day_is_a_line_and_a_line_that_is_none_is_named() {
        let days = closed_days("2026-12-13  国家公祭日\n\n2027-01-01\n").unwrap();
        let said: Vec<_> = days.iter().map(|(day, note)| format!("{day} {note}")).collect();
        assert_eq!(said, ["2026-12-13 国家公祭日", "2027-01-01 "]);
        assert_eq!(closed_days("2026-02-30 x"), Err("2026-02-30 x".into()));
        assert_eq!(closed_days("明天"), Err("明天".into()));
    }

    #[test]
    fn an_address_is_shown_as_who_reaches_it() {
        for (ip, reach) in [("127.0.0.1", "machine"), ("0.0.0.0", "lan"), ("192.168.1.9", "192.168.1.9")] {
            assert_eq!(reach_of(ip.parse().unwrap()), reach);
        }
    }
}
