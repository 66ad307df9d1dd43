//! 计划: the schedules of the station, changed as forms or as text, with a look at what a change does before it is made.
//!
//! A change is based on a text: if the file is another by then, both are shown and nothing is changed. A text with an
//! error is not kept. What is kept is seen to be in force before anybody is told so.

pub(super) mod files;
pub(super) mod history;

use super::{
    Panel,
    frame::{self, Frame, Place},
    words,
};
use crate::{
    check,
    daemon::Snapshot,
    home::assemble,
    panel::day,
    plan::{difference, plan},
    schedule::{
        Finding, Severity, Source,
        edit::{
            self,
            fields::{self, Fields},
        },
        file, is_name,
    },
    text::Language,
    web::{Asked, Input, Parts, Problem, press},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use jiff::{Timestamp, ToSpan as _, civil::Date};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// Texts of these pages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub none: String,
    pub file: String,
    pub state: String,
    pub on: String,
    pub off: String,
    pub from: String,
    pub until: String,
    pub always: String,
    pub fine: String,
    pub edit: String,
    pub look: String,
    pub rename: String,
    pub history: String,
    pub create: String,
    pub create_name: String,
    pub create_title: String,
    pub create_button: String,
    pub enable: String,
    pub disable: String,
    pub delete: String,
    pub draft: String,
    pub findings: String,
    pub no_findings: String,
    pub line: String,
    pub torn: String,
    pub settings: String,
    pub preview: String,
    pub as_text: String,
    pub check: String,
    pub preview_title: String,
    pub next_days: String,
    pub no_difference: String,
    pub save: String,
    pub go_on: String,
    pub not_saved: String,
    pub conflict: String,
    pub conflict_yours: String,
    pub conflict_now: String,
    pub gone: String,
    pub confirm_delete: String,
    pub cancel: String,
    pub history_hint: String,
    pub revision: String,
    pub in_force: String,
    pub in_force_now: String,
    pub in_force_unknown: String,
    pub changed: String,
    pub restore: String,
    pub restore_hint: String,
    pub same: String,
}

/// The largest form with a text: a letter of the text may take nine bytes in it, and its fields hold it once more.
pub(super) const BODY: usize = 16 << 20;

/// Names that other pages have.
const TAKEN: [&str; 3] = ["check", "history", "new"];
/// Days ahead for which a difference is told.
const AHEAD: i64 = 7;

/// The schedules of the station.
#[derive(Debug, Serialize)]
struct View {
    station: String,
    schedules: Vec<Row>,
}

/// One schedule in the list.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    title: String,
    source: Source,
    enabled: bool,
    from: Option<Date>,
    until: Option<Date>,
    findings: Vec<Finding>,
    /// Whether the page can change it: a file of the station with a name that an address can carry.
    editable: bool,
}

#[derive(Template)]
#[template(path = "schedules.html")]
struct ListPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    language: Language,
    view: &'a View,
}

/// `GET /schedules`
pub(super) async fn list(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let home = panel.home.clone();
    let on_disk = blocking(move || home.read().0).await?;
    let mut rows = BTreeMap::new();
    let names = on_disk.schedules.keys().chain(&on_disk.unreadable);
    for name in names.filter_map(|file| file.strip_prefix("schedules/")?.strip_suffix(".toml")) {
        let findings = seen.findings.iter().filter(|finding| finding.file == files::file(name)).cloned().collect();
        let row = Row {
            name: name.to_owned(),
            title: name.to_owned(),
            source: Source::Station,
            enabled: true,
            from: None,
            until: None,
            findings,
            editable: is_ours(name),
        };
        rows.insert((Source::Station, name.to_owned()), row);
    }
    rows.retain(|(_, name), _| !name.contains('/'));
    for schedule in &seen.program.schedules {
        let (title, from, until) = (schedule.title.clone(), schedule.from, schedule.until);
        let key = (schedule.source, schedule.name.clone());
        match rows.get_mut(&key) {
            Some(row) => (row.title, row.enabled, row.from, row.until) = (title, schedule.enabled, from, until),
            None => {
                let (name, source, enabled) = (schedule.name.clone(), schedule.source, schedule.enabled);
                let row = Row { name, title, source, enabled, from, until, findings: Vec::new(), editable: false };
                rows.insert(key, row);
            }
        }
    }
    let view = View { station: seen.name.clone(), schedules: rows.into_values().collect() };
    let frame = Frame::new(asked, &seen.name, Place::Schedules);
    let (words, language) = (&frame.words.schedules, frame.asked.language);
    Ok(frame.answer(&view, &ListPage { frame: &frame, words, language, view: &view }))
}

