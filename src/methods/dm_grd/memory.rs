//! DM-GRD's memories: maps of normal images, and of synthetic anomalies (docs/methods/dm_grd.md, Memories).

use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::params::{MemoryParams, Params, SynthesisParams};
use super::sampler::{Pool, teacher_maps};
use crate::device::Chosen;
use crate::error::{Error, Result};
use crate::methods::Parameters as _;
use crate::methods::distillation::Maps;
use crate::plan::{Compute, Computed, Content, HasRows, IsBank, Job, Level, NetworkInput, Pictures, Shape, Work};
use crate::random::{Purpose, stream};
use crate::spec::Settings;
use crate::store::{Artifact, TensorDecl};
use crate::train::Shelf;

/// Maps of images: `level0` …, images × channels × rows × columns; and what figures show of them, `rows`: the means over
/// positions, all levels side by side. `part` is the memory's number, for every row.
#[derive(Clone, PartialEq, Debug)]
pub enum Memory {}

impl Content for Memory {
    type View<'a> = MemoryView<'a>;

    fn open(artifact: &Artifact) -> Result<MemoryView<'_>> {
        let names = (0..).map(level_name).take_while(|name| artifact.tensors().contains_key(name));
        let level = |name: String| Ok((artifact.f32(&name)?, artifact.shape(&name)?));
        Ok(MemoryView { levels: names.map(level).collect::<Result<_>>()? })
    }
}

impl HasRows for Memory {
    const ROWS: &'static str = "rows";
}

impl IsBank for Memory {}

fn level_name(level: usize) -> String {
    format!("level{level}")
}

/// A memory that is looked at.
pub struct MemoryView<'a> {
    levels: Vec<(&'a [f32], &'a [usize])>,
}

impl<'a> MemoryView<'a> {
    /// One of these levels: values, and images × channels × rows × columns.
    pub fn new(levels: Vec<(&'a [f32], &'a [usize])>) -> Self {
        MemoryView { levels }
    }

    /// How many images it has.
    pub fn images(&self) -> usize {
        self.levels.first().map_or(0, |(_, shape)| shape[0])
    }

    /// Channels of a level.
    pub fn channels(&self, level: usize) -> usize {
        self.levels[level].1[1]
    }

    /// Maps of an image at a level.
    pub fn maps(&self, level: usize, image: usize) -> &'a [f32] {
        let (values, shape) = self.levels[level];
        let size = shape[1..].iter().product::<usize>();
        &values[image * size..(image + 1) * size]
    }

    /// Maps of an image at all levels.
    pub fn image(&self, image: usize) -> Maps {
        (0..self.levels.len()).map(|level| self.maps(level, image).to_vec()).collect()
    }

    /// Means over positions at a level, images × channels.
    pub fn keys(&self, level: usize) -> Vec<f32> {
        let channels = self.channels(level);
        (0..self.images()).flat_map(|image| means(self.maps(level, image), channels)).collect()
    }
}

/// Means over positions, one for each channel.
fn means(maps: &[f32], channels: usize) -> Vec<f32> {
    let positions = maps.len() / channels;
    let mean = |map: &[f32]| map.iter().map(|&value| f64::from(value)).sum::<f64>() / positions as f64;
    maps.chunks_exact(positions).map(|map| mean(map) as f32).collect()
}

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum MemoryKind {
    /// That of normal images.
    Normal,
    /// That of synthetic anomalies.
    Abnormal,
}

/// Fills a memory: of every class so many normal images in random order, another one for each memory; for the abnormal one
/// each is made an anomaly.
#[derive(Serialize)]
pub struct FillMemory<'a> {
    pub kind: MemoryKind,
    /// Its size alone.
    pub settings: Settings<MemoryParams>,
    /// How anomalies are made, where they are.
    pub synthesis: Settings<SynthesisParams>,
    pub seed: u64,
    /// Normal images of each class.
    pub normals: Vec<Pictures>,
    /// Textures of each category.
    pub textures: Vec<Pictures>,
    pub network: NetworkInput<'a>,
    pub device: Chosen,
    #[serde(skip)]
    pub shape: Shape,
}

