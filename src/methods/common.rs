//! Stages that several methods share: the normal bank, and nearest neighbours in a bank.

use serde_json::json;

use crate::bank::coreset::{Start, coreset_size, greedy_in_parts};
use crate::bank::neighbours::nearest_in_parts;
use crate::bank::project::{Kind, Projection};
use crate::error::Result;
use crate::matrix::Rows;
use crate::plan::{Computed, Graph, Inputs, Job, Notice, Stage, StageId, Work};
use crate::random::{Purpose, name_index, stream};
use crate::store::{Scratch, TensorDecl};

/// Which rows compete for a place in the normal bank, and how places are given.
#[derive(Clone, Debug)]
pub struct NormalBankParams {
    /// Share of rows kept.
    pub ratio: f64,
    /// Every class gives its share.
    pub per_class: bool,
    /// How rows are selected.
    pub coreset: CoresetParams,
}

/// How a greedy coreset selects.
#[derive(Clone, Debug)]
pub struct CoresetParams {
    /// Columns of the random projection in front; 0 = none.
    pub projection: usize,
    /// How its weights are drawn.
    pub kind: Kind,
    /// Start from the mean distance to random rows (PatchCore) instead of from one random row.
    pub approximate: bool,
    /// Random rows of that mean.
    pub starts: usize,
}

impl CoresetParams {
    /// What of it decides the selection. The kind of projection is named where it is not the first there was, so that
    /// banks that were selected before there was another keep their keys.
    pub fn json(&self) -> serde_json::Value {
        let mut json = json!({ "projection": self.projection, "approximate": self.approximate, "starts": self.starts });
        if self.projection > 0 && self.kind != Kind::Uniform {
            json["kind"] = json!(self.kind);
        }
        json
    }

    /// What selecting this share of so many rows is expected to cost.
    pub fn work(&self, rows: usize, ratio: f64, dim: usize) -> Work {
        let picks = coreset_size(rows, ratio);
        let width = if self.projection == 0 { dim } else { self.projection };
        let projecting = 2.0 * (rows * self.projection * dim) as f64;
        // Two f64 per row, and copies of the rows in the pool.
        Work::matrix(picks, dim, projecting + 2.0 * (rows * width) as f64 * picks as f64)
            .with_memory(16 * rows + 8 * picks * width)
    }

    /// Selects a share of the rows of all parts; numbers count through the parts. Draws come from (`seed`, `index`).
    pub fn select(&self, job: &Job, parts: &[Rows], ratio: f64, seed: u64, index: u64) -> Result<Vec<usize>> {
        let total: usize = parts.iter().map(Rows::len).sum();
        let count = coreset_size(total, ratio);
        if total as f64 * ratio < 1.0 {
            let text = format!("a ratio of {ratio} keeps less than one of {total} rows; one is kept");
            (job.notice)(Notice::Remark(text));
        }
        let mut starts = stream(seed, Purpose::CoresetStart, index);
        let start = match self.approximate {
            true => Start::MeanOf(starts.choose(total, self.starts)),
            false => Start::Row(starts.below(total)),
        };
        // One draw for all parts: the projection must be the same matrix for every row.
        let projection = Projection::draw(
            parts[0].cols(),
            self.projection,
            self.kind,
            &mut stream(seed, Purpose::CoresetProjection, index),
        )?;
        let mut projected: Vec<Scratch> = Vec::new();
        if let Some(projection) = &projection {
            for part in parts {
                let mut room = job.scratch(part.len(), projection.dims())?;
                projection.apply(*part, room.data_mut());
                projected.push(room);
            }
        }
        let rows: Vec<Rows> = match projection {
            Some(_) => projected.iter().map(Scratch::view).collect(),
            None => parts.to_vec(),
        };
        greedy_in_parts(&rows, count, &start)
    }
}

/// The bank of normal patches: `rows`, and `origin`, the number of each row among all training rows.
pub fn normal_bank<'a>(graph: &mut Graph<'a>, inputs: &Inputs, params: &NormalBankParams) -> StageId {
    let (params, seed) = (params.clone(), inputs.seed);
    let names: Vec<String> = inputs.classes.iter().map(|class| class.name.clone()).collect();
    let dim = inputs.dim;
    let work = params.coreset.work(inputs.train_images() * inputs.patches(), params.ratio, dim);
    graph.add(Stage {
        kind: "normal_bank",
        version: 1,
        params: json!({
            "ratio": params.ratio, "per_class": params.per_class, "coreset": params.coreset.json(), "seed": seed,
            "classes": if params.per_class { names.clone() } else { Vec::new() },
        }),
        inputs: inputs.classes.iter().map(|class| class.train).collect(),
        images: String::new(),
        weights: String::new(),
        label: "normal bank".into(),
        work,
        compute: Box::new(move |job| compute_normal_bank(job, &params, &names, dim, seed)),
    })
}

