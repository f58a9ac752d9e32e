//! PaDiM: a Gaussian for every patch position, scored by Mahalanobis distance (Defard et al. 2021, arXiv 2011.08785).

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::trial::{Differs, Knob, Promise, Trial};
use super::{Given, Method, Outputs, Parameters, Scoring, Select};
use crate::error::Result;
use crate::matrix::Rows;
use crate::plan::{Compute, Computed, Features, Graph, Handle, Inputs, Job, Model, Scores, StageKind, Work};
use crate::random::{Purpose, stream};
use crate::spec::{MethodFault, Settings};
use crate::store::TensorDecl;

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

impl Parameters for Params {
    const NAME: &'static str = "padim";
    const ABOUT: &'static str = "PaDiM: a Gaussian for every patch position (arXiv 2011.08785)";
    const BACKBONE: &'static str = "";
    const STAGES: &'static [StageKind] = &[StageKind::of::<Fit>(), StageKind::of::<Score>()];
    const TRIAL: &'static Trial = &TRIAL;
}

impl Method for Params {
    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        if self.dims > given.dim {
            let what = format!("{} columns are wanted of features that have {}", self.dims, given.dim);
            return Err(MethodFault::new("dims", what));
        }
        Ok(())
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let mut columns = stream(inputs.seed, Purpose::CoresetProjection, 0).choose(inputs.dim, self.dims);
        columns.sort_unstable();
        let (patches, images) = (inputs.patches(), inputs.shape().images);
        // The Gaussian on the map comes later: it is no part of what is fitted.
        let settings = Settings::from(Params { sigma: Params::default().sigma, ..self.clone() });
        let model = graph.add(Fit { settings, columns: columns.clone(), train: inputs.train(), patches, images });
        let score = |tested: &'a crate::plan::Tested| {
            let (columns, model, name) = (columns.clone(), model.clone(), tested.name.as_str());
            graph.add(Score { columns, features: tested.pool.clone(), model, images: &tested.images, patches, name })
        };
        Ok(Outputs { scores: inputs.tested.iter().map(score).collect(), model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        Scoring { top_k: 1, sigma: self.sigma, align_corners: false, select: Select::Last, ..Scoring::default() }
    }
}

/// Fits the Gaussians. What a stage serialises is its key; what is skipped must follow from that.
#[derive(Serialize)]
struct Fit {
    settings: Settings<Params>,
    columns: Vec<usize>,
    train: Vec<Handle<Features>>,
    #[serde(skip)]
    patches: usize,
    #[serde(skip)]
    images: usize,
}

impl Compute for Fit {
    type Output = Model;
    const KIND: &'static str = "training";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        "Gaussians".into()
    }

    fn work(&self) -> Work {
        let dims = self.columns.len();
        Work::matrix(self.patches, dims * (dims + 1), (self.images * self.patches * dims * dims) as f64)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let parts: Vec<Rows> = self.train.iter().map(|train| job.open(train)).collect::<Result<_>>()?;
        fit(job, &parts, &self.columns, self.settings.epsilon, self.patches)
    }
}

/// Scores images.
#[derive(Serialize)]
struct Score<'a> {
    columns: Vec<usize>,
    features: Handle<Features>,
    model: Handle<Model>,
    images: &'a [usize],
    #[serde(skip)]
    patches: usize,
    #[serde(skip)]
    name: &'a str,
}

impl Compute for Score<'_> {
    type Output = Scores;
    const KIND: &'static str = "scores";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        format!("{} scores", self.name)
    }

    fn work(&self) -> Work {
        let rows = self.images.len() * self.patches;
        Work::matrix(rows, 1, (rows * self.columns.len().pow(2)) as f64)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let (features, model) = (job.open(&self.features)?, job.open(&self.model)?);
        let (means, factors) = (model.rows("00000/mean")?, model.rows("00000/factor")?);
        let mut writer = job.create(vec![TensorDecl::f32("scores", &[1, self.images.len(), self.patches])])?;
        for &image in self.images {
            let distance = |position: usize| {
                let x = pick(features.row(image * self.patches + position), &self.columns);
                mahalanobis(&x, means.row(position), factors.row(position))
            };
            writer.f32(&(0..self.patches).into_par_iter().map(distance).collect::<Vec<f32>>())?;
        }
        Ok(Computed::new(writer, json!({ "images": self.images.len() })))
    }
}

/// Mean and Cholesky factor of the covariance of every position, over the images of all classes.
fn fit(job: &Job, parts: &[Rows], columns: &[usize], epsilon: f64, patches: usize) -> Result<Computed> {
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

/// ‖L⁻¹(x − µ)‖.
fn mahalanobis(x: &[f64], mean: &[f32], factor: &[f32]) -> f32 {
    let mut y = vec![0.0; x.len()];
    for i in 0..x.len() {
        let known: f64 = (0..i).map(|k| f64::from(factor[i * x.len() + k]) * y[k]).sum();
        y[i] = (x[i] - f64::from(mean[i]) - known) / f64::from(factor[i * x.len() + i]);
    }
    y.iter().map(|value| value * value).sum::<f64>().sqrt() as f32
}
