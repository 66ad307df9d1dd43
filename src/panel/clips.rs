//! 音频: every clip by folder, how loud it was and is, where it is used; listening, and what a person may do with it.
//!
//! Nothing is ever deleted here: a clip that is to go is retired, so that the journal's titles stay true and it can come
//! back. What is written about a clip goes into `audio/clips.toml`, as a person would write it.

use super::{
    Panel, aside,
    frame::{self, Frame, Place},
    upload::{self, Received, To},
    words,
};
use crate::{
    daemon::{Gone, Snapshot},
    ingest::Prepared,
    library::{
        learned,
        shelf::{self, ENDINGS, Note, ShelfError},
    },
    plan::{Clip, ClipState, Program},
    schedule::{ClipPath, PlayPath},
    text::Language,
    web::{Asked, Input, Problem},
};
use askama::Template;
use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::File,
    ops::Range,
    time::{Duration, UNIX_EPOCH},
};

/// Texts of these pages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub nothing: String,
    pub nothing_yet: String,
    pub top_folder: String,
    pub clip: String,
    pub length: String,
    pub loudness: String,
    pub gain: String,
    pub used: String,
    pub unused: String,
    pub validity: String,
    pub always: String,
    pub from: String,
    pub until: String,
    pub state: String,
    pub ready: String,
    pub importing: String,
    pub retired: String,
    pub over: String,
    pub early: String,
    pub upload: String,
    pub upload_hint: String,
    pub files: String,
    pub folder: String,
    pub new_folder: String,
    pub send: String,
    pub drop_here: String,
    pub cancel: String,
    pub cancelled: String,
    pub sending: String,
    pub checking: String,
    pub lost: String,
    pub uploaded: String,
    pub taken: String,
    pub importing_said: String,
    pub refused: String,
    pub to_clip: String,
    pub back: String,
    pub listen: String,
    pub wave: String,
    pub file: String,
    pub codec: String,
    pub peak: String,
    pub fingerprint: String,
    pub about: String,
    pub name: String,
    pub name_hint: String,
    pub valid_from: String,
    pub valid_until: String,
    pub save: String,
    pub retire: String,
    pub retire_hint: String,
    pub bring_back: String,
    pub replace: String,
    pub replace_hint: String,
    pub move_it: String,
    pub move_hint: String,
    pub file_name: String,
    pub cannot_move: String,
    pub bad_date: String,
    pub backwards: String,
    pub long_name: String,
    pub too_big: String,
    pub busy: String,
    pub broken_off: String,
    pub no_form: String,
    pub no_file: String,
    pub other_ending: String,
    pub disk_full: String,
    pub not_ready: String,
}

/// How a clip stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    Ready,
    Importing,
    Refused,
    Retired,
    /// Its last day is past.
    Over,
    /// Its first day is to come.
    Early,
}

/// One clip as the pages show it.
#[derive(Debug, Serialize)]
struct Row {
    path: ClipPath,
    title: String,
    standing: Standing,
    /// Why it was refused.
    refused: Option<String>,
    duration_ms: Option<u64>,
    /// As it came.
    loudness_lufs: Option<f64>,
    true_peak_dbtp: Option<f64>,
    /// What the station adds.
    gain_db: Option<f64>,
    /// As it plays at full volume.
    plays_at_lufs: Option<f64>,
    codec: Option<String>,
    sha256: Option<String>,
    /// Titles of the announcements in force that may play it.
    used: Vec<String>,
    valid_from: Option<Date>,
    valid_until: Option<Date>,
    retired: bool,
}

