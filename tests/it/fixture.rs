//! Records that carry the paper's names, numbers of test images and weights, with made-up scores: what verdicts and claims
//! are held with. They are written through the program's own record types, once for all tests that want them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use dmad::methods::{Scoring, Select};
use dmad::metrics::{Definitions, Level, image_metrics};
use dmad::record::{
    ClassResult, Cost, ImageRow, MetricRow, Provenance, Record, Results, RunFolder, rebuild_views, write,
    write_experiment,
};
use dmad::spec::{MetricName, RunSpec, load};
use dmad::store::{Artifact, Lookup, Spent, Store, TensorDecl};

/// A class with its numbers of anomalous and normal test images, and the image AUROC that "full" is given without and with
/// seen anomalies.
pub type Class = (&'static str, usize, usize, f64, f64);

/// Numbers of images as the catalog and the paper have them.
const CLASSES: [Class; 3] =
    [("toothbrush", 30, 12, 0.917, 0.99), ("carpet", 89, 28, 0.99, 0.99), ("bottle", 63, 20, 0.90, 0.99)];

/// The study that the records are of.
pub fn study() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/judged.toml")
}

/// Writes the records into `results`.
pub fn copy_to(results: &Path) {
    static FILES: OnceLock<BTreeMap<PathBuf, Vec<u8>>> = OnceLock::new();
    let made = || {
        let folder = tempfile::tempdir().expect("a folder");
        make(folder.path(), &study());
        let mut files = BTreeMap::new();
        read(folder.path(), folder.path(), &mut files);
        files
    };
    for (name, bytes) in FILES.get_or_init(made) {
        let path = results.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    }
}

/// All files below `folder`, by their path below `root`.
fn read(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path()) {
        if path.is_dir() {
            read(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below").to_path_buf();
            files.insert(name, std::fs::read(path).expect("a file"));
        }
    }
}

/// Which runs are left out: some seeds of "once", all of "absent".
fn is_recorded(spec: &RunSpec) -> bool {
    match (spec.variant.as_str(), spec.protocol.seen.count) {
        ("once", _) | ("full", 1) => spec.seed == 0,
        ("absent", _) => false,
        _ => true,
    }
}

/// The image AUROC that a run is given in a class.
fn target(spec: &RunSpec, (.., plain, supervised): Class) -> f64 {
    match spec.variant.as_str() {
        "rival" => 0.80,
        "near" => supervised - 0.001,
        _ if spec.protocol.seen.count == 0 => plain,
        _ => supervised,
    }
}

/// Scores with about this AUROC: normal images at 0, 1, 2 …, every fourth anomaly low among them, the others above all.
fn images(spec: &RunSpec, class: Class) -> Vec<ImageRow> {
    let (name, anomalous, normal, ..) = class;
    let seen = spec.protocol.seen.count;
    let low = (1.0 - 4.0 * (1.0 - target(spec, class))).max(0.0) * normal as f64;
    let turn = spec.seed as usize + usize::from(spec.variant == "near") * 2;
    let row = |path: String, defect: &str, label: bool, score: f64| ImageRow {
        class: name.into(),
        path,
        defect: defect.into(),
        label,
        score: score / 128.0,
    };
    let good = (0..normal).map(|image| row(format!("{name}/test/good/{image:03}.png"), "good", false, image as f64));
    let bad = (seen..anomalous).map(|image| {
        let score = if (image + turn).is_multiple_of(4) { low.round() - 0.5 } else { normal as f64 + image as f64 };
        row(format!("{name}/test/defect/{image:03}.png"), "defect", true, score)
    });
    good.chain(bad).collect()
}

fn class_result(spec: &RunSpec, class: Class) -> ClassResult {
    let images = images(spec, class);
    let scores: Vec<f64> = images.iter().map(|image| image.score).collect();
    let labels: Vec<bool> = images.iter().map(|image| image.label).collect();
    let measured = image_metrics(&scores, &labels, &Definitions::default()).expect("finite scores");
    let mut metrics: Vec<MetricRow> = measured
        .into_iter()
        .map(|metric| MetricRow {
            metric: metric.name.as_str().into(),
            value: metric.value.ok(),
            reason: String::new(),
            positives: metric.n_pos,
            negatives: metric.n_neg,
        })
        .collect();
    for (number, name) in MetricName::of(Level::Pixel).enumerate() {
        let value = target(spec, class) - 0.01 * number as f64 - 0.001 * spec.seed as f64;
        let (positives, negatives) = (5000, 60_000);
        metrics.push(MetricRow {
            metric: name.as_str().into(),
            value: Some(value),
            reason: String::new(),
            positives,
            negatives,
        });
    }
    ClassResult { name: class.0.into(), metrics, images, regions: 10, empty_masks: 0 }
}

