//! UniAD's transformer: neighbour-masked attention, layers with a learned query each (paper §3;
//! docs/methods/uniad.md, Computation).
//!
//! Tokens are matrices: images one below the other, `grid` positions each in row-major order.

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor, activation};

use super::params::{Mask, NetworkParams, Params};
use crate::random::{Purpose, Stream, stream};
use crate::train::{Dropout, LAYER_NORM_EPSILON, Parameters, layer_norm, linear, product, upload};

/// The network's shape: what the parameters alone do not say.
#[derive(Clone, Debug)]
pub struct Network {
    params: NetworkParams,
    mask: Mask,
    grid: (usize, usize),
    channels: usize,
    /// What is added to attention, on the device that asked first.
    forbidden: OnceLock<Tensor<4>>,
}

impl Network {
    /// The network for tokens of `channels` values on a `grid` of rows and columns.
    pub fn new(params: &Params, grid: (usize, usize), channels: usize) -> Self {
        Network {
            params: params.network.clone(),
            mask: params.mask.clone(),
            grid,
            channels,
            forbidden: OnceLock::new(),
        }
    }

    /// Tokens per image.
    pub fn positions(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        let NetworkParams { hidden, encoder_layers, decoder_layers, .. } = self.params;
        let norm = 2 * hidden;
        let encoder = self.attention_size() + self.feed_forward_size() + 2 * norm;
        let query = self.positions() * hidden;
        let decoder = 2 * self.attention_size() + self.feed_forward_size() + 3 * norm + query;
        let ends = 2 * hidden * self.channels + hidden + self.channels + (self.grid.0 + self.grid.1) * (hidden / 2);
        ends + encoder_layers * encoder + decoder_layers * decoder + norm
    }

    fn attention_size(&self) -> usize {
        4 * (self.params.hidden + 1) * self.params.hidden
    }

    fn feed_forward_size(&self) -> usize {
        2 * self.params.hidden * self.params.feed_forward + self.params.hidden + self.params.feed_forward
    }

    /// Floating-point operations of one image's way forward, roughly.
    pub fn operations(&self) -> f64 {
        let positions = self.positions() as f64;
        let attentions = (self.params.encoder_layers + 2 * self.params.decoder_layers) as f64;
        2.0 * positions * self.size() as f64 + 4.0 * positions * positions * self.params.hidden as f64 * attentions
    }

    /// Values that one image leaves behind for the way back, roughly.
    pub fn activations(&self) -> usize {
        let NetworkParams { hidden, feed_forward, encoder_layers, decoder_layers, .. } = self.params;
        let attention = 4 * self.attention_weights() + 10 * self.positions() * hidden;
        let rest = self.positions() * (8 * hidden + 3 * feed_forward);
        (encoder_layers + 2 * decoder_layers) * attention + (encoder_layers + decoder_layers) * rest
    }

    /// Weights of all heads of one attention in one image: the largest tensor there is.
    pub fn attention_weights(&self) -> usize {
        self.params.heads * self.positions() * self.positions()
    }

    /// Freshly drawn parameters: Xavier-uniform weights (queries, keys and values as one matrix), zero biases, standard
    /// normal queries, positions uniform in [0, 1) (docs/methods/uniad.md, Fixed).
    pub fn initial(&self, seed: u64, device: &Device) -> Parameters {
        let NetworkParams { hidden, feed_forward, .. } = self.params;
        let mut initial = Initial { parameters: Parameters::default(), seed, device: device.clone() };
        initial.linear("input", self.channels, hidden, self.channels + hidden);
        initial.linear("output", hidden, self.channels, self.channels + hidden);
        initial.positions("position.rows", [self.grid.0, hidden / 2]);
        initial.positions("position.columns", [self.grid.1, hidden / 2]);
        for layer in 0..self.params.encoder_layers {
            let name = format!("encoder.{layer}");
            initial.attention(&format!("{name}.attention"), hidden);
            initial.feed_forward(&name, hidden, feed_forward);
            (1..=2).for_each(|norm| initial.norm(&format!("{name}.norm{norm}"), hidden));
        }
        for layer in 0..self.params.decoder_layers {
            let name = format!("decoder.{layer}");
            initial.query(&format!("{name}.query"), [self.positions(), hidden]);
            initial.attention(&format!("{name}.memory"), hidden);
            initial.attention(&format!("{name}.previous"), hidden);
            initial.feed_forward(&name, hidden, feed_forward);
            (1..=3).for_each(|norm| initial.norm(&format!("{name}.norm{norm}"), hidden));
        }
        initial.norm("decoder.norm", hidden);
        initial.parameters
    }

