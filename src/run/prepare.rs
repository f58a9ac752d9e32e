//! From a run to its inputs: dataset, split, feature stages. Nothing is computed here but digests.

use std::sync::Arc;

use serde_json::json;

use super::session::Session;
use crate::backbone::Architecture;
use crate::data::{Image, Index, MaskSource, Source, Split, check_geometry, list_digest, load_rgb, split};
use crate::error::{Error, Result};
use crate::features::{self, Shape, feature_shape};
use crate::methods;
use crate::plan::{
    ClassInputs, Computed, Environment, Graph, Inputs, Job, OutlierCategory, SeenInput, Stage, StageId, Tested, Work,
};
use crate::spec::{self, Run, RunSpec, Setting};
use crate::store::TensorDecl;

/// A run with its data known.
pub struct Prepared {
    /// Images, split.
    pub split: Split,
    /// Shape of one image's features.
    pub shape: Shape,
    /// Digest of labels and masks of the test images.
    pub truth_digest: String,
    /// Digest of all images of the split.
    pub dataset_digest: String,
    /// Digest of the backbone's weights.
    pub weights_digest: String,
    /// Numbers in the backbone.
    pub backbone_parameters: usize,
    /// Files passed over when the dataset was read.
    pub skipped: usize,
    spec: RunSpec,
}

/// Everything about a run that can go wrong before work starts, as faults of the experiment file where they are its.
pub fn check(session: &Session, run: &Run) -> Result<()> {
    let spec = &run.spec;
    let at = |key: &str, fault: Error| match fault {
        Error::Usage { what, help } => run.fault(key, what, Some(help)),
        other => other,
    };
    session.catalog.get(&spec.dataset).map_err(|fault| at("dataset", fault))?;
    let architecture = Architecture::find(&spec.backbone.name).map_err(|fault| at("backbone.name", fault))?;
    architecture.taps(&spec.backbone.layers).map_err(|fault| at("backbone.layers", fault))?;
    check_geometry(&spec.image).map_err(|fault| at("image.resize", fault))?;
    feature_shape(&spec.backbone, &spec.features, spec.image.size).map_err(|fault| at(features_key(spec), fault))?;
    session.weights_digest(&spec.backbone, spec.seed).map_err(|fault| at("backbone.weights", fault))?;
    let key = if spec.classes.is_empty() { "dataset" } else { "classes" };
    let index = session.index(&spec.dataset, &spec.classes).map_err(|fault| at(key, fault))?;
    let split = split(&index, &spec.protocol, spec.seed, &mut session.digests());
    check_seen(run, &split.map_err(|fault| at(seen_key(spec, &index), fault))?)?;
    check_banks(run, feature_shape(&spec.backbone, &spec.features, spec.image.size)?.dim)?;
    if let Some(outlier) = spec.method["bank"]["outlier"]["dataset"].as_str()
        && spec.method["bank"]["outlier"]["enabled"] == true
    {
        session.catalog.get(outlier).map_err(|fault| at("method.bank.outlier.dataset", fault))?;
        let textures = session.index(outlier, &[]).map_err(outlier_needed)?;
        let wanted = spec.method["bank"]["outlier"]["images_per_category"].as_u64().unwrap_or(0) as usize;
        if let Some(category) = textures.classes.iter().find(|category| category.train.len() < wanted) {
            let what = format!(
                "category `{}` of `{outlier}` has {} images, {wanted} are wanted",
                category.name,
                category.train.len()
            );
            return Err(run.fault("method.bank.outlier.images_per_category", what, Some("lower it".into())));
        }
    }
    methods::build(&spec.method, spec.seed).map(drop)
}

/// The key behind a fault of `feature_shape`.
fn features_key(spec: &RunSpec) -> &'static str {
    if spec.features.patch.is_multiple_of(2) { "features.patch" } else { "features.dim" }
}

/// The key behind a fault of `split`.
fn seen_key(spec: &RunSpec, index: &Index) -> &'static str {
    let known = spec.protocol.seen.exclude_classes.iter().all(|name| index.class(name).is_some());
    if known { "protocol.seen.count" } else { "protocol.seen.exclude_classes" }
}

/// Says why a dataset that the experiment may not even name is wanted.
fn outlier_needed(fault: Error) -> Error {
    match fault {
        Error::Data { path, what, help } => {
            let why = "its textures make the outlier bank: `method.bank.outlier.dataset` names another set, `method.bank.outlier.enabled = false` does without";
            Error::Data { path, what, help: if help.is_empty() { why.into() } else { format!("{help}; {why}") } }
        }
        other => other,
    }
}

