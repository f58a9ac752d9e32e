//! From a run to its inputs: dataset, split, feature stages. Nothing is computed here but digests.

use std::sync::Arc;

use super::extract::Extract;
use super::given::{Data, Datas};
use super::session::Session;
use crate::backbone::weights::{self, Resolved, resolve};
use crate::backbone::{ARCHITECTURES, Architecture, Kind};
use crate::data::{Image, Listed, Split, check_geometry, hex};
use crate::device::{DeviceKind, Precision};
use crate::error::{Error, Result};
use crate::features::{Shape, feature_shape};
use crate::methods::{self, ExtraDataset, Given};
use crate::plan::{
    ClassInputs, Environment, Features, Graph, Handle, Inputs, NetworkInput, OutlierCategory, Pictures, SeenInput,
    Tested,
};
use crate::spec::{Budget, Run, RunSpec, Setting, StoredAs};

/// A run with its data known.
pub struct Prepared {
    pub data: Arc<Data>,
    /// Shape of one image's features.
    pub shape: Shape,
    /// Digest of the backbone's weights.
    pub weights_digest: String,
    /// Numbers in the backbone.
    pub backbone_parameters: usize,
    pub spec: RunSpec,
}

/// Everything about a run that can go wrong before work starts, as faults of the experiment file where they are its; the
/// run's data where there is none.
pub fn check(session: &Session, run: &Run, datas: &Datas) -> Result<Arc<Data>> {
    let spec = &run.spec;
    let at = |key: &str, fault: Error| at(run, key, fault);
    session.knows(&spec.dataset).map_err(|fault| at("dataset", fault))?;
    let twice = spec.classes.iter().enumerate().find(|(place, name)| spec.classes[..*place].contains(name));
    if let Some((_, name)) = twice {
        return Err(run.fault("classes", format!("class `{name}` is there twice"), Some("name it once".into())));
    }
    let architecture = Architecture::find(&spec.backbone.name).map_err(|fault| at("backbone.name", fault))?;
    let taps = architecture.taps(&spec.backbone.layers).map_err(|fault| at("backbone.layers", fault))?;
    check_network(run, architecture)?;
    check_geometry(&spec.image).map_err(|fault| at("image.resize", fault))?;
    architecture.map_sides(&taps, spec.image.size).map_err(|fault| at("image.size", fault))?;
    let key = if spec.features.patch.is_multiple_of(2) { "features.patch" } else { "features.dim" };
    let shape = feature_shape(&spec.backbone, &spec.features, spec.image.size).map_err(|fault| at(key, fault))?;
    // What is absent is independent of each other, and is told at once: weights, images, other datasets.
    let weights = session.weights_digest(&spec.backbone, spec.seed).map_err(|fault| at("backbone.weights", fault));
    let data = check_images(session, run, datas);
    let others = check_method(session, run, shape, taps.len());
    match data {
        Ok(data) => {
            let found = std::iter::once(weights.map(drop)).chain(others);
            Error::all(found.filter_map(Result::err).collect()).map(|()| data)
        }
        Err(fault) => {
            let found = [weights.map(drop), Err(fault)].into_iter().chain(others);
            Error::all(found.filter_map(Result::err).collect()).map(|()| unreachable!("one of them is a fault"))
        }
    }
}

/// The images are there, and enough of them.
fn check_images(session: &Session, run: &Run, datas: &Datas) -> Result<Arc<Data>> {
    let spec = &run.spec;
    let key = if spec.classes.is_empty() { "dataset" } else { "classes" };
    let index = session.index(&spec.dataset, &spec.classes).map_err(|fault| at(run, key, fault))?;
    let known = spec.protocol.seen.exclude_classes.iter().all(|name| index.class(name).is_some());
    let key = if known { "protocol.seen.count" } else { "protocol.seen.exclude_classes" };
    let data = datas.of(session, spec).map_err(|fault| at(run, key, fault))?;
    check_seen(run, &data.split)?;
    Ok(data)
}

/// Keys and methods that only one kind of network serves.
fn check_network(run: &Run, architecture: &Architecture) -> Result<()> {
    let (name, kind) = (architecture.name, architecture.kind());
    if kind != Kind::Transformer && !run.spec.backbone.positions.is_default() {
        let help = "leave it out: it is for vision transformers";
        return Err(run.fault("backbone.positions", format!("{name} has no table of positions"), Some(help.into())));
    }
    let Some(wanted) = methods::network(run).filter(|wanted| *wanted != kind) else { return Ok(()) };
    let what = match wanted {
        Kind::Convolutions => "a network of convolutions",
        Kind::Transformer => "a vision transformer",
    };
    let others = ARCHITECTURES.iter().filter(|row| row.kind() == wanted).map(|row| row.name);
    let message = format!("method `{}` needs {what}, and {name} is none", run.spec.method_name());
    Err(run.fault("backbone.name", message, Some(format!("one of: {}", others.collect::<Vec<_>>().join(", ")))))
}

