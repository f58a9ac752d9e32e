//! What DMAD remembers of seen anomalies: M_as and M_p (paper §3.2, Eq. 5–6; docs/methods/dmad.md, Banks).

use serde::Serialize;
use serde_json::json;

use super::banks::OutlierBank;
use super::filter::abnormal_patches;
use super::params::{self, Center, CenterBank, Filter};
use crate::data::{SeenAnomaly, training_mask};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, Rows};
use crate::methods::{BankPart, ChooseRows, NORMAL_PART, Parameters as _};
use crate::plan::{
    Compute, Computed, Content, Handle, HasImages, HasRows, ImageRows, Job, OriginRows, SeenInput, Work, content,
};
use crate::random::{Purpose, stream};
use crate::spec::{Geometry, Settings};
use crate::store::{Artifact, TensorDecl};

/// What the banks hold, for figures.
pub const PARTS: &[BankPart] = &[
    NORMAL_PART,
    abnormal::<OutlierBank>("outlier", "M_o (outliers)", None),
    abnormal::<SeenBank>("seen", "M_as (seen anomalies)", Some(|bank| scattered(bank, false))),
    abnormal::<SeenBank>("center", "M_p (around their centre)", Some(|bank| scattered(bank, true))),
];

const fn abnormal<C: Compute>(name: &'static str, label: &'static str, rows: Option<ChooseRows>) -> BankPart {
    BankPart { name, label, normal: false, stage: C::KIND, rows }
}

/// The bank of seen anomalies says which image a row came from; rows around a centre came from none.
fn scattered(bank: &Artifact, wanted: bool) -> Result<Vec<bool>> {
    Ok(bank.u32("image")?.iter().map(|&image| (image == u32::MAX) == wanted).collect())
}

content! {
    /// What the stage of seen anomalies leaves: rows, and the image and the class each came from.
    SeenRows, (Rows<'a>, &'a [u32], &'a [u32]),
    artifact => Ok((artifact.rows(Self::ROWS)?, artifact.u32("image")?, artifact.u32("class")?)), rows in "rows"
}
impl HasImages for SeenRows {}

/// The abnormal patches of all seen anomalies (M_as): `rows`, with the `image` and `class` each came from.
#[derive(Serialize)]
pub struct SeenPatches {
    pub filter: Settings<Filter>,
    /// Each with the number of its class.
    pub seen: Vec<(usize, SeenInput)>,
    pub geometry: Settings<Geometry>,
    #[serde(skip)]
    pub grid: (usize, usize),
    #[serde(skip)]
    pub dim: usize,
}

impl Compute for SeenPatches {
    type Output = SeenRows;
    const KIND: &'static str = "seen_patches";
    const METHOD: &'static str = params::Params::NAME;
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        "seen anomalies".into()
    }

    fn work(&self) -> Work {
        // How much of an image its defect covers is not known before its mask is read.
        let expected = self.seen.len() * (self.grid.0 * self.grid.1).div_ceil(20);
        Work::matrix(expected, self.dim, (expected * self.dim) as f64).with_memory(4 * expected * self.dim)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let patches = self.grid.0 * self.grid.1;
        let (mut rows, mut images, mut classes, mut fallbacks) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (number, (class, seen)) in self.seen.iter().enumerate() {
            let SeenAnomaly { image, mask, .. } = &seen.anomaly;
            let mask = training_mask(image, mask, Some(&seen.mask), &self.geometry)?;
            let kept = abnormal_patches(&mask, self.geometry.size, self.grid, &self.filter).map_err(|what| {
                Error::data(seen.anomaly.image.place(), what, "set `method.filter.on_empty` to nearest or skip")
            })?;
            fallbacks += usize::from(kept.fallback);
            let own = job.open(&seen.features)?.slice(seen.image * patches..(seen.image + 1) * patches);
            for patch in kept.patches {
                rows.extend_from_slice(own.row(patch));
                images.push(number as u32);
                classes.push(*class as u32);
            }
        }
        let count = images.len();
        let [image, class] = ["image", "class"].map(|name| TensorDecl::u32(name, &[count]));
        let mut writer = job.create(vec![TensorDecl::f32("rows", &[count, self.dim]), image, class])?;
        writer.f32(&rows)?;
        writer.u32(&images)?;
        writer.u32(&classes)?;
        let note = json!({ "rows": count, "images": self.seen.len(), "without_own_patch": fallbacks });
        Ok(Computed::new(writer, note))
    }
}

/// The bank that seen anomalies give: M_as, then M_p (anomaly center sampling, Eq. 6), N(0, std²) around the centres.
/// `rows`, with the `image` each row of M_as came from (`u32::MAX` for M_p).
#[derive(Serialize)]
pub struct SeenBank {
    pub with_seen: bool,
    /// Settings of M_p, and the seed it is drawn from.
    pub center: Option<(Settings<CenterBank>, u64)>,
    pub seen: Handle<SeenRows>,
    /// What noise is relative to.
    pub normal: Option<Handle<OriginRows>>,
    #[serde(skip)]
    pub dim: usize,
}

impl Compute for SeenBank {
    type Output = ImageRows;
    const KIND: &'static str = "seen_bank";
    const METHOD: &'static str = params::Params::NAME;
    const VERSION: u32 = 1;