/// Seen anomalies decide attention and losses of a whole run, so there must be some wherever a model expects them.
fn check_seen(run: &Run, split: &Split) -> Result<()> {
    let seen = &run.spec.protocol.seen;
    if seen.count == 0 {
        return Ok(());
    }
    let key = "protocol.seen.exclude_classes";
    if split.classes.iter().all(|class| class.seen.is_empty()) {
        let help = "set `protocol.seen.count` to 0, or leave a class in";
        return Err(run.fault(key, "every class is excluded, so no anomaly is seen", Some(help.into())));
    }
    if run.spec.protocol.setting == Setting::PerClass && !seen.exclude_classes.is_empty() {
        let help = "narrow `classes`, or use the unified setting, where other classes' anomalies are seen";
        return Err(run.fault(
            key,
            "with one model per class, an excluded class would have no seen anomaly at all",
            Some(help.into()),
        ));
    }
    Ok(())
}

/// A random projection cannot have more columns than the features.
fn check_banks(run: &Run, dim: usize) -> Result<()> {
    let projection = run.spec.method["bank"]["normal"]["projection"].as_u64().unwrap_or(0) as usize;
    if projection <= dim {
        return Ok(());
    }
    let what = format!("a projection to {projection} columns is wanted of features with {dim}");
    Err(run.fault("method.bank.normal.projection", what, Some("0 = no projection".into())))
}

/// Reads the dataset and splits it.
pub fn prepare(session: &Session, run: &Run) -> Result<Prepared> {
    let spec = run.spec.clone();
    let index = session.index(&spec.dataset, &spec.classes)?;
    let mut digests = session.digests();
    let split = split(&index, &spec.protocol, spec.seed, &mut digests)?;
    let mut images: Vec<Image> = Vec::new();
    let mut truth = blake3::Hasher::new();
    for class in &split.classes {
        images.extend(class.train.iter().chain(&class.pool).cloned());
        images.extend(class.seen.iter().map(|seen| seen.image.clone()));
        for labelled in class.truth.images() {
            truth.update(
                format!("{}\n{}\n{}\n{}\n", class.name, labelled.image.path, labelled.defect, labelled.anomalous)
                    .as_bytes(),
            );
            if let Some(mask) = &labelled.mask {
                truth.update(&digests.of([&mask_image(mask)])?[0]);
            }
        }
    }
    let dataset_digest = hex(&list_digest(&mut digests, &images)?);
    digests.save()?;
    drop(digests);
    let architecture = Architecture::find(&spec.backbone.name)?;
    let taps = architecture.taps(&spec.backbone.layers)?;
    Ok(Prepared {
        shape: feature_shape(&spec.backbone, &spec.features, spec.image.size)?,
        truth_digest: truth.finalize().to_hex().to_string(),
        dataset_digest,
        weights_digest: session.weights_digest(&spec.backbone, spec.seed)?,
        backbone_parameters: architecture
            .tensors(&taps)
            .iter()
            .map(|tensor| tensor.shape.iter().product::<usize>())
            .sum(),
        skipped: index.skipped.len(),
        split,
        spec,
    })
}

/// A mask as something that has a content digest.
fn mask_image(mask: &MaskSource) -> Image {
    let source = match mask {
        MaskSource::File(path) => Source::File(path.clone()),
        MaskSource::Synthetic(drawing) => Source::Synthetic(drawing.clone()),
    };
    Image { path: String::new(), source }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Prepared {
    /// Classes that share a model: all of them, or each alone.
    pub fn groups(&self, run: &Run) -> Vec<Vec<usize>> {
        let all = 0..self.split.classes.len();
        match run.spec.protocol.setting {
            Setting::Unified => vec![all.collect()],
            Setting::PerClass => all.map(|class| vec![class]).collect(),
        }
    }

    /// What labels the numbers of this run: whatever makes them not comparable with a full run on a real backbone.
    pub fn labels(&self, session: &Session, spec: &RunSpec, method: Vec<String>) -> Vec<String> {
        let mut labels = method;
        if spec.backbone.weights == "random" {
            labels.push("random backbone weights".into());
        }
        if spec.protocol.is_subsampled() {
            labels.push("subsampled images".into());
        }
        let label = session.catalog.get(&spec.dataset).map_or("", |entry| entry.layout.label());
        labels.extend((!label.is_empty()).then(|| label.into()));
        if !spec.classes.is_empty() {
            labels.push(format!("only {} classes of the dataset", spec.classes.len()));
        }
        labels
    }

    /// The environment that methods may ask for further images.
    pub fn environment<'a>(&'a self, session: &'a Session) -> RunEnvironment<'a> {
        RunEnvironment { session, prepared: self }
    }

    /// The inputs of one model.
    pub fn inputs<'a>(
        &'a self,
        session: &'a Session,
        graph: &mut Graph<'a>,
        environment: &'a RunEnvironment<'a>,
        group: &[usize],
    ) -> Result<Inputs<'a>> {
        let (mut classes, mut tested) = (Vec::new(), Vec::new());
        for &number in group {
            let class = &self.split.classes[number];
            let train = environment.features(graph, &class.train, &format!("{} train features", class.name))?;
            let pool = environment.features(graph, &class.pool, &format!("{} test features", class.name))?;
            let mut seen = Vec::new();
            // Seen anomalies come out of the pool, or (VisA's two-class splits) from images of their own.
            let own: Vec<Image> =
                class.seen.iter().map(|s| s.image.clone()).filter(|image| !class.pool.contains(image)).collect();
            let own_stage = match own.is_empty() {
                true => pool,
                false => environment.features(graph, &own, &format!("{} seen features", class.name))?,
            };
            for anomaly in &class.seen {
                let in_pool = class.pool.iter().position(|image| *image == anomaly.image);
                let in_own = || own.iter().position(|image| *image == anomaly.image);
                let (features, image) = match in_pool {
                    Some(position) => (pool, position),
                    None => {
                        (own_stage, in_own().unwrap_or_else(|| unreachable!("own images are those outside the pool")))
                    }
                };
                let digest = session
                    .digests()
                    .of([&anomaly.image, &mask_image(&anomaly.mask)])?
                    .iter()
                    .map(|d| hex(d))
                    .collect();
                seen.push(SeenInput { features, image, anomaly: anomaly.clone(), digest });
            }
            classes.push(ClassInputs { name: class.name.clone(), train, train_images: class.train.len(), seen });
            tested.push(Tested { name: class.name.clone(), pool, images: class.test.clone() });
        }
        Ok(Inputs {
            classes,
            tested,
            grid: (self.shape.height, self.shape.width),
            dim: self.shape.dim,
            seed: self.spec.seed,
            device: session.device.clone(),
            image: self.spec.image.clone(),
            environment,
        })
    }
}

