//! One run: what decides its numbers, and where in the file that was said.
//!
//! Owns: the recorded form of a run and its id. Does not own: how a file expands into runs (`experiment`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::diagnostic::Place;
use super::method::Configured;
use super::settings::{difference, digest, merge, to_json};
use super::tree::Node;
use super::types::{Backbone, Evaluation, Features, Geometry, Protocol};
use crate::error::Error;

/// Name of the base among the variants.
pub const BASE_VARIANT: &str = "full";

/// Version of what ids are made of. Raised when a default changes its meaning; a new key with a default needs no raise.
pub const SPEC_VERSION: u32 = 1;

/// One run with the tree it came from, so that later faults can point at the file.
#[derive(Clone, Debug)]
pub struct Run {
    /// Everything that decides its numbers.
    pub spec: RunSpec,
    /// Its method, parameters parsed.
    pub method: Configured,
    /// What its id is the digest of.
    pub identity: Json,
    /// Runs of one variant share it.
    pub(super) tree: Arc<Node>,
}

/// Everything that decides the numbers of a run, all defaults filled in, as records hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The first 12 hex digits of the digest of what differs from the defaults; records name it beside the settings.
    #[serde(skip)]
    pub id: String,
    /// Row of the experiment ("full" = the base).
    pub variant: String,
    /// Dataset name.
    pub dataset: String,
    /// Only these classes; empty = all.
    pub classes: Vec<String>,
    /// The run's seed.
    pub seed: u64,
    /// Which images train, which test.
    pub protocol: Protocol,
    /// Geometry of the images.
    pub image: Geometry,
    /// The frozen network.
    pub backbone: Backbone,
    /// Patch features.
    pub features: Features,
    /// Method name and parameters.
    pub method: Json,
    /// How scores meet the truth.
    pub evaluation: Evaluation,
}

impl RunSpec {
    /// Name of the method.
    pub fn method_name(&self) -> &str {
        self.method["name"].as_str().unwrap_or_default()
    }

    /// Side of the maps, in pixels; of those that are evaluated at the images' own sizes, where one size is needed.
    pub fn map_side(&self) -> usize {
        if self.evaluation.size == 0 { self.image.size } else { self.evaluation.size }
    }

    /// Whether the other differs in nothing but its seed.
    pub fn is_but_for_its_seed(&self, other: &RunSpec) -> bool {
        self.all_but_its_seed() == other.all_but_its_seed()
    }

    /// Everything but id and seed; a field that is added does not compile until it is named here.
    fn all_but_its_seed(&self) -> impl PartialEq + '_ {
        let RunSpec {
            id: _,
            variant,
            dataset,
            classes,
            seed: _,
            protocol,
            image,
            backbone,
            features,
            method,
            evaluation,
        } = self;
        (variant, dataset, classes, protocol, image, backbone, features, method, evaluation)
    }

    /// What the id is the digest of: names and seed, and what differs from the defaults. `sections` are the method's own
    /// defaults of sections, `method` what of its parameters differs from theirs.
    pub(super) fn identity(&self, sections: &Json, method: &Json) -> Json {
        let own = json!({
            "protocol": self.protocol, "image": self.image, "backbone": self.backbone, "features": self.features,
            "evaluation": self.evaluation,
        });
        let mut default = json!({
            "protocol": Protocol::default(), "image": Geometry::default(), "backbone": Backbone::default(),
            "features": Features::default(), "evaluation": Evaluation::default(),
        });
        merge(&mut default, sections);
        let mut identity = difference(&own, &default);
        let mut method = method.clone();
        method["name"] = self.method_name().into();
        merge(
            &mut identity,
            &json!({
                "version": SPEC_VERSION, "variant": self.variant, "dataset": self.dataset, "classes": self.classes,
                "seed": self.seed, "method": method,
            }),
        );
        identity
    }
}

/// Variants of which every run is one of an earlier variant under another name, each with that one.
pub fn repeated<R: AsRef<RunSpec>>(runs: &[R]) -> Vec<(&str, &str)> {
    let mut variants: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
    let mut having: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (place, run) in runs.iter().map(AsRef::as_ref).enumerate() {
        let mut settings = to_json(run);
        settings.as_object_mut().map(|settings| settings.remove("variant"));
        let settings = settings.to_string();
        having.entry(settings.clone()).or_default().push(&run.variant);
        variants.entry(&run.variant).or_insert_with(|| (place, Vec::new())).1.push(settings);
    }
    let earlier = |variant: &&str, own: &[String], place: usize| {
        let has_all = own.iter().all(|settings| having[settings].contains(variant));
        has_all && variants[variant].0 < place
    };
    let mut found: Vec<(usize, (&str, &str))> = variants
        .iter()
        .filter_map(|(variant, (place, own))| {
            let other = having[&own[0]].iter().find(|other| earlier(other, own, *place))?;
            Some((*place, (*variant, *other)))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, pair)| pair).collect()
}

/// The values of settings by their dotted keys; lists are values.
pub fn leaves(settings: &Json) -> BTreeMap<String, &Json> {
    fn collect<'a>(key: &str, value: &'a Json, found: &mut BTreeMap<String, &'a Json>) {
        match value {
            Json::Object(map) => {
                let dotted = |name: &String| if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                map.iter().for_each(|(name, value)| collect(&dotted(name), value, found));
            }
            value => drop(found.insert(key.into(), value)),
        }
    }
    let mut found = BTreeMap::new();
    collect("", settings, &mut found);
    found
}

/// The id that belongs to an identity.
pub fn id_of(identity: &Json) -> String {
    digest(identity, 12)
}

impl Run {
    /// A run of these settings; its id is made here.
    pub(super) fn new(mut spec: RunSpec, method: Configured, sections: &Json, tree: Arc<Node>) -> Self {
        let identity = spec.identity(sections, &method.difference);
        spec.id = id_of(&identity);
        Run { spec, method, identity, tree }
    }

    /// A fault at the dotted `key` of the experiment file: at the key itself, or at the deepest table above it that the
    /// file writes down. The variant is named, because a key that several share may be wrong for one of them alone.
    pub fn fault(&self, key: &str, message: impl Into<String>, help: Option<String>) -> Error {
        let mut message = message.into();
        if self.spec.variant != BASE_VARIANT {
            message = format!("{message} (variant \"{}\")", self.spec.variant);
        }
        locate(&self.tree, key).fault(message, help.filter(|help| !help.is_empty()))
    }
}

impl AsRef<RunSpec> for Run {
    fn as_ref(&self) -> &RunSpec {
        &self.spec
    }
}

impl AsRef<RunSpec> for RunSpec {
    fn as_ref(&self) -> &RunSpec {
        self
    }
}

/// The place of a dotted key: its value, or the deepest table above it that is written down.
pub(super) fn locate<'a>(tree: &'a Node, key: &str) -> &'a Place {
    let parts: Vec<&str> = key.split('.').collect();
    (1..=parts.len())
        .rev()
        .find_map(|depth| tree.find(&parts[..depth]))
        .map_or(&tree.place, |entry| if entry.node.table().is_some() { &entry.key } else { &entry.node.place })
}
