//! 现在: what plays, what is next, what became of today, what is wrong; 停播, 静音, 音量, 立即播放.
//!
//! 停播 works for whoever sits at the machine and for everybody who has signed in. The page itself is open at the
//! machine; everything that makes a sound or changes something needs an operator.

use super::{
    Panel,
    day::{self, Moment},
    frame::{self, Frame, Place},
    words,
};
use crate::{
    conductor::{Command, Done, Playable, Playing, Refusal, Silence},
    daemon::{Gone, Snapshot, manual_id},
    journal::SelfTest,
    plan::Line,
    schedule::{Band, Finding, Source, Volume},
    text::Language,
    trust::ClockState,
    web::{Asked, Input, Problem, Role},
};
use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{SignedDuration, Timestamp, civil::Time, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub playing: String,
    pub nothing: String,
    pub heard: String,
    pub level: String,
    pub next: String,
    pub nothing_next: String,
    pub left: String,
    pub today: String,
    pub nothing_today: String,
    pub faults: String,
    pub clock: String,
    pub device: String,
    pub no_device: String,
    pub volume: String,
    pub disk: String,
    pub self_test: String,
    pub self_test_good: String,
    pub self_test_bad: String,
    pub stopped: String,
    pub release: String,
    pub hushed: String,
    pub unhush: String,
    pub safe_mode: String,
    pub by: String,
    pub hush: String,
    pub hush_for: String,
    pub half_hour: String,
    pub one_hour: String,
    pub two_hours: String,
    pub hush_until: String,
    pub hush_note: String,
    pub set_volume: String,
    pub play: String,
    pub play_what: String,
    pub play_note: String,
    pub emergency: String,
    pub announcements: String,
    pub clips: String,
    pub confirm_clock: String,
    pub clock_trusted: String,
    pub clock_confirmed: String,
    pub clock_plausible: String,
    pub clock_untrusted: String,
    pub sign_in_for_more: String,
}

/// The station at one moment.
#[derive(Debug, Serialize)]
struct View {
    station: String,
    now: Timestamp,
    ready: bool,
    clock: ClockState,
    device: Option<String>,
    volume: u8,
    playing: Vec<Sounding>,
    next: Vec<Line>,
    stopped_until: Option<Timestamp>,
    hushed_until: Option<Timestamp>,
    stopped: Option<Silence>,
    hushed: Option<Silence>,
    safe_mode_until: Option<Timestamp>,
    today: Vec<Moment>,
    faults: Vec<String>,
    findings: Arc<Vec<Finding>>,
    disk_free_mb: Option<u64>,
    self_test: Option<SelfTest>,
    #[serde(skip)]
    zone: TimeZone,
}

/// What sounds.
#[derive(Debug, Serialize)]
struct Sounding {
    occurrence: String,
    title: String,
    band: Band,
    source: Source,
    heard_ms: i64,
    expected_ms: i64,
    level_dbfs: Option<f32>,
    operator: Option<String>,
    note: Option<String>,
}

impl Sounding {
    fn new(playing: &Playing) -> Self {
        let millis = |length: SignedDuration| i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        Self {
            occurrence: playing.occurrence.id.to_string(),
            title: playing.occurrence.title.clone(),
            band: playing.occurrence.band,
            source: playing.occurrence.source,
            heard_ms: millis(playing.heard),
            expected_ms: millis(playing.length),
            level_dbfs: playing.level_dbfs,
            operator: playing.operator.clone(),
            note: playing.note.clone(),
        }
    }

    /// Of a meter from -60 dBFS to 0.
    fn level(&self) -> f32 {
        self.level_dbfs.unwrap_or(-60.0).clamp(-60.0, 0.0)
    }
}

impl View {
    async fn of(seen: &Snapshot, language: Language) -> Self {
        let today = day::window(&seen.zone, seen.now.to_zoned_datetime(seen.zone.clone()).date());
        let mut faults: Vec<String> = seen.faults.iter().map(|fault| fault.in_language(language).to_owned()).collect();
        let today = day::moments(seen, today).await.unwrap_or_else(|error| {
            faults.push(language.pick(
                format!("播出记录读不出来：{error}；请检查磁盘"),
                format!("the journal cannot be read: {error}; check the disk"),
            ));
            Vec::new()
        });
        let status = &seen.status;
        Self {
            station: seen.name.clone(),
            now: seen.now,
            ready: seen.ready,
            clock: status.clock,
            device: status.device.clone(),
            volume: status.volume,
            playing: status.playing.iter().map(Sounding::new).collect(),
            next: status.next.iter().map(|next| Line::new(next, &seen.zone)).collect(),
            stopped_until: status.stopped.as_ref().map(|stop| stop.until),
            hushed_until: status.hushed.as_ref().map(|hush| hush.until),
            stopped: status.stopped.clone(),
            hushed: status.hushed.clone(),
            safe_mode_until: status.safe_mode_until,
            today,
            faults,
            findings: Arc::clone(&seen.findings),
            disk_free_mb: seen.disk_free.map(|bytes| bytes >> 20),
            self_test: seen.self_test.clone(),
            zone: seen.zone.clone(),
        }
    }

