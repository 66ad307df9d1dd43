//! Files on their way to a browser, in pieces, so that none is ever whole in memory.

use super::Problem;
use axum::{
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use std::{
    fs::File,
    io::{self, SeekFrom},
    ops::Range,
    path::Path,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

/// Read from a file at a time.
const PIECE: usize = 64 << 10;

/// A file without a name in `folder`, gone with the process at the latest.
pub(crate) fn nameless(folder: &Path) -> Result<File, Problem> {
    tempfile::tempfile_in(folder).map_err(|error| no_room(&error))
}

/// What is said when the disk takes nothing.
pub(crate) fn no_room(error: &io::Error) -> Problem {
    Problem {
        status: StatusCode::INSUFFICIENT_STORAGE,
        said: format!("写不进磁盘（{error}）；请检查磁盘空间和权限 the disk takes nothing, check its space"),
    }
}

/// Returns these bytes of a file as the body of an answer. A file that ends early ends the connection.
pub(crate) fn body(file: File, bytes: Range<u64>) -> Body {
    let (send, receive) = mpsc::channel::<io::Result<Bytes>>(2);
    tokio::spawn(async move {
        let mut file = tokio::fs::File::from_std(file);
        let mut left = bytes.end.saturating_sub(bytes.start);
        let mut failed = file.seek(SeekFrom::Start(bytes.start)).await.err();
        while left > 0 && failed.is_none() {
            let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
            left -= piece.len() as u64;
            let read = file.read_exact(&mut piece).await;
            failed = read.err();
            // Nobody reads on.
            if failed.is_none() && send.send(Ok(piece.into())).await.is_err() {
                return;
            }
        }
        if let Some(error) = failed {
            let _ = send.send(Err(error)).await;
        }
    });
    Body::from_stream(ReceiverStream::new(receive))
}

/// Answers with a whole file, to be kept under this name: plain letters, digits, `-` and `.`.
pub(crate) fn attachment(file: File, kind: &'static str, name: &str) -> Result<Response, Problem> {
    let length = file.metadata().map_err(|error| no_room(&error))?.len();
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, body(file, 0..length)).into_response())
}
