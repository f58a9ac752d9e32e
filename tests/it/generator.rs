//! The generator behind the oracles: a SplitMix64 finaliser over a counter, integer and single f64 operations only, so
//! it gives the same bits as the reference implementation.

#![allow(dead_code, reason = "each oracle uses its own part")]

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const GRID: usize = 28;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// 64 bits of (seed, stream, counter).
pub fn hash(seed: u64, stream: u64, counter: u64) -> u64 {
    let base = mix(seed.wrapping_mul(GOLDEN).wrapping_add(stream.wrapping_mul(0xD1B5_4A32_D192_ED03)).wrapping_add(1));
    mix(base.wrapping_add(counter.wrapping_mul(GOLDEN)))
}

/// Uniform in [0, 1) with 24 bits.
pub fn uniform(seed: u64, stream: u64, counter: u64) -> f64 {
    (hash(seed, stream, counter) >> 40) as f64 * (1.0 / (1u64 << 24) as f64)
}

/// `n` uniforms from `start`.
pub fn uniforms(seed: u64, stream: u64, start: u64, n: usize) -> Vec<f64> {
    (0..n as u64).map(|i| uniform(seed, stream, start + i)).collect()
}

/// Clustered features, `n` rows of `d`: 64 centres plus a spread of 0.6.
pub fn features(n: usize, d: usize, seed: u64) -> Vec<f32> {
    let centres = uniforms(seed, 1, 0, 64 * d);
    let mut out = Vec::with_capacity(n * d);
    for i in 0..n {
        let cluster = ((i as u64 * 2_654_435_761) % (1 << 32)) as usize % 64;
        for j in 0..d {
            let e = uniform(seed, 2, (i * d + j) as u64);
            out.push((centres[cluster * d + j] + 0.6 * (e - 0.5)) as f32);
        }
    }
    out
}

/// Bilinear field of one random node grid, `side` × `side`, row-major.
fn field(seed: u64, stream: u64, side: usize) -> Vec<f64> {
    let nodes = uniforms(seed, stream, 0, (GRID + 1) * (GRID + 1));
    let at = |row: usize, col: usize| nodes[row * (GRID + 1) + col];
    let place = |i: usize| {
        let f = i as f64 * (GRID as f64 / side as f64);
        (f.floor() as usize, f - f.floor())
    };
    let mut out = Vec::with_capacity(side * side);
    for y in 0..side {
        let (row, ty) = place(y);
        for x in 0..side {
            let (col, tx) = place(x);
            let top = at(row, col) * (1.0 - tx) + at(row, col + 1) * tx;
            let bottom = at(row + 1, col) * (1.0 - tx) + at(row + 1, col + 1) * tx;
            out.push(top * (1.0 - ty) + bottom * ty);
        }
    }
    out
}

/// RGB image, `side` × `side` × 3 bytes: a smooth field plus four bits of noise.
pub fn image(seed: u64, k: u64, side: usize) -> Vec<u8> {
    let mut out = vec![0; side * side * 3];
    for channel in 0..3 {
        let smooth = field(seed, 1000 + k * 8 + channel, side);
        for (i, value) in smooth.iter().enumerate() {
            let noise = (hash(seed, 1000 + k * 8 + 4 + channel, i as u64) >> 60) as f64;
            out[i * 3 + channel as usize] = (value * 235.0 + noise).floor() as u8;
        }
    }
    out
}

#[test]
fn the_generated_image_has_the_digest_the_oracles_name() {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(image(3, 0, 256));
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "514173b3a6da839e95fe7995aa27a75c6dff5bc3bac9e3b0c7ee7640995ef376");
}
