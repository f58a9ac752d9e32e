//! The bank of normal patches that several methods have: its settings, and the stage that selects it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BankPart, Given};
use crate::bank::coreset::{Start, coreset_size, greedy_on};
use crate::bank::project::{Projection, ProjectionKind};
use crate::error::Result;
use crate::matrix::Rows;
use crate::plan::{self, Compute, Computed, Features, Graph, Handle, Inputs, Job, Notice, Work};
use crate::random::{Purpose, name_index, stream};
use crate::spec::{MethodFault, Settings};
use crate::store::{Scratch, TensorDecl};

/// What the normal bank holds.
pub const NORMAL_PART: BankPart = BankPart {
    name: "normal",
    label: "M_n (normal)",
    normal: true,
    stage: <SelectNormal as Compute>::KIND,
    rows: None,
};

words! {
    /// Which rows compete for a place in a bank.
    Scope {
        /// All classes together (the papers, the released codes).
        Joint,
        /// Every class gives its share: no class of low variance is starved.
        PerClass,
    }
    /// Greedy coreset semantics.
    Selection {
        /// PatchCore's released code's: distances start as the mean to random rows, which are no members.
        Approximate,
        /// Textbook k-centre: a random row is the first member.
        Plain,
    }
}

tables! {
    /// Normal patches.
    NormalBank {
        /// Share of all normal patches that is kept.
        #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
        ratio: f64 = 0.1,
        /// Which rows compete.
        scope: Scope = Scope::Joint,
        /// Random projection before the coreset; 0 = none.
        #[schemars(range(max = 16384))]
        projection: usize = 128,
        /// How its weights are drawn.
        projection_kind: ProjectionKind = ProjectionKind::Uniform,
        /// Greedy coreset semantics.
        selection: Selection = Selection::Approximate,
        /// Random start rows of the `approximate` selection.
        #[schemars(range(min = 1, max = 1000))]
        starts: usize = 10,
    }
}

tables! {
    /// How rows are selected: `bank.normal` has the same keys.
    Coreset {
        /// Random projection before the selection; 0 = none.
        #[schemars(range(max = 16384))]
        projection: usize = 128,
        /// How its weights are drawn.
        projection_kind: ProjectionKind = ProjectionKind::Uniform,
        /// Greedy coreset semantics.
        selection: Selection = Selection::Approximate,
        /// Random start rows of the `approximate` selection.
        #[schemars(range(min = 1, max = 1000))]
        starts: usize = 10,
    }
}

impl From<&Coreset> for NormalBank {
    fn from(own: &Coreset) -> Self {
        let Coreset { projection, projection_kind, selection, starts } = *own;
        NormalBank { projection, projection_kind, selection, starts, ..NormalBank::default() }
    }
}

impl NormalBank {
    /// Refuses a projection to more columns than there are; `key` is where the bank's settings stand below `method`.
    pub fn check(&self, key: &str, given: &Given) -> Result<(), MethodFault> {
        if self.projection <= given.dim {
            return Ok(());
        }
        let what = format!("a projection to {} columns is wanted of features with {}", self.projection, given.dim);
        Err(MethodFault::new(&format!("{key}.projection"), what).help("0 = no projection"))
    }

    /// The settings that count: without a projection its kind is none.
    pub fn in_effect(&self) -> NormalBank {
        let projection_kind = if self.projection == 0 { ProjectionKind::default() } else { self.projection_kind };
        NormalBank { projection_kind, ..self.clone() }
    }

    /// How rows are selected, whichever they are and however many: what other banks of the method take from this one.
    pub fn selection_only(&self) -> NormalBank {
        let NormalBank { ratio, scope, .. } = NormalBank::default();
        NormalBank { ratio, scope, ..self.in_effect() }
    }

    /// The classes among `names` whose names decide their draws; none where all rows compete.
    pub fn drawn_for(&self, names: &[String]) -> Vec<String> {
        if self.scope == Scope::PerClass { names.to_vec() } else { Vec::new() }
    }

    /// Adds the bank of the normal patches of all classes.
    pub fn stage(&self, graph: &mut Graph, inputs: &Inputs) -> Handle<plan::OriginRows> {
        let names: Vec<String> = inputs.classes.iter().map(|class| class.name.clone()).collect();
        graph.add(SelectNormal {
            settings: self.in_effect().into(),
            seed: inputs.seed,
            drawn_for: self.drawn_for(&names),
            train: inputs.train(),
            names,
            rows: inputs.shape().images * inputs.patches(),
            dim: inputs.dim,
        })
    }

    /// How many rows are selected, at most, of lists of so many.
    pub fn most(&self, rows: impl Iterator<Item = usize>) -> usize {
        match self.scope {
            Scope::PerClass => rows.map(|own| coreset_size(own, self.ratio)).sum(),
            Scope::Joint => coreset_size(rows.sum(), self.ratio),
        }
    }

