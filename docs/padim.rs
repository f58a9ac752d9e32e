//! PaDiM: a Gaussian for every patch position, scored by Mahalanobis distance (Defard et al. 2021, arXiv 2011.08785).

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::trial::{Differs, Knob, Promise, Trial};
use super::{Entry, Method, Outputs, Scoring, Select};
use crate::error::{Error, Result};
use crate::matrix::Rows;
use crate::plan::{Computed, Graph, Inputs, Job, Stage, Work};
use crate::random::{Purpose, stream};
use crate::spec::{MethodKind, read_params, schema_of, write_params};
use crate::store::TensorDecl;

/// Registry row.
pub const ENTRY: Entry = Entry {
    kind: MethodKind {
        name: "padim",
        about: "PaDiM: a Gaussian for every patch position (arXiv 2011.08785)",
        schema: schema_of::<Params>,
        sections: || json!({}),
        fill: |json| Ok(write_params(&read_params::<Params>(json)?)),
        resolve: |json, _| Ok(json),
    },
    build: |json, seed| {
        let params = read_params(json.clone()).map_err(|fault| Error::method(fault.message, fault.key))?;
        Ok(Box::new(Padim { params, seed }))
    },
    trial: &TRIAL,
};

/// A study of milliseconds, and what every key must change in it: tests hold the method to these rows.
const TRIAL: Trial = Trial {
    study: r#"
[method]
name = "padim"
dims = 8
sigma = 1.0
"#,
    large: &[],
    knobs: &[
        Knob::new("dims", &["8", "16"], Differs::Patches).promises(&[Promise::MoreParameters]),
        Knob::new("epsilon", &["0.01", "0.1"], Differs::Patches).promises(&[Promise::LowerPatches]),
        Knob::new("sigma", &["0.0", "1.0", "4.0"], Differs::Metrics).promises(&[Promise::SmootherMaps]),
    ],
};

/// Parameters of `[method]`; documentation and ranges become the JSON Schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Random columns of the features that are kept.
    #[schemars(range(min = 1))]
    pub dims: usize,
    /// Added to the diagonal of every covariance.
    #[schemars(range(min = 0.0))]
    pub epsilon: f64,
    /// Standard deviation of the Gaussian on the map, in pixels of the evaluation size.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub sigma: f64,
}

impl Default for Params {
    fn default() -> Self {
        Params { dims: 100, epsilon: 0.01, sigma: 4.0 }
    }
}

struct Padim {
    params: Params,
    seed: u64,
}

impl Method for Padim {
    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let (patches, epsilon) = (inputs.patches(), self.params.epsilon);
        let dims = self.params.dims;
        if dims > inputs.dim {
            let what = format!("{dims} columns are wanted of features that have {}", inputs.dim);
            return Err(Error::method(what, "lower `method.dims`"));
        }
        let mut columns = stream(self.seed, Purpose::CoresetProjection, 0).choose(inputs.dim, dims);
        columns.sort_unstable();
        let (fitted, scored) = (columns.clone(), columns);
        let operations = (inputs.train_images() * patches * dims * dims) as f64;
        let model = graph.add(Stage {
            kind: "training",
            version: 1,
            params: json!({ "method": "padim", "columns": fitted, "epsilon": epsilon }),
            inputs: inputs.classes.iter().map(|class| class.train).collect(),
            images: String::new(),
            weights: String::new(),
            label: "Gaussians".into(),
            work: Work::matrix(patches, dims * (dims + 1), operations),
            compute: Box::new(move |job| fit(job, &fitted, epsilon, patches)),
        });
        let score = |tested: &'a crate::plan::Tested| {
            let (columns, images) = (scored.clone(), &tested.images);
            graph.add(Stage {
                kind: "scores",
                version: 1,
                params: json!({ "method": "padim", "columns": columns, "test": images }),
                inputs: vec![tested.pool, model],
                images: String::new(),
                weights: String::new(),
                label: format!("{} scores", tested.name),
                work: Work::matrix(images.len() * patches, 1, (images.len() * patches * dims * dims) as f64),
                compute: Box::new(move |job| score(job, &columns, images, patches)),
            })
        };
        Ok(Outputs { scores: inputs.tested.iter().map(score).collect(), model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        Scoring { top_k: 1, sigma: self.params.sigma, align_corners: false, select: Select::Last }
    }
}