impl Row {
    fn new(
        path: &ClipPath,
        clip: &Clip,
        known: Option<&Prepared>,
        program: &Program,
        today: Date,
        language: Language,
    ) -> Self {
        let (sha256, gain) = match &clip.state {
            ClipState::Ready { sha256, gain, .. } => (Some(sha256.clone()), Some(f64::from(*gain))),
            ClipState::Pending | ClipState::Refused(_) => (None, None),
        };
        // What was learned of an earlier file of this name says nothing of this one.
        let known = known.filter(|known| Some(&known.sha256) == sha256.as_ref());
        let gain_db = gain.map(|gain| 20.0 * gain.log10());
        let mix = known.and_then(|known| known.mix_lufs);
        Self {
            path: path.clone(),
            title: clip.title.clone(),
            standing: standing(clip, today),
            refused: match &clip.state {
                ClipState::Refused(why) => Some(why.in_language(language).to_owned()),
                ClipState::Ready { .. } | ClipState::Pending => None,
            },
            duration_ms: known.map(|known| known.duration_ms),
            loudness_lufs: known.and_then(|known| known.loudness_lufs),
            true_peak_dbtp: known.map(|known| known.true_peak_dbtp),
            gain_db,
            plays_at_lufs: mix.zip(gain_db).map(|(mix, gain)| mix + gain),
            codec: known.map(|known| known.codec.clone()),
            sha256,
            used: uses(program, path).into_iter().map(|using| using.title).collect(),
            valid_from: clip.valid_from,
            valid_until: clip.valid_until,
            retired: clip.retired,
        }
    }

    fn name(&self) -> &str {
        self.path.as_str().rsplit('/').next().unwrap_or_default()
    }

    fn folder(&self) -> &str {
        folder(&self.path)
    }

    /// The path as a part of an address.
    fn address(&self) -> String {
        address(self.path.as_str())
    }

    fn length(&self) -> String {
        self.duration_ms.map_or_else(String::new, |ms| {
            let seconds = (ms + 500) / 1000;
            format!("{}:{:02}", seconds / 60, seconds % 60)
        })
    }

    /// `-23.1 → -16.0 LUFS`
    fn loudness(&self) -> String {
        match (self.loudness_lufs, self.plays_at_lufs) {
            (Some(before), Some(after)) => format!("{before:.1} → {after:.1} LUFS"),
            _ => String::new(),
        }
    }

    fn gain(&self) -> String {
        self.gain_db.map_or_else(String::new, |gain| format!("{gain:+.1} dB"))
    }

    fn peak(&self) -> String {
        self.true_peak_dbtp.map_or_else(String::new, |peak| format!("{peak:.1} dBTP"))
    }

    fn said<'a>(&'a self, words: &'a Words) -> &'a str {
        match self.standing {
            Standing::Ready => &words.ready,
            Standing::Importing => &words.importing,
            Standing::Refused => self.refused.as_deref().unwrap_or(&words.refused),
            Standing::Retired => &words.retired,
            Standing::Over => &words.over,
            Standing::Early => &words.early,
        }
    }

    fn class(&self) -> &'static str {
        match self.standing {
            Standing::Ready => "played",
            Standing::Importing | Standing::Early => "to-come",
            Standing::Refused => "missed",
            Standing::Retired | Standing::Over => "skipped",
        }
    }

    fn validity(&self, words: &Words) -> String {
        let from = self.valid_from.map(|day| format!("{} {day}", words.from));
        let until = self.valid_until.map(|day| format!("{} {day}", words.until));
        let parts: Vec<_> = from.into_iter().chain(until).collect();
        if parts.is_empty() { words.always.clone() } else { parts.join(" ") }
    }

    fn is_ready(&self) -> bool {
        self.sha256.is_some()
    }
}

fn standing(clip: &Clip, today: Date) -> Standing {
    match &clip.state {
        _ if clip.retired => Standing::Retired,
        ClipState::Refused(_) => Standing::Refused,
        ClipState::Pending => Standing::Importing,
        ClipState::Ready { .. } if clip.valid_until.is_some_and(|until| until < today) => Standing::Over,
        ClipState::Ready { .. } if clip.valid_from.is_some_and(|from| today < from) => Standing::Early,
        ClipState::Ready { .. } => Standing::Ready,
    }
}

fn folder(path: &ClipPath) -> &str {
    path.as_str().rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Writes a path as a part of an address.
fn address(path: &str) -> String {
    let part = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(part).collect()
}

/// An announcement that may play a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Using {
    title: String,
    /// The folder that stands for the clip; none where the clip is named itself.
    folder: Option<ClipPath>,
}