impl FillMemory<'_> {
    /// Class and number of each image, in order.
    fn images(&self) -> Vec<(usize, usize)> {
        let of_class = |(class, list): (usize, &Pictures)| {
            let index = 2 * class as u64 + self.kind as u64;
            let chosen = stream(self.seed, Purpose::MemoryImages, index).choose(list.len(), self.settings.size);
            chosen.into_iter().map(move |image| (class, image))
        };
        self.normals.iter().enumerate().flat_map(of_class).collect()
    }

    fn count(&self) -> usize {
        self.normals.iter().map(|list| list.len().min(self.settings.size)).sum()
    }

    /// Levels; those of an impossible size were refused with the experiment.
    fn levels(&self) -> Vec<Level> {
        self.network.levels(self.shape.side).unwrap_or_default()
    }
}

impl Compute for FillMemory<'_> {
    type Output = Memory;
    const KIND: &'static str = "memory";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        match self.kind {
            MemoryKind::Normal => "normal memory".into(),
            MemoryKind::Abnormal => "abnormal memory".into(),
        }
    }

    fn work(&self) -> Work {
        let (network, taps, side) = (self.network.architecture(), self.network.taps(), self.shape.side);
        let (images, channels) = (self.count(), taps.iter().map(|tap| tap.channels).sum());
        let values: usize = self.levels().iter().map(Level::values).sum();
        let work = Work::matrix(images, channels, images as f64 * network.operations(taps, side));
        let memory = rayon::current_num_threads() * network.memory_bytes(taps, side) + 4 * images * values;
        Work { bytes: work.bytes + 4 * (images * values) as u64, ..work }.with_memory(memory)
    }

    /// # Errors
    /// No training image, an image or weights that cannot be read.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let images = self.images();
        if images.is_empty() {
            return Err(Error::method("there is no training image", "choose classes with normal training images"));
        }
        let params = Params { synthesis: (*self.synthesis).clone(), ..Params::default() };
        let pool = Pool {
            params: &params,
            seed: self.seed,
            normals: Shelf::new(self.normals.clone(), 0),
            images: images.clone(),
            textures: Shelf::new(self.textures.clone(), job.memory_bytes / 4),
            categories: self.textures.len(),
        };
        let backbone = self.network.frozen(&self.device.get()?)?;
        let of_image = |number: usize| {
            let draws = &mut stream(self.seed, Purpose::MemorySynthesis, number as u64);
            let planes = match self.kind {
                MemoryKind::Normal => pool.clean(number, backbone.architecture)?,
                MemoryKind::Abnormal => pool.anomaly(number, backbone.architecture, draws)?,
            };
            teacher_maps(&backbone, planes, self.shape.side)
        };
        let maps = (0..images.len()).into_par_iter().map(of_image).collect::<Result<Vec<Maps>>>()?;
        let levels = self.levels();
        let channels: usize = levels.iter().map(|level| level.channels).sum();
        let level = |(number, level): (usize, &Level)| {
            TensorDecl::f32(&level_name(number), &[images.len(), level.channels, level.side, level.side])
        };
        let mut tensors: Vec<TensorDecl> = levels.iter().enumerate().map(level).collect();
        tensors.extend([TensorDecl::f32("rows", &[images.len(), channels]), TensorDecl::u32("part", &[images.len()])]);
        let mut writer = job.create(tensors)?;
        for level in 0..levels.len() {
            maps.iter().try_for_each(|maps| writer.f32(&maps[level]))?;
        }
        for maps in &maps {
            let own = maps.iter().zip(&levels).flat_map(|(maps, level)| means(maps, level.channels));
            writer.f32(&own.collect::<Vec<_>>())?;
        }
        writer.u32(&vec![self.kind as u32; images.len()])?;
        Ok(Computed::new(writer, json!({ "rows": images.len(), "images": images.len() })))
    }
}

/// The rows of a memory's artifact where it is of this kind.
fn rows_of(artifact: &Artifact, kind: MemoryKind) -> Result<Vec<bool>> {
    Ok(artifact.u32("part")?.iter().map(|&part| part == kind as u32).collect())
}

/// Rows of the memory of normal images.
pub fn normal_rows(artifact: &Artifact) -> Result<Vec<bool>> {
    rows_of(artifact, MemoryKind::Normal)
}

/// Rows of the memory of anomalies.
pub fn abnormal_rows(artifact: &Artifact) -> Result<Vec<bool>> {
    rows_of(artifact, MemoryKind::Abnormal)
}
