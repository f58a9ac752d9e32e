//! Exact pixel metrics in two passes over the images.
//!
//! Owns: the passes and AUPRO. AUROC, AP and F1max change only at scores that a defect pixel has, and between two of them
//! PRO is constant while the false positive rate advances. So the first pass collects and sorts the defect pixels alone
//! (a few per cent), the second counts all others into the gaps between their scores. Does not own: regions, the
//! formulas of ranking metrics, the legacy forms of PRO.

use rayon::prelude::*;

use super::gaps::{Ladder, count_normals};
use super::ranking::Sweep;
use super::regions::regions;
use super::source::{self, PixelSource, Score};
use super::sum::Sum;
use super::{Metric, NO_NEGATIVE, NO_POSITIVE, Options, Value, pro_legacy};
use crate::error::{Error, Result};
use crate::spec::Pro;

/// False positive rate up to which PRO is integrated.
pub(super) const FPR_LIMIT: f64 = 0.3;

/// What the first pass saw of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageFacts {
    /// Lowest score.
    pub lowest: f64,
    /// Highest score, the image score of methods that have no other.
    pub highest: f64,
    /// All pixels.
    pub pixels: u64,
    /// Defect pixels.
    pub defect_pixels: u64,
    /// Label in the file list.
    pub anomalous: bool,
}

/// Pixel metrics of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelReport {
    /// `pixel_auroc`, `pixel_ap`, `pixel_f1max`, `pixel_pro`, in that order.
    pub metrics: [Metric; 4],
    /// Defect regions of all images.
    pub regions: u64,
    /// Anomalous images without a defect pixel: they keep their label and take part as normal pixels only.
    pub empty_masks: u64,
    /// One entry per image.
    pub images: Vec<ImageFacts>,
}

/// The four pixel metrics over all images of `source`. Memory: one image per thread and about 30 bytes per defect pixel.
///
/// # Errors
/// Whatever loading gives; a score that is NaN or infinite, an image without pixels or with a mask of another size (named
/// with `PixelSource::name`). Of several wrong images the first is named.
pub fn pixel_metrics<P: PixelSource>(source: &P, options: &Options) -> Result<PixelReport> {
    let gathered = gather(source)?;
    let images = &gathered.images;
    let n_pos = gathered.defects.len() as u64;
    let n_neg = images.iter().map(|facts| facts.pixels).sum::<u64>() - n_pos;
    let undefined = if n_pos == 0 { Some(NO_POSITIVE) } else { (n_neg == 0).then_some(NO_NEGATIVE) };
    let [auroc, ap, f1max, pro] = match undefined {
        Some(reason) => [Err(reason); 4],
        None => sweep(source, &gathered, n_neg, options)?,
    };
    let regions = gathered.sizes.len() as u64;
    let metric = |name, value| Metric { name, value, n_pos, n_neg, regions: None };
    let metrics = [
        metric("pixel_auroc", auroc),
        metric("pixel_ap", ap),
        metric("pixel_f1max", f1max),
        Metric { regions: Some(regions), ..metric("pixel_pro", pro) },
    ];
    let empty_masks = images.iter().filter(|facts| facts.anomalous && facts.defect_pixels == 0).count() as u64;
    Ok(PixelReport { metrics, regions, empty_masks, images: gathered.images })
}

/// What the first pass keeps.
struct Gathered<S> {
    /// Score and region of every defect pixel, rising.
    defects: Vec<(S, u32)>,
    /// Pixels of each region, over all images.
    sizes: Vec<u64>,
    images: Vec<ImageFacts>,
}

/// First pass: collects and sorts the defect pixels.
fn gather<P: PixelSource>(source: &P) -> Result<Gathered<P::Score>> {
    let parts: Vec<Result<Gathered<P::Score>>> =
        (0..source.len()).into_par_iter().map(|image| gather_image(source, image)).collect();
    let mut all = Gathered { defects: Vec::new(), sizes: Vec::new(), images: Vec::with_capacity(source.len()) };
    for part in parts {
        let part = part?;
        let offset = all.sizes.len() as u32;
        all.defects.extend(part.defects.iter().map(|&(score, region)| (score, region + offset)));
        all.sizes.extend(part.sizes);
        all.images.extend(part.images);
        // Checked as they arrive: regions are at most as many, so neither count leaves its 32 bits.
        if all.defects.len() > u32::MAX as usize {
            return Err(Error::method("more than 2^32 defect pixels", "evaluate at a lower resolution"));
        }
    }
    all.defects.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    Ok(all)
}