/// Returns whether the page may make and change a schedule of this name.
fn is_ours(name: &str) -> bool {
    // What Windows keeps for itself, whatever follows the dot.
    let lower = name.to_ascii_lowercase();
    let device = ["con", "prn", "aux", "nul"].contains(&lower.as_str())
        || (lower.len() == 4
            && ["com", "lpt"].iter().any(|kind| lower.starts_with(kind))
            && lower.as_bytes()[3].is_ascii_digit());
    is_name(name) && !TAKEN.contains(&name) && !device
}

fn ours(asked: &Asked, name: &str) -> Result<(), Problem> {
    if is_ours(name) {
        return Ok(());
    }
    Err(Problem::bad(asked.pick(
        "计划的名字请用 1 到 64 个字母、数字、汉字、“-”或“_”，不能是 new、check、history 或 con 这类系统名",
        "a schedule's name is 1 to 64 letters, digits, - or _, and not new, check, history or a device such as con",
    )))
}

/// A text under a form's hands.
struct Draft {
    name: String,
    /// Names the text on disk that this one is based on.
    base: String,
    text: String,
    is_changed: bool,
    findings: Vec<Finding>,
    problem: Option<String>,
}

impl Draft {
    fn new(name: &str, base: String, text: String, is_changed: bool) -> Self {
        let findings = file::parse(Source::Station, &files::file(name), &text).findings;
        Self { name: name.to_owned(), base, text, is_changed, findings, problem: None }
    }
}

#[derive(Template)]
#[template(path = "schedule.html")]
struct Editor<'a> {
    frame: &'a Frame,
    words: &'static Words,
    draft: &'a Draft,
    title: String,
    /// None for a text that must be put right as text first.
    parts: Option<Parts>,
    clips: Vec<String>,
}

fn editor(asked: Asked, seen: &Snapshot, draft: &Draft) -> Response {
    let frame = Frame::new(asked, &seen.name, Place::Schedules);
    let words = &frame.words.schedules;
    let parts = Parts::of(&draft.text, &draft.name);
    let mut clips: Vec<String> = seen.program.clips.local().map(|(path, _)| path.to_string()).collect();
    let folders: std::collections::BTreeSet<_> =
        clips.iter().filter_map(|path| Some(format!("{}/", path.rsplit_once('/')?.0))).collect();
    clips.splice(0..0, folders);
    let title = parts.as_ref().map_or_else(|| draft.name.clone(), |parts| parts.settings.title().to_owned());
    let remarks: Vec<_> = draft.findings.iter().map(|finding| finding.remark(frame.asked.language)).collect();
    let facts = json!({
        "name": draft.name, "remarks": remarks, "base": draft.base, "text": draft.text, "findings": draft.findings, "fields": parts.as_ref().map(|parts| &parts.all),
        "problem": draft.problem,
    });
    let page = Editor { frame: &frame, words, draft, title, parts, clips };
    frame.answer(&facts, &page)
}

/// `GET /schedules/{name}`
pub(super) async fn page(
    State(panel): State<Panel>,
    asked: Asked,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    ours(&asked, &name)?;
    let Some(text) = files::read(&panel.home, &asked, &name)? else { return Err(Problem::missing(&asked)) };
    let seen = panel.daemon.snapshot().await?;
    let draft = Draft::new(&name, files::base(Some(&text)), text, false);
    Ok(editor(asked, &seen, &draft))
}

/// `GET /schedules/new?name=NAME&title=TITLE`: a schedule that is not written yet.
pub(super) async fn create(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let given = |name| frame::query(&asked.path, name).map(|text| text.trim().to_owned()).unwrap_or_default();
    let (name, title) = (given("name"), given("title"));
    ours(&asked, &name)?;
    if files::read(&panel.home, &asked, &name)?.is_some() {
        return Err(Problem::refused(asked.pick(
            format!("已经有名叫“{name}”的计划；请换一个名字，或在列表里打开它修改"),
            format!("there is a schedule named “{name}”; choose another name, or open that one from the list"),
        )));
    }
    let mut text = String::new();
    if !title.is_empty() {
        text = format!("title = {}\n", toml_edit::value(title.as_str()));
    }
    let seen = panel.daemon.snapshot().await?;
    let draft = Draft::new(&name, files::base(None), text, true);
    Ok(editor(asked, &seen, &draft))
}

/// Returns the text that a form carries, with its fields put in, and what it is based on; the text on disk too.
fn drafted(panel: &Panel, asked: &Asked, name: &str, form: &Fields) -> Result<(Draft, Option<String>), Problem> {
    ours(asked, name)?;
    let on_disk = files::read(&panel.home, asked, name)?;
    let sent = form.get("text").map(|text| edit::as_before(on_disk.as_deref(), text));
    let Some(text) = sent.or_else(|| on_disk.clone()) else { return Err(Problem::missing(asked)) };
    // A form that carries no field leaves even a torn text as it is.
    let text = fields::write(&text, form).unwrap_or(text);
    let base = form.get("base").cloned().unwrap_or_else(|| files::base(on_disk.as_deref()));
    let is_changed = on_disk.as_deref() != Some(&text);
    Ok((Draft::new(name, base, text, is_changed), on_disk))
}

