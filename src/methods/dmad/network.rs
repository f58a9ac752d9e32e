//! DMAD's learned part: knowledge, projection and scoring network (paper §3.2–3.3, Eq. 7–12;
//! docs/methods/dmad.md, Computation).

use burn::tensor::{Device, Tensor, activation};

use super::params::{
    self, AttentionMode, BatchNormLayers, BatchNormRows, BatchNormTest, MissingBank, NoiseWhere, Params, Scale,
};
use crate::train::{BatchNormMode, Mlp, Parameters, batch_norm, download, linear, product};

/// The three inputs of a set of patches: the patch itself and its nearest neighbour in each bank, rows × C. Rows come image
/// by image (attention over an image needs that).
#[derive(Clone)]
pub struct PatchRows {
    /// Patch features q.
    pub patch: Tensor<2>,
    /// Nearest normal neighbours.
    pub normal: Tensor<2>,
    /// Nearest abnormal neighbours; `None` where there is no abnormal bank.
    pub abnormal: Option<Tensor<2>>,
    /// Rows of each image, in order.
    pub rows_per_image: Vec<usize>,
}

impl PatchRows {
    /// The rows of all groups, one below the other.
    fn concat(groups: &[&PatchRows]) -> Self {
        let abnormal: Vec<Tensor<2>> = groups.iter().filter_map(|group| group.abnormal.clone()).collect();
        PatchRows {
            patch: Tensor::cat(groups.iter().map(|group| group.patch.clone()).collect(), 0),
            normal: Tensor::cat(groups.iter().map(|group| group.normal.clone()).collect(), 0),
            abnormal: (!abnormal.is_empty()).then(|| Tensor::cat(abnormal, 0)),
            rows_per_image: groups.iter().flat_map(|group| group.rows_per_image.clone()).collect(),
        }
    }
}

/// The network's shape: what the parameters alone do not say.
#[derive(Clone, Debug)]
pub struct Network {
    params: Params,
    dim: usize,
    has_abnormal: bool,
}

impl Network {
    /// The network of these settings for patches of `dim` values, with or without an abnormal bank.
    pub fn new(params: &Params, dim: usize, has_abnormal: bool) -> Self {
        Network { params: params.clone(), dim, has_abnormal }
    }

    /// The network that judges descriptions.
    pub(super) fn mlp(&self) -> Mlp {
        let params::Mlp { blocks, hidden, .. } = self.params.mlp;
        Mlp { prefix: "mlp", inputs: self.dim * self.parts(), blocks, hidden, skips: true }
    }

    /// Freshly drawn parameters.
    pub fn initial(&self, seed: u64, device: &Device) -> Parameters {
        let mut parameters = Parameters::default();
        let mut add = |name: &str| parameters.add_linear(name, self.dim, self.dim, true, seed, device);
        self.projection_names().iter().for_each(|name| add(name));
        if self.params.attention.mode != AttentionMode::Off {
            add("attn.key");
            add("attn.value");
        }
        self.norm_names().iter().for_each(|name| parameters.add_batch_norm(name, self.dim, device));
        self.mlp().add(&mut parameters, seed, device);
        parameters
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        let attention = if self.params.attention.mode == AttentionMode::Off { 0 } else { 2 };
        let square = (self.projection_names().len() + attention) * (self.dim + 1) * self.dim;
        square + self.norm_names().len() * 2 * self.dim + self.mlp().size()
    }

    /// Parameters whose gradient is zero but for rounding: a shift common to all rows is removed by the batch
    /// normalisation that follows (docs/methods/dmad.md, Fixed).
    pub fn zero_gradient(&self) -> Vec<String> {
        let names = self.projection_names().iter().chain(self.norm_names());
        let mut biases: Vec<String> = names.map(|name| format!("{name}.bias")).collect();
        if matches!(self.params.attention.mode, AttentionMode::Token | AttentionMode::Image) {
            biases.push("attn.value.bias".into());
        }
        if self.params.attention.mode == AttentionMode::Image {
            biases.push("attn.key.bias".into()); // shifts all logits of a row alike
        }
        biases.extend(self.mlp().zero_gradient());
        biases
    }

