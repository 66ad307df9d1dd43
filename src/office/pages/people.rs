//! 人员: who may use the office's pages; every change is on record.

use super::{
    Pages,
    frame::{Frame, Place},
};
use crate::{
    office::store::Deed,
    web::{Asked, Problem, Role},
};
use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;
use serde_json::json;

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub hint: String,
}

#[derive(Template)]
#[template(path = "office-people.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    people: &'a [(String, Role)],
    roles: &'static [Role; 3],
    at: &'static str,
}

/// `GET /people`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let people = pages.office.people.all();
    let frame = Frame::new(asked, &about.name, Place::People);
    let words = &frame.words.people;
    let page = Page { frame: &frame, words, people: &people, roles: &Role::ALL, at: "/people" };
    Ok(frame.answer(&json!({ "people": people }), &page))
}

/// Puts on record that somebody was added, changed or removed.
pub(super) async fn note(pages: &Pages, asked: &Asked, name: &str, what: &str) -> Result<(), Problem> {
    let change = pages.office.store.change().await?;
    change.commit(&asked.name(), Deed::People, name, what).await?;
    Ok(())
}