    fn local(&self, at: &Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    /// Returns when the next one is due and how long that is from now, as people say it.
    fn when(&self, line: &Line, words: &Words) -> String {
        let Ok(due) = line.due.parse::<Timestamp>() else { return line.due.clone() };
        let due = due.to_zoned_datetime(self.zone.clone());
        let today = self.now.to_zoned_datetime(self.zone.clone()).date();
        let form = if due.date() == today { "%H:%M:%S" } else { "%m-%d %H:%M:%S" };
        let left = due.timestamp().duration_since(self.now).as_secs().max(0);
        let clock = format!("{}:{:02}:{:02}", left / 3600, left / 60 % 60, left % 60);
        format!("{}　{}", due.strftime(form), words::fill(&words.left, &[("left", &clock)]))
    }

    fn clock_words<'a>(&self, words: &'a Words) -> &'a str {
        match self.clock {
            ClockState::Trusted => &words.clock_trusted,
            ClockState::Confirmed => &words.clock_confirmed,
            ClockState::Plausible => &words.clock_plausible,
            ClockState::Untrusted => &words.clock_untrusted,
        }
    }

    /// Returns what is wrong, the faults first.
    fn wrong(&self, language: Language) -> Vec<String> {
        self.faults.iter().cloned().chain(self.findings.iter().map(|finding| finding.said(language))).collect()
    }

    fn doubts_clock(&self) -> bool {
        matches!(self.clock, ClockState::Untrusted)
    }
}

#[derive(Template)]
#[template(path = "now.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a View,
    announcements: Vec<(String, String)>,
    clips: Vec<(String, String)>,
}

/// The part of the page that changes while one looks.
#[derive(Template)]
#[template(path = "now-live.html")]
struct Live<'a> {
    words: &'static Words,
    language: Language,
    view: &'a View,
}

/// `GET /`
pub(super) async fn page(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    if !may_look(&asked) {
        return Ok(crate::web::sign_in::first(&asked));
    }
    let seen = panel.daemon.snapshot().await?;
    let view = View::of(&seen, asked.language).await;
    let program = &seen.program;
    let announcements = program.schedules.iter().flat_map(|schedule| &schedule.announcements);
    let announcements = announcements.map(|(key, one)| (key.clone(), one.title.clone())).collect();
    let clips = program.clips.local().map(|(path, clip)| (path.to_string(), clip.title.clone())).collect();
    let frame = Frame::new(asked, &seen.name, Place::Now);
    let (words, language) = (&frame.words.now, frame.asked.language);
    Ok(frame.answer(&view, &Page { frame: &frame, words, language, view: &view, announcements, clips }))
}

/// Whoever sits at the machine may see how it is, signed in or not.
fn may_look(asked: &Asked) -> bool {
    asked.who.is_some() || asked.peer.is_here()
}

/// How often what sounds is looked at, and the rest.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// `GET /events`: the live part of the page, whenever it has changed, as server-sent events.
pub(super) async fn events(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    if !may_look(&asked) {
        return Ok(crate::web::sign_in::first(&asked));
    }
    let language = asked.language;
    let (feeds, people) = (panel.feeds.clone(), Arc::clone(&panel.people));
    feeds.follow(&asked, &people, format!("now {}", language.tag()), move || {
        let daemon = panel.daemon.clone();
        async move {
            let words = &words::Words::of(language).now;
            let seen = daemon.snapshot().await.ok()?;
            let view = View::of(&seen, language).await;
            let text = Live { words, language, view: &view }.render().ok()?;
            Some((text, if view.playing.is_empty() { LOOK.1 } else { LOOK.0 }))
        }
    })
}

/// `POST /stop`: 停播, for whoever sits at the machine too, signed in or not.
pub(super) async fn stop(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    if !may_look(&asked) {
        return Ok(crate::web::sign_in::first(&asked));
    }
    carry_out(&panel, &asked, Command::Stop { operator: asked.name() }).await
}

/// `POST /release`: 恢复播出
pub(super) async fn release(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    carry_out(&panel, &asked, Command::Release { operator: asked.name() }).await
}

/// The body of `POST /hush`: `until` or `minutes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HushRequest {
    /// A moment, a time of day (the next one to come), or `now`, which ends a hush.
    until: Option<String>,
    /// From now on.
    minutes: Option<String>,
    note: Option<String>,
}