    /// Parameters whose gradient is zero but for rounding: a key's bias shifts all logits of a query alike.
    pub fn zero_gradient(&self) -> Vec<String> {
        let encoder = (0..self.params.encoder_layers).map(|layer| format!("encoder.{layer}.attention.key.bias"));
        let decoder = (0..self.params.decoder_layers)
            .flat_map(|layer| ["memory", "previous"].map(|part| format!("decoder.{layer}.{part}.key.bias")));
        encoder.chain(decoder).collect()
    }

    /// True where the query (row) must not look at the key (column): positions × positions, row-major.
    pub fn neighbours(&self) -> Vec<bool> {
        let (reach, columns) = (self.mask.size / 2, self.grid.1);
        let near = |a: usize, b: usize| {
            (a / columns).abs_diff(b / columns) <= reach && (a % columns).abs_diff(b % columns) <= reach
        };
        let positions = self.positions();
        (0..positions * positions).map(|index| near(index / positions, index % positions)).collect()
    }

    /// Brings to a device what does not change from pass to pass.
    pub fn prepare(&self, device: &Device) {
        self.forbidden(device);
    }

    /// −∞ where the query must not look at the key, else 0; uploaded once.
    fn forbidden(&self, device: &Device) -> Tensor<4> {
        let make = || {
            let values = self.neighbours().into_iter().map(|near| if near { f32::NEG_INFINITY } else { 0.0 });
            upload(values.collect(), [1, 1, self.positions(), self.positions()], device)
        };
        let known = self.forbidden.get_or_init(make);
        if known.device() == *device { known.clone() } else { make() }
    }

    /// Whether every position has something left to look at; without, its softmax would be 0 / 0.
    pub fn every_position_sees(&self) -> bool {
        let Mask { size, encoder, decoder_memory, decoder_previous } = self.mask;
        let masked = encoder || decoder_memory || decoder_previous;
        // The middle of a side of n has n / 2 positions on its longer side.
        !masked || [self.grid.0, self.grid.1].iter().any(|side| side / 2 > size / 2)
    }

    /// One pass over `images` images.
    pub fn pass<'a>(&'a self, parameters: &'a Parameters, images: usize, dropout: Dropout) -> Pass<'a> {
        let (rows, columns) = (parameters.get("position.rows"), parameters.get("position.columns"));
        let half = self.params.hidden / 2;
        // Columns first, then rows: the order of the released code, which its weights need.
        let spread =
            |table: Tensor<2>, shape: [usize; 3]| table.reshape(shape).expand([self.grid.0, self.grid.1, half]);
        let columns = spread(columns, [1, self.grid.1, half]);
        let rows = spread(rows, [self.grid.0, 1, half]);
        let position = Tensor::cat(vec![columns, rows], 2).reshape([self.positions(), self.params.hidden]);
        let forbidden = self.forbidden(&position.device());
        Pass { network: self, parameters, images, dropout, position, forbidden }
    }

    /// The reconstruction of `tokens` (images · positions × channels), in evaluation.
    pub fn reconstruct(&self, parameters: &Parameters, tokens: Tensor<2>) -> Tensor<2> {
        let images = tokens.dims()[0] / self.positions();
        self.pass(parameters, images, Dropout::none()).reconstruct(tokens)
    }
}

