//! 应急, 演练, 立即播放 and 抽查点名: what is said at once, with a second look before it is; and what became of it, live, in
//! the words of the stations.
//!
//! An emergency is given in two steps: the form, then a page that names everybody who will hear it and asks for a word to be
//! typed. A drill goes the same way on pages of its own colour, so that nobody takes one for the other; so does a play,
//! which keeps within quiet hours, hush and stop, and for which a press is enough.

use super::{
    Pages,
    frame::{Frame, Place, Times, done, fill},
    report::Report,
    said,
    targets::{self, Choice},
};
use crate::{
    link::{BlobId, CommandId},
    office::{
        orders::{AtStation, Clip, Followed, Hearer, Overview, Stop, Terms, Words as Speech},
        store::{About, Station},
    },
    schedule::{Volume, edit::fields::Fields},
    text::Language,
    web::{Asked, Input, Problem, Role},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// Texts of these pages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub emergency: String,
    pub emergency_hint: String,
    pub drill: String,
    pub drill_hint: String,
    pub play: String,
    pub play_hint: String,
    pub to_volume: String,
    pub to_drill: String,
    pub to_emergency: String,
    pub subject: String,
    pub sound: String,
    pub sound_hint: String,
    pub no_sounds: String,
    pub to_sounds: String,
    pub choose: String,
    pub times: String,
    pub text: String,
    pub volume: String,
    pub clear: String,
    pub clear_hint: String,
    pub clear_sound: String,
    pub no_clear: String,
    pub clear_text: String,
    pub look: String,
    pub look_title: String,
    pub drill_look_title: String,
    pub play_look_title: String,
    pub will_hear: String,
    pub are_away: String,
    pub nobody: String,
    pub type_word: String,
    pub word: String,
    pub speak: String,
    pub speak_drill: String,
    pub speak_play: String,
    pub change: String,
    pub wrong_word: String,
    pub no_sound: String,
    pub no_subject: String,
    pub not_emergency: String,
    pub before: String,
    pub none_before: String,
    pub is_drill: String,
    pub roll_call: String,
    pub roll_call_hint: String,
    pub call: String,
    pub by: String,
    pub issued: String,
    pub until: String,
    pub targets: String,
    pub stop: String,
    pub all_clear: String,
    pub all_clear_hint: String,
    pub stop_hint: String,
    pub station: String,
    pub state: String,
    pub at: String,
    pub answer: String,
    pub offline: String,
    pub no_answer: String,
    pub fine: String,
    pub no_device: String,
    pub back: String,
    pub note: String,
}

/// Lines of a list of what was ordered before.
const BEFORE: u32 = 100;
/// How often live states are looked at.
const LIVE: Duration = Duration::from_secs(1);
/// Times that a sound may be said in one go.
const MOST_TIMES: usize = 5;

/// In which of the ways something is said at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Emergency,
    Drill,
    Play,
}

impl Way {
    fn path(self) -> &'static str {
        match self {
            Self::Emergency => "/emergency",
            Self::Drill => "/drill",
            Self::Play => "/play",
        }
    }

    fn place(self) -> Place {
        if self == Self::Play { Place::Play } else { Place::Emergency }
    }

    /// The class of its pages.
    fn class(self) -> &'static str {
        match self {
            Self::Emergency => "live",
            Self::Drill => "drill",
            Self::Play => "play",
        }
    }

    fn title(self, words: &Words) -> &str {
        match self {
            Self::Emergency => &words.emergency,
            Self::Drill => &words.drill,
            Self::Play => &words.play,
        }
    }

    fn look_title(self, words: &Words) -> &str {
        match self {
            Self::Emergency => &words.look_title,
            Self::Drill => &words.drill_look_title,
            Self::Play => &words.play_look_title,
        }
    }

    /// The button that says it.
    fn speak(self, words: &Words) -> &str {
        match self {
            Self::Emergency => &words.speak,
            Self::Drill => &words.speak_drill,
            Self::Play => &words.speak_play,
        }
    }

    /// The kinds of commands that it gives.
    fn ops(self) -> &'static [&'static str] {
        if self == Self::Play { &["play"] } else { &["emergency", "stop"] }
    }
}

/// A sound to choose.
#[derive(Debug, Serialize)]
struct Offer {
    sha256: BlobId,
    title: String,
    seconds: u64,
}

