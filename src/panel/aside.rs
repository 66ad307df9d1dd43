//! Work that takes long, beside the loop on which plays are conducted: on a thread of its own, few at a time.

use crate::{journal::JournalError, web::Problem};
use std::sync::Arc;
use tokio::sync::Semaphore;

pub(super) use crate::web::{body, nameless, no_room};

/// Threads for long work, at most: the machine has a loudspeaker to serve.
const THREADS: usize = 2;

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
