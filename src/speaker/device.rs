//! Sound devices, and the only place that knows `cpal`.
//!
//! An output has a stable name, as written in `station.toml`: `pulse:SINK`, `alsa:PCM`, `wasapi:NAME`; `default` is
//! the PulseAudio default sink where a server answers, else the ALSA default (on other systems the system's own).
//! A stream is always 48 kHz with a fixed period of 2048 frames: left to itself, PulseAudio takes a buffer of 2 s.
//!
//! Opening, listing and dropping may hang for ever when a sound server is dead, so callers do each in a thread they
//! can do without ([`super::supervise`]). ALSA's `null` is never opened; a device that takes frames without keeping
//! time, whatever its name, is refused after [`TRIAL`].

use super::render::{Command, Drift, Reading, Renderer, Report};
use crate::{clock, plan::RATE, text::Said};
use cpal::{
    BufferSize, ErrorKind, HostId, OutputCallbackInfo, SampleFormat, StreamConfig,
    traits::{DeviceTrait, HostTrait, StreamTrait},
};
use rtrb::{Consumer, Producer, RingBuffer};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// Frames asked for each callback: 43 ms, two of them in the device. Fewer were lost to a busy two-core PC, more
/// would delay a stop.
pub const PERIOD: u32 = 2048;

/// The longest callback that is rendered in one piece.
const SCRATCH: usize = 4096;

/// How long a new stream must keep time before it counts as open.
const TRIAL: Duration = Duration::from_millis(250);

/// How long a new stream may take until its first callback.
const FIRST_SOUND: Duration = Duration::from_millis(1500);

/// So many errors in a row are a storm, and each is made to wait.
const STORM: u32 = 50;

/// Why an output does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum DeviceError {
    #[error("输出“{0}”的写法不对；应为 default、pulse:名称、alsa:名称 或 wasapi:名称，见 `dalaba devices`")]
    Name(String),
    #[error("找不到输出“{0}”；请检查声卡和连线，可用的输出见 `dalaba devices`")]
    Gone(String),
    #[error("声音服务没有应答（{0}）；请检查 PulseAudio 或声卡驱动是否在运行")]
    NoServer(String),
    #[error("输出“{name}”打不开（{why}）；请检查声卡是否被别的程序占用")]
    Refused { name: String, why: String },
    #[error("输出“{0}”不是真的声卡（它不按时间播放）；请在 station.toml 里换一个输出")]
    NotPaced(String),
    #[error("输出“{0}”打开后没有动静；请重新插拔声卡或重启电脑")]
    Silent(String),
    #[error("输出“{0}”在 3 秒内没有打开；声音服务可能卡住了，会自动重试")]
    TimedOut(String),
}

impl DeviceError {
    /// Returns the sentence in both languages.
    pub fn said(&self) -> Said {
        let english = match self {
            Self::Name(name) => format!(
                "the output \"{name}\" is not written as one; write default, pulse:NAME, alsa:NAME or wasapi:NAME, see `dalaba devices`"
            ),
            Self::Gone(name) => format!(
                "the output \"{name}\" is not there; check the card and its cable, `dalaba devices` lists what is there"
            ),
            Self::NoServer(why) => {
                format!("the sound service does not answer ({why}); see whether PulseAudio or the card's driver runs")
            }
            Self::Refused { name, why } => {
                format!("the output \"{name}\" does not open ({why}); see whether another program holds the card")
            }
            Self::NotPaced(name) => {
                format!("the output \"{name}\" is no sound card, it keeps no time; choose another one in station.toml")
            }
            Self::Silent(name) => {
                format!("the output \"{name}\" is open and does not move; plug the card in again or restart the PC")
            }
            Self::TimedOut(name) => format!(
                "the output \"{name}\" did not open within 3 seconds; the sound service may hang, it is tried again"
            ),
        };
        Said::new(self.to_string(), english)
    }
}

