//! Which device computes. Chosen once, passed down.
//!
//! Owns: finding devices without touching ones that are not there, the way of values to and from them. Does not own: what
//! a process computes on (`chosen`), the check that a device computes what the CPU computes (`check`). The CPU (burn's flex backend) is always there.

mod activate;
mod adam;
mod affine;
mod beside;
pub mod check;
mod chosen;
mod columns;
pub mod curves;
pub mod draws;
mod factors;
mod gather;
mod host;
#[cfg(feature = "gpu")]
pub mod kernels;
mod leaky;
pub mod multiply;
mod normalise;
mod normalise_maps;
mod product;
mod pulled;
mod rectify;
pub mod room;
pub mod turn;
pub mod wide;

use std::cell::Cell;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

pub use activate::{Activation, ActivationGradient};
pub use adam::{AdamRates, adam};
pub use affine::affine;
pub use beside::{apart, beside};
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::tensor::DeviceType;
use burn::tensor::{Device, Int, Tensor, TensorData};
pub use chosen::{Chosen, Memory, precision};
pub use columns::{column_means, column_sums, plus_row, times_row};
pub use gather::{Source, gather_rows};
pub use leaky::leaky_relu;
pub use normalise::{Normalised, normalise};
pub use normalise_maps::{NormalisedMaps, normalise_maps};
pub use product::product;
pub use pulled::pulled;
pub use rectify::rectify;

use crate::error::{Error, Result, suggestion};
use crate::naive;

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

impl std::ops::Sub for Traffic {
    type Output = Traffic;

    fn sub(self, before: Traffic) -> Traffic {
        Traffic {
            up_bytes: self.up_bytes - before.up_bytes,
            down_bytes: self.down_bytes - before.down_bytes,
            waits: self.waits - before.waits,
        }
    }
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

/// Whole numbers to a device.
pub fn upload_ints(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let now = TRAFFIC.get();
    TRAFFIC.set(Traffic { up_bytes: now.up_bytes + 4 * values.len() as u64, ..now });
    let signed: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    Tensor::from_data(TensorData::new(signed, [values.len()]), device)
}

/// Whole numbers of a device to the host, which waits for them.
pub fn download_ints(tensor: Tensor<1, Int>) -> Vec<i32> {
    let values = tensor.into_data().try_to_vec::<i32>().unwrap_or_else(|fault| unreachable!("ours are i32: {fault:?}"));
    let now = TRAFFIC.get();
    TRAFFIC.set(Traffic { down_bytes: now.down_bytes + 4 * values.len() as u64, waits: now.waits + 1, ..now });
    values
}

/// Whether tensors of `device` are the processor's.
pub fn is_cpu(device: &Device) -> bool {
    let plain = if device.is_autodiff() { device.clone().inner() } else { device.clone() };
    plain == Device::flex()
}

/// Whether an operation on `device` is one of our own for the processor: not on a GPU, nor by plain twins.
pub fn has_own(device: &Device) -> bool {
    is_cpu(device) && !naive::is_chosen()
}

/// Kinds of device that `--device` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// All of them.
    pub const ALL: [DeviceKind; 3] = [DeviceKind::Cpu, DeviceKind::Cuda, DeviceKind::Wgpu];

    /// Name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda",
            DeviceKind::Wgpu => "wgpu",
        }
    }
}

/// One device of a kind, as `--device` has it: `cpu`, `cuda`, `cuda:1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceName {
    /// What it is.
    pub kind: DeviceKind,
    /// Its number among those of its kind.
    pub number: usize,
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, number) = text.split_once(':').unwrap_or((text, "0"));
        let kind = DeviceKind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| {
            let names = DeviceKind::ALL.map(DeviceKind::name);
            format!("there is no kind of device `{name}` ({})", suggestion(name, names))
        })?;
        let number = number.parse().map_err(|_| format!("`{number}` is no number of a device, as in cuda:1"))?;
        if kind == DeviceKind::Cpu && number > 0 {
            return Err("there is one cpu; --threads says how much of it is used".into());
        }
        Ok(DeviceName { kind, number })
    }
}

impl Display for DeviceName {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        match self.number {
            0 => f.write_str(self.kind.name()),
            number => write!(f, "{}:{number}", self.kind.name()),
        }
    }
}

