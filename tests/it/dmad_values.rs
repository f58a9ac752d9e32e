//! DMAD's numbers where the paper or its page says what they are: banks, network, training.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use dmad::matrix::Rows;
use dmad::methods::Parameters as _;
use dmad::methods::dmad::{Network, Params, PatchRows, Trainer};
use dmad::record::RecordedRun;
use dmad::run::Event;
use dmad::spec::{MethodContext, read_params};
use dmad::store::{Artifact, Lookup, Store};
use dmad::train::{BatchNormMode, Mlp, download, linear, upload};
use serde_json::{Value as Json, json};

use crate::generator;
use crate::lab::{Lab, study, with};

/// Patches of an image of the small study, rows of 24 values.
const PATCHES: usize = 64;

/// A study of DMAD that has run, with its artifacts.
struct Studied {
    lab: Lab,
    store: Store,
}

impl Studied {
    fn new(settings: &[(&str, &str)]) -> Self {
        let lab = Lab::new();
        let (_, summary) = lab.run("study", &with(&study("dmad"), settings));
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        let store = Store::open(lab.store()).expect("a store");
        Studied { lab, store }
    }

    /// The stage of this kind whose label ends so.
    fn artifact(&self, kind: &str, label_end: &str) -> Arc<Artifact> {
        let heard = self.lab.heard();
        let key = heard.iter().find_map(|event| match event {
            Event::Computed { kind: own, key, label, .. } if own == kind && label.ends_with(label_end) => Some(key),
            _ => None,
        });
        let key = key.unwrap_or_else(|| panic!("no {kind} called {label_end}: {heard:?}"));
        match self.store.lookup(kind, key) {
            Lookup::Found(artifact) => artifact,
            _ => panic!("{kind} {key} is not whole"),
        }
    }

    /// Rows of the stage of this kind.
    fn rows(&self, kind: &str, label_end: &str) -> Vec<Vec<f32>> {
        let artifact = self.artifact(kind, label_end);
        vectors(artifact.rows(if kind == "features" { "features" } else { "rows" }).expect("rows"))
    }

    /// M_as with the class of each row, and M_p.
    fn seen(&self) -> (Vec<Vec<f32>>, Vec<u32>, Vec<Vec<f32>>) {
        let (patches, bank) = (self.artifact("seen_patches", ""), self.artifact("seen_bank", ""));
        let seen = vectors(patches.rows("rows").expect("rows"));
        let images = bank.u32("image").expect("images");
        let all = vectors(bank.rows("rows").expect("rows"));
        assert_eq!(all[..seen.len()], seen[..], "M_as comes first");
        assert!(images.iter().enumerate().all(|(row, &image)| (image == u32::MAX) == (row >= seen.len())));
        let classes = patches.u32("class").expect("classes").to_vec();
        (seen.clone(), classes, all[seen.len()..].to_vec())
    }
}

fn vectors(rows: Rows) -> Vec<Vec<f32>> {
    (0..rows.len()).map(|row| rows.row(row).to_vec()).collect()
}

/// Rows in an order that depends on nothing but their values.
fn sorted(mut rows: Vec<Vec<f32>>) -> Vec<Vec<u32>> {
    rows.sort_by(|a, b| {
        a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne()).unwrap_or(a.len().cmp(&b.len()))
    });
    rows.into_iter().map(bits).collect()
}

fn bits(row: Vec<f32>) -> Vec<u32> {
    row.into_iter().map(f32::to_bits).collect()
}

/// 0.6 of a texture's image and 0.4 of a normal one, position by position.
fn mixed(texture: &[Vec<f32>], normal: &[Vec<f32>], beta: f64) -> Vec<Vec<f32>> {
    let mix = |(&own, &partner): (&f32, &f32)| (beta * f64::from(own) + (1.0 - beta) * f64::from(partner)) as f32;
    texture.iter().zip(normal).map(|(own, partner)| own.iter().zip(partner).map(mix).collect()).collect()
}

