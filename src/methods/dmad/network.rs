//! DMAD's learned part: knowledge, projection and scoring network (paper §3.2–3.3, Eq. 7–12;
//! docs/methods/dmad.md, Computation).

use burn::tensor::{Device, Tensor, activation};

use super::params::{AttentionMode, MissingBank, NoiseWhere, Params, Scale};
use crate::train::{BatchNormMode, Parameters, batch_norm, download, leaky_relu, linear, linear_bias_free};

/// The three inputs of a set of patches: the patch itself and its nearest neighbour in each bank, rows × C. A bank that
/// does not exist gives `None`. Rows come image by image, `patches` of them each (attention over an image needs that).
#[derive(Clone)]
pub struct PatchRows {
    /// Patch features q.
    pub patch: Tensor<2>,
    /// Nearest normal neighbours.
    pub normal: Option<Tensor<2>>,
    /// Nearest abnormal neighbours.
    pub abnormal: Option<Tensor<2>>,
    /// Rows of each image, in order.
    pub rows_per_image: Vec<usize>,
}

/// The network's shape: what the parameters alone do not say.
#[derive(Clone, Debug)]
pub struct Network {
    params: Params,
    has_normal: bool,
    has_abnormal: bool,
}

impl Network {
    /// The network of these settings, for the banks there are.
    pub fn new(params: &Params, has_normal: bool, has_abnormal: bool) -> Self {
        Network { params: params.clone(), has_normal, has_abnormal }
    }

    /// Freshly drawn parameters for patches of `dim` values.
    pub fn initial(&self, dim: usize, seed: u64, device: &Device) -> Parameters {
        let mut parameters = Parameters::default();
        for name in self.projection_names() {
            parameters.add_linear(name, dim, dim, true, seed, device);
        }
        if self.params.attention.mode != AttentionMode::Off {
            parameters.add_linear("attn.key", dim, dim, true, seed, device);
            parameters.add_linear("attn.value", dim, dim, true, seed, device);
        }
        if self.params.knowledge.uses_batch_norm() {
            parameters.add_batch_norm("bn_k", dim, device);
        }
        let hidden = self.params.mlp.hidden;
        for block in 1..=self.params.mlp.blocks {
            let inputs = if block == 1 { dim * self.parts() } else { hidden };
            parameters.add_linear(&format!("mlp.{block}.linear"), inputs, hidden, true, seed, device);
            parameters.add_batch_norm(&format!("mlp.{block}.bn"), hidden, device);
        }
        parameters.add_linear("mlp.out", hidden, 1, false, seed, device);
        parameters
    }

    /// How many numbers are learned for patches of `dim` values.
    pub fn size(&self, dim: usize) -> usize {
        let attention = if self.params.attention.mode == AttentionMode::Off { 0 } else { 2 };
        let (hidden, blocks) = (self.params.mlp.hidden, self.params.mlp.blocks);
        let knowledge = if self.params.knowledge.uses_batch_norm() { 2 * dim } else { 0 };
        let mlp: usize =
            (1..=blocks).map(|block| (if block == 1 { dim * self.parts() } else { hidden } + 3) * hidden).sum();
        (self.projection_names().len() + attention) * (dim + 1) * dim + knowledge + mlp + hidden
    }

    /// Parameters whose gradient is zero but for rounding: a shift common to all rows is removed by the batch
    /// normalisation that follows (docs/methods/dmad.md, Fixed).
    pub fn zero_gradient(&self) -> Vec<String> {
        let mut names: Vec<String> = self.projection_names().iter().map(|name| format!("{name}.bias")).collect();
        if self.params.knowledge.uses_batch_norm() {
            names.push("bn_k.bias".into());
        }
        if matches!(self.params.attention.mode, AttentionMode::Token | AttentionMode::Image) {
            names.push("attn.value.bias".into());
        }
        if self.params.attention.mode == AttentionMode::Image {
            names.push("attn.key.bias".into()); // shifts all logits of a row alike
        }
        names.extend((1..=self.params.mlp.blocks).map(|block| format!("mlp.{block}.linear.bias")));
        names
    }

    /// o = [P(q), P(k_n), P(k_a)], rows × (parts·C). In training, batch statistics are used and remembered, k_n first.
    pub fn describe(&self, parameters: &mut Parameters, rows: &PatchRows, mode: BatchNormMode) -> Tensor<2> {
        let names = self.projection_names();
        let mut parts = vec![linear(parameters, names[0], rows.patch.clone())];
        for (slot, (neighbour, exists)) in
            [(&rows.normal, self.has_normal), (&rows.abnormal, self.has_abnormal)].into_iter().enumerate()
        {
            let name = names[(slot + 1).min(names.len() - 1)];
            match neighbour {
                Some(neighbour) if exists => {
                    let knowledge = self.knowledge(parameters, rows, neighbour.clone(), mode);
                    parts.push(linear(parameters, name, knowledge));
                }
                _ if self.params.knowledge.missing_bank == MissingBank::Zero => {
                    parts.push(linear(parameters, name, rows.patch.zeros_like()));
                }
                _ => {}
            }
        }
        Tensor::cat(parts, 1)
    }

