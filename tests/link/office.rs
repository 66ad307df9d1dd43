//! The office of the simulation: a disk that can be put back to an old backup, and answers to requests.

use super::Dice;
use dalaba::{
    link::{
        BlobId, Command, CommandId, Envelope, Kind, Op, Place, Plan, Role, Root, Signer, StationId,
        journal::{self, Acked, Batch, Cursor, Turned},
        office::{Issued, Receipts, greeting, time_proof},
        plan::Sound,
        protocol::{Envelopes, Revision, Status, WatchEvent},
        root::{Key, PublicKey},
        time::Nonce,
    },
    schedule::Source,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What the office has on its disk.
#[derive(Debug, Clone)]
pub struct Disk {
    pub root: Root,
    /// By version.
    pub roots: BTreeMap<u64, String>,
    pub revision: u64,
    pub places: BTreeMap<StationId, Place>,
    pub plans: BTreeMap<StationId, Envelope>,
    pub commands: BTreeMap<CommandId, (Issued, Receipts)>,
    counters: BTreeMap<String, u64>,
    /// Hash of each row, by station.
    pub journals: BTreeMap<StationId, (Cursor, Vec<String>)>,
    /// Which content key is in use.
    content: u8,
}

pub struct Office {
    pub disk: Disk,
    pub blobs: BTreeMap<BlobId, Vec<u8>>,
    /// Of the wall clock against the truth, in ms.
    pub skew: i64,
    /// Set while it is restored from a backup and nobody has noticed.
    pub restored: bool,
}

/// What a command of [`Office::strays`] differs in.
pub struct Stray {
    /// For which station it is.
    pub to: StationId,
    /// How long ago it was signed, in ms.
    pub age: u64,
    /// One that was used before.
    pub counter: Option<u64>,
    /// Whose key.
    pub kid: &'static str,
    pub seed: u8,
}

fn name(dice: &mut Dice) -> CommandId {
    let random = (u128::from(dice.next()) << 64 | u128::from(dice.next())) & !(0xf << 76) & !(0xc << 60);
    CommandId::try_from(uuid::Uuid::from_u128(random | 0x7 << 76 | 0x8 << 60)).unwrap()
}

pub fn signer(kid: &str, seed: u8) -> Signer {
    Signer { kid: kid.to_owned().try_into().unwrap(), key: SigningKey::from_bytes(&[seed; 32]) }
}

fn roots() -> [Signer; 2] {
    [signer("root-1", 1), signer("root-2", 2)]
}

fn content(number: u8) -> Signer {
    signer(&format!("content-{number}"), 100 + number)
}

fn emergency() -> Signer {
    signer("emergency", 4)
}

pub fn timekeeper() -> Signer {
    signer("time", 5)
}

const FAR: i64 = 4_000_000_000_000;

impl Office {
    pub fn new(stations: &[(StationId, VerifyingKey)]) -> Self {
        let public = |signer: &Signer| PublicKey::ed25519(signer.kid.clone(), &signer.key.verifying_key());
        let root = Root {
            version: 0,
            generation: 1,
            office: "青石镇".into(),
            threshold: 2,
            roots: roots().iter().map(public).collect(),
            keys: vec![key(&emergency(), Role::Emergency), key(&timekeeper(), Role::Time)],
            revoked: BTreeSet::new(),
        };
        let places = stations.iter().zip(201..).map(|((station, key), village)| {
            let place = Place {
                generation: 1,
                revision: 1,
                station: station.clone(),
                key: key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
                division: format!("330127104{village}").try_into().unwrap(),
                groups: BTreeSet::new(),
            };
            (station.clone(), place)
        });
        let disk = Disk {
            root,
            roots: BTreeMap::new(),
            revision: 0,
            places: places.collect(),
            plans: BTreeMap::new(),
            commands: BTreeMap::new(),
            counters: BTreeMap::new(),
            journals: BTreeMap::new(),
            content: 0,
        };
        let mut office = Self { disk, blobs: BTreeMap::new(), skew: 0, restored: false };
        office.rotate(1);
        office
    }

    pub fn now(&self, truth: u64) -> Timestamp {
        Timestamp::from_millisecond(super::world::EPOCH_MS + i64::try_from(truth).unwrap() + self.skew).unwrap()
    }

    /// Another content key; the one before is revoked. `version` is at least the root's number.
    pub fn rotate(&mut self, version: u64) {
        let old = content(self.disk.content);
        // What it signed is not believed any more; a clerk issues it again.
        let by_old = format!("\"kid\":\"{}\"", old.kid);
        self.disk.commands.retain(|_, (issued, _)| !issued.envelope.contains(&by_old));
        self.disk.content += 1;
        let root = &mut self.disk.root;
        root.keys.retain(|key| key.public.kid != old.kid);
        root.keys.push(key(&content(self.disk.content), Role::Content));
        root.revoked.insert(old.kid);
        self.sign_root(version);
    }

    /// After a restore: a new generation, above every root that a station has.
    pub fn bump(&mut self, version: u64, generation: u64) {
        self.disk.root.generation = generation;
        self.disk.revision = 0;
        self.restored = false;
        self.sign_root(version);
    }

    fn sign_root(&mut self, version: u64) {
        self.disk.root.version = version.max(self.disk.root.version + 1);
        let envelope = Envelope::of(Kind::Root, &self.disk.root, &roots()).unwrap();
        self.disk.roots.insert(self.disk.root.version, envelope.text().to_owned());
    }

    pub fn first_root(&self) -> &str {
        &self.disk.roots[&self.disk.root.version]
    }

    pub fn place(&self, station: &StationId) -> Envelope {
        let place = Place { generation: self.disk.root.generation, ..self.disk.places[station].clone() };
        Envelope::of(Kind::Place, &place, &[content(self.disk.content)]).unwrap()
    }

    /// Gives every station another plan with some of the sounds.
    pub fn publish(&mut self, dice: &mut Dice, truth: u64) {
        self.disk.revision += 1;
        let now = self.now(truth);
        let sounds: Vec<_> = (0..dice.between(0, 3))
            .map(|_| {
                let bytes = format!("sound {}", dice.below(12)).repeat(20).into_bytes();
                let sha256 = BlobId::of(&bytes);
                self.blobs.insert(sha256, bytes.clone());
                Sound { path: format!("a/{sha256}.mp3").try_into().unwrap(), sha256, bytes: bytes.len() as u64 }
            })
            .map(|sound| (sound.path.clone(), sound))
            .collect::<BTreeMap<_, _>>()
            .into_values()
            .collect();
        let text = "[announcement.a]\nplay = [\"a/\"]\n[[rule]]\nplay = \"a\"\nat = [\"06:30\"]\n";
        let schedules = BTreeMap::from([("daily".to_owned(), text.to_owned())]);
        for station in self.disk.places.keys() {
            let plan = Plan {
                generation: self.disk.root.generation,
                revision: self.disk.revision,
                issued: now,
                review_by: Timestamp::from_millisecond(FAR).unwrap(),
                targets: serde_json::from_value(serde_json::json!({ "stations": [station] })).unwrap(),
                source: Source::Town,
                schedules: if sounds.is_empty() { BTreeMap::new() } else { schedules.clone() },
                audio: sounds.clone(),
            };
            let envelope = Envelope::of(Kind::Plan, &plan, &[content(self.disk.content)]).unwrap();
            self.disk.plans.insert(station.clone(), envelope);
        }
    }

    /// Issues a command, and returns it.
    pub fn order(&mut self, dice: &mut Dice, truth: u64, op: Op) -> Issued {
        let signer = match op {
            Op::Emergency(_) => emergency(),
            Op::Stop { .. } if dice.one_in(2) => emergency(),
            _ => content(self.disk.content),
        };
        let issued = self.now(truth);
        let counter = self.disk.counters.entry(signer.kid.to_string()).or_default();
        *counter += 1;
        let lives = [60_000, 600_000, 1_700_000][usize::try_from(dice.below(3)).unwrap()];
        let stations: Vec<_> = self.disk.places.keys().filter(|_| !dice.one_in(4)).collect();
        let targets = match dice.below(3) {
            0 => serde_json::json!({ "stations": stations }),
            _ => serde_json::json!({ "divisions": ["330127104000"] }),
        };
        let older = self.disk.commands.keys().next_back().copied();
        let command = Command {
            id: name(dice),
            generation: self.disk.root.generation,
            counter: *counter,
            issued,
            not_after: Timestamp::from_millisecond(issued.as_millisecond() + lives).unwrap(),
            targets: serde_json::from_value(targets).unwrap(),
            operator: "王主任".into(),
            supersedes: older.filter(|_| dice.one_in(5)).into_iter().collect(),
            op,
        };
        let envelope = Envelope::of(Kind::Command, &command, &[signer]).unwrap();
        let issued = Issued::read(envelope.text()).unwrap();
        self.disk.commands.insert(issued.id, (issued.clone(), Receipts::default()));
        issued
    }

    /// A command that the office has no note of, by one of its keys or by somebody else's.
    pub fn strays(&mut self, dice: &mut Dice, truth: u64, op: Op, stray: &Stray) -> Issued {
        let counter = self.disk.counters.entry(stray.kid.to_owned()).or_default();
        *counter += 1;
        let counter = stray.counter.unwrap_or(*counter);
        let issued = self.now(truth).as_millisecond() - i64::try_from(stray.age).unwrap();
        let command = Command {
            id: name(dice),
            generation: self.disk.root.generation,
            counter,
            issued: Timestamp::from_millisecond(issued).unwrap(),
            not_after: Timestamp::from_millisecond(issued + 600_000).unwrap(),
            targets: serde_json::from_value(serde_json::json!({ "stations": [stray.to] })).unwrap(),
            operator: "王主任".into(),
            supersedes: BTreeSet::new(),
            op,
        };
        let envelope = Envelope::of(Kind::Command, &command, &[signer(stray.kid, stray.seed)]).unwrap();
        Issued::read(envelope.text()).unwrap()
    }

    pub fn desired(&self) -> Revision {
        Revision { generation: self.disk.root.generation, revision: self.disk.revision }
    }

    pub fn greet(&self, station: &StationId, nonce: &Nonce, truth: u64) -> Vec<WatchEvent> {
        let now = self.now(truth);
        let time = time_proof(nonce, now, now, &timekeeper()).unwrap();
        let place = &self.disk.places[station];
        let commands = self.disk.commands.values().map(|(issued, receipts)| (issued, receipts));
        let journal = self.disk.journals.get(station).map(|journal| &journal.0);
        greeting(self.desired(), self.disk.root.version, &time, journal, place, commands, now)
    }

    pub fn wanted(&self, station: &StationId) -> Envelopes {
        let plan = self.disk.plans.get(station).map(|plan| plan.text().to_owned());
        Envelopes { envelopes: [self.place(station).text().to_owned()].into_iter().chain(plan).collect() }
    }

    pub fn trust(&self, from: u64) -> Envelopes {
        Envelopes { envelopes: self.disk.roots.range(from + 1..).map(|(_, text)| text.clone()).collect() }
    }

    pub fn time(&self, nonce: &Nonce, truth: u64) -> Envelopes {
        let now = self.now(truth);
        Envelopes { envelopes: vec![time_proof(nonce, now, now, &timekeeper()).unwrap().text().to_owned()] }
    }

    pub fn journal(&mut self, station: &StationId, batch: &Batch, key: &VerifyingKey) -> Result<Acked, Turned> {
        let fresh = || (Cursor::new(batch.epoch.clone()), Vec::new());
        let (cursor, hashes) = self.disk.journals.entry(station.clone()).or_insert_with(fresh);
        let at = |seq: i64| hashes.get(usize::try_from(seq).ok()?.checked_sub(1)?).cloned();
        let (rows, after) = journal::take(cursor, batch, key, at)?;
        hashes.extend(rows.into_iter().map(|row| row.hash));
        *cursor = after;
        Ok(Acked { epoch: cursor.epoch.clone(), acked: cursor.acked })
    }

    pub fn status(&mut self, station: &StationId, status: Status) {
        let place = &self.disk.places[station];
        if let Some((issued, receipts)) = self.disk.commands.get_mut(&status.command) {
            receipts.take(issued, place, status.state, status.at);
        }
    }
}

fn key(signer: &Signer, role: Role) -> Key {
    Key {
        public: PublicKey::ed25519(signer.kid.clone(), &signer.key.verifying_key()),
        role,
        scope: "330127104000".to_owned().try_into().unwrap(),
        not_after: Timestamp::from_millisecond(FAR).unwrap(),
    }
}
