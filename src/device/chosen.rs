//! The device of a process, with what it may use of it.
//!
//! Owns: opening it at its first use, the checks before, the numeric class that stage keys carry, the precision of products. Does not
//! own: which devices there are (`mod`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use burn::tensor::Device;
use serde::{Serialize, Serializer};

use super::check::{self, Family};
use super::{DeviceKind, DeviceName, Precision, held, memory, open};
use crate::error::Result;
use crate::naive;

/// A process computes in one precision: that of the device that it has opened.
static CUTS_FACTORS: AtomicBool = AtomicBool::new(false);

/// The precision of products of networks on a GPU.
pub fn precision() -> Precision {
    if CUTS_FACTORS.load(Ordering::Relaxed) { Precision::Tf32 } else { Precision::F32 }
}

/// The device that a process computes on, opened when something is computed. As a part of a stage's key it is its numeric
/// class: a stage that holds none computes on the processor, or leaves what does not depend on where it was computed.
#[derive(Clone, Debug)]
pub struct Chosen {
    name: DeviceName,
    precision: Precision,
    /// Kind and precision that results are kept as.
    class: (DeviceKind, Precision),
    memory: Memory,
    checks: &'static [&'static [Family]],
    opened: Arc<OnceLock<Device>>,
}

/// Bytes that may be used.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Of the processor's memory.
    pub host: u64,
    /// Of a GPU's; none: four fifths of what it has.
    pub device: Option<u64>,
}

impl Chosen {
    /// A device that is not looked for yet. Before its first use it must pass the checks of this module and these.
    pub fn new(name: DeviceName, precision: Precision, memory: Memory, checks: &'static [&'static [Family]]) -> Self {
        Chosen { name, precision, class: (name.kind, precision), memory, checks, opened: Arc::default() }
    }

    /// The same device, for which what another made is its own: stages have that one's keys. What it computes itself differs from theirs
    /// by rounding and must not be kept.
    pub fn in_place_of(self, kind: DeviceKind, precision: Precision) -> Self {
        Chosen { class: (kind, precision), ..self }
    }

    /// The device.
    ///
    /// # Errors
    /// None of this name, or one that disagrees with the CPU.
    pub fn get(&self) -> Result<Device> {
        if let Some(device) = self.opened.get() {
            return Ok(device.clone());
        }
        let device = open(self.name)?;
        if self.is_gpu() {
            // Checked in single precision, whatever was computed before and is afterwards.
            CUTS_FACTORS.store(false, Ordering::Relaxed);
            for families in [check::FAMILIES].iter().chain(self.checks) {
                check::agree(&self.name.to_string(), &device, families)?;
            }
        }
        CUTS_FACTORS.store(self.precision == Precision::Tf32, Ordering::Relaxed);
        Ok(self.opened.get_or_init(|| device).clone())
    }

    /// Whether it is a GPU, whatever is there.
    pub fn is_gpu(&self) -> bool {
        self.name.kind != DeviceKind::Cpu
    }

    /// Gives the system what the tensor library has kept of a GPU's memory for this thread, which has computed a stage, and returns how
    /// much that was: the next stage has matrices of other sizes, or is another thread's, which has pools of its own.
    pub fn give_back(&self) -> Option<u64> {
        let device = self.opened.get()?;
        let bytes = held(device)?;
        device.memory_cleanup();
        Some(bytes)
    }

    /// Bytes that may be used of it.
    fn allowed(&self) -> u64 {
        self.memory.device.unwrap_or_else(|| self.get().map_or(0, |device| memory(&device) / 5 * 4))
    }

    /// Whether it has so many bytes for what could be made again.
    pub fn spares(&self, bytes: u64) -> bool {
        if self.is_gpu() { bytes <= self.allowed() } else { self.host_spares(bytes) }
    }

    /// Whether the processor's memory has them.
    pub fn host_spares(&self, bytes: u64) -> bool {
        bytes <= self.memory.host
    }

    /// Whether so many bytes may stay on it for as long as a stage works. Never on the CPU, which reads mapped files in place;
    /// three fifths of what may be used, so that activations have the rest.
    pub fn keeps(&self, bytes: u64) -> bool {
        self.is_gpu() && bytes <= self.allowed() / 5 * 3
    }
}

/// The tensor library, whose releases may round otherwise.
const BACKEND: &str = "burn-0.22.1";

/// Grows when kernels of our own for GPUs round otherwise than before.
const GPU_KERNELS: u32 = 3;

/// What numbers of different devices must not be mixed up by: device kind, backend version, precision, our kernels, plain twins.
impl Serialize for Chosen {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let twins = if naive::is_chosen() { "/naive" } else { "" };
        let (kind, precision) = (self.class.0.name(), self.class.1.name());
        match self.class.0 {
            DeviceKind::Cpu => serializer.collect_str(&format_args!("{kind}/{BACKEND}/{precision}{twins}")),
            _ => serializer.collect_str(&format_args!("{kind}/{BACKEND}/{precision}/{GPU_KERNELS}{twins}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BACKEND;

    #[test]
    fn keys_name_the_release_that_is_built() {
        let (name, release) = BACKEND.split_once('-').expect("a name and a release");
        let pinned = format!("{name} = {{ version = \"={release}\"");
        assert!(include_str!("../../Cargo.toml").contains(&pinned), "{pinned}");
    }
}