    /// k = BN((q − neighbour) + A): the distance, the attention, or both (Eq. 7, 8).
    pub fn knowledge(
        &self,
        parameters: &mut Parameters,
        rows: &PatchRows,
        neighbour: Tensor<2>,
        mode: BatchNormMode,
    ) -> Tensor<2> {
        let distance = self.params.knowledge.distance.then(|| rows.patch.clone() - neighbour.clone());
        let attention =
            (self.params.attention.mode != AttentionMode::Off).then(|| self.attention(parameters, rows, neighbour));
        let knowledge = match (distance, attention) {
            (Some(distance), Some(attention)) => distance + attention,
            (Some(part), None) | (None, Some(part)) => part,
            (None, None) => unreachable!("refused when the parameters were resolved"),
        };
        if self.params.knowledge.uses_batch_norm() {
            batch_norm(parameters, "bn_k", knowledge, mode)
        } else {
            knowledge
        }
    }

    /// A(q, neighbour). In `token` mode every patch is its own sequence of one, the softmax of a single logit is 1, and
    /// what is left is the value layer alone: the query has no effect, exactly as in the released code.
    fn attention(&self, parameters: &Parameters, rows: &PatchRows, neighbour: Tensor<2>) -> Tensor<2> {
        let value = linear(parameters, "attn.value", rows.patch.clone());
        if self.params.attention.mode == AttentionMode::Token {
            return value;
        }
        let key = linear(parameters, "attn.key", rows.patch.clone());
        let scale = match self.params.attention.scale {
            Scale::None => 1.0,
            Scale::SqrtC => 1.0 / (value.dims()[1] as f64).sqrt(),
        };
        let mut start = 0;
        let images = rows.rows_per_image.iter().map(|&count| {
            let range = start..start + count;
            start += count;
            let part = |tensor: &Tensor<2>| tensor.clone().slice([range.clone()]);
            let (query, key, value) = (part(&neighbour), part(&key), part(&value));
            match self.params.attention.mode {
                AttentionMode::Literal => activation::softmax(query.matmul(key.transpose().matmul(value)) * scale, 1),
                _ => activation::softmax(query.matmul(key.transpose()) * scale, 1).matmul(value),
            }
        });
        Tensor::cat(images.collect(), 0)
    }

    /// Ψ(o), rows × 1: positive = normal. h₁ = f₁(o), hᵢ₊₁ = hᵢ + fᵢ(hᵢ), f = LeakyReLU(BN(Linear)).
    pub fn judge(&self, parameters: &mut Parameters, described: Tensor<2>, mode: BatchNormMode) -> Tensor<2> {
        let mut hidden = described;
        for block in 1..=self.params.mlp.blocks {
            let linear = linear(parameters, &format!("mlp.{block}.linear"), hidden.clone());
            let out = leaky_relu(batch_norm(parameters, &format!("mlp.{block}.bn"), linear, mode));
            hidden = if block == 1 { out } else { hidden + out };
        }
        linear_bias_free(parameters, "mlp.out", hidden)
    }

    /// Ψ of patches in evaluation mode, one value per row.
    pub fn evaluate(&self, parameters: &mut Parameters, rows: &PatchRows) -> Vec<f32> {
        let described = self.describe(parameters, rows, BatchNormMode::Evaluate);
        download(self.judge(parameters, described, BatchNormMode::Evaluate))
    }

    /// The descriptions of pseudo-anomalies: noise on the described patches, one C-vector repeated on every part
    /// (`shared_blocks`) or drawn for each. With `where = "q"` the noise is on the patch instead, neighbours kept.
    pub fn disturb(
        &self,
        parameters: &mut Parameters,
        rows: &PatchRows,
        normal: Tensor<2>,
        noise: Tensor<2>,
    ) -> Tensor<2> {
        match self.params.noise.place {
            NoiseWhere::O if self.params.noise.shared_blocks => normal + Tensor::cat(vec![noise; self.parts()], 1),
            NoiseWhere::O => normal + noise,
            NoiseWhere::Q => {
                let disturbed = PatchRows { patch: rows.patch.clone() + noise, ..rows.clone() };
                self.describe(parameters, &disturbed, BatchNormMode::Train)
            }
        }
    }

    /// Columns of the noise that `disturb` takes.
    pub fn noise_width(&self, dim: usize) -> usize {
        match self.params.noise.place {
            NoiseWhere::O if !self.params.noise.shared_blocks => dim * self.parts(),
            _ => dim,
        }
    }

    /// Blocks of width C in o: the patch, and each bank that exists (or that is filled with zeros).
    fn parts(&self) -> usize {
        match self.params.knowledge.missing_bank {
            MissingBank::Zero => 3,
            MissingBank::Drop => 1 + usize::from(self.has_normal) + usize::from(self.has_abnormal),
        }
    }

    fn projection_names(&self) -> &'static [&'static str] {
        if self.params.projection.shared { &["proj"] } else { &["proj", "proj_n", "proj_a"] }
    }
}
