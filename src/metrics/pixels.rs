//! Exact pixel metrics in two passes over the images.
//!
//! Owns: the passes. A walk has a step for every score that a defect pixel has, so the first pass collects and sorts the
//! defect pixels alone (a few per cent), the second counts all others into the gaps between their scores. Does not own:
//! regions, the metrics, the legacy forms of PRO.

use rayon::prelude::*;

use super::gaps::{Ladder, count_normals};
use super::regions::regions;
use super::source::{self, PixelSource, Score};
use super::sum::Sum;
use super::walk::{Totals, Walks, values};
use super::{Definitions, Level, Metric, MetricName, Pro, pimo, pro_legacy};
use crate::error::{Error, Result};

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
    /// The metrics that rank pixels, in the order of the registry.
    pub metrics: Vec<Metric>,
    /// Defect regions of all images.
    pub regions: u64,
    /// Anomalous images without a defect pixel: they keep their label and take part as normal pixels only.
    pub empty_masks: u64,
    /// One entry per image.
    pub images: Vec<ImageFacts>,
}

impl PixelReport {
    /// The report where no pixel metric has a value, and why: a method that scores images alone, or a dataset without masks.
    pub fn undefined(why: &'static str) -> Self {
        let metric = |name| Metric { name, value: Err(why), n_pos: 0, n_neg: 0 };
        let metrics = MetricName::of(Level::Pixel).map(metric).collect();
        PixelReport { metrics, regions: 0, empty_masks: 0, images: Vec::new() }
    }
}

/// All pixel metrics over all images of `source`. Memory: one image per thread and about 30 bytes per defect pixel.
///
/// # Errors
/// Whatever loading gives; a score that is NaN or infinite, an image without pixels or with a mask of another size (named
/// with `PixelSource::name`). Of several wrong images the first is named.
pub fn pixel_metrics<P: PixelSource>(source: &P, definitions: &Definitions) -> Result<PixelReport> {
    let gathered = gather(source)?;
    let images = &gathered.images;
    let (positives, regions) = (gathered.defects.len() as u64, gathered.sizes.len() as u64);
    let negatives = images.iter().map(|facts| facts.pixels).sum::<u64>() - positives;
    let totals = Totals { positives, negatives, regions };
    let pixel = MetricName::of(Level::Pixel);
    let mut metrics = values(totals, pixel, definitions, |walks| walk(source, &gathered, walks))?;
    if definitions.pro != Pro::Exact && totals.undefined().is_none() {
        for metric in metrics.iter_mut().filter(|metric| metric.name == MetricName::PixelPro) {
            metric.value = pro_legacy::pro(source, images, definitions)?;
        }
    }
    if totals.undefined().is_none() {
        let aupimo = pimo::value(gathered.rates(), &gathered.recalls());
        for metric in metrics.iter_mut().filter(|metric| metric.name == MetricName::PixelAupimo) {
            metric.value = aupimo;
        }
    }
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
    /// Highest scores of every normal image; none of anomalous ones.
    highest: Vec<Vec<S>>,
    /// Image of each region.
    homes: Vec<usize>,
}

impl<S: Score> Gathered<S> {
    /// Highest scores of normal pixels, each with what it adds to the mean rate of normal images.
    fn rates(&self) -> Vec<(S, f64)> {
        let normals = self.images.iter().filter(|facts| !facts.anomalous).count() as f64;
        let of_image = |(facts, highest): (&ImageFacts, &Vec<S>)| {
            let share = 1.0 / (facts.pixels as f64 * normals);
            highest.iter().map(move |&score| (score, share)).collect::<Vec<_>>()
        };
        self.images.iter().zip(&self.highest).flat_map(of_image).collect()
    }

    /// Scores of defect pixels, rising, each with what it adds to the mean recall of images that have some.
    fn recalls(&self) -> Vec<(S, f64)> {
        let images = self.images.iter().filter(|facts| facts.defect_pixels > 0).count() as f64;
        let share = |region: u32| 1.0 / (self.images[self.homes[region as usize]].defect_pixels as f64 * images);
        self.defects.iter().map(|&(score, region)| (score, share(region))).collect()
    }
}

/// First pass: collects and sorts the defect pixels.
fn gather<P: PixelSource>(source: &P) -> Result<Gathered<P::Score>> {
    let parts: Vec<Result<Gathered<P::Score>>> =
        (0..source.len()).into_par_iter().map(|image| gather_image(source, image)).collect();
    let mut all = Gathered {
        defects: Vec::new(),
        sizes: Vec::new(),
        images: Vec::with_capacity(source.len()),
        highest: Vec::with_capacity(source.len()),
        homes: Vec::new(),
    };
    for part in parts {
        let part = part?;
        all.homes.extend(part.homes);
        all.highest.extend(part.highest);
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
    for stretch in &found.stretches {
        let line = &loaded.scores[stretch.row * loaded.width..][stretch.start..stretch.end];
        defects.extend(line.iter().map(|&score| (score, stretch.region as u32)));
    }
    let pixels = loaded.scores.len() as u64;
    let facts = ImageFacts { lowest, highest, pixels, defect_pixels, anomalous: loaded.anomalous };
    let highest = if loaded.anomalous { Vec::new() } else { pimo::highest(&loaded.scores, source.len()) };
    let homes = vec![image; found.sizes.len()];
    Ok(Gathered { defects, sizes: found.sizes, images: vec![facts], highest: vec![highest], homes })
}

/// Second pass and the walk down the defect scores.
fn walk<P: PixelSource>(source: &P, gathered: &Gathered<P::Score>, walks: &mut Walks) -> Result<()> {
    let ladder = Ladder::new(gathered.defects.iter().map(|&(score, _)| score));
    let counts = count_normals(source, &ladder)?;
    let (before, now) = (walks.totals.negatives, counts.iter().sum::<u64>());
    if now != before {
        let what = format!("{before} normal pixels at first, {now} later: the images changed");
        return Err(Error::method(what, "run again while nothing writes to the maps and masks"));
    }
    let weights: Vec<f64> = gathered.sizes.iter().map(|&size| 1.0 / size as f64).collect();
    let mut rest = gathered.defects.as_slice();
    for (index, &rung) in ladder.rungs().iter().enumerate().rev() {
        let (mut hits, mut share) = (0, Sum::default());
        while let Some((&(score, region), lower)) = rest.split_last()
            && score == rung
        {
            hits += 1;
            share.add(weights[region as usize]);
            rest = lower;
        }
        walks.pass(0, counts[2 * index + 2], 0.0);
        walks.pass(hits, counts[2 * index + 1], share.value());
    }
    Ok(())
}
