//! What a `[[figure]]` may say: one type per kind, so that a key of another kind is an error.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::suggestion;
use super::experiment::{BASE_VARIANT, Run, RunSpec};
use super::file::Dimension;
use super::sweep::{lists_variant, names_variant};
use super::tree::{Node, Value};
use crate::error::Result;
use crate::metrics::MetricName;

/// One figure of a study.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Figure {
    /// A metric against the number of seen anomalies, or against another dimension.
    Curve(Curve),
    /// A metric by variant, as bars.
    Bars(Bars),
    /// Losses per epoch, and image AUROC per epoch where the runs scored every epoch.
    Learning(Learning),
    /// Image scores of normal and anomalous test images of a class.
    Histogram(Histogram),
    /// Test images with their truth and anomaly maps.
    Maps(Maps),
    /// t-SNE of the rows of a run's banks, coloured by part.
    Tsne(Tsne),
}

/// A metric against a dimension: one line per variant, one panel per dataset and metric.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Curve {
    /// Text above the figure.
    pub title: String,
    /// One panel each; [] = the first of the experiment's.
    pub metrics: Vec<MetricName>,
    /// What runs along the horizontal axis.
    pub x: Dimension,
    /// What a line stands for.
    pub lines: Dimension,
    /// The class shown, unless `x` or `lines` is "class".
    pub class: String,
    /// Only these datasets; [] = all.
    pub datasets: Vec<String>,
    /// Only these variants; [] = all.
    pub variants: Vec<String>,
    /// Width of the figure in centimetres.
    #[schemars(range(min = 4.0, max = 60.0))]
    pub width_cm: f64,
}

impl Default for Curve {
    fn default() -> Self {
        Curve {
            title: String::new(),
            metrics: Vec::new(),
            x: Dimension::SeenAnomalies,
            lines: Dimension::Variant,
            class: "mean".into(),
            datasets: Vec::new(),
            variants: Vec::new(),
            width_cm: COLUMN_CM,
        }
    }
}

/// A metric as horizontal bars, one panel per dataset and metric.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bars {
    /// Text above the figure.
    pub title: String,
    /// One panel each; [] = the first of the experiment's.
    pub metrics: Vec<MetricName>,
    /// What a bar stands for.
    pub bars: Dimension,
    /// The class shown, unless `bars` is "class".
    pub class: String,
    /// Where the axis begins, in percent.
    #[schemars(range(min = 0.0, max = 99.0))]
    pub from: f64,
    /// Only these datasets; [] = all.
    pub datasets: Vec<String>,
    /// Only these variants; [] = all.
    pub variants: Vec<String>,
    /// Width of the figure in centimetres.
    #[schemars(range(min = 4.0, max = 60.0))]
    pub width_cm: f64,
}

impl Default for Bars {
    fn default() -> Self {
        Bars {
            title: String::new(),
            metrics: Vec::new(),
            bars: Dimension::Variant,
            class: "mean".into(),
            from: 0.0,
            datasets: Vec::new(),
            variants: Vec::new(),
            width_cm: COLUMN_CM,
        }
    }
}

/// Losses per epoch, and image AUROC per epoch where it is recorded; one line per variant, or one per loss term where
/// there is one variant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Learning {
    /// Text above the figure.
    pub title: String,
    /// Loss terms, as the method names them; [] = all of one variant, the total of several.
    pub terms: Vec<String>,
    /// Only these datasets; [] = all.
    pub datasets: Vec<String>,
    /// Only these variants; [] = all that train.
    pub variants: Vec<String>,
    /// Only these numbers of seen anomalies; [] = all.
    pub seen_anomalies: Vec<usize>,
    /// Width of the figure in centimetres.
    #[schemars(range(min = 4.0, max = 60.0))]
    pub width_cm: f64,
}

impl Default for Learning {
    fn default() -> Self {
        Learning {
            title: String::new(),
            terms: Vec::new(),
            datasets: Vec::new(),
            variants: Vec::new(),
            seen_anomalies: Vec::new(),
            width_cm: COLUMN_CM,
        }
    }
}

/// Image scores of normal and anomalous test images, one panel per run and class.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Histogram {
    /// Text above the figure.
    pub title: String,
    /// Classes shown; [] = all.
    pub classes: Vec<String>,
    /// Number of bins.
    #[schemars(range(min = 2, max = 200))]
    pub bins: usize,
    /// Only these datasets; [] = all.
    pub datasets: Vec<String>,
    /// Variants shown; [] = the base.
    pub variants: Vec<String>,
    /// Numbers of seen anomalies; [] = each variant's largest.
    pub seen_anomalies: Vec<usize>,
    /// Seed shown; default: the first.
    pub seed: Option<u64>,
    /// Width of the figure in centimetres.
    #[schemars(range(min = 4.0, max = 60.0))]
    pub width_cm: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            title: String::new(),
            classes: Vec::new(),
            bins: 20,
            datasets: Vec::new(),
            variants: Vec::new(),
            seen_anomalies: Vec::new(),
            seed: None,
            width_cm: COLUMN_CM,
        }
    }
}

