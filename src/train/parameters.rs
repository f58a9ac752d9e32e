//! Named parameters and running statistics, all of them matrices (a bias is one row).

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};

use crate::device::{download, is_cpu, upload};
use crate::error::{Error, Result};
use crate::matrix::Rows;
use crate::random::{Purpose, stream};
use crate::store::{Artifact, TensorDecl, Writer};

/// Parameters (which learn) and buffers (which do not), by name.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    learned: BTreeMap<String, Tensor<2>>,
    buffers: BTreeMap<String, Tensor<2>>,
}

impl Parameters {
    /// Adds a linear layer `name.weight` (outputs × inputs, Xavier-normal) and `name.bias` (1 × outputs, uniform in
    /// ±1/√inputs), drawn from the run's seed.
    pub fn add_linear(&mut self, name: &str, inputs: usize, outputs: usize, bias: bool, seed: u64, device: &Device) {
        let index = self.learned.len() as u64;
        let mut draws = stream(seed, Purpose::InitialWeights, index);
        let mut weight = vec![0.0; inputs * outputs];
        draws.fill_normal(&mut weight, (2.0 / (inputs + outputs) as f64).sqrt());
        self.insert(&format!("{name}.weight"), weight, [outputs, inputs], device);
        if bias {
            let mut values = vec![0.0; outputs];
            draws.fill_uniform(&mut values, 1.0 / (inputs as f64).sqrt());
            self.insert(&format!("{name}.bias"), values, [1, outputs], device);
        }
    }

    /// Adds a linear layer or a convolution with bias as PyTorch draws them: `name.weight` (outputs × inputs of each, kernel
    /// places counted) and `name.bias`, all uniform in ±1/√inputs.
    pub fn add_layer(&mut self, name: &str, inputs: usize, outputs: usize, seed: u64, device: &Device) {
        let mut draws = stream(seed, Purpose::InitialWeights, self.learned.len() as u64);
        let bound = 1.0 / (inputs as f64).sqrt();
        for (part, shape) in [("weight", [outputs, inputs]), ("bias", [1, outputs])] {
            let mut values = vec![0.0; shape[0] * shape[1]];
            draws.fill_uniform(&mut values, bound);
            self.insert(&format!("{name}.{part}"), values, shape, device);
        }
    }

    /// Adds a batch normalisation of `width` columns: weight 1, bias 0, running mean 0, running variance 1.
    pub fn add_batch_norm(&mut self, name: &str, width: usize, device: &Device) {
        self.insert(&format!("{name}.weight"), vec![1.0; width], [1, width], device);
        self.insert(&format!("{name}.bias"), vec![0.0; width], [1, width], device);
        self.insert_buffer(&format!("{name}.running_mean"), vec![0.0; width], [1, width], device);
        self.insert_buffer(&format!("{name}.running_var"), vec![1.0; width], [1, width], device);
    }

    /// Sets a learned parameter.
    pub fn insert(&mut self, name: &str, values: Vec<f32>, shape: [usize; 2], device: &Device) {
        let tensor = upload(values, shape, device);
        // A plain device scores and keeps no gradients.
        self.learned.insert(name.into(), if device.is_autodiff() { tensor.require_grad() } else { tensor });
    }

    /// Sets a buffer.
    pub fn insert_buffer(&mut self, name: &str, values: Vec<f32>, shape: [usize; 2], device: &Device) {
        self.buffers.insert(name.into(), upload(values, shape, device));
    }

    /// A parameter or buffer; asking for one that was never added is a bug.
    pub fn get(&self, name: &str) -> Tensor<2> {
        match self.learned.get(name).or_else(|| self.buffers.get(name)) {
            Some(tensor) => tensor.clone(),
            None => panic!("no parameter `{name}`"),
        }
    }

    /// A parameter or buffer as a plain tensor, which no graph follows.
    pub fn plain(&self, name: &str) -> Tensor<2> {
        let tensor = self.get(name);
        if tensor.device().is_autodiff() { tensor.inner() } else { tensor }
    }

