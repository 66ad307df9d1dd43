//! The open watches of one office process: who has to hear what, as soon as it is known.
//!
//! The store is asked for the office's revision every second, always; a [`hint`](Watches::hint) shortens that. What is new
//! is rendered once and handed to every watch that it is meant for. A watch that does not take what it is handed is
//! closed: its station comes back and is told everything that holds.
//!
//! A watch is open here before its greeting is read from the store, so that what comes in between is said twice rather
//! than not at all.
//!
//! Not here: what a watch is made of ([`super::wire`]).

use super::{
    keys::{Keys, KeysError},
    server::Line,
    store::{InForce, Station, StationState, Store, StoreError},
};
use crate::{
    clock,
    link::{
        Place, StationId,
        office::{Issued, Presence, Turned, come_back_within},
        protocol::{Revision, WatchEvent},
    },
    text::unhex,
};
use axum::body::Bytes;
use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::{Notify, mpsc, watch};

/// How often the store is asked, whatever anybody says.
const POLL: Duration = Duration::from_secs(1);
/// Events that wait for one watch; one that lets more wait is closed.
const WAITING: usize = 16;
/// Watches of one station at a time; the oldest goes.
const WATCHES: usize = 2;
/// A station that polls is there until so long after a poll's end.
const BETWEEN_POLLS: Duration = Duration::from_secs(40);
/// A word from a station is put on the disk when the last one there is so old.
const HEARD: SignedDuration = SignedDuration::from_mins(5);

/// A station that may speak: what every request of it is held against.
#[derive(Debug)]
pub struct Member {
    /// Where it is.
    pub place: Place,
    /// Its public key.
    pub key: VerifyingKey,
    /// The office's revision at which something about it last changed.
    pub wants: i64,
}

impl Member {
    fn of(station: &Station, generation: u64) -> Option<Arc<Self>> {
        let key = unhex(&station.key).and_then(|bytes| bytes.try_into().ok());
        let key = key.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())?;
        Some(Arc::new(Self { place: station.place(generation), key, wants: station.wants }))
    }

    /// Which plans it should have.
    pub fn desired(&self) -> Revision {
        Revision { generation: self.place.generation, revision: self.wants.unsigned_abs() }
    }
}

/// An event as it is sent. One word long: the channel of each watch keeps room for 32 from the start.
pub(super) type Sent = Arc<Bytes>;

/// A command that lives, with its event.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) issued: Issued,
    event: Sent,
}

/// One open watch.
#[derive(Debug)]
struct Watch {
    number: u64,
    events: mpsc::Sender<Sent>,
    line: Arc<Line>,
}

#[derive(Debug, Default)]
struct Inside {
    /// The office's, up to which everything was handed out.
    revision: i64,
    root: u64,
    members: HashMap<StationId, Arc<Member>>,
    watches: HashMap<StationId, Vec<Watch>>,
    presence: HashMap<StationId, Known>,
    live: Vec<Arc<Live>>,
    /// What was told to a station by its last poll.
    told: HashMap<StationId, (Revision, u64)>,
    /// Changes that are not on the disk yet, oldest first.
    turned: BTreeMap<StationId, Vec<(Timestamp, Turned)>>,
    closed: bool,
}

/// Whether a station is there.
#[derive(Debug, Default)]
struct Known {
    presence: Presence,
    /// The last word that is on the disk.
    stored: Option<Timestamp>,
}

/// The open watches; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Watches {
    hint: Arc<Notify>,
    inside: Arc<Mutex<Inside>>,
    numbers: Arc<AtomicU64>,
}

/// A watch that was opened. Dropped, it is closed.
#[derive(Debug)]
pub(super) struct Seat {
    watches: Watches,
    station: StationId,
    number: u64,
    lingers: bool,
    /// What the station has to hear.
    pub(super) events: mpsc::Receiver<Sent>,
    /// Commands for it that live.
    pub(super) live: Vec<Arc<Live>>,
    /// A poll has to be answered at once: something is new since the last one.
    pub(super) is_behind: bool,
}

