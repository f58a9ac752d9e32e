//! The encoder: a frozen network, and its tokens of images (docs/methods/dinomaly.md, Computation).
//!
//! Owns: how maps become layers of tokens and these groups. Does not own: the network (`backbone`).

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::params::{EncoderParams, Layers, NetworkParams, Tokens};
use crate::backbone::{Backbone, Kind, normalise};
use crate::data::decode::Pixels;
use crate::error::{Error, Result};
use crate::maps::upsample;
use crate::plan::{Level, NetworkInput, Pictures};
use crate::train::{Shelf, download, upload};

/// What an encoder's tokens look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Tokens of an image that have no place: class and registers.
    pub prefix: usize,
    /// Side of the square grid of the others.
    pub side: usize,
    /// Values of a token.
    pub width: usize,
    /// Layers, an equal number in each group.
    pub layers: usize,
    /// Groups.
    pub groups: usize,
}

impl Design {
    /// The design for a network that sees square images of `side` pixels.
    ///
    /// # Errors
    /// Maps that are no layers as `encoder` asks for them, layers that groups or widths that heads do not divide, images
    /// that are too small.
    pub fn of(network: &NetworkInput, side: usize, encoder: &EncoderParams, params: &NetworkParams) -> Result<Design> {
        let levels = network.levels(side)?;
        let widths: usize = levels.iter().map(|level| level.channels).sum();
        let (width, layers) = match encoder.layers {
            Layers::Stack => (levels[0].channels, levels.len()),
            Layers::Concat => (widths, 1),
        };
        if encoder.layers == Layers::Stack && levels.iter().any(|level| *level != levels[0]) {
            let told: Vec<String> =
                levels.iter().map(|level| format!("{} × {}²", level.channels, level.side)).collect();
            let what = format!("layers of tokens have one width and one grid, not {}", told.join(", "));
            let help = "name such layers in `backbone.layers`, or set `method.encoder.layers` to concat";
            return Err(Error::usage(what, help));
        }
        let NetworkParams { groups, head_width, .. } = *params;
        if !layers.is_multiple_of(groups) {
            let what = format!("{layers} layers cannot be divided into {groups} equal groups");
            return Err(Error::usage(what, "change `method.network.groups` or `backbone.layers`"));
        }
        if !width.is_multiple_of(head_width) {
            let what = format!("tokens of {width} values cannot be divided into heads of {head_width}");
            return Err(Error::usage(what, "set `method.network.head_width` to a divisor"));
        }
        let prefix = prefix(network, encoder)?;
        Ok(Design { prefix, side: levels[0].side, width, layers, groups })
    }

    /// Tokens of an image.
    pub fn tokens(&self) -> usize {
        self.prefix + self.patches()
    }

    /// Tokens of an image that have a place in its grid.
    pub fn patches(&self) -> usize {
        self.side.pow(2)
    }

    /// Values of all groups of an image.
    pub fn values(&self) -> usize {
        self.groups * self.tokens() * self.width
    }
}

/// Tokens of the decoder that have no place.
fn prefix(network: &NetworkInput, encoder: &EncoderParams) -> Result<usize> {
    let stacked = network.architecture().kind() == Kind::Transformer && encoder.layers == Layers::Stack;
    match encoder.tokens {
        Tokens::All if stacked => Ok(network.architecture().form().leading()),
        Tokens::Recentred if !stacked => {
            let what =
                format!("{} has no class token to take from its layers as they are", network.architecture().name);
            Err(Error::usage(what, "set `method.encoder.tokens` to all, or stack the blocks of a vision transformer"))
        }
        _ => Ok(0),
    }
}

/// A frozen network with lists of images. Its tokens of them are made once, as far as memory goes: of their layers no more
/// is kept than the mean of each group, whose mean is that of all layers.
pub struct Encoder {
    backbone: Backbone,
    levels: Vec<Level>,
    params: EncoderParams,
    design: Design,
    shelf: Shelf<Rows>,
}

/// Tokens of an image: groups × tokens × values.
pub type Rows = Vec<f32>;