    /// What stands in front of the projection for groups of rows in training, group by group. The batch normalisation of the
    /// knowledge takes its statistics from each group alone, one after the other, or from all of them.
    pub(super) fn known_groups(&self, parameters: &mut Parameters, groups: &[&PatchRows]) -> Vec<Vec<Tensor<2>>> {
        if self.params.knowledge.batch_norm_rows == BatchNormRows::Group || groups.len() == 1 {
            return groups.iter().map(|group| self.known_parts(parameters, group, BatchNormMode::Train)).collect();
        }
        let all = self.known_parts(parameters, &PatchRows::concat(groups), BatchNormMode::Train);
        let mut end = 0;
        let part = |group: &&PatchRows| {
            let range = end..end + group.patch.dims()[0];
            end = range.end;
            all.iter().map(|part| part.clone().slice([range.clone()])).collect()
        };
        groups.iter().map(part).collect()
    }

    /// o = [P(q), P(k_n), P(k_a)], rows × (parts·C). In training, batch statistics are used and remembered, k_n first.
    pub fn describe(&self, parameters: &mut Parameters, rows: &PatchRows, mode: BatchNormMode) -> Tensor<2> {
        let parts = self.known_parts(parameters, rows, mode);
        self.project(parameters, parts)
    }

    /// Each part behind its projection, side by side.
    pub(super) fn project(&self, parameters: &Parameters, parts: Vec<Tensor<2>>) -> Tensor<2> {
        let projected = parts.into_iter().enumerate();
        Tensor::cat(projected.map(|(part, rows)| linear(parameters, self.projection(part), rows)).collect(), 1)
    }

