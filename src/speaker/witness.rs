//! Whether what is handed over can be heard: what the sound server itself says of our stream and of its sink.
//!
//! Frames flow into a muted sink as well as into a loud one, and "the computer plays but the village hears nothing" is
//! the commonest complaint of every system in this field. Where the platform has a sound server with monitors
//! (PulseAudio, PipeWire's pulse server), [`Witness`] asks it twice a second while the stream is open; elsewhere there
//! is none, and what the device accepted remains the evidence.
//!
//! [`fault`] makes a sentence of it. Not here: what an entry makes of it ([`super::supervise`]).

#[cfg(target_os = "linux")]
mod pulse;

use crate::text::Said;

/// What the sound server says of our stream, and of the sink that it goes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The sink's stable name, as in `output`.
    pub device: String,
    /// The sink or our stream is muted.
    pub muted: bool,
    /// Volume of sink and stream together, as a factor.
    pub volume: f32,
    /// The sink is suspended.
    pub suspended: bool,
    /// The highest sample at the sink's monitor since the last look; none before the monitor gives any.
    pub peak: Option<f32>,
}

/// Watches our own stream while it lives.
pub struct Witness {
    #[cfg(target_os = "linux")]
    watch: Option<pulse::Watch>,
}

impl Witness {
    /// Starts to watch, if the output `device` is one of a sound server that can tell. `keep_audible` lets it unmute
    /// sink and stream, wake a suspended sink and raise a volume that nobody would hear.
    #[cfg(target_os = "linux")]
    pub fn start(device: &str, keep_audible: bool) -> Self {
        Self { watch: device.starts_with("pulse:").then(|| pulse::Watch::start(keep_audible)) }
    }

    /// There is nobody to ask on this platform.
    #[cfg(not(target_os = "linux"))]
    pub fn start(_device: &str, _keep_audible: bool) -> Self {
        Self {}
    }

    /// Returns what is new since the last look. Never waits.
    pub fn look(&mut self) -> Option<Seen> {
        #[cfg(target_os = "linux")]
        return self.watch.as_ref().and_then(pulse::Watch::look);
        #[cfg(not(target_os = "linux"))]
        return None;
    }
}

/// Handed over this loud, a sound is meant to be heard: -50 dBFS.
pub const LOUD: f32 = 0.003;

/// The monitor lies so far below what was handed over when it does not carry it: 40 dB.
const LOST: f32 = 0.01;

/// Less than this of the volume is as good as none: 34 dB down.
const FAINT: f32 = 0.02;

/// Returns whether the monitor does not carry what was handed over since the last look, this being its highest sample.
pub fn is_lost(seen: &Seen, handed: f32) -> bool {
    handed >= LOUD && seen.peak.is_some_and(|peak| peak < handed * seen.volume * LOST)
}

/// Returns what is wrong with an output, in plain words with the remedy; `lost` where its monitor carries nothing.
pub fn fault(seen: &Seen, lost: bool) -> Option<Said> {
    let device = &seen.device;
    if seen.muted {
        Some(Said::new(
            format!("声卡“{device}”被静音，播了也听不见；请在系统的声音设置里取消静音"),
            format!(
                "the card \"{device}\" is muted and nothing can be heard; unmute it in the system's sound settings"
            ),
        ))
    } else if seen.suspended {
        Some(Said::new(
            format!("声卡“{device}”被系统挂起，播了也听不见；请关掉占用它的程序，或重启声音服务"),
            format!(
                "the system has suspended the card \"{device}\"; close what holds it, or restart the sound service"
            ),
        ))
    } else if seen.volume < FAINT {
        Some(Said::new(
            format!("声卡“{device}”的系统音量几乎为零；请在系统的声音设置里调大"),
            format!("the system's volume of \"{device}\" is next to nothing; turn it up in its sound settings"),
        ))
    } else if lost {
        Some(Said::new(
            format!("声音没有到达声卡“{device}”的输出；请检查系统的声音设置，或重启声音服务"),
            format!(
                "no sound reaches the output of \"{device}\"; check the sound settings, or restart the sound service"
            ),
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_not_being_heard_has_its_sentence() {
        let well = Seen { device: "pulse:x".into(), muted: false, volume: 1.0, suspended: false, peak: Some(0.5) };
        for (seen, handed, words) in [
            (well.clone(), 0.5, None),
            (well.clone(), 0.0, None),
            (Seen { peak: None, ..well.clone() }, 0.5, None),
            (Seen { peak: Some(0.0), ..well.clone() }, 0.0, None),
            (Seen { peak: Some(0.0), ..well.clone() }, 0.5, Some("没有到达")),
            (Seen { volume: 0.05, peak: Some(0.02), ..well.clone() }, 0.5, None),
            (Seen { volume: 0.001, ..well.clone() }, 0.5, Some("音量几乎为零")),
            (Seen { suspended: true, ..well.clone() }, 0.0, Some("挂起")),
            (Seen { muted: true, suspended: true, ..well }, 0.5, Some("取消静音")),
        ] {
            let said = fault(&seen, is_lost(&seen, handed));
            assert_eq!(said.is_some(), words.is_some(), "{seen:?}: {said:?}");
            assert!(words.is_none_or(|words| said.is_some_and(|said| said.zh.contains(words))), "{seen:?}");
        }
    }
}
