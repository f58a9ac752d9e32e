//! What a `[[figure]]` may say: the keys that kinds of figures share, declared once, and the seam to the kinds.
//!
//! Owns: which runs a figure shows, its place in the schema, faults that point at its line. Does not own: the kinds with
//! the keys of their own (`report::figures`), or what they need beyond numbers being there (`run::gallery`).

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::check::suggestion;
use super::method::{MethodFault, read_table, schema_of, take_keys};
use super::run::RunSpec;
use super::sweep::{lists_variant, names_variant};
use super::tree::Node;
use crate::error::Result;

/// One kind of figure as experiment files see it. The registry is a const slice (`report::figures::FIGURES`).
#[derive(Debug)]
pub struct FigureKind {
    /// Value of `kind`.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Keys of [`Selection`] that it takes besides [`COMMON`], and those that mean something of their own in it, each with
    /// its words in the schema; "" = the words of [`Selection`].
    pub shared: &'static [(&'static str, &'static str)],
    /// Variants shown where a figure names none; [] = all.
    pub variants: &'static [&'static str],
    /// JSON Schema of its own keys.
    pub schema: fn() -> Json,
    /// Reads its own keys, defaults filled in, and checks what one key alone cannot tell.
    pub parse: fn(Json) -> Result<Keys, MethodFault>,
}

/// A kind's own keys, and what they ask for.
pub type Keys = (Arc<dyn FigureKeys>, Option<Need>);

/// The keys of some kind; its drawing knows which.
pub trait FigureKeys: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> FigureKeys for T {}

/// Shared keys that every kind takes.
const COMMON: &[&str] = &["title", "datasets", "variants", "width_cm", "font_pt", "caption"];

/// Keys that kinds of figures share.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Text above the figure.
    pub title: String,
    /// Only these datasets; [] = all.
    pub datasets: Vec<String>,
    /// Only these variants; [] = all.
    pub variants: Vec<String>,
    /// Numbers of seen anomalies; [] = each variant's largest.
    pub seen_anomalies: Vec<usize>,
    /// Seed shown; default: the first.
    pub seed: Option<u64>,
    /// Width of the figure in centimetres.
    #[schemars(range(min = 4.0, max = 60.0))]
    pub width_cm: f64,
    /// Height of the data of each panel in centimetres; default: from the width.
    #[schemars(range(min = 1.0, max = 40.0))]
    pub height_cm: Option<f64>,
    /// Size of plain text in points; ticks, legends and notes are a little smaller.
    #[schemars(range(min = 4.0, max = 20.0))]
    pub font_pt: f64,
    /// Where title and notes are: in the figure, or apart in `figureN_caption.tex` for the caption of a paper.
    pub caption: Caption,
}

/// Where the title and the notes of a figure are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Caption {
    /// In the figure.
    #[default]
    Figure,
    /// In a file beside it.
    Apart,
}

impl Default for Selection {
    fn default() -> Self {
        Selection {
            title: String::new(),
            datasets: Vec::new(),
            variants: Vec::new(),
            seen_anomalies: Vec::new(),
            seed: None,
            width_cm: 8.5, // a column of a paper
            height_cm: None,
            font_pt: 7.0,
            caption: Caption::Figure,
        }
    }
}

/// One figure of an experiment.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of its kind.
    pub kind: &'static str,
    /// What it shows, in the keys that kinds share.
    pub selection: Selection,
    /// The keys of its kind.
    pub keys: Arc<dyn FigureKeys>,
    /// What it shows beyond numbers.
    pub need: Option<Need>,
}

/// What a figure shows beyond numbers: `run` leaves it beside the records.
#[derive(Clone, Debug)]
pub enum Need {
    /// Pictures of test images with their truth, beside the first of the runs shown.
    Pictures(WantedImages),
    /// Rows of the banks of each run shown as points of a plane.
    Embedding(WantedEmbedding),
}

/// Which test images.
#[derive(Clone, Debug)]
pub struct WantedImages {
    /// Of these classes; [] = all.
    pub classes: Vec<String>,
    /// Paths relative to the dataset's root; [] = anomalous images evenly through the ranks of their scores.
    pub images: Vec<String>,
    /// How many of each class, where `images` names none.
    pub per_class: usize,
}

/// Which embedding.
#[derive(Clone, Debug, Serialize)]
pub struct WantedEmbedding {
    /// Names of parts of the method's banks; [] = all that are not of normal patches.
    pub parts: Vec<String>,
    /// At most this many rows, drawn at random.
    pub points: usize,
    /// Effective number of neighbours.
    pub perplexity: f64,
    /// Steps of gradient descent.
    pub epochs: usize,
}