/// `POST /schedules/{name}/edit`: a form with one of its buttons pressed; nothing is kept.
pub(super) async fn edit(
    State(panel): State<Panel>,
    asked: Asked,
    Path(name): Path<String>,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    let pressed = form.get("do").map_or("edit", String::as_str);
    if pressed == "preview" {
        return preview(State(panel), asked, Path(name), Input(form)).await;
    }
    let (draft, _) = drafted(&panel, &asked, &name, &form)?;
    let (text, problem) = press(&draft.text, pressed, &form, asked.language);
    let mut draft = Draft::new(&name, draft.base, text, true);
    draft.problem = problem.map(str::to_owned);
    let seen = panel.daemon.snapshot().await?;
    Ok(editor(asked, &seen, &draft))
}

/// The body of `POST /schedules/check`.
#[derive(Debug, Deserialize)]
pub(super) struct CheckRequest {
    name: String,
    text: String,
    #[serde(default)]
    base: String,
}

/// `POST /schedules/check`: what is wrong with a text, at its lines, while somebody writes it.
pub(super) async fn check(
    State(panel): State<Panel>,
    asked: Asked,
    Input(request): Input<CheckRequest>,
) -> Result<Response, Problem> {
    ours(&asked, &request.name)?;
    let foreseen = foresee(&panel, &asked, vec![(request.name.clone(), Some(request.text.clone()))]).await?;
    let seen = panel.daemon.snapshot().await?;
    let on_disk = files::read(&panel.home, &asked, &request.name)?;
    let text = edit::as_before(on_disk.as_deref(), &request.text);
    let mut draft = Draft::new(&request.name, request.base, text, true);
    draft.findings = foreseen.findings;
    Ok(editor(asked, &seen, &draft))
}

/// What a change would do.
#[derive(Debug, Serialize)]
struct Foreseen {
    days: Vec<difference::Day>,
    said: Vec<String>,
    findings: Vec<Finding>,
    /// Whether it may be kept.
    may_save: bool,
}

/// Returns what these changes would do to the next days.
async fn foresee(panel: &Panel, asked: &Asked, changes: files::Changes) -> Result<Foreseen, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let in_force = panel.daemon.texts().await?;
    let language = asked.language;
    blocking(move || {
        let mut texts = in_force.clone();
        let mut findings = Vec::new();
        for (name, text) in &changes {
            let file = files::file(name);
            match text {
                Some(text) => {
                    findings.extend(file::parse(Source::Station, &file, text).findings);
                    texts.schedules.insert(file, text.clone());
                }
                None => drop(texts.schedules.remove(&file)),
            }
        }
        let new = assemble(&texts, Some(&in_force), seen.program.clips.clone());
        let mut may_save = !findings.iter().any(|finding| finding.severity == Severity::Error);
        let is_meant = |finding: &Finding| {
            finding.code == "too-many-a-day" || changes.iter().any(|(name, _)| finding.file == files::file(name))
        };
        let more: Vec<_> = check::findings(&new.program, seen.now).into_iter().filter(is_meant).collect();
        may_save &= !more.iter().any(|finding| finding.code == "too-many-a-day");
        findings.extend(more);
        let today = seen.zone.to_datetime(seen.now).date();
        let window = seen.now..day::window(&seen.zone, today.saturating_add((AHEAD - 1).days())).end;
        let planned = |program| plan(program, window.clone()).occurrences;
        let days = difference::difference(&planned(&seen.program), &planned(&new.program));
        let said = days.iter().flat_map(|day| day.said(language)).collect();
        Foreseen { days, said, findings, may_save }
    })
    .await
}

#[derive(Template)]
#[template(path = "schedule-preview.html")]
struct PreviewPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    name: &'a str,
    base: &'a str,
    /// None to delete.
    text: Option<&'a str>,
    foreseen: &'a Foreseen,
}

/// `POST /schedules/{name}/preview`: what keeping this text would do, before it is done.
pub(super) async fn preview(
    State(panel): State<Panel>,
    asked: Asked,
    Path(name): Path<String>,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    let (draft, on_disk) = drafted(&panel, &asked, &name, &form)?;
    if draft.base != files::base(on_disk.as_deref()) {
        return conflict(&panel, asked, &draft, on_disk.as_deref()).await;
    }
    let text = (form.get("delete").map(String::as_str) != Some("on")).then_some(draft.text.as_str());
    let foreseen = foresee(&panel, &asked, vec![(name.clone(), text.map(str::to_owned))]).await?;
    let station = panel.daemon.snapshot().await?.name;
    let frame = Frame::new(asked, &station, Place::Schedules);
    let words = &frame.words.schedules;
    let page = PreviewPage { frame: &frame, words, name: &name, base: &draft.base, text, foreseen: &foreseen };
    let facts = json!({ "name": name, "base": draft.base, "text": text, "foreseen": foreseen });
    Ok(frame.answer(&facts, &page))
}

