//! The screen (`/screen`): for a television or a strip of lights beside the loudspeaker. It shows the words of what sounds
//! while it sounds, the clock and what comes next, and nothing else of the station. No sign-in; `[panel] screen` says who
//! may look.

use super::{Panel, frame};
use crate::{
    config::Screen,
    daemon::Snapshot,
    plan::Occurrence,
    web::{Asked, Problem},
};
use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, time::Duration};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub next: String,
}

/// What stands on the screen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct View {
    /// The words of what sounds; empty between announcements.
    text: String,
    /// How large they can be: `few`, `some` or `many`.
    size: &'static str,
    /// The station's time of day.
    clock: String,
    /// What comes next, with its time of day; empty where nothing does.
    next: String,
}

impl View {
    fn of(seen: &Snapshot) -> Self {
        let local = |at: Timestamp| at.to_zoned_datetime(seen.zone.clone());
        // The one above background, where both sound.
        let sounding = seen.status.playing.iter().map(|playing| &playing.occurrence).max_by_key(|one| one.band);
        let text = sounding.map_or_else(String::new, words_of);
        let next = seen.status.next.iter().find(|next| next.start > seen.now).map_or_else(String::new, |next| {
            let due = local(next.due);
            let form = if due.date() == local(seen.now).date() { "%H:%M" } else { "%m-%d %H:%M" };
            format!("{} {}", due.strftime(form), next.title)
        });
        let size = match text.chars().count() {
            0..=12 => "few",
            13..=36 => "some",
            _ => "many",
        };
        Self { text, size, clock: local(seen.now).strftime("%H:%M:%S").to_string(), next }
    }
}

/// Returns what is to be read while an announcement sounds.
fn words_of(occurrence: &Occurrence) -> String {
    occurrence.screen.clone().unwrap_or_else(|| occurrence.title.clone())
}

#[derive(Template)]
#[template(path = "screen.html")]
struct Page<'a> {
    tag: &'static str,
    words: &'static Words,
    view: &'a View,
}

/// Returns whether they may look at the screen.
fn may_look(screen: Screen, asked: &Asked) -> bool {
    match screen {
        Screen::Machine => asked.peer.is_here(),
        Screen::Lan => true,
        Screen::Off => false,
    }
}

/// `GET /screen`
pub(super) async fn page(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    if !may_look(seen.config.screen, &asked) {
        return Err(Problem::missing(&asked));
    }
    let view = View::of(&seen);
    if asked.wants_json {
        return Ok(Json(view).into_response());
    }
    let words = &super::words::Words::of(asked.language).screen;
    Ok(frame::html(&Page { tag: asked.language.tag(), words, view: &view }))
}

/// Between two looks: often enough that words and sound are one, and that the clock does not skip.
const LOOK: Duration = Duration::from_millis(250);

/// `GET /screen/events`: what stands on the screen, whenever that changes, as server-sent events of JSON.
pub(super) async fn events(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    if !may_look(panel.daemon.snapshot().await?.config.screen, &asked) {
        return Err(Problem::missing(&asked));
    }
    let (send, receive) = tokio::sync::mpsc::channel::<View>(1);
    tokio::spawn(async move {
        let mut last = View::default();
        while let Ok(seen) = panel.daemon.snapshot().await {
            if !may_look(seen.config.screen, &asked) {
                return;
            }
            let view = View::of(&seen);
            if view != last {
                // Nobody looks any more.
                if send.send(view.clone()).await.is_err() {
                    return;
                }
                last = view;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = send.closed() => return,
            }
        }
    });
    let event = |view: View| Ok::<_, Infallible>(Event::default().json_data(view).unwrap_or_default());
    let stream = ReceiverStream::new(receive).map(event);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

/// `GET /screen.css`
pub(super) async fn style() -> Response {
    crate::web::asset("text/css; charset=utf-8", include_str!("assets/screen.css"))
}

/// `GET /screen.js`
pub(super) async fn script() -> Response {
    crate::web::asset("text/javascript; charset=utf-8", include_str!("assets/screen.js"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{text::Language, web::Peer};

    #[test]
    fn the_station_file_says_who_may_look() {
        let asked = |remote: &str| Asked {
            peer: Peer { remote: remote.parse().unwrap(), local: "192.168.1.9:8650".parse().unwrap(), is_tls: true },
            who: None,
            is_new: false,
            language: Language::Chinese,
            wants_json: false,
            path: "/screen".into(),
        };
        let (here, lan) = (asked("127.0.0.1:9"), asked("192.168.1.20:9"));
        for (screen, at_machine, from_lan) in
            [(Screen::Machine, true, false), (Screen::Lan, true, true), (Screen::Off, false, false)]
        {
            assert_eq!((may_look(screen, &here), may_look(screen, &lan)), (at_machine, from_lan), "{screen:?}");
        }
    }
}
