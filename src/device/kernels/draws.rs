//! ChaCha8, and normals and decisions made of its draws (`device::draws` says how exact they are).

use burn::backend::Cube;
use burn::tensor::{DType, Device, Tensor};
use cubecl::prelude::*;

use super::{cubes, empty, whole};

/// Normals of the stream with this key, from its draw `first` of 64 bits on; none on the CPU.
pub fn normals(key: &[u32; 8], first: u64, shape: [usize; 2], std: f64, device: &Device) -> Option<Tensor<2>> {
    let out = empty(shape, DType::F32, device)?;
    let count = shape[0] * shape[1];
    assert!(first + (count as u64) < u64::from(u32::MAX), "a stream of that many draws is counted in 32 bits");
    let (cube_count, cube_dim) = cubes(count.div_ceil(2));
    let high = std as f32;
    let client = out.client.clone();
    let key = client.create_from_slice(bytemuck::cast_slice(key));
    // SAFETY: the key has eight words, and the kernel writes no further than `count`, the length of the output.
    unsafe {
        normals_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            BufferArg::from_raw_parts(key, 8),
            whole(&out),
            count as u32,
            first as u32,
            high,
            (std - f64::from(high)) as f32,
            0,
        );
    }
    Some(Tensor::from_primitive::<Cube>(out))
}

/// For each of several streams, `values` numbers that are `kept`, or 0 where a draw of 16 bits is below `limit`; four come of
/// 64 bits. Streams are given by key and first draw. None on the CPU.
pub fn masks(streams: &[([u32; 8], u64)], values: usize, limit: u16, kept: f32, device: &Device) -> Option<Tensor<1>> {
    let out = empty([streams.len() * values], DType::F32, device)?;
    let fours = values.div_ceil(4);
    let (cube_count, cube_dim) = cubes(fours * streams.len());
    let client = out.client.clone();
    let keys: Vec<u32> = streams.iter().flat_map(|(key, _)| *key).collect();
    let firsts: Vec<u32> = streams.iter().map(|(_, first)| *first as u32).collect();
    let (keys_on, firsts_on) = (
        client.create_from_slice(bytemuck::cast_slice(&keys)),
        client.create_from_slice(bytemuck::cast_slice(&firsts)),
    );
    // SAFETY: eight words and one first draw for each stream, and the output has `values` places for each.
    unsafe {
        masks_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            BufferArg::from_raw_parts(keys_on, keys.len()),
            BufferArg::from_raw_parts(firsts_on, firsts.len()),
            whole(&out),
            values as u32,
            fours as u32,
            streams.len() as u32,
            u32::from(limit),
            kept,
        );
    }
    Some(Tensor::from_primitive::<Cube>(out))
}

/// Two normals for each thread.
#[cube(launch_unchecked)]
fn normals_kernel(key: &[u32], out: &mut [f32], count: u32, first: u32, std_high: f32, std_low: f32, zero: u32) {
    let pair = ABSOLUTE_POS as u32;
    if 2u32 * pair < count {
        let (low, high) = bits(key, 0u32, first + 2u32 * pair);
        let (radius_high, radius_low) = radius(low, high, zero);
        let (scaled_high, scaled_low) = times(radius_high, radius_low, std_high, std_low, zero);
        let (low, high) = bits(key, 0u32, first + 2u32 * pair + 1u32);
        let (cosine, sine) = cosine_sine(low, high, scaled_high, scaled_low, zero);
        out[(2u32 * pair) as usize] = cosine;
        if 2u32 * pair + 1u32 < count {
            out[(2u32 * pair + 1u32) as usize] = sine;
        }
    }
}

/// Four decisions for each thread.
#[cube(launch_unchecked)]
fn masks_kernel(
    keys: &[u32],
    firsts: &[u32],
    out: &mut [f32],
    values: u32,
    fours: u32,
    streams: u32,
    limit: u32,
    kept: f32,
) {
    let number = ABSOLUTE_POS as u32;
    if number < fours * streams {
        let stream = number / fours;
        let four = number % fours;
        let (low, high) = bits(keys, 8u32 * stream, firsts[stream as usize] + four);
        #[unroll]
        for lane in 0..4u32 {
            let place = 4u32 * four + lane;
            let mut draw = low;
            if comptime!(lane >= 2) {
                draw = high;
            }
            if comptime!(lane % 2 == 1) {
                draw >>= 16u32;
            }
            if place < values {
                let mut value = 0.0f32;
                if (draw & 0xffffu32) >= limit {
                    value = kept;
                }
                out[(stream * values + place) as usize] = value;
            }
        }
    }
}

/// Draw `number` of 64 bits of the stream whose key begins at `start`: its lower and its upper word.
#[cube]
fn bits(keys: &[u32], start: u32, number: u32) -> (u32, u32) {
    let words = chacha8(keys, start, number / 8u32);
    let word = 2u32 * (number % 8u32);
    (words[word as usize], words[(word + 1u32) as usize])
}