/// A grid of test images: the image, the outline of its truth, and the anomaly map of each run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Maps {
    /// Text above the figure.
    pub title: String,
    /// Classes shown; [] = all.
    pub classes: Vec<String>,
    /// Test images, as paths relative to the dataset's root; [] = anomalous images evenly through the ranks of their
    /// scores in the first run shown, which for one image per class is that of median score.
    pub images: Vec<String>,
    /// How many images of each class, where `images` names none.
    #[schemars(range(min = 1, max = 20))]
    pub per_class: usize,
    /// Only these datasets; [] = all.
    pub datasets: Vec<String>,
    /// Variants shown, one column each, in this order; [] = all.
    pub variants: Vec<String>,
    /// Numbers of seen anomalies, one column each; [] = each variant's largest.
    pub seen_anomalies: Vec<usize>,
    /// Seed shown; default: the first.
    pub seed: Option<u64>,
    /// Width of the figure in centimetres.
    #[schemars(range(min = 4.0, max = 60.0))]
    pub width_cm: f64,
}

impl Default for Maps {
    fn default() -> Self {
        Maps {
            title: String::new(),
            classes: Vec::new(),
            images: Vec::new(),
            per_class: 1,
            datasets: Vec::new(),
            variants: Vec::new(),
            seen_anomalies: Vec::new(),
            seed: None,
            width_cm: COLUMN_CM,
        }
    }
}

/// A part of a run's banks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BankPart {
    /// M_n: normal patches.
    Normal,
    /// M_o: outlier textures.
    Outlier,
    /// M_as: patches of seen anomalies.
    Seen,
    /// M_p: samples around the centre of the seen patches.
    Center,
}

impl BankPart {
    /// All parts; a part's place is its number in files.
    pub const ALL: [BankPart; 4] = [BankPart::Normal, BankPart::Outlier, BankPart::Seen, BankPart::Center];

    /// Parts that the artifact of a kind of stage may hold.
    pub fn of_stage(kind: &str) -> &'static [BankPart] {
        match kind {
            "normal_bank" => &[BankPart::Normal],
            "outlier_bank" => &[BankPart::Outlier],
            "seen_bank" => &[BankPart::Seen, BankPart::Center],
            _ => &[],
        }
    }
}

/// t-SNE of bank rows after PCA to 50 dimensions, one panel per run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tsne {
    /// Text above the figure.
    pub title: String,
    /// Parts of the banks that are embedded.
    #[schemars(length(min = 1))]
    pub parts: Vec<BankPart>,
    /// At most this many rows, drawn at random.
    #[schemars(range(min = 10, max = 5000))]
    pub points: usize,
    /// Effective number of neighbours.
    #[schemars(range(min = 2.0, max = 200.0))]
    pub perplexity: f64,
    /// Steps of gradient descent, the first quarter with exaggerated affinities.
    #[schemars(range(min = 50, max = 20000))]
    pub epochs: usize,
    /// Only these datasets; [] = all.
    pub datasets: Vec<String>,
    /// Variants shown, one panel each; [] = the base.
    pub variants: Vec<String>,
    /// Numbers of seen anomalies, one panel each; [] = each variant's largest.
    pub seen_anomalies: Vec<usize>,
    /// Seed shown; default: the first.
    pub seed: Option<u64>,
    /// Width of the figure in centimetres.
    #[schemars(range(min = 4.0, max = 60.0))]
    pub width_cm: f64,
}

impl Default for Tsne {
    fn default() -> Self {
        Tsne {
            title: String::new(),
            parts: vec![BankPart::Outlier, BankPart::Seen, BankPart::Center],
            points: 5000,
            perplexity: 30.0,
            epochs: 1000,
            datasets: Vec::new(),
            variants: Vec::new(),
            seen_anomalies: Vec::new(),
            seed: None,
            width_cm: COLUMN_CM,
        }
    }
}

/// Width of a column of a paper.
const COLUMN_CM: f64 = 8.5;

/// The named variants, or the base where none is named.
fn or_base(named: &[String]) -> &[String] {
    static BASE: LazyLock<[String; 1]> = LazyLock::new(|| [BASE_VARIANT.to_string()]);
    if named.is_empty() { BASE.as_slice() } else { named }
}

impl Histogram {
    /// The runs it shows.
    pub fn choice(&self) -> Choice<'_> {
        Choice {
            datasets: &self.datasets,
            variants: or_base(&self.variants),
            seen_anomalies: &self.seen_anomalies,
            seed: self.seed,
        }
    }
}