async fn offers(pages: &Pages) -> Result<Vec<Offer>, Problem> {
    let sounds = pages.office.store.sounds().await?;
    let offer = |(sha256, stored): (BlobId, crate::office::store::Stored)| Offer {
        sha256,
        title: stored.title,
        seconds: stored.duration_ms.div_ceil(1000),
    };
    let mut offers: Vec<_> = sounds.into_iter().map(offer).collect();
    offers.sort_by(|a, b| (&a.title, a.sha256).cmp(&(&b.title, b.sha256)));
    Ok(offers)
}

/// What the form was filled in with.
#[derive(Debug, Clone, Default, Serialize)]
struct Filled {
    subject: String,
    text: String,
    sound: String,
    times: usize,
    volume: u8,
    clear_sound: String,
    clear_text: String,
    note: String,
}

impl Filled {
    fn read(form: &Fields) -> Self {
        let given = |name: &str| form.get(name).map(|text| text.trim().to_owned()).unwrap_or_default();
        Self {
            subject: given("subject"),
            text: given("text"),
            sound: given("sound"),
            times: given("times").parse().unwrap_or(1).clamp(1, MOST_TIMES),
            volume: given("volume").parse().unwrap_or(100).min(100),
            clear_sound: given("clear_sound"),
            clear_text: given("clear_text"),
            note: given("note"),
        }
    }

    fn fields(&self) -> Vec<(String, String)> {
        let Self { subject, text, sound, times, volume, clear_sound, clear_text, note } = self;
        let (times, volume) = (times.to_string(), volume.to_string());
        [
            ("subject", subject),
            ("text", text),
            ("sound", sound),
            ("times", &times),
            ("volume", &volume),
            ("clear_sound", clear_sound),
            ("clear_text", clear_text),
            ("note", note),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
    }

    /// What is to be heard, and what when it is over.
    fn speeches(&self, words: &Words) -> Result<(Speech, Option<Speech>), Problem> {
        if self.subject.is_empty() {
            return Err(Problem::bad(words.no_subject.clone()));
        }
        let volume = Volume::try_from(self.volume).map_err(|error| Problem::bad(error.to_string()))?;
        let clip = |sha256: &str| BlobId::try_from(sha256.to_owned()).map(|sha256| Clip::Stored { sha256 });
        let sound = clip(&self.sound).map_err(|_| Problem::bad(words.no_sound.clone()))?;
        let speech = |title: String, clips: Vec<Clip>, text: &str| Speech {
            title,
            clips,
            text: text.to_owned(),
            volume,
            longest: None,
        };
        let clear = clip(&self.clear_sound).ok().map(|sound| {
            let title = format!("{} {}", words.all_clear, self.subject);
            speech(title, vec![sound], &self.clear_text)
        });
        Ok((speech(self.subject.clone(), vec![sound; self.times], &self.text), clear))
    }
}

#[derive(Template)]
#[template(path = "emergency.html")]
struct FormPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    way: Way,
    filled: &'a Filled,
    offers: &'a [Offer],
    choice: &'a Choice,
    before: &'a [Overview],
    times: Times,
    problem: Option<String>,
}

impl FormPage<'_> {
    fn is_sound(&self, offer: &Offer) -> bool {
        self.filled.sound == offer.sha256.to_string()
    }

    fn is_clear(&self, offer: &Offer) -> bool {
        self.filled.clear_sound == offer.sha256.to_string()
    }
}

/// Returns the last commands of these kinds.
pub(super) async fn before(
    pages: &Pages,
    drill: Option<bool>,
    ops: &[&str],
    language: Language,
) -> Result<Vec<Overview>, Problem> {
    let all = pages.office.commands(drill, i64::MAX, BEFORE).await.map_err(|error| said::desk(&error, language))?;
    Ok(all.into_iter().filter(|one| ops.contains(&one.ordered.op.as_str())).take(20).collect())
}

