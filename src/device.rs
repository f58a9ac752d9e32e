//! Which device computes. Chosen once, passed down.
//!
//! Owns: finding devices without touching ones that are not there, the way of values to and from them, the numeric class that stage keys carry, and the check
//! that a device computes what the CPU computes. The CPU (burn's flex backend) is always there.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::tensor::DeviceType;
use burn::tensor::{Device, Tensor, TensorData, activation};
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::random::{Purpose, stream};

/// What this thread has moved between host and device since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes to the device.
    pub up_bytes: u64,
    /// Bytes from the device.
    pub down_bytes: u64,
    /// How often it waited for the device: once per reading.
    pub waits: u64,
}

thread_local! {
    static TRAFFIC: Cell<Traffic> = const { Cell::new(Traffic { up_bytes: 0, down_bytes: 0, waits: 0 }) };
}

/// What this thread has moved so far. Tests hold training to it: no step may wait.
pub fn traffic() -> Traffic {
    TRAFFIC.get()
}

/// Host values to a device.
pub fn upload<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    let now = TRAFFIC.get();
    TRAFFIC.set(Traffic { up_bytes: now.up_bytes + 4 * values.len() as u64, ..now });
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Device values to the host, which waits for them.
pub fn download<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.inner().into_data();
    let values = data.try_to_vec::<f32>().unwrap_or_else(|fault| unreachable!("our tensors are f32: {fault:?}"));
    let now = TRAFFIC.get();
    TRAFFIC.set(Traffic { down_bytes: now.down_bytes + 4 * values.len() as u64, waits: now.waits + 1, ..now });
    values
}

/// Kinds of device that `--device` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DeviceKind {
    /// The processor; the default.
    #[default]
    Cpu,
    /// NVIDIA GPUs (cargo feature `cuda`).
    Cuda,
    /// Any GPU through Vulkan, Metal or DirectX (cargo feature `wgpu`).
    Wgpu,
}

impl DeviceKind {
    /// Name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda",
            DeviceKind::Wgpu => "wgpu",
        }
    }
}

/// The device that a process computes on, opened when something is computed. As a part of a stage's key it is its numeric
/// class: a stage that holds none computes on the processor, with kernels of our own.
#[derive(Clone, Debug)]
pub struct Chosen {
    kind: DeviceKind,
    opened: Arc<OnceLock<Device>>,
}

impl Chosen {
    /// A device of this kind, not looked for yet.
    pub fn new(kind: DeviceKind) -> Self {
        Chosen { kind, opened: Arc::default() }
    }

    /// The device.
    ///
    /// # Errors
    /// None of this kind, or one that disagrees with the CPU.
    pub fn get(&self) -> Result<Device> {
        if let Some(device) = self.opened.get() {
            return Ok(device.clone());
        }
        let device = open(self.kind)?;
        Ok(self.opened.get_or_init(|| device).clone())
    }
}

/// What numbers of different devices must not be mixed up by: device kind, backend version, precision.
impl Serialize for Chosen {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/burn-0.22.1/f32", self.kind.name()))
    }
}

/// Opens a device of this kind; one that is not the CPU must first agree with the CPU.
fn open(kind: DeviceKind) -> Result<Device> {
    let device = match kind {
        DeviceKind::Cpu => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda => {
            first(kind, DeviceType::Cuda, "check that the NVIDIA driver is installed, or use --device cpu")
        }
        #[cfg(feature = "wgpu")]
        DeviceKind::Wgpu => {
            let help = "install a Vulkan driver (mesa-vulkan-drivers has one for the CPU), or use --device cpu";
            first(kind, DeviceType::Wgpu, help)
        }
        #[cfg(not(all(feature = "cuda", feature = "wgpu")))]
        missing => Err(Error::device(
            format!("this program was built without `{}`", missing.name()),
            format!("build it with `cargo build --release --features {}`, or use --device cpu", missing.name()),
        )),
    }?;
    if kind != DeviceKind::Cpu {
        self_check(kind, &device)?;
    }
    Ok(device)
}

/// Enumerates before it constructs: constructing a device that is not there panics.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn first(kind: DeviceKind, backend: DeviceType, help: &str) -> Result<Device> {
    let what = || format!("no {} device was found", kind.name());
    Device::enumerate(backend).into_iter().next().ok_or_else(|| Error::device(what(), help))
}

/// Runs a small forward pass and training step on `device` and on the CPU and refuses when they disagree.
fn self_check(kind: DeviceKind, device: &Device) -> Result<()> {
    let (ours, theirs) = (small_step(&Device::flex()), small_step(device));
    let scale = ours.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    if ours.len() == theirs.len() && worst <= 1e-3 * scale && theirs.iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    let name = kind.name();
    let what = format!("the {name} device computes other numbers than the CPU (largest difference {worst} of {scale})");
    Err(Error::device(what, "update its driver, or use --device cpu"))
}

/// Scores of a batched network with one output, and the gradients of its weights: the shape that GPU backends have got
/// wrong before.
fn small_step(device: &Device) -> Vec<f32> {
    let device = device.clone().autodiff();
    let tensor = |index: u64, shape: [usize; 2]| -> Tensor<2> {
        let mut values = vec![0.0; shape[0] * shape[1]];
        stream(0, Purpose::InitialWeights, index).fill_normal(&mut values, 0.3);
        Tensor::from_data(TensorData::new(values, shape), &device)
    };
    let (x, first, second) =
        (tensor(0, [257, 48]), tensor(1, [48, 64]).require_grad(), tensor(2, [64, 1]).require_grad());
    let hidden = x.matmul(first.clone());
    let centred = hidden.clone() - hidden.mean_dim(0);
    let scale = (centred.clone() * centred.clone()).mean_dim(0).sqrt() + 1e-5;
    let scores = activation::leaky_relu(centred / scale, 0.2).matmul(second.clone());
    let gradients = activation::relu(scores.clone() + 0.5).mean_dim(0).backward();
    let host = |tensor: Tensor<2>| tensor.inner().into_data().try_to_vec::<f32>().unwrap_or_default();
    let mut out = host(scores);
    for weight in [first, second] {
        out.extend(weight.grad(&gradients).map(host).unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_agrees_with_itself_and_a_missing_device_is_an_error() {
        assert!(self_check(DeviceKind::Cpu, &Device::flex()).is_ok());
        #[cfg(not(feature = "cuda"))]
        assert!(open(DeviceKind::Cuda).is_err_and(|e| e.to_string().contains("without `cuda`")));
        #[cfg(not(feature = "wgpu"))]
        assert!(open(DeviceKind::Wgpu).is_err_and(|e| e.to_string().contains("without `wgpu`")));
    }
}