fn gather_image<P: PixelSource>(source: &P, image: usize) -> Result<Gathered<P::Score>> {
    let loaded = source::load(source, image)?;
    let (lowest, highest) = source::extremes(source, image, &loaded)?;
    let found = regions(&loaded.mask, loaded.width);
    let defect_pixels: u64 = found.sizes.iter().sum();
    let mut defects = Vec::with_capacity(defect_pixels as usize);
    for run in &found.runs {
        let line = &loaded.scores[run.row * loaded.width..][run.start..run.end];
        defects.extend(line.iter().map(|&score| (score, run.region as u32)));
    }
    let pixels = loaded.scores.len() as u64;
    let facts = ImageFacts { lowest, highest, pixels, defect_pixels, anomalous: loaded.anomalous };
    Ok(Gathered { defects, sizes: found.sizes, images: vec![facts] })
}

/// Second pass and the walk down the defect scores: AUROC, AP, F1max, PRO.
fn sweep<P: PixelSource>(
    source: &P,
    gathered: &Gathered<P::Score>,
    n_neg: u64,
    options: &Options,
) -> Result<[Value; 4]> {
    let ladder = Ladder::new(gathered.defects.iter().map(|&(score, _)| score));
    let counts = count_normals(source, &ladder)?;
    if counts.iter().sum::<u64>() != n_neg {
        return Err(Error::method(
            format!("{n_neg} normal pixels at first, {} later: the images changed", counts.iter().sum::<u64>()),
            "run again while nothing writes to the maps and masks",
        ));
    }
    let weights: Vec<f64> = gathered.sizes.iter().map(|&size| 1.0 / size as f64).collect();
    let mut ranking = Sweep::new(gathered.defects.len() as u64, n_neg, options.ap);
    let mut overlap = Overlap::new(n_neg);
    let mut rest = gathered.defects.as_slice();
    for (index, &rung) in ladder.rungs().iter().enumerate().rev() {
        let (mut hits, mut weight) = (0, Sum::default());
        while let Some((&(score, region), lower)) = rest.split_last()
            && score == rung
        {
            hits += 1;
            weight.add(weights[region as usize]);
            rest = lower;
        }
        let (between, tied) = (counts[2 * index + 2], counts[2 * index + 1]);
        ranking.step(between, tied, hits);
        overlap.advance(between, 0.0);
        overlap.advance(tied, weight.value());
    }
    overlap.advance(counts[0], 0.0);
    let ranking = ranking.finish();
    let pro = match options.pro {
        Pro::Exact => Ok(overlap.finish(gathered.sizes.len())),
        Pro::Simplenet | Pro::Ader => pro_legacy::pro(source, &gathered.images, options.pro)?,
    };
    Ok([ranking.auroc, ranking.ap, ranking.f1max, pro])
}

/// AUPRO as the threshold falls. Abscissa: normal pixels so far; ordinate: sum over regions of the share found.
struct Overlap {
    limit: f64,
    passed: u64,
    height: Sum,
    area: Sum,
}

impl Overlap {
    fn new(n_neg: u64) -> Self {
        Overlap { limit: FPR_LIMIT * n_neg as f64, passed: 0, height: Sum::default(), area: Sum::default() }
    }

    /// One straight piece of the curve: `normals` pixels to the right, `weight` up, cut at the limit.
    fn advance(&mut self, normals: u64, weight: f64) {
        let (start, low) = (self.passed as f64, self.height.value());
        self.height.add(weight);
        self.passed += normals;
        if normals == 0 || start >= self.limit {
            return;
        }
        let share = ((self.limit - start) / normals as f64).min(1.0);
        let high = low + share * (self.height.value() - low);
        self.area.add(share * normals as f64 * (low + high) / 2.0);
    }

    fn finish(self, regions: usize) -> f64 {
        self.area.value() / (self.limit * regions as f64)
    }
}