async fn form(
    pages: &Pages,
    asked: Asked,
    way: Way,
    form: &Fields,
    problem: Option<Problem>,
) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let stations = pages.office.store.stations().await?;
    let chosen = targets::read(form, &stations, &about.division, asked.language).unwrap_or_default();
    let choice = Choice::of(&stations, &about.division, chosen);
    let (filled, offers) = (Filled::read(form), offers(pages).await?);
    let before = before(pages, Some(way == Way::Drill), way.ops(), asked.language).await?;
    let times = pages.times(asked.language);
    let status = problem.as_ref().map(|problem| problem.status);
    let facts = json!({
        "drill": way == Way::Drill, "sounds": offers, "before": before, "error": problem.as_ref().map(|problem| &problem.said),
    });
    let frame = Frame::new(asked, &about.name, way.place());
    let words = &frame.words.orders;
    let page = FormPage {
        frame: &frame,
        words,
        way,
        filled: &filled,
        offers: &offers,
        choice: &choice,
        before: &before,
        times,
        problem: problem.map(|problem| problem.said),
    };
    let mut response = frame.answer(&facts, &page);
    if let Some(status) = status {
        *response.status_mut() = status;
    }
    Ok(response)
}

/// `GET /emergency`
pub(super) async fn emergency(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    form(&pages, asked, Way::Emergency, &Fields::new(), None).await
}

/// `GET /drill`
pub(super) async fn drill(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    form(&pages, asked, Way::Drill, &Fields::new(), None).await
}

/// `GET /play`
pub(super) async fn play(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    form(&pages, asked, Way::Play, &Fields::new(), None).await
}

#[derive(Template)]
#[template(path = "emergency-look.html")]
struct LookPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    way: Way,
    filled: &'a Filled,
    sound: String,
    fields: Vec<(String, String)>,
    here: Vec<&'a Hearer>,
    away: Vec<&'a Hearer>,
    times: Times,
    problem: Option<String>,
}

impl LookPage<'_> {
    fn counted(&self, text: &str, hearers: &[&Hearer]) -> String {
        fill(text, &[("n", &hearers.len())])
    }

    fn type_word(&self) -> String {
        fill(&self.words.type_word, &[("word", &self.words.word)])
    }
}

/// `POST /emergency/look` and its like: who will hear it, before it is said.
async fn second_look(
    pages: &Pages,
    asked: Asked,
    way: Way,
    sent: &Fields,
    problem: Option<Problem>,
) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let words = &super::words::Words::of(asked.language).orders;
    let stations = pages.office.store.stations().await?;
    let filled = Filled::read(sent);
    let looked = async {
        filled.speeches(words)?;
        let targets = targets::read(sent, &stations, &about.division, asked.language)?;
        let hearers = pages.office.hearers(&targets).await.map_err(|error| said::desk(&error, asked.language))?;
        if hearers.is_empty() {
            return Err(Problem::bad(words.nobody.clone()));
        }
        Ok((targets, hearers))
    };
    let (targets, hearers) = match looked.await {
        Ok(looked) => looked,
        Err(problem) if asked.wants_json => return Err(problem),
        Err(problem) => return form(pages, asked, way, sent, Some(problem)).await,
    };
    let sound = offers(pages).await?.into_iter().find(|offer| offer.sha256.to_string() == filled.sound);
    let mut fields = filled.fields();
    fields.extend(Choice::of(&stations, &about.division, targets).fields());
    let (here, away) = hearers.iter().partition(|hearer| hearer.up);
    let word = (way == Way::Emergency).then_some(&words.word);
    let facts = json!({ "drill": way == Way::Drill, "hearers": hearers, "word": word });
    let times = pages.times(asked.language);
    let status = problem.as_ref().map(|problem| problem.status);
    let frame = Frame::new(asked, &about.name, way.place());
    let page = LookPage {
        frame: &frame,
        words,
        way,
        filled: &filled,
        sound: sound.map(|sound| sound.title).unwrap_or_default(),
        fields,
        here,
        away,
        times,
        problem: problem.map(|problem| problem.said),
    };
    let mut response = frame.answer(&facts, &page);
    if let Some(status) = status {
        *response.status_mut() = status;
    }
    Ok(response)
}

/// `POST /emergency/look`
pub(super) async fn look(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    second_look(&pages, asked, Way::Emergency, &form, None).await
}

/// `POST /drill/look`
pub(super) async fn look_drill(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    second_look(&pages, asked, Way::Drill, &form, None).await
}

/// `POST /play/look`
pub(super) async fn look_play(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    second_look(&pages, asked, Way::Play, &form, None).await
}

