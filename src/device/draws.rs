//! Draws of the named streams, made where they are needed.
//!
//! On the CPU a stream fills host memory (`random`). On a GPU a kernel runs ChaCha8 itself: the integers are those of the
//! host, bit for bit, and the normals that come of them lie within two units in the last place of the host's, which makes
//! them in double precision. A GPU may have no double precision and a rough sine, so a normal is made there of pairs of
//! floats: everything is the sum of a float and a much smaller one, and no intermediate error reaches the last place.
//! Nothing random crosses to the device but the 32 bytes of a key.

use burn::tensor::{Device, Tensor};

use super::upload;
use crate::random::Stream;

/// Standard normals times `std`, row-major; the stream moves on past them.
pub fn normals(stream: &mut Stream, shape: [usize; 2], std: f64, device: &Device) -> Tensor<2> {
    #[cfg(feature = "gpu")]
    if let Some(drawn) = super::kernels::normals(&stream.key(), stream.position(), shape, std, device) {
        stream.skip(2 * (shape[0] * shape[1]).div_ceil(2) as u64);
        return lifted(drawn, device);
    }
    let mut values = vec![0.0; shape[0] * shape[1]];
    stream.fill_normal(&mut values, std);
    upload(values, shape, device)
}

/// Which of so many values each stream lets pass: `1 / (1 − rate)`, or 0 for a share of `rate` of them. Four decisions come
/// out of each 64 bits; the streams move on past them. What is kept makes up for the share that is really dropped.
pub fn dropout<const D: usize>(streams: &mut [Stream], rate: f64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let limit = (rate * 65536.0).round() as u16;
    let kept = (1.0 / (1.0 - f64::from(limit) / 65536.0)) as f32;
    let values = shape.iter().product::<usize>() / streams.len();
    #[cfg(feature = "gpu")]
    {
        let keys: Vec<_> = streams.iter().map(|stream| (stream.key(), stream.position())).collect();
        if let Some(drawn) = super::kernels::masks(&keys, values, limit, kept, device) {
            streams.iter_mut().for_each(|stream| stream.skip(values.div_ceil(4) as u64));
            return lifted(drawn.reshape(shape), device);
        }
    }
    let mut mask = vec![0.0; values * streams.len()];
    for (own, draws) in mask.chunks_mut(values).zip(streams) {
        for four in own.chunks_mut(4) {
            let bits = draws.bits();
            for (lane, value) in four.iter_mut().enumerate() {
                *value = if (bits >> (16 * lane)) as u16 >= limit { kept } else { 0.0 };
            }
        }
    }
    upload(mask, shape, device)
}

/// A plain tensor on `device`, which may keep gradients.
#[cfg(feature = "gpu")]
fn lifted<const D: usize>(tensor: Tensor<D>, device: &Device) -> Tensor<D> {
    if device.is_autodiff() { Tensor::from_inner(tensor) } else { tensor }
}