/// Returns the announcements in force that may play this clip, in order of schedule and key.
fn uses(program: &Program, path: &ClipPath) -> Vec<Using> {
    let mut found = Vec::new();
    for announcement in program.schedules.iter().flat_map(|schedule| schedule.announcements.values()) {
        let title = || announcement.title.clone();
        let named = announcement.chime.as_ref() == Some(path)
            || announcement.play.iter().any(|play| matches!(play, PlayPath::Clip(clip) if clip == path));
        let within = announcement.play.iter().find_map(|play| match play {
            PlayPath::Folder(folder) if path.is_in(folder) => Some(folder.clone()),
            PlayPath::Folder(_) | PlayPath::Clip(_) => None,
        });
        if named {
            found.push(Using { title: title(), folder: None });
        } else if within.is_some() {
            found.push(Using { title: title(), folder: within });
        }
    }
    found
}

/// Returns whose announcements would lose the clip if it had another path.
fn holding(program: &Program, from: &ClipPath, to: &ClipPath) -> Vec<String> {
    let stays = |using: &Using| using.folder.as_ref().is_some_and(|folder| to.is_in(folder));
    uses(program, from).into_iter().filter(|using| !stays(using)).map(|using| using.title).collect()
}

/// The clips of a folder.
#[derive(Debug, Serialize)]
struct Folder {
    /// Empty for `audio/` itself.
    name: String,
    clips: Vec<Row>,
}

/// Every clip.
#[derive(Debug, Serialize)]
struct View {
    station: String,
    folders: Vec<Folder>,
}

impl View {
    /// Returns whether this folder has the most clips: what comes in most likely belongs there.
    fn is_largest(&self, folder: &Folder) -> bool {
        let most = self.folders.iter().map(|folder| folder.clips.len()).max();
        self.folders.iter().find(|folder| Some(folder.clips.len()) == most).is_some_and(|most| most.name == folder.name)
    }
}

fn today(seen: &Snapshot) -> Date {
    seen.now.to_zoned_datetime(seen.zone.clone()).date()
}

async fn rows(panel: &Panel, seen: &Snapshot, language: Language) -> Result<Vec<Row>, Problem> {
    let (data, program, today) = (panel.home.data(), seen.program.clone(), today(seen));
    panel
        .aside
        .run(move || {
            let known = learned(&data);
            let row = |(path, clip)| Row::new(path, clip, known.get(path), &program, today, language);
            program.clips.local().map(row).collect()
        })
        .await
}

#[derive(Template)]
#[template(path = "clips.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a View,
    takes: String,
}

/// `GET /clips`
pub(super) async fn page(State(panel): State<Panel>, asked: Asked) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let mut folders: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows(&panel, &seen, asked.language).await? {
        folders.entry(row.folder().to_owned()).or_default().push(row);
    }
    let folders = folders.into_iter().map(|(name, clips)| Folder { name, clips }).collect();
    let view = View { station: seen.name.clone(), folders };
    let frame = Frame::new(asked, &seen.name, Place::Clips);
    let words = &frame.words.clips;
    Ok(frame.answer(&view, &Page { frame: &frame, words, view: &view, takes: takes() }))
}

/// What a browser's dialog for files offers.
fn takes() -> String {
    ENDINGS.map(|ending| format!(".{ending}")).join(",")
}

#[derive(Template)]
#[template(path = "clip.html")]
struct ClipPage<'a> {
    frame: &'a Frame,
    words: &'static Words,
    row: &'a Row,
    folders: Vec<String>,
    accepts: String,
}

/// Returns the path of a clip that the station knows.
fn known(seen: &Snapshot, path: String, asked: &Asked) -> Result<ClipPath, Problem> {
    let path = ClipPath::try_from(path).map_err(|_| Problem::missing(asked))?;
    if path.is_local() && seen.program.clips.get(&path).is_some() { Ok(path) } else { Err(Problem::missing(asked)) }
}

/// `GET /clips/{path}`
pub(super) async fn clip(
    State(panel): State<Panel>,
    Path(path): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let path = known(&seen, path, &asked)?;
    let rows = rows(&panel, &seen, asked.language).await?;
    let mut folders: Vec<String> = rows.iter().map(|row| row.folder().to_owned()).collect();
    folders.dedup();
    folders.sort();
    folders.dedup();
    let Some(row) = rows.into_iter().find(|row| row.path == path) else { return Err(Problem::missing(&asked)) };
    let accepts = shelf::ending(row.name()).map_or_else(takes, |ending| format!(".{ending}"));
    let frame = Frame::new(asked, &seen.name, Place::Clips);
    let words = &frame.words.clips;
    Ok(frame.answer(&row, &ClipPage { frame: &frame, words, row: &row, folders, accepts }))
}