async fn speak(pages: &Pages, asked: Asked, way: Way, sent: &Fields) -> Result<Response, Problem> {
    let words = &super::words::Words::of(asked.language).orders;
    // Typed, not pressed: nobody speaks to a county by a slip of the hand.
    if way == Way::Emergency && sent.get("word").is_none_or(|word| word.trim() != words.word) {
        let problem = Problem::bad(fill(&words.wrong_word, &[("word", &words.word)]));
        if asked.wants_json {
            return Err(problem);
        }
        return second_look(pages, asked, way, sent, Some(problem)).await;
    }
    let (about, stations) = (pages.about().await?, pages.office.store.stations().await?);
    let filled = Filled::read(sent);
    let (speech, clear) = filled.speeches(words)?;
    let targets = targets::read(sent, &stations, &about.division, asked.language)?;
    let terms = Terms { targets, drill: way == Way::Drill, note: filled.note.clone(), ..Terms::default() };
    let (office, who) = (&pages.office, asked.name());
    let issued = match way {
        Way::Play => office.issue_play(&who, &speech, terms).await,
        Way::Emergency | Way::Drill => office.issue_emergency(&who, &speech, terms, clear.as_ref()).await,
    };
    let id = issued.map_err(|error| said::desk(&error, asked.language))?;
    match way {
        Way::Play => tracing::info!(person = who, command = %id, "a play was ordered"),
        _ => tracing::warn!(person = who, command = %id, drill = way == Way::Drill, "an emergency was ordered"),
    }
    Ok(done(&asked, &json!({ "done": "ordered", "command": id }), &format!("/orders/{id}"), "ordered"))
}

/// `POST /emergency`
pub(super) async fn give(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    speak(&pages, asked, Way::Emergency, &form).await
}

/// `POST /drill`
pub(super) async fn give_drill(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    speak(&pages, asked, Way::Drill, &form).await
}

/// `POST /play`
pub(super) async fn give_play(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    speak(&pages, asked, Way::Play, &form).await
}

#[derive(Template)]
#[template(path = "roll-call.html")]
struct RollCallPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    choice: &'a Choice,
    before: &'a [Overview],
    times: Times,
}

/// `GET /roll-call`
pub(super) async fn roll_call(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let (about, stations) = (pages.about().await?, pages.office.store.stations().await?);
    let choice = Choice::of(&stations, &about.division, Default::default());
    let before = before(&pages, None, &["report"], asked.language).await?;
    let times = pages.times(asked.language);
    let frame = Frame::new(asked, &about.name, Place::RollCall);
    let words = &frame.words.orders;
    let page = RollCallPage { frame: &frame, words, choice: &choice, before: &before, times };
    Ok(frame.answer(&json!({ "before": before }), &page))
}

/// `POST /roll-call`
pub(super) async fn call(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    let (about, stations) = (pages.about().await?, pages.office.store.stations().await?);
    let targets = targets::read(&form, &stations, &about.division, asked.language)?;
    let issued = pages.office.issue_report(&asked.name(), Terms { targets, ..Terms::default() }).await;
    let id = issued.map_err(|error| said::desk(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": "called", "command": id }), &format!("/orders/{id}"), "called"))
}

/// A command with everything that its page shows.
struct Seen {
    followed: Followed,
    about: About,
    stations: Vec<Station>,
}

async fn seen(pages: &Pages, asked: &Asked, id: &str) -> Result<Seen, Problem> {
    let id = CommandId::try_from(id.to_owned()).map_err(|_| Problem::missing(asked))?;
    let followed = pages.office.command(id).await.map_err(|error| said::desk(&error, asked.language))?;
    let followed = followed.ok_or_else(|| Problem::missing(asked))?;
    Ok(Seen { followed, about: pages.about().await?, stations: pages.office.store.stations().await? })
}

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    order: &'a Followed,
    targets: String,
    times: Times,
}

impl OrderPage<'_> {
    /// Returns whether whoever looks may stop it.
    fn may_stop(&self) -> bool {
        self.order.may_sound && may_stop(&self.frame.asked, self.order)
    }

    /// The page that such a command is given on.
    fn way(&self) -> &'static str {
        let ordered = &self.order.overview.ordered;
        match (ordered.op.as_str(), ordered.drill) {
            ("report", _) => "/roll-call",
            ("play", _) => "/play",
            ("volume", _) => "/volume",
            (_, true) => "/drill",
            (_, false) => "/emergency",
        }
    }
}