/// What callbacks leave behind for the engine.
#[derive(Debug, Default)]
pub struct Health {
    /// Frames handed over since the stream began.
    pub written: AtomicU64,
    /// Monotonic time of the last callback, in nanoseconds.
    pub last: AtomicI64,
    /// How long a frame handed over then had to wait, in nanoseconds.
    pub delay: AtomicI64,
    /// Frames of the last callback.
    pub period: AtomicU32,
    /// How far off the card is as far as is known: the bits of [`Drift::ppm`].
    ppm: AtomicU64,
    /// The device says that it is gone.
    pub dead: AtomicBool,
    errors: AtomicU32,
}

impl Health {
    /// Returns by how many millionths the card runs fast, as far as is known.
    pub fn ppm(&self) -> f64 {
        f64::from_bits(self.ppm.load(Relaxed))
    }
}

/// An open output. Dropping the stream may hang.
pub struct Output {
    /// Its stable name, never `default`.
    pub name: String,
    /// What its callbacks left.
    pub health: Arc<Health>,
    /// To the callback.
    pub commands: Producer<Command>,
    /// From the callback.
    pub reports: Consumer<Report>,
    /// Keeps the stream alive.
    pub stream: Stream,
}

/// A running stream: it plays until it is dropped, and that may hang.
pub struct Stream(#[expect(dead_code, reason = "held, never looked at")] cpal::Stream);

/// An output that a person may choose.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Found {
    /// Its stable name.
    pub name: String,
    /// What the system calls it.
    pub title: String,
    /// Whether `default` means this one.
    pub default: bool,
}

/// Opens an output and waits until frames flow. `air` is the time from the card to the air, in nanoseconds; `learned`
/// tells how fast outputs run, by their stable names.
pub fn open(output: &str, air: i64, learned: &BTreeMap<String, f64>) -> Result<Output, DeviceError> {
    let (device, name) = find(output)?;
    let refused = |why: String| DeviceError::Refused { name: name.clone(), why };
    let (command_in, command_out) = RingBuffer::new(64);
    let (report_in, report_out) = RingBuffer::new(256);
    let health = Arc::new(Health::default());
    let drift = learned.get(&name).map_or_else(Drift::default, |ppm| Drift::from_ppm(*ppm));
    let renderer = Renderer::new(air, drift, command_out, report_in);
    let (channels, format) = shape(&device);
    let config = StreamConfig { channels, sample_rate: RATE, buffer_size: BufferSize::Fixed(PERIOD) };
    let on_error = errors(Arc::clone(&health));
    let mut callback = Callback::new(renderer, Arc::clone(&health), channels);
    let stream = if format == SampleFormat::I16 {
        device.build_output_stream::<i16, _, _>(
            config,
            move |out, info| {
                callback.fill(out, info, |sample| (sample * 32767.0) as i16);
            },
            on_error,
            None,
        )
    } else {
        device.build_output_stream::<f32, _, _>(
            config,
            move |out, info| callback.fill(out, info, |s| s),
            on_error,
            None,
        )
    }
    .map_err(|error| refused(error.to_string()))?;
    stream.play().map_err(|error| refused(error.to_string()))?;
    keeps_time(&name, &health)?;
    Ok(Output { name, health, commands: command_in, reports: report_out, stream: Stream(stream) })
}

/// Returns the stable name of an output that is there, without opening it.
pub fn exists(output: &str) -> Result<String, DeviceError> {
    find(output).map(|(_, name)| name)
}

/// Lists the outputs of this machine that a person would choose, by stable name. Others that ALSA knows can still be named.
pub fn list() -> Vec<Found> {
    let default = exists("default").ok();
    let mut found = Vec::new();
    for (prefix, id) in hosts() {
        let Ok(host) = cpal::host_from_id(*id) else { continue };
        let Ok(devices) = host.output_devices() else { continue };
        for device in devices {
            let Ok(id) = device.id() else { continue };
            if is_null(id.id()) || (*prefix == "alsa" && !is_card(id.id())) {
                continue;
            }
            let name = format!("{prefix}:{}", id.id());
            let title = device.description().map_or_else(|_| name.clone(), |about| about.name().to_owned());
            let default = default.as_ref() == Some(&name);
            found.push(Found { name, title, default });
        }
    }
    found
}