/// Mean and Cholesky factor of the covariance of every position, over the images of all classes.
fn fit(job: &Job, columns: &[usize], epsilon: f64, patches: usize) -> Result<Computed> {
    let parts: Vec<Rows> = job.inputs.iter().map(|input| input.rows("features")).collect::<Result<_>>()?;
    let gaussians: Vec<(Vec<f64>, Vec<f64>)> = (0..patches)
        .into_par_iter()
        .map(|position| {
            let rows: Vec<Vec<f64>> = parts
                .iter()
                .flat_map(|part| (position..part.len()).step_by(patches).map(|row| pick(part.row(row), columns)))
                .collect();
            gaussian(&rows, epsilon)
        })
        .collect();
    let dims = columns.len();
    // A model's tensors are named by epoch; this one has a single epoch.
    let mut writer = job.create(vec![
        TensorDecl::f32("00000/mean", &[patches, dims]),
        TensorDecl::f32("00000/factor", &[patches, dims * dims]),
    ])?;
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
    gaussians.iter().try_for_each(|(mean, _)| writer.f32(&narrow(mean)))?;
    gaussians.iter().try_for_each(|(_, factor)| writer.f32(&narrow(factor)))?;
    Ok(Computed::new(writer, json!({ "parameters": patches * dims * (dims + 1) })))
}

fn pick(row: &[f32], columns: &[usize]) -> Vec<f64> {
    columns.iter().map(|&column| f64::from(row[column])).collect()
}

fn gaussian(rows: &[Vec<f64>], epsilon: f64) -> (Vec<f64>, Vec<f64>) {
    let (dims, count) = (rows[0].len(), rows.len() as f64);
    let mean: Vec<f64> = (0..dims).map(|d| rows.iter().map(|row| row[d]).sum::<f64>() / count).collect();
    let mut covariance = vec![0.0; dims * dims];
    for row in rows {
        for i in 0..dims {
            for j in 0..=i {
                covariance[i * dims + j] += (row[i] - mean[i]) * (row[j] - mean[j]) / (count - 1.0).max(1.0);
            }
        }
    }
    (0..dims).for_each(|d| covariance[d * dims + d] += epsilon);
    (mean, cholesky(covariance, dims))
}

/// L of A = L·Lᵀ, in the lower triangle.
fn cholesky(mut a: Vec<f64>, dims: usize) -> Vec<f64> {
    for i in 0..dims {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| a[i * dims + k] * a[j * dims + k]).sum();
            let rest = a[i * dims + j] - sum;
            a[i * dims + j] = if i == j { rest.max(1e-12).sqrt() } else { rest / a[j * dims + j] };
        }
    }
    a
}

/// ‖L⁻¹(x − µ)‖ of every patch of every tested image.
fn score(job: &Job, columns: &[usize], images: &[usize], patches: usize) -> Result<Computed> {
    let (features, model) = (job.inputs[0].rows("features")?, &job.inputs[1]);
    let (means, factors) = (model.rows("00000/mean")?, model.rows("00000/factor")?);
    let mut writer = job.create(vec![TensorDecl::f32("scores", &[1, images.len(), patches])])?;
    for &image in images {
        let distance = |position: usize| {
            let x = pick(features.row(image * patches + position), columns);
            let (mean, factor) = (means.row(position), factors.row(position));
            let mut y = vec![0.0; x.len()];
            for i in 0..x.len() {
                let known: f64 = (0..i).map(|k| f64::from(factor[i * x.len() + k]) * y[k]).sum();
                y[i] = (x[i] - f64::from(mean[i]) - known) / f64::from(factor[i * x.len() + i]);
            }
            y.iter().map(|value| value * value).sum::<f64>().sqrt() as f32
        };
        writer.f32(&(0..patches).into_par_iter().map(distance).collect::<Vec<f32>>())?;
    }
    Ok(Computed::new(writer, json!({ "images": images.len() })))
}