fn compute_normal_bank(
    job: &Job,
    params: &NormalBankParams,
    names: &[String],
    dim: usize,
    seed: u64,
) -> Result<Computed> {
    let parts: Vec<Rows> = job.inputs.iter().map(|input| input.rows("features")).collect::<Result<_>>()?;
    let offsets = offsets(&parts);
    let mut picks = Vec::new();
    if params.per_class {
        for ((part, offset), name) in parts.iter().zip(&offsets).zip(names) {
            let own = params.coreset.select(job, &[*part], params.ratio, seed, name_index(name))?;
            picks.extend(own.into_iter().map(|row| row + offset));
        }
    } else {
        picks = params.coreset.select(job, &parts, params.ratio, seed, 0)?;
    }
    let mut writer =
        job.create(vec![TensorDecl::f32("rows", &[picks.len(), dim]), TensorDecl::u32("origin", &[picks.len()])])?;
    let mut counts = vec![0usize; parts.len()];
    for &pick in &picks {
        let part = offsets.partition_point(|&offset| offset <= pick) - 1;
        counts[part] += 1;
        writer.f32(parts[part].row(pick - offsets[part]))?;
    }
    writer.u32(&picks.iter().map(|&pick| pick as u32).collect::<Vec<_>>())?;
    let per_class: serde_json::Map<_, _> = names.iter().cloned().zip(counts.into_iter().map(Into::into)).collect();
    Ok(Computed::new(writer, json!({ "rows": picks.len(), "rows_per_class": per_class })))
}

/// First row number of each part when all parts stand one below the other.
pub fn offsets(parts: &[Rows]) -> Vec<usize> {
    parts
        .iter()
        .scan(0, |next, part| {
            let offset = *next;
            *next += part.len();
            Some(offset)
        })
        .collect()
}

/// Who may not be whose neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exclude {
    /// Everyone may.
    Nothing,
    /// The query with this number (plus `first`) is not its own neighbour; the bank tells the origin of its rows.
    Itself { first: usize },
    /// Queries and bank rows of one image; both tell their image.
    SameImage,
}

/// Rows of a stage's artifact.
#[derive(Clone, Copy, Debug)]
pub struct RowsOf {
    /// The stage.
    pub stage: StageId,
    /// The tensor.
    pub tensor: &'static str,
}

/// Exact nearest neighbours of `queries` in `bank`: `index` and `distance`, one of each per query.
pub fn neighbours<'a>(graph: &mut Graph<'a>, queries: RowsOf, bank: RowsOf, exclude: Exclude, label: &str) -> StageId {
    let (asked, known) = (graph.stage(queries.stage).work, graph.stage(bank.stage).work);
    let operations = 2.0 * asked.rows as f64 * (known.rows * known.cols) as f64;
    // Bank rows are packed for the search, and each query has a norm and an answer.
    let work = Work::matrix(asked.rows, 2, operations).with_memory(16 * asked.rows + 4 * known.rows * known.cols);
    graph.add(Stage {
        kind: "neighbours",
        version: 1,
        params: json!({ "queries": queries.tensor, "bank": bank.tensor, "exclude": format!("{exclude:?}") }),
        inputs: vec![queries.stage, bank.stage],
        images: String::new(),
        weights: String::new(),
        label: label.into(),
        work,
        compute: Box::new(move |job| {
            let (rows, bank_rows) = (job.inputs[0].rows(queries.tensor)?, job.inputs[1].rows(bank.tensor)?);
            let groups = match exclude {
                Exclude::Nothing => None,
                Exclude::Itself { first } => {
                    let own = (first as u32..).take(rows.len()).collect();
                    Some((own, job.inputs[1].u32("origin")?.to_vec()))
                }
                Exclude::SameImage => {
                    Some((job.inputs[0].u32("image")?.to_vec(), job.inputs[1].u32("image")?.to_vec()))
                }
            };
            let groups = groups.as_ref().map(|(a, b): &(Vec<u32>, Vec<u32>)| (a.as_slice(), b.as_slice()));
            let found = nearest_in_parts(rows, &[bank_rows], groups)?;
            let count = found.index.len();
            let mut writer =
                job.create(vec![TensorDecl::u32("index", &[count]), TensorDecl::f32("distance", &[count])])?;
            writer.u32(&found.index)?;
            writer.f32(&found.distance)?;
            Ok(Computed::new(writer, json!({ "queries": count })))
        }),
    })
}
