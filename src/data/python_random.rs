//! Python's `random.seed(integer)` and `random.shuffle`, draw for draw: the generator is MT19937 (Matsumoto and
//! Nishimura 1998), seeded by array; integers below n take as many high bits as n has and reject what is too large.
//!
//! Owns: the released code's choice of seen anomalies. Everything else draws from `random`.

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// The state of the generator.
pub(crate) struct PythonRandom {
    state: [u32; SIZE],
    next: usize,
}

impl PythonRandom {
    /// `random.seed(seed)`: the key is the seed's 32-bit digits, low first, without leading zeros (0 has one digit).
    pub fn new(seed: u64) -> Self {
        let key = [seed as u32, (seed >> 32) as u32];
        let key = if key[1] == 0 { &key[..1] } else { &key[..] };
        let mut state = [19_650_218_u32; SIZE];
        for i in 1..SIZE {
            let last = state[i - 1];
            state[i] = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        let mut at = 1;
        let mixed = |state: &[u32; SIZE], at: usize, factor: u32| {
            state[at] ^ (state[at - 1] ^ (state[at - 1] >> 30)).wrapping_mul(factor)
        };
        let step = |state: &mut [u32; SIZE], at: &mut usize| {
            *at += 1;
            if *at == SIZE {
                state[0] = state[SIZE - 1];
                *at = 1;
            }
        };
        for i in 0..SIZE {
            let digit = i % key.len();
            state[at] = mixed(&state, at, 1_664_525).wrapping_add(key[digit]).wrapping_add(digit as u32);
            step(&mut state, &mut at);
        }
        for _ in 1..SIZE {
            state[at] = mixed(&state, at, 1_566_083_941).wrapping_sub(at as u32);
            step(&mut state, &mut at);
        }
        state[0] = 1 << 31;
        PythonRandom { state, next: SIZE }
    }

    /// `random.shuffle(items)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }

    fn below(&mut self, n: u32) -> u32 {
        let bits = u32::BITS - n.leading_zeros();
        loop {
            let value = self.word() >> (u32::BITS - bits);
            if value < n {
                return value;
            }
        }
    }

    fn word(&mut self) -> u32 {
        if self.next == SIZE {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9D2C_5680;
        word ^= (word << 15) & 0xEFC6_0000;
        word ^ (word >> 18)
    }

    fn refill(&mut self) {
        for i in 0..SIZE {
            let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % SIZE] & 0x7FFF_FFFF);
            let twist = if joined & 1 == 1 { 0x9908_B0DF } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % SIZE] ^ (joined >> 1) ^ twist;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_shuffle_are_those_of_python() {
        let mut random = PythonRandom::new(0);
        assert_eq!([random.word(), random.word(), random.word()], [3_626_764_237, 1_654_615_998, 3_255_389_356]);
        let mut items: Vec<usize> = (0..63).collect();
        PythonRandom::new(0).shuffle(&mut items);
        assert_eq!(items[..10], [53, 41, 3, 60, 33, 58, 27, 5, 7, 44]);
    }

    #[test]
    fn a_seed_of_two_digits_and_more_words_than_the_state_holds_are_those_of_python() {
        // random.seed(2**32 + 5); [random.getrandbits(32) for _ in range(2000)][-1]
        let mut random = PythonRandom::new((1 << 32) + 5);
        let last = (0..2000).map(|_| random.word()).last();
        assert_eq!(last, Some(2_579_533_449));
    }
}
