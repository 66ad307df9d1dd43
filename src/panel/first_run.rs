//! The first run: who administers the station, what it is called, where it sounds, what it plays; on one page.
//!
//! It is open while nobody may sign in, on the machine itself; from the network only with the code that the daemon
//! prints at its start. Ten wrong codes close the network out until the next start.

use super::{
    Panel,
    frame::{self, Frame, Place, query},
    station_file, tone,
};
use crate::{
    clock, config,
    config::Kind,
    daemon::{Tone, sound_outputs},
    plan::Clips,
    schedule::{self, Source},
    speaker::device::Found,
    web::{self, Asked, Input, Problem, Refused, Role},
};
use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, fs};

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub banner: String,
    pub open: String,
    pub hello: String,
    pub listen: String,
    pub output: String,
    pub default_output: String,
    pub is_default: String,
    pub no_outputs: String,
    pub try_it: String,
    pub heard: String,
    pub not_heard: String,
    pub station: String,
    pub station_name: String,
    pub kind: String,
    /// By kind.
    pub kinds: BTreeMap<String, String>,
    pub schedule: String,
    pub use_schedule: String,
    pub has_schedule: String,
    pub lacks: String,
    pub person: String,
    pub name: String,
    pub finish: String,
}

impl Words {
    /// Returns what people call a kind of station.
    pub fn kind(&self, kind: &Kind) -> &str {
        self.kinds.get(kind.key()).map_or("", String::as_str)
    }
}

/// A schedule that comes with the program.
struct Shipped {
    file: &'static str,
    text: &'static str,
}

const VILLAGE: Shipped = Shipped { file: "schedules/village.toml", text: include_str!("../../schedules/village.toml") };
const ENTERPRISE: Shipped = Shipped {
    file: "schedules/enterprise.toml",
    text: include_str!("../../examples/enterprise/schedules/enterprise.toml"),
};

impl Shipped {
    /// Returns the one for a kind of station: outside a village, people work, and reminders are for the time around it.
    fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::Village => &VILLAGE,
            Kind::Enterprise | Kind::School | Kind::Shop | Kind::PublicOffice => &ENTERPRISE,
        }
    }

    /// Returns its title and the sounds that it needs and `clips` lacks.
    fn needs(&self, clips: &Clips) -> (String, Vec<String>) {
        let Some(read) = schedule::file::parse(Source::Station, self.file, self.text).schedule else {
            return (String::new(), Vec::new());
        };
        let mut missing = Vec::new();
        for announcement in read.announcements.values() {
            for play in &announcement.play {
                let paths = clips.expand(std::slice::from_ref(play));
                if paths.is_empty() {
                    missing.push(play.to_string());
                }
                missing.extend(paths.iter().filter(|path| !plays(clips, path)).map(ToString::to_string));
            }
            missing.extend(announcement.chime.iter().filter(|path| !plays(clips, path)).map(ToString::to_string));
        }
        missing.sort();
        missing.dedup();
        (read.title, missing)
    }
}

fn plays(clips: &Clips, path: &schedule::ClipPath) -> bool {
    clips.get(path).is_some_and(|clip| !matches!(clip.state, crate::plan::ClipState::Refused(_)))
}

/// A schedule as the page offers it.
#[derive(Debug, Serialize)]
struct Offer {
    kinds: Vec<Kind>,
    title: String,
    /// It is in the home already.
    present: bool,
    /// Sounds without which it cannot play.
    missing: Vec<String>,
}

fn offers(clips: &Clips, present: &[String]) -> Vec<Offer> {
    [VILLAGE, ENTERPRISE]
        .iter()
        .map(|shipped| {
            let (title, missing) = shipped.needs(clips);
            let kinds = Kind::ALL.into_iter().filter(|kind| Shipped::of(*kind).file == shipped.file).collect();
            Offer { kinds, title, present: present.iter().any(|file| file == shipped.file), missing }
        })
        .collect()
}

/// What was written into the form.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    name: String,
    password: String,
    again: String,
    station: String,
    kind: Kind,
    output: String,
    #[serde(default, deserialize_with = "crate::web::ticked")]
    schedule: bool,
}

/// The page.
#[derive(Debug, Serialize)]
struct View {
    outputs: Vec<Found>,
    output: String,
    station: String,
    kind: Kind,
    name: String,
    schedule: bool,
    offers: Vec<Offer>,
    tone: Option<Tone>,
    #[serde(skip)]
    problem: Option<String>,
}

impl View {
    fn any_offer(&self) -> bool {
        self.offers.iter().any(|offer| !offer.present && offer.missing.is_empty())
    }
}

#[derive(Template)]
#[template(path = "first-run.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a View,
    kinds: [Kind; 5],
}

