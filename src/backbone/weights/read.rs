//! Reads tensors out of PyTorch and safetensors files.
//!
//! Owns: the file formats and every complaint about them. A PyTorch file is a pickle, which in Python can run any
//! code; the reader used here only collects tensors and runs nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn::store::pytorch_reader::{DType, PytorchReader};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::{StateDict, Weight};
use crate::backbone::plan::TensorSpec;
use crate::error::{Error, Result};

const DAMAGED: &str = "the file is damaged or no weights file: fetch it again, or name a .pth or .safetensors file";

/// Reads the tensors of `needed` from a `.safetensors` file, or from any other name as a PyTorch file. What else the
/// file holds is ignored.
///
/// Errors: unreadable or damaged files, missing tensors, other shapes or kinds of numbers, values that are not finite.
pub fn read(path: &Path, needed: &[TensorSpec]) -> Result<StateDict> {
    read_as(path, |_| Ok(needed.to_vec()))
}

/// Reads, as [`read`] does, the tensors that `choose` names when it sees the names of all.
///
/// # Errors
/// Those of [`read`] and of `choose`.
pub fn read_as(path: &Path, choose: impl FnOnce(&[String]) -> Result<Vec<TensorSpec>>) -> Result<StateDict> {
    let length = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if length == 0 {
        return Err(Error::weights(path, "the file is empty", DAMAGED));
    }
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let file = opened(path, &bytes)?;
        let names: Vec<String> = file.names().into_iter().map(String::from).collect();
        return from_safetensors(path, &file, &choose(&names)?);
    }
    // The reader parses foreign bytes; should it stumble over some, that is a broken file and not a broken program.
    catch_unwind(AssertUnwindSafe(|| pytorch(path, choose)))
        .unwrap_or_else(|_| Err(Error::weights(path, "no PyTorch file that can be read", DAMAGED)))
}

fn pytorch(path: &Path, choose: impl FnOnce(&[String]) -> Result<Vec<TensorSpec>>) -> Result<StateDict> {
    let broken = |what: String| Error::weights(path, format!("no PyTorch file that can be read: {what}"), DAMAGED);
    let reader = PytorchReader::new(path).map_err(|error| broken(error.to_string()))?;
    if reader.is_empty() {
        let help = format!("{DAMAGED}; code inside such a file is never run");
        return Err(Error::weights(path, "the file holds no tensors", help));
    }
    let mut state = StateDict::new();
    for spec in &choose(&reader.keys())? {
        let tensor = reader.get(&spec.name).ok_or_else(|| missing(path, spec))?;
        check_shape(path, spec, tensor.shape())?;
        let bytes = tensor.read().map_err(|error| broken(error.to_string()))?;
        let kind = match tensor.dtype() {
            DType::F32 => Some(Dtype::F32),
            DType::F64 => Some(Dtype::F64),
            DType::F16 => Some(Dtype::F16),
            DType::BF16 => Some(Dtype::BF16),
            _ => None,
        };
        insert(path, spec, kind.and_then(|kind| values(kind, &bytes)), &mut state)?;
    }
    Ok(state)
}

/// Reads the tensors of `needed` from the bytes of a safetensors file; `path` only serves messages.
pub fn safetensors(path: &Path, bytes: &[u8], needed: &[TensorSpec]) -> Result<StateDict> {
    from_safetensors(path, &opened(path, bytes)?, needed)
}

fn opened<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| Error::weights(path, format!("no safetensors file that can be read: {error}"), DAMAGED))
}

fn from_safetensors(path: &Path, file: &SafeTensors, needed: &[TensorSpec]) -> Result<StateDict> {
    let mut state = StateDict::new();
    for spec in needed {
        let tensor = file.tensor(&spec.name).map_err(|_| missing(path, spec))?;
        check_shape(path, spec, tensor.shape())?;
        insert(path, spec, values(tensor.dtype(), tensor.data()), &mut state)?;
    }
    Ok(state)
}

/// Little-endian floating-point numbers as f32; `None` for other kinds of numbers.
fn values(kind: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match kind {
        Dtype::F64 => words(bytes).map(|word| f64::from_le_bytes(word) as f32).collect(),
        Dtype::F32 => words(bytes).map(f32::from_le_bytes).collect(),
        Dtype::F16 => words(bytes).map(|word| f16::from_le_bytes(word).to_f32()).collect(),
        Dtype::BF16 => words(bytes).map(|word| bf16::from_le_bytes(word).to_f32()).collect(),
        _ => return None,
    })
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

fn missing(path: &Path, spec: &TensorSpec) -> Error {
    let what = format!("tensor {} is missing: incomplete weights, or weights of another architecture", spec.name);
    Error::weights(path, what, "check that backbone.name, backbone.layers and backbone.weights belong together")
}

fn check_shape(path: &Path, spec: &TensorSpec, found: &[usize]) -> Result<()> {
    if found == spec.shape {
        return Ok(());
    }
    let what = format!(
        "tensor {} has the shape {found:?} where {:?} is needed: weights of another architecture",
        spec.name, spec.shape
    );
    Err(Error::weights(path, what, "check that backbone.name and backbone.weights belong together"))
}

fn insert(path: &Path, spec: &TensorSpec, values: Option<Vec<f32>>, state: &mut StateDict) -> Result<()> {
    let fault = |what: &str| {
        Error::weights(path, format!("tensor {} {what}", spec.name), "use weights of a sound training run")
    };
    let values = values.ok_or_else(|| fault("does not hold floating-point numbers"))?;
    if values.len() != spec.shape.iter().product::<usize>() {
        return Err(Error::weights(path, format!("tensor {} is cut short", spec.name), DAMAGED));
    }
    if !values.iter().all(|value| value.is_finite()) {
        return Err(fault("holds values that are not finite"));
    }
    if spec.name.ends_with(".running_var") && values.iter().any(|&value| value < 0.0) {
        return Err(fault("holds negative variances"));
    }
    state.insert(spec.name.clone(), Weight { shape: spec.shape.clone(), values });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_other_widths_become_the_same_numbers_in_32_bits() {
        let half = [0x00, 0x3c, 0x01, 0x00, 0xff, 0x7b];
        assert_eq!(values(Dtype::F16, &half), Some(vec![1.0, 5.960_464_5e-8, 65504.0]));
        assert_eq!(values(Dtype::BF16, &[0x80, 0x3f, 0x00, 0xc0]), Some(vec![1.0, -2.0]));
        assert_eq!(values(Dtype::F64, &0.25f64.to_le_bytes()), Some(vec![0.25]));
        assert_eq!(values(Dtype::I64, &[0; 8]), None);
    }
}