#[derive(Template)]
#[template(path = "schedule-conflict.html")]
struct ConflictPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    draft: &'a Draft,
    on_disk: Option<&'a str>,
    now: String,
}

/// Shows both texts; nothing was changed.
async fn conflict(panel: &Panel, asked: Asked, draft: &Draft, on_disk: Option<&str>) -> Result<Response, Problem> {
    let station = panel.daemon.snapshot().await?.name;
    let frame = Frame::new(asked, &station, Place::Schedules);
    let words = &frame.words.schedules;
    let now = files::base(on_disk);
    let facts = json!({ "error": words.conflict, "yours": draft.text, "now": on_disk, "base": now });
    let mut response = frame.answer(&facts, &ConflictPage { frame: &frame, words, draft, on_disk, now });
    *response.status_mut() = axum::http::StatusCode::CONFLICT;
    Ok(response)
}

/// `POST /schedules/{name}`: keeps a text, and sees it in force.
pub(super) async fn save(
    State(panel): State<Panel>,
    asked: Asked,
    Path(name): Path<String>,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    let _saving = panel.writing.lock().await;
    let (mut draft, on_disk) = drafted(&panel, &asked, &name, &form)?;
    if draft.base != files::base(on_disk.as_deref()) {
        return conflict(&panel, asked, &draft, on_disk.as_deref()).await;
    }
    let foreseen = foresee(&panel, &asked, vec![(name.clone(), Some(draft.text.clone()))]).await?;
    if !foreseen.may_save {
        let words = &words::Words::of(asked.language).schedules;
        (draft.findings, draft.problem) = (foreseen.findings, Some(words.not_saved.clone()));
        let seen = panel.daemon.snapshot().await?;
        let mut response = editor(asked, &seen, &draft);
        *response.status_mut() = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
    }
    files::keep(&panel, &asked, vec![(name.clone(), Some(draft.text.clone()))]).await?;
    let facts = json!({ "done": "saved", "name": name, "base": files::base(Some(&draft.text)) });
    Ok(frame::done(&asked, &facts, &address(&name), "schedule-saved"))
}

/// `POST /schedules/{name}/delete`: takes a schedule out of force; the history keeps it.
pub(super) async fn delete(
    State(panel): State<Panel>,
    asked: Asked,
    Path(name): Path<String>,
    Input(form): Input<Fields>,
) -> Result<Response, Problem> {
    let _saving = panel.writing.lock().await;
    ours(&asked, &name)?;
    let Some(on_disk) = files::read(&panel.home, &asked, &name)? else { return Err(Problem::missing(&asked)) };
    if form.get("base").is_none_or(|base| *base != files::base(Some(&on_disk))) {
        let draft = Draft::new(&name, String::new(), on_disk.clone(), false);
        return conflict(&panel, asked, &draft, Some(&on_disk)).await;
    }
    files::keep(&panel, &asked, vec![(name.clone(), None)]).await?;
    Ok(frame::done(&asked, &json!({ "done": "deleted", "name": name }), "/schedules", "schedule-deleted"))
}

/// Returns the address of a schedule's page.
fn address(name: &str) -> String {
    let mut to = "/schedules/".to_owned();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            to.push(char::from(byte));
        } else {
            to.push_str(&format!("%{byte:02X}"));
        }
    }
    to
}

/// Does what takes a while beside the daemon's loop, which shares its thread with the pages.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::failed(error.to_string()))
}

/// Returns a moment as people read it.
fn local(at: Option<Timestamp>, seen: &Snapshot) -> Option<String> {
    at.map(|at| seen.zone.to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// `GET /schedules.js`
pub(super) async fn script() -> Response {
    crate::web::asset("text/javascript; charset=utf-8", include_str!("assets/schedules.js"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_stays_in_its_folder_is_ours() {
        for (name, is) in [
            ("daily", true),
            ("早间_2", true),
            ("a-b", true),
            ("", false),
            ("..", false),
            (".hidden", false),
            ("calendar/2026", false),
            ("..%2fstation", false),
            ("a b", false),
            ("a\\b", false),
            ("C:x", false),
            ("NUL", false),
            ("com1", false),
            ("history", false),
            (&"长".repeat(64), true),
            (&"长".repeat(65), false),
        ] {
            assert_eq!(is_ours(name), is, "{name}");
        }
    }

    #[test]
    fn an_address_holds_a_name_of_any_script() {
        assert_eq!(address("早a-1"), "/schedules/%E6%97%A9a-1");
    }
}
