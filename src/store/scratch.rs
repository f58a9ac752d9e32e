//! Room for matrices that a stage needs only while it works: in memory, or in a file that has no name.
//!
//! Owns: the choice between the two. Does not own: how much memory there is.

use std::path::Path;

use memmap2::MmapMut;

use super::disk::admit;
use crate::error::{Error, Result};
use crate::matrix::Rows;

/// A matrix of zeros to be filled. Pages of one in a file can be written back and dropped when memory is short.
#[derive(Debug)]
pub struct Scratch {
    values: Values,
    cols: usize,
}

#[derive(Debug)]
enum Values {
    Memory(Vec<f32>),
    File(MmapMut),
    /// A file of no bytes cannot be mapped.
    Nothing,
}

impl Scratch {
    /// Room for `rows` × `cols` values: in memory up to `memory_bytes`, beyond that in an unnamed file in `folder`.
    pub(super) fn new(folder: &Path, rows: usize, cols: usize, memory_bytes: u64) -> Result<Self> {
        let bytes = 4 * (rows * cols) as u64;
        let values = match bytes {
            0 => Values::Nothing,
            _ if bytes <= memory_bytes => Values::Memory(vec![0.0; rows * cols]),
            _ => {
                let file =
                    admit().and_then(|()| tempfile::tempfile_in(folder)).map_err(Error::io("write into", folder))?;
                // Its blocks are taken now: a full disk met later, through the mapping, would kill the process.
                match fs4::FileExt::allocate(&file, bytes) {
                    Err(fault) if fault.kind() == std::io::ErrorKind::Unsupported => file.set_len(bytes),
                    done => done,
                }
                .map_err(Error::io("make room in", folder))?;
                // SAFETY: the file has no name, so nobody else can change it.
                Values::File(unsafe { MmapMut::map_mut(&file) }.map_err(Error::io("map a file in", folder))?)
            }
        };
        Ok(Scratch { values, cols })
    }

    /// True when it is not in memory.
    pub fn is_in_a_file(&self) -> bool {
        matches!(self.values, Values::File(_))
    }

    /// All values, row after row.
    pub fn data_mut(&mut self) -> &mut [f32] {
        match &mut self.values {
            Values::Memory(values) => values,
            Values::File(map) => bytemuck::cast_slice_mut(map),
            Values::Nothing => &mut [],
        }
    }

    /// All rows.
    pub fn view(&self) -> Rows<'_> {
        let data = match &self.values {
            Values::Memory(values) => values,
            Values::File(map) => bytemuck::cast_slice(map),
            Values::Nothing => &[],
        };
        Rows::new(data, self.cols)
    }
}
