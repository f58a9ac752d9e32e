//! Weights files of transformers: the published naming and timm's, told apart by what a file holds.
//!
//! Owns: names, and how timm's registers and positions become the published ones. Does not own: file formats
//! (`weights::read`).

use std::path::Path;

use super::Form;
use crate::backbone::plan::TensorSpec;
use crate::backbone::weights::{StateDict, Weight, read_as};
use crate::error::{Error, Result};

/// A tensor that every such file has; what stands in front of it there stands in front of all names.
const LANDMARK: &str = "patch_embed.proj.weight";
const POSITIONS: &str = "pos_embed";
const REGISTERS: &str = "register_tokens";
/// What timm calls them. Its class token already holds its position where there are registers, and the table starts with the
/// first patch.
const TIMM_REGISTERS: &str = "reg_token";

/// Reads the tensors of `form` up to block `last` by their published names, whichever of the two namings the file has, with or
/// without a prefix. Others are ignored.
///
/// # Errors
/// Those of a weights file, and a file with registers for a transformer without.
pub fn read(path: &Path, form: &Form, last: usize) -> Result<StateDict> {
    let needed = form.tensors(last);
    let mut prefix = String::new();
    let mut timm = false;
    let state = read_as(path, |names| {
        prefix = names.iter().find_map(|name| name.strip_suffix(LANDMARK)).unwrap_or_default().to_string();
        let holds = |name: &str| names.contains(&format!("{prefix}{name}"));
        timm = form.registers > 0 && holds(TIMM_REGISTERS);
        let surplus = [REGISTERS, TIMM_REGISTERS].into_iter().find(|name| form.registers == 0 && holds(name));
        if let Some(name) = surplus {
            let what = format!("it has the tensor {name}: weights of a network with registers");
            return Err(Error::weights(path, what, "name the backbone with `_reg` behind it, or take other weights"));
        }
        if holds("blocks.0.mlp.w12.weight") {
            let what = "its blocks have gated hidden layers (mlp.w12): weights of another architecture";
            return Err(Error::weights(path, what, "use the weights of ViT-S/14 or ViT-B/14"));
        }
        Ok(needed.iter().map(|spec| in_file(spec, &prefix, timm, form)).collect())
    })?;
    let own = |(name, weight): (String, Weight)| {
        let name = name.strip_prefix(&prefix).unwrap_or(&name).to_string();
        match name.as_str() {
            TIMM_REGISTERS => (REGISTERS.into(), weight),
            POSITIONS if timm => (name, with_a_row_for_the_class(weight, form)),
            _ => (name, weight),
        }
    };
    Ok(state.into_iter().map(own).collect())
}

/// What a tensor is called in the file, and its shape there.
fn in_file(spec: &TensorSpec, prefix: &str, timm: bool, form: &Form) -> TensorSpec {
    let (name, shape) = match spec.name.as_str() {
        REGISTERS if timm => (TIMM_REGISTERS, spec.shape.clone()),
        POSITIONS if timm => (POSITIONS, vec![1, form.grid * form.grid, form.width]),
        name => (name, spec.shape.clone()),
    };
    TensorSpec { name: format!("{prefix}{name}"), shape }
}

/// Zeros for the class, whose token already has its position.
fn with_a_row_for_the_class(patches: Weight, form: &Form) -> Weight {
    let mut values = vec![0.0; form.width];
    values.extend(patches.values);
    Weight { shape: vec![1, 1 + form.grid * form.grid, form.width], values }
}
