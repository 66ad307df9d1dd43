//! Files on their way in: to a folder of pieces, as they come, so that none is ever whole in memory.
//!
//! Always true: what is too large is refused as soon as it shows; the disk keeps room for what matters more; a piece that
//! nobody takes is removed with its name.

use crate::{disk::PIECE, ingest::BIGGEST_BYTES};
use axum::{extract::multipart::Field, http::StatusCode};
use std::{fs, io, path::Path};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;

/// The largest body: one file of the largest size and the form around it.
pub(crate) const UPLOAD_BODY: usize = BIGGEST_BYTES as usize + (64 << 10);
/// Bytes that stay free on the disk, for the journal.
const KEPT_FREE: u64 = 500_000_000;
/// Between two looks at the disk, in bytes.
const LOOK: u64 = 8 << 20;

/// Why a file did not arrive.
pub(crate) enum Stopped {
    /// It was broken off, or is larger than any may be.
    Broken(StatusCode),
    /// The disk has no more than so many bytes free.
    Full(u64),
    /// The disk takes nothing.
    Disk(io::Error),
}

/// Removes what a process that was killed left on its way in.
pub(crate) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PIECE) {
            // What cannot be removed now can be at the next start.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Returns whether there is room for so many bytes more; what is free where there is not.
pub(crate) fn has_room(folder: &Path, more: u64) -> Result<(), u64> {
    // Where the system does not tell there is nothing to hold against the file.
    match fs4::available_space(folder) {
        Ok(free) if free < more.saturating_add(KEPT_FREE) => Err(free),
        _ => Ok(()),
    }
}

/// Reads a field that is no file, of at most so many bytes.
pub(crate) async fn short(field: &mut Field<'_>, most: usize) -> Result<String, StatusCode> {
    let mut text = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|error| error.status())? {
        if text.len() + piece.len() > most {
            return Err(StatusCode::BAD_REQUEST);
        }
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).map(|text| text.trim().to_owned()).map_err(|_| StatusCode::BAD_REQUEST)
}

/// Writes one file to the disk as it comes.
pub(crate) async fn write(folder: &Path, field: &mut Field<'_>) -> Result<TempPath, Stopped> {
    let piece = tempfile::Builder::new().prefix(PIECE).tempfile_in(folder).map_err(Stopped::Disk)?;
    let (file, piece) = piece.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let (mut bytes, mut looked) = (0_u64, 0);
    while let Some(part) = field.chunk().await.map_err(|error| Stopped::Broken(error.status()))? {
        bytes += part.len() as u64;
        if bytes > BIGGEST_BYTES {
            return Err(Stopped::Broken(StatusCode::PAYLOAD_TOO_LARGE));
        }
        if bytes - looked > LOOK {
            looked = bytes;
            has_room(folder, 0).map_err(Stopped::Full)?;
        }
        file.write_all(&part).await.map_err(Stopped::Disk)?;
    }
    file.flush().await.map_err(Stopped::Disk)?;
    file.sync_all().await.map_err(Stopped::Disk)?;
    Ok(piece)
}
