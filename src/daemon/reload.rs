//! Watches the home: a change is noticed within a second, and at the latest after half a minute where the file system
//! tells nothing (network drives).

use crate::home::Home;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::{path::PathBuf, time::Duration};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::warn;

/// Editors save in several steps; the last one counts.
const SETTLE: Duration = Duration::from_millis(300);
/// Between two looks where nothing is heard.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

/// Sends a word whenever something in the home may have changed. Runs until the receiver is gone.
pub(super) async fn watch(home: Home, changed: mpsc::Sender<()>) {
    let (seen, mut sightings) = mpsc::channel(1);
    let data = home.data();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let matters =
            event.is_ok_and(|event| !event.kind.is_access() && !event.paths.iter().all(|path| path.starts_with(&data)));
        if matters {
            // A full channel already says that something changed.
            let _ = seen.try_send(());
        }
    });
    let _watcher = watcher.and_then(|watcher| watch_all(watcher, &home)).map_err(|error| {
        warn!(%error, "the home cannot be watched; it is looked at every half minute");
    });
    loop {
        match timeout(LOOK_ANYWAY, sightings.recv()).await {
            Ok(Some(())) => {
                sleep(SETTLE).await;
                while sightings.try_recv().is_ok() {}
            }
            Ok(None) => sleep(LOOK_ANYWAY).await,
            Err(_) => {}
        }
        if changed.send(()).await.is_err() {
            return;
        }
    }
}

fn watch_all(mut watcher: RecommendedWatcher, home: &Home) -> notify::Result<RecommendedWatcher> {
    let folders: [(PathBuf, RecursiveMode); 3] = [
        (home.dir.clone(), RecursiveMode::NonRecursive),
        (home.schedules(), RecursiveMode::Recursive),
        (home.audio(), RecursiveMode::Recursive),
    ];
    for (folder, mode) in folders {
        watcher.watch(&folder, mode)?;
    }
    Ok(watcher)
}
