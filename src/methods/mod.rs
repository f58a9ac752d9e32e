//! The compared systems. One folder or file per method, one row in `METHODS`.
//!
//! Owns: what a method must offer, and the registry. Does not own: data, truth, metrics. A method sees images' features,
//! seen anomalies with their masks, and outlier textures; labels and masks of test images have no path to it by type.

#[macro_use]
mod tables;
pub mod anomalydino;
pub mod bgad;
pub mod dinomaly;
pub mod distillation;
pub mod dm_grd;
pub mod dmad;
pub mod dra;
#[cfg(test)]
#[path = "../../docs/padim.rs"]
mod example; // the README's example of a new method: kept compiling
mod neighbours;
mod normal_bank;
mod patchcore;
pub mod rd4ad;
mod scoring;
pub mod simplenet;
pub mod trial;
pub mod uniad;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::backbone::Kind;
use crate::error::Result;
use crate::plan::{Graph, Handle, Inputs, Model, RowsOf, Scores, StageKind};
use crate::spec::{
    Configured, MethodContext, MethodFault, MethodKind, Run, leaves, params_difference, params_schema, read_params,
    to_json,
};
use crate::store::Artifact;
use trial::Trial;

pub use neighbours::Search;
pub use normal_bank::{Coreset, NORMAL_PART, NormalBank, Scope, Selection, offsets};
use scoring::training_labels;
pub use scoring::{ImageScore, Scoring, Select, Window, top_mean};

/// A method with its parameters.
pub trait Method: Send + Sync {
    /// Datasets it uses besides that of the study.
    fn datasets(&self) -> Vec<ExtraDataset> {
        Vec::new()
    }

    /// Refuses what it cannot do with what it is given, before any work.
    ///
    /// # Errors
    /// A fault at the key that has to change.
    fn check(&self, _given: &Given) -> Result<(), MethodFault> {
        Ok(())
    }

    /// Adds the stages of one model (all classes of `inputs` together) to the graph and names what they leave.
    ///
    /// # Errors
    /// Images that are not there.
    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs>;

    /// How patch scores become image scores and maps.
    fn scoring(&self) -> Scoring;

    /// What labels the numbers besides the protocol (subsampled patches, oracle epoch); empty = nothing.
    fn labels(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A dataset that a method uses besides that of the study: its normal training images, by class.
#[derive(Clone, Debug)]
pub struct ExtraDataset {
    /// Its name.
    pub name: String,
    /// The key that names it, below `method`.
    pub key: &'static str,
    /// What it is for and how to do without, for whoever lacks it.
    pub why: &'static str,
    /// Images wanted of each of its classes, and the key that says how many; `None` = one, which no key says.
    pub per_class: Option<(usize, &'static str)>,
}

/// What a method will be given.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// Patches per image: rows, columns.
    pub grid: (usize, usize),
    /// Values per patch.
    pub dim: usize,
    /// Maps that the backbone gives.
    pub layers: usize,
    /// Side of the network's input, in pixels.
    pub side: usize,
    /// Seen anomalies per class.
    pub seen_count: usize,
}

/// The parameters of a method, which are the method: all that the registry asks for.
pub trait Parameters: Method + Default + Clone + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// Value of `method.name`.
    const NAME: &'static str;

    /// One sentence with the source.
    const ABOUT: &'static str;

    /// The backbone of its publication; another one is labelled. "" = several.
    const BACKBONE: &'static str;

    /// The only kind of network that serves it; `None` = any.
    const NETWORK: Option<Kind> = None;

    /// Dotted keys whose published values are their defaults: others are labelled, wherever the numbers are.
    const PUBLISHED: &'static [&'static str] = &[];

    /// The stages that are its own.
    const STAGES: &'static [StageKind];

    /// What its banks hold, for figures; a part's place is its number in files.
    const PARTS: &'static [BankPart] = &[];

    /// Its small study and what each of its keys must change there: what tests hold it to.
    const TRIAL: &'static Trial;

    /// The method's own defaults of `image`, `backbone`, `features` where they differ from the general ones.
    fn sections() -> Json {
        json!({})
    }