/// Gives methods outlier textures and features of further images.
pub struct RunEnvironment<'a> {
    session: &'a Session,
    prepared: &'a Prepared,
}

impl Environment for RunEnvironment<'_> {
    fn outliers(&self, dataset: &str) -> Result<Vec<OutlierCategory>> {
        let index: Arc<Index> = self.session.index(dataset, &[])?;
        Ok(index
            .classes
            .iter()
            .map(|class| OutlierCategory { name: class.name.clone(), images: class.train.clone() })
            .collect())
    }

    fn features<'a>(&'a self, graph: &mut Graph<'a>, images: &[Image], label: &str) -> Result<StageId> {
        let spec = &self.prepared.spec;
        let digest = hex(&list_digest(&mut self.session.digests(), images)?);
        let images = images.to_vec();
        // Resolved, so that a default and the same thing spelled out are one stage.
        let architecture = Architecture::find(&spec.backbone.name)?;
        let taps = architecture.taps(&spec.backbone.layers)?;
        let layers: Vec<&str> = taps.iter().map(|tap| tap.name).collect();
        let shape = self.prepared.shape;
        let operations = architecture.operations(&taps, spec.image.size) * images.len() as f64;
        let per_image = architecture.memory_bytes(&taps, spec.image.size) + 4 * shape.patches() * shape.dim;
        let work = Work::matrix(images.len() * shape.patches(), shape.dim, operations);
        Ok(graph.add(Stage {
            kind: "features",
            version: features::CODE_VERSION,
            params: json!({
                "image": spec.image, "backbone": spec.backbone.name, "layers": layers, "features": spec.features,
                "chunk": features::CHUNK_IMAGES,
            }),
            inputs: Vec::new(),
            images: digest,
            weights: self.prepared.weights_digest.clone(),
            label: label.into(),
            work: work.with_memory(per_image * features::images_in_flight(u64::MAX, per_image)),
            compute: Box::new(move |job| compute_features(self.session, spec, &self.prepared.shape, &images, job)),
        }))
    }
}

fn compute_features(
    session: &Session,
    spec: &spec::RunSpec,
    shape: &Shape,
    images: &[Image],
    job: &Job,
) -> Result<Computed> {
    let backbone = session.backbone(&spec.backbone, spec.seed)?;
    let rows = images.len() * shape.patches();
    let mut writer = job.create(vec![TensorDecl::f32("features", &[rows, shape.dim])])?;
    let load = |number: usize| Ok(load_rgb(&images[number], &spec.image)?.data);
    let mut written = 0;
    let sink = |chunk: crate::matrix::Matrix| {
        written += chunk.len();
        (job.progress)(written / shape.patches(), images.len());
        writer.f32(chunk.view().data())
    };
    let per_image =
        backbone.architecture().memory_bytes(backbone.taps(), spec.image.size) + 4 * shape.patches() * shape.dim;
    let in_flight = features::images_in_flight(job.memory_bytes, per_image);
    features::extract(&backbone, &spec.features, spec.image.size, images.len(), in_flight, load, sink)?;
    Ok(Computed::new(writer, json!({ "images": images.len(), "weights": backbone.source() })))
}
