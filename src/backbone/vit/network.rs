//! Runs frozen transformers: pre-normalised blocks of attention and hidden layer, each branch scaled by channel before it is
//! added (docs/backbones.md, Forward).
//!
//! Owns: the forward pass, and folding: weight and bias of a normalisation go into the linear layer behind it, the scale of a
//! branch into the one before it, the scale of the logits into the queries. Does not own: where numbers come from (`weights`), the
//! blocks on a processor that has its own way through them (`host`).

use std::collections::BTreeMap;
use std::sync::Mutex;

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Tensor};

use super::positions::interpolate;
use super::{Form, MLP_RATIO, PATCH, host};
use crate::backbone::panels;
use crate::backbone::weights::StateDict;
use crate::device::{download, has_own, plus_row, product, times_row, upload};
use crate::spec::Positions;
use crate::threads::lock;

/// Added to variances before the root, in every normalisation of these networks.
pub const NORM_EPSILON: f64 = 1e-6;

/// A frozen transformer up to its deepest tap.
pub struct Transformer {
    form: Form,
    /// Blocks whose output leaves the network, ascending; the final normalisation counts as the block behind the last one.
    taps: Vec<usize>,
    rule: Positions,
    embedding: Linear,
    /// The class with its position, then the registers: 1 × leading tokens × width.
    leading: Tensor<3>,
    /// Positions of the patches of the grid that was learned, row-major.
    table: Vec<f32>,
    /// The table at the grids that were asked for: 1 × patches × width, by rows and columns.
    placed: Mutex<BTreeMap<[usize; 2], Tensor<3>>>,
    blocks: Blocks,
    /// Weight and bias of the final normalisation, as rows, where a tap is behind it.
    norm: Option<[Tensor<2>; 2]>,
    device: Device,
}

/// The blocks, as whoever computes takes them.
enum Blocks {
    /// By the tensor library.
    Tensors(Vec<Block>),
    /// By our own kernels.
    Processor(Vec<host::Block>),
}

/// A linear layer with what is around it, multiplied out.
pub struct Folded {
    /// Inputs × outputs.
    pub weight: Vec<f32>,
    /// Of each output.
    pub bias: Vec<f32>,
    /// How many there are.
    pub inputs: usize,
}

struct Linear {
    /// Inputs × outputs.
    weight: Tensor<2>,
    /// One row.
    bias: Tensor<2>,
}

impl Linear {
    fn new(folded: Folded, device: &Device) -> Linear {
        let Folded { weight, bias, inputs } = folded;
        let outputs = bias.len();
        Linear { weight: upload(weight, [inputs, outputs], device), bias: upload(bias, [1, outputs], device) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        plus_row(product(x, self.weight.clone()), self.bias.clone())
    }
}

struct Block {
    /// Queries, keys and values, behind the first normalisation.
    attended: Linear,
    projected: Linear,
    hidden: Linear,
    out: Linear,
}

impl Block {
    fn new(layers: [Folded; 4], device: &Device) -> Block {
        let [attended, projected, hidden, out] = layers.map(|folded| Linear::new(folded, device));
        Block { attended, projected, hidden, out }
    }
}

/// Every row with mean 0 and (population) variance 1.
pub fn standardise(x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    centred * (variance + NORM_EPSILON).sqrt().recip()
}

impl Transformer {
    /// Builds the network from `state`, which holds every tensor that `form.tensors` names up to the deepest of `taps` (block
    /// numbers, ascending), in the right shapes. `rule` brings its positions to other grids than the one they were learned for.
    ///
    /// # Panics
    /// When `state` lacks a tensor.
    pub fn new(form: &Form, taps: &[usize], rule: Positions, state: &StateDict, device: &Device) -> Transformer {
        let fold = Fold { state, form };
        let last = taps.last().copied().unwrap_or_default();
        let (class, positions) = (fold.values("cls_token"), fold.values("pos_embed"));
        let mut leading: Vec<f32> = class.iter().zip(positions).map(|(token, position)| token + position).collect();
        if form.registers > 0 {
            leading.extend(fold.values("register_tokens"));
        }
        let patch = 3 * PATCH * PATCH;
        let embedding = Linear::new(fold.linear("patch_embed.proj", [patch, form.width], Around::default()), device);
        let folded = (0..form.depth.min(last + 1)).map(|block| fold.block(block));
        let blocks = match has_own(device) && panels::available() {
            true => Blocks::Processor(folded.map(|layers| host::Block::new(layers, form)).collect()),
            false => Blocks::Tensors(folded.map(|layers| Block::new(layers, device)).collect()),
        };
        let norm = |part: &str| upload(fold.values(&format!("norm.{part}")).to_vec(), [1, form.width], device);
        Transformer {
            form: *form,
            taps: taps.to_vec(),
            rule,
            embedding,
            leading: upload(leading, [1, form.leading(), form.width], device),
            table: positions[form.width..].to_vec(),
            placed: Mutex::default(),
            blocks,
            norm: (last >= form.depth).then(|| ["weight", "bias"].map(norm)),
            device: device.clone(),
        }
    }

