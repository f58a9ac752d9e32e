//! All randomness of the program: named ChaCha8 streams.
//!
//! Owns: which purpose draws from which stream, and how draws become numbers. The conversions are written out here,
//! not taken from a distributions crate, because those may change their values between releases.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream is for. Append only: the number is part of every recorded result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Which anomalies of a class may be seen (`seen.sampler = "chacha"`); index = hash of the class name.
    SeenAnomalies = 1,
    /// Start rows of PatchCore's approximate greedy coreset; index = bank number.
    CoresetStart = 2,
    /// Random projection before the coreset; index = bank number.
    CoresetProjection = 3,
    /// Which outlier images are drawn of each category; index = hash of the category name.
    OutlierImages = 4,
    /// Which normal image is mixed into each outlier image.
    OutlierPartner = 5,
    /// Noise around the anomaly centre.
    CenterNoise = 6,
    /// K-means start rows for the anomaly centres.
    CenterStart = 7,
    /// Initial weights; index = tensor number.
    InitialWeights = 8,
    /// Order of the normal images; index = epoch, or round through them where an epoch is no pass.
    NormalOrder = 9,
    /// Order of the seen anomalies (once per run; where they are gone through again and again, index = round).
    AnomalyOrder = 10,
    /// Which patches of an image enter a step; index = step.
    PatchChoice = 11,
    /// Noise that makes pseudo-anomalies from normals; index = step.
    FeatureNoise = 12,
    /// Weights of a backbone declared `random`; index = tensor number.
    BackboneWeights = 13,
    /// Synthetic images; index = image number.
    Synthetic = 14,
    /// Dropout masks; index = step · batch + image.
    Dropout = 15,
    /// Which images a resample has; index = hash of the class name plus resample.
    Bootstrap = 16,
    /// Feature jitter of token methods; index = step.
    Jitter = 17,
    /// Starting positions of an embedding.
    Embedding = 18,
    /// Which classes and seeds a resample has, for metrics without parts per image; index = resample.
    BootstrapClasses = 19,
    /// What becomes of a training image, and whether it is made a pseudo-anomaly; index = its number through all steps.
    Augmentation = 20,
    /// Which normal images are the references of a training step; index = step · pools + pool.
    ReferenceImages = 21,
    /// What becomes of a reference image; index = its number through all steps.
    ReferenceAugmentation = 22,
    /// Which normal images are references once training is over; index = draw, or hash of the class name.
    TestReferences = 23,
    /// Prior scores of a deviation loss; index = step · heads + head.
    DeviationPrior = 24,
    /// Which images fill a memory; index = 2 · class + memory.
    MemoryImages = 25,
    /// What becomes of the images of a memory of anomalies; index = place in the memory.
    MemorySynthesis = 26,
    /// In which other order the images of a batch are compared with themselves; index = step.
    BatchOrder = 27,
    /// Fixed rotations between the blocks of flows; index = level · blocks + block.
    FlowRotation = 30,
    /// Which normal images train where a dataset has no official split; index = hash of the class name.
    DatasetSplit = 31,
}

/// One independent stream of random numbers.
pub struct Stream(ChaCha8Rng);

/// The stream of (`seed`, `purpose`, `index`). Equal arguments give equal draws, on every machine, for ever.
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> Stream {
    let mut hasher = blake3::Hasher::new_derive_key("dmad random stream v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(purpose as u32).to_le_bytes());
    hasher.update(&index.to_le_bytes());
    Stream(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
}

/// A stream index made from a name (class, category), stable under renaming of anything else.
pub fn name_index(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

impl Stream {
    /// The key that all draws come from, as ChaCha has it: for kernels that draw for themselves.
    pub fn key(&self) -> [u32; 8] {
        let seed = self.0.get_seed();
        std::array::from_fn(|word| u32::from_le_bytes(std::array::from_fn(|byte| seed[4 * word + byte])))
    }

    /// How many draws of 64 bits were made so far.
    pub fn position(&self) -> u64 {
        (self.0.get_word_pos() / 2) as u64
    }

    /// Passes over so many draws of 64 bits.
    pub fn skip(&mut self, draws: u64) {
        self.0.set_word_pos(self.0.get_word_pos() + 2 * u128::from(draws));
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform integer in `0..n`, without bias (rejection). `n` must be positive.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "cannot draw from an empty range");
        let n = n as u64;
        let zone = u64::MAX - u64::MAX % n;
        loop {
            let bits = self.bits();
            if bits < zone {
                return (bits % n) as usize;
            }
        }
    }

    /// Standard normal: the sum of twelve uniforms would lack tails, so Box–Muller; the libm calls are pinned by the
    /// golden test, and both halves of a pair are used.
    pub fn fill_normal(&mut self, out: &mut [f32], std: f64) {
        for pair in out.chunks_mut(2) {
            let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * std;
            let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
            pair[0] = (radius * cos) as f32;
            if let Some(second) = pair.get_mut(1) {
                *second = (radius * sin) as f32;
            }
        }
    }

    /// Normal with deviation `std`; what is farther than `limit` deviations from zero is drawn again.
    pub fn fill_cut_normal(&mut self, out: &mut [f32], std: f64, limit: f64) {
        let (mut pair, mut spare) = ([0.0; 2], 2);
        let bound = (std * limit) as f32;
        for value in out {
            *value = loop {
                if spare == pair.len() {
                    self.fill_normal(&mut pair, std);
                    spare = 0;
                }
                spare += 1;
                let drawn = pair[spare - 1];
                if drawn.abs() <= bound {
                    break drawn;
                }
            };
        }
    }

    /// Uniform in [-bound, bound).
    pub fn fill_uniform(&mut self, out: &mut [f32], bound: f64) {
        for value in out {
            *value = ((self.uniform() * 2.0 - 1.0) * bound) as f32;
        }
    }

    /// Fisher–Yates shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A permutation of `0..n`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// `k` distinct numbers of `0..n` in random order (`k` is clipped to `n`).
    pub fn choose(&mut self, n: usize, k: usize) -> Vec<usize> {
        let k = k.min(n);
        let mut moved = std::collections::BTreeMap::new();
        (0..k)
            .map(|i| {
                let j = i + self.below(n - i);
                let at_i = *moved.get(&i).unwrap_or(&i);
                moved.insert(j, at_i).unwrap_or(j)
            })
            .collect()
    }
}
