//! 历史: the versions that were in force, and the way back to one of them.

use super::{Foreseen, Words, blocking, files, foresee, local};
use crate::{
    daemon::Snapshot,
    home::{Home, Texts, Version},
    panel::{
        Panel,
        frame::{self, Frame, Place},
    },
    web::{Asked, Input, Problem},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// One version in the list, the newest first.
#[derive(Debug, Serialize)]
struct Row {
    revision: String,
    /// When it took effect, in the station's zone.
    effective: Option<String>,
    is_in_force: bool,
    /// Files that the version after it changed.
    changed_after: Vec<String>,
}

#[derive(Template)]
#[template(path = "schedules-history.html")]
struct ListPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    rows: &'a [Row],
}

/// `GET /schedules/history`
pub(in crate::panel) async fn list(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let versions = versions(&panel).await?;
    let mut rows: Vec<Row> = versions
        .iter()
        .enumerate()
        .map(|(at, version)| Row {
            revision: version.revision.clone(),
            effective: local(version.effective, &seen),
            is_in_force: at + 1 == versions.len() && version.revision == seen.revision,
            changed_after: versions.get(at + 1).map_or_else(Vec::new, |next| differing(&version.texts, &next.texts)),
        })
        .collect();
    rows.reverse();
    let frame = Frame::new(asked, &seen.name, Place::Schedules);
    let words = &frame.words.schedules;
    Ok(frame.answer(&json!({ "versions": rows }), &ListPage { frame: &frame, words, rows: &rows }))
}

async fn versions(panel: &Panel) -> Result<Vec<Version>, Problem> {
    let home = panel.home.clone();
    blocking(move || home.versions()).await
}

async fn version(panel: &Panel, asked: &Asked, revision: &str) -> Result<Version, Problem> {
    let found = versions(panel).await?.into_iter().rfind(|version| version.revision == revision);
    found.ok_or_else(|| Problem::missing(asked))
}

/// Returns the files in which two versions differ.
fn differing(a: &Texts, b: &Texts) -> Vec<String> {
    let all = |texts: &Texts| -> BTreeMap<String, String> {
        let station = texts.station.iter().map(|text| (crate::config::FILE.to_owned(), text.clone()));
        let files = texts.schedules.iter().chain(&texts.calendar).map(|(file, text)| (file.clone(), text.clone()));
        station.chain(files).collect()
    };
    let (a, b) = (all(a), all(b));
    let files: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    files.into_iter().filter(|file| a.get(*file) != b.get(*file)).cloned().collect()
}

/// Returns what must be written so that the schedules on disk are those of `wanted`. Files that cannot be read stay.
fn back_to(wanted: &BTreeMap<String, String>, on_disk: &Texts) -> files::Changes {
    let stem = |file: &str| {
        let stem = file.strip_prefix("schedules/")?.strip_suffix(".toml")?;
        files::is_stem(stem).then(|| stem.to_owned())
    };
    let names: BTreeSet<_> = wanted.keys().chain(on_disk.schedules.keys()).collect();
    names
        .into_iter()
        .filter(|file| wanted.get(*file) != on_disk.schedules.get(*file) && !on_disk.unreadable.contains(file))
        .filter_map(|file| Some((stem(file)?, wanted.get(file).cloned())))
        .collect()
}

/// Names everything that stands in `schedules/`.
fn base(on_disk: &Texts) -> String {
    let all: String = on_disk.schedules.iter().map(|(file, text)| format!("{file}\0{}\0{text}", text.len())).collect();
    files::base(Some(&all))
}

async fn on_disk(home: &Home) -> Result<Texts, Problem> {
    let home = home.clone();
    blocking(move || home.read().0).await
}

#[derive(Template)]
#[template(path = "schedules-version.html")]
struct VersionPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    version: &'a Version,
    effective: Option<String>,
    changes: Vec<String>,
    foreseen: &'a Foreseen,
    base: String,
}

/// `GET /schedules/history/{revision}`: its texts, and what going back to it would do.
pub(in crate::panel) async fn page(
    State(panel): State<Panel>,
    asked: Asked,
    Path(revision): Path<String>,
) -> Result<Response, Problem> {
    let version = version(&panel, &asked, &revision).await?;
    let on_disk = on_disk(&panel.home).await?;
    let changes = back_to(&version.texts.schedules, &on_disk);
    let names = changes.iter().map(|(name, _)| files::file(name)).collect();
    let foreseen = foresee(&panel, &asked, changes).await?;
    let seen: Snapshot = panel.daemon.snapshot().await?;
    let frame = Frame::new(asked, &seen.name, Place::Schedules);
    let words = &frame.words.schedules;
    let (effective, base) = (local(version.effective, &seen), base(&on_disk));
    let facts = json!({ "version": version, "changes": names, "foreseen": foreseen, "base": base });
    let page =
        VersionPage { frame: &frame, words, version: &version, effective, changes: names, foreseen: &foreseen, base };
    Ok(frame.answer(&facts, &page))
}

/// The body of `POST /schedules/history/{revision}/restore`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::panel) struct RestoreRequest {
    /// What stood in `schedules/` when the difference was shown.
    base: String,
}

/// `POST /schedules/history/{revision}/restore`: writes its schedules back.
pub(in crate::panel) async fn restore(
    State(panel): State<Panel>,
    asked: Asked,
    Path(revision): Path<String>,
    Input(request): Input<RestoreRequest>,
) -> Result<Response, Problem> {
    let _saving = panel.writing.lock().await;
    let version = version(&panel, &asked, &revision).await?;
    let on_disk = on_disk(&panel.home).await?;
    if request.base != base(&on_disk) {
        return Err(Problem::refused(asked.pick(
            "这期间有计划被改过，没有恢复；请回到历史里再看一次变化",
            "a schedule was changed meanwhile and nothing was restored; look at the difference in the history again",
        )));
    }
    files::keep(&panel, &asked, back_to(&version.texts.schedules, &on_disk)).await?;
    let facts = json!({ "done": "restored", "revision": revision });
    Ok(frame::done(&asked, &facts, "/schedules", "schedule-restored"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn going_back_writes_what_differs_removes_what_came_since_and_leaves_what_cannot_be_read() {
        let wanted = texts(&[
            ("schedules/a.toml", "1"),
            ("schedules/b.toml", "2"),
            ("schedules/locked.toml", "3"),
            ("schedules/../evil.toml", "4"),
            ("station.toml", "5"),
        ]);
        let on_disk = Texts {
            schedules: texts(&[("schedules/a.toml", "1"), ("schedules/b.toml", "x"), ("schedules/new.toml", "y")]),
            unreadable: vec!["schedules/locked.toml".into()],
            ..Texts::default()
        };
        assert_eq!(back_to(&wanted, &on_disk), [("b".into(), Some("2".into())), ("new".into(), None)]);
    }
}
