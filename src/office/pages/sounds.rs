//! 音频: the sounds that the office gives out, each checked before it is taken; and forms that bring files with them.

use super::{
    Pages,
    frame::{Frame, Place, Times, done, fill},
};
use crate::{
    clock,
    ingest::run_child,
    library::shelf::{self, ENDINGS},
    link::BlobId,
    office::{
        blobs::BlobError,
        store::{Deed, Shelved},
    },
    schedule::edit::fields::Fields,
    web::{
        Asked, Problem,
        upload::{self, Stopped},
    },
};
use askama::Template;
use axum::{
    Form, Json,
    extract::{FromRequest as _, Multipart, Path, Request, State},
    http::{StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs;
use tempfile::TempPath;

/// Texts of this page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub title: String,
    pub hint: String,
    pub files: String,
    pub send: String,
    pub none: String,
    pub name: String,
    pub length: String,
    pub listen: String,
    pub made_by: String,
    pub at: String,
    pub back: String,
    pub too_big: String,
    pub busy: String,
    pub broken_off: String,
    pub no_form: String,
    pub no_file: String,
    pub disk_full: String,
    pub disk: String,
    pub store: String,
}

/// The longest text of a form with files, in bytes.
const TEXT: usize = 2 << 20;
/// As many fields of a form.
const FIELDS: usize = 20_000;

/// What a form brought.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub fields: Fields,
    /// What was taken in of its files.
    pub sounds: Vec<BlobId>,
    /// Why others were not.
    pub refused: Vec<String>,
}

/// Reads a form of a page, with files or without, or JSON with the same fields.
pub(super) async fn receive(pages: &Pages, asked: &Asked, request: Request) -> Result<Sent, Problem> {
    let words = &super::words::Words::of(asked.language).sounds;
    let headers = request.headers().clone();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, length) = (text(header::CONTENT_TYPE), text(header::CONTENT_LENGTH));
    let unread = |status: StatusCode| match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem { status, said: words.too_big.clone() },
        _ => Problem { status, said: words.broken_off.clone() },
    };
    if kind.starts_with("application/json") {
        let Json(fields) = Json::from_request(request, &()).await.map_err(|error| unread(error.status()))?;
        return Ok(Sent { fields, ..Sent::default() });
    }
    if !kind.starts_with("multipart/form-data") {
        let Form(fields) = Form::from_request(request, &()).await.map_err(|error| unread(error.status()))?;
        return Ok(Sent { fields, ..Sent::default() });
    }
    let Ok(_turn) = pages.uploads.try_acquire() else {
        return Err(Problem { status: StatusCode::SERVICE_UNAVAILABLE, said: words.busy.clone() });
    };
    let folder = pages.office.home.join("upload");
    fs::create_dir_all(&folder).map_err(|error| disk(&error, words))?;
    upload::has_room(&folder, length.parse().unwrap_or_default()).map_err(|free| full(free, words))?;
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| Problem::bad(words.no_form.clone()))?;
    let mut sent = Sent::default();
    while let Some(mut field) = form.next_field().await.map_err(|error| unread(error.status()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let Some(file) = field.file_name().map(str::to_owned) else {
            if sent.fields.len() >= FIELDS {
                return Err(Problem::bad(words.no_form.clone()));
            }
            let text = upload::short(&mut field, TEXT).await.map_err(unread)?;
            sent.fields.insert(name, text);
            continue;
        };
        // A form whose field was left empty sends a file without a name.
        if file.is_empty() {
            continue;
        }
        let piece = match upload::write(&folder, &mut field).await {
            Ok(piece) => piece,
            Err(Stopped::Broken(status)) => return Err(unread(status)),
            Err(Stopped::Full(free)) => return Err(full(free, words)),
            Err(Stopped::Disk(error)) => return Err(disk(&error, words)),
        };
        match take_in(pages, asked, &file, piece).await? {
            Ok(sound) => sent.sounds.push(sound),
            Err(why) => sent.refused.push(format!("{}：{why}", file.chars().take(80).collect::<String>())),
        }
    }
    Ok(sent)
}

fn full(free: u64, words: &Words) -> Problem {
    let said = fill(&words.disk_full, &[("free", &(free / 1_000_000))]);
    Problem { status: StatusCode::INSUFFICIENT_STORAGE, said }
}

