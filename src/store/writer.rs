//! Writing artifacts: streamed to a temporary file, synced, renamed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use super::artifact::{DType, Manifest, TensorInfo};
use super::disk::{Gated, admit};
use super::{FORMAT, Store, names, narrow};
use crate::error::{Error, Result};

/// A tensor that is going to be written.
#[derive(Clone, Debug)]
pub struct TensorDecl {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
}

impl TensorDecl {
    /// An f32 tensor.
    pub fn f32(name: &str, shape: &[usize]) -> Self {
        TensorDecl { name: name.into(), dtype: DType::F32, shape: shape.into() }
    }

    /// A tensor of floating-point numbers that is kept in this type.
    pub fn floats(name: &str, dtype: DType, shape: &[usize]) -> Self {
        TensorDecl { name: name.into(), dtype, shape: shape.into() }
    }

    /// A u32 tensor.
    pub fn u32(name: &str, shape: &[usize]) -> Self {
        TensorDecl { name: name.into(), dtype: DType::U32, shape: shape.into() }
    }

    /// A u8 tensor of one dimension; it should come last, since others may have to be aligned.
    pub fn u8(name: &str, length: usize) -> Self {
        TensorDecl { name: name.into(), dtype: DType::U8, shape: vec![length] }
    }

    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

/// Receives the tensors' values in the declared order, in pieces of any size.
pub struct Writer {
    data_path: PathBuf,
    manifest_path: PathBuf,
    kind: String,
    key: String,
    file: std::io::BufWriter<Gated>,
    hasher: blake3::Hasher,
    expected: usize,
    written: usize,
    total: u64,
}

impl Writer {
    pub(super) fn create(store: &Store, kind: &str, key: &str, tensors: Vec<TensorDecl>) -> Result<Self> {
        let (data_path, manifest_path) = (store.data_path(kind, key), store.manifest_path(kind, key));
        let folder = data_path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let file = temporary(folder)?;
        let mut writer = Writer {
            file: std::io::BufWriter::with_capacity(1 << 20, Gated(file)),
            hasher: blake3::Hasher::new(),
            expected: tensors.iter().map(TensorDecl::bytes).sum(),
            written: 0,
            total: 0,
            kind: kind.into(),
            key: key.into(),
            data_path,
            manifest_path,
        };
        writer.put(&header(&tensors))?;
        Ok(writer)
    }

    /// Appends f32 values.
    pub fn f32(&mut self, values: &[f32]) -> Result<()> {
        self.tensor_bytes(bytemuck::cast_slice(values))
    }

    /// Appends f32 values to a tensor that is kept in `dtype`.
    ///
    /// # Errors
    /// A value that is too large for it, besides those of the disk.
    pub fn floats(&mut self, values: &[f32], dtype: DType) -> Result<()> {
        match dtype {
            DType::F16 => self.tensor_bytes(bytemuck::cast_slice(&narrow::rounded::<half::f16>(values)?)),
            DType::BF16 => self.tensor_bytes(bytemuck::cast_slice(&narrow::rounded::<half::bf16>(values)?)),
            _ => self.f32(values),
        }
    }

    /// Appends u32 values.
    pub fn u32(&mut self, values: &[u32]) -> Result<()> {
        self.tensor_bytes(bytemuck::cast_slice(values))
    }

    /// Appends u8 values.
    pub fn u8(&mut self, values: &[u8]) -> Result<()> {
        self.tensor_bytes(values)
    }

    fn tensor_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len();
        assert!(self.written <= self.expected, "{}: more values than declared", self.kind);
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.total += bytes.len() as u64;
        self.file.write_all(bytes).map_err(Error::io("write", &self.data_path))
    }

    /// Syncs and renames both files; what was `spent`, and `note`, go into the manifest.
    pub fn finish(self, note: serde_json::Value, spent: &Spent) -> Result<()> {
        assert_eq!(self.written, self.expected, "{}: fewer values than declared", self.kind);
        let manifest = Manifest {
            format: FORMAT,
            kind: self.kind,
            key: self.key,
            maker: env!("CARGO_PKG_VERSION").into(),
            checksum: self.hasher.finalize().to_hex().to_string(),
            bytes: self.total,
            wall_seconds: spent.wall_seconds,
            cpu_seconds: spent.cpu_seconds,
            operations: spent.operations,
            device_memory_bytes: spent.device_memory_bytes,
            machine: crate::clock::machine().into(),
            note,
            seal: String::new(),
        }
        .sealed();
        let file = self.file.into_inner().map_err(|fault| Error::io("write", &self.data_path)(fault.into_error()))?;
        persist(file.0, &self.data_path)?;
        let text = serde_json::to_string_pretty(&manifest).unwrap_or_else(|fault| unreachable!("plain data: {fault}"));
        write_atomically(&self.manifest_path, text.as_bytes())
    }
}

/// What an artifact cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Seconds on the clock.
    pub wall_seconds: f64,
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// Operations, as expected beforehand.
    pub operations: f64,
    /// The most that was held of a GPU's memory.
    pub device_memory_bytes: Option<u64>,
}

fn temporary(folder: &Path) -> Result<NamedTempFile> {
    admit().and_then(|()| NamedTempFile::new_in(folder)).map_err(Error::io("write into", folder))
}

fn header(tensors: &[TensorDecl]) -> Vec<u8> {
    let mut offset = 0;
    let mut map = serde_json::Map::new();
    for tensor in tensors {
        let end = offset + tensor.bytes();
        let info = TensorInfo { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets: (offset, end) };
        map.insert(tensor.name.clone(), serde_json::json!(info));
        offset = end;
    }
    let mut json = serde_json::Value::Object(map).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' '); // keeps the tensors aligned in the mapped file
    let mut out = (json.len() as u64).to_le_bytes().to_vec();
    out.extend(json);
    out
}

fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    // Temporary files are their maker's alone; results are there to be read.
    #[cfg(unix)]
    {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(open).map_err(Error::io("write", path))?;
    }
    file.as_file().sync_all().map_err(Error::io("sync", path))?;
    admit().map_err(Error::io("rename to", path))?;
    file.persist(path).map_err(|fault| Error::io("rename to", path)(fault.error))?;
    Ok(())
}

/// Removes a file if it is there.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(fault)),
        _ => Ok(()),
    }
}

/// What is not renamed within this time is of a process that was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes the temporary files that killed processes have left in a folder and below. One that cannot be removed stays.
pub fn remove_abandoned(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // Of the entry itself: links lead elsewhere.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            remove_abandoned(&entry.path());
        } else if kind.is_file() && entry.file_name().to_str().is_some_and(names::is_temporary) {
            let modified = entry.metadata().and_then(|file| file.modified()).ok();
            let age = modified.and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Replaces the file at `path` by `bytes` in one step; a crash leaves the old file or the new one, never a mixture.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut file = Gated(temporary(folder)?);
    file.write_all(bytes).map_err(Error::io("write", path))?;
    persist(file.0, path)
}