/// The words of block `number` of ChaCha8 (RFC 8439's layout with a 64-bit counter, as `rand_chacha` has it).
#[cube]
fn chacha8(keys: &[u32], first: u32, number: u32) -> Array<u32> {
    let mut start = Array::<u32>::new(16usize);
    start[0] = 0x6170_7865u32;
    start[1] = 0x3320_646eu32;
    start[2] = 0x7962_2d32u32;
    start[3] = 0x6b20_6574u32;
    #[unroll]
    for word in 0..8u32 {
        start[(4u32 + word) as usize] = keys[(first + word) as usize];
    }
    start[12] = number;
    start[13] = 0u32;
    start[14] = 0u32;
    start[15] = 0u32;
    let mut state = Array::<u32>::new(16usize);
    #[unroll]
    for word in 0..16usize {
        state[word] = start[word];
    }
    #[unroll]
    for _ in 0..4usize {
        #[unroll]
        for column in 0..4usize {
            quarter(&mut state, column, column + 4, column + 8, column + 12);
        }
        #[unroll]
        for column in 0..4usize {
            quarter(&mut state, column, (column + 1) % 4 + 4, (column + 2) % 4 + 8, (column + 3) % 4 + 12);
        }
    }
    #[unroll]
    for word in 0..16usize {
        state[word] += start[word];
    }
    state
}

#[cube]
fn quarter(
    state: &mut Array<u32>,
    #[comptime] a: usize,
    #[comptime] b: usize,
    #[comptime] c: usize,
    #[comptime] d: usize,
) {
    state[a] += state[b];
    state[d] = turn(state[d] ^ state[a], 16u32);
    state[c] += state[d];
    state[b] = turn(state[b] ^ state[c], 12u32);
    state[a] += state[b];
    state[d] = turn(state[d] ^ state[a], 8u32);
    state[c] += state[d];
    state[b] = turn(state[b] ^ state[c], 7u32);
}

#[cube]
fn turn(word: u32, #[comptime] by: u32) -> u32 {
    (word << by) | (word >> comptime!(32 - by))
}

// Pairs of floats: (high, low) stands for high + low, and low is below the last place of high.

// Drivers simplify a + b − a to b and ab + ac to a (b + c), which is what the lower halves live on. `zero` is 0, which no compiler knows.

/// The same float, out of sight of whoever simplifies.
#[cube]
fn hidden(a: f32, zero: u32) -> f32 {
    f32::reinterpret(u32::reinterpret(a) ^ zero)
}

/// a + b as a pair, exactly.
#[cube]
fn sum(a: f32, b: f32, zero: u32) -> (f32, f32) {
    let high = hidden(a + b, zero);
    let part = hidden(high - a, zero);
    let low = (a - (high - part)) + (b - part);
    (high, low)
}

/// A float cut to its upper twelve bits: products of two such halves are exact, with or without fused operations.
#[cube]
fn upper(a: f32) -> f32 {
    f32::reinterpret(u32::reinterpret(a) & 0xffff_f000u32)
}

/// a · b as a pair, exactly.
#[cube]
fn product(a: f32, b: f32, zero: u32) -> (f32, f32) {
    let high = hidden(a * b, zero);
    let (a_up, b_up) = (upper(a), upper(b));
    let (a_low, b_low) = (a - a_up, b - b_up);
    let (whole, left) = (hidden(a_up * b_up, zero), hidden(a_up * b_low, zero));
    let (right, rest) = (hidden(a_low * b_up, zero), hidden(a_low * b_low, zero));
    let low = ((whole - high) + left + right) + rest;
    (high, low)
}

/// The product of two pairs.
#[cube]
fn times(a: f32, a_low: f32, b: f32, b_low: f32, zero: u32) -> (f32, f32) {
    let (high, low) = product(a, b, zero);
    (high, low + (a * b_low + a_low * b))
}

/// A whole number below 2⁵³ in two words, times 2⁻⁵³, as a pair.
#[cube]
fn share(high: u32, low: u32, zero: u32) -> (f32, f32) {
    // Three pieces that floats hold exactly.
    let (a, a_low) =
        sum(f32::cast_from(high) * 4.768_371_6e-7f32, f32::cast_from(low >> 16u32) * 7.275_958e-12f32, zero);
    let (b, b_low) = sum(a, f32::cast_from(low & 0xffffu32) * 1.110_223e-16f32, zero);
    (b, b_low + a_low)
}

