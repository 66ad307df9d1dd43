//! A test tone on an output, for the first run and for 设置. It is bound by the last gate as every other source is:
//! refused during a stop, a hush or quiet hours, ended by them, never above the ceiling. It gives way to announcements.

use super::{Panel, now};
use crate::{
    conductor::Refusal,
    config,
    daemon::{Snapshot, Tone, play_tone},
    gate::Gate,
    outcome::Reason,
    schedule::Band,
    trust::ClockState,
    web::{Asked, Problem},
};
use std::time::Duration;

/// Between two looks whether it may go on: a stop is silence within 150 ms.
const LOOK: Duration = Duration::from_millis(50);

/// Plays a tone on `output`, at the station's volume.
pub(super) async fn play(panel: &Panel, asked: &Asked, output: &str) -> Result<Tone, Problem> {
    let refused = |refusal: Refusal| Problem::refused(now::refused(&refusal, asked.language));
    let Ok(_one) = panel.tone.try_lock() else { return Err(refused(Refusal::Busy)) };
    if !config::is_output(output) {
        return Err(Problem::bad(asked.pick("请从列表里选一个输出", "choose an output of the list")));
    }
    let seen = panel.daemon.snapshot().await?;
    if let Some(why) = hindrance(&seen) {
        return Err(refused(why));
    }
    let volume = crate::schedule::Volume::try_from(seen.status.volume).unwrap_or(crate::schedule::Volume::FULL);
    let tone = play_tone(output, volume.min(seen.config.sound.ceiling));
    tokio::pin!(tone);
    loop {
        tokio::select! {
            tone = &mut tone => return tone.map_err(|untried| Problem::refused(untried.to_string())),
            () = tokio::time::sleep(LOOK) => {
                if let Some(why) = hindrance(&panel.daemon.snapshot().await?) {
                    return Err(refused(why));
                }
            }
        }
    }
}

/// Returns what keeps a tone from sounding now.
fn hindrance(seen: &Snapshot) -> Option<Refusal> {
    let status = &seen.status;
    let gate = Gate {
        hours: (status.clock != ClockState::Untrusted).then_some((&seen.zone, &seen.config.hours)),
        stopped_until: status.stopped.as_ref().map(|stop| stop.until),
        hushed_until: status.hushed.as_ref().map(|hush| hush.until),
    };
    match gate.refuses(Band::Urgent, seen.now) {
        Some(Reason::Stopped) => Some(Refusal::Stopped(gate.stopped_until.unwrap_or(seen.now))),
        Some(Reason::Hushed) => Some(Refusal::Hushed(gate.hushed_until.unwrap_or(seen.now))),
        Some(_) => Some(Refusal::QuietHours),
        None => (!status.playing.is_empty()).then_some(Refusal::Busy),
    }
}
