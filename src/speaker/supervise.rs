//! The engine of the speaker: opens and replaces the stream, prepares and arms what is to sound, and says what became
//! of it. Progress is frames, not the absence of errors.
//!
//! A device is replaced, never repaired: at an error, or when no callback came for half a second, host, device and
//! stream are opened anew in a thread that may hang, and the old stream is dropped in another. What was sounding
//! re-enters at its place in time with a short fade. When too many such threads hang, the process ends with
//! [`STUCK`] and the daemon starts another: nothing within a process frees a stuck sound library.
//!
//! Not here: samples ([`super::chain`]), frames ([`super::render`]), devices ([`super::device`]).

use super::{
    chain::Chain,
    device::{self, DeviceError, Output},
    protocol::{End, Level, Order, Playout, Word},
    render::{Close, Command, Late, Meter, Moment, Report, SLOTS, Voice, nanos},
    witness::{self, Witness},
};
use crate::{clock, outcome::Evidence, plan::RATE, text::Said};
use jiff::Timestamp;
use rtrb::{Consumer, Producer, RingBuffer};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::Duration,
};

/// Exit code: sound threads hang and only a new process helps.
pub const STUCK: i32 = 70;

const SECOND: i64 = 1_000_000_000;

/// How long before its start an announcement has the stream opened.
const OPEN_AHEAD: i64 = 10 * SECOND;
/// How long before its start an announcement is read ahead.
const READ_AHEAD: i64 = 15 * SECOND;
/// How long the stream stays open after the last sound.
const LINGER: i64 = 60 * SECOND;
/// How often a closed device is looked for.
const PROBE: i64 = 30 * SECOND;
/// How long opening or dropping may take before its thread counts as stuck.
const PATIENCE: i64 = 3 * SECOND;
/// Stuck threads that are borne.
const MAY_HANG: usize = 2;
/// Without a callback for so long a stream is dead.
const SILENCE: i64 = SECOND / 2;
/// Looks at a silent stream before it is dead, so that a process that was itself stopped gives it a chance.
const LOOKS: u32 = 5;
/// Shortest and longest wait between two rounds over the outputs.
const RETRY: (i64, i64) = (SECOND / 5, 5 * SECOND);
/// The longest while an announcement waits: it is to be back within three seconds of its device.
const RETRY_WANTED: i64 = SECOND * 3 / 2;
/// How often progress is told; a level meter follows it.
const PROGRESS: i64 = SECOND / 4;
/// Samples in the ring between the preparing thread and the callback: 2.5 s.
const RING: usize = RATE as usize * 5 / 2;
/// So much of it is filled before a voice is armed.
const PRIMED: usize = RATE as usize / 4;
/// How long an announcement waits for a device at least, however short it is.
const UNSTARTED: i64 = 10 * SECOND;
/// How long the end of the input may take to become silence.
const LAST_FADE: i64 = SECOND * 35 / 100;

/// An announcement of so many frames (20 s) has shown how fast the card runs.
const ENOUGH_TO_LEARN: u64 = RATE as u64 * 20;
/// A change of what was learned that is worth telling, in millionths.
const NEWS_PPM: f64 = 2.0;

/// What is added to a note whose reason is gone.
const MENDED: &str = "（后已恢复）";

/// Frames must flow for so long in a self-test.
const TEST: i64 = 2 * SECOND;

/// What the engine is driven by.
#[derive(Debug)]
pub enum Input {
    /// The daemon wants something.
    Order(Order),
    /// The daemon is gone.
    Closed,
}