/// How exactly networks and searches multiply on a GPU. What is nearest among given features does not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Precision {
    /// Single precision; the default.
    #[default]
    F32,
    /// Factors cut to ten bits, sums in single precision: NVIDIA's tensor cores. Another device computes in f32.
    Tf32,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 2] = [Precision::F32, Precision::Tf32];

    /// Name on the command line and in keys.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
        }
    }
}

/// What a GPU that does not tell its memory is taken to have.
const UNKNOWN_MEMORY: u64 = 4 << 30;

/// Opens a device.
fn open(name: DeviceName) -> Result<Device> {
    if name.kind == DeviceKind::Cpu {
        return Ok(Device::flex());
    }
    if !is_built(name.kind) {
        let kind = name.kind.name();
        let what = format!("this program was built without `{kind}`");
        let help = format!("build it with `cargo build --release --features {kind}`, or use --device cpu");
        return Err(Error::device(what, help));
    }
    let found = found(name.kind);
    let count = found.len();
    found.into_iter().nth(name.number).ok_or_else(|| match count {
        0 => {
            let help = match name.kind {
                DeviceKind::Cuda => "check that the NVIDIA driver is installed, or use --device cpu",
                _ => "install a Vulkan driver (mesa-vulkan-drivers has one for the CPU), or use --device cpu",
            };
            Error::device(format!("no {} device was found", name.kind.name()), help)
        }
        _ => Error::device(
            format!("there is no {name}: {count} {} found", if count == 1 { "device was" } else { "devices were" }),
            "`dmad devices` lists them",
        ),
    })
}

/// Whether the program can use this kind.
pub fn is_built(kind: DeviceKind) -> bool {
    match kind {
        DeviceKind::Cpu => true,
        DeviceKind::Cuda => cfg!(feature = "cuda"),
        DeviceKind::Wgpu => cfg!(feature = "wgpu"),
    }
}

/// The devices of a kind that are here. Constructing one that is not there panics, so they are enumerated first.
pub fn found(kind: DeviceKind) -> Vec<Device> {
    match kind {
        DeviceKind::Cpu => vec![Device::flex()],
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda => Device::enumerate(DeviceType::Cuda).into_iter().collect(),
        #[cfg(feature = "wgpu")]
        DeviceKind::Wgpu => Device::enumerate(DeviceType::Wgpu).into_iter().collect(),
        #[cfg(not(all(feature = "cuda", feature = "wgpu")))]
        _ => Vec::new(),
    }
}

/// What a device calls itself. Opens it.
pub fn describe(device: &Device) -> String {
    #[cfg(feature = "gpu")]
    if let Some(identity) = device.identity() {
        return format!("{} ({})", identity.name, identity.fingerprint);
    }
    let _ = device;
    crate::clock::processor()
}

/// Bytes of a device's memory, as far as it tells; of the processor's, all of the machine's.
pub fn memory(device: &Device) -> u64 {
    #[cfg(feature = "gpu")]
    if let Some(bytes) = kernels::memory(device) {
        return bytes;
    }
    if is_cpu(device) { 2 * crate::clock::default_memory_bytes() } else { UNKNOWN_MEMORY }
}

/// Bytes that the tensor library holds on a GPU, for the most that was needed at once so far: it keeps what it has had. None on the
/// CPU.
pub fn held(device: &Device) -> Option<u64> {
    if is_cpu(device) { None } else { device.memory_pool_usage().map(|usage| usage.bytes_reserved) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_a_missing_device_is_an_error() {
        for (text, kind, number) in
            [("cpu", DeviceKind::Cpu, 0), ("cuda:3", DeviceKind::Cuda, 3), ("wgpu", DeviceKind::Wgpu, 0)]
        {
            let name: DeviceName = text.parse().unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!((name.kind, name.number, name.to_string()), (kind, number, text.to_string()));
        }
        for (text, why) in [("cude", "cuda"), ("cuda:x", "number"), ("cpu:1", "one cpu")] {
            assert!(text.parse::<DeviceName>().is_err_and(|fault| fault.contains(why)), "{text}");
        }
        for kind in [DeviceKind::Cuda, DeviceKind::Wgpu] {
            let told = open(DeviceName { kind, number: 999 }).map(|_| ()).map_err(|fault| fault.to_string());
            let expected = if is_built(kind) { "found" } else { "without" };
            assert!(told.is_err_and(|text| text.contains(expected)), "{kind:?}");
        }
    }
}
