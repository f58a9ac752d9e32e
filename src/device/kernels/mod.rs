//! Kernels of our own for GPUs, written once for CUDA and for everything behind Vulkan, Metal and DirectX.
//!
//! Owns: how the tensor library's tensors are seen by kernels, and products in single precision. Does not own: when they are
//! used (`draws`, `gather`, `columns`, `normalise`, `product`, `bank::filter`, `features`, `backbone`).

mod activate;
mod adam;
mod beside;
mod draws;
mod gather;
mod rows;

use burn::backend::Cube;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

use super::Precision;

pub use activate::{activated, activated_slope, activated_sums};
pub use adam::adam;
pub use beside::{apart, beside};
pub use draws::{masks, normals};
pub use gather::gather_rows;
pub use rows::{centred_products, column_sums, combine, leaky, weighted_sums};

/// Threads of a cube.
const CUBE_UNITS: u32 = 256;

/// What runs kernels on `device`, with an empty tensor of it; none on the CPU.
pub fn empty<const D: usize>(shape: [usize; D], dtype: DType, device: &Device) -> Option<CubeTensor> {
    let probe: Tensor<1> = Tensor::empty([1], &plain(device));
    let probe = probe.try_into_primitive::<Cube>().ok()?;
    Some(empty_device_contiguous_dtype(probe.client, probe.device, shape.into(), dtype))
}

/// A tensor of a GPU as kernels see it.
pub fn raw<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    let tensor = if tensor.device().is_autodiff() { tensor.inner() } else { tensor };
    tensor.try_into_primitive::<Cube>().unwrap_or_else(|fault| unreachable!("a tensor of a GPU: {fault:?}"))
}

/// Whole numbers of a GPU as kernels see them.
pub fn raw_ints<const D: usize>(tensor: Tensor<D, Int>) -> CubeTensor {
    let tensor = if tensor.device().is_autodiff() { tensor.inner() } else { tensor };
    tensor.try_into_primitive::<Cube>().unwrap_or_else(|fault| unreachable!("a tensor of a GPU: {fault:?}"))
}

/// The device without automatic derivatives.
fn plain(device: &Device) -> Device {
    if device.is_autodiff() { device.clone().inner() } else { device.clone() }
}

/// Bytes of a GPU's memory, where it tells.
pub fn memory(device: &Device) -> Option<u64> {
    empty([1], DType::F32, device)?.client.properties().memory.max_memory()
}

/// Cubes that give every one of `units` a thread; a second dimension where one does not reach.
pub fn cubes(units: usize) -> (CubeCount, CubeDim) {
    const MOST: usize = 32_768;
    let cubes = units.div_ceil(CUBE_UNITS as usize);
    (CubeCount::new_2d(cubes.min(MOST) as u32, cubes.div_ceil(MOST) as u32), CubeDim::new_1d(CUBE_UNITS))
}

/// The whole of a contiguous tensor as an argument.
pub fn whole(tensor: &CubeTensor) -> BufferArg {
    tensor.clone().into_buffer_arg()
}

/// a · b in this precision. Single precision is that all through: threads multiply, tensor cores do not.
pub fn matrix_product(a: CubeTensor, b: CubeTensor, precision: Precision) -> CubeTensor {
    let mut shape = a.meta.shape().clone();
    let last = shape.num_dims() - 1;
    shape[last] = b.meta.shape()[last];
    let out = empty_device_contiguous_dtype(a.client.clone(), a.device.clone(), shape, a.dtype);
    let element = f32::elem_type_native();
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems { lhs: element, rhs: element, out: element });
    let strategy = match precision {
        Precision::F32 => Strategy::MultiLevel(multi_level::Strategy::SimpleUnit(Default::default())),
        // Tensor cores where there are any, else the same as above.
        Precision::Tf32 => Strategy::Auto,
    };
    let client = out.client.clone();
    let input = |tensor: CubeTensor| InputBinding::new(tensor.binding(), element);
    launch_ref(&strategy, &client, input(a), input(b), out.clone().binding(), &mut types)
        .unwrap_or_else(|fault| panic!("a product of matrices cannot be launched: {fault:?}"));
    out
}