    /// Replaces `auto`.
    fn resolve(&mut self, _context: &MethodContext) {}

    /// Refuses what one key alone cannot tell.
    ///
    /// # Errors
    /// A fault at the key that has to change.
    fn check(&self) -> Result<(), MethodFault> {
        Ok(())
    }
}

fn parse<P: Parameters>(params: &Json, context: &MethodContext) -> Result<Configured, MethodFault> {
    let (mut own, mut default) = (read_params::<P>(params)?, P::default());
    own.resolve(context);
    default.resolve(context);
    Parameters::check(&own)?;
    Ok(Configured {
        parameters: to_json(&own),
        difference: params_difference(&own, &default),
        method: Arc::new(Arc::new(own) as Arc<dyn Method>),
    })
}

/// The stages that evaluation and record need.
pub struct Outputs {
    /// For each entry of `Inputs::tested`: the stage whose artifact holds `scores`, epochs × images × patches, in the
    /// order of `Tested::images`. One epoch unless the method keeps several to choose from or to watch.
    pub scores: Vec<Handle<Scores>>,
    /// The stage that holds the trained model, if there is training.
    pub model: Option<Handle<Model>>,
    /// Banks in use, for the cost of the model.
    pub banks: Vec<RowsOf>,
}

/// Tells for every row of a bank whether it belongs to a part.
pub type ChooseRows = fn(&Artifact) -> Result<Vec<bool>>;

/// Rows of a method's banks that figures tell apart from others.
#[derive(Debug)]
pub struct BankPart {
    /// Name in experiment files.
    pub name: &'static str,
    /// Name in legends.
    pub label: &'static str,
    /// Whether they are normal patches, which figures show where they are asked for by name.
    pub normal: bool,
    /// Kind of the stages whose artifacts hold them as `rows`.
    pub stage: &'static str,
    /// Which rows of such an artifact they are; `None` = all.
    pub rows: Option<ChooseRows>,
}

/// One row of the registry.
pub struct Entry {
    /// What experiment files may say of it.
    pub kind: MethodKind,
    /// The backbone of its publication; "" = several.
    pub backbone: &'static str,
    /// The only kind of network that serves it; `None` = any.
    pub network: Option<Kind>,
    /// Keys whose published values are their defaults.
    pub published: &'static [&'static str],
    /// The stages that are its own.
    pub stages: &'static [StageKind],
    /// What its banks hold; a part's place is its number in files.
    pub parts: &'static [BankPart],
    /// Its small study and what each of its keys must change there: what tests hold it to.
    pub trial: &'static Trial,
}

impl Entry {
    /// The row of the method with these parameters.
    pub const fn of<P: Parameters>() -> Self {
        Entry {
            kind: MethodKind {
                name: P::NAME,
                about: P::ABOUT,
                schema: params_schema::<P>,
                defaults: || to_json(&P::default()),
                sections: P::sections,
                parse: parse::<P>,
            },
            backbone: P::BACKBONE,
            network: P::NETWORK,
            published: P::PUBLISHED,
            stages: P::STAGES,
            parts: P::PARTS,
            trial: P::TRIAL,
        }
    }
}

/// In front of the settings in which a method is not as published; those of the publication are in brackets.
pub const NOT_AS_PUBLISHED: &str = "not as published: ";

/// All methods.
pub const METHODS: &[Entry] = &[
    Entry::of::<anomalydino::Params>(),
    Entry::of::<bgad::Params>(),
    Entry::of::<dinomaly::Params>(),
    Entry::of::<dm_grd::Params>(),
    Entry::of::<dmad::Params>(),
    Entry::of::<dra::Params>(),
    Entry::of::<patchcore::Params>(),
    Entry::of::<rd4ad::Params>(),
    Entry::of::<simplenet::Params>(),
    Entry::of::<uniad::Params>(),
];

/// The parser's view of all methods.
pub fn kinds() -> Vec<&'static MethodKind> {
    METHODS.iter().map(|entry| &entry.kind).collect()
}

