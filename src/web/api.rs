//! What the commands ask: JSON in, JSON out.

use super::Web;
use crate::{
    conductor::{Command, Done, Playable, Refusal},
    daemon::{Gone, manual_id},
    plan::Line,
    schedule::Volume,
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The operator on record for a command that came with the token.
const OPERATOR: &str = "local";

/// The body of `POST /api/play`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayRequest {
    /// A clip's path under `audio/`, or the key of an announcement.
    pub what: String,
    /// Passes quiet hours, hush and stop.
    #[serde(default)]
    pub emergency: bool,
    /// Why; required for an emergency.
    pub note: Option<String>,
}

/// The body of `POST /api/hush`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HushRequest {
    until: Timestamp,
    note: Option<String>,
}

/// The body of `POST /api/volume`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VolumeRequest {
    percent: Volume,
}

/// `GET /api/next`: the next occurrence, whether the daemon is ready, and what is wrong.
pub(super) async fn next(State(web): State<Web>) -> Result<Response, Gone> {
    let seen = web.daemon.snapshot().await?;
    let next = seen.status.next.first().map(|occurrence| Line::new(occurrence, &seen.zone));
    Ok(Json(json!({ "ready": seen.ready, "next": next, "faults": seen.faults })).into_response())
}

/// `POST /api/play`: plays one announcement or clip now, ahead of the plan.
pub(super) async fn play(State(web): State<Web>, Json(request): Json<PlayRequest>) -> Result<Response, Gone> {
    let what = match web.daemon.clip_named(&request.what).await? {
        Some(path) => Playable::Clip(path),
        None => Playable::Announcement(request.what),
    };
    let command = Command::Play {
        id: manual_id(),
        what,
        operator: OPERATOR.into(),
        emergency: request.emergency,
        note: request.note,
    };
    Ok(answer(web.daemon.command(command).await?))
}

/// `POST /api/stop`: silence at once, until released or for 30 minutes.
pub(super) async fn stop(State(web): State<Web>) -> Result<Response, Gone> {
    Ok(answer(web.daemon.command(Command::Stop { operator: OPERATOR.into() }).await?))
}

/// `POST /api/release`: ends a stop.
pub(super) async fn release(State(web): State<Web>) -> Result<Response, Gone> {
    Ok(answer(web.daemon.command(Command::Release { operator: OPERATOR.into() }).await?))
}

/// `POST /api/hush`: silence until a time.
pub(super) async fn hush(State(web): State<Web>, Json(request): Json<HushRequest>) -> Result<Response, Gone> {
    Ok(answer(
        web.daemon
            .command(Command::Hush { until: request.until, operator: OPERATOR.into(), note: request.note })
            .await?,
    ))
}

/// `POST /api/volume`: the station's volume.
pub(super) async fn volume(State(web): State<Web>, Json(request): Json<VolumeRequest>) -> Result<Response, Gone> {
    Ok(answer(web.daemon.command(Command::Volume { volume: request.percent, operator: OPERATOR.into() }).await?))
}

/// `POST /api/confirm-clock`: a person says that the clock is right.
pub(super) async fn confirm_clock(State(web): State<Web>) -> Result<Response, Gone> {
    Ok(answer(web.daemon.command(Command::ConfirmClock { operator: OPERATOR.into() }).await?))
}

fn answer(answer: Result<Done, Refusal>) -> Response {
    match answer {
        Ok(done) => Json(done_json(&done)).into_response(),
        Err(refusal) => {
            (StatusCode::CONFLICT, Json(json!({ "error": format!("没有执行：{refusal}") }))).into_response()
        }
    }
}

fn done_json(done: &Done) -> serde_json::Value {
    match done {
        Done::Playing(occurrence) => json!({ "done": "playing", "occurrence": occurrence }),
        Done::Stopped(until) => json!({ "done": "stopped", "until": until }),
        Done::Released => json!({ "done": "released" }),
        Done::Hushed(until) => json!({ "done": "hushed", "until": until }),
        Done::Unhushed => json!({ "done": "unhushed" }),
        Done::Volume(percent) => json!({ "done": "volume", "percent": percent }),
        Done::Confirmed => json!({ "done": "confirmed" }),
    }
}

impl IntoResponse for Gone {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}