impl Watches {
    /// Says that the store has changed. A hint only: the store is asked every second in any case.
    pub fn hint(&self) {
        self.hint.notify_one();
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many watches are open here.
    pub fn open(&self) -> usize {
        self.inside().watches.values().map(Vec::len).sum()
    }

    /// When anything last came from a station to this process.
    pub fn heard(&self, station: &StationId) -> Option<Timestamp> {
        self.inside().presence.get(station)?.presence.last_heard()
    }

    /// Returns a station that may speak, as far as this process knows it.
    pub(super) fn known(&self, id: &StationId) -> Option<Arc<Member>> {
        self.inside().members.get(id).map(Arc::clone)
    }

    /// Returns a station that may speak.
    pub(super) async fn member(
        &self,
        id: &StationId,
        store: &Store,
        keys: &Keys,
    ) -> Result<Option<Arc<Member>>, StoreError> {
        if let Some(member) = self.known(id) {
            return Ok(Some(member));
        }
        // It may have been taken in within the last second.
        let Some(station) = store.station(id).await?.filter(|station| station.state == StationState::Active) else {
            return Ok(None);
        };
        let Some(member) = Member::of(&station, keys.generation()) else { return Ok(None) };
        Ok(Some(Arc::clone(self.inside().members.entry(id.clone()).or_insert(member))))
    }

    /// Something came from a station.
    pub(super) fn heard_now(&self, station: &StationId, now: Timestamp) {
        self.inside().presence.entry(station.clone()).or_default().presence.heard(now);
    }

    /// Opens a watch. With `polls`, it is one of many that follow each other.
    pub(super) fn open_watch(&self, member: &Member, line: Arc<Line>, polls: bool, now: Timestamp) -> Option<Seat> {
        let (events, receiver) = mpsc::channel(WAITING);
        let number = self.numbers.fetch_add(1, Relaxed);
        let station = member.place.station.clone();
        let mut inside = self.inside();
        if inside.closed {
            return None;
        }
        let watches = inside.watches.entry(station.clone()).or_default();
        watches.push(Watch { number, events, line });
        if watches.len() > WATCHES {
            // The oldest is a line that was cut without a word, or nobody's.
            watches.remove(0).line.hang_up();
        }
        if let Some(turned) = inside.presence.entry(station.clone()).or_default().presence.opened(number, now) {
            inside.turned.entry(station.clone()).or_default().push((now, turned));
        }
        let live = inside.live.iter().filter(|live| live.issued.targets.include(&member.place)).cloned().collect();
        let told = (member.desired(), inside.root);
        let is_behind = polls && inside.told.insert(station.clone(), told) != Some(told);
        Some(Seat { watches: self.clone(), station, number, lingers: polls, events: receiver, live, is_behind })
    }

    fn close_watch(&self, station: &StationId, number: u64, now: Timestamp) {
        let mut inside = self.inside();
        inside.gone(station, number);
        if let Some(turned) = inside.presence.get_mut(station).and_then(|known| known.presence.closed(number)) {
            inside.turned.entry(station.clone()).or_default().push((now, turned));
        }
    }

    /// Hands out what is new until `stop` says so, and then says goodbye. Ends early where the keys no longer are those of
    /// the office.
    pub(super) async fn run(
        &self,
        store: &Store,
        keys: &Keys,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), KeysError> {
        let mut reachable = true;
        loop {
            match self.hand_out(store, keys).await {
                Ok(()) => reachable = true,
                Err(error @ (KeysError::Old { .. } | KeysError::Another { .. })) => {
                    self.say_goodbye();
                    return Err(error);
                }
                Err(error) if reachable => {
                    reachable = false;
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the store does not answer; trying again"
                    );
                }
                Err(_) => {}
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.hint.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        self.say_goodbye();
        Ok(())
    }

    /// Looks once what is new, and hands it out: up to one revision, under the root and generation that held with it. What
    /// changed meanwhile is the next look's, or a station would hear of one with the other's number.
    pub(super) async fn hand_out(&self, store: &Store, keys: &Keys) -> Result<(), KeysError> {
        let (before, first) = {
            let inside = self.inside();
            (inside.revision, inside.root == 0)
        };
        let Some(InForce { revision, generation, root }) = store.in_force().await? else { return Ok(()) };
        if revision == before && !first {
            return Ok(());
        }
        keys.follow(store).await?;
        let now = clock::wall();
        // Commands first: somebody may be waiting for an alarm.
        let commands = store.open_commands(before, now).await?;
        let commands: Vec<_> = commands.iter().map(|command| live(command.issued())).collect();
        self.inside().commands(&commands, now);
        let stations = store.stations_changed(before, revision).await?;
        let mut inside = self.inside();
        if inside.root != root {
            inside.root = root;
            let event = rendered(&WatchEvent::Trust { root }).into();
            let all: Vec<_> = inside.watches.keys().cloned().collect();
            for station in all {
                inside.tell(&station, &event);
            }
        }
        for station in stations {
            inside.changed(&station, generation);
        }
        inside.revision = revision;
        Ok(())
    }

    /// Ends every watch with the time to stay away, so that the stations do not come back all at once.
    fn say_goodbye(&self) {
        let mut inside = self.inside();
        inside.closed = true;
        let count = inside.watches.len() as u64;
        for watch in std::mem::take(&mut inside.watches).into_values().flatten() {
            let mut random = [0; 8];
            // Without random bits they come back in the order of their numbers.
            let random = getrandom::fill(&mut random).map_or(watch.number, |()| u64::from_le_bytes(random));
            let _ = watch.events.try_send(rendered(&come_back_within(count, random)).into());
        }
    }

    /// Takes what is to be put on the disk of comings and goings, and of stations that were heard.
    pub(super) fn take_notes(&self, now: Timestamp) -> Notes {
        let mut inside = self.inside();
        let turned = std::mem::take(&mut inside.turned);
        let mut heard = Vec::new();
        for (station, known) in &mut inside.presence {
            // While a watch is open, its station is there at this moment.
            let last = if known.presence.is_up() { Some(now) } else { known.presence.last_heard() };
            let is_new = last > known.stored
                && known.stored.zip(last).is_none_or(|(stored, last)| last.duration_since(stored) >= HEARD);
            if let Some(last) = last.filter(|_| is_new || turned.contains_key(station)) {
                known.stored = Some(last);
                heard.push((station.clone(), last));
            }
        }
        heard.sort();
        Notes { turned, heard }
    }

    /// Takes notes back that did not reach the disk.
    pub(super) fn put_back(&self, notes: Notes) {
        let mut inside = self.inside();
        for (station, mut earlier) in notes.turned {
            let turned = inside.turned.entry(station).or_default();
            earlier.append(turned);
            *turned = earlier;
        }
        for (station, _) in notes.heard {
            inside.presence.entry(station).or_default().stored = None;
        }
    }
}

/// What is to be put on the disk of who came, went and was heard.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) turned: BTreeMap<StationId, Vec<(Timestamp, Turned)>>,
    pub(super) heard: Vec<(StationId, Timestamp)>,
}

impl Inside {
    /// Hands an event to the watches of a station, and closes those that do not take it.
    fn tell(&mut self, station: &StationId, event: &Sent) {
        let Some(watches) = self.watches.get_mut(station) else { return };
        watches.retain(|watch| {
            let is_taken = watch.events.try_send(Arc::clone(event)).is_ok();
            if !is_taken {
                watch.line.hang_up();
            }
            is_taken
        });
    }