/// What a browser is told of a file, by its ending: never more than that it is a sound.
fn kind(path: &ClipPath) -> &'static str {
    match shelf::ending(path.as_str()).as_deref() {
        Some("mp3" | "mp2") => "audio/mpeg",
        Some("wav") => "audio/wav",
        Some("flac") => "audio/flac",
        Some("m4a" | "mp4") => "audio/mp4",
        Some("aac") => "audio/aac",
        Some("ogg" | "oga" | "opus") => "audio/ogg",
        Some("aif" | "aiff") => "audio/aiff",
        _ => "application/octet-stream",
    }
}

/// What of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Bytes(Range<u64>),
    /// Nothing of the file lies there.
    Outside,
}

/// Reads a `Range`; what we do not serve in parts (several ranges, other units) is served whole.
fn part(range: Option<&str>, length: u64) -> Part {
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Part::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Part::Whole,
        (Some(first), _) if first >= length && (last.is_empty() || number(last).is_some()) => Part::Outside,
        (Some(first), Some(last)) => Part::Bytes(first..last.saturating_add(1).min(length)),
        (Some(first), None) if last.is_empty() => Part::Bytes(first..length),
        (None, Some(0)) if first.is_empty() => Part::Outside,
        (None, Some(_)) if first.is_empty() && length == 0 => Part::Outside,
        (None, Some(count)) if first.is_empty() => Part::Bytes(length.saturating_sub(count)..length),
        _ => Part::Whole,
    }
}

/// `GET /clip-audio/{path}`: the file as it came.
pub(super) async fn audio(
    State(panel): State<Panel>,
    Path(path): Path<String>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let path = known(&seen, path, &asked)?;
    let (audio, clip) = (panel.home.audio(), path.clone());
    let open = move || {
        let file = File::open(shelf::existing(&audio, &clip)?)?;
        let about = file.metadata()?;
        Ok::<_, ShelfError>((file, about))
    };
    let (file, about) = panel.aside.run(open).await?.map_err(|error| told(&error, asked.language))?;
    let length = about.len();
    let modified = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let tag = format!("\"{length:x}-{:x}\"", modified.as_nanos());
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    // Who has a part of another file gets this one whole.
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|known| known == tag));
    let common = [
        (header::CONTENT_TYPE, kind(&path).to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, tag.clone()),
    ];
    Ok(match part(range, length) {
        Part::Whole => {
            (common, [(header::CONTENT_LENGTH, length.to_string())], aside::body(file, 0..length)).into_response()
        }
        Part::Bytes(bytes) => {
            let (from, to) = (bytes.start, bytes.end);
            let range = [
                (header::CONTENT_RANGE, format!("bytes {from}-{}/{length}", to - 1)),
                (header::CONTENT_LENGTH, (to - from).to_string()),
            ];
            (StatusCode::PARTIAL_CONTENT, common, range, aside::body(file, bytes)).into_response()
        }
        Part::Outside => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            (StatusCode::RANGE_NOT_SATISFIABLE, common, range).into_response()
        }
    })
}

fn told(error: &ShelfError, language: Language) -> Problem {
    let said = error.said(language);
    match error {
        ShelfError::Disk(_) => Problem { status: StatusCode::INSUFFICIENT_STORAGE, said },
        ShelfError::Gone => Problem { status: StatusCode::NOT_FOUND, said },
        ShelfError::Exists => Problem::refused(said),
        _ => Problem::bad(said),
    }
}

/// `GET /clip-wave/{path}`: its waveform.
pub(super) async fn wave(
    State(panel): State<Panel>,
    Path(path): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let seen = panel.daemon.snapshot().await?;
    let path = known(&seen, path, &asked)?;
    let Some(ClipState::Ready { sha256, file, frames, .. }) =
        seen.program.clips.get(&path).map(|clip| clip.state.clone())
    else {
        return Err(Problem::refused(words::Words::of(asked.language).clips.not_ready.clone()));
    };
    let waves = panel.waves.clone();
    let drawing = panel.aside.run(move || waves.draw(&sha256, file, frames)).await?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], drawing.to_string()).into_response())
}

