//! Work that takes long, beside the loop on which plays are conducted: on a thread of its own, few at a time.
//!
//! Also here: files on their way to a browser, in pieces, so that none is ever whole in memory.

use crate::{journal::JournalError, web::Problem};
use axum::body::{Body, Bytes};
use std::{
    fs::File,
    io::{self, SeekFrom},
    ops::Range,
    path::Path,
    sync::Arc,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;

/// Threads for long work, at most: the machine has a loudspeaker to serve.
const THREADS: usize = 2;
/// Read from a file at a time.
const PIECE: usize = 64 << 10;

/// Where long work is done.
#[derive(Debug, Clone)]
pub(super) struct Aside(Arc<Semaphore>);

impl Default for Aside {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(THREADS)))
    }
}

impl Aside {
    /// Does `work` on another thread, once there is one. It goes on to its end even if nobody waits for it any more.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let permit = permit.map_err(|_| Problem::failed("程序正在退出 the program is ending"))?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await.map_err(|_| Problem::failed("程序内部出错，请再试一次 the program has failed, try again"))
    }

    /// The same for work that reads the journal.
    pub async fn read<T: Send + 'static, F: Future<Output = T>>(
        &self,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, Problem> {
        self.run(move || apart(work())).await?
    }
}

/// Carries out a future on this thread alone.
pub(super) fn apart<T>(future: impl Future<Output = T>) -> Result<T, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map(|runtime| runtime.block_on(future)).map_err(|error| Problem::failed(error.to_string()))
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        tracing::error!(?error, "the journal cannot be read");
        Self::failed(format!("{error}；请检查磁盘 the journal cannot be read, check the disk"))
    }
}

/// A file without a name in `folder`, gone with the process at the latest.
pub(super) fn nameless(folder: &Path) -> Result<File, Problem> {
    tempfile::tempfile_in(folder).map_err(|error| no_room(&error))
}

/// What is said when the disk takes nothing.
pub(super) fn no_room(error: &io::Error) -> Problem {
    Problem {
        status: axum::http::StatusCode::INSUFFICIENT_STORAGE,
        said: format!("写不进磁盘（{error}）；请检查磁盘空间和权限 the disk takes nothing, check its space"),
    }
}

/// Returns these bytes of a file as the body of an answer. A file that ends early ends the connection.
pub(super) fn body(file: File, bytes: Range<u64>) -> Body {
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
