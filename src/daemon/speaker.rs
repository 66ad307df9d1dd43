//! Keeps one speaker process alive: starts it, carries orders and words, kills it when it hangs, starts another.
//!
//! Orders meant for a speaker that died are dropped until the daemon has heard of the death ([`ToSpeaker::Fresh`]), so
//! that nothing is armed twice.

use crate::{
    config::Sound,
    disk::write_whole,
    speaker::protocol::{FrameReader, Order, Word, write_frame_async},
};
use jiff::SignedDuration;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};

/// Between two questions whether anybody is there.
const PING: Duration = Duration::from_secs(1);
/// A speaker that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two complaints of the speaker that are logged.
const QUIET: Duration = Duration::from_secs(10);
/// The longest complaint, in bytes.
const COMPLAINT: u64 = 400;
/// Before another speaker is started, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What the daemon tells the keeper of the speaker.
#[derive(Debug)]
pub(super) enum ToSpeaker {
    /// For the speaker.
    Order(Order),
    /// Other outputs, for this speaker and for those after it.
    Open(Heard),
    /// The daemon has heard of the death; what follows is meant for the new speaker.
    Fresh,
    /// Kill it: it makes no progress.
    Replace,
}

/// What the keeper tells the daemon.
#[derive(Debug)]
pub(super) enum FromSpeaker {
    /// The speaker's own.
    Word(Word),
    /// It is gone; another is being started.
    Died,
}

/// Where and how the station is to be heard.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heard {
    /// In order of preference.
    pub outputs: Vec<String>,
    /// Sound card to air.
    pub latency_offset: SignedDuration,
    /// Whether a muted output is put right.
    pub keep_audible: bool,
}

impl From<&Sound> for Heard {
    fn from(sound: &Sound) -> Self {
        Self { outputs: sound.outputs.clone(), latency_offset: sound.latency_offset, keep_audible: sound.keep_audible }
    }
}

/// What a speaker is told to open.
#[derive(Debug)]
pub(super) struct Outputs {
    /// As the station file says.
    pub heard: Heard,
    /// What was learned of each.
    pub learned: Learned,
}

impl Outputs {
    fn order(&self) -> Order {
        Order::Open {
            outputs: self.heard.outputs.clone(),
            latency_offset_us: i64::try_from(self.heard.latency_offset.as_micros()).unwrap_or(0),
            learned: self.learned.ppm.clone(),
            keep_audible: self.heard.keep_audible,
        }
    }
}

/// By how many millionths each output runs fast, kept in `data/cards.json`. Without it every first announcement is held
/// to the clock a little later.
#[derive(Debug)]
pub(super) struct Learned {
    file: PathBuf,
    ppm: BTreeMap<String, f64>,
}

impl Learned {
    /// Reads what earlier runs have learned; a file that cannot be used is as good as none.
    pub fn open(data: &Path) -> Self {
        let file = data.join("cards.json");
        let ppm = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file, ppm }
    }

    fn keep(&mut self, device: String, ppm: f64) {
        info!("{device} runs {ppm:.1} ppm fast");
        self.ppm.insert(device, ppm);
        let kept = serde_json::to_vec(&self.ppm).map_err(io::Error::from);
        if let Err(error) = kept.and_then(|bytes| write_whole(&self.file, &bytes)) {
            warn!(%error, "what was learned of the sound card cannot be kept");
        }
    }
}