#[derive(Template)]
#[template(path = "clips-uploaded.html")]
struct Uploaded<'a> {
    frame: &'a Frame,
    words: &'static Words,
    files: &'a [Received],
}

/// `POST /clips`: files into a folder.
pub(super) async fn upload(State(panel): State<Panel>, asked: Asked, request: Request) -> Result<Response, Problem> {
    let files = upload::receive(&panel, &asked, To::Folder, request).await?;
    uploaded(&panel, asked, &files).await
}

/// `POST /clip-replace/{path}`: another file in its place.
pub(super) async fn replace(
    State(panel): State<Panel>,
    Path(path): Path<String>,
    asked: Asked,
    request: Request,
) -> Result<Response, Problem> {
    let path = known(&panel.daemon.snapshot().await?, path, &asked)?;
    let files = upload::receive(&panel, &asked, To::Replace(path), request).await?;
    uploaded(&panel, asked, &files).await
}

async fn uploaded(panel: &Panel, asked: Asked, files: &[Received]) -> Result<Response, Problem> {
    for file in files {
        tracing::info!(person = asked.name(), path = ?file.path, "a file was sent: {:?}", file.name);
    }
    let seen = panel.daemon.snapshot().await?;
    let frame = Frame::new(asked, &seen.name, Place::Clips);
    let words = &frame.words.clips;
    let mut response = frame.answer(&json!({ "files": files }), &Uploaded { frame: &frame, words, files });
    if files.iter().all(|file| file.path.is_none()) {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

/// The body of `POST /clip-about/{path}`; a field left empty takes away what was written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AboutRequest {
    #[serde(default)]
    title: String,
    #[serde(default)]
    valid_from: String,
    #[serde(default)]
    valid_until: String,
}

/// The longest title, in characters.
const LONGEST_TITLE: usize = 200;

/// Makes a note of what was sent.
fn about(request: &AboutRequest, words: &Words) -> Result<Note, Problem> {
    let title = request.title.trim();
    if title.chars().count() > LONGEST_TITLE || title.contains(char::is_control) {
        return Err(Problem::bad(words.long_name.clone()));
    }
    let day = |text: &str| match text.trim() {
        "" => Ok(None),
        text => {
            text.parse::<Date>().map(Some).map_err(|_| Problem::bad(words::fill(&words.bad_date, &[("text", &text)])))
        }
    };
    let (valid_from, valid_until) = (day(&request.valid_from)?, day(&request.valid_until)?);
    if let (Some(from), Some(until)) = (valid_from, valid_until)
        && until < from
    {
        return Err(Problem::bad(words.backwards.clone()));
    }
    let title = (!title.is_empty()).then(|| title.to_owned());
    Ok(Note::About { title, valid_from, valid_until })
}

/// `POST /clip-about/{path}`: title and validity.
pub(super) async fn write_about(
    State(panel): State<Panel>,
    Path(path): Path<String>,
    asked: Asked,
    Input(request): Input<AboutRequest>,
) -> Result<Response, Problem> {
    let note = about(&request, &words::Words::of(asked.language).clips)?;
    write(&panel, path, asked, note, "clip-saved").await
}

/// `POST /clip-retire/{path}`: it never plays again.
pub(super) async fn retire(
    State(panel): State<Panel>,
    Path(path): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    write(&panel, path, asked, Note::Retired(true), "clip-retired").await
}

/// `POST /clip-return/{path}`: it may play again.
pub(super) async fn bring_back(
    State(panel): State<Panel>,
    Path(path): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    write(&panel, path, asked, Note::Retired(false), "clip-returned").await
}

async fn write(panel: &Panel, path: String, asked: Asked, note: Note, code: &str) -> Result<Response, Problem> {
    let path = known(&panel.daemon.snapshot().await?, path, &asked)?;
    let (audio, clip, written) = (panel.home.audio(), path.clone(), note.clone());
    {
        let _turn = panel.shelf.lock().await;
        let noted = panel.aside.run(move || shelf::note(&audio, &clip, &written)).await?;
        noted.map_err(|error| told(&error, asked.language))?;
    }
    tracing::info!(person = asked.name(), %path, "{code}");
    changed(panel, &asked, &path, code, |clip| says(clip, &note)).await
}

/// Returns whether a clip is as the note says.
fn says(clip: &Clip, note: &Note) -> bool {
    match note {
        Note::About { title, valid_from, valid_until } => {
            title.as_ref().is_none_or(|title| *title == clip.title)
                && (valid_from, valid_until) == (&clip.valid_from, &clip.valid_until)
        }
        Note::Retired(retired) => *retired == clip.retired,
    }
}

/// How long an answer waits for the library to see a change.
const SEEN: Duration = Duration::from_secs(5);

/// Answers a change once the station has seen it, so that the page shows what was just done.
async fn changed(
    panel: &Panel,
    asked: &Asked,
    path: &ClipPath,
    code: &str,
    is_seen: impl Fn(&Clip) -> bool,
) -> Result<Response, Problem> {
    panel.daemon.reread().await?;
    let seen = async {
        while !panel.daemon.snapshot().await?.program.clips.get(path).is_some_and(&is_seen) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, Gone>(())
    };
    // What is written is written; a library busy with a long file shows it later.
    if let Ok(gone) = tokio::time::timeout(SEEN, seen).await {
        gone?;
    }
    let facts = json!({ "done": code, "path": path });
    Ok(frame::done(asked, &facts, &format!("/clips/{}", address(path.as_str())), code))
}

/// The body of `POST /clip-move/{path}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveRequest {
    /// Empty for `audio/` itself.
    #[serde(default)]
    folder: String,
    name: String,
}