impl Maps {
    /// The runs it shows.
    pub fn choice(&self) -> Choice<'_> {
        Choice {
            datasets: &self.datasets,
            variants: &self.variants,
            seen_anomalies: &self.seen_anomalies,
            seed: self.seed,
        }
    }
}

impl Tsne {
    /// The runs it shows.
    pub fn choice(&self) -> Choice<'_> {
        Choice {
            datasets: &self.datasets,
            variants: or_base(&self.variants),
            seen_anomalies: &self.seen_anomalies,
            seed: self.seed,
        }
    }
}

/// Which runs a figure of single runs shows.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Only these datasets; [] = all.
    pub datasets: &'a [String],
    /// Only these variants; [] = all.
    pub variants: &'a [String],
    /// Numbers of seen anomalies; [] = each variant's largest.
    pub seen_anomalies: &'a [usize],
    /// Seed; None = the first.
    pub seed: Option<u64>,
}

impl Choice<'_> {
    /// One run per dataset, variant and number of seen anomalies: as `variants` lists them, else in the experiment's order.
    pub fn of<'r>(&self, runs: &'r [Run]) -> Vec<&'r RunSpec> {
        let listed = |list: &[String], value: &String| list.is_empty() || list.contains(value);
        let kept: Vec<&RunSpec> = runs
            .iter()
            .map(|run| &run.spec)
            .filter(|spec| listed(self.datasets, &spec.dataset) && lists_variant(self.variants, &spec.variant))
            .collect();
        let mut shown = BTreeSet::new();
        let wanted = |spec: &&&RunSpec| {
            let own = kept.iter().filter(|other| other.variant == spec.variant && other.dataset == spec.dataset);
            let largest = own.map(|other| other.protocol.seen.count).max();
            let count = spec.protocol.seen.count;
            let counts = match self.seen_anomalies {
                [] => Some(count) == largest,
                list => list.contains(&count),
            };
            self.seed.is_none_or(|seed| seed == spec.seed) && counts
        };
        let mut out: Vec<&RunSpec> = kept.iter().filter(wanted).copied().collect();
        out.retain(|spec| shown.insert((&spec.dataset, &spec.variant, spec.protocol.seen.count)));
        out.sort_by_key(|spec| self.variants.iter().position(|name| names_variant(name, &spec.variant)));
        out
    }
}

impl Figure {
    /// Text above it.
    pub fn title(&self) -> &str {
        match self {
            Figure::Curve(f) => &f.title,
            Figure::Bars(f) => &f.title,
            Figure::Learning(f) => &f.title,
            Figure::Histogram(f) => &f.title,
            Figure::Maps(f) => &f.title,
            Figure::Tsne(f) => &f.title,
        }
    }

    /// Datasets and variants that it names.
    fn names(&self) -> (&[String], &[String]) {
        match self {
            Figure::Curve(f) => (&f.datasets, &f.variants),
            Figure::Bars(f) => (&f.datasets, &f.variants),
            Figure::Learning(f) => (&f.datasets, &f.variants),
            Figure::Histogram(f) => (&f.datasets, &f.variants),
            Figure::Maps(f) => (&f.datasets, &f.variants),
            Figure::Tsne(f) => (&f.datasets, &f.variants),
        }
    }
}

/// Holds the names in figures against the runs of the experiment, and refuses figures that no run could fill.
pub(super) fn check_names(base: &Node, figures: &[Figure], runs: &[Run]) -> Result<()> {
    let of = |value: fn(&Run) -> &str| runs.iter().map(value).collect::<BTreeSet<_>>();
    let (datasets, variants) = (of(|run| &run.spec.dataset), of(|run| &run.spec.variant));
    for (number, figure) in figures.iter().enumerate() {
        let (named_datasets, named_variants) = figure.names();
        for (key, named, known) in [("datasets", named_datasets, &datasets), ("variants", named_variants, &variants)] {
            let unknown = |name: &&String| !known.iter().any(|known| names_variant(name, known));
            let Some(wrong) = named.iter().find(unknown) else { continue };
            let message = format!("`figure[{number}].{key}`: the experiment has no \"{wrong}\"");
            return Err(place_of(base, number, key)
                .place
                .fault(message, Some(suggestion(wrong, known.iter().copied()))));
        }
        if let Figure::Curve(curve) = figure
            && curve.x == curve.lines
        {
            let message = format!("`figure[{number}].lines` is what `x` is, so every line would be a point");
            return Err(place_of(base, number, "lines").place.fault(message, Some("choose another dimension".into())));
        }
    }
    Ok(())
}

/// The value of a figure's key, or the figure itself where the file leaves the key out.
fn place_of<'a>(base: &'a Node, number: usize, key: &str) -> &'a Node {
    let figure = base.find(&["figure"]).and_then(|entry| match &entry.node.value {
        Value::Array(items) => items.get(number),
        _ => None,
    });
    let Some(figure) = figure else { return base };
    figure.find(&[key]).map_or(figure, |entry| &entry.node)
}