/// `GET /first-run`
pub(super) async fn page(State(panel): State<Panel>, asked: Asked, headers: HeaderMap) -> Result<Response, Problem> {
    if let Err(response) = web::admit(&panel, &asked, &headers).await {
        return Ok(response);
    }
    let view = look(&panel, query(&asked.path, "output")).await?;
    Ok(show(asked, &view, StatusCode::OK))
}

/// Returns the page as it stands, with an output chosen.
async fn look(panel: &Panel, output: Option<String>) -> Result<View, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let has_file = panel.home.dir.join(config::FILE).exists();
    let (texts, _) = panel.home.read();
    let present: Vec<_> = texts.schedules.into_keys().collect();
    let (outputs, problem) = match sound_outputs().await {
        Ok(outputs) => (outputs, None),
        Err(untried) => (Vec::new(), Some(untried.to_string())),
    };
    let written = seen.config.sound.outputs.first().cloned().unwrap_or_default();
    Ok(View {
        outputs,
        output: output.filter(|output| config::is_output(output)).unwrap_or(written),
        station: if has_file { seen.name.clone() } else { String::new() },
        kind: seen.config.kind,
        name: String::new(),
        schedule: true,
        offers: offers(&seen.program.clips, &present),
        tone: None,
        problem,
    })
}

fn show(asked: Asked, view: &View, status: StatusCode) -> Response {
    let frame = Frame::new(asked, &view.station, Place::Elsewhere);
    let words = &frame.words.first_run;
    let mut response = frame.answer(view, &Page { frame: &frame, words, view, kinds: Kind::ALL });
    *response.status_mut() = status;
    response
}

/// The output to be tried.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToneForm {
    output: String,
}

/// `POST /first-run/tone`: plays a test tone and shows the page again, with that output chosen.
pub(super) async fn try_output(
    State(panel): State<Panel>,
    asked: Asked,
    headers: HeaderMap,
    Input(given): Input<ToneForm>,
) -> Result<Response, Problem> {
    if let Err(response) = web::admit(&panel, &asked, &headers).await {
        return Ok(response);
    }
    let played = tone::play(&panel, &asked, &given.output).await;
    let mut view = look(&panel, Some(given.output)).await?;
    let status = match played {
        Ok(tone) => {
            view.tone = Some(tone);
            StatusCode::OK
        }
        Err(problem) if asked.wants_json => return Err(problem),
        Err(problem) => {
            view.problem = Some(problem.said);
            problem.status
        }
    };
    Ok(show(asked, &view, status))
}

/// `POST /first-run`: everything at once; whoever does it is the administrator and signed in.
pub(super) async fn finish(
    State(panel): State<Panel>,
    asked: Asked,
    headers: HeaderMap,
    Input(form): Input<Form>,
) -> Result<Response, Problem> {
    if let Err(response) = web::admit(&panel, &asked, &headers).await {
        return Ok(response);
    }
    match carry_out(&panel, &asked, &form).await {
        Ok(token) => {
            tracing::info!(person = form.name.trim(), "the first run is done");
            let mut response = frame::done(&asked, &json!({ "done": "first-run" }), "/", "first-run");
            web::sign_in::set_cookie(&mut response, &web::session_cookie(Some(&token), &asked.peer));
            Ok(response)
        }
        Err(problem) if asked.wants_json => Err(problem),
        Err(problem) => {
            let view = View {
                station: form.station,
                kind: form.kind,
                name: form.name,
                schedule: form.schedule,
                problem: Some(problem.said),
                ..look(&panel, Some(form.output)).await?
            };
            Ok(show(asked, &view, problem.status))
        }
    }
}

async fn carry_out(panel: &Panel, asked: &Asked, form: &Form) -> Result<String, Problem> {
    let shared = &web::SharedWords::of(asked.language).first_run;
    if form.password != form.again {
        return Err(Problem::bad(web::SharedWords::of(asked.language).people.differ.clone()));
    }
    let fresh = fresh_id(&form.station).map_err(|_| Problem::failed(shared.closed.clone()))?;
    // Tried on a copy first: nobody is made administrator of a station that cannot be written.
    let text = fs::read_to_string(panel.home.dir.join(config::FILE)).ok();
    let tried = station_file::StationFile::of(text.as_deref()).map(|mut file| {
        fill_in(&mut file, form, &fresh);
        file.finish()
    });
    match tried {
        Ok(Ok(_)) => {}
        Ok(Err(findings)) => {
            return Err(Problem::bad(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("；")));
        }
        Err(error) => return Err(Problem::bad(error.to_string())),
    }
    let added = panel.people.add(&form.name, &form.password, Role::Admin, true).await;
    added.map_err(|refused| match refused {
        Refused::BadName => Problem::bad(shared.bad_name.clone()),
        Refused::BadPassword => Problem::bad(shared.bad_password.clone()),
        Refused::Taken => Problem::refused(shared.over.clone()),
        _ => station_file::unwritable(asked, &std::io::Error::other("data/people.json")),
    })?;
    station_file::change(panel, asked, |file, _| fill_in(file, form, &fresh)).await?;
    if form.schedule {
        bring_schedule(panel, asked, form.kind).await?;
    }
    let token = panel.people.sign_in(form.name.trim(), &form.password, clock::wall()).await;
    token.map_err(|_| Problem::failed(shared.over.clone()))
}