fn disk(error: &std::io::Error, words: &Words) -> Problem {
    tracing::error!(%error, "an upload cannot be written");
    Problem { status: StatusCode::INSUFFICIENT_STORAGE, said: words.disk.clone() }
}

/// Has a file checked and puts it among the blobs; or says why it is no sound that a village could play.
async fn take_in(pages: &Pages, asked: &Asked, file: &str, piece: TempPath) -> Result<Result<BlobId, String>, Problem> {
    let words = &super::words::Words::of(asked.language).sounds;
    let name = match shelf::sound_name(file) {
        Ok(name) => name,
        Err(error) => return Ok(Err(error.said(asked.language))),
    };
    let program = std::env::current_exe().map_err(|error| Problem::failed(error.to_string()))?;
    let prepared = match run_child(&program, &piece, None).await {
        Ok(prepared) => prepared,
        Err(why) => return Ok(Err(why.said().in_language(asked.language).to_owned())),
    };
    let failed = |error: BlobError| {
        tracing::error!(?error, "a sound cannot be stored");
        Problem { status: StatusCode::SERVICE_UNAVAILABLE, said: words.store.clone() }
    };
    let bytes = piece.metadata().map_err(|error| disk(&error, words))?.len();
    let sha256 = pages.office.blobs.put_file(&piece).await.map_err(failed)?;
    let extension = shelf::ending(name).unwrap_or_default();
    let title = name.strip_suffix(&format!(".{extension}")).unwrap_or(name).to_owned();
    let sound = Shelved {
        sha256,
        bytes,
        title: title.clone(),
        extension,
        duration_ms: prepared.duration_ms,
        made_by: asked.name(),
        at: clock::wall(),
    };
    let mut change = pages.office.store.change().await?;
    change.shelve(&sound).await?;
    change.commit(&asked.name(), Deed::Brought, &title, &sha256.to_string()).await?;
    Ok(Ok(sha256))
}

/// `1:05`
pub(super) fn length(ms: &u64) -> String {
    let seconds = ms.div_ceil(1000);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// What a browser's dialog for files offers.
pub(super) fn takes() -> String {
    ENDINGS.map(|ending| format!(".{ending}")).join(",")
}

#[derive(Debug, Serialize)]
struct View {
    sounds: Vec<Shelved>,
    refused: Vec<String>,
}

#[derive(Template)]
#[template(path = "sounds.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    view: &'a View,
    times: Times,
    takes: String,
}

/// `GET /sounds`
pub(super) async fn page(State(pages): State<Pages>, asked: Asked) -> Result<Response, Problem> {
    show(&pages, asked, Vec::new()).await
}

async fn show(pages: &Pages, asked: Asked, refused: Vec<String>) -> Result<Response, Problem> {
    let about = pages.about().await?;
    let status = if refused.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let view = View { sounds: pages.office.store.shelf().await?, refused };
    let times = pages.times(asked.language);
    let frame = Frame::new(asked, &about.name, Place::Campaigns);
    let words = &frame.words.sounds;
    let mut response = frame.answer(&view, &Page { frame: &frame, words, view: &view, times, takes: takes() });
    *response.status_mut() = status;
    Ok(response)
}

/// `POST /sounds`
pub(super) async fn bring(State(pages): State<Pages>, asked: Asked, request: Request) -> Result<Response, Problem> {
    let sent = receive(&pages, &asked, request).await?;
    if sent.sounds.is_empty() && sent.refused.is_empty() {
        return Err(Problem::bad(super::words::Words::of(asked.language).sounds.no_file.clone()));
    }
    if !sent.refused.is_empty() {
        return show(&pages, asked, sent.refused).await;
    }
    Ok(done(&asked, &json!({ "done": "uploaded", "sounds": sent.sounds }), "/sounds", "uploaded"))
}

/// `GET /sounds/{sha256}`: to listen.
pub(super) async fn listen(
    State(pages): State<Pages>,
    Path(sha256): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let blob = BlobId::try_from(sha256).map_err(|_| Problem::missing(&asked))?;
    let gone = |_| Problem::failed(super::words::Words::of(asked.language).sounds.store.clone());
    let length = pages.office.blobs.len(&blob).await.map_err(gone)?.ok_or_else(|| Problem::missing(&asked))?;
    let stream = pages.office.blobs.range(&blob, 0..length).await.map_err(gone)?;
    let body = axum::body::Body::from_stream(stream);
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    Ok(axum::response::IntoResponse::into_response((headers, body)))
}
