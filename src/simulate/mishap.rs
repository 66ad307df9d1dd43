//! What goes wrong at a light station, by seed.

use std::time::Duration;

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// The numbers of one station, or of the fleet, under a seed.
    pub(super) fn new(seed: u64, of: u64) -> Self {
        let mut dice = Self(seed ^ of.wrapping_mul(0xd134_2543_de82_ef95));
        // Neighbours begin far apart.
        dice.next();
        dice
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, sides: u64) -> u64 {
        self.next() % sides.max(1)
    }

    /// Anything from nothing to `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mishap {
    /// Every connection breaks, and none is made for so long.
    Cut(Duration),
    /// The power goes for so long; what is in memory only is lost.
    Dark(Duration),
    /// The clock is so many minutes off, for good.
    Clock(i64),
    /// The station forgets how far its journal was acknowledged, and sends rows again.
    Again,
}

impl Mishap {
    /// Draws one.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        match dice.below(8) {
            0..=3 => Self::Cut(dice.up_to(Duration::from_secs(120))),
            4 | 5 => Self::Dark(dice.up_to(Duration::from_secs(300))),
            6 => Self::Clock(i64::try_from(dice.below(240)).unwrap_or(0) - 120),
            _ => Self::Again,
        }
    }

    /// Its name in what is printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cut(_) => "cut",
            Self::Dark(_) => "dark",
            Self::Clock(_) => "clock",
            Self::Again => "again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_station_draws_otherwise() {
        let draw = |seed, of| {
            let mut dice = Dice::new(seed, of);
            (0..20).map(|_| Mishap::draw(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 3), draw(7, 3));
        assert_ne!(draw(7, 3), draw(7, 4));
        assert_ne!(draw(7, 3), draw(8, 3));
    }
}
