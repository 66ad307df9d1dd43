//! `/healthz` and `/metrics`: for whoever watches the station from outside.

use super::Panel;
use crate::{
    daemon::{Gone, Snapshot},
    outcome::Outcome,
    trust::ClockState,
    web::{Asked, Problem, Role},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::fmt::Write as _;

/// `GET /healthz`: 200 only if the loop turns, the journal takes what is written, and frames flow while something is to
/// sound. Says nothing else about the station, and so to everybody.
pub(super) async fn healthz(State(panel): State<Panel>) -> Response {
    match panel.daemon.snapshot().await {
        Ok(seen) => {
            let health = &seen.health;
            let status = if health.is_good() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let facts = json!({ "ticks": health.ticks, "journal": health.journal, "frames": health.frames });
            (status, Json(facts)).into_response()
        }
        Err(Gone) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// `GET /metrics`, in the text form of Prometheus: at the machine itself, and for who has signed in.
pub(super) async fn metrics(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    if !asked.peer.is_here() && !asked.may(Role::Viewer) {
        return Ok(crate::web::sign_in::first(&asked));
    }
    let seen = panel.daemon.snapshot().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text(&seen)).into_response())
}

fn text(seen: &Snapshot) -> String {
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, help: &str, values: &[(String, f64)]| {
        let _ = writeln!(text, "# HELP dalaba_{name} {help}\n# TYPE dalaba_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "dalaba_{name}{labels} {value}");
        }
    };
    let one = |value: f64| [(String::new(), value)];
    let yes = |is: bool| one(f64::from(u8::from(is)));
    let (status, health) = (&seen.status, &seen.health);
    put("healthy", "gauge", "Loop, journal and frames go on.", &yes(health.is_good()));
    put("ready", "gauge", "Schedules loaded, clips of the next 24 h prepared, speaker answering.", &yes(seen.ready));
    put("playing", "gauge", "Announcements that sound.", &one(status.playing.len() as f64));
    put("device_ready", "gauge", "An output is open or known to be there.", &yes(status.device.is_some()));
    put("clock_believed", "gauge", "The clock is not untrusted.", &yes(status.clock != ClockState::Untrusted));
    put("stopped", "gauge", "A stop is in force.", &yes(status.stopped.is_some()));
    put("hushed", "gauge", "A hush is in force.", &yes(status.hushed.is_some()));
    put("volume_ratio", "gauge", "The station's volume.", &one(f64::from(status.volume) / 100.0));
    put("faults", "gauge", "Faults that the page shows.", &one(seen.faults.len() as f64));
    put("findings", "gauge", "Findings in the files of the home.", &one(seen.findings.len() as f64));
    let next: Vec<_> =
        status.next.first().map(|next| (String::new(), next.due.as_second() as f64)).into_iter().collect();
    put("next_due_timestamp_seconds", "gauge", "When the next announcement is due.", &next);
    let free: Vec<_> = seen.disk_free.map(|bytes| (String::new(), bytes as f64)).into_iter().collect();
    put("disk_free_bytes", "gauge", "Free where the journal grows.", &free);
    let outcomes = [
        ("played", Outcome::Played),
        ("partial", Outcome::Partial),
        ("skipped", Outcome::Skipped),
        ("missed", Outcome::Missed),
    ];
    let entries = outcomes.map(|(name, outcome)| {
        let count = health.finished.get(&outcome).copied().unwrap_or(0);
        (format!("{{outcome=\"{name}\"}}"), count as f64)
    });
    put("entries_total", "counter", "Final entries since the daemon started.", &entries);
    put("underruns_total", "counter", "The sound card ran dry.", &one(health.underruns as f64));
    text
}
