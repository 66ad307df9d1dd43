//! The station and its office: an order becomes a command of the conductor, what becomes of it is told, and a delivered
//! plan comes into force whole, between two items.
//!
//! Not here: what is believed of an office ([`crate::link`]), what its orders may do ([`crate::conductor`]).

use super::station::{Station, alarm_words};
use crate::{
    clock::Clock as _,
    conductor::{self, Event},
    entry::{Entry, Running},
    home::{Delivered, Home, Texts},
    library::prepare_now,
    link::{
        CommandId, State,
        shell::{self, FromStation, ToStation, View},
        station::{Errand, state_of},
    },
    plan::{Clip, ClipState, Clips, OccurrenceId},
    schedule::{ClipPath, Source},
    text::Said,
    trust::ClockState,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

/// Facts are looked at no more often than this.
const LOOK: Duration = Duration::from_secs(1);
/// Free space is told in steps of this many bytes: it changes all the time, and a report costs the network.
const STEP: u64 = 256 << 20;

/// The longest texts that are told, in bytes together.
const LONGEST_TEXTS: usize = 16 << 10;

/// What the daemon holds of its office.
pub(super) struct Office {
    handle: shell::Handle,
    told: mpsc::UnboundedSender<FromStation>,
    clock: watch::Sender<ClockState>,
    prepared: mpsc::UnboundedSender<(ClipPath, ClipState)>,
    /// What open orders play.
    sounds: BTreeMap<OccurrenceId, BTreeMap<ClipPath, Clip>>,
    /// Orders that sound.
    started: BTreeSet<CommandId>,
    /// A delivered plan waits for its sounds, or for the end of an item.
    pub(super) waits: bool,
    looked: Option<Duration>,
    facts: Value,
}

impl Office {
    pub(super) fn new(
        handle: shell::Handle,
        told: mpsc::UnboundedSender<FromStation>,
        clock: watch::Sender<ClockState>,
        prepared: mpsc::UnboundedSender<(ClipPath, ClipState)>,
    ) -> Self {
        let (sounds, started) = Default::default();
        Self { handle, told, clock, prepared, sounds, started, waits: false, looked: None, facts: Value::Null }
    }

    pub(super) fn view(&self) -> View {
        self.handle.view()
    }

    fn tell(&self, word: FromStation) {
        // The link lives as long as the daemon.
        let _ = self.told.send(word);
    }

    /// The journal has grown, or is another one.
    pub(super) fn rows(&self) {
        self.tell(FromStation::Rows);
    }

    /// An announcement that sounds: an order is told to, once.
    pub(super) fn progressed(&mut self, running: &Running) {
        if let Some(id) = command(&running.entry.occurrence)
            && running.entry.started.is_some()
            && self.started.insert(id)
        {
            self.tell(FromStation::Order(id, State::Started));
        }
    }

    /// An entry is written.
    pub(super) fn finished(&mut self, entry: &Entry) {
        self.rows();
        if let Some(id) = command(&entry.occurrence) {
            self.started.remove(&id);
            self.sounds.remove(&entry.occurrence);
            self.tell(FromStation::Order(id, state_of(entry)));
        }
    }

    /// What the library knows, and what orders play, by the titles that the office gave it.
    pub(super) fn with_orders(&self, clips: &Clips) -> Clips {
        let mut clips = clips.clone();
        for (path, clip) in self.sounds.values().flatten() {
            let known = clips.get(path).map(|known| &known.state).filter(|state| is_settled(state));
            let state = known.cloned().unwrap_or_else(|| clip.state.clone());
            clips.0.insert(path.clone(), Clip { state, ..clip.clone() });
        }
        clips
    }
}

fn is_settled(state: &ClipState) -> bool {
    !matches!(state, ClipState::Pending)
}

/// The command whose sound this is, if it is one's.
fn command(occurrence: &OccurrenceId) -> Option<CommandId> {
    CommandId::try_from(occurrence.as_str().strip_prefix("command/")?.to_owned()).ok()
}

/// Returns whether every sound of the plans has been through import, one way or the other. What is not on the disk never
/// will be, and is missed with its reason.
pub(super) fn are_settled(delivered: &BTreeMap<Source, Delivered>, clips: &Clips, home: &Home) -> bool {
    let files = shell::Files::new(&home.data());
    delivered.values().flat_map(|plan| plan.sounds.values()).all(|blob| {
        match clips.get(&ClipPath::sound(blob)).map(|clip| &clip.state) {
            Some(state) => is_settled(state),
            None => !files.whole(blob).exists(),
        }
    })
}

/// Names who ordered something at an office, apart from the people of the station.
fn at_office(operator: &str) -> String {
    if operator.is_empty() { "镇中心".to_owned() } else { format!("镇中心·{operator}") }
}

impl Station {
    pub(super) async fn heed_office(&mut self, word: ToStation) {
        match word {
            ToStation::Plans => self.reread().await,
            ToStation::Carry(errand) => self.carry(errand).await,
        }
    }

    async fn carry(&mut self, errand: Errand) {
        match errand {
            Errand::Speak { id, band, audio, text, longest, volume, drill, until, operator } => {
                let occurrence = id.occurrence();
                if let Some(entry) = self.ledger.entry(&occurrence).await {
                    return self.office.tell(FromStation::Order(id, state_of(&entry)));
                }
                if self.office.started.contains(&id) {
                    return self.office.tell(FromStation::Order(id, State::Started));
                }
                let titles: Vec<_> = audio.iter().map(|(title, _)| title.as_str()).collect();
                let title = format!("{}{}", if drill { "演练：" } else { "" }, titles.join("、"));
                let clips: Vec<_> = audio.iter().map(|(_, blob)| ClipPath::sound(blob)).collect();
                info!(%occurrence, band = ?band, "the office has `{title}` said");
                let mut sounds = BTreeMap::new();
                for ((title, blob), path) in audio.into_iter().zip(&clips) {
                    self.prepare_now(path, blob.to_string());
                    let state = ClipState::Pending;
                    let clip = Clip { title, valid_from: None, valid_until: None, retired: false, state };
                    sounds.insert(path.clone(), clip);
                }
                self.office.sounds.insert(occurrence.clone(), sounds);
                self.supply().await;
                let order = conductor::Order {
                    id: occurrence,
                    title,
                    clips,
                    band,
                    longest: jiff::SignedDuration::try_from(longest).unwrap_or(crate::gate::LONGEST),
                    volume,
                    screen: (!text.is_empty()).then_some(text),
                    until,
                    operator: at_office(&operator),
                    note: drill.then(|| "演练".to_owned()),
                };
                self.obey(conductor::Command::Order(Box::new(order))).await;
            }
            Errand::Stop { id, only, spares_emergencies, operator } => {
                info!("the office has the station be silent");
                let only = only.map(CommandId::occurrence);
                let operator = at_office(&operator);
                self.obey(conductor::Command::Silence { only, spares_emergencies, operator }).await;
                if let Some(id) = id {
                    self.office.tell(FromStation::Order(id, State::Finished));
                }
            }
            Errand::Volume { id, volume, operator } => {
                // The station's ceiling holds; what it lets through is done.
                let volume = volume.min(self.config.sound.ceiling);
                let operator = at_office(&operator);
                self.obey(conductor::Command::Volume { volume, operator }).await;
                self.office.tell(FromStation::Order(id, State::Finished));
            }
        }
    }

    /// Has the conductor obey; nobody waits for its answer.
    async fn obey(&mut self, command: conductor::Command) {
        self.asked += 1;
        self.handle(Event::Asked { ask: self.asked, command }).await;
    }

    /// Has a sound prepared past everything that waits for import.
    fn prepare_now(&self, path: &ClipPath, sha256: String) {
        if self.sounds.get(path).is_some_and(|clip| matches!(clip.state, ClipState::Ready { .. })) {
            return;
        }
        let (program_file, data, loudness) = (self.program_file.clone(), self.home.data(), self.began.sound.loudness);
        let (prepared, path) = (self.office.prepared.clone(), path.clone());
        tokio::spawn(async move {
            let state = prepare_now(&program_file, &data, &sha256, loudness).await;
            if let ClipState::Refused(why) = &state {
                warn!("a sound of the office cannot be played: {}", why.zh);
            }
            // The daemon may be ending.
            let _ = prepared.send((path, state));
        });
    }

    pub(super) async fn take_prepared(&mut self, path: &ClipPath, state: ClipState) {
        for clip in self.office.sounds.values_mut().filter_map(|sounds| sounds.get_mut(path)) {
            clip.state = state.clone();
        }
        self.supply().await;
    }

    /// Gives the program the sounds that there are, whoever they came from.
    pub(super) async fn supply(&mut self) {
        let before = std::mem::take(&mut self.assembled.program.clips);
        let clips = self.office.with_orders(&self.sounds);
        self.assembled.supply(clips);
        if self.assembled.program.clips != before {
            self.reprogram().await;
        }
    }

    /// Returns whether other plans may come into force now: with all of their sounds, and not into an item.
    pub(super) fn may_switch(&self, delivered: &BTreeMap<Source, Delivered>) -> bool {
        self.conductor.is_between_items() && are_settled(delivered, &self.sounds, &self.home)
    }

    /// Puts a delivered plan in force that waited, when it is time.
    pub(super) async fn switch_plans(&mut self) {
        if self.office.waits && self.may_switch(&self.read.0.delivered) {
            self.take_texts().await;
        }
    }

    /// Tells the link what has changed: how far the machine's clock is believed, and what the office may want to know.
    pub(super) fn tell_office(&mut self) {
        let clock = self.clock.of_machine(self.conductor.clock());
        self.office.clock.send_if_modified(|known| std::mem::replace(known, clock) != clock);
        let now = self.clock.now().awake;
        let is_time = self.office.looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOK);
        if !is_time || self.office.view().stage != shell::Stage::Member {
            return;
        }
        self.office.looked = Some(now);
        let facts = self.facts();
        if facts != self.office.facts {
            self.office.facts = facts.clone();
            self.office.tell(FromStation::Facts(facts));
        }
    }

    fn facts(&self) -> Value {
        let now = self.clock.now();
        let status = self.conductor.status(now);
        let playing = status.playing.iter().map(|playing| {
            let one = &playing.occurrence;
            json!({ "occurrence": one.id, "title": one.title, "band": one.band, "source": one.source, "operator": playing.operator })
        });
        let next = status.next.iter().map(|next| {
            json!({ "occurrence": next.id, "title": next.title, "band": next.band, "source": next.source, "due": next.due })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "name": self.config.name,
            "revision": self.assembled.revision,
            "playing": playing.collect::<Vec<_>>(),
            "next": next.collect::<Vec<_>>(),
            "stopped_until": status.stopped.map(|stop| stop.until),
            "hushed_until": status.hushed.map(|hush| hush.until),
            "safe_mode_until": status.safe_mode_until,
            "device": status.device,
            "volume": status.volume,
            "ceiling": self.config.sound.ceiling,
            "faults": self.own_faults(),
            "waits": self.office.waits,
            "disk_free": self.disk_free.map(|bytes| bytes / STEP * STEP),
            "texts": own_texts(&self.assembled.texts),
        })
    }

    /// What is wrong at the station, without what is wrong with its link.
    fn own_faults(&self) -> Vec<Said> {
        let mut faults: Vec<Said> = self.alarms.iter().map(|alarm| alarm_words(*alarm)).collect();
        faults.extend(self.ledger.fault());
        faults.extend(self.output_fault.clone());
        faults.extend(self.self_test_fault());
        faults
    }
}

/// The station's own texts, by which the office foresees what a campaign changes here. Every report carries them, so long
/// ones stay here; what offices delivered they know.
fn own_texts(texts: &Texts) -> Option<Texts> {
    let files = || texts.station.iter().chain(texts.schedules.values()).chain(texts.calendar.values());
    let is_short = files().map(String::len).sum::<usize>() <= LONGEST_TEXTS;
    is_short.then(|| Texts { delivered: BTreeMap::new(), ..texts.clone() })
}
