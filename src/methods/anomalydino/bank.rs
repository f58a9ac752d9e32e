//! The bank: patches of the references, of length 1 where angles are compared.

use serde::Serialize;
use serde_json::json;

use super::mask::foreground;
use super::params::Metric;
use super::score::of_length_one;
use crate::error::{Error, Result};
use crate::matrix::Rows;
use crate::methods::{NormalBank, offsets};
use crate::plan::{self, Compute, Computed, Features, Handle, Job, Notice, Work};
use crate::spec::Settings;
use crate::store::{Scratch, TensorDecl};

/// Collects the bank.
#[derive(Serialize)]
pub struct CollectReferences {
    /// Features of each class's references.
    pub references: Vec<Handle<Features>>,
    pub metric: Metric,
    /// That of the masks of references, where there are any.
    pub threshold: Option<f64>,
    /// For each class whether its references are masked.
    pub masked: Vec<bool>,
    pub thinning: Option<Thinning>,
    #[serde(skip)]
    pub names: Vec<String>,
    #[serde(skip)]
    pub grid: (usize, usize),
    /// All references, every turn counted.
    #[serde(skip)]
    pub images: usize,
    #[serde(skip)]
    pub dim: usize,
    /// How many references the smallest class is short of.
    #[serde(skip)]
    pub lacking: usize,
}

/// How a bank is thinned.
#[derive(Serialize)]
pub struct Thinning {
    settings: Settings<NormalBank>,
    seed: u64,
    /// With `coreset.scope = "per_class"` a class's name decides its draws.
    drawn_for: Vec<String>,
}

impl Thinning {
    /// For classes of these names; `None` where every row is kept.
    pub fn new(settings: &NormalBank, seed: u64, names: &[String]) -> Option<Thinning> {
        (settings.ratio < 1.0).then(|| Thinning {
            settings: settings.in_effect().into(),
            seed,
            drawn_for: settings.drawn_for(names),
        })
    }
}

impl CollectReferences {
    fn patches(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    /// Numbers of the rows of a class's references that may stand in the bank: no background, and nothing without a direction.
    fn kept(&self, class: usize, rows: Rows) -> Vec<usize> {
        let mut kept = Vec::with_capacity(rows.len());
        for first in (0..rows.len()).step_by(self.patches()) {
            let image = rows.slice(first..first + self.patches());
            let mask = self.threshold.filter(|_| self.masked[class]).map(|at| foreground(image, self.grid, at));
            let has_direction = |row: usize| image.row(row).iter().any(|&value| value != 0.0);
            let stays = |row: &usize| {
                mask.as_ref().is_none_or(|mask| mask[*row]) && (self.metric == Metric::Euclidean || has_direction(*row))
            };
            kept.extend((0..self.patches()).filter(stays).map(|row| first + row));
        }
        kept
    }

    /// The rows of a class as the bank has them.
    fn part(&self, job: &Job, class: usize) -> Result<Scratch> {
        let rows = job.open(&self.references[class])?;
        let kept = self.kept(class, rows);
        let mut out = job.scratch(kept.len(), self.dim)?;
        for (&row, out) in kept.iter().zip(out.data_mut().chunks_exact_mut(self.dim)) {
            match self.metric {
                Metric::Cosine => of_length_one(rows.row(row), out),
                Metric::Euclidean => out.copy_from_slice(rows.row(row)),
            }
        }
        Ok(out)
    }
}

impl Compute for CollectReferences {
    type Output = plan::Bank;
    const KIND: &'static str = "references";
    const METHOD: &'static str = "anomalydino";
    const VERSION: u32 = 1;

    fn work(&self) -> Work {
        let rows = self.images * self.patches();
        match &self.thinning {
            None => Work::matrix(rows, self.dim, (rows * self.dim) as f64).with_memory(4 * rows * self.dim),
            Some(Thinning { settings, .. }) => {
                let work = settings.work(rows, settings.ratio, self.dim);
                work.with_memory(work.memory_bytes as usize + 4 * rows * self.dim)
            }
        }
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        if self.lacking > 0 {
            let text =
                format!("a class is {} images short of the references asked for; all of its are taken", self.lacking);
            (job.notice)(Notice::Remark(text));
        }
        let mut parts = Vec::new();
        for class in 0..self.references.len() {
            parts.push(self.part(job, class)?);
            (job.progress)(class + 1, self.references.len());
        }
        let views: Vec<Rows> = parts.iter().map(Scratch::view).collect();
        let total: usize = views.iter().map(Rows::len).sum();
        if total == 0 {
            let what = "no patch of any reference is left, so nothing has a neighbour";
            return Err(Error::method(what, "lower method.mask.threshold, or set method.mask.references to false"));
        }
        let picks = match &self.thinning {
            Some(Thinning { settings, seed, drawn_for }) => settings.select_by(job, &views, drawn_for, *seed)?,
            None => (0..total).collect(),
        };
        let mut writer = job.create(vec![TensorDecl::f32("rows", &[picks.len(), self.dim])])?;
        let offsets = offsets(&views);
        for &pick in &picks {
            let part = offsets.partition_point(|&offset| offset <= pick) - 1;
            writer.f32(views[part].row(pick - offsets[part]))?;
        }
        let by_class: serde_json::Map<_, _> =
            self.names.iter().cloned().zip(views.iter().map(|part| part.len().into())).collect();
        Ok(Computed::new(writer, json!({ "rows": picks.len(), "patches_per_class": by_class })))
    }
}