/// All mixtures that the outlier bank may hold: for each texture those with each normal image.
fn mixtures(studied: &Studied, beta: f64) -> Vec<Vec<Vec<Vec<f32>>>> {
    let textures = studied.rows("features", "outlier features");
    let normals = [studied.rows("features", "tile train features"), studied.rows("features", "wood train features")];
    let normals = normals.concat();
    assert_eq!((textures.len(), normals.len()), (2 * PATCHES, 8 * PATCHES));
    let with_each = |texture| normals.chunks(PATCHES).map(|normal| mixed(texture, normal, beta)).collect();
    textures.chunks(PATCHES).map(with_each).collect()
}

#[test]
fn the_outlier_bank_holds_each_texture_mixed_with_one_normal_image_position_by_position() {
    let studied = Studied::new(&[("method.bank.outlier.ratio", "1.0")]);
    let bank = studied.rows("outlier_bank", "");
    let there: BTreeSet<Vec<u32>> = bank.iter().cloned().map(bits).collect();
    let mut expected = Vec::new();
    for partners in mixtures(&studied, 0.6) {
        let whole = partners.into_iter().filter(|rows| rows.iter().all(|row| there.contains(&bits(row.clone()))));
        let [partner] = whole.collect::<Vec<_>>().try_into().expect("one normal image is every texture's partner");
        expected.extend(partner);
    }
    assert_eq!(sorted(bank), sorted(expected), "all mixed rows and no other");
}

#[test]
fn a_thinned_outlier_bank_holds_mixed_rows_and_with_a_beta_of_one_texture_rows() {
    let thinned = Studied::new(&[]);
    let bank = thinned.rows("outlier_bank", "");
    let possible: BTreeSet<Vec<u32>> = mixtures(&thinned, 0.6).into_iter().flatten().flatten().map(bits).collect();
    assert_eq!(bank.len(), 2 * PATCHES / 5, "a fifth, rounded down");
    assert!(bank.into_iter().all(|row| possible.contains(&bits(row))), "a row is no mixture");

    let plain = Studied::new(&[("method.bank.outlier.beta", "1.0"), ("method.bank.outlier.ratio", "1.0")]);
    let textures = plain.rows("features", "outlier features");
    assert_eq!(sorted(plain.rows("outlier_bank", "")), sorted(textures));
}

/// Values of M_p minus its centre.
fn around(rows: &[Vec<f32>], center: &[f64]) -> Vec<f64> {
    rows.iter().flat_map(|row| row.iter().zip(center).map(|(&value, middle)| f64::from(value) - middle)).collect()
}

fn mean_row(rows: &[Vec<f32>]) -> Vec<f64> {
    let mut mean = vec![0.0; rows[0].len()];
    for row in rows {
        mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) / rows.len() as f64);
    }
    mean
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Five standard errors: one column in two million would fail by chance, and the draws are pinned.
const ERRORS: f64 = 5.0;

/// M_p is N(center, std²): every column's mean, and the deviation of all values.
fn check_scattered(rows: &[Vec<f32>], center: &[f64], std: f64, what: &str) {
    let count = rows.len() as f64;
    for (column, (own, middle)) in mean_row(rows).iter().zip(center).enumerate() {
        assert!((own - middle).abs() < ERRORS * std / count.sqrt(), "{what}: column {column}: {own}, not {middle}");
    }
    let (values, wanted) = (around(rows, center), ERRORS * std / (2.0 * count * center.len() as f64).sqrt());
    let found = (values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64).sqrt();
    assert!((found - std).abs() < wanted, "{what}: a deviation of {found}, not {std}");
}

const SEEN: (&str, &str) = ("protocol.seen.count", "2");
/// All 256 patches of four images are M_as, where eight would say little of a deviation.
const ALL_PATCHES: (&str, &str) = ("method.filter.enabled", "false");

