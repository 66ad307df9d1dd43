//! A pretend speaker: accepts frames at the rate of true time, says so with a little delay, dies, hangs, loses its
//! device.

use dalaba::{
    outcome::Evidence,
    plan::RATE,
    schedule::Band,
    speaker::protocol::{End, Level, Playout, Word},
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Microseconds of true time.
pub type Micros = i64;

const SECOND: Micros = 1_000_000;
const PROGRESS: Micros = 1_500_000;
const FADE: Micros = 300_000;

#[derive(Debug, Clone)]
pub struct Sound {
    pub playout: Playout,
    /// When its first frame went out; none while armed.
    pub from: Option<Micros>,
    progress: Micros,
    /// When it is faded out by order.
    stops: Option<Micros>,
    /// It ends after so many frames: a clip with a torn end.
    pub torn_at: Option<u64>,
}

impl Sound {
    fn wanted(&self) -> u64 {
        let whole = self.playout.frames().saturating_sub(self.playout.skip_frames);
        self.torn_at.map_or(whole, |torn| torn.min(whole))
    }

    pub fn accepted(&self, now: Micros) -> u64 {
        let Some(from) = self.from else { return 0 };
        let passed = u64::try_from(now - from).unwrap_or(0);
        self.wanted().min(passed * u64::from(RATE) / 1_000_000)
    }

    fn begins(&self) -> Timestamp {
        let skipped = i64::try_from(self.playout.skip_frames * 1_000_000 / u64::from(RATE)).expect("short");
        self.playout.start + jiff::SignedDuration::from_micros(skipped)
    }
}

/// What a step of the speaker brought.
pub enum Said {
    Word(Word, Micros),
    Began(Playout),
    Over(Playout, u64),
}

#[derive(Debug)]
pub struct Speaker {
    pub sounds: Vec<Sound>,
    pub hung: bool,
    /// The process comes up; then it opens its device.
    pub opens: Option<Micros>,
    pub has_device: bool,
    told: Option<bool>,
    pub alive: bool,
}

impl Speaker {
    pub fn starting(now: Micros, has_device: bool) -> Self {
        Self { sounds: Vec::new(), hung: false, opens: Some(now + SECOND / 2), has_device, told: None, alive: true }
    }

    pub fn play(&mut self, playout: Playout, torn_at: Option<u64>) {
        self.sounds.push(Sound { playout, from: None, progress: 0, stops: None, torn_at });
    }

    pub fn stop(&mut self, id: &str, now: Micros) {
        for sound in self.sounds.iter_mut().filter(|sound| sound.playout.occurrence.as_str() == id) {
            let fade = if sound.from.is_some() { FADE } else { 0 };
            sound.stops.get_or_insert(now + fade);
        }
    }

    /// Ends the process; returns what each sound had accepted.
    pub fn die(&mut self, now: Micros) -> Vec<(Playout, u64)> {
        self.alive = false;
        let hung = self.hung;
        self.sounds.drain(..).map(|sound| (sound.playout.clone(), if hung { 0 } else { sound.accepted(now) })).collect()
    }

    /// The machine sleeps for so long.
    pub fn sleep(&mut self, span: Micros) {
        for sound in &mut self.sounds {
            for at in [&mut sound.from, &mut sound.stops].into_iter().flatten() {
                *at += span;
            }
            sound.progress += span;
        }
        if let Some(opens) = &mut self.opens {
            *opens += span;
        }
    }

    /// Returns when it next has something to do. `offset` is the wall clock's error.
    pub fn next(&self, now: Micros, offset: Micros) -> Option<Micros> {
        if !self.alive || self.hung {
            return None;
        }
        if let Some(opens) = self.opens {
            return Some(opens.max(now));
        }
        if self.told != Some(self.has_device) || (!self.has_device && !self.sounds.is_empty()) {
            return Some(now);
        }
        let real = |wall: Timestamp| wall.as_microsecond() - offset;
        let moments = self.sounds.iter().flat_map(|sound| {
            let gate = sound.playout.not_after.map(|(at, _)| real(at));
            let own = match sound.from {
                None => [Some(real(sound.begins())), sound.stops, gate, None],
                Some(from) => {
                    let length = i64::try_from(sound.wanted() * 1_000_000 / u64::from(RATE)).expect("short");
                    [Some(from + length + 1), Some(sound.progress), sound.stops, gate]
                }
            };
            own.into_iter().flatten()
        });
        moments.min().map(|at| at.max(now))
    }

    /// Does what is due at `now`.
    pub fn run(&mut self, now: Micros, offset: Micros) -> Vec<Said> {
        let mut said = Vec::new();
        if self.next(now, offset).is_none_or(|at| at > now) {
            return said;
        }
        if self.opens.take().is_some() {
            self.told = None;
        }
        let wall = Timestamp::from_microsecond(now + offset).expect("in range");
        if self.told != Some(self.has_device) {
            self.told = Some(self.has_device);
            if !self.has_device {
                for sound in std::mem::take(&mut self.sounds) {
                    over(&mut said, &sound, now, wall, End::DeviceLost);
                }
            }
            let word = match self.has_device {
                true => Word::Ready { device: "pulse:village".into() },
                false => Word::NoDevice { why: "拔掉了".into() },
            };
            said.push(Said::Word(word, 20_000));
        }
        for mut sound in std::mem::take(&mut self.sounds) {
            let length = i64::try_from(sound.wanted() * 1_000_000 / u64::from(RATE)).expect("short");
            let end = if !self.has_device {
                Some(End::DeviceLost)
            } else if sound.stops.is_some_and(|stops| stops <= now) {
                Some(End::Stopped)
            } else if sound.playout.not_after.is_some_and(|(at, _)| at <= wall) {
                Some(End::Gate)
            } else if sound.from.is_some_and(|from| from + length < now) {
                Some(if sound.torn_at.is_some() { End::DecoderShort } else { End::Finished })
            } else {
                None
            };
            if let Some(end) = end {
                over(&mut said, &sound, now, wall, end);
                continue;
            }
            match sound.from {
                None if sound.begins() <= wall => {
                    sound.from = Some(now);
                    sound.progress = now + PROGRESS;
                    let error_us = wall.as_microsecond() - sound.begins().as_microsecond();
                    let occurrence = sound.playout.occurrence.clone();
                    said.push(Said::Began(sound.playout.clone()));
                    said.push(Said::Word(Word::Started { occurrence, at: wall, error_us }, 20_000));
                }
                Some(_) if sound.progress <= now => {
                    sound.progress = now + PROGRESS;
                    let occurrence = sound.playout.occurrence.clone();
                    let word =
                        Word::Progress { occurrence, frames: sound.accepted(now), level: LEVEL, now_dbfs: -20.0 };
                    said.push(Said::Word(word, 10_000));
                }
                _ => {}
            }
            self.sounds.push(sound);
        }
        said
    }

    /// Returns what is in the air, by band.
    pub fn sounding(&self, now: Micros) -> BTreeMap<Band, usize> {
        let mut count = BTreeMap::new();
        for sound in self.sounds.iter().filter(|sound| sound.from.is_some_and(|from| from <= now)) {
            *count.entry(sound.playout.band).or_default() += 1;
        }
        count
    }
}

/// How loud every sound is.
const LEVEL: Level = Level { peak_dbfs: -3.0, rms_dbfs: -20.0 };

fn over(said: &mut Vec<Said>, sound: &Sound, now: Micros, wall: Timestamp, end: End) {
    let frames = sound.accepted(now);
    said.push(Said::Over(sound.playout.clone(), frames));
    let word = Word::Ended {
        occurrence: sound.playout.occurrence.clone(),
        frames,
        level: LEVEL,
        at: wall,
        end,
        evidence: Evidence::Accepted,
        note: None,
    };
    said.push(Said::Word(word, 100_000));
}