    /// True when there is such a parameter or buffer.
    pub fn contains(&self, name: &str) -> bool {
        self.all().any(|(known, _)| known == name)
    }

    /// True when there is such a parameter and it learns.
    pub fn learns(&self, name: &str) -> bool {
        self.learned.contains_key(name)
    }

    /// Replaces a learned parameter by its updated value.
    pub(super) fn update(&mut self, name: &str, value: Tensor<2>) {
        let tensor = if value.is_autodiff() { value } else { Tensor::from_inner(value) };
        self.learned.insert(name.into(), tensor.require_grad());
    }

    /// Replaces a buffer.
    pub fn set_buffer(&mut self, name: &str, value: Tensor<2>) {
        self.buffers.insert(name.into(), value);
    }

    /// Names of the learned parameters, sorted.
    pub fn learned_names(&self) -> impl Iterator<Item = &str> {
        self.learned.keys().map(String::as_str)
    }

    /// Whether the processor holds them.
    pub fn are_on_cpu(&self) -> bool {
        self.all().next().is_none_or(|(_, tensor)| is_cpu(&tensor.device()))
    }

    /// Whether a graph follows what is done with them.
    pub fn are_tracked(&self) -> bool {
        self.all().next().is_some_and(|(_, tensor)| tensor.device().is_autodiff())
    }

    /// How many numbers are learned.
    pub fn count(&self) -> usize {
        self.learned.values().map(|tensor| tensor.dims().iter().product::<usize>()).sum()
    }

    /// The same values as leaves of a graph of their own, so that several threads can differentiate at once.
    pub fn leaves(&self) -> Parameters {
        let leaf = |tensor: &Tensor<2>| Tensor::from_inner(tensor.clone().inner()).require_grad();
        Parameters {
            learned: self.learned.iter().map(|(name, tensor)| (name.clone(), leaf(tensor))).collect(),
            buffers: self.buffers.clone(),
        }
    }

    /// What an artifact must declare to hold these, names prefixed.
    pub fn declarations(&self, prefix: &str) -> Vec<TensorDecl> {
        self.all().map(|(name, tensor)| TensorDecl::f32(&format!("{prefix}{name}"), &tensor.dims())).collect()
    }

    /// Writes all values in the order of `declarations`.
    pub fn write(&self, writer: &mut Writer) -> Result<()> {
        self.all().try_for_each(|(_, tensor)| writer.f32(&download(tensor.clone())))
    }

    /// Fills the values from an artifact; every name must be there in its shape.
    pub fn read(&mut self, artifact: &Artifact, prefix: &str) -> Result<()> {
        let fill = |name: &str, tensor: &Tensor<2>| -> Result<Tensor<2>> {
            let full = format!("{prefix}{name}");
            let shape = tensor.dims();
            if artifact.shape(&full)? != shape {
                let what = format!("`{full}` has shape {:?} where {shape:?} is needed", artifact.shape(&full)?);
                return Err(Error::method(what, "remove the store and run again"));
            }
            Ok(upload(artifact.f32(&full)?.to_vec(), shape, &tensor.device()))
        };
        for (name, tensor) in &mut self.learned {
            let value = fill(name, tensor)?;
            *tensor = if value.is_autodiff() { value.require_grad() } else { value };
        }
        for (name, tensor) in &mut self.buffers {
            *tensor = fill(name, tensor)?;
        }
        Ok(())
    }

    /// All values in the order of `declarations`.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Tensor<2>)> {
        self.learned.iter().chain(&self.buffers)
    }
}

/// The patches of some images, one image below the other, to a device.
pub fn upload_images<'a>(images: impl Iterator<Item = Rows<'a>>, dim: usize, device: &Device) -> Tensor<2> {
    let values = images.map(|rows| rows.data()).collect::<Vec<_>>().concat();
    let rows = values.len() / dim;
    upload(values, [rows, dim], device)
}
