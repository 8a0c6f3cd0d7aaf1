//! Chance that can be had again: numbers from a seed, and runs that are told by the environment.

use std::time::Duration;

/// Numbers from a seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// An index into something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub fn micros(&mut self, bound: u64) -> Duration {
        Duration::from_micros(self.below(bound))
    }
}

/// A number that the environment gives.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// The seed that the environment gives, or a new one; printed, so that the run can be had again.
pub fn seed(variable: &str) -> u64 {
    let seed = number(variable).unwrap_or_else(|| {
        let mut octets = [0; 4];
        getrandom::fill(&mut octets).unwrap();
        u64::from(u32::from_le_bytes(octets))
    });
    println!("{variable}={seed}");
    seed
}