fn mean(name: &str, classes: &[ClassResult]) -> MetricRow {
    let rows: Vec<&MetricRow> = classes.iter().flat_map(|c| &c.metrics).filter(|row| row.metric == name).collect();
    MetricRow {
        metric: name.into(),
        value: Some(rows.iter().filter_map(|row| row.value).sum::<f64>() / rows.len() as f64),
        reason: String::new(),
        positives: rows.iter().map(|row| row.positives).sum(),
        negatives: rows.iter().map(|row| row.negatives).sum(),
    }
}

fn provenance() -> Provenance {
    Provenance {
        labels: Vec::new(),
        whole_dataset_digest: String::new(),
        dataset_digest: blake3::hash(b"MVTec-AD as the paper has it").to_hex().to_string(),
        weights_digest: blake3::hash(b"wide_resnet50_2-95faca4d").to_hex().to_string(),
        device: "cpu".into(),
        device_name: "a processor".into(),
        precision: String::new(),
        threads: 1,
        jobs: 1,
        wall_seconds: 1.0,
        cpu_seconds: 1.0,
        peak_memory_bytes: 1_000_000,
        duplicates: 0,
        skipped_files: 0,
        cost: Cost { parameters: 1_000_000, bank_bytes: 1_000_000, milliseconds_per_image: 1.0 },
        stages: Vec::new(),
    }
}

/// One score per image as an artifact, which is what a record takes.
fn artifact(store: &Store, run: &str, class: &ClassResult) -> Arc<Artifact> {
    let (key, count) = (format!("{run}-{}", class.name), class.images.len());
    let mut writer = store.create("scores", &key, vec![TensorDecl::f32("scores", &[1, count, 1])]).expect("a writer");
    let scores: Vec<f32> = class.images.iter().map(|image| image.score as f32).collect();
    writer.f32(&scores).expect("written");
    writer.finish(serde_json::Value::Null, &Spent::default()).expect("written");
    match store.lookup("scores", &key) {
        Lookup::Found(artifact) => artifact,
        _ => panic!("{key} was just written"),
    }
}

/// Makes the records of a study with these variants below `results`.
pub fn make(results: &Path, study: &Path) {
    make_of(results, study, &CLASSES);
}

/// The same with other classes.
pub fn make_of(results: &Path, study: &Path, classes: &[Class]) {
    let experiment = load(study, &dmad::report::kinds(), &[]).unwrap_or_else(|e| panic!("{e}"));
    let target = results.join(&experiment.name);
    std::fs::create_dir_all(&target).expect("a folder");
    write_experiment(&target, &experiment).expect("written");
    let scoring = Scoring { top_k: 1, sigma: 4.0, align_corners: false, select: Select::Last, ..Scoring::default() };
    let scratch = tempfile::tempdir().expect("a folder");
    let store = Store::open(scratch.path()).expect("a store");
    for run in experiment.runs.iter().filter(|run| is_recorded(&run.spec)) {
        let known = classes.iter().filter(|class| run.spec.variant != "part" || class.0 != "bottle");
        let classes: Vec<ClassResult> = known.map(|class| class_result(&run.spec, *class)).collect();
        let means = MetricName::ALL.iter().map(|name| mean(name.as_str(), &classes)).collect();
        let results = Results { classes, means, epoch: 0, curve: Vec::new() };
        let scores: Vec<_> = results.classes.iter().map(|class| artifact(&store, &run.spec.id, class)).collect();
        let record = Record {
            experiment: &experiment,
            run,
            key: &run.spec.id,
            results: &results,
            scores: &scores,
            grid: (1, 1),
            scoring,
            models: &[],
            provenance: &provenance(),
        };
        write(&RunFolder::new(&target, &run.spec.id), &record).unwrap_or_else(|e| panic!("{e}"));
    }
    rebuild_views(&target, &experiment).expect("views");
}