/// √(−2 ln(1 − u)) as a pair, where u = k · 2⁻⁵³ is the uniform of two words.
#[cube]
fn radius(low_word: u32, high_word: u32, zero: u32) -> (f32, f32) {
    let k_high = high_word >> 11u32;
    let k_low = (high_word << 21u32) | (low_word >> 11u32);
    // Near u = 0 the logarithm is of one plus little, which is known exactly: −u. Elsewhere it is of 1 − u = m · 2⁻ᵉ.
    let (u, u_low) = share(k_high, k_low, zero);
    let mut f = -u;
    let mut f_low = -u_low;
    let mut exponent = 0.0f32;
    if u >= 0.25f32 {
        let mut v_high = 0x0020_0000u32 - k_high;
        let mut v_low = 0u32;
        if k_low != 0u32 {
            v_high = 0x001f_ffffu32 - k_high;
            v_low = 0u32 - k_low;
        }
        let (v, v_rest) = share(v_high, v_low, zero);
        // The power of two below v, and v divided by it, in 1 to 2; above √2 by the next.
        let bits = u32::reinterpret(v);
        let mut power = bits >> 23u32;
        if (bits & 0x007f_ffffu32) > 0x0035_04f3u32 {
            power += 1u32;
        }
        let scale = f32::reinterpret((254u32 - power) << 23u32);
        exponent = 127.0f32 - f32::cast_from(power);
        let (one_less, rest) = sum(v * scale, -1.0f32, zero);
        let (a, a_low) = sum(one_less, v_rest * scale, zero);
        f = a;
        f_low = a_low + rest;
    }
    // ln(1 + f) = 2 atanh(s), s = f / (2 + f).
    let (d, d_rest) = sum(2.0f32, f, zero);
    let d_low = d_rest + f_low;
    let s = f / d;
    let (p, p_low) = product(s, d, zero);
    let s_low = (((f - p) - p_low) + (f_low - s * d_low)) / d;
    let z = s * s;
    let tail = z
        * (0.333_333_34f32
            + z * (0.2f32
                + z * (0.142_857_15f32 + z * (0.111_111_11f32 + z * (0.090_909_09f32 + z * 0.076_923_08f32)))));
    // −ln(1 − u) = e · ln 2 − 2 (s + s · tail); the upper part of ln 2 has few bits, so that its product is exact.
    let (h, h_low) = sum(exponent * 0.693_145_75f32, -2.0f32 * s, zero);
    let l = h_low + (exponent * 1.428_606_8e-6f32 - 2.0f32 * (s_low + s * tail));
    let (log, log_low) = sum(h, l, zero);
    let (square, square_low) = (2.0f32 * log, 2.0f32 * log_low);
    let mut root = 0.0f32;
    let mut root_low = 0.0f32;
    if square > 0.0f32 {
        root = square.sqrt();
        let (q, q_low) = product(root, root, zero);
        root_low = (((square - q) - q_low) + square_low) / (2.0f32 * root);
    }
    (root, root_low)
}

/// Cosine and sine of a full turn times the uniform of two words, each times the pair (`factor`, `factor_low`).
#[cube]
fn cosine_sine(low_word: u32, high_word: u32, factor: f32, factor_low: f32, zero: u32) -> (f32, f32) {
    let k_high = high_word >> 11u32;
    let k_low = (high_word << 21u32) | (low_word >> 11u32);
    // The nearest quarter turn, and what is left of the angle: its size and its sign.
    let quarter = (k_high + 0x0004_0000u32) >> 19u32;
    let mut left_high = k_high - (quarter << 19u32);
    let mut left_low = k_low;
    let negative = (left_high >> 31u32) == 1u32;
    if negative {
        // Of a number in two's complement.
        left_high = !left_high;
        left_low = 0u32 - left_low;
        if k_low == 0u32 {
            left_high += 1u32;
        }
    }
    let (turns, turns_low) = share(left_high, left_low, zero);
    let (x, x_low) = times(turns, turns_low, 6.283_185_5f32, -1.748_455_5e-7f32, zero);
    let (z, z_rest) = product(x, x, zero);
    let z_low = z_rest + 2.0f32 * x * x_low;
    let sine_tail = x
        * (z * (-0.166_666_67f32
            + z * (8.333_334e-3f32 + z * (-1.984_127e-4f32 + z * (2.755_731_9e-6f32 + z * -2.505_210_8e-8f32)))));
    let sine_low = x_low + sine_tail;
    let (cosine, cosine_rest) = sum(1.0f32, -0.5f32 * z, zero);
    let cosine_tail = z
        * z
        * (4.166_666_8e-2f32
            + z * (-1.388_888_9e-3f32 + z * (2.480_158_7e-5f32 + z * (-2.755_732e-7f32 + z * 2.087_675_6e-9f32))));
    let cosine_low = cosine_rest + (cosine_tail - 0.5f32 * z_low);
    let (c, c_low) = times(factor, factor_low, cosine, cosine_low, zero);
    let (sine, sine_rest) = sum(x, sine_low, zero);
    let (s, s_low) = times(factor, factor_low, sine, sine_rest, zero);
    let along = c + c_low;
    let mut across = s + s_low;
    if negative {
        across = -across;
    }
    let place = quarter & 3u32;
    let mut first = along;
    let mut second = across;
    if place == 1u32 {
        first = -across;
        second = along;
    }
    if place == 2u32 {
        first = -along;
        second = -across;
    }
    if place == 3u32 {
        first = across;
        second = -along;
    }
    (first, second)
}