/// Parameters while they are drawn; each tensor has its own stream, numbered by what was there before.
struct Initial {
    parameters: Parameters,
    seed: u64,
    device: Device,
}

impl Initial {
    fn draws(&self) -> Stream {
        stream(self.seed, Purpose::InitialWeights, self.parameters.learned_names().count() as u64)
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize, fans: usize) {
        let mut weight = vec![0.0; inputs * outputs];
        self.draws().fill_uniform(&mut weight, (6.0 / fans as f64).sqrt());
        self.parameters.insert(&format!("{name}.weight"), weight, [outputs, inputs], &self.device);
        self.parameters.insert(&format!("{name}.bias"), vec![0.0; outputs], [1, outputs], &self.device);
    }

    fn attention(&mut self, name: &str, hidden: usize) {
        for part in ["query", "key", "value"] {
            self.linear(&format!("{name}.{part}"), hidden, hidden, 4 * hidden);
        }
        self.linear(&format!("{name}.out"), hidden, hidden, 2 * hidden);
    }

    fn feed_forward(&mut self, name: &str, hidden: usize, inner: usize) {
        self.linear(&format!("{name}.linear1"), hidden, inner, hidden + inner);
        self.linear(&format!("{name}.linear2"), inner, hidden, hidden + inner);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.parameters.insert(&format!("{name}.weight"), vec![1.0; width], [1, width], &self.device);
        self.parameters.insert(&format!("{name}.bias"), vec![0.0; width], [1, width], &self.device);
    }

    fn positions(&mut self, name: &str, shape: [usize; 2]) {
        let mut table = vec![0.0; shape[0] * shape[1]];
        self.draws().fill_uniform(&mut table, 0.5);
        table.iter_mut().for_each(|value| *value += 0.5);
        self.parameters.insert(name, table, shape, &self.device);
    }

    fn query(&mut self, name: &str, shape: [usize; 2]) {
        let mut table = vec![0.0; shape[0] * shape[1]];
        self.draws().fill_normal(&mut table, 1.0);
        self.parameters.insert(name, table, shape, &self.device);
    }
}

/// One pass through the network.
pub struct Pass<'a> {
    network: &'a Network,
    parameters: &'a Parameters,
    images: usize,
    dropout: Dropout,
    /// Positions × hidden, the same for all images.
    pub position: Tensor<2>,
    forbidden: Tensor<4>,
}

