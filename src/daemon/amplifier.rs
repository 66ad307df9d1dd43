//! Switches the amplifier on before the first sample and off after the last, by the station's own command lines.

use crate::{clock, config::Amplifier, plan::OccurrenceId};
use jiff::Timestamp;
use std::{collections::BTreeMap, time::Duration};
use tokio::{process::Command, sync::mpsc, time::timeout};
use tracing::warn;

/// A relay that answers later than this is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the amplifier has to know.
#[derive(Debug)]
pub(super) enum Need {
    /// Sound from then on.
    From(OccurrenceId, Timestamp),
    /// No longer.
    Over(OccurrenceId),
}

/// Runs until the sender is dropped; leaves the amplifier off.
pub(super) async fn run(lines: Amplifier, mut needs: mpsc::Receiver<Need>) {
    let mut wanted = BTreeMap::new();
    let mut on = false;
    loop {
        let due = wanted.values().min().copied().map(|start: Timestamp| start - lines.warm_up);
        let wait = match due {
            Some(due) if !on => Duration::try_from(due.duration_since(clock::wall())).unwrap_or_default(),
            _ => Duration::MAX,
        };
        tokio::select! {
            need = needs.recv() => match need {
                Some(Need::From(occurrence, start)) => drop(wanted.insert(occurrence, start)),
                Some(Need::Over(occurrence)) => {
                    wanted.remove(&occurrence);
                    if on && wanted.is_empty() {
                        switch(&lines.off).await;
                        on = false;
                    }
                }
                None => break,
            },
            () = tokio::time::sleep(wait) => {
                switch(&lines.on).await;
                on = true;
            }
        }
    }
    if on {
        switch(&lines.off).await;
    }
}

async fn switch(line: &[String]) {
    let Some((program, arguments)) = line.split_first() else { return };
    let mut command = Command::new(program);
    command.args(arguments).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).kill_on_drop(true);
    match timeout(PATIENCE, command.status()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => warn!(%status, "the amplifier's command line `{program}` failed"),
        Ok(Err(error)) => warn!(%error, "the amplifier's command line `{program}` cannot be started"),
        Err(_) => warn!("the amplifier's command line `{program}` does not end"),
    }
}