fn fill_in(file: &mut station_file::StationFile, form: &Form, fresh: &str) {
    if file.text("station", "id").is_none() {
        file.set("station", "id", fresh);
    }
    file.set("station", "name", form.station.trim());
    // A default that nobody wrote need not be written.
    if file.has("station", "kind") || form.kind != Kind::default() {
        file.set("station", "kind", form.kind.key());
    }
    if file.has("sound", "output") || form.output != "default" {
        file.set("sound", "output", station_file::texts([form.output.as_str()]));
    }
}

/// Writes the schedule that comes with the program for this kind of station, where its sounds are there and none of its
/// name is. One for another kind goes, if nobody has changed it.
async fn bring_schedule(panel: &Panel, asked: &Asked, kind: Kind) -> Result<(), Problem> {
    let clips = panel.daemon.snapshot().await?.program.clips.clone();
    let shipped = Shipped::of(kind);
    if !shipped.needs(&clips).1.is_empty() {
        return Ok(());
    }
    let path = panel.home.dir.join(shipped.file);
    if !path.exists() {
        panel.home.put(shipped.file, shipped.text).map_err(|error| station_file::unwritable(asked, &error))?;
    }
    for other in [VILLAGE, ENTERPRISE].iter().filter(|other| other.file != shipped.file) {
        let path = panel.home.dir.join(other.file);
        if fs::read_to_string(&path).is_ok_and(|text| text == other.text) {
            fs::remove_file(&path).map_err(|error| station_file::unwritable(asked, &error))?;
        }
    }
    panel.daemon.reread().await?;
    Ok(())
}

/// Returns an id for a station of this name: its letters and digits, or a drawn one.
fn fresh_id(name: &str) -> Result<String, getrandom::Error> {
    let is_ascii = name.is_ascii();
    let lower = name.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let id: String = words.collect::<Vec<_>>().join("-").chars().take(64).collect();
    if is_ascii && !id.is_empty() {
        return Ok(id);
    }
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes)?;
    Ok(format!("station-{}", crate::text::hex(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Clip, ClipState};
    use crate::text::Said;

    #[test]
    fn an_id_comes_from_the_name_or_is_drawn() {
        for (name, id) in [("North Village", "north-village"), ("  A1--b ", "a1-b")] {
            assert_eq!(fresh_id(name).unwrap(), id);
        }
        for name in ["北庄村", "", "北庄 2", "!!"] {
            let id = fresh_id(name).unwrap();
            assert!(id.starts_with("station-") && id.len() == 12, "{name} {id}");
        }
    }

    #[test]
    fn what_cannot_play_is_not_offered() {
        let clip = |state| Clip { title: "a".into(), valid_from: None, valid_until: None, retired: false, state };
        let clips = |all: &[(&str, ClipState)]| {
            Clips(all.iter().map(|(path, state)| (path.to_string().try_into().unwrap(), clip(state.clone()))).collect())
        };
        let whole = [
            ("chime/attention.flac", ClipState::Pending),
            ("enterprise/after-hours-finance.mp3", ClipState::Pending),
            ("enterprise/after-hours-staff.mp3", ClipState::Pending),
            ("fraud/fake-boss.mp3", ClipState::Pending),
        ];
        assert_eq!(ENTERPRISE.needs(&clips(&whole)).1, Vec::<String>::new());
        assert_eq!(ENTERPRISE.needs(&clips(&whole[1..])).1, ["chime/attention.flac"]);
        let mut broken = whole.clone();
        broken[3].1 = ClipState::Refused(Said::new("坏了", "broken"));
        assert_eq!(ENTERPRISE.needs(&clips(&broken)).1, ["fraud/fake-boss.mp3"]);
        assert!(VILLAGE.needs(&clips(&whole)).1.contains(&"chime/gong.wav".to_owned()));
    }

    #[test]
    fn the_schedules_that_come_with_the_program_have_no_mistake() {
        for shipped in [VILLAGE, ENTERPRISE] {
            let read = schedule::file::parse(Source::Station, shipped.file, shipped.text);
            assert!(read.schedule.is_some() && read.findings.is_empty(), "{:?}", read.findings);
        }
    }
}
