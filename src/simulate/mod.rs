//! Many light stations in one process, against a real office: for load, and to show a county on one desk.
//!
//! Each is the real [`Link`](crate::link::station::Link) over real connections; its disk, its clip player and its
//! journal are a few numbers in memory.
//! So whatever a fleet does to an office, as many real stations would do. What goes wrong, goes wrong by seed: the same
//! seed makes the same stations with the same mishaps.
//!
//! Not here: sound, and what is decided ([`crate::link::station`]).

mod figures;
mod light;
mod mishap;
mod rows;
mod wire;

pub use figures::{FanOut, Spread, Standing, Storm};
pub use wire::WireError;

use crate::{
    clock::{Clock as _, SystemClock},
    link::{
        CommandId, Envelope,
        protocol::WatchEvent,
        station::{Event, Now},
    },
    trust::{ClockState, Reading},
};
use figures::Figures;
use jiff::Timestamp;
use light::{Deed, Light};
use mishap::Dice;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::sleep};
use wire::{Caller, Came, Heard, Me, Road};

/// As many stations begin in a second.
const BEGINNING: u32 = 400;
/// As much may wait between the connections and the links.
const WAITING: usize = 1 << 16;
/// As much is taken up before time moves on.
const AT_ONCE: usize = 256;

/// What a fleet is.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many stations.
    pub stations: usize,
    /// Where their office is: `https://host:port`.
    pub office: String,
    /// The code by which the office takes them in.
    pub code: String,
    /// From which stations, keys, rows and mishaps follow.
    pub seed: u64,
    /// As many rows each station brings along.
    pub rows: u32,
    /// A row is added to each journal so often.
    pub row_every: Duration,
    /// Something goes wrong at each station so often; never where there is none.
    pub mishap_every: Option<Duration>,
    /// Commands are only counted: the way down is measured without what stations say to them.
    pub deaf: bool,
    /// For so long; until it is ended from outside where there is none.
    pub lasts: Option<Duration>,
    /// The fleet says so often where it stands.
    pub tell_every: Duration,
}

/// What a fleet says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// Where it stands.
    Standing(Standing),
    /// How a command went out.
    Command(FanOut),
    /// It was cut off, and is back.
    Storm(Storm),
    /// Something that somebody should know, said once.
    Note {
        /// The sentence.
        note: String,
    },
}

/// Runs a fleet until its time is over or `stop` comes to its end.
pub async fn run(
    options: Options,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(Told),
) -> Result<(), WireError> {
    let road = Arc::new(Road::to(&options.office).await?);
    let (came, mut comes) = mpsc::channel(WAITING);
    let mut fleet = Fleet::new(options, road, came);
    let mut stop = pin!(stop);
    let mut batch = Vec::with_capacity(AT_ONCE);
    loop {
        let now = SystemClock.now();
        fleet.pass(now);
        fleet.tell(now, &mut tell);
        if fleet.is_over(now) {
            return Ok(());
        }
        let left = fleet.next().saturating_sub(now.since_boot);
        tokio::select! {
            biased;
            () = &mut stop => break,
            _ = comes.recv_many(&mut batch, AT_ONCE) => {}
            () = sleep(left) => {}
        }
        let now = SystemClock.now();
        for came in batch.drain(..) {
            fleet.take(now, came);
        }
    }
    fleet.say_all(SystemClock.now(), &mut tell);
    Ok(())
}

/// The stations, and what is to happen to them.
struct Fleet {
    options: Options,
    road: Arc<Road>,
    came: mpsc::Sender<Came>,
    lights: Vec<Light>,
    /// What is due, by the time since boot.
    due: BTreeMap<(Duration, u64), (usize, u32, Deed)>,
    numbered: u64,
    began: Duration,
    says: Duration,
    figures: Figures,
    counts: Counts,
    /// What was noted already, and what was not said yet.
    noted: BTreeSet<String>,
    notes: Vec<Told>,
    /// The last command that came down, as it was read.
    read: Option<(String, CommandId, String, Timestamp)>,
}

/// What is only counted.
#[derive(Debug, Default)]
struct Counts {
    watches: u64,
    acked: i64,
    acked_before: i64,
    lost: i64,
    refused: u64,
    later: u64,
    failed: u64,
    mishaps: BTreeMap<&'static str, u64>,
}

impl Fleet {
    fn new(options: Options, road: Arc<Road>, came: mpsc::Sender<Came>) -> Self {
        let reading = SystemClock.now();
        let lights = (0..options.stations).map(|index| Light::new(index, &options, reading.wall)).collect();
        let began = reading.since_boot;
        let mut fleet = Self {
            road,
            came,
            lights,
            due: BTreeMap::new(),
            numbered: 0,
            began,
            says: began,
            figures: Figures::default(),
            counts: Counts::default(),
            noted: BTreeSet::new(),
            notes: Vec::new(),
            read: None,
            options,
        };
        for index in 0..fleet.lights.len() {
            let at = began + Duration::from_secs(1) * u32::try_from(index).unwrap_or(u32::MAX) / BEGINNING;
            fleet.after(at, index, 0, Deed::Asks);
        }
        fleet
    }

    fn after(&mut self, at: Duration, index: usize, life: u32, deed: Deed) {
        self.numbered += 1;
        self.due.insert((at, self.numbered), (index, life, deed));
    }

    fn next(&self) -> Duration {
        self.due.keys().next().map_or(self.says, |(at, _)| (*at).min(self.says))
    }

