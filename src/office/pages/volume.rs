//! 音量: how loud the loudspeakers of chosen villages are, with a second look at whom it reaches. Each village keeps it
//! under its own ceiling; what became of it is followed as every command is ([`super::orders`]).

use super::{
    Pages,
    frame::{Frame, Place, Times, done, fill},
    orders::before,
    said,
    targets::{self, Choice},
};
use crate::{
    office::orders::{Hearer, Overview, Terms},
    schedule::{Volume, edit::fields::Fields},
    web::{Asked, Input, Problem},
};
use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;
use serde_json::json;

/// Texts of these pages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub hint: String,
    pub percent: String,
    pub note: String,
    pub look: String,
    pub look_title: String,
    pub to_be: String,
    pub here: String,
    pub away: String,
    pub set: String,
    pub change: String,
    pub bad_percent: String,
    pub nobody: String,
    pub before: String,
    pub none_before: String,
    pub back: String,
}

/// What the form was filled in with.
struct Filled {
    percent: String,
    note: String,
}

impl Filled {
    fn read(form: &Fields) -> Self {
        let given = |name: &str| form.get(name).map(|text| text.trim().to_owned()).unwrap_or_default();
        Self { percent: given("percent"), note: given("note") }
    }

    fn volume(&self, words: &Words) -> Result<Volume, Problem> {
        let percent = self.percent.parse().ok().and_then(|percent: u8| Volume::try_from(percent).ok());
        percent.ok_or_else(|| Problem::bad(words.bad_percent.clone()))
    }
}

#[derive(Template)]
#[template(path = "volume.html")]
struct FormPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    filled: &'a Filled,
    choice: &'a Choice,
    before: &'a [Overview],
    times: Times,
    problem: Option<String>,
}

async fn form(pages: &Pages, asked: Asked, sent: &Fields, problem: Option<Problem>) -> Result<Response, Problem> {
    let (about, stations) = (pages.about().await?, pages.office.store.stations().await?);
    let chosen = targets::read(sent, &stations, &about.division, asked.language).unwrap_or_default();
    let choice = Choice::of(&stations, &about.division, chosen);
    let (filled, times) = (Filled::read(sent), pages.times(asked.language));
    let before = before(pages, None, &["volume"], asked.language).await?;
    let frame = Frame::new(asked, &about.name, Place::Play);
    let words = &frame.words.volume;
    let status = problem.as_ref().map(|problem| problem.status);
    let problem = problem.map(|problem| problem.said);
    let page = FormPage { frame: &frame, words, filled: &filled, choice: &choice, before: &before, times, problem };
    let mut response = frame.answer(&json!({ "before": before }), &page);
    if let Some(status) = status {
        *response.status_mut() = status;
    }
    Ok(response)
}

/// `GET /volume`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    form(&pages, asked, &Fields::new(), None).await
}

#[derive(Template)]
#[template(path = "volume-look.html")]
struct LookPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    volume: Volume,
    note: &'a str,
    fields: Vec<(String, String)>,
    here: Vec<&'a Hearer>,
    away: Vec<&'a Hearer>,
    times: Times,
}

impl LookPage<'_> {
    fn to_be(&self) -> String {
        fill(&self.words.to_be, &[("percent", &self.volume.percent())])
    }

    fn counted(&self, text: &str, hearers: &[&Hearer]) -> String {
        fill(text, &[("n", &hearers.len())])
    }
}

/// `POST /volume/look`: whom it reaches, before it is set.
pub(super) async fn look(
    State(pages): State<Pages>,
    asked: Asked,
    Input(sent): Input<Fields>,
) -> Result<Response, Problem> {
    let (about, stations) = (pages.about().await?, pages.office.store.stations().await?);
    let words = &super::words::Words::of(asked.language).volume;
    let filled = Filled::read(&sent);
    let looked = async {
        let volume = filled.volume(words)?;
        let targets = targets::read(&sent, &stations, &about.division, asked.language)?;
        let hearers = pages.office.hearers(&targets).await.map_err(|error| said::desk(&error, asked.language))?;
        if hearers.is_empty() { Err(Problem::bad(words.nobody.clone())) } else { Ok((volume, targets, hearers)) }
    };
    let (volume, targets, hearers) = match looked.await {
        Ok(looked) => looked,
        Err(problem) if asked.wants_json => return Err(problem),
        Err(problem) => return form(&pages, asked, &sent, Some(problem)).await,
    };
    let mut fields = vec![("percent".to_owned(), filled.percent.clone()), ("note".to_owned(), filled.note.clone())];
    fields.extend(Choice::of(&stations, &about.division, targets).fields());
    let (here, away) = hearers.iter().partition(|hearer| hearer.up);
    let times = pages.times(asked.language);
    let frame = Frame::new(asked, &about.name, Place::Play);
    let page = LookPage { frame: &frame, words, volume, note: &filled.note, fields, here, away, times };
    Ok(frame.answer(&json!({ "percent": volume.percent(), "hearers": hearers }), &page))
}

/// `POST /volume`
pub(super) async fn set(
    State(pages): State<Pages>,
    asked: Asked,
    Input(sent): Input<Fields>,
) -> Result<Response, Problem> {
    let (about, stations) = (pages.about().await?, pages.office.store.stations().await?);
    let filled = Filled::read(&sent);
    let volume = filled.volume(&super::words::Words::of(asked.language).volume)?;
    let targets = targets::read(&sent, &stations, &about.division, asked.language)?;
    let terms = Terms { targets, note: filled.note, ..Terms::default() };
    let issued = pages.office.issue_volume(&asked.name(), volume, terms).await;
    let id = issued.map_err(|error| said::desk(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": "ordered", "command": id }), &format!("/orders/{id}"), "ordered"))
}