    fn commands(&mut self, new: &[Arc<Live>], now: Timestamp) {
        self.live.retain(|live| live.issued.not_after > now);
        for command in new {
            if self.live.iter().any(|live| live.issued.id == command.issued.id) {
                continue;
            }
            self.live.push(Arc::clone(command));
            let meant: Vec<_> = self
                .watches
                .keys()
                .filter(|id| self.members.get(*id).is_some_and(|one| command.issued.targets.include(&one.place)))
                .cloned()
                .collect();
            for station in meant {
                self.tell(&station, &command.event);
            }
        }
    }

    /// Something about a station is new.
    fn changed(&mut self, station: &Station, generation: u64) {
        let member =
            Member::of(station, generation).filter(|_| station.state == StationState::Active && station.wants > 0);
        let Some(member) = member else {
            self.members.remove(&station.id);
            for watch in self.watches.remove(&station.id).into_iter().flatten() {
                watch.line.hang_up();
            }
            return;
        };
        let desired = member.desired();
        let before = self.members.insert(station.id.clone(), member);
        if before.as_ref().is_some_and(|before| before.place.key != station.key) {
            // Another machine has its place now.
            for watch in self.watches.remove(&station.id).into_iter().flatten() {
                watch.line.hang_up();
            }
        }
        if before.as_ref().is_none_or(|before| before.desired() != desired) {
            self.tell(&station.id, &rendered(&WatchEvent::Revision { desired }).into());
            // A place may bring it among those that a command is meant for. What it was meant for before, it was told.
            let Some(member) = self.members.get(&station.id).map(Arc::clone) else { return };
            let is_new = |live: &&Arc<Live>| {
                let includes = |member: &Arc<Member>| live.issued.targets.include(&member.place);
                includes(&member) && !before.as_ref().is_some_and(includes)
            };
            let meant: Vec<_> = self.live.iter().filter(is_new).map(Arc::clone).collect();
            for live in meant {
                self.tell(&station.id, &live.event);
            }
        }
    }

    fn gone(&mut self, station: &StationId, number: u64) {
        if let Some(watches) = self.watches.get_mut(station) {
            watches.retain(|watch| watch.number != number);
            if watches.is_empty() {
                self.watches.remove(station);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (watches, station, number) = (self.watches.clone(), self.station.clone(), self.number);
        let linger = tokio::runtime::Handle::try_current().ok().filter(|_| self.lingers);
        match linger {
            // Between two polls a station is still there.
            Some(runtime) => {
                watches.inside().gone(&station, number);
                runtime.spawn(async move {
                    tokio::time::sleep(BETWEEN_POLLS).await;
                    watches.close_watch(&station, number, clock::wall());
                });
            }
            None => watches.close_watch(&station, number, clock::wall()),
        }
    }
}

fn live(issued: Issued) -> Arc<Live> {
    let event = rendered(&WatchEvent::Command { envelope: issued.envelope.clone() }).into();
    Arc::new(Live { issued, event })
}

/// An event as it goes down a stream.
pub(super) fn rendered(event: &WatchEvent) -> Bytes {
    let json = serde_json::to_string(event).expect("an event is made of texts and numbers");
    format!("data: {json}\n\n").into()
}

/// The JSON of an event that was rendered for a stream.
pub(super) fn unrendered(event: &Bytes) -> &[u8] {
    let event = event.strip_prefix(b"data: ").unwrap_or(event);
    event.strip_suffix(b"\n\n").unwrap_or(event)
}