/// `POST /hush`: 临时静音
pub(super) async fn hush(
    State(panel): State<Panel>,
    asked: Asked,
    Input(request): Input<HushRequest>,
) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let minutes = given(request.minutes).and_then(|minutes| minutes.parse::<i64>().ok());
    let until = match (given(request.until), minutes) {
        (Some(text), _) => moment(&text, seen.now, &seen.zone),
        (None, Some(minutes)) => {
            SignedDuration::try_from_mins(minutes).and_then(|length| seen.now.checked_add(length).ok())
        }
        (None, None) => None,
    };
    let Some(until) = until else {
        return Err(Problem::bad(asked.pick("请写静音到几点，例如 14:30", "say until when, for example 14:30")));
    };
    let note = given(request.note);
    carry_out(&panel, &asked, Command::Hush { until, operator: asked.name(), note }).await
}

/// Returns what was written; a field left empty is as good as none.
fn given(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Reads a moment, `now`, or a time of day: the next one to come.
fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if text == "now" {
        return Some(now);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let time: Time = text.parse().ok()?;
    let today = now.to_zoned_datetime(zone.clone()).date();
    let at = |day: jiff::civil::Date| crate::plan::instant(zone, day.to_datetime(time));
    Some(at(today)).filter(|at| *at > now).or_else(|| today.tomorrow().ok().map(at))
}

/// The body of `POST /volume`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VolumeRequest {
    percent: u8,
}

/// `POST /volume`: the station's volume, in percent.
pub(super) async fn volume(
    State(panel): State<Panel>,
    asked: Asked,
    Input(request): Input<VolumeRequest>,
) -> Result<Response, Problem> {
    let volume = Volume::try_from(request.percent)
        .map_err(|_| Problem::bad(asked.pick("音量请写 0 到 100", "a volume is 0 to 100")))?;
    carry_out(&panel, &asked, Command::Volume { volume, operator: asked.name() }).await
}

/// The body of `POST /play`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayRequest {
    /// A clip's path under `audio/`, or the key of an announcement.
    pub what: String,
    /// Passes quiet hours, hush and stop; an administrator's, with a note.
    #[serde(default, deserialize_with = "crate::web::ticked")]
    pub emergency: bool,
    /// Why; required for an emergency.
    #[serde(default)]
    pub note: Option<String>,
}

/// `POST /play`: plays one announcement or clip now, ahead of the plan.
pub(super) async fn play(
    State(panel): State<Panel>,
    asked: Asked,
    Input(request): Input<PlayRequest>,
) -> Result<Response, Problem> {
    if request.emergency && !asked.may(Role::Admin) {
        let said = asked.pick("紧急播报只有管理员可以发出", "only an administrator may give an emergency");
        return Err(Problem { status: axum::http::StatusCode::FORBIDDEN, said: said.into() });
    }
    let what = match panel.daemon.clip_named(&request.what).await? {
        Some(path) => Playable::Clip(path),
        None => Playable::Announcement(request.what),
    };
    let (operator, emergency, note) = (asked.name(), request.emergency, given(request.note));
    carry_out(&panel, &asked, Command::Play { id: manual_id(), what, operator, emergency, note }).await
}

/// `POST /confirm-clock`: a person says that the clock is right.
pub(super) async fn confirm_clock(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    carry_out(&panel, &asked, Command::ConfirmClock { operator: asked.name() }).await
}

async fn carry_out(panel: &Panel, asked: &Asked, command: Command) -> Result<Response, Problem> {
    match panel.daemon.command(command).await? {
        Ok(done) => {
            let (facts, code) = facts(&done);
            Ok(frame::done(asked, &facts, "/", code))
        }
        Err(refusal) => Err(Problem::refused(refused(&refusal, asked.language))),
    }
}

pub(super) fn refused(refusal: &Refusal, language: Language) -> String {
    language.pick(format!("没有执行：{refusal}"), format!("Not done: {}.", refusal.en()))
}

fn facts(done: &Done) -> (serde_json::Value, &'static str) {
    match done {
        Done::Playing(occurrence) => (json!({ "done": "playing", "occurrence": occurrence }), "playing"),
        Done::Stopped(until) => (json!({ "done": "stopped", "until": until }), "stopped"),
        Done::Released => (json!({ "done": "released" }), "released"),
        Done::Hushed(until) => (json!({ "done": "hushed", "until": until }), "hushed"),
        Done::Unhushed => (json!({ "done": "unhushed" }), "unhushed"),
        Done::Volume(percent) => (json!({ "done": "volume", "percent": percent }), "volume"),
        Done::Confirmed => (json!({ "done": "confirmed" }), "confirmed"),
    }
}

impl From<Gone> for Problem {
    fn from(gone: Gone) -> Self {
        Self { status: axum::http::StatusCode::SERVICE_UNAVAILABLE, said: gone.to_string() }
    }
}
