//! A simulated year of a village: power cuts, clock steps, broken speakers, people; by seed.
//!
//! Every fault may come at any moment and nothing bad may ever happen (safety); then the faults stop, the station is
//! put right (heal), and everything that was owed must have its one entry (liveness). Each seed enables some of the
//! faults only: that finds what a uniform mix hides.
//!
//! `DALABA_SEED=n` runs one seed and prints its plan and trace; `DALABA_SEEDS=n` runs so many (default 100),
//! `DALABA_DAYS=n` for so many days; the seeds
//! of `regressions/year-seeds.txt` run always.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "year/speaker.rs"]
mod speaker;
#[path = "year/station.rs"]
mod station;
#[path = "year/village.rs"]
mod village;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use station::Year;

/// The source of everything that differs between seeds.
#[derive(Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn below(&mut self, sides: u64) -> u64 {
        self.next() % sides.max(1)
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    /// A number from `low` to `high`, small ones as likely as great ones.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).unwrap_or(0) + 1;
        let span = if self.one_in(2) { span } else { (span / 50).max(1) };
        low + i64::try_from(self.below(span)).unwrap_or(0)
    }
}

const REGRESSIONS: &str = include_str!("regressions/year-seeds.txt");

fn seeds_from_regressions() -> impl Iterator<Item = u64> {
    REGRESSIONS.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How long a year is; shorter while looking for a mistake.
fn days() -> i64 {
    number("DALABA_DAYS").and_then(|days| i64::try_from(days).ok()).unwrap_or(365)
}

#[test]
fn a_year_of_faults_loses_nothing_and_repeats_nothing() {
    if let Some(seed) = number("DALABA_SEED") {
        let told = Year::new(seed, days(), true).live();
        println!("seed {seed}: {told:?}");
        assert!(told.wrong.is_empty(), "seed {seed}");
        return;
    }
    let seeds: Vec<u64> = seeds_from_regressions().chain(0..number("DALABA_SEEDS").unwrap_or(100)).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    let faults = std::sync::Mutex::new(std::collections::BTreeMap::<&'static str, u64>::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let told = Year::new(*seed, days(), false).live();
                    let mut faults = faults.lock().expect("no thread panics here");
                    for (fault, count) in told.faults {
                        *faults.entry(fault).or_default() += count;
                    }
                    if !told.wrong.is_empty() {
                        failed.lock().expect("no thread panics here").push((*seed, told.wrong));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no thread panics here");
    failed.sort();
    for (seed, wrong) in failed.iter().take(10) {
        println!("DALABA_SEED={seed}: {}", wrong.join("; "));
    }
    assert!(failed.is_empty(), "{} of {} seeds failed", failed.len(), seeds.len());
    let faults = faults.into_inner().expect("no thread panics here");
    if seeds.len() >= 50 {
        for fault in station::Fault::ALL {
            assert!(faults.get(fault.name()).is_some_and(|count| *count > 0), "no seed had {}", fault.name());
        }
    }
}

#[test]
fn the_same_seed_lives_the_same_year() {
    for seed in [3, 11] {
        assert_eq!(Year::new(seed, 60, false).live().hash, Year::new(seed, 60, false).live().hash, "seed {seed}");
    }
    assert_ne!(Year::new(3, 60, false).live().hash, Year::new(11, 60, false).live().hash);
}
