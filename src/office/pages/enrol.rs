//! 入网: a code that is read to a village, and the stations that asked by one and wait for a clerk who has compared the words.

use super::{
    Pages,
    frame::{Frame, Place, Times, done},
    said,
    station::named,
};
use crate::{
    clock,
    link::Division,
    office::{
        enrol::Invitation,
        store::{Station, StationState},
    },
    web::{Asked, Input, Problem, Role, ticked},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub make: String,
    pub make_hint: String,
    pub name: String,
    pub division: String,
    pub division_hint: String,
    pub make_it: String,
    pub code: String,
    pub code_hint: String,
    pub code_until: String,
    pub words: String,
    pub words_hint: String,
    pub waiting: String,
    pub nobody: String,
    pub asked: String,
    pub replaces: String,
    pub same: String,
    pub confirm: String,
    pub decline: String,
    pub open: String,
    pub open_hint: String,
    pub not_compared: String,
    pub bad_division: String,
    pub many: String,
    pub many_hint: String,
    pub uses: String,
    pub automatic: String,
    pub bad_uses: String,
    pub admin_only: String,
    pub key: String,
}

/// A code as it is read out, once.
#[derive(Debug, Serialize)]
struct Made {
    code: String,
    name: String,
    expires: Timestamp,
}

/// A code that still lets somebody in.
#[derive(Debug, Serialize)]
struct Open {
    name: String,
    division: Division,
    made_by: String,
    expires: Timestamp,
}

#[derive(Debug, Serialize)]
struct View {
    made: Option<Made>,
    /// What both sides compare.
    words: String,
    waiting: Vec<Station>,
    open: Vec<Open>,
    division: Division,
    #[serde(skip)]
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a View,
    times: Times,
}

impl Page<'_> {
    /// The beginning of the key that asks: what two people can compare when in doubt.
    fn key<'a>(&self, station: &'a Station) -> &'a str {
        let key = station.next_key.as_ref().unwrap_or(&station.key);
        key.get(..16).unwrap_or(key)
    }
}

/// `GET /enrol`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    show(&pages, asked, None, None).await
}

async fn show(pages: &Pages, asked: Asked, made: Option<Made>, problem: Option<String>) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let mut waiting = pages.office.store.stations().await?;
    let waits = |station: &Station| {
        station.state == StationState::Pending || (station.state == StationState::Active && station.next_key.is_some())
    };
    waiting.retain(waits);
    waiting.sort_by_key(|station| station.asked);
    let codes = pages.office.store.codes(clock::wall()).await?;
    let open = codes.into_iter().map(|code| Open {
        name: code.name,
        division: code.division,
        made_by: code.made_by,
        expires: code.expires,
    });
    let times = pages.times(asked.language);
    let frame = Frame::new(asked, &about.name, Place::Enrol);
    let view = View {
        made,
        words: pages.office.keys.words().said(frame.asked.language),
        waiting,
        open: open.collect(),
        division: about.division,
        problem,
    };
    let words = &frame.words.enrol;
    Ok(frame.answer(&view, &Page { frame: &frame, words, view: &view, times }))
}

/// The body of `POST /enrol/code`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeForm {
    #[serde(default)]
    name: String,
    division: String,
    /// How many stations may ask by it; one where it is left empty.
    #[serde(default)]
    uses: String,
    /// They are taken in without a clerk: for trying things out, and an administrator's to allow.
    #[serde(default, deserialize_with = "ticked")]
    automatic: bool,
}

/// `POST /enrol/code`: the answer shows the code, this once.
pub(super) async fn make(
    State(pages): State<Pages>,
    asked: Asked,
    Input(form): Input<CodeForm>,
) -> Result<Response, Problem> {
    let words = &super::words::Words::of(asked.language).enrol;
    let division = Division::try_from(form.division.trim().to_owned());
    let division = division.map_err(|_| Problem::bad(words.bad_division.clone()))?;
    let name = form.name.trim().to_owned();
    if form.automatic && !asked.may(Role::Admin) {
        return Err(Problem { status: StatusCode::FORBIDDEN, said: words.admin_only.clone() });
    }
    let uses = match form.uses.trim() {
        "" => 1,
        text => text.parse().map_err(|_| Problem::bad(words.bad_uses.clone()))?,
    };
    let invitation = Invitation { division, name: name.clone(), uses, automatic: form.automatic };
    match pages.office.make_code(&asked.name(), invitation).await {
        Ok((code, expires)) => show(&pages, asked, Some(Made { code, name, expires }), None).await,
        Err(error) => Err(said::enrol(&error, asked.language)),
    }
}

/// The body of `POST /enrol/{id}/confirm`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmForm {
    #[serde(default, deserialize_with = "ticked")]
    same: bool,
}

/// `POST /enrol/{id}/confirm`: whoever agrees has compared the words.
pub(super) async fn confirm(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
    Input(form): Input<ConfirmForm>,
) -> Result<Response, Problem> {
    if !form.same {
        return Err(Problem::bad(super::words::Words::of(asked.language).enrol.not_compared.clone()));
    }
    let station = named(&pages, id, &asked).await?;
    let confirmed = pages.office.confirm(&asked.name(), &station.id).await;
    confirmed.map_err(|error| said::enrol(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": "confirmed", "station": station.id }), "/enrol", "confirmed"))
}

/// `POST /enrol/{id}/decline`: whoever asked is forgotten.
pub(super) async fn decline(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let station = named(&pages, id, &asked).await?;
    let declined = pages.office.decline(&asked.name(), &station.id).await;
    declined.map_err(|error| said::enrol(&error, asked.language))?;
    Ok(done(&asked, &json!({ "done": "declined", "station": station.id }), "/enrol", "declined"))
}