impl Selection {
    /// One run per dataset, variant and number of seen anomalies: as `variants` lists them, else in the experiment's order.
    pub fn of<'r, R: AsRef<RunSpec>>(&self, runs: &'r [R]) -> Vec<&'r RunSpec> {
        let specs = runs.iter().map(AsRef::as_ref);
        let kept: Vec<&RunSpec> = specs.filter(|spec| self.lists(&spec.dataset, &spec.variant)).collect();
        let mut shown = BTreeSet::new();
        let wanted = |spec: &&&RunSpec| {
            let own = kept.iter().filter(|other| other.variant == spec.variant && other.dataset == spec.dataset);
            let largest = own.map(|other| other.protocol.seen.count).max();
            let count = spec.protocol.seen.count;
            let counts = match self.seen_anomalies.as_slice() {
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

    /// Whether it shows this variant on this dataset.
    pub fn lists(&self, dataset: &String, variant: &str) -> bool {
        (self.datasets.is_empty() || self.datasets.contains(dataset)) && lists_variant(&self.variants, variant)
    }
}

impl FigureKind {
    /// JSON Schema of a whole figure of this kind.
    fn whole(&self) -> Json {
        let mut shared = schema_of::<Selection>()["properties"].take();
        let mut properties = json!({ "kind": { "type": "string", "const": self.name } });
        let mut add = |key: &str, property: Json| properties[key] = property;
        add("title", shared["title"].take());
        for (key, property) in (self.schema)()["properties"].as_object().into_iter().flatten() {
            add(key, property.clone());
        }
        for (key, property) in shared.as_object().into_iter().flatten().filter(|(key, _)| *key != "title") {
            let own = self.shared.iter().find(|(name, _)| name == key);
            if own.is_none() && !COMMON.contains(&key.as_str()) {
                continue;
            }
            let mut property = property.clone();
            if let Some((_, words)) = own.filter(|(_, words)| !words.is_empty()) {
                property["description"] = (*words).into();
            }
            add(key, property);
        }
        json!({
            "description": self.about, "type": "object", "properties": properties, "additionalProperties": false,
            "required": ["kind"],
        })
    }

    /// Reads a figure of this kind that fits its schema.
    fn read(&self, mut own: Json) -> Result<Figure, MethodFault> {
        own.as_object_mut().map(|own| own.remove("kind"));
        let mut selection: Selection = read_table(take_keys(&mut own, &schema_of::<Selection>()))?;
        if selection.variants.is_empty() {
            selection.variants = self.variants.iter().map(|name| name.to_string()).collect();
        }
        let (keys, need) = (self.parse)(own)?;
        Ok(Figure { kind: self.name, selection, keys, need })
    }
}

/// JSON Schema of a `[[figure]]`: one alternative per kind.
pub(super) fn schema(kinds: &[&FigureKind]) -> Json {
    let options: Vec<Json> = kinds.iter().map(|kind| kind.whole()).collect();
    json!({ "description": "One figure of an experiment.", "oneOf": options })
}

/// Reads the figures of a file that fits the schema, holds the names in them against the runs of the experiment, and
/// refuses those that no run could fill.
pub(super) fn read<R: AsRef<RunSpec>>(
    base: &Node,
    figures: &[Json],
    kinds: &[&FigureKind],
    runs: &[R],
) -> Result<Vec<Figure>> {
    let read = |(number, (json, item)): (usize, (&Json, &Node))| {
        let fault = |fault: MethodFault| {
            let message = format!("`figure[{number}].{}` {}", fault.key, fault.message);
            item.place_of(&fault.key).fault(message, fault.help)
        };
        let Some(kind) = kinds.iter().find(|kind| json["kind"] == kind.name) else {
            unreachable!("the kind has been held against the schema")
        };
        let figure = kind.read(json.clone()).map_err(fault)?;
        check_names(item, number, &figure.selection, runs)?;
        Ok(figure)
    };
    figures.iter().zip(base.items("figure")).enumerate().map(read).collect()
}

fn check_names<R: AsRef<RunSpec>>(item: &Node, number: usize, selection: &Selection, runs: &[R]) -> Result<()> {
    let of = |value: fn(&RunSpec) -> &str| runs.iter().map(AsRef::as_ref).map(value).collect::<BTreeSet<_>>();
    let (datasets, variants) = (of(|spec| &spec.dataset), of(|spec| &spec.variant));
    for (key, named, known) in
        [("datasets", &selection.datasets, &datasets), ("variants", &selection.variants, &variants)]
    {
        let unknown = |name: &&String| !known.iter().any(|known| names_variant(name, known));
        let Some(wrong) = named.iter().find(unknown) else { continue };
        let message = format!("`figure[{number}].{key}`: the experiment has no \"{wrong}\"");
        return Err(item.place_of(key).fault(message, Some(suggestion(wrong, known.iter().copied()))));
    }
    Ok(())
}