/// What the method itself finds wrong, and the datasets that it uses besides the experiment's own.
fn check_method(session: &Session, run: &Run, shape: Shape, layers: usize) -> Vec<Result<()>> {
    let (method, spec) = (methods::of(run), &run.spec);
    let given = Given {
        grid: (shape.height, shape.width),
        dim: shape.dim,
        layers,
        side: spec.image.size,
        seen_count: spec.protocol.seen.count,
    };
    let own =
        method.check(&given).map_err(|fault| run.fault(&format!("method.{}", fault.key), fault.message, fault.help));
    let others = method.datasets();
    let others = others.iter().map(|extra| check_extra(session, run, extra));
    std::iter::once(own).chain(others).collect()
}

/// A dataset that the experiment may not even name is there, with images enough.
fn check_extra(session: &Session, run: &Run, extra: &ExtraDataset) -> Result<()> {
    let ExtraDataset { name, key, why, per_class } = extra;
    session.knows(name).map_err(|fault| at(run, &format!("method.{key}"), fault))?;
    let index = session.index(name, &[]).map_err(|fault| match fault {
        Error::Data { path, what, help } => {
            let drawn = session.catalog.entries().find(|entry| entry.layout.folders().is_none() && entry.only_trains());
            let drawn =
                drawn.map(|entry| format!("; method.{key} = \"{}\" needs no file: the program draws it", entry.name));
            let drawn = drawn.unwrap_or_default();
            let help = if help.is_empty() { format!("{why}{drawn}") } else { format!("{help}; {why}{drawn}") };
            Error::Data { path, what, help }
        }
        other => other,
    })?;
    let (wanted, key, help) = per_class.map_or((1, *key, "name another dataset"), |(n, key)| (n, key, "lower it"));
    let Some(few) = index.classes.iter().find(|class| class.train.len() < wanted) else { return Ok(()) };
    let what = format!("category `{}` of `{name}` has {} images, {wanted} are wanted", few.name, few.train.len());
    Err(run.fault(&format!("method.{key}"), what, Some(help.into())))
}

/// A fault of usage, as one of the experiment file.
fn at(run: &Run, key: &str, fault: Error) -> Error {
    match fault {
        Error::Usage { what, help } => run.fault(key, what, Some(help)),
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
        let what = "with one model per class, an excluded class would have no seen anomaly at all";
        return Err(run.fault(key, what, Some(help.into())));
    }
    Ok(())
}

/// Reads the dataset and splits it.
pub fn prepare(session: &Session, run: &Run) -> Result<Prepared> {
    with_data(session, run, Arc::new(Data::new(session, &run.spec)?))
}

/// What [`prepare`] gives, of a run whose data are known.
pub fn with_data(session: &Session, run: &Run, data: Arc<Data>) -> Result<Prepared> {
    let spec = run.spec.clone();
    let architecture = Architecture::find(&spec.backbone.name)?;
    let tensors = architecture.tensors(&architecture.taps(&spec.backbone.layers)?);
    Ok(Prepared {
        data,
        shape: feature_shape(&spec.backbone, &spec.features, spec.image.size)?,
        weights_digest: session.weights_digest(&spec.backbone, spec.seed)?,
        backbone_parameters: tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum(),
        spec,
    })
}

impl Prepared {
    /// Classes that share a model: all of them, or each alone.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let all = 0..self.data.split.classes.len();
        match self.spec.protocol.setting {
            Setting::Unified => vec![all.collect()],
            Setting::PerClass => all.map(|class| vec![class]).collect(),
        }
    }

    /// What labels the numbers of this run: whatever makes them not comparable with a full run on a real backbone.
    pub fn labels(&self, session: &Session, run: &Run) -> Vec<String> {
        let (mut labels, spec) = (methods::labels(run), &self.spec);
        if spec.backbone.weights == "random" {
            labels.push("random backbone weights".into());
        }
        if weights::are_unchecked(&spec.backbone, &session.resources.weights) {
            labels.push("imported backbone weights, not of the published file".into());
        }
        let others = methods::of(run).datasets();
        let datasets = std::iter::once(spec.dataset.as_str()).chain(others.iter().map(|other| other.name.as_str()));
        for name in datasets.filter(|name| session.catalog.is_redeclared(name)) {
            labels.push(format!("{name} as an own catalog declares it"));
        }
        if spec.protocol.is_subsampled() {
            labels.push("subsampled images".into());
        }
        if spec.features.store != StoredAs::F32 {
            labels.push(format!("features kept in {}", spec.features.store.name()));
        }
        if session.resources.device.kind != DeviceKind::Cpu && session.resources.precision == Precision::Tf32 {
            labels.push("networks multiply in TF32".into());
        }
        if spec.protocol.seen.budget == Budget::Defect && spec.protocol.seen.count > 0 {
            labels.push("seen anomalies counted by kind of defect, not by class".into());
        }
        match self.data.leaked {
            0 => {}
            1 => labels.push("1 test image is a training image".into()),
            count => labels.push(format!("{count} test images are training images")),
        }
        let label = session.catalog.get(&spec.dataset).map_or("", |entry| entry.layout.label());
        labels.extend((!label.is_empty()).then(|| label.into()));
        if !spec.classes.is_empty() {
            labels.push(format!("only {} classes of the dataset", spec.classes.len()));
        }
        labels
    }
}