/// Plays what the inputs ask for until they end, and returns the exit code. `say` returns whether anybody listens;
/// when nobody does, that is an end of the inputs too.
pub fn run(inputs: &Receiver<Input>, say: impl FnMut(Word) -> bool) -> i32 {
    let mut engine = Engine::new(say);
    loop {
        match inputs.recv_timeout(engine.nap()) {
            Ok(Input::Order(order)) => engine.obey(order),
            Ok(Input::Closed) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        engine.tick();
        if engine.hanging() > MAY_HANG && !engine.is_sounding() {
            return STUCK;
        }
        if engine.deaf {
            break;
        }
    }
    engine.obey(Order::StopAll);
    let end = clock::steady_nanos() + LAST_FADE;
    while engine.is_sounding() && clock::steady_nanos() < end {
        thread::sleep(Duration::from_millis(5));
        engine.tick();
    }
    0
}

struct Engine<S> {
    say: S,
    /// Nobody listens any more.
    deaf: bool,
    outputs: Vec<String>,
    air: i64,
    /// By how many millionths each output runs fast.
    learned: BTreeMap<String, f64>,
    keep_audible: bool,
    /// What was last told to be wrong with the output.
    fault: Option<Said>,
    /// Since when a self-test is asked for.
    test: Option<i64>,
    items: Vec<Item>,
    next_id: u64,
    link: Link,
    told: Told,
    /// Which output of the list is tried next.
    turn: usize,
    retry_at: i64,
    wait: i64,
    probe: Option<Receiver<Found>>,
    probe_at: i64,
    /// Threads that may hang, and since when they are waited for.
    threads: Vec<(i64, thread::JoinHandle<()>)>,
    busy_until: i64,
}

/// What the daemon was last told about the device.
#[derive(PartialEq)]
enum Told {
    Nothing,
    Ready(String),
    NoDevice,
}

enum Link {
    Closed,
    Opening { since: i64, name: String, result: Receiver<Result<Output, DeviceError>> },
    Open(Box<Open>),
}

struct Open {
    output: Output,
    written: u64,
    flowed: i64,
    since: i64,
    looks: u32,
    witness: Witness,
    /// The highest sample handed over since the witness last told.
    handed: f32,
    /// It was lost at the last look too.
    doubted: bool,
}

/// One `Play`.
struct Item {
    id: u64,
    playout: Playout,
    gain: f32,
    stage: Stage,
    /// When frame 0 of the announcement is or would have been in the air, by the monotonic clock, once it sounded.
    origin: Option<i64>,
    /// Accepted by streams that are gone.
    accepted: u64,
    missing: u64,
    peak: f32,
    /// Sum of the squares of what streams that are gone took.
    energy: f64,
    /// Frames and sum of squares when progress was last told.
    metered: (u64, f64),
    /// The device's first failure during it.
    failure: Option<End>,
    told: i64,
    /// Looks of the witness while it was loud, and those in which the monitor carried it.
    looks: (u32, u32),
    /// Why it may not have been heard.
    note: Option<String>,
}

enum Stage {
    /// Waits for its time or for a device.
    Armed,
    /// A thread fills its ring.
    Preparing { samples: Consumer<f32>, skip: u64 },
    /// The callback has it.
    Sounding { meter: Arc<Meter>, skip: u64 },
    /// All is handed over; the device drains.
    Draining { until: i64, at: i64, end: End },
    /// Told; goes with the next tick.
    Over,
}

impl<S: FnMut(Word) -> bool> Engine<S> {
    fn new(say: S) -> Self {
        Self {
            say,
            deaf: false,
            outputs: Vec::new(),
            air: 0,
            learned: BTreeMap::new(),
            keep_audible: false,
            fault: None,
            test: None,
            items: Vec::new(),
            next_id: 0,
            link: Link::Closed,
            told: Told::Nothing,
            turn: 0,
            retry_at: 0,
            wait: RETRY.0,
            probe: None,
            probe_at: 0,
            threads: Vec::new(),
            busy_until: 0,
        }
    }

    /// Returns how long the engine may sleep if nobody asks for anything.
    fn nap(&self) -> Duration {
        let millis = match self.link {
            Link::Closed if self.items.is_empty() && self.threads.is_empty() && self.is_ready() => 500,
            Link::Open(_) if self.items.is_empty() => 100,
            _ => 20,
        };
        Duration::from_millis(millis)
    }

    fn is_ready(&self) -> bool {
        matches!(self.told, Told::Ready(_))
    }

    fn is_sounding(&self) -> bool {
        self.items.iter().any(|item| matches!(item.stage, Stage::Sounding { .. } | Stage::Draining { .. }))
    }

    fn hanging(&self) -> usize {
        let now = clock::steady_nanos();
        self.threads.iter().filter(|(since, thread)| now - since > PATIENCE && !thread.is_finished()).count()
    }

    fn tell(&mut self, word: Word) {
        if !(self.say)(word) {
            self.deaf = true;
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Open { outputs, latency_offset_us, learned, keep_audible } => {
                let air = latency_offset_us.saturating_mul(1000);
                (self.learned, self.keep_audible) = (learned, keep_audible);
                if outputs != self.outputs || air != self.air {
                    (self.outputs, self.air, self.turn) = (outputs, air, 0);
                    self.told = Told::Nothing;
                    self.lose(End::DeviceLost);
                }
            }
            Order::Play(playout) => {
                self.next_id += 1;
                self.items.push(Item {
                    id: self.next_id,
                    gain: playout.gain,
                    playout,
                    stage: Stage::Armed,
                    origin: None,
                    accepted: 0,
                    missing: 0,
                    peak: 0.0,
                    energy: 0.0,
                    metered: (0, 0.0),
                    failure: None,
                    told: 0,
                    looks: (0, 0),
                    note: None,
                });
            }
            Order::Stop { occurrence } => self.stop(|item| item.playout.occurrence == occurrence),
            Order::StopAll => self.stop(|_| true),
            Order::Gain { occurrence, gain } => {
                for item in self.items.iter_mut().filter(|item| item.playout.occurrence == occurrence) {
                    item.gain = gain;
                    if let (Stage::Sounding { .. }, Link::Open(open)) = (&item.stage, &mut self.link) {
                        // A full ring means that no callback comes; then the item is armed anew, at this gain.
                        let _ = open.output.commands.push(Command::Gain { voice: item.id, gain });
                    }
                }
            }
            Order::Test => self.test = Some(clock::steady_nanos()),
            Order::Ping => self.tell(Word::Pong),
        }
    }

    fn stop(&mut self, which: impl Fn(&Item) -> bool) {
        let mut words = Vec::new();
        for item in self.items.iter_mut().filter(|item| which(item)) {
            match (&item.stage, &mut self.link) {
                (Stage::Armed | Stage::Preparing { .. }, _) => words.push(item.end(End::Stopped, clock::wall_nanos())),
                (Stage::Sounding { .. }, Link::Open(open)) => {
                    if open.output.commands.push(Command::Stop { voice: item.id }).is_err() {
                        open.output.health.dead.store(true, Relaxed);
                    }
                    // Should the device die during the fade, the item is not armed again.
                    item.failure = Some(End::Stopped);
                }
                _ => {}
            }
        }
        words.into_iter().for_each(|word| self.tell(word));
    }

    fn tick(&mut self) {
        let now = clock::steady_nanos();
        self.threads.retain(|(_, thread)| !thread.is_finished());
        self.listen();
        self.witness();
        self.watch(now);
        self.connect(now);
        self.prove(now);
        self.advance(now);
        self.items.retain(|item| !matches!(item.stage, Stage::Over));
    }

    /// Takes the callback's reports.
    fn listen(&mut self) {
        while let Link::Open(open) = &mut self.link
            && let Ok(report) = open.output.reports.pop()
        {
            match report {
                Report::Started { voice, at, error, origin } => {
                    let Some(item) = self.items.iter_mut().find(|item| item.id == voice) else { continue };
                    if let Stage::Sounding { skip, .. } = item.stage {
                        item.origin = Some(origin.saturating_sub(nanos(skip)));
                    }
                    let occurrence = item.playout.occurrence.clone();
                    self.tell(Word::Started { occurrence, at: moment(at), error_us: error / 1000 });
                }
                Report::Done { voice, close, at, steady } => {
                    let Some(item) = self.items.iter_mut().find(|item| item.id == voice.id()) else { continue };
                    item.collect(0);
                    let whole = item.playout.frames().saturating_sub(item.playout.skip_frames);
                    let end = match close {
                        Close::Stopped => End::Stopped,
                        Close::Gate => End::Gate,
                        Close::TooLate => item.failure.unwrap_or(End::DeviceStalled),
                        _ if item.missing > 0 || close == Close::Short => End::DecoderShort,
                        // Frames that a card lost were skipped, so that the rest is at its moment.
                        _ if short(item.accepted, whole) => match item.failure {
                            Some(failure) if failure != End::Stopped => failure,
                            _ => End::DeviceLost,
                        },
                        _ => End::Finished,
                    };
                    let learns = item.accepted >= ENOUGH_TO_LEARN;
                    item.stage = Stage::Draining { until: steady, at, end };
                    if learns {
                        self.learn();
                    }
                }
                Report::Jump(jump) if jump > 0 => {
                    self.tell(Word::Underrun { micros: jump.unsigned_abs() / 1000 });
                }
                Report::Jump(_) => {}
            }
        }
    }

    /// Takes what the sound server says of the open output.
    fn witness(&mut self) {
        let Link::Open(open) = &mut self.link else { return };
        let sounding = |item: &&mut Item| matches!(item.stage, Stage::Sounding { .. });
        for item in self.items.iter_mut().filter(sounding) {
            if let Stage::Sounding { meter, .. } = &item.stage {
                let peak = meter.take_peak();
                item.peak = item.peak.max(peak);
                open.handed = open.handed.max(peak);
            }
        }
        let Some(seen) = open.witness.look() else { return };
        let handed = std::mem::take(&mut open.handed);
        let lost = witness::is_lost(&seen, handed);
        // What was handed over just now is not yet in the air: one look without it proves nothing.
        let doubted = std::mem::replace(&mut open.doubted, lost);
        let fault = witness::fault(&seen, lost && doubted);
        let carried = seen.peak.is_some_and(|peak| peak >= witness::LOUD);
        for item in self.items.iter_mut().filter(sounding) {
            if handed >= witness::LOUD {
                item.looks = (item.looks.0 + 1, item.looks.1 + u32::from(carried));
            }
            match (&mut item.note, &fault) {
                (None, Some(fault)) => item.note = Some(fault.zh.clone()),
                (Some(note), None) if !note.ends_with(MENDED) => note.push_str(MENDED),
                _ => {}
            }
        }
        if fault != self.fault {
            self.fault.clone_from(&fault);
            self.tell(Word::Output { fault });
        }
    }

    /// Keeps what was learned of the open output.
    fn learn(&mut self) {
        let Link::Open(open) = &self.link else { return };
        let (device, ppm) = (open.output.name.clone(), open.output.health.ppm());
        let known = self.learned.insert(device.clone(), ppm);
        if known.is_none_or(|known| (known - ppm).abs() >= NEWS_PPM) {
            self.tell(Word::Learned { device, ppm });
        }
    }

    /// Sees whether the stream lives.
    fn watch(&mut self, now: i64) {
        let Link::Open(open) = &mut self.link else { return };
        let health = &open.output.health;
        let written = health.written.load(Relaxed);
        if written == open.written {
            open.looks += 1;
        } else {
            (open.written, open.flowed, open.looks) = (written, now, 0);
        }
        let limit = SILENCE.max(4 * nanos(u64::from(health.period.load(Relaxed))));
        if health.dead.load(Relaxed) {
            self.lose(End::DeviceLost);
        } else if open.looks >= LOOKS && now - open.flowed > limit {
            self.lose(End::DeviceStalled);
        } else if self.items.is_empty() && now > self.busy_until {
            self.probe_at = now + PROBE;
            self.lose(End::DeviceLost);
        }
    }

    /// Gives the stream up; what it carried waits for the next.
    fn lose(&mut self, why: End) {
        let old = std::mem::replace(&mut self.link, Link::Closed);
        let Link::Open(open) = old else {
            if let Link::Opening { .. } = old {
                // Its thread drops what it opens, and is counted if it hangs.
                self.retry_at = 0;
            }
            return;
        };
        let waiting = u64::try_from(open.output.health.delay.load(Relaxed)).unwrap_or(0);
        let lost = waiting.saturating_mul(u64::from(RATE)) / SECOND.unsigned_abs();
        let wall = clock::wall_nanos();
        let mut words = Vec::new();
        for item in &mut self.items {
            match item.stage {
                Stage::Sounding { .. } => {
                    item.collect(lost);
                    item.stage = Stage::Armed;
                    match item.failure {
                        Some(End::Stopped) => words.push(item.end(End::Stopped, wall)),
                        None if item.origin.is_some() => item.failure = Some(why),
                        _ => {}
                    }
                }
                Stage::Draining { end, .. } => {
                    item.accepted = item.accepted.saturating_sub(lost);
                    words.push(item.end(if end == End::Finished { why } else { end }, wall));
                }
                _ => {}
            }
        }
        self.threads.extend(spawn("reaper", move || drop(open)).map(|thread| (clock::steady_nanos(), thread)));
        (self.retry_at, self.wait, self.turn) = (0, RETRY.0, 0);
        words.into_iter().for_each(|word| self.tell(word));
    }

    /// Opens the stream when it is wanted.
    fn connect(&mut self, now: i64) {
        if self.outputs.is_empty() {
            return;
        }
        if let Link::Opening { since, name, result } = &self.link {
            match result.try_recv() {
                Ok(Ok(output)) => return self.opened(output, now),
                Ok(Err(error)) => self.failed(&error, now),
                Err(TryRecvError::Empty) if now - since < PATIENCE => return,
                Err(_) => {
                    let error = DeviceError::TimedOut(name.clone());
                    self.failed(&error, now);
                }
            }
        }
        if !matches!(self.link, Link::Closed) {
            return;
        }
        let wall = clock::wall_nanos();
        let wanted =
            self.items.iter().any(|item| item.start() - wall < OPEN_AHEAD) || !self.is_ready() || self.test.is_some();
        if wanted && now >= self.retry_at {
            let Some(name) = self.outputs.get(self.turn).or(self.outputs.first()).cloned() else { return };
            let (sender, result) = mpsc::sync_channel(1);
            let (output, air, learned) = (name.clone(), self.air, self.learned.clone());
            // With the engine no longer interested the output is dropped here, where it may hang.
            let opener = spawn("opener", move || drop(sender.send(device::open(&output, air, &learned))));
            self.threads.extend(opener.map(|thread| (now, thread)));
            self.link = Link::Opening { since: now, name, result };
        } else if !wanted {
            self.look_for_it(now);
        }
    }

    fn opened(&mut self, output: Output, now: i64) {
        let told = Told::Ready(output.name.clone());
        if self.told != told {
            self.tell(Word::Ready { device: output.name.clone() });
            self.told = told;
        }
        let written = output.health.written.load(Relaxed);
        let witness = Witness::start(&output.name, self.keep_audible);
        let open = Open { output, written, flowed: now, since: now, looks: 0, witness, handed: 0.0, doubted: false };
        self.link = Link::Open(Box::new(open));
        (self.turn, self.wait) = (0, RETRY.0);
        self.busy_until = now + LINGER;
    }

    fn failed(&mut self, error: &DeviceError, now: i64) {
        self.link = Link::Closed;
        self.turn += 1;
        if self.turn < self.outputs.len() {
            return;
        }
        self.turn = 0;
        if self.test.take().is_some() {
            self.tell(Word::Tested { device: None, fault: Some(error.said()) });
        }
        self.retry_at = now + self.wait;
        let longest = if self.items.is_empty() { RETRY.1 } else { RETRY_WANTED };
        self.wait = (self.wait * 2).min(longest);
        self.missing(error);
    }

    /// Ends a self-test once frames have flowed for long enough.
    fn prove(&mut self, now: i64) {
        let (Some(_), Link::Open(open)) = (self.test, &self.link) else { return };
        self.busy_until = self.busy_until.max(now + TEST);
        if now - open.since >= TEST && now - open.flowed < SILENCE {
            self.test = None;
            let device = Some(open.output.name.clone());
            self.tell(Word::Tested { device, fault: self.fault.clone() });
        }
    }

    fn missing(&mut self, error: &DeviceError) {
        if self.told != Told::NoDevice {
            self.told = Told::NoDevice;
            self.tell(Word::NoDevice { why: error.to_string() });
        }
    }

    /// Looks from time to time whether a closed device is still there. One that does not answer is opened, which
    /// tells.
    fn look_for_it(&mut self, now: i64) {
        if let Some(probe) = &self.probe {
            match probe.try_recv() {
                Ok(Found::Gone(error)) => self.missing(&error),
                // Opened, it tells what it is now.
                Ok(Found::Another) => self.told = Told::Nothing,
                Ok(Found::Same) => {}
                Err(TryRecvError::Empty) if now - self.probe_at < PATIENCE => return,
                Err(_) => self.told = Told::Nothing,
            }
            self.probe = None;
            self.probe_at = now + PROBE;
        } else if now >= self.probe_at {
            let outputs = self.outputs.clone();
            let Told::Ready(known) = &self.told else { return };
            let known = known.clone();
            let (sender, result) = mpsc::sync_channel(1);
            let prober = spawn("prober", move || {
                drop(sender.send(find_again(&outputs, &known)));
            });
            self.threads.extend(prober.map(|thread| (now, thread)));
            (self.probe, self.probe_at) = (Some(result), now);
        }
    }

    /// Moves every item one step on.
    fn advance(&mut self, now: i64) {
        let wall = clock::wall_nanos();
        let mut busy = self.items.iter().filter(|item| matches!(item.stage, Stage::Sounding { .. })).count();
        let mut words = Vec::new();
        for item in &mut self.items {
            let length = nanos(item.playout.frames());
            match &mut item.stage {
                Stage::Armed => {
                    let gone = match item.origin {
                        Some(origin) => now - origin >= length,
                        // The daemon stops it when its grace is over; this only ends what nobody stops.
                        None => wall - item.start() >= length.max(UNSTARTED),
                    };
                    if item.gate().is_some_and(|gate| gate <= wall) {
                        words.push(item.end(End::Gate, wall));
                    } else if gone {
                        words.push(item.end(item.failure.unwrap_or(End::DeviceLost), wall));
                    } else if match item.origin {
                        Some(_) => matches!(self.link, Link::Open(_)),
                        None => item.start() - wall < READ_AHEAD,
                    } {
                        item.prepare(now);
                    }
                }
                Stage::Preparing { samples, .. } => {
                    let primed = samples.slots() >= PRIMED || samples.is_abandoned();
                    if item.gate().is_some_and(|gate| gate <= wall) {
                        words.push(item.end(End::Gate, wall));
                    } else if let Link::Open(open) = &mut self.link
                        && primed
                        && busy < SLOTS
                        && !open.output.commands.is_full()
                    {
                        busy += 1;
                        item.arm(&mut open.output.commands);
                    }
                }
                Stage::Sounding { meter, .. } => {
                    self.busy_until = now + LINGER;
                    if meter.frames() > 0 && now - item.told >= PROGRESS {
                        item.told = now;
                        let (frames, energy) = (item.accepted + meter.frames(), item.energy + meter.energy());
                        let (frames_before, energy_before) = item.metered;
                        item.metered = (frames, energy);
                        words.push(Word::Progress {
                            occurrence: item.playout.occurrence.clone(),
                            frames,
                            level: Level {
                                peak_dbfs: decibels(item.peak.max(meter.peak())),
                                rms_dbfs: rms(energy, frames),
                            },
                            now_dbfs: rms(energy - energy_before, frames.saturating_sub(frames_before)),
                        });
                    }
                }
                Stage::Draining { until, at, end } => {
                    self.busy_until = now + LINGER;
                    if now >= *until {
                        let (end, at) = (*end, *at);
                        words.push(item.end(end, at));
                    }
                }
                Stage::Over => {}
            }
        }
        words.into_iter().for_each(|word| self.tell(word));
    }
}

impl Item {
    /// When its first sample (after what it skips) is planned, by the wall clock.
    fn start(&self) -> i64 {
        nanoseconds(self.playout.start).saturating_add(nanos(self.playout.skip_frames))
    }

    fn gate(&self) -> Option<i64> {
        self.playout.not_after.map(|(gate, _)| nanoseconds(gate))
    }

    /// Starts the thread that reads its samples, from where the clock says.
    fn prepare(&mut self, now: i64) {
        let skip = match self.origin {
            Some(origin) => frames(now.saturating_sub(origin)).max(self.playout.skip_frames),
            None => self.playout.skip_frames,
        };
        let (producer, samples) = RingBuffer::new(RING);
        let chain = Chain::new(&self.playout, skip);
        // Without a thread the ring is abandoned, and the item ends for want of samples.
        drop(spawn("prepare", move || pump(chain, producer)));
        self.stage = Stage::Preparing { samples, skip };
    }

    /// Hands its ring to the callback.
    fn arm(&mut self, commands: &mut Producer<Command>) {
        let Stage::Preparing { samples, skip } = std::mem::replace(&mut self.stage, Stage::Armed) else { return };
        let (start, late) = match self.origin {
            Some(origin) => (Moment::Steady(origin.saturating_add(nanos(skip))), Late::Join),
            None if skip > 0 => (Moment::Wall(self.start()), Late::Join),
            None => (Moment::Wall(self.start()), Late::FromStart),
        };
        let left = self.playout.frames().saturating_sub(skip);
        let voice = Voice::new(self.id, samples, left, start, late, self.gain).not_after(self.gate());
        let meter = voice.meter();
        if commands.push(Command::Arm(Box::new(voice))).is_ok() {
            self.stage = Stage::Sounding { meter, skip };
        }
    }

    /// Counts what the callback handed over, less what never left the device.
    fn collect(&mut self, lost: u64) {
        if let Stage::Sounding { meter, .. } = &self.stage {
            self.accepted += meter.frames().saturating_sub(lost);
            self.missing += meter.missing();
            self.peak = self.peak.max(meter.peak());
            self.energy += meter.energy();
        }
    }

    /// Closes it and returns its last word.
    fn end(&mut self, end: End, at: i64) -> Word {
        self.stage = Stage::Over;
        Word::Ended {
            occurrence: self.playout.occurrence.clone(),
            frames: self.accepted,
            level: Level { peak_dbfs: decibels(self.peak), rms_dbfs: rms(self.energy, self.accepted) },
            at: moment(at),
            end,
            evidence: if self.looks.1 > 0 && self.looks.1 * 2 >= self.looks.0 {
                Evidence::Monitor
            } else {
                Evidence::Accepted
            },
            note: self.note.take(),
        }
    }
}

/// What a look at a closed device finds.
enum Found {
    Same,
    Another,
    Gone(DeviceError),
}

/// Looks which of the outputs is there, in order of preference.
fn find_again(outputs: &[String], known: &str) -> Found {
    let mut gone = None;
    for output in outputs {
        match device::exists(output) {
            Ok(name) if name == known => return Found::Same,
            Ok(_) => return Found::Another,
            Err(error) => gone = gone.or(Some(error)),
        }
    }
    gone.map_or(Found::Another, Found::Gone)
}

/// Reads a chain into a ring until it ends or nobody listens.
fn pump(mut chain: Chain, mut ring: Producer<f32>) {
    let mut block = Vec::with_capacity(4096);
    loop {
        block.clear();
        block.extend(chain.by_ref().take(4096));
        if block.is_empty() {
            return;
        }
        let mut rest = block.as_slice();
        while !rest.is_empty() {
            if ring.is_abandoned() {
                return;
            }
            rest = ring.push_partial_slice(rest).1;
            if !rest.is_empty() {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Starts a thread; none if the system has no more.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Option<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).ok()
}

/// Returns whether less than 99.5 % was accepted.
fn short(accepted: u64, whole: u64) -> bool {
    u128::from(accepted) * 1000 < u128::from(whole) * 995
}

/// Returns how many whole frames have begun in so many nanoseconds.
fn frames(nanos: i64) -> u64 {
    let frames = i128::from(nanos.max(0)) * i128::from(RATE) / i128::from(SECOND);
    u64::try_from(frames).unwrap_or(u64::MAX)
}

fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn moment(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Returns the root mean square of so many samples with such a sum of squares, in dBFS.
fn rms(energy: f64, frames: u64) -> f32 {
    decibels((energy / frames.max(1) as f64).max(0.0).sqrt() as f32)
}

/// Silence is written as -120 dBFS: JSON knows no infinity.
fn decibels(peak: f32) -> f32 {
    (20.0 * peak.log10()).max(-120.0)
}