/// Runs until the daemon drops its end; then the speaker's input closes and it falls silent.
pub(super) async fn keep(
    program: PathBuf,
    mut outputs: Outputs,
    mut orders: mpsc::UnboundedReceiver<ToSpeaker>,
    words: mpsc::Sender<FromSpeaker>,
) {
    let mut back_off = BACK_OFF.0;
    loop {
        let begun = Instant::now();
        match start(&program) {
            Ok(mut child) => {
                if matches!(serve(&mut child, &mut outputs, &mut orders, &words).await, Ended::Shutdown) {
                    drop(child.stdin.take());
                    let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
                    return;
                }
                // It may be gone already.
                let _ = child.kill().await;
            }
            Err(error) => warn!(%error, "the speaker process cannot be started"),
        }
        if words.send(FromSpeaker::Died).await.is_err() {
            return;
        }
        loop {
            match orders.recv().await {
                Some(ToSpeaker::Fresh) => break,
                Some(ToSpeaker::Open(heard)) => outputs.heard = heard,
                Some(ToSpeaker::Order(_) | ToSpeaker::Replace) => {}
                None => return,
            }
        }
        back_off = if begun.elapsed() > Duration::from_secs(60) { BACK_OFF.0 } else { (back_off * 2).min(BACK_OFF.1) };
        sleep(back_off).await;
    }
}

enum Ended {
    Shutdown,
    Dead,
}

fn start(program: &PathBuf) -> std::io::Result<Child> {
    Command::new(program)
        .arg("speaker")
        // Its threads come and go; with a heap for each it holds twice as much. Only glibc knows this.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Logs what sound libraries complain of, one line in ten seconds: each try to open a device that is not there is worth
/// a dozen to ALSA.
async fn pass_on(complaints: ChildStderr) {
    let mut complaints = BufReader::new(complaints);
    let (mut said, mut left_out) = (None::<Instant>, 0_u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without end is cut, and goes on as the next.
        match (&mut complaints).take(COMPLAINT).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if said.is_some_and(|said| said.elapsed() < QUIET) {
            left_out += 1;
            continue;
        }
        warn!(left_out, "the speaker: {}", String::from_utf8_lossy(&line).trim_end());
        (said, left_out) = (Some(Instant::now()), 0);
    }
}

async fn serve(
    child: &mut Child,
    outputs: &mut Outputs,
    orders: &mut mpsc::UnboundedReceiver<ToSpeaker>,
    words: &mpsc::Sender<FromSpeaker>,
) -> Ended {
    let mut input = child.stdin.take().expect("the child's input is piped");
    let mut output = FrameReader::new(child.stdout.take().expect("the child's output is piped"));
    tokio::spawn(pass_on(child.stderr.take().expect("the child's complaints are piped")));
    if write_frame_async(&mut input, &outputs.order()).await.is_err() {
        return Ended::Dead;
    }
    info!(pid = child.id(), "the speaker runs");
    let mut heard = Instant::now();
    let mut ping = Instant::now();
    loop {
        tokio::select! {
            word = output.next::<Word>() => match word {
                Ok(Some(Word::Learned { device, ppm })) => outputs.learned.keep(device, ppm),
                Ok(Some(word)) => {
                    heard = Instant::now();
                    if words.send(FromSpeaker::Word(word)).await.is_err() {
                        return Ended::Shutdown;
                    }
                }
                Ok(None) => return Ended::Dead,
                Err(error) => {
                    warn!(%error, "the speaker speaks nonsense; it is replaced");
                    return Ended::Dead;
                }
            },
            order = orders.recv() => match order {
                Some(ToSpeaker::Order(order)) => {
                    if write_frame_async(&mut input, &order).await.is_err() {
                        return Ended::Dead;
                    }
                }
                Some(ToSpeaker::Open(heard)) => {
                    outputs.heard = heard;
                    if write_frame_async(&mut input, &outputs.order()).await.is_err() {
                        return Ended::Dead;
                    }
                }
                Some(ToSpeaker::Fresh) => {}
                Some(ToSpeaker::Replace) => {
                    warn!("the speaker makes no progress; it is replaced");
                    return Ended::Dead;
                }
                None => return Ended::Shutdown,
            },
            () = sleep_until(ping + PING) => {
                ping = Instant::now();
                if heard.elapsed() > PATIENCE {
                    warn!("the speaker does not answer; it is replaced");
                    return Ended::Dead;
                }
                if write_frame_async(&mut input, &Order::Ping).await.is_err() {
                    return Ended::Dead;
                }
            }
        }
    }
}