/// `POST /clip-move/{path}`: another folder or file name, where no announcement would lose it.
pub(super) async fn rename(
    State(panel): State<Panel>,
    Path(path): Path<String>,
    asked: Asked,
    Input(request): Input<MoveRequest>,
) -> Result<Response, Problem> {
    let words = &words::Words::of(asked.language).clips;
    let seen = panel.daemon.snapshot().await?;
    let from = known(&seen, path, &asked)?;
    let named = shelf::sound_name(&request.name).and_then(|name| shelf::path(request.folder.trim(), name));
    let to = named.map_err(|error| told(&error, asked.language))?;
    if shelf::ending(to.as_str()) != shelf::ending(from.as_str()) {
        return Err(Problem::bad(words.other_ending.clone()));
    }
    let holding = holding(&seen.program, &from, &to);
    if !holding.is_empty() {
        let titles = holding.join("、");
        return Err(Problem::refused(words::fill(&words.cannot_move, &[("titles", &titles)])));
    }
    let (audio, old, new) = (panel.home.audio(), from.clone(), to.clone());
    {
        let _turn = panel.shelf.lock().await;
        let moved = panel.aside.run(move || shelf::rename(&audio, &old, &new)).await?;
        moved.map_err(|error| told(&error, asked.language))?;
    }
    tracing::info!(person = asked.name(), %from, %to, "a clip was moved");
    changed(&panel, &asked, &to, "clip-moved", |_| true).await
}