    /// Tokens of normalised planes, three of `height` × `width` values for each image: images × tokens × width, one tensor for
    /// each tap. Tokens are the class, registers, and patches row by row.
    ///
    /// # Panics
    /// Sides that are no multiples of the patch: whoever asks has refused them.
    pub fn tokens(&self, planes: Vec<f32>, size: [usize; 2]) -> Vec<Tensor<3>> {
        let x = self.enter(planes, size);
        let [images, count, wide] = x.dims();
        let rows = x.reshape([images * count, wide]);
        let (rows, mut out) = match &self.blocks {
            Blocks::Tensors(blocks) => self.through_tensors(blocks, rows, [images, count, wide]),
            Blocks::Processor(blocks) => self.through_rows(blocks, rows, [images, count, wide]),
        };
        if let Some([weight, bias]) = &self.norm {
            let normal = plus_row(times_row(standardise(rows), weight.clone()), bias.clone());
            out.push(normal.reshape([images, count, wide]));
        }
        out
    }

    /// Tokens of the patches as maps, one tensor for each tap: images × width × rows × columns.
    pub fn maps(&self, planes: Vec<f32>, side: usize) -> Vec<Tensor<4>> {
        let grid = side / PATCH;
        let map = |tokens: Tensor<3>| {
            let [images, count, wide] = tokens.dims();
            let patches = tokens.slice([0..images, self.form.leading()..count, 0..wide]);
            patches.swap_dims(1, 2).reshape([images, wide, grid, grid])
        };
        self.tokens(planes, [side; 2]).into_iter().map(map).collect()
    }

    /// What enters the first block: the class and the registers, then every patch through one linear layer, with its position.
    ///
    /// # Panics
    /// As [`Self::tokens`].
    pub fn enter(&self, planes: Vec<f32>, [height, width]: [usize; 2]) -> Tensor<3> {
        assert!(height % PATCH == 0 && width % PATCH == 0, "{height} × {width} pixels are no patches of {PATCH}");
        let (images, wide) = (planes.len() / (3 * height * width), self.form.width);
        let [rows, columns] = [height / PATCH, width / PATCH];
        let cut: Tensor<6> = upload(planes, [images, 3, rows, PATCH, columns, PATCH], &self.device);
        let patches = cut.permute([0, 2, 4, 1, 3, 5]).reshape([images * rows * columns, 3 * PATCH * PATCH]);
        let embedded = self.embedding.forward(patches).reshape([images, rows * columns, wide]);
        let leading = self.leading.clone().expand([images, self.form.leading(), wide]);
        Tensor::cat(vec![leading, embedded + self.positions([rows, columns])], 1)
    }

    /// Positions of a grid: 1 × patches × width. Made once for each.
    pub fn positions(&self, grid: [usize; 2]) -> Tensor<3> {
        let mut placed = lock(&self.placed);
        let make = || {
            let values = interpolate(&self.table, self.form.grid, self.form.width, grid, self.rule);
            upload(values, [1, grid[0] * grid[1], self.form.width], &self.device)
        };
        placed.entry(grid).or_insert_with(make).clone()
    }

    /// Rows of tokens through all blocks, and what the taps among them give.
    fn through_tensors(&self, blocks: &[Block], x: Tensor<2>, shape: [usize; 3]) -> (Tensor<2>, Vec<Tensor<3>>) {
        let (mut rows, mut out) = (x, Vec::new());
        for (number, block) in blocks.iter().enumerate() {
            rows = self.through(block, rows, shape[0]);
            if self.taps.contains(&number) {
                out.push(rows.clone().reshape(shape));
            }
        }
        (rows, out)
    }