    fn work(&self) -> Work {
        let seen = self.seen.work.rows;
        let scattered = self.center.as_ref().map_or(0, |(center, _)| (seen as f64 * center.count_ratio) as usize);
        let expected = scattered + if self.with_seen { seen } else { 0 };
        Work::matrix(expected, self.dim, (expected * self.dim) as f64).with_memory(4 * expected * self.dim)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let (seen, seen_images, classes) = job.open(&self.seen)?;
        let (mut rows, mut images) = (Matrix::zeros(0, self.dim), Vec::new());
        if self.with_seen {
            rows.extend(seen);
            images.extend_from_slice(seen_images);
        }
        if let (Some((center, seed)), false) = (&self.center, seen.is_empty()) {
            let scale = match &self.normal {
                Some(normal) => standard_deviation(job.open(normal)?.0),
                None => 1.0,
            };
            rows.extend(scatter(seen, classes, center, scale, *seed).view());
        }
        images.resize(rows.len(), u32::MAX);
        if rows.is_empty() {
            let help = "set `method.filter.on_empty` to nearest";
            return Err(Error::method("no seen anomaly has an abnormal patch", help));
        }
        let count = rows.len();
        let tensors = [TensorDecl::f32("rows", &[count, self.dim]), TensorDecl::u32("image", &[count])];
        let mut writer = job.create(tensors.into())?;
        writer.f32(rows.view().data())?;
        writer.u32(&images)?;
        let own = images.iter().filter(|&&image| image != u32::MAX).count();
        Ok(Computed::new(writer, json!({ "rows": count, "seen": own, "center": count - own })))
    }
}

/// M_p: rows around the centres of the seen patches.
fn scatter(seen: Rows, classes: &[u32], params: &CenterBank, scale: f64, seed: u64) -> Matrix {
    let mut draws = stream(seed, Purpose::CenterNoise, 0);
    let mut out = Matrix::zeros(0, seen.cols());
    let mut row = vec![0.0; seen.cols()];
    for (center, members) in centers(seen, classes, params, seed) {
        for _ in 0..(members as f64 * params.count_ratio) as usize {
            draws.fill_normal(&mut row, params.std * scale);
            row.iter_mut().zip(&center).for_each(|(value, middle)| *value += middle);
            out.extend(Rows::new(&row, seen.cols()));
        }
    }
    out
}

/// Root mean square deviation of all values of a matrix from their mean.
pub fn standard_deviation(rows: Rows) -> f64 {
    let count = rows.data().len().max(1) as f64;
    let mean = rows.data().iter().map(|&v| v as f64).sum::<f64>() / count;
    (rows.data().iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// Centres with the number of rows that each stands for.
fn centers(rows: Rows, classes: &[u32], params: &CenterBank, seed: u64) -> Vec<(Vec<f32>, usize)> {
    let groups: Vec<usize> = match params.center {
        Center::Global => vec![0; rows.len()],
        Center::PerClass => classes.iter().map(|&class| class as usize).collect(),
        Center::Kmeans => kmeans(rows, params.clusters, seed),
    };
    let means = means(rows, &groups);
    match params.center {
        // The released code gives every centre the same number of rows, floor(N / K).
        Center::Kmeans => means.iter().map(|(center, _)| (center.clone(), rows.len() / means.len())).collect(),
        _ => means,
    }
}

fn means(rows: Rows, groups: &[usize]) -> Vec<(Vec<f32>, usize)> {
    let mut sums: std::collections::BTreeMap<usize, (Vec<f64>, usize)> = Default::default();
    for (index, &group) in groups.iter().enumerate() {
        let (sum, members) = sums.entry(group).or_insert_with(|| (vec![0.0; rows.cols()], 0));
        sum.iter_mut().zip(rows.row(index)).for_each(|(total, &value)| *total += value as f64);
        *members += 1;
    }
    let mean = |(sum, members): (Vec<f64>, usize)| {
        (sum.iter().map(|total| (total / members as f64) as f32).collect(), members)
    };
    sums.into_values().map(mean).collect()
}

/// Lloyd's algorithm from random rows, until nothing moves or 100 rounds; the group of every row.
fn kmeans(rows: Rows, clusters: usize, seed: u64) -> Vec<usize> {
    let mut draws = stream(seed, Purpose::CenterStart, 0);
    let mut centers: Vec<Vec<f32>> =
        draws.choose(rows.len(), clusters).into_iter().map(|i| rows.row(i).to_vec()).collect();
    let mut groups = vec![usize::MAX; rows.len()];
    for _ in 0..100 {
        let squared = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| (x as f64 - y as f64).powi(2)).sum::<f64>();
        let nearest = |index: usize| {
            let by_distance = |&a: &usize, &b: &usize| {
                squared(rows.row(index), &centers[a]).total_cmp(&squared(rows.row(index), &centers[b]))
            };
            (0..centers.len()).min_by(by_distance).unwrap_or(0)
        };
        let next: Vec<usize> = (0..rows.len()).map(nearest).collect();
        if next == groups {
            break;
        }
        groups = next;
        let present: std::collections::BTreeSet<usize> = groups.iter().copied().collect();
        for (group, (center, _)) in present.into_iter().zip(means(rows, &groups)) {
            centers[group] = center;
        }
    }
    groups
}