#[cfg(target_os = "linux")]
fn hosts() -> &'static [(&'static str, HostId)] {
    &[("pulse", HostId::PulseAudio), ("alsa", HostId::Alsa)]
}

#[cfg(windows)]
fn hosts() -> &'static [(&'static str, HostId)] {
    &[("wasapi", HostId::Wasapi)]
}

#[cfg(target_os = "macos")]
fn hosts() -> &'static [(&'static str, HostId)] {
    &[("coreaudio", HostId::CoreAudio)]
}

fn find(output: &str) -> Result<(cpal::Device, String), DeviceError> {
    if output == "default" {
        let mut last = DeviceError::Gone(output.to_owned());
        for (prefix, id) in hosts() {
            let host = match cpal::host_from_id(*id) {
                Ok(host) => host,
                Err(error) => {
                    last = DeviceError::NoServer(error.to_string());
                    continue;
                }
            };
            if let Some(device) = host.default_output_device()
                && let Ok(id) = device.id()
                && !is_null(id.id())
            {
                return Ok((device, format!("{prefix}:{}", id.id())));
            }
        }
        return Err(last);
    }
    let unknown = || DeviceError::Name(output.to_owned());
    let (prefix, name) = output.split_once(':').ok_or_else(unknown)?;
    let (_, id) = hosts().iter().find(|(host, _)| *host == prefix).ok_or_else(unknown)?;
    if is_null(name) {
        return Err(DeviceError::NotPaced(output.to_owned()));
    }
    let host = cpal::host_from_id(*id).map_err(|error| DeviceError::NoServer(error.to_string()))?;
    let devices = host.output_devices().map_err(|error| DeviceError::NoServer(error.to_string()))?;
    let named = |device: &cpal::Device| device.id().is_ok_and(|id| id.id() == name);
    let device = devices
        .into_iter()
        .find(named)
        .or_else(|| host.device_by_id(&cpal::DeviceId::new(*id, name)))
        .ok_or_else(|| DeviceError::Gone(output.to_owned()))?;
    Ok((device, output.to_owned()))
}

/// Returns whether an ALSA name means the sink that takes everything at once and plays nothing.
fn is_null(name: &str) -> bool {
    name == "null" || name.ends_with(":null")
}

/// Returns whether an ALSA name is the default, or a whole card that converts what it is given. The rest are plug-ins that
/// stand before a card (`speexrate`, `upmix`) and the same card once more for each of its channels.
fn is_card(name: &str) -> bool {
    let (kind, of) = name.split_once(':').unwrap_or((name, ""));
    name == "default" || (of.starts_with("CARD=") && ["sysdefault", "hdmi", "iec958"].contains(&kind))
}

/// Returns channels and format to ask for: mono and f32 where the device converts, else what it says it can do.
fn shape(device: &cpal::Device) -> (u16, SampleFormat) {
    let Ok(offers) = device.supported_output_configs() else { return (1, SampleFormat::F32) };
    let rank = |channels, format| match (channels, format) {
        (1, SampleFormat::F32) => Some(0),
        (2, SampleFormat::F32) => Some(1),
        (1, SampleFormat::I16) => Some(2),
        (2, SampleFormat::I16) => Some(3),
        (_, SampleFormat::F32) => Some(4),
        (_, SampleFormat::I16) => Some(5),
        _ => None,
    };
    offers
        .filter(|offer| (offer.min_sample_rate()..=offer.max_sample_rate()).contains(&RATE))
        .filter_map(|offer| {
            let (channels, format) = (offer.channels(), offer.sample_format());
            Some((rank(channels, format)?, channels, format))
        })
        .min_by_key(|(rank, channels, _)| (*rank, *channels))
        .map_or((1, SampleFormat::F32), |(_, channels, format)| (channels, format))
}