impl Pass<'_> {
    /// Tokens (images · positions × channels) to their reconstruction of the same shape.
    pub fn reconstruct(&mut self, tokens: Tensor<2>) -> Tensor<2> {
        let mut memory = self.embed(tokens);
        for layer in 0..self.network.params.encoder_layers {
            memory = self.encoder_layer(layer, memory);
        }
        let mut out = memory.clone();
        for layer in 0..self.network.params.decoder_layers {
            out = self.decoder_layer(layer, out, memory.clone());
        }
        self.finish(out)
    }

    /// Channels to hidden width.
    pub fn embed(&self, tokens: Tensor<2>) -> Tensor<2> {
        linear(self.parameters, "input", tokens)
    }

    /// Self-attention and feed-forward, each added and normalised.
    pub fn encoder_layer(&mut self, layer: usize, x: Tensor<2>) -> Tensor<2> {
        let name = format!("encoder.{layer}");
        let attended = self.self_attention(layer, x.clone());
        let x = x + self.dropout.apply(attended);
        let x = layer_norm(self.parameters, &format!("{name}.norm1"), x, LAYER_NORM_EPSILON);
        self.feed_forward(&name, "norm2", x)
    }

    /// The attention term of an encoder layer.
    pub fn self_attention(&mut self, layer: usize, x: Tensor<2>) -> Tensor<2> {
        let placed = self.placed(x.clone());
        self.attention(&format!("encoder.{layer}.attention"), self.network.mask.encoder, placed.clone(), placed, x)
    }

    /// From the layer's own query: what it finds in `memory`, then what it finds in the `previous` layer's output.
    pub fn decoder_layer(&mut self, layer: usize, previous: Tensor<2>, memory: Tensor<2>) -> Tensor<2> {
        let name = format!("decoder.{layer}");
        let own = self.parameters.get(&format!("{name}.query"));
        let query = own.clone() + self.position.clone();
        let keys = self.placed(memory.clone());
        let mask = &self.network.mask;
        let found = self.attention(&format!("{name}.memory"), mask.decoder_memory, query, keys, memory);
        let found = self.dropout.apply(found);
        let x = layer_norm(self.parameters, &format!("{name}.norm1"), self.add_to_each(found, own), LAYER_NORM_EPSILON);
        let (query, keys) = (self.placed(x.clone()), self.placed(previous.clone()));
        let found = self.attention(&format!("{name}.previous"), mask.decoder_previous, query, keys, previous);
        let x = x + self.dropout.apply(found);
        let x = layer_norm(self.parameters, &format!("{name}.norm2"), x, LAYER_NORM_EPSILON);
        self.feed_forward(&name, "norm3", x)
    }

    /// The decoder's last normalisation.
    pub fn normalise(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(self.parameters, "decoder.norm", x, LAYER_NORM_EPSILON)
    }

    /// Last normalisation, and hidden width back to channels.
    pub fn finish(&self, x: Tensor<2>) -> Tensor<2> {
        linear(self.parameters, "output", self.normalise(x))
    }

    fn feed_forward(&mut self, name: &str, norm: &str, x: Tensor<2>) -> Tensor<2> {
        let inner = activation::relu(linear(self.parameters, &format!("{name}.linear1"), x.clone()));
        let inner = self.dropout.apply(inner);
        let out = linear(self.parameters, &format!("{name}.linear2"), inner);
        let x = x + self.dropout.apply(out);
        layer_norm(self.parameters, &format!("{name}.{norm}"), x, LAYER_NORM_EPSILON)
    }

    /// Tokens with their position added.
    fn placed(&self, tokens: Tensor<2>) -> Tensor<2> {
        self.add_to_each(tokens, self.position.clone())
    }

    /// Adds `shared` (positions × hidden) to the tokens of each image.
    fn add_to_each(&self, tokens: Tensor<2>, shared: Tensor<2>) -> Tensor<2> {
        let (positions, hidden) = (self.network.positions(), self.network.params.hidden);
        let sum = tokens.reshape([self.images, positions, hidden]) + shared.reshape([1, positions, hidden]);
        sum.reshape([self.images * positions, hidden])
    }

    /// Multi-head attention; `query` holds the tokens of every image, or of one for all. Where `masked`, none looks at its
    /// neighbours.
    ///
    /// Weights are not divided by their sum, the result is: the same numbers with fewer passes over the largest tensors.
    fn attention(&mut self, name: &str, masked: bool, query: Tensor<2>, key: Tensor<2>, value: Tensor<2>) -> Tensor<2> {
        let NetworkParams { hidden, heads, .. } = self.network.params;
        let positions = self.network.positions();
        let part = |part: &str, x: Tensor<2>| {
            let images = x.dims()[0] / positions;
            let x = linear(self.parameters, &format!("{name}.{part}"), x);
            x.reshape([images, positions, heads, hidden / heads]).swap_dims(1, 2)
        };
        let scale = 1.0 / ((hidden / heads) as f64).sqrt();
        let (query, key, value) = (part("query", query) * scale, part("key", key), part("value", value));
        let mut logits = product(query, key.swap_dims(2, 3));
        if masked {
            logits = logits + self.forbidden.clone();
        }
        let largest = logits.clone().detach().max_dim(3);
        let weights = (logits - largest).exp();
        let total = weights.clone().sum_dim(3);
        let found = product(self.dropout.apply(weights), value) / total;
        let found = found.swap_dims(1, 2).reshape([self.images * positions, hidden]);
        linear(self.parameters, &format!("{name}.out"), found)
    }
}