    /// The name of the projection of a part: 0 is the patch, then the banks.
    pub(super) fn projection(&self, part: usize) -> &'static str {
        let names = self.projection_names();
        names[part.min(names.len() - 1)]
    }

    /// Whether anything in front of the projection learns.
    pub(super) fn learns_knowledge(&self) -> bool {
        self.params.has_knowledge()
            && (!self.norm_names().is_empty() || self.params.attention.mode != AttentionMode::Off)
    }

    /// q, k_n and k_a as far as they are in use, or zeros in the place of a bank.
    fn known_parts(&self, parameters: &mut Parameters, rows: &PatchRows, mode: BatchNormMode) -> Vec<Tensor<2>> {
        let value = self.value(parameters, rows);
        let mut parts = vec![rows.patch.clone()];
        for (bank, neighbour) in [Some(&rows.normal), rows.abnormal.as_ref()].into_iter().enumerate() {
            match neighbour.filter(|_| self.params.has_knowledge()) {
                Some(neighbour) => {
                    parts.push(self.known(parameters, rows, (bank, neighbour.clone()), value.clone(), mode));
                }
                None if self.params.knowledge.missing_bank == MissingBank::Zero => parts.push(rows.patch.zeros_like()),
                None => (),
            }
        }
        parts
    }

    /// The value layer of attention: one of the patches, whatever the bank.
    fn value(&self, parameters: &Parameters, rows: &PatchRows) -> Option<Tensor<2>> {
        let attends = self.params.attention.mode != AttentionMode::Off;
        attends.then(|| linear(parameters, "attn.value", rows.patch.clone()))
    }

    /// k = BN((q − neighbour) + A): the distance, the attention, or both (Eq. 7, 8). `bank` is 0 for the normal one, 1 for
    /// the abnormal one.
    pub fn knowledge(
        &self,
        parameters: &mut Parameters,
        rows: &PatchRows,
        bank: usize,
        neighbour: Tensor<2>,
        mode: BatchNormMode,
    ) -> Tensor<2> {
        let value = self.value(parameters, rows);
        self.known(parameters, rows, (bank, neighbour), value, mode)
    }

    /// The same where the value layer was applied.
    fn known(
        &self,
        parameters: &mut Parameters,
        rows: &PatchRows,
        (bank, neighbour): (usize, Tensor<2>),
        value: Option<Tensor<2>>,
        mode: BatchNormMode,
    ) -> Tensor<2> {
        let distance = self.params.knowledge.distance.then(|| rows.patch.clone() - neighbour.clone());
        let attention = value.map(|value| self.attention(parameters, rows, neighbour, value));
        let knowledge = match (distance, attention) {
            (Some(distance), Some(attention)) => distance + attention,
            (Some(part), None) | (None, Some(part)) => part,
            (None, None) => unreachable!("there is no knowledge to describe"),
        };
        let names = self.norm_names();
        let Some(name) = names.get(bank.min(names.len().saturating_sub(1))) else { return knowledge };
        let at_test = match self.params.knowledge.batch_norm_test {
            BatchNormTest::Running => BatchNormMode::Evaluate,
            BatchNormTest::Batch => BatchNormMode::Batch,
        };
        batch_norm(parameters, name, knowledge, if mode == BatchNormMode::Evaluate { at_test } else { mode })
    }

    /// A(q, neighbour). In `token` mode every patch is its own sequence of one, the softmax of a single logit is 1, and
    /// what is left is the value layer alone: the query has no effect, exactly as in the released code.
    fn attention(
        &self,
        parameters: &Parameters,
        rows: &PatchRows,
        neighbour: Tensor<2>,
        value: Tensor<2>,
    ) -> Tensor<2> {
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
                AttentionMode::Literal => {
                    activation::softmax(product(query, product(key.transpose(), value)) * scale, 1)
                }
                _ => product(activation::softmax(product(query, key.transpose()) * scale, 1), value),
            }
        });
        Tensor::cat(images.collect(), 0)
    }

    /// Ψ(o), rows × 1: positive = normal. h₁ = f₁(o), hᵢ₊₁ = hᵢ + fᵢ(hᵢ), f = LeakyReLU(BN(Linear)).
    pub fn judge(&self, parameters: &mut Parameters, described: Tensor<2>, mode: BatchNormMode) -> Tensor<2> {
        self.mlp().forward(parameters, described, mode)
    }

    /// Ψ of patches in evaluation mode, one value per row.
    pub fn evaluate(&self, parameters: &mut Parameters, rows: &PatchRows) -> Vec<f32> {
        let described = self.describe(parameters, rows, BatchNormMode::Evaluate);
        download(self.judge(parameters, described, BatchNormMode::Evaluate))
    }

    /// The patches of pseudo-anomalies where the noise is on them (`where = "q"`): their neighbours are kept.
    pub fn disturbed_patches(&self, rows: &PatchRows, noise: &Tensor<2>) -> Option<PatchRows> {
        let disturbed = || PatchRows { patch: rows.patch.clone() + noise.clone(), ..rows.clone() };
        (self.params.noise.place == NoiseWhere::Q).then(disturbed)
    }

    /// The descriptions of pseudo-anomalies where the noise is on those of normal patches: one C-vector repeated on every part
    /// (`shared_blocks`) or a draw for each.
    pub fn disturb(&self, normal: Tensor<2>, noise: Tensor<2>) -> Tensor<2> {
        let repeated = self.params.noise.shared_blocks;
        normal + if repeated { Tensor::cat(vec![noise; self.parts()], 1) } else { noise }
    }

    /// Columns of the noise.
    pub fn noise_width(&self) -> usize {
        match self.params.noise.place {
            NoiseWhere::O if !self.params.noise.shared_blocks => self.dim * self.parts(),
            _ => self.dim,
        }
    }

    /// Blocks of width C in o: the patch, and what is known from each bank (or zeros in its place).
    fn parts(&self) -> usize {
        match self.params.knowledge.missing_bank {
            MissingBank::Zero => 3,
            MissingBank::Drop if self.params.has_knowledge() => 2 + usize::from(self.has_abnormal),
            MissingBank::Drop => 1,
        }
    }

    fn projection_names(&self) -> &'static [&'static str] {
        if self.params.projection.shared { &["proj"] } else { &["proj", "proj_n", "proj_a"] }
    }

    /// The batch normalisations of the knowledge: one for each bank there is, or one for all.
    fn norm_names(&self) -> &'static [&'static str] {
        let used = self.params.knowledge.uses_batch_norm() && self.params.has_knowledge();
        match (used, self.params.knowledge.batch_norm_layers, self.has_abnormal) {
            (false, ..) => &[],
            (true, BatchNormLayers::Shared, _) => &["bn_k"],
            (true, BatchNormLayers::PerBank, false) => &["bn_k_n"],
            (true, BatchNormLayers::PerBank, true) => &["bn_k_n", "bn_k_a"],
        }
    }
}