impl Encoder {
    /// A network whose tokens of `lists` may take so many bytes of memory between two looks.
    ///
    /// # Errors
    /// Whatever can be wrong with a weights file.
    pub fn new(
        network: &NetworkInput,
        (params, design): (&EncoderParams, &Design),
        lists: Vec<Pictures>,
        memory_bytes: u64,
        (side, device): (usize, &Device),
    ) -> Result<Self> {
        Ok(Encoder {
            backbone: network.frozen(device)?,
            levels: network.levels(side)?,
            params: params.clone(),
            design: design.clone(),
            shelf: Shelf::of(lists, memory_bytes, 4 * design.values()),
        })
    }

    /// List and number within the list of every image.
    pub fn images(&self) -> Vec<(usize, usize)> {
        self.shelf.images()
    }

    /// Tokens of an image of a list.
    ///
    /// # Errors
    /// A file that cannot be decoded any more.
    pub fn rows(&self, image: (usize, usize)) -> Result<Arc<Rows>> {
        self.shelf.made(image, |pixels| self.look(&pixels))
    }

    /// Tokens of any image. Each passes alone, so that they depend on nothing else.
    ///
    /// # Errors
    /// An image of a size that the network does not take.
    pub fn look(&self, image: &Pixels) -> Result<Rows> {
        let layers = match (self.params.layers, self.backbone.architecture.kind()) {
            (Layers::Concat, _) => vec![self.side_by_side(self.backbone.forward(&[&image.data], image.width)?)],
            (Layers::Stack, Kind::Transformer) => self.blocks(image)?,
            (Layers::Stack, Kind::Convolutions) => {
                self.backbone.forward(&[&image.data], image.width)?.into_iter().map(places).collect()
            }
        };
        let groups = layers.chunks(layers.len() / self.design.groups).map(super::network::mean);
        Ok(download(Tensor::cat(groups.collect(), 0)))
    }

    /// The tokens of a transformer's blocks, those that are asked for.
    fn blocks(&self, image: &Pixels) -> Result<Vec<Tensor<2>>> {
        let (architecture, mut planes) = (self.backbone.architecture, Vec::new());
        normalise(&image.data, architecture, &mut planes);
        let (leading, patches) = (architecture.form().leading(), self.design.patches());
        let own = |tokens: Tensor<3>| {
            let [_, count, width] = tokens.dims();
            let all: Tensor<2> = tokens.reshape([count, width]);
            let placed = all.clone().narrow(0, leading, patches);
            match self.params.tokens {
                Tokens::All => all,
                Tokens::Patches => placed,
                Tokens::Recentred => placed - all.narrow(0, 0, 1),
            }
        };
        Ok(self.backbone.tokens(planes, image.width)?.into_iter().map(own).collect())
    }

    /// All maps at the finest grid, channels of the first one first: one layer.
    fn side_by_side(&self, maps: Vec<Tensor<4>>) -> Tensor<2> {
        let (side, device) = (self.design.side, maps[0].device());
        let enlarged = maps.into_iter().zip(&self.levels).flat_map(|(map, level)| {
            let (own, values) = (level.side, download(map));
            let channels = values.chunks(own * own);
            channels.flat_map(|channel| upsample(channel, (own, own), (side, side))).collect::<Vec<f32>>()
        });
        upload(enlarged.collect(), [self.design.width, side * side], &device).transpose()
    }
}

/// The places of a map (1 × channels × rows × columns) one below the other.
fn places(map: Tensor<4>) -> Tensor<2> {
    let [_, channels, rows, columns] = map.dims();
    map.reshape([channels, rows * columns]).transpose()
}

/// Tokens of images as tensors, one for each group: images · tokens × values.
pub fn stack(images: &[Arc<Rows>], design: &Design, device: &Device) -> Vec<Tensor<2>> {
    let (tokens, each) = (design.tokens(), design.tokens() * design.width);
    let of_group = |group: usize| {
        let values: Vec<&[f32]> = images.iter().map(|image| &image[group * each..][..each]).collect();
        upload(values.concat(), [images.len() * tokens, design.width], device)
    };
    (0..design.groups).map(of_group).collect()
}
