//! Room that the office keeps back on the disk of its database: when that is full, an emergency can be ordered all the same.
//!
//! Not here: a database on another machine, whose disk is not ours to keep anything on.

use crate::office::store::Engine;
use std::{fs, io, path::PathBuf, time::Duration};

/// The name of the file in the office's home.
const FILE: &str = "spare";
/// As much as it holds back, in bytes: an order, and what stations say of it.
const SIZE: usize = 4 << 20;
/// How often it is looked whether it has to be kept again.
const PAUSE: Duration = Duration::from_secs(3600);

/// What is kept back; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Spare {
    /// None where there is nothing to keep it for.
    file: Option<PathBuf>,
}

impl Spare {
    pub(super) fn new(home: PathBuf, engine: Engine) -> Self {
        Self { file: (engine == Engine::Sqlite).then(|| home.join(FILE)) }
    }

    /// Keeps it, now and whenever there is room again after it was given, for as long as it is polled.
    pub(super) async fn keep(self) {
        let Some(file) = self.file else { return };
        loop {
            let file = file.clone();
            // A disk without room for it has none to keep.
            let _ = tokio::task::spawn_blocking(move || keep(&file)).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives it up; returns whether there was any.
    pub(super) fn give(&self) -> bool {
        self.file.as_ref().is_some_and(|file| fs::remove_file(file).is_ok())
    }
}

fn keep(file: &PathBuf) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|kept| kept.len() == SIZE as u64) {
        return Ok(());
    }
    // What can be compressed keeps no room on every disk.
    let mut bytes = vec![0; SIZE];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    fs::write(file, bytes).inspect_err(|_| drop(fs::remove_file(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_given_once() {
        let home = tempfile::tempdir().unwrap();
        let spare = Spare::new(home.path().to_owned(), Engine::Sqlite);
        for _ in 0..2 {
            assert!(!spare.give());
            keep(&home.path().join(FILE)).unwrap();
            keep(&home.path().join(FILE)).unwrap();
            assert!(spare.give());
        }
        assert!(!Spare::new(home.path().to_owned(), Engine::Postgres).give());
    }
}
