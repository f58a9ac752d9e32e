//! Arrays in `.npy` files: what both sides of a comparison read and write.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use bytemuck::{Pod, cast_slice, pod_collect_to_vec};
use npyz::{DType, NpyHeader, WriterBuilder};

/// Values, last index fastest.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Values,
}

/// Values of the kinds that are handed over.
#[derive(Clone, Debug)]
pub enum Values {
    Bytes(Vec<u8>),
    Singles(Vec<f32>),
    Doubles(Vec<f64>),
    Numbers(Vec<u32>),
}

impl Array {
    pub fn singles(shape: &[usize], values: Vec<f32>) -> Array {
        Array { shape: shape.to_vec(), values: Values::Singles(values) }
    }

    pub fn doubles(values: Vec<f64>) -> Array {
        Array { shape: vec![values.len()], values: Values::Doubles(values) }
    }

    pub fn numbers(values: Vec<u32>) -> Array {
        Array { shape: vec![values.len()], values: Values::Numbers(values) }
    }

    pub fn bytes(shape: &[usize], values: Vec<u8>) -> Array {
        Array { shape: shape.to_vec(), values: Values::Bytes(values) }
    }

    /// The single-precision values.
    pub fn into_singles(self) -> Vec<f32> {
        match self.values {
            Values::Singles(values) => values,
            other => panic!("{:?} where single precision is wanted", std::mem::discriminant(&other)),
        }
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.values {
            Values::Bytes(values) => values,
            other => panic!("{:?} where bytes are wanted", std::mem::discriminant(&other)),
        }
    }

    pub fn read(path: &Path) -> Array {
        let fault = |what: &dyn std::fmt::Display| -> ! { panic!("{}: {what}", path.display()) };
        let mut file = BufReader::new(File::open(path).unwrap_or_else(|e| fault(&e)));
        let header = NpyHeader::from_reader(&mut file).unwrap_or_else(|e| fault(&e));
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap_or_else(|e| fault(&e));
        let DType::Plain(kind) = header.dtype() else { fault(&"a structured array") };
        let values = match kind.to_string().trim_start_matches(['<', '|']) {
            "u1" | "b1" => Values::Bytes(bytes),
            "f4" => Values::Singles(pod_collect_to_vec(&bytes)),
            "f8" => Values::Doubles(pod_collect_to_vec(&bytes)),
            "u4" => Values::Numbers(pod_collect_to_vec(&bytes)),
            other => fault(&format!("values of type {other}")),
        };
        Array { shape: header.shape().iter().map(|&side| side as usize).collect(), values }
    }

    pub fn write(&self, path: &Path) {
        match &self.values {
            Values::Bytes(values) => write(path, &self.shape, values),
            Values::Singles(values) => write(path, &self.shape, values),
            Values::Doubles(values) => write(path, &self.shape, values),
            Values::Numbers(values) => write(path, &self.shape, values),
        }
    }
}

fn write<T: Pod + npyz::AutoSerialize>(path: &Path, shape: &[usize], values: &[T]) {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "{}", path.display());
    let shape: Vec<u64> = shape.iter().map(|&side| side as u64).collect();
    let mut header = Vec::new();
    // The header alone; the values follow in one piece.
    let _ =
        npyz::WriteOptions::<T>::new().default_dtype().shape(&shape).writer(&mut header).begin_nd().expect("a header");
    let mut file = BufWriter::new(File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    file.write_all(&header)
        .and_then(|()| file.write_all(cast_slice(values)))
        .and_then(|()| file.flush())
        .expect("written");
}
