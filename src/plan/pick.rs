//! Which of an announcement's clips a moment plays: a function of the date and the moment's index in its day.
//!
//! Only the clips that are valid on the date take part, so n is their number on that date. With d days since 1970-01-01 and k
//! the moment's index in its day before overrides and limits, over all rules of the announcement in its file:
//!
//! * `in-turn` is clip (d + k) mod n, in byte order of path;
//! * `shuffle` sorts by the sha256 of `announcement`, d, k div n and the clip's path, and takes k mod n. The bytes hashed
//!   are these four as UTF-8 text, numbers in decimal, with a line feed (0x0A) between: `morning\n20621\n0\nfraud/a.mp3`.
//!   Neither a name nor a path can hold a line feed;
//! * `all` is every clip, in byte order of path.
//!
//! The path is the one in the schedule, also where the clip came from an office ([`ClipPath::named`]).

use super::{Clip, Clips, days_since_1970};
use crate::schedule::{Announcement, ClipPath, Pick};
use jiff::{SignedDuration, civil::Date};
use sha2::{Digest, Sha256};

/// What a moment plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// There is nothing in the folder, or nothing that is valid.
    Nothing,
    /// The clip at this place.
    One(usize),
    /// Every clip that is valid on the date.
    Valid,
}

/// Chooses among an announcement's clips, and remembers the day's list.
#[derive(Debug)]
pub(super) struct Picker<'a> {
    announcement: &'a str,
    pick: Pick,
    chime: SignedDuration,
    candidates: Vec<Candidate<'a>>,
    /// No clip has a first or a last day.
    timeless: bool,
    day: Date,
    /// Places of the clips that are valid on `day`.
    valid: Vec<usize>,
    /// The block (k div n) of `day` that `order` belongs to.
    block: Option<i64>,
    /// `valid` as `shuffle` sorts it.
    order: Vec<usize>,
}

#[derive(Debug)]
struct Candidate<'a> {
    path: ClipPath,
    /// None where the file is missing: it may be picked, and is missed.
    clip: Option<&'a Clip>,
    length: SignedDuration,
}

impl Candidate<'_> {
    fn is_valid_on(&self, date: Date) -> bool {
        self.clip.is_none_or(|clip| clip.is_valid_on(date))
    }
}

impl<'a> Picker<'a> {
    pub fn new(clips: &'a Clips, name: &'a str, announcement: &Announcement) -> Self {
        let length = |path: &ClipPath| clips.get(path).and_then(Clip::length).unwrap_or_default();
        let candidates: Vec<_> = clips
            .expand(&announcement.play)
            .into_iter()
            .map(|path| Candidate { clip: clips.get(&path), length: length(&path), path })
            .collect();
        let always = |clip: &Clip| !clip.retired && clip.valid_from.is_none() && clip.valid_until.is_none();
        let timeless = candidates.iter().all(|candidate| candidate.clip.is_none_or(always));
        Self {
            announcement: name,
            pick: announcement.pick,
            chime: announcement.chime.as_ref().map(length).unwrap_or_default(),
            valid: if timeless { (0..candidates.len()).collect() } else { Vec::new() },
            candidates,
            timeless,
            day: Date::MIN,
            block: None,
            order: Vec::new(),
        }
    }

    /// Returns what moment `k` of `date` plays and how long chime and clips last; none where there are clips and not
    /// one is valid.
    pub fn choose(&mut self, date: Date, k: i64) -> Option<(Choice, SignedDuration)> {
        if self.candidates.is_empty() {
            return Some((Choice::Nothing, self.chime));
        }
        if self.day != date {
            self.day = date;
            self.block = None;
            if !self.timeless {
                self.valid = (0..self.candidates.len()).filter(|&at| self.candidates[at].is_valid_on(date)).collect();
            }
        }
        let n = i64::try_from(self.valid.len()).expect("a list in memory is shorter than 2^63");
        if n == 0 {
            return None;
        }
        let place = |index: i64| usize::try_from(index).expect("a remainder by n is from 0 to n - 1");
        let days = days_since_1970(date);
        let choice = match self.pick {
            Pick::All => Choice::Valid,
            Pick::InTurn => Choice::One(self.valid[place((days + k).rem_euclid(n))]),
            Pick::Shuffle => {
                self.shuffle(days, k / n);
                Choice::One(self.order[place(k % n)])
            }
        };
        let voice = match choice {
            Choice::Nothing => SignedDuration::ZERO,
            Choice::One(at) => self.candidates[at].length,
            Choice::Valid => self
                .valid
                .iter()
                .map(|&at| self.candidates[at].length)
                .fold(SignedDuration::ZERO, SignedDuration::saturating_add),
        };
        Some((choice, self.chime.saturating_add(voice)))
    }

    /// Returns the length of the longest choice there could be.
    pub fn longest(&self) -> SignedDuration {
        let lengths = self.candidates.iter().map(|candidate| candidate.length);
        let voice = match self.pick {
            Pick::All => lengths.fold(SignedDuration::ZERO, SignedDuration::saturating_add),
            Pick::InTurn | Pick::Shuffle => lengths.max().unwrap_or_default(),
        };
        self.chime.saturating_add(voice)
    }

    fn shuffle(&mut self, days: i64, block: i64) {
        if self.block != Some(block) {
            let prefix = Sha256::new_with_prefix(format!("{}\n{days}\n{block}\n", self.announcement));
            let candidates = &self.candidates;
            self.order.clone_from(&self.valid);
            self.order.sort_by_cached_key(|&at| -> [u8; 32] {
                prefix.clone().chain_update(candidates[at].path.named()).finalize().into()
            });
            self.block = Some(block);
        }
    }

    /// Returns the paths behind a choice made for `date`.
    pub fn paths(&self, choice: Choice, date: Date) -> Vec<ClipPath> {
        match choice {
            Choice::Nothing => Vec::new(),
            Choice::One(at) => vec![self.candidates[at].path.clone()],
            Choice::Valid => self
                .candidates
                .iter()
                .filter(|candidate| candidate.is_valid_on(date))
                .map(|candidate| candidate.path.clone())
                .collect(),
        }
    }
}