/// Whoever may give a command may stop it.
fn may_stop(asked: &Asked, order: &Followed) -> bool {
    asked.may(if order.overview.ordered.op == "play" { Role::Operator } else { Role::Admin })
}

#[derive(Template)]
#[template(path = "order-live.html")]
struct OrderLive<'a> {
    words: &'static Words,
    language: Language,
    order: &'a Followed,
    times: Times,
}

/// What a station says of the command.
fn at_said(at: &AtStation, words: &Words, language: Language) -> String {
    match &at.receipt {
        Some(receipt) => receipt.state.said().in_language(language).to_owned(),
        None if at.up => words.no_answer.clone(),
        None => words.offline.clone(),
    }
}

/// What it answered when it was called.
fn answer(at: &AtStation, words: &Words, language: Language) -> String {
    let Some(reported) = &at.report else { return String::new() };
    let report = Report::of(reported.clone(), crate::clock::wall());
    let mut parts: Vec<String> = report.playing.clone();
    parts.push(report.device.clone().unwrap_or_else(|| words.no_device.clone()));
    let faults: Vec<_> = report.faults.iter().map(|fault| fault.in_language(language).to_owned()).collect();
    if faults.is_empty() {
        parts.push(words.fine.clone());
    }
    parts.extend(faults);
    parts.join(" · ")
}

fn class(at: &AtStation) -> &'static str {
    use crate::link::State;
    match at.receipt.as_ref().map(|receipt| &receipt.state) {
        Some(State::Started | State::Finished | State::Superseded) => "played",
        Some(State::Delivered | State::Verified) => "partial",
        None if at.up => "partial",
        _ => "missed",
    }
}

fn at_time(at: &AtStation, times: &Times) -> String {
    at.receipt.as_ref().map_or_else(String::new, |receipt| times.clock(&receipt.at))
}

/// `GET /orders/{id}`
pub(super) async fn page(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let Seen { followed, about, stations } = seen(&pages, &asked, &id).await?;
    let (times, language) = (pages.times(asked.language), asked.language);
    let targets = targets::described(&followed.overview.ordered.targets, &stations, &about.division, asked.language);
    let place = match followed.overview.ordered.op.as_str() {
        "report" => Place::RollCall,
        "play" | "volume" => Place::Play,
        _ => Place::Emergency,
    };
    let frame = Frame::new(asked, &about.name, place);
    let words = &frame.words.orders;
    Ok(frame.answer(&followed, &OrderPage { frame: &frame, words, language, order: &followed, targets, times }))
}

/// `GET /orders/{id}/events`: the states, whenever one changes.
pub(super) async fn events(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    seen(&pages, &asked, &id).await?;
    let language = asked.language;
    let (name, asker, site) = (format!("order {id} {}", language.tag()), asked.clone(), pages.clone());
    pages.follow(&asked, name, move || {
        let (pages, asked, id) = (site.clone(), asker.clone(), id.clone());
        async move {
            let Seen { followed, .. } = seen(&pages, &asked, &id).await.ok()?;
            let words = &super::words::Words::of(language).orders;
            let live = OrderLive { words, language, order: &followed, times: pages.times(language) };
            Some((live.render().ok()?, LIVE))
        }
    })
}

/// `POST /orders/{id}/stop`
pub(super) async fn stop(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let followed = seen(&pages, &asked, &id).await?.followed;
    if !may_stop(&asked, &followed) {
        let said = super::words::Words::of(asked.language).orders.not_emergency.clone();
        return Err(Problem { status: StatusCode::FORBIDDEN, said });
    }
    let before = followed.overview.ordered.id;
    let issued = pages.office.issue_stop(&asked.name(), Stop::Command(before)).await;
    let id = issued.map_err(|error| said::desk(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": "ordered", "command": id }), &format!("/orders/{id}"), "ordered"))
}

/// `POST /orders/{id}/all-clear`
pub(super) async fn all_clear(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let before = seen(&pages, &asked, &id).await?.followed.overview.ordered.id;
    let issued = pages.office.issue_all_clear(&asked.name(), before).await;
    let id = issued.map_err(|error| said::desk(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": "ordered", "command": id }), &format!("/orders/{id}"), "ordered"))
}
