//! Losses of steps and epochs. They stay on the device until an epoch is over: a step that read its loss would make the host
//! wait for everything before it.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::device::download;

/// What a step found, by name, the total under "loss" first.
#[derive(Clone, Debug)]
pub struct Terms {
    names: Vec<&'static str>,
    /// One row for each name.
    values: Tensor<2>,
}

impl Terms {
    /// Terms of 1 × 1 each; their graph is let go.
    pub fn new(terms: Vec<(&'static str, Tensor<2>)>) -> Terms {
        let names = terms.iter().map(|(name, _)| *name).collect();
        Terms { names, values: Tensor::cat(terms.into_iter().map(|(_, value)| value.inner()).collect(), 0) }
    }

    /// All terms by name. The host waits for them.
    pub fn read(&self) -> BTreeMap<&'static str, f64> {
        self.names.iter().copied().zip(download(self.values.clone()).into_iter().map(f64::from)).collect()
    }

    /// A term's value; asking for one that was never found is a bug.
    pub fn value(&self, name: &str) -> f64 {
        *self.read().get(name).unwrap_or_else(|| panic!("no term `{name}` among {:?}", self.names))
    }
}

/// Losses of an epoch, term by term.
#[derive(Debug, Default)]
pub struct EpochLosses {
    names: Vec<&'static str>,
    steps: Vec<Tensor<2>>,
}

impl EpochLosses {
    /// Adds the terms of a step, always the same ones in the same order.
    pub fn add(&mut self, terms: Terms) {
        if self.steps.is_empty() {
            self.names = terms.names;
        } else {
            debug_assert_eq!(self.names, terms.names);
        }
        self.steps.push(terms.values);
    }

    /// Means over the steps; the host waits once. None without a step.
    pub fn means(self) -> Vec<(&'static str, f64)> {
        let steps = self.steps.len();
        if steps == 0 {
            return Vec::new();
        }
        let values = download(Tensor::cat(self.steps, 1));
        let mean = |row: &[f32]| row.iter().map(|&value| f64::from(value)).sum::<f64>() / steps as f64;
        self.names.into_iter().zip(values.chunks(steps).map(mean)).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::device::traffic;
    use crate::train::upload;

    #[test]
    fn an_epoch_is_read_once_and_gives_means_by_term() {
        let device = Device::flex();
        let one = |value: f32| upload(vec![value], [1, 1], &device);
        let mut losses = EpochLosses::default();
        let before = traffic();
        for step in 0..4 {
            losses.add(Terms::new(vec![("loss", one(step as f32)), ("half", one(step as f32 / 2.0))]));
        }
        assert_eq!(traffic().waits, before.waits);
        assert_eq!(losses.means(), vec![("loss", 1.5), ("half", 0.75)]);
        assert_eq!((traffic().waits - before.waits, traffic().down_bytes - before.down_bytes), (1, 32));
        assert!(EpochLosses::default().means().is_empty());
    }
}