/// Waits for the first frames, then sees whether the device takes them at the pace of time.
fn keeps_time(name: &str, health: &Health) -> Result<(), DeviceError> {
    let step = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    while health.written.load(Relaxed) == 0 {
        if waited >= FIRST_SOUND {
            return Err(DeviceError::Silent(name.to_owned()));
        }
        thread::sleep(step);
        waited += step;
    }
    let (begin, before) = (clock::monotonic(), health.written.load(Relaxed));
    thread::sleep(TRIAL);
    let took = health.written.load(Relaxed) - before;
    let fair = begin.elapsed().as_secs_f64() * f64::from(RATE);
    // The first fill of the device's buffer comes at once.
    if took as f64 > 4.0 * fair + 8.0 * f64::from(PERIOD) {
        return Err(DeviceError::NotPaced(name.to_owned()));
    }
    Ok(())
}

/// Makes the error callback: atomics only, and a nap where errors come in a storm (a million a second from ALSA
/// when the server behind a plugin dies).
fn errors(health: Arc<Health>) -> impl FnMut(cpal::Error) + Send + 'static {
    move |error| {
        if !matches!(error.kind(), ErrorKind::Xrun | ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied) {
            health.dead.store(true, Relaxed);
        }
        if health.errors.fetch_add(1, Relaxed) >= STORM {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The renderer with the clocks and channels of a real stream.
struct Callback {
    renderer: Renderer,
    health: Arc<Health>,
    channels: usize,
    written: u64,
    mono: Box<[f32]>,
}

impl Callback {
    fn new(renderer: Renderer, health: Arc<Health>, channels: u16) -> Self {
        // The monotonic clock sets itself up when it is first read: not in the callback.
        health.last.store(clock::steady_nanos(), Relaxed);
        let mono = vec![0.0; SCRATCH].into_boxed_slice();
        Self { renderer, health, channels: usize::from(channels.max(1)), written: 0, mono }
    }

    fn fill<T: Copy>(&mut self, out: &mut [T], info: &OutputCallbackInfo, convert: impl Fn(f32) -> T) {
        let (steady, wall) = (clock::steady_nanos(), clock::wall_nanos());
        let stamp = info.timestamp();
        let delay = stamp.playback.saturating_duration_since(stamp.callback);
        let mut delay = i64::try_from(delay.as_nanos()).unwrap_or(0);
        self.health.delay.store(delay, Relaxed);
        for block in out.chunks_mut(SCRATCH * self.channels) {
            let frames = block.len() / self.channels;
            let mono = &mut self.mono[..frames];
            self.renderer.render(mono, self.written, Reading { wall, steady, delay });
            for (frame, sample) in block.chunks_mut(self.channels).zip(mono.iter()) {
                frame.fill(convert(*sample));
            }
            self.written += frames as u64;
            delay = delay.saturating_add(super::render::nanos(frames as u64));
        }
        let frames = u32::try_from(out.len() / self.channels).unwrap_or(u32::MAX);
        self.health.period.store(frames, Relaxed);
        self.health.ppm.store(self.renderer.drift().ppm().to_bits(), Relaxed);
        self.health.written.store(self.written, Relaxed);
        self.health.last.store(steady, Relaxed);
        self.health.errors.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_alsa_knows_only_cards_are_listed() {
        for (name, listed) in [
            ("default", true),
            ("sysdefault:CARD=PCH", true),
            ("hdmi:CARD=PCH,DEV=0", true),
            ("iec958:CARD=PCH,DEV=0", true),
            ("hw:CARD=PCH,DEV=0", false),
            ("front:CARD=PCH,DEV=0", false),
            ("surround51:CARD=PCH,DEV=0", false),
            ("dmix:CARD=PCH,DEV=0", false),
            ("sysdefault", false),
            ("speexrate", false),
            ("upmix", false),
            ("pulse", false),
            ("", false),
        ] {
            assert_eq!(is_card(name), listed, "{name}");
        }
    }
}
