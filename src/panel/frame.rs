//! What stands around every page: names, ways to the other pages, 停播, who is signed in, what was just done.

use super::{Panel, asset, words};
use crate::{
    daemon::Snapshot,
    web::{Asked, Problem, Role},
};
use askama::Template;
use axum::{
    Json,
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// Texts around every page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub program: String,
    pub now: String,
    pub plan: String,
    pub schedules: String,
    pub clips: String,
    pub journal: String,
    pub settings: String,
    pub stop: String,
    pub sign_in: String,
    pub sign_out: String,
    pub other_language: String,
    pub problem: String,
    pub back: String,
    pub pages: String,
    pub skip: String,
    /// What was just done, by its code.
    pub said: BTreeMap<String, String>,
}

/// A page as the way to it names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// 现在
    Now,
    /// 预排
    Plan,
    /// 计划
    Schedules,
    /// 音频
    Clips,
    /// 记录
    Journal,
    /// 设置
    Settings,
    /// Something that no way leads to.
    Elsewhere,
}

/// What stands around a page.
pub(super) struct Frame {
    pub asked: Asked,
    pub words: &'static words::Words,
    pub station: String,
    pub place: Place,
    pub said: Option<&'static str>,
}

impl Frame {
    pub fn new(asked: Asked, station: &str, place: Place) -> Self {
        let words = words::Words::of(asked.language);
        // A code of ours or nothing: what stands in an address is never shown.
        let said = query(&asked.path, "said").and_then(|code| words.frame.said.get(&code)).map(String::as_str);
        Self { asked, words, station: station.to_owned(), place, said }
    }

    /// Returns the tag of the language.
    pub fn tag(&self) -> &'static str {
        self.asked.language.tag()
    }

    /// Returns whether whoever looks may do what an operator may.
    pub fn operates(&self) -> bool {
        self.asked.may(Role::Operator)
    }

    /// Returns whether whoever looks may do what an administrator may.
    pub fn administers(&self) -> bool {
        self.asked.may(Role::Admin)
    }

    /// Answers with the page, or with `view` as JSON.
    pub fn answer(&self, view: &impl Serialize, page: &impl Template) -> Response {
        if self.asked.wants_json { Json(view).into_response() } else { html(page) }
    }
}

/// Returns a page, rendered.
pub(super) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Answers a change that was made: JSON, or the page `to` with the words of `code` on it.
pub(super) fn done(asked: &Asked, facts: &impl Serialize, to: &str, code: &str) -> Response {
    if asked.wants_json {
        return Json(facts).into_response();
    }
    let mark = if to.contains('?') { '&' } else { '?' };
    crate::web::go_to(&format!("{to}{mark}said={code}"))
}

/// Returns a value of the query of an address.
pub(super) fn query(path: &str, name: &str) -> Option<String> {
    let (_, query) = path.split_once('?')?;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: &'a Frame,
    said: &'a str,
}

/// Gives a problem the form in which whoever asked wants to read it.
pub(super) async fn problem(panel: &Panel, asked: &Asked, problem: &Problem) -> Response {
    if asked.wants_json {
        return (problem.status, Json(json!({ "error": problem.said }))).into_response();
    }
    let station = panel.daemon.snapshot().await.map(|seen: Snapshot| seen.name).unwrap_or_default();
    let frame = Frame::new(asked.clone(), &station, Place::Elsewhere);
    let mut response = html(&ProblemPage { frame: &frame, said: &problem.said });
    *response.status_mut() = problem.status;
    response
}

/// `GET /style.css`
pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("assets/style.css"))
}

/// `GET /live.js`
pub(super) async fn live() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("assets/live.js"))
}