    fn is_over(&self, now: Reading) -> bool {
        self.options.lasts.is_some_and(|lasts| now.since_boot >= self.began + lasts)
    }

    fn caller(&self, index: usize) -> Caller {
        let light = &self.lights[index];
        let (me, came) = (Arc::clone(&light.me), self.came.clone());
        Caller { road: Arc::clone(&self.road), me, index, life: light.life, came }
    }

    /// Lets everything happen that is due.
    fn pass(&mut self, reading: Reading) {
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= reading.since_boot
        {
            let ((at, _), (index, life, deed)) = entry.remove_entry();
            if self.lights[index].life == life {
                self.does(reading, index, at, deed);
            }
        }
    }

    fn note(&mut self, note: String) {
        if self.noted.insert(note.clone()) {
            self.notes.push(Told::Note { note });
        }
    }

    /// Takes what came down a line.
    fn take(&mut self, reading: Reading, came: Came) {
        let Came { station, life, at, event } = came;
        if self.lights[station].life != life {
            return;
        }
        match event {
            Heard::Enrolled(enrolled) => self.enrolled(reading, station, &enrolled),
            Heard::NotEnrolled(why) => {
                self.note(format!("镇中心没有接纳：{why}"));
                self.ask_later(reading, station);
            }
            Heard::Link(Event::Watched(_, WatchEvent::Command { envelope })) if self.options.deaf => {
                self.command_came(reading, station, &envelope, at);
            }
            Heard::Link(event) => {
                if let Event::Watched(_, WatchEvent::Command { envelope }) = &event {
                    self.command_came(reading, station, envelope, at);
                }
                self.happens(reading, station, event);
            }
        }
    }

    fn command_came(&mut self, reading: Reading, station: usize, envelope: &str, at: Timestamp) {
        if self.read.as_ref().is_none_or(|(text, ..)| text != envelope) {
            self.read = read(envelope);
        }
        if let Some((_, id, op, issued)) = &self.read {
            self.figures.came(station, (*id, op, *issued), at, reading.since_boot);
        }
    }

    // What is said.

    fn tell(&mut self, reading: Reading, tell: &mut impl FnMut(Told)) {
        self.notes.drain(..).for_each(&mut *tell);
        if reading.since_boot >= self.says {
            self.say_all(reading, tell);
        }
    }

    fn say_all(&mut self, reading: Reading, tell: &mut impl FnMut(Told)) {
        self.figures.settled(reading.since_boot).into_iter().map(Told::Command).for_each(&mut *tell);
        tell(Told::Standing(self.standing()));
        self.counts.acked_before = self.counts.acked;
        self.says = reading.since_boot + self.options.tell_every;
    }

    fn standing(&self) -> Standing {
        let links = || self.lights.iter().filter_map(|light| light.link.as_ref());
        let revisions = || links().filter_map(|link| link.kept().plans.values().map(|plan| plan.mark.revision).max());
        let (counts, newest) = (&self.counts, revisions().max());
        let seconds = self.options.tell_every.as_secs().max(1);
        Standing {
            enrolled: self.lights.iter().filter(|light| light.is_enrolled()).count(),
            up: links().filter(|link| link.is_up()).count(),
            watches: counts.watches,
            rows: self.lights.iter().map(|light| light.rows.newest()).sum(),
            acked: links().map(|link| link.kept().acked).sum(),
            acked_per_s: u64::try_from(counts.acked - counts.acked_before).unwrap_or(0) / seconds,
            lost: counts.lost,
            in_force: revisions().filter(|revision| Some(*revision) == newest).count(),
            refused: counts.refused,
            alarms: links().map(|link| link.alarms().len()).sum(),
            later: counts.later,
            failed: counts.failed,
            mishaps: counts.mishaps.clone(),
        }
    }
}

/// The clocks of a light station: the machine's, wrong by as much as a mishap made them.
fn now(reading: Reading, light: &Light) -> Now {
    let clock = if light.skew.is_zero() { ClockState::Trusted } else { ClockState::Plausible };
    Now { since_boot: reading.since_boot, wall: crate::trust::plus(reading.wall, light.skew), clock }
}

/// Returns the key of a station, its name and its journal's, which follow from the seed.
fn identity(index: usize, seed: u64) -> (Me, String) {
    let mut dice = Dice::new(seed, u64::try_from(index).unwrap_or(u64::MAX));
    let bytes: Vec<u8> = (0..4).flat_map(|_| dice.next().to_le_bytes()).collect();
    let key = ed25519_dalek::SigningKey::from_bytes(&bytes.try_into().expect("four numbers are 32 bytes"));
    let id = format!("sim-{seed:x}-{:05}", index + 1);
    let epoch = format!("{id}-{:016x}", dice.next());
    (Me::new(id.try_into().expect("made of the letters that a name may have"), key), epoch)
}

/// Reads a command as far as the figures need it: its text, name, operation and moment of issue.
fn read(envelope: &str) -> Option<(String, CommandId, String, Timestamp)> {
    let read = Envelope::read(envelope.as_bytes()).ok()?;
    let command: serde_json::Value = serde_json::from_slice(read.payload()).ok()?;
    let id = CommandId::try_from(command["id"].as_str()?.to_owned()).ok()?;
    let issued = Timestamp::from_millisecond(command["issued"].as_i64()?).ok()?;
    Some((envelope.to_owned(), id, command["op"].as_str()?.to_owned(), issued))
}
