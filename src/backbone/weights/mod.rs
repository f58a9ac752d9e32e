//! Weights of frozen networks: where they come from, what may be wrong with them, and their digest.
//!
//! Owns: resolution of `backbone.weights`, random weights. `read` and `write` own the file formats, `published` what is
//! known of published weights.

mod published;
mod read;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::plan::TensorSpec;
use super::{ARCHITECTURES, Architecture};
use crate::error::{Error, Result};
use crate::random::{self, Purpose};
use crate::spec;

pub use published::sha256;
pub use published::{Embedded, PublishedFile};
pub use read::{read, read_as};
pub use write::{write, write_imported};

/// One tensor of a state dictionary.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Values, last index fastest.
    pub values: Vec<f32>,
}

/// Tensors by name.
pub type StateDict = BTreeMap<String, Weight>;

/// What `resolve` found.
pub struct Resolved {
    /// Exactly the tensors that the tapped part needs, in the right shapes, all finite.
    pub state: StateDict,
    /// Where they came from, for people.
    pub source: String,
    /// True when they were drawn.
    pub random: bool,
}

/// Where weights are taken from.
#[derive(Debug)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Weights inside the program.
    Embedded(Embedded),
    /// Drawn from the run's seed.
    Random,
}

/// Finds out where the weights of `spec` come from, without reading them.
pub fn origin(spec: &spec::Backbone, weights_dir: &Path) -> Result<Origin> {
    let architecture = Architecture::find(&spec.name)?;
    match spec.weights.as_str() {
        "random" => Ok(Origin::Random),
        "imagenet" => {
            let published = architecture.published.map(|published| published.file.to_string());
            let imported = format!("{}.safetensors", architecture.name);
            let mut paths = published.into_iter().chain([imported]).map(|file| weights_dir.join(file));
            match (paths.find(|path| path.exists()), architecture.embedded) {
                (Some(path), _) => Ok(Origin::File(path)),
                (None, Some(embedded)) => Ok(Origin::Embedded(embedded)),
                (None, None) => Err(absent(architecture, weights_dir)),
            }
        }
        path => {
            let file = [PathBuf::from(path), weights_dir.join(path)].into_iter().find(|path| path.is_file());
            file.map(Origin::File).ok_or_else(|| {
                let what = format!("there is no weights file {path}, neither here nor in {}", weights_dir.display());
                let help = "backbone.weights is \"imagenet\", \"random\", or the path of a .pth or .safetensors file";
                Error::usage(what, help)
            })
        }
    }
}

/// Whether "imagenet" means a file here that was imported, of which nothing says that it has the published weights: the published
/// file's digest is known, and that of the file which was imported is another or not noted.
pub fn are_unchecked(spec: &spec::Backbone, weights_dir: &Path) -> bool {
    let Ok(architecture) = Architecture::find(&spec.name) else { return false };
    let Some(published) = architecture.published.filter(|_| spec.weights == "imagenet") else { return false };
    match (published.sha256, origin(spec, weights_dir)) {
        (Some(known), Ok(Origin::File(path))) if !path.ends_with(published.file) => {
            write::imported_from(&path).is_none_or(|sha256| !sha256.starts_with(known))
        }
        _ => false,
    }
}

fn absent(architecture: &Architecture, weights_dir: &Path) -> Error {
    let name = architecture.name;
    let (file, place) = match architecture.published {
        Some(published) => (
            published.file.to_string(),
            format!("`dmad weights fetch {name}`, or download {} and put it there", published.url),
        ),
        None => (format!("{name}.safetensors"), "put the weights there".to_string()),
    };
    let help = "name another folder with --weights or DMAD_WEIGHTS, or set backbone.weights to a file or \"random\"";
    let inside = ARCHITECTURES.iter().filter(|row| row.embedded.is_some()).map(|row| {
        let layers: Vec<String> = row.default_layers.iter().map(|layer| format!("\"{layer}\"")).collect();
        format!(
            "; or take backbone.name = \"{}\" with backbone.layers = [{}], whose weights are inside the program",
            row.name,
            layers.join(", ")
        )
    });
    let what = format!("the published weights of {name} are not here");
    Error::weights(weights_dir.join(file), what, format!("{place}, {help}{}", inside.collect::<String>()))
}

/// Reads or draws the weights that `spec` asks for: the tensors up to its deepest layer.
///
/// Errors name the file, the tensor, and what to do.
pub fn resolve(spec: &spec::Backbone, weights_dir: &Path, seed: u64) -> Result<Resolved> {
    let architecture = Architecture::find(&spec.name)?;
    let taps = architecture.taps(&spec.layers)?;
    let needed = architecture.tensors(&taps);
    match origin(spec, weights_dir)? {
        Origin::Random => {
            Ok(Resolved { state: draw(&needed, seed), source: format!("random, seed {seed}"), random: true })
        }
        Origin::Embedded(Embedded { file, bytes, .. }) => {
            let source = format!("{file} (part of the program)");
            Ok(Resolved { state: read::safetensors(Path::new(&source), bytes, &needed)?, source, random: false })
        }
        Origin::File(path) => {
            if let Some(published) = architecture.published
                && spec.weights == "imagenet"
                && path.ends_with(published.file)
            {
                published.check(&path)?;
            }
            let source = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Ok(Resolved { state: architecture.read(&path, &taps)?, source, random: false })
        }
    }
}

/// Digest of the tensors that the tapped part of `spec` uses: BLAKE3 over names, shapes and values.
pub fn weights_digest(spec: &spec::Backbone, weights_dir: &Path, seed: u64) -> Result<String> {
    Ok(digest(&resolve(spec, weights_dir, seed)?.state))
}

/// BLAKE3 over names, shapes and values of `state`, in order of names.
pub fn digest(state: &StateDict) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("dmad weights v1");
    for (name, weight) in state {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&(weight.shape.len() as u64).to_le_bytes());
        for &size in &weight.shape {
            hasher.update(&(size as u64).to_le_bytes());
        }
        hasher.update(&little_endian(&weight.values));
    }
    hasher.finalize().to_hex().to_string()
}

/// `values` as little-endian bytes.
fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Standard deviation of random tokens and positions.
const TOKEN_STD: f64 = 0.02;

/// Random weights: kernels from a normal distribution that keeps the variance of ReLU networks (He et al. 2015), tokens and
/// positions with the deviation that transformers start from, normalisation layers that do nothing, biases of zero. A tensor's stream is its place in the network, so a deeper
/// tap does not change the shallow tensors.
pub(super) fn draw(needed: &[TensorSpec], seed: u64) -> StateDict {
    let draw_one = |(index, spec): (usize, &TensorSpec)| {
        let count = spec.shape.iter().product();
        let ends = |ends: &[&str]| ends.iter().any(|end| spec.name.ends_with(end));
        let is_scale = spec.shape.len() == 1 && ends(&[".weight", ".gamma"]) || ends(&[".running_var"]);
        let mut values = vec![if is_scale { 1.0 } else { 0.0 }; count];
        if spec.shape.len() > 1 {
            let inputs: usize = spec.shape[1..].iter().product();
            let std = if ends(&["_token", "_tokens", "pos_embed"]) { TOKEN_STD } else { (2.0 / inputs as f64).sqrt() };
            random::stream(seed, Purpose::BackboneWeights, index as u64).fill_normal(&mut values, std);
        }
        (spec.name.clone(), Weight { shape: spec.shape.clone(), values })
    };
    needed.iter().enumerate().map(draw_one).collect()
}