/// The stages that several methods have.
pub const SHARED_STAGES: &[StageKind] = &[StageKind::of::<normal_bank::SelectNormal>(), StageKind::of::<Search>()];

/// The row of a method.
pub fn entry(name: &str) -> Option<&'static Entry> {
    METHODS.iter().find(|entry| entry.kind.name == name)
}

/// What the banks of a method hold.
pub fn bank_parts(method: &str) -> &'static [BankPart] {
    entry(method).map_or(&[], |entry| entry.parts)
}

/// The parts of a method's banks that are wanted by `names`; [] = all that are no normal patches.
pub fn wanted_parts(method: &str, names: &[String]) -> Vec<&'static BankPart> {
    let named = |part: &&BankPart| match names {
        [] => !part.normal,
        names => names.iter().any(|name| name == part.name),
    };
    bank_parts(method).iter().filter(named).collect()
}

/// The method of a run.
pub fn of(run: &Run) -> &dyn Method {
    match run.method.method.downcast_ref::<Arc<dyn Method>>() {
        Some(method) => method.as_ref(),
        None => unreachable!("`parse` has put a method there"),
    }
}

/// How patch scores of a run become image scores and maps.
pub fn scoring(run: &Run) -> Scoring {
    of(run).scoring().of_images(run.spec.image.size)
}

/// The only kind of network that serves the method of a run; `None` = any.
pub fn network(run: &Run) -> Option<Kind> {
    entry(run.spec.method_name())?.network
}

/// What labels the numbers of a run by its method: what that says itself, and where it is not as published.
pub fn labels(run: &Run) -> Vec<String> {
    let mut labels = of(run).labels();
    let Some(entry) = entry(run.spec.method_name()) else { return labels };
    let defaults = (entry.kind.defaults)();
    let (own, published) = (leaves(&run.method.difference), leaves(&defaults));
    let told = entry.published.iter().filter_map(|key| Some((key, own.get(*key)?, published.get(*key)?)));
    let mut others: Vec<String> = told.map(|(key, own, published)| format!("{key} {own} ({published})")).collect();
    if !["", run.spec.backbone.name.as_str()].contains(&entry.backbone) {
        others.insert(0, format!("backbone {} ({})", run.spec.backbone.name, entry.backbone));
    }
    if !others.is_empty() {
        labels.push(format!("{NOT_AS_PUBLISHED}{}", others.join(", ")));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Settings;

    #[test]
    fn the_example_of_a_new_method_fits_the_registry() {
        let entry = Entry::of::<example::Params>();
        let context = MethodContext { seen_count: 0 };
        let read = (entry.kind.parse)(&json!({ "dims": 7 }), &context).unwrap_or_else(|e| panic!("{}", e.message));
        assert_eq!((&read.parameters["sigma"], &read.difference), (&json!(4.0), &json!({ "dims": 7 })));
    }

    /// Padim as it would be with one key more.
    #[derive(Default, Serialize)]
    struct Newer {
        #[serde(flatten)]
        known: example::Params,
        shrink: Shrink,
    }

    #[derive(Default, Serialize)]
    struct Shrink {
        enabled: bool,
        share: f64,
    }

    #[test]
    fn a_key_with_a_default_that_is_added_to_a_method_changes_no_id_and_no_stage_key() {
        let default = example::Params::default();
        let newer_default = Newer { known: default.clone(), shrink: Shrink::default() };
        for own in [default.clone(), example::Params { dims: 7, ..default.clone() }] {
            let same = Newer { known: own.clone(), shrink: Shrink::default() };
            assert_eq!(params_difference(&own, &default), params_difference(&same, &newer_default), "the id's part");
            let part_of_key = to_json(&Settings::from(own.clone()));
            assert_eq!(to_json(&Settings::from(same)), part_of_key, "stages serialise into their keys");
            let other = Newer { known: own, shrink: Shrink { enabled: true, share: 0.5 } };
            assert_ne!(params_difference(&other, &newer_default), params_difference(&newer_default, &newer_default));
            assert_ne!(to_json(&Settings::from(other)), part_of_key);
        }
    }
}