/// `GET /upload.js`
pub(super) async fn script() -> Response {
    crate::web::asset("text/javascript; charset=utf-8", include_str!("assets/upload.js"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Said;
    use jiff::civil::date;

    fn clip_path(path: &str) -> ClipPath {
        ClipPath::try_from(path.to_owned()).unwrap()
    }

    #[test]
    fn a_part_of_a_file_is_what_was_asked_for_and_lies_within_it() {
        for (range, expected) in [
            (None, Part::Whole),
            (Some("bytes=0-9"), Part::Bytes(0..10)),
            (Some("bytes=90-"), Part::Bytes(90..100)),
            (Some("bytes=90-500"), Part::Bytes(90..100)),
            (Some("bytes=-10"), Part::Bytes(90..100)),
            (Some("bytes=-500"), Part::Bytes(0..100)),
            (Some("bytes=0-18446744073709551615"), Part::Bytes(0..100)),
            (Some("bytes=100-"), Part::Outside),
            (Some("bytes=-0"), Part::Outside),
            (Some("bytes=9-3"), Part::Whole),
            (Some("bytes=0-1,5-6"), Part::Whole),
            (Some("bytes=+1-2"), Part::Whole),
            (Some("bytes=-"), Part::Whole),
            (Some("lines=1-2"), Part::Whole),
        ] {
            assert_eq!(part(range, 100), expected, "{range:?}");
        }
        assert_eq!(part(Some("bytes=0-"), 0), Part::Outside);
        assert_eq!(part(Some("bytes=-5"), 0), Part::Outside);
    }

    #[test]
    fn a_path_in_an_address_reads_back() {
        assert_eq!(address("fraud/冒 充?#%.mp3"), "fraud/%E5%86%92%20%E5%85%85%3F%23%25.mp3");
    }

    #[test]
    fn who_uses_a_clip_and_who_would_lose_it() {
        let text = "[announcement.a]\ntitle = \"甲\"\nplay = [\"fraud/\"]\nchime = \"gong.wav\"\n\
                    [announcement.b]\ntitle = \"乙\"\nplay = [\"fraud/x.mp3\"]\n\
                    [announcement.c]\ntitle = \"丙\"\nplay = [\"frau/\"]\n";
        let mut texts = crate::home::Texts::default();
        texts.schedules.insert("schedules/daily.toml".into(), text.into());
        let program = crate::home::assemble(&texts, None, Default::default()).program;
        let titles =
            |path: &str| uses(&program, &clip_path(path)).into_iter().map(|using| using.title).collect::<String>();
        assert_eq!(
            ["fraud/x.mp3", "fraud/deep/y.mp3", "gong.wav", "fraud.mp3", "z.mp3"].map(titles),
            ["甲乙", "甲", "甲", "", ""]
        );
        let lost = |from: &str, to: &str| holding(&program, &clip_path(from), &clip_path(to)).concat();
        for (from, to, expected) in [
            ("fraud/x.mp3", "fraud/y.mp3", "乙"),
            ("fraud/y.mp3", "fraud/z.mp3", ""),
            ("fraud/y.mp3", "y.mp3", "甲"),
            ("gong.wav", "chime/gong.wav", "甲"),
            ("z.mp3", "fraud/z.mp3", ""),
        ] {
            assert_eq!(lost(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn what_is_written_about_a_clip_is_checked_first() {
        let words = &words::Words::of(Language::English).clips;
        let sent = |title: &str, from: &str, until: &str| {
            let request = AboutRequest { title: title.into(), valid_from: from.into(), valid_until: until.into() };
            about(&request, words).map_err(|problem| problem.said)
        };
        let note = Note::About {
            title: Some("甲".into()),
            valid_from: Some(date(2026, 11, 1)),
            valid_until: Some(date(2026, 11, 1)),
        };
        assert_eq!(sent(" 甲 ", "2026-11-01", "2026-11-01"), Ok(note));
        assert_eq!(sent(" ", "", ""), Ok(Note::About { title: None, valid_from: None, valid_until: None }));
        for (title, from, until) in
            [("a\nb", "", ""), (&"长".repeat(201), "", ""), ("", "soon", ""), ("", "2026-11-02", "2026-11-01")]
        {
            assert!(sent(title, from, until).is_err(), "{title} {from} {until}");
        }
    }

    #[test]
    fn a_clip_stands_as_it_would_play_today() {
        let ready = ClipState::Ready { sha256: String::new(), file: Default::default(), frames: 1, gain: 1.0 };
        let refused = ClipState::Refused(Said::new("坏", "bad"));
        let day = |day| Some(date(2026, 11, day));
        for (state, from, until, retired, expected) in [
            (&ready, None, None, false, Standing::Ready),
            (&ready, day(20), day(20), false, Standing::Ready),
            (&ready, day(21), None, false, Standing::Early),
            (&ready, None, day(19), false, Standing::Over),
            (&ready, None, None, true, Standing::Retired),
            (&refused, None, None, false, Standing::Refused),
            (&ClipState::Pending, None, None, false, Standing::Importing),
        ] {
            let clip =
                Clip { title: String::new(), valid_from: from, valid_until: until, retired, state: state.clone() };
            assert_eq!(standing(&clip, date(2026, 11, 20)), expected);
        }
    }
}
