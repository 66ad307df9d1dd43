//! Files on their way in: to `data/upload/` piece by piece, through the ingest child, then into `audio/`.
//!
//! Always true: what is too large is refused before its body is read where it says so; a file refused leaves nothing
//! behind.

use super::{Panel, words};
use crate::{
    ingest::run_child,
    library::shelf::{self, ShelfError},
    plan::ClipState,
    schedule::ClipPath,
    text::Language,
    web::{
        Asked, Problem,
        upload::{self, Stopped, UPLOAD_BODY},
    },
};
use axum::{
    extract::{FromRequest as _, Multipart, Request},
    http::{StatusCode, header},
};
use serde::Serialize;
use std::{fs, time::Duration};
use tempfile::TempPath;

/// The longest text field, in bytes.
const TEXT: usize = 1024;
/// How long an answer waits for the library to take a file in.
const TAKEN_IN: Duration = Duration::from_secs(15);

/// What became of one file.
#[derive(Debug, Serialize)]
pub(super) struct Received {
    /// As it was sent.
    pub name: String,
    /// Where it lies now; none for one refused.
    pub path: Option<ClipPath>,
    /// It can play; one that cannot yet is being imported.
    pub ready: bool,
    /// What became of it, in words.
    pub said: String,
    /// Of what was sent.
    #[serde(skip)]
    sha256: String,
}

/// Where files go.
pub(super) enum To {
    /// A folder of the form's choice.
    Folder,
    /// In place of this clip.
    Replace(ClipPath),
}

/// Takes the files of a form in, one after the other.
pub(super) async fn receive(panel: &Panel, asked: &Asked, to: To, request: Request) -> Result<Vec<Received>, Problem> {
    let words = &words::Words::of(asked.language).clips;
    let too_big = || Problem { status: StatusCode::PAYLOAD_TOO_LARGE, said: words.too_big.clone() };
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > UPLOAD_BODY as u64) {
        return Err(too_big());
    }
    let Ok(_turn) = panel.uploads.try_acquire() else {
        return Err(Problem { status: StatusCode::SERVICE_UNAVAILABLE, said: words.busy.clone() });
    };
    let folder = panel.home.data().join("upload");
    fs::create_dir_all(&folder).map_err(|error| super::aside::no_room(&error))?;
    upload::has_room(&folder, length.unwrap_or_default()).map_err(|free| full(free, words))?;
    let broken = |status: StatusCode| match status {
        StatusCode::PAYLOAD_TOO_LARGE => too_big(),
        _ => Problem { status, said: words.broken_off.clone() },
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| Problem::bad(words.no_form.clone()))?;
    let (mut chosen, mut fresh) = (String::new(), String::new());
    let mut received = Vec::new();
    while let Some(mut field) = form.next_field().await.map_err(|error| broken(error.status()))? {
        let Some(sent) = field.file_name().map(str::to_owned) else {
            let name = field.name().unwrap_or_default().to_owned();
            let text = upload::short(&mut field, TEXT).await.map_err(broken)?;
            match name.as_str() {
                "folder" => chosen = text,
                "new-folder" => fresh = text,
                _ => {}
            }
            continue;
        };
        // A form whose field was left empty sends a file without a name.
        if sent.is_empty() {
            continue;
        }
        let path = match &to {
            To::Folder => path_for(&chosen, &fresh, &sent),
            To::Replace(path) if shelf::ending(&sent) == shelf::ending(path.as_str()) => Ok(path.clone()),
            To::Replace(_) => {
                received.push(refused(&sent, words.other_ending.clone()));
                continue;
            }
        };
        let path = match path {
            Ok(path) => path,
            Err(error) => {
                received.push(refused(&sent, error.said(asked.language)));
                continue;
            }
        };
        if matches!(to, To::Folder) && panel.home.audio().join(path.as_str()).symlink_metadata().is_ok() {
            received.push(refused(&sent, ShelfError::Exists.said(asked.language)));
            continue;
        }
        let piece = match upload::write(&folder, &mut field).await {
            Ok(piece) => piece,
            Err(Stopped::Broken(status)) => return Err(broken(status)),
            Err(Stopped::Full(free)) => return Err(full(free, words)),
            Err(Stopped::Disk(error)) => return Err(super::aside::no_room(&error)),
        };
        let replaces = matches!(to, To::Replace(_));
        received.push(take_in(panel, &sent, path, piece, replaces, asked.language).await?);
    }
    if received.is_empty() {
        return Err(Problem::bad(words.no_file.clone()));
    }
    if received.iter().any(|file| file.path.is_some()) {
        panel.daemon.reread().await?;
        settle(panel, &mut received, asked.language).await?;
    }
    Ok(received)
}

