//! Reading artifacts: mapped into memory, checked against their checksum.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::scratch::Scratch;
use super::{FORMAT, narrow};
use crate::error::{Error, Result};
use crate::matrix::Rows;

/// As many bytes as a tensor of 16 bits may take in memory as f32.
const WIDE_MEMORY_BYTES: u64 = 64 << 20;

/// Element types in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum DType {
    F32,
    U32,
    U8,
    /// IEEE 754's half precision; read as f32.
    F16,
    /// The upper half of an f32; read as one.
    BF16,
}

impl DType {
    /// Bytes of one value.
    pub(super) fn size(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::U8 => 1,
        }
    }
}

/// One tensor of an artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: DType,
    /// Shape, outermost first.
    pub shape: Vec<usize>,
    /// Byte range in the data section.
    pub data_offsets: (usize, usize),
}

/// What is known of an artifact besides its tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Manifest {
    pub format: u32,
    pub kind: String,
    pub key: String,
    /// Version of the crate that made it.
    pub maker: String,
    /// BLAKE3 of the data file.
    pub checksum: String,
    /// Size of the data file.
    pub bytes: u64,
    /// Seconds it took to make, on the clock.
    pub wall_seconds: f64,
    /// Seconds of processor time it took to make.
    pub cpu_seconds: f64,
    /// Operations it was expected to take: with the seconds, how fast this machine is.
    pub operations: f64,
    /// The most that the tensor library has held of a GPU's memory while it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_bytes: Option<u64>,
    /// Processor and threads that made it.
    pub machine: String,
    /// What the stage wants to tell (counts, losses, costs).
    pub note: serde_json::Value,
    /// BLAKE3 of all the above.
    pub seal: String,
}

impl Manifest {
    /// The manifest with its seal.
    pub(super) fn sealed(mut self) -> Self {
        self.seal = String::new();
        let text = serde_json::to_string(&self).unwrap_or_else(|fault| unreachable!("plain data: {fault}"));
        self.seal = blake3::hash(text.as_bytes()).to_hex().to_string();
        self
    }

    /// Reads a manifest; the reason when it cannot be used.
    pub(super) fn read(path: &Path) -> std::result::Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|fault| format!("its manifest cannot be read ({fault})"))?;
        let parsed: serde_json::Value =
            serde_json::from_str(&text).map_err(|fault| format!("its manifest is damaged ({fault})"))?;
        if parsed["format"] != FORMAT {
            return Err(format!("artifact format {} is not this program's {FORMAT}", parsed["format"]));
        }
        let manifest: Manifest =
            serde_json::from_value(parsed).map_err(|fault| format!("its manifest is damaged ({fault})"))?;
        match manifest.clone().sealed().seal == manifest.seal {
            true => Ok(manifest),
            false => Err("its manifest does not match its own seal".into()),
        }
    }
}

/// A whole artifact, mapped.
#[derive(Debug)]
pub struct Artifact {
    path: PathBuf,
    map: Mmap,
    data_start: usize,
    tensors: BTreeMap<String, TensorInfo>,
    /// Values of tensors of 16 bits as f32, from their first use on.
    wide: BTreeMap<String, OnceLock<Scratch>>,
    manifest: Manifest,
}

impl Artifact {
    /// Maps `data` and holds it against `manifest`.
    pub(super) fn open(data: &Path, manifest: &Path, key: &str) -> Result<Self> {
        let damaged = |what: String| Error::store(data, what, "it will be made again");
        let manifest = Manifest::read(manifest).map_err(damaged)?;
        if manifest.key != key || data.parent().is_some_and(|folder| !folder.ends_with(&manifest.kind)) {
            return Err(damaged(format!("its manifest names another artifact ({} {})", manifest.kind, manifest.key)));
        }
        let file = File::open(data).map_err(Error::io("open", data))?;
        // SAFETY: artifacts are replaced by renaming, never changed in place; a foreign process that truncates the file
        // underneath would be answered by a bus error, as with every mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", data))?;
        if map.len() as u64 != manifest.bytes {
            return Err(damaged(format!("it has {} bytes where its manifest says {}", map.len(), manifest.bytes)));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_rayon(&map);
        if hasher.finalize().to_hex().as_str() != manifest.checksum {
            return Err(damaged("its checksum does not match its manifest".into()));
        }
        let (data_start, tensors) = read_header(&map).ok_or_else(|| damaged("its header is damaged".into()))?;
        let is_narrow = |(_, info): &(&String, &TensorInfo)| matches!(info.dtype, DType::F16 | DType::BF16);
        let wide = tensors.iter().filter(is_narrow).map(|(name, _)| (name.clone(), OnceLock::new())).collect();
        Ok(Artifact { path: data.into(), map, data_start, tensors, wide, manifest })
    }

    /// What is known besides the tensors.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Names and shapes.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// Values of an f32 tensor, or of one of 16 bits as f32.
    pub fn f32(&self, name: &str) -> Result<&[f32]> {
        let Some(wide) = self.wide.get(name) else { return self.values(name, DType::F32) };
        if let Some(known) = wide.get() {
            return Ok(known.view().data());
        }
        let made = self.widened(name)?;
        Ok(wide.get_or_init(|| made).view().data())
    }

    /// The values of a tensor of 16 bits, in memory where it is small and else in a file without a name beside it.
    fn widened(&self, name: &str) -> Result<Scratch> {
        let info = self.info(name)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut wide = Scratch::new(folder, info.shape.iter().product(), 1, WIDE_MEMORY_BYTES)?;
        match info.dtype {
            DType::F16 => narrow::widen::<half::f16>(self.values(name, DType::F16)?, wide.data_mut()),
            _ => narrow::widen::<half::bf16>(self.values(name, DType::BF16)?, wide.data_mut()),
        }
        Ok(wide)
    }

    /// Values of a u8 tensor.
    pub fn u8(&self, name: &str) -> Result<&[u8]> {
        self.values(name, DType::U8)
    }

    /// Values of a u32 tensor.
    pub fn u32(&self, name: &str) -> Result<&[u32]> {
        self.values(name, DType::U32)
    }

    /// An f32 tensor as rows of its last dimension.
    pub fn rows(&self, name: &str) -> Result<Rows<'_>> {
        let cols = self.shape(name)?.last().copied().unwrap_or(1).max(1);
        Ok(Rows::new(self.f32(name)?, cols))
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.info(name)?.shape)
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.tensors.get(name).ok_or_else(|| self.unusable(name, "not in the file"))
    }

    fn values<T: bytemuck::AnyBitPattern>(&self, name: &str, dtype: DType) -> Result<&[T]> {
        let info = self.info(name)?;
        if info.dtype != dtype {
            return Err(self.unusable(name, "of another type"));
        }
        let (start, end) = info.data_offsets;
        let bytes = self.map.get(self.data_start + start..self.data_start + end);
        let bytes = bytes.ok_or_else(|| self.unusable(name, "outside the file"))?;
        bytemuck::try_cast_slice(bytes).map_err(|fault| self.unusable(name, &fault.to_string()))
    }

    fn unusable(&self, name: &str, what: &str) -> Error {
        Error::store(&self.path, format!("tensor `{name}`: {what}"), "remove the file and run again")
    }
}

/// The safetensors header: eight bytes of length, then JSON.
fn read_header(map: &[u8]) -> Option<(usize, BTreeMap<String, TensorInfo>)> {
    let length = u64::from_le_bytes(map.get(..8)?.try_into().ok()?) as usize;
    let header = map.get(8..8usize.checked_add(length)?)?;
    Some((8 + length, serde_json::from_slice(header).ok()?))
}