#[test]
fn around_the_mean_of_m_as_there_are_as_many_rows_again_and_they_deviate_as_asked() {
    let studied = Studied::new(&[SEEN, ALL_PATCHES, ("method.bank.center.std", "0.05")]);
    let (seen, _, scattered) = studied.seen();
    assert_eq!((seen.len(), scattered.len()), (4 * PATCHES, 4 * PATCHES));
    check_scattered(&scattered, &mean_row(&seen), 0.05, "absolute");
    let half = Studied::new(&[SEEN, ALL_PATCHES, ("method.bank.center.count_ratio", "0.5")]);
    assert_eq!(half.seen().2.len(), seen.len() / 2, "half as many");
}

#[test]
fn a_relative_deviation_is_a_share_of_that_of_the_normal_bank() {
    let studied =
        Studied::new(&[SEEN, ALL_PATCHES, ("method.bank.center.std", "0.1"), ("method.bank.center.relative", "true")]);
    let normal: Vec<f64> = studied.rows("normal_bank", "").concat().into_iter().map(f64::from).collect();
    let (seen, _, scattered) = studied.seen();
    check_scattered(&scattered, &mean_row(&seen), 0.1 * deviation(&normal), "relative");
}

/// M_p without noise: its distinct rows with how often each is there, in order.
fn centers(rows: &[Vec<f32>]) -> Vec<(Vec<f32>, usize)> {
    rows.chunk_by(|a, b| a == b).map(|run| (run[0].clone(), run.len())).collect()
}