fn refused(sent: &str, said: String) -> Received {
    Received { name: sent.chars().take(200).collect(), path: None, ready: false, said, sha256: String::new() }
}

/// Returns where a file of this name goes.
fn path_for(chosen: &str, fresh: &str, sent: &str) -> Result<ClipPath, ShelfError> {
    let name = shelf::sound_name(sent)?;
    let folder = if fresh.trim().is_empty() { chosen } else { shelf::folder_name(fresh)? };
    shelf::path(folder, name)
}

/// Says that the disk is too full.
fn full(free: u64, words: &super::clips::Words) -> Problem {
    let said = words::fill(&words.disk_full, &[("free", &(free / 1_000_000))]);
    Problem { status: StatusCode::INSUFFICIENT_STORAGE, said }
}

/// Has a file checked, and puts it where it belongs.
async fn take_in(
    panel: &Panel,
    sent: &str,
    path: ClipPath,
    piece: TempPath,
    replaces: bool,
    language: Language,
) -> Result<Received, Problem> {
    let program = std::env::current_exe().map_err(|error| Problem::failed(error.to_string()))?;
    let sha256 = match run_child(&program, &piece, None).await {
        Ok(prepared) => prepared.sha256,
        Err(why) => return Ok(refused(sent, why.said().in_language(language).to_owned())),
    };
    let (audio, to) = (panel.home.audio(), path.clone());
    let _turn = panel.shelf.lock().await;
    Ok(match panel.aside.run(move || shelf::put(&audio, &to, piece, replaces)).await? {
        Ok(()) => Received { name: sent.to_owned(), path: Some(path), ready: false, said: String::new(), sha256 },
        Err(error) => refused(sent, error.said(language)),
    })
}

/// Waits until the library has taken the files in, and says of each how it stands.
async fn settle(panel: &Panel, received: &mut [Received], language: Language) -> Result<(), Problem> {
    let words = &words::Words::of(language).clips;
    let waits = tokio::time::sleep(TAKEN_IN);
    tokio::pin!(waits);
    loop {
        let seen = panel.daemon.snapshot().await?;
        let mut pending = false;
        for file in received.iter_mut() {
            let Some(path) = &file.path else { continue };
            file.ready = false;
            file.said = match seen.program.clips.get(path).map(|clip| &clip.state) {
                // One replaced may still be known as it was.
                Some(ClipState::Ready { sha256, .. }) if *sha256 == file.sha256 => {
                    file.ready = true;
                    words.taken.clone()
                }
                // What was there before may have been refused; the child has let this one pass.
                Some(ClipState::Refused(why)) => {
                    pending = true;
                    why.in_language(language).to_owned()
                }
                Some(ClipState::Ready { .. } | ClipState::Pending) | None => {
                    pending = true;
                    words.importing_said.clone()
                }
            };
        }
        if !pending {
            return Ok(());
        }
        tokio::select! {
            () = &mut waits => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_into_the_new_folder_where_one_is_named_and_never_out_of_audio() {
        for (chosen, fresh, sent, expected) in [
            ("fraud", "", "a.wav", "fraud/a.wav"),
            ("", "", "a.wav", "a.wav"),
            ("fraud", " 案情 ", "a.wav", "案情/a.wav"),
            ("fraud/deep", "", "../../a.wav", "fraud/deep/a.wav"),
            ("../..", "", "a.wav", "BadName"),
            ("/etc", "", "a.wav", "BadName"),
            ("fraud", "../x", "a.wav", "BadName"),
            ("fraud", "", "a.exe", "Ending"),
        ] {
            let said = path_for(chosen, fresh, sent).map_or_else(|error| format!("{error:?}"), String::from);
            assert_eq!(said, expected, "{chosen} {fresh} {sent}");
        }
    }
}