    /// The same by our own kernels.
    fn through_rows(&self, blocks: &[host::Block], x: Tensor<2>, shape: [usize; 3]) -> (Tensor<2>, Vec<Tensor<3>>) {
        let (mut rows, mut scratch, mut out) = (download(x), host::Scratch::default(), Vec::new());
        for (number, block) in blocks.iter().enumerate() {
            block.apply(&mut rows, shape[0], &mut scratch);
            if self.taps.contains(&number) {
                out.push(upload(rows.clone(), shape, &self.device));
            }
        }
        (upload(rows, [shape[0] * shape[1], shape[2]], &self.device), out)
    }

    /// Rows of tokens, image by image, through a block.
    fn through(&self, block: &Block, x: Tensor<2>, images: usize) -> Tensor<2> {
        let Form { width, heads, .. } = self.form;
        let tokens = x.dims()[0] / images;
        let all = block.attended.forward(standardise(x.clone()));
        // Query, key, value; images; heads.
        let all: Tensor<5> = all.reshape([images, tokens, 3, heads, width / heads]);
        let all = all.permute([2, 0, 3, 1, 4]);
        let part = |number: usize| -> Tensor<4> { all.clone().narrow(0, number, 1).squeeze_dim(0) };
        let weights = softmax(product(part(0), part(1).swap_dims(2, 3)), 3);
        let found = product(weights, part(2)).swap_dims(1, 2).reshape([images * tokens, width]);
        let x = x + block.projected.forward(found);
        let hidden = gelu(block.hidden.forward(standardise(x.clone())));
        x + block.out.forward(hidden)
    }
}

/// What is multiplied into a linear layer.
#[derive(Default)]
struct Around<'a> {
    /// Weight and bias of the normalisation in front of it.
    norm: Option<[&'a [f32]; 2]>,
    /// What its outputs are multiplied with.
    scale: Option<Vec<f64>>,
}

struct Fold<'a> {
    state: &'a StateDict,
    form: &'a Form,
}

impl Fold<'_> {
    fn values(&self, name: &str) -> &[f32] {
        let weight = self.state.get(name);
        &weight.unwrap_or_else(|| panic!("{name} was promised to be in the state dictionary")).values
    }

    /// The layers of a block, in the order in which they are used.
    fn block(&self, number: usize) -> [Folded; 4] {
        let Form { width, heads, .. } = *self.form;
        let name = |part: &str| format!("blocks.{number}.{part}");
        let norm = |part: &str| Some(["weight", "bias"].map(|end| self.values(&name(&format!("{part}.{end}")))));
        let gamma = |part: &str| Some(self.values(&name(part)).iter().map(|&value| f64::from(value)).collect());
        // Logits are divided by the root of a head's width.
        let root = 1.0 / ((width / heads) as f64).sqrt();
        let queries = (0..3 * width).map(|output| if output < width { root } else { 1.0 }).collect();
        let hidden = MLP_RATIO * width;
        let scaled = |part: &str| Around { scale: gamma(part), ..Around::default() };
        [
            self.linear(&name("attn.qkv"), [width, 3 * width], Around { norm: norm("norm1"), scale: Some(queries) }),
            self.linear(&name("attn.proj"), [width, width], scaled("ls1.gamma")),
            self.linear(&name("mlp.fc1"), [width, hidden], Around { norm: norm("norm2"), scale: None }),
            self.linear(&name("mlp.fc2"), [hidden, width], scaled("ls2.gamma")),
        ]
    }

    /// A linear layer with what is around it, multiplied out in f64.
    fn linear(&self, name: &str, [inputs, outputs]: [usize; 2], around: Around) -> Folded {
        let (own, own_bias) = (self.values(&format!("{name}.weight")), self.values(&format!("{name}.bias")));
        let mut weight = vec![0.0f32; inputs * outputs];
        let mut bias = vec![0.0f32; outputs];
        for (output, row) in own.chunks_exact(inputs).enumerate() {
            let scale = around.scale.as_ref().map_or(1.0, |scale| scale[output]);
            let mut shift = f64::from(own_bias[output]);
            for (input, &value) in row.iter().enumerate() {
                let mut value = f64::from(value);
                if let Some([gamma, beta]) = around.norm {
                    shift += value * f64::from(beta[input]);
                    value *= f64::from(gamma[input]);
                }
                weight[input * outputs + output] = (value * scale) as f32;
            }
            bias[output] = (shift * scale) as f32;
        }
        Folded { weight, bias, inputs }
    }
}