    /// What selecting this share of so many rows is expected to cost.
    pub fn work(&self, rows: usize, ratio: f64, dim: usize) -> Work {
        let picks = coreset_size(rows, ratio);
        let width = if self.projection == 0 { dim } else { self.projection };
        let projecting = 2.0 * (rows * self.projection * dim) as f64;
        // Two f64 per row, and copies of the rows in the pool.
        Work::matrix(picks, dim, projecting + 2.0 * (rows * width) as f64 * picks as f64)
            .with_memory(16 * rows + 8 * picks * width)
            .on_device(4 * rows * width, 0)
    }

    /// Selects its share of the rows of all parts together, or of those of each class of `drawn_for` alone; numbers count through
    /// the parts.
    ///
    /// # Errors
    /// Those of [`NormalBank::select`].
    pub fn select_by(&self, job: &Job, parts: &[Rows], drawn_for: &[String], seed: u64) -> Result<Vec<usize>> {
        if drawn_for.is_empty() {
            return self.select(job, parts, self.ratio, seed, 0);
        }
        let mut picks = Vec::new();
        for ((part, first), name) in parts.iter().zip(offsets(parts)).zip(drawn_for) {
            // A class may have nothing but background.
            if !part.is_empty() {
                let own = self.select(job, &[*part], self.ratio, seed, name_index(name))?;
                picks.extend(own.into_iter().map(|row| first + row));
            }
        }
        Ok(picks)
    }

    /// Selects a share of the rows of all parts; numbers count through the parts. Draws come from (`seed`, `index`).
    ///
    /// # Errors
    /// A disk that has no room for the projected rows.
    pub fn select(&self, job: &Job, parts: &[Rows], ratio: f64, seed: u64, index: u64) -> Result<Vec<usize>> {
        let total: usize = parts.iter().map(Rows::len).sum();
        let count = coreset_size(total, ratio);
        if total as f64 * ratio < 1.0 {
            let text = format!("a ratio of {ratio} keeps less than one of {total} rows; one is kept");
            (job.notice)(Notice::Remark(text));
        }
        let mut starts = stream(seed, Purpose::CoresetStart, index);
        let start = match self.selection {
            Selection::Approximate => Start::MeanOf(starts.choose(total, self.starts)),
            Selection::Plain => Start::Row(starts.below(total)),
        };
        // One draw for all parts: the projection must be the same matrix for every row.
        let mut weights = stream(seed, Purpose::CoresetProjection, index);
        let projection = Projection::draw(parts[0].cols(), self.projection, self.projection_kind, &mut weights)?;
        let Some(projection) = projection else { return greedy_on(&job.device()?, parts, count, &start) };
        let mut projected: Vec<Scratch> = Vec::new();
        for part in parts {
            let mut room = job.scratch(part.len(), projection.dims())?;
            projection.apply(*part, room.data_mut());
            projected.push(room);
        }
        let rows: Vec<Rows> = projected.iter().map(Scratch::view).collect();
        greedy_on(&job.device()?, &rows, count, &start)
    }
}

/// Selects the bank of normal patches.
#[derive(Serialize)]
pub(super) struct SelectNormal {
    settings: Settings<NormalBank>,
    seed: u64,
    /// With `scope = "per_class"` a class's name decides its draws.
    drawn_for: Vec<String>,
    train: Vec<Handle<Features>>,
    #[serde(skip)]
    names: Vec<String>,
    #[serde(skip)]
    rows: usize,
    #[serde(skip)]
    dim: usize,
}

impl Compute for SelectNormal {
    type Output = plan::OriginRows;
    const KIND: &'static str = "normal_bank";
    const VERSION: u32 = 1;

    fn work(&self) -> Work {
        self.settings.work(self.rows, self.settings.ratio, self.dim)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let parts: Vec<Rows> = self.train.iter().map(|train| job.open(train)).collect::<Result<_>>()?;
        let offsets = offsets(&parts);
        let picks = self.settings.select_by(job, &parts, &self.drawn_for, self.seed)?;
        let tensors = [TensorDecl::f32("rows", &[picks.len(), self.dim]), TensorDecl::u32("origin", &[picks.len()])];
        let mut writer = job.create(tensors.into())?;
        let mut counts = vec![0usize; parts.len()];
        for &pick in &picks {
            let part = offsets.partition_point(|&offset| offset <= pick) - 1;
            counts[part] += 1;
            writer.f32(parts[part].row(pick - offsets[part]))?;
        }
        writer.u32(&picks.iter().map(|&pick| pick as u32).collect::<Vec<_>>())?;
        let by_class = |counts: &[usize]| {
            let named = self.names.iter().cloned().zip(counts.iter().map(|&count| count.into()));
            named.collect::<serde_json::Map<_, _>>()
        };
        let patches: Vec<usize> = parts.iter().map(Rows::len).collect();
        let (rows, patches) = (by_class(&counts), by_class(&patches));
        let note = json!({ "rows": picks.len(), "rows_per_class": rows, "patches_per_class": patches });
        Ok(Computed::new(writer, note))
    }
}

/// First row number of each part when all parts stand one below the other.
pub fn offsets(parts: &[Rows]) -> Vec<usize> {
    let ends = parts.iter().scan(0, |end, part| {
        *end += part.len();
        Some(*end)
    });
    ends.zip(parts).map(|(end, part)| end - part.len()).collect()
}
