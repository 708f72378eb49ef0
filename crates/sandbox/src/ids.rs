//! Seeded randomness, and the ids that look like Stripe's.

/// The step of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LETTERS: usize = 24;
/// A 64-bit number has at most this many base-62 digits.
const LETTERS_PER_NUMBER: usize = 11;

/// A generator that gives the same sequence for the same seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Random { state: seed }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    /// A number in `0.0..1.0`.
    pub fn next_unit(&mut self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Issues ids from a seed and a counter. The counter is part of every commit, so an id is never issued twice by one
/// store, and `mix` is a bijection, so two counters never collide.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: u64,
    issued: u64,
}

impl Ids {
    pub fn resume(seed: u64, issued: u64) -> Self {
        Ids { seed, issued }
    }

    pub fn issued(&self) -> u64 {
        self.issued
    }

    /// An id such as `pi_0Xd1…`: the prefix, an underscore, 24 letters and digits.
    pub fn next(&mut self, prefix: &str) -> String {
        self.issued += 1;
        let unique = mix(self.seed ^ mix(self.issued));
        let filler = mix(unique ^ self.seed);
        let mut id = String::with_capacity(prefix.len() + 1 + ID_LETTERS);
        id.push_str(prefix);
        id.push('_');
        push_letters(&mut id, unique, LETTERS_PER_NUMBER);
        push_letters(&mut id, filler, LETTERS_PER_NUMBER);
        push_letters(&mut id, self.issued, ID_LETTERS - 2 * LETTERS_PER_NUMBER);
        id
    }
}

fn push_letters(id: &mut String, mut number: u64, count: usize) {
    for _ in 0..count {
        let digit = usize::try_from(number % 62).expect("a remainder below 62 fits");
        id.push(char::from(ALPHABET[digit]));
        number /= 62;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let mut random = Random::seeded(seed);
            [random.next_u64(), random.next_u64()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn splitmix64_matches_its_reference_values() {
        let mut random = Random::seeded(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn ids_are_unique_and_go_on_after_a_restart() {
        let mut ids = Ids::resume(42, 0);
        let first: HashSet<String> = (0..1_000).map(|_| ids.next("pi")).collect();
        let mut resumed = Ids::resume(42, ids.issued());
        let second: HashSet<String> = (0..1_000).map(|_| resumed.next("pi")).collect();
        assert_eq!(first.len() + second.len(), first.union(&second).count());
        assert!(first.iter().all(|id| id.starts_with("pi_") && id.len() == 27));
    }
}