fn squared(row: &[f32], center: &[f32]) -> f64 {
    row.iter().zip(center).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// The mean of the rows is the centre but for the rounding of a sum to f32.
fn check_mean(rows: &[Vec<f32>], center: &[f32]) {
    for (mean, &value) in mean_row(rows).into_iter().zip(center) {
        assert!((mean - f64::from(value)).abs() <= 1e-6 * mean.abs().max(1.0), "{mean}, not {value}");
    }
}

const WITHOUT_NOISE: &[(&str, &str)] = &[SEEN, ("method.bank.center.std", "0.0")];

/// Rows of one of the two classes.
fn of_class(rows: &[Vec<f32>], classes: &[u32], class: u32) -> Vec<Vec<f32>> {
    rows.iter().zip(classes).filter(|(_, own)| **own == class).map(|(row, _)| row.clone()).collect()
}

#[test]
fn centres_of_classes_are_the_means_of_their_own_seen_patches() {
    let per_class = [WITHOUT_NOISE, &[("method.bank.center.center", "\"per_class\"")]].concat();
    let (seen, classes, scattered) = Studied::new(&per_class).seen();
    let found = centers(&scattered);
    assert_eq!(found.len(), 2, "two classes");
    for (class, (center, count)) in found.iter().enumerate() {
        let own = of_class(&seen, &classes, class as u32);
        assert_eq!(*count, own.len(), "as many rows as the class has");
        check_mean(&own, center);
    }
}

const TWO_MEANS: &[(&str, &str)] = &[
    SEEN,
    ("method.bank.center.std", "0.0"),
    ("method.bank.center.center", "\"kmeans\""),
    ("method.bank.center.clusters", "2"),
];

#[test]
fn centres_of_k_means_are_the_means_of_the_rows_that_are_nearest_to_them() {
    let (seen, _, scattered) = Studied::new(TWO_MEANS).seen();
    let found = centers(&scattered);
    assert_eq!(found.len(), 2, "two clusters");
    for (number, (center, count)) in found.iter().enumerate() {
        let other = &found[1 - number].0;
        let nearest = |row: &&Vec<f32>| squared(row, center) < squared(row, other);
        assert_eq!(*count, seen.len() / 2, "every centre has its share of the rows");
        check_mean(&seen.iter().filter(nearest).cloned().collect::<Vec<_>>(), center);
    }
}

#[test]
fn centres_of_k_means_are_the_means_of_two_classes_that_lie_apart() {
    let (seen, classes, scattered) = Studied::new(&[TWO_MEANS, &[ALL_PATCHES]].concat()).seen();
    let groups = [0, 1].map(|class| of_class(&seen, &classes, class));
    let means = [0, 1].map(|class| mean_row(&groups[class]).into_iter().map(|value| value as f32).collect::<Vec<_>>());
    for (class, group) in groups.iter().enumerate() {
        let apart = |row: &Vec<f32>| squared(row, &means[class]) < squared(row, &means[1 - class]);
        assert!(group.iter().all(apart), "a patch of class {class} is nearer to the other one");
    }
    let mut found = centers(&scattered);
    assert_eq!(found.len(), 2, "two clusters");
    found.sort_by(|a, b| squared(&a.0, &means[0]).total_cmp(&squared(&b.0, &means[0])));
    for (group, (center, count)) in groups.iter().zip(&found) {
        assert_eq!(*count, 2 * PATCHES);
        check_mean(group, center);
    }
}

/// Settings of DMAD as a run resolves them.
fn params(written: &Json, seen: usize) -> Params {
    let mut params: Params = read_params(written).unwrap_or_else(|fault| panic!("{}", fault.message));
    params.resolve(&MethodContext { seen_count: seen });
    params
}

const DIM: usize = 6;

fn generated(rows: usize, seed: u64, device: &Device) -> Tensor<2> {
    upload(generator::features(rows, DIM, seed), [rows, DIM], device)
}

/// Rows of two images with neighbours of their own.
fn patch_rows(rows: usize, seed: u64, device: &Device) -> PatchRows {
    PatchRows {
        patch: generated(rows, seed, device),
        normal: generated(rows, seed + 1, device),
        abnormal: Some(generated(rows, seed + 2, device)),
        rows_per_image: vec![rows / 2, rows - rows / 2],
    }
}

#[test]
fn with_token_attention_both_banks_have_the_same_knowledge_and_no_neighbour_changes_it() {
    let device = Device::flex();
    let of = |mode: &str, neighbour: &Tensor<2>, bank: usize| {
        let written = json!({ "attention": { "mode": mode }, "knowledge": { "distance": false, "batch_norm": "off" } });
        let network = Network::new(&params(&written, 0), DIM, true);
        let (mut parameters, rows) = (network.initial(3, &device), patch_rows(10, 60, &device));
        let known = network.knowledge(&mut parameters, &rows, bank, neighbour.clone(), BatchNormMode::Evaluate);
        (download(known), download(linear(&parameters, "attn.value", rows.patch)))
    };
    let rows = patch_rows(10, 60, &device);
    let (normal, abnormal, other) = (rows.normal, rows.abnormal.expect("given"), generated(10, 90, &device));
    let (known, value) = of("token", &normal, 0);
    assert_eq!(known, value, "A = W_v q + b_v");
    for (neighbour, bank) in [(&abnormal, 1), (&other, 0), (&other, 1)] {
        assert_eq!(of("token", neighbour, bank).0, known, "bank {bank}");
    }
    for mode in ["image", "literal"] {
        assert_ne!(of(mode, &normal, 0).0, of(mode, &abnormal, 0).0, "{mode} attention looks at the neighbour");
    }
}

#[test]
fn the_network_has_as_many_parameters_as_its_page_says() {
    let size = |written: Json, has_abnormal: bool| Network::new(&params(&written, 0), 1536, has_abnormal).size();
    let bare = || json!({ "attention": { "mode": "off" } });
    let (projection, scoring, one_bank, attention, norm) = (2_360_832, 7_877_632, 6_304_768, 2_360_832, 3_072);
    let mlp = |inputs| Mlp { prefix: "mlp", inputs, blocks: 4, hidden: 1024, skips: true }.size();
    assert_eq!((mlp(3 * 1536), mlp(2 * 1536)), (scoring, one_bank));
    assert_eq!(size(bare(), true), projection + scoring);
    assert_eq!(size(bare(), false), projection + one_bank);
    let full = projection + scoring + 2 * attention + norm;
    assert_eq!(size(json!({}), true), full, "without seen anomalies: attention with a key and a value layer");
    let per_bank = || json!({ "knowledge": { "batch_norm_layers": "per_bank" } });
    assert_eq!(size(per_bank(), true), full + norm, "a normalisation for each of two banks");
    assert_eq!(size(per_bank(), false), projection + one_bank + 2 * attention + norm);
    assert_eq!(size(json!({ "projection": { "shared": false } }), true), full + 2 * projection);
    let page = include_str!("../../docs/methods/dmad.md");
    for number in ["P 2,360,832", "network 7,877,632 (6,304,768", "each attention layer 2,360,832", "BN of k 3,072"] {
        assert!(page.contains(number), "{number}");
    }
}

#[test]
fn the_counted_parameters_are_those_that_are_drawn() {
    let device = Device::flex();
    for (written, has_abnormal) in [
        (json!({}), true),
        (json!({}), false),
        (json!({ "attention": { "mode": "off" }, "projection": { "shared": false } }), true),
        (json!({ "knowledge": { "batch_norm_layers": "per_bank" } }), true),
        (json!({ "knowledge": { "batch_norm_layers": "per_bank" } }), false),
        (json!({ "knowledge": { "missing_bank": "zero" } }), false),
        (json!({ "knowledge": { "distance": false }, "attention": { "mode": "off" } }), true),
    ] {
        let network = Network::new(&params(&written, 0), DIM, has_abnormal);
        assert_eq!(network.initial(0, &device).count(), network.size(), "{written} {has_abnormal}");
    }
}

/// Column means of q − neighbour over the rows of all groups.
fn mean_distance(groups: &[&PatchRows], neighbour: fn(&PatchRows) -> &Tensor<2>) -> Vec<f64> {
    let distances = |group: &&PatchRows| download(group.patch.clone() - neighbour(group).clone());
    let rows: Vec<f32> = groups.iter().flat_map(distances).collect();
    mean_row(&rows.chunks(DIM).map(<[f32]>::to_vec).collect::<Vec<_>>())
}

fn normal(rows: &PatchRows) -> &Tensor<2> {
    &rows.normal
}

fn abnormal(rows: &PatchRows) -> &Tensor<2> {
    rows.abnormal.as_ref().expect("given")
}

/// The running mean after batches with these means, which starts at 0 and moves by a tenth.
fn running(means: &[Vec<f64>]) -> Vec<f64> {
    let mut running = vec![0.0; DIM];
    for mean in means {
        running.iter_mut().zip(mean).for_each(|(own, mean)| *own = 0.9 * *own + 0.1 * mean);
    }
    running
}

#[test]
fn the_running_mean_of_the_knowledge_moves_by_groups_or_by_all_rows_together() {
    let device = Device::flex().autodiff();
    let (normals, anomalies) = (patch_rows(20, 70, &device), patch_rows(8, 80, &device));
    let mean = |groups: &[&PatchRows], bank| mean_distance(groups, bank);
    let (each, all) = ([[&normals], [&anomalies]], [&normals, &anomalies]);
    let by_group = |banks: &[fn(&PatchRows) -> &Tensor<2>]| {
        running(&each.iter().flat_map(|group| banks.iter().map(|bank| mean(group, *bank))).collect::<Vec<_>>())
    };
    let of_all = |banks: &[fn(&PatchRows) -> &Tensor<2>]| {
        running(&banks.iter().map(|bank| mean(&all, *bank)).collect::<Vec<_>>())
    };
    for (rows, layers, expected) in [
        ("group", "shared", vec![("bn_k", by_group(&[normal, abnormal]))]),
        ("all", "shared", vec![("bn_k", of_all(&[normal, abnormal]))]),
        ("group", "per_bank", vec![("bn_k_n", by_group(&[normal])), ("bn_k_a", by_group(&[abnormal]))]),
        ("all", "per_bank", vec![("bn_k_n", of_all(&[normal])), ("bn_k_a", of_all(&[abnormal]))]),
    ] {
        let knowledge = json!({ "batch_norm": "on", "batch_norm_rows": rows, "batch_norm_layers": layers });
        let params = params(&json!({ "knowledge": knowledge, "mlp": { "hidden": 4 } }), 1);
        let network = Network::new(&params, DIM, true);
        let parameters = network.initial(0, &device);
        let mut trainer = Trainer::new(&params, network, parameters);
        trainer.step(&normals, generated(20, 99, &device), Some(&anomalies));
        for (name, expected) in expected {
            let found = download(trainer.parameters.get(&format!("{name}.running_mean")));
            for (found, expected) in found.into_iter().zip(expected) {
                // Means of some twenty f32 values.
                assert!((f64::from(found) - expected).abs() < 1e-6, "{rows} {layers} {name}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn with_batch_statistics_a_score_depends_on_the_images_scored_with_it_and_with_running_ones_it_does_not() {
    let device = Device::flex();
    let first = patch_rows(12, 70, &device);
    let other = patch_rows(12, 80, &device);
    let both = |first: &Tensor<2>, other: &Tensor<2>| Tensor::cat(vec![first.clone(), other.clone()], 0);
    let together = PatchRows {
        patch: both(&first.patch, &other.patch),
        normal: both(&first.normal, &other.normal),
        abnormal: Some(both(abnormal(&first), abnormal(&other))),
        rows_per_image: vec![6; 4],
    };
    let largest_change = |at_test: &str| {
        let written = json!({ "knowledge": { "batch_norm_test": at_test }, "mlp": { "hidden": 8 } });
        let network = Network::new(&params(&written, 0), DIM, true);
        let mut parameters = network.initial(5, &device);
        let (alone, beside) = (network.evaluate(&mut parameters, &first), network.evaluate(&mut parameters, &together));
        alone.iter().zip(&beside).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    // A product of more rows may add in another order.
    assert!(largest_change("running") < 1e-6, "{}", largest_change("running"));
    assert!(largest_change("batch") > 1e-3, "{}", largest_change("batch"));
}

#[test]
fn with_neither_distance_nor_attention_a_description_is_the_projected_patch_alone() {
    let device = Device::flex();
    let written = json!({ "knowledge": { "distance": false }, "attention": { "mode": "off" } });
    let params = params(&written, 0);
    let network = Network::new(&params, DIM, true);
    let (mut parameters, rows) = (network.initial(1, &device), patch_rows(10, 60, &device));
    let described = network.describe(&mut parameters, &rows, BatchNormMode::Evaluate);
    assert_eq!(described.dims(), [10, DIM]);
    assert_eq!(download(described), download(linear(&parameters, "proj", rows.patch)));
    let scoring = Mlp { prefix: "mlp", inputs: DIM, blocks: 4, hidden: 1024, skips: true };
    assert_eq!(network.size(), (DIM + 1) * DIM + scoring.size());
    assert_eq!((network.noise_width(), Network::new(&params, DIM, false).size()), (DIM, network.size()));
}

/// Patch scores of both classes.
fn scores(run: &RecordedRun) -> Vec<f32> {
    ["tile", "wood"].into_iter().flat_map(|class| run.patch_scores(class).expect("scores").1).collect()
}

#[test]
fn one_training_that_keeps_every_epoch_serves_the_last_and_the_best_one() {
    let both = "\n[[variant]]\nname = \"last\"\nmethod.train.select = \"last\"\n\n[[variant]]\nname = \"best\"\nmethod.train.select = \"best_test\"\n";
    let curve = |value| with(&study("dmad"), &[("method.train.curve", value), ("method.train.epochs", "3")]);
    let lab = Lab::new();
    let (experiment, summary) = lab.run("both", &(curve("true") + both));
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let trainings = |event: &&Event| matches!(event, Event::Computed { kind, .. } if kind == "training");
    assert_eq!(lab.heard().iter().filter(trainings).count(), 1);
    let recorded = lab.recorded(&experiment);
    let of = |variant: &str| {
        let run = experiment.runs.iter().find(|run| run.spec.variant == variant).expect("a variant");
        recorded.run(&run.spec.id).expect("recorded")
    };
    assert_eq!(of("last").curve(), of("best").curve());
    assert_eq!(of("last").curve().len(), 3);

    let alone = Lab::new();
    let (experiment, _) = alone.run("alone", &curve("false"));
    let recorded = alone.recorded(&experiment);
    assert!(recorded.runs[0].curve().is_empty());
    assert_eq!(scores(of("last")), scores(&recorded.runs[0]));
}
