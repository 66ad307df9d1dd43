//! An office and its villages over a network that loses, repeats, reorders, delays and cuts; by seed.
//!
//! Both ends are the real state machines; the network, the disks and the loudspeakers are a few lines each. Nothing bad may
//! ever happen (safety, looked at after every step); then the faults stop, what is broken is put right (heal), and
//! everything has to arrive (liveness). Each seed enables some of the faults only: that finds what a uniform mix hides.
//!
//! `DALABA_SEED=n` runs one seed and prints its trace; `DALABA_SEEDS=n` runs so many (default 60).

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "link/office.rs"]
mod office;
#[path = "link/village.rs"]
mod village;
#[path = "link/world.rs"]
mod world;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use world::{Fault, World};

/// The source of everything that differs between seeds.
#[derive(Debug, Clone)]
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

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_the_network_does_nothing_is_lost_repeated_or_forged() {
    if let Some(seed) = number("DALABA_SEED") {
        let told = World::new(seed, true).live();
        println!("seed {seed}: {told:?}");
        assert!(told.wrong.is_empty(), "seed {seed}");
        return;
    }
    let seeds: Vec<u64> = (0..number("DALABA_SEEDS").unwrap_or(60)).collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let happened = Mutex::new(BTreeMap::<&'static str, u64>::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let told = World::new(*seed, false).live();
                    let mut happened = happened.lock().expect("no thread panics here");
                    for (what, count) in told.happened {
                        *happened.entry(what).or_default() += count;
                    }
                    if !told.wrong.is_empty() {
                        failed.lock().expect("no thread panics here").push((*seed, told.wrong));
                    }
                }
            });
        }
    });
    let happened = happened.into_inner().expect("no thread panics here");
    println!("{happened:?}");
    let mut failed = failed.into_inner().expect("no thread panics here");
    failed.sort();
    for (seed, wrong) in failed.iter().take(10) {
        println!("DALABA_SEED={seed}: {}", wrong.join("; "));
    }
    assert!(failed.is_empty(), "{} of {} seeds failed", failed.len(), seeds.len());
    if seeds.len() >= 50 {
        let seen = ["heard", "stopped", "expired", "rejected", "plan", "rows", "need", "fork", "poll"];
        let refused = ["truncated", "altered", "unlisted", "re-aimed", "expired-command", "replayed", "rolled-back"];
        for what in Fault::ALL.into_iter().map(Fault::name).chain(seen).chain(refused) {
            assert!(happened.get(what).is_some_and(|count| *count > 0), "no seed had {what}");
        }
    }
}

#[test]
fn the_same_seed_lives_the_same_life() {
    for seed in [3, 11] {
        assert_eq!(World::new(seed, false).live().hash, World::new(seed, false).live().hash, "seed {seed}");
    }
    assert_ne!(World::new(3, false).live().hash, World::new(11, false).live().hash);
}