/// Gives methods outlier textures and features of further images.
pub struct RunEnvironment<'a> {
    pub session: &'a Session,
    pub prepared: &'a Prepared,
}

impl RunEnvironment<'_> {
    /// The inputs of one model.
    pub fn inputs<'a>(&'a self, graph: &mut Graph<'a>, group: &[usize]) -> Result<Inputs<'a>> {
        let Prepared { data, shape, spec, weights_digest, .. } = self.prepared;
        let (mut classes, mut tested) = (Vec::new(), Vec::new());
        for &number in group {
            let (class, lists) = (&data.split.classes[number], &data.lists[number]);
            let train = self.extract(graph, &lists.train, &format!("{} train features", class.name))?;
            let pool = self.extract(graph, &lists.pool, &format!("{} test features", class.name))?;
            // Seen anomalies come out of the pool, or (VisA's two-class splits) from images of their own.
            let own = match lists.own.is_empty() {
                true => pool.clone(),
                false => self.extract(graph, &lists.own, &format!("{} seen features", class.name))?,
            };
            let mut seen = Vec::new();
            for (anomaly, digests) in class.seen.iter().zip(&lists.seen) {
                let place = |images: &[Image]| images.iter().position(|image| *image == anomaly.image);
                let (features, place) =
                    place(&class.pool).map_or((&own, place(lists.own.images())), |place| (&pool, Some(place)));
                let Some(image) = place else { unreachable!("own images are those outside the pool") };
                seen.push(SeenInput {
                    features: features.clone(),
                    image,
                    anomaly: anomaly.clone(),
                    digest: digests.iter().map(hex).collect(),
                    mask: digests[1],
                });
            }
            let (name, train_images, pictures) = (class.name.clone(), class.train.len(), self.shown(&lists.train));
            classes.push(ClassInputs { name, train, train_images, pictures, seen });
            let (name, pictures) = (class.name.clone(), self.shown(&lists.tested));
            tested.push(Tested { name, pool, images: class.test.clone(), pictures });
        }
        Ok(Inputs {
            classes,
            tested,
            grid: (shape.height, shape.width),
            dim: shape.dim,
            seed: spec.seed,
            device: self.session.device.clone(),
            image: spec.image.clone(),
            network: NetworkInput::new(&spec.backbone, weights_digest, self)?,
            environment: self,
        })
    }

    fn listed(&self, images: &[Image]) -> Result<Listed> {
        Listed::new(images, &mut self.session.digests())
    }

    fn shown(&self, listed: &Listed) -> Pictures {
        Pictures::new(listed.clone(), self.prepared.spec.image.clone())
    }

    fn extract<'a>(&'a self, graph: &mut Graph<'a>, listed: &Listed, label: &str) -> Result<Handle<Features>> {
        Ok(graph.add(Extract::new(self, listed.clone(), label)?))
    }
}

impl Environment for RunEnvironment<'_> {
    fn outliers(&self, dataset: &str) -> Result<Vec<OutlierCategory>> {
        let index = self.session.index(dataset, &[])?;
        let classes = index.classes.iter();
        Ok(classes.map(|class| OutlierCategory { name: class.name.clone(), images: class.train.clone() }).collect())
    }

    fn pictures(&self, images: &[Image]) -> Result<Pictures> {
        Ok(self.shown(&self.listed(images)?))
    }

    fn weights(&self) -> Result<Resolved> {
        let spec = &self.prepared.spec;
        resolve(&spec.backbone, &self.session.resources.weights, spec.seed)
    }

    fn features<'a>(&'a self, graph: &mut Graph<'a>, images: &[Image], label: &str) -> Result<Handle<Features>> {
        self.extract(graph, &self.listed(images)?, label)
    }

    fn turned<'a>(
        &'a self,
        graph: &mut Graph<'a>,
        pictures: &Pictures,
        chosen: &[usize],
        degrees: &[u32],
        label: &str,
    ) -> Result<Handle<Features>> {
        let images: Vec<Image> = chosen.iter().map(|&image| pictures.images()[image].clone()).collect();
        Ok(graph.add(Extract::new(self, self.listed(&images)?, label)?.turned(degrees)))
    }
}
