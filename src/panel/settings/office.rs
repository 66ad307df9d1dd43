//! The office in the settings: ask to be taken in, compare the words, see how it stands, leave.
//!
//! Not here: what is said to the office and what is believed of it ([`crate::link`]).

use super::super::{Panel, frame};
use crate::{
    daemon::Handle,
    link::shell::EnrolError,
    web::{Asked, Input, Problem},
};
use axum::{extract::State, response::Response};
use serde::Deserialize;
use serde_json::json;

/// Texts of this part.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::panel) struct Words {
    pub title: String,
    pub alone: String,
    pub address: String,
    pub code: String,
    pub code_hint: String,
    pub enrol: String,
    pub compare: String,
    pub compare_hint: String,
    pub same: String,
    pub differ: String,
    pub waiting: String,
    pub member: String,
    pub up: String,
    pub down: String,
    pub heard: String,
    pub never: String,
    pub plans: String,
    pub no_plans: String,
    pub revision: String,
    pub leave: String,
    pub leave_hint: String,
    pub give_up: String,
}

/// The body of `POST /settings/office/enrol`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::panel) struct EnrolForm {
    office: String,
    code: String,
}

/// `POST /settings/office/enrol`
pub(in crate::panel) async fn enrol(
    State(panel): State<Panel>,
    asked: Asked,
    Input(form): Input<EnrolForm>,
) -> Result<Response, Problem> {
    let result = panel.daemon.office().enrol(form.office, form.code).await;
    answer(&panel.daemon, &asked, result, "office-asked")
}

/// `POST /settings/office/compared`
pub(in crate::panel) async fn compared(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let result = panel.daemon.office().compared().await;
    answer(&panel.daemon, &asked, result, "office-compared")
}

/// `POST /settings/office/leave`
pub(in crate::panel) async fn leave(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let result = panel.daemon.office().leave().await;
    answer(&panel.daemon, &asked, result, "office-left")
}

fn answer(daemon: &Handle, asked: &Asked, result: Result<(), EnrolError>, code: &str) -> Result<Response, Problem> {
    result.map_err(|error| Problem::refused(error.said().in_language(asked.language)))?;
    let view = daemon.office().view();
    tracing::info!(operator = asked.name(), stage = ?view.stage, "the office of this station: {code}");
    Ok(frame::done(asked, &json!({ "done": code, "office": view }), "/settings#office", code))
}
