//! DMAD's gradients with the way back written out, against those of the tensor library's graph: every choice that changes the network,
//! more rows than are described at a time, and memory that is short.

use burn::tensor::{Device, Tensor};
use dmad::methods::Parameters as _;
use dmad::methods::dmad::{Network, Params, PatchRows, Trainer};
use dmad::spec::{MethodContext, read_params};
use dmad::train::{GradientOf, NamedGradients, download, upload};
use serde_json::{Value as Json, json};

use crate::generator;

const DIM: usize = 6;

/// Gradients of all parameters, as far as they have one.
type ByName = Vec<(String, Option<Vec<f32>>)>;

struct Case {
    params: Params,
    device: Device,
    normals: PatchRows,
    anomalies: Option<PatchRows>,
}

impl Case {
    fn new(written: &Json, seen: bool, rows: usize, has_abnormal: bool, device: &Device) -> Case {
        let mut params: Params = read_params(written).unwrap_or_else(|fault| panic!("{}", fault.message));
        params.resolve(&MethodContext { seen_count: usize::from(seen) });
        let device = device.clone().autodiff();
        let group = |rows: usize, seed: u64| {
            let part = |index: u64| upload(generator::features(rows, DIM, seed + index), [rows, DIM], &device);
            let abnormal = has_abnormal.then(|| part(2));
            PatchRows { patch: part(0), normal: part(1), abnormal, rows_per_image: vec![rows / 2, rows - rows / 2] }
        };
        let anomalies = seen.then(|| group(rows / 3, 80));
        Case { normals: group(rows, 70), anomalies, params, device }
    }

    fn trainer(&self) -> Trainer {
        let network = Network::new(&self.params, DIM, self.normals.abnormal.is_some());
        let parameters = network.initial(3, &self.device);
        Trainer::new(&self.params, network, parameters)
    }

    fn noise(&self) -> Tensor<2> {
        let (rows, width) = (self.normals.patch.dims()[0], self.network().noise_width());
        upload(generator::features(rows, width, 99), [rows, width], &self.device) * 0.1
    }

    fn network(&self) -> Network {
        Network::new(&self.params, DIM, self.normals.abnormal.is_some())
    }

    /// Gradients by name with the way back written out, the loss, and the running statistics afterwards.
    fn written(&self, sparing: bool) -> (ByName, f64, Vec<Vec<f32>>) {
        let trainer = self.trainer();
        let mut trainer = if sparing { trainer.sparing() } else { trainer };
        let (found, terms): (NamedGradients, _) =
            trainer.gradients(&self.normals, self.noise(), self.anomalies.as_ref());
        (by_name(&trainer, &found), terms.value("loss"), statistics(&trainer))
    }

    /// The same of the graph.
    fn of_graph(&self) -> (ByName, f64, Vec<Vec<f32>>) {
        let mut trainer = self.trainer();
        let (loss, terms) = trainer.loss(&self.normals, self.noise(), self.anomalies.as_ref());
        let found = loss.backward();
        (by_name(&trainer, &found), terms.value("loss"), statistics(&trainer))
    }

    /// Both find the same but for rounding.
    fn holds(&self, what: &str, tolerance: f32) {
        let ((written, loss, own), (graph, expected, library)) = (self.written(false), self.of_graph());
        assert!((loss - expected).abs() <= 1e-5 * expected, "{what}: a loss of {loss}, expected {expected}");
        let zero = self.network().zero_gradient();
        for ((name, written), (_, graph)) in written.iter().zip(&graph) {
            assert_eq!(written.is_some(), graph.is_some(), "{what}: {name} has a gradient in one of two ways");
            if zero.contains(name) {
                assert!(
                    written.as_ref().is_none_or(|values| values.iter().all(|value| *value == 0.0)),
                    "{what}: {name}"
                );
                continue;
            }
            if let (Some(written), Some(graph)) = (written, graph) {
                close(&format!("{what}: {name}"), written, graph, tolerance);
            }
        }
        own.iter().zip(&library).for_each(|(own, library)| close(&format!("{what}: statistics"), own, library, 1e-5));
    }
}

fn by_name(trainer: &Trainer, found: &impl GradientOf) -> ByName {
    let of = |name: &str| found.of(name, &trainer.parameters.get(name)).map(download);
    trainer.parameters.learned_names().map(|name| (name.to_string(), of(name))).collect()
}

fn statistics(trainer: &Trainer) -> Vec<Vec<f32>> {
    let layers = ["bn_k", "bn_k_n", "bn_k_a", "mlp.1.bn", "mlp.2.bn", "mlp.3.bn", "mlp.4.bn"];
    let names = layers.iter().flat_map(|layer| ["mean", "var"].map(|part| format!("{layer}.running_{part}")));
    let known = names.filter(|name| trainer.parameters.contains(name));
    known.map(|name| download(trainer.parameters.get(&name))).collect()
}

fn close(what: &str, own: &[f32], library: &[f32], tolerance: f32) {
    let scale = library.iter().fold(1e-6f32, |most, value| most.max(value.abs()));
    let worst = own.iter().zip(library).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert_eq!(own.len(), library.len(), "{what}");
    assert!(worst <= tolerance * scale, "{what}: {worst} apart, of {scale}");
}

#[test]
fn the_gradients_of_every_network_are_those_of_the_graph() {
    let small = |more: Json| {
        let mut written = json!({ "mlp": { "hidden": 16 } });
        more.as_object().expect("settings").iter().for_each(|(key, value)| written[key] = value.clone());
        written
    };
    for (more, seen, has_abnormal) in [
        (json!({}), false, true),
        (json!({}), true, true),
        (json!({}), false, false),
        (json!({ "knowledge": { "missing_bank": "zero" } }), false, false),
        (json!({ "attention": { "mode": "off" } }), false, true),
        (json!({ "attention": { "mode": "token" }, "knowledge": { "batch_norm": "off" } }), true, true),
        (json!({ "attention": { "mode": "image" } }), false, true),
        (json!({ "attention": { "mode": "literal" } }), true, true),
        (
            json!({ "attention": { "mode": "token" }, "knowledge": { "batch_norm": "on", "distance": false } }),
            true,
            true,
        ),
        (json!({ "attention": { "mode": "off" }, "knowledge": { "distance": false } }), false, true),
        (json!({ "knowledge": { "batch_norm": "on", "batch_norm_rows": "all" } }), true, true),
        (json!({ "knowledge": { "batch_norm": "on", "batch_norm_layers": "per_bank" } }), true, true),
        (json!({ "projection": { "shared": false } }), true, true),
        (json!({ "projection": { "shared": false } }), false, false),
        (
            json!({ "attention": { "mode": "token" }, "knowledge": { "batch_norm": "off", "distance": false } }),
            false,
            true,
        ),
        (json!({ "noise": { "where": "q" } }), true, true),
        (json!({ "noise": { "shared_blocks": false } }), false, true),
        (json!({ "mlp": { "hidden": 16, "blocks": 1 } }), false, true),
        (json!({ "mlp": { "hidden": 16, "blocks": 3 } }), true, true),
    ] {
        let case = Case::new(&small(more.clone()), seen, 60, has_abnormal, &Device::flex());
        case.holds(&format!("{more}, seen {seen}, abnormal {has_abnormal}"), 2e-4);
        let ((kept, ..), (again, ..)) = (case.written(false), case.written(true));
        assert_eq!(kept, again, "{more}: what is made again changes a gradient");
    }
}

/// 10,000 patches are described in two parts, those of the anomalies apart from them.
#[test]
fn parts_add_up_to_the_whole_and_short_memory_changes_no_bit() {
    let case = Case::new(&json!({ "mlp": { "hidden": 8 } }), true, 10_000, true, &Device::flex());
    case.holds("10,000 patches", 1e-3);
    let ((kept, loss, own), (again, same, others)) = (case.written(false), case.written(true));
    assert!(kept == again && loss == same && own == others);
}

/// On a GPU both ways find what the CPU finds, and short memory changes no bit.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
#[test]
fn on_a_gpu_the_gradients_are_those_of_the_graph() {
    let device = crate::gpu::device();
    for (more, seen) in [
        (json!({ "mlp": { "hidden": 16 } }), false),
        (json!({ "mlp": { "hidden": 16 }, "noise": { "shared_blocks": false } }), true),
        (json!({ "mlp": { "hidden": 16 }, "knowledge": { "distance": false }, "attention": { "mode": "off" } }), false),
        (json!({ "mlp": { "hidden": 16, "blocks": 1 }, "projection": { "shared": false } }), true),
        (
            json!({ "mlp": { "hidden": 16 }, "noise": { "where": "q" }, "knowledge": { "batch_norm_rows": "all" } }),
            true,
        ),
        (
            json!({ "mlp": { "hidden": 300 }, "knowledge": { "missing_bank": "zero", "batch_norm_layers": "per_bank" } }),
            true,
        ),
        // The row S3 of Table 4 as the quickstart sets it.
        (json!({ "mlp": { "hidden": 16 }, "attention": { "mode": "token" }, "noise": { "where": "q" } }), true),
    ] {
        let case = Case::new(&more, seen, 60, true, &device);
        case.holds(&format!("{more}"), 5e-4);
        assert_eq!(case.written(false).0, case.written(true).0, "{more}");
        let on_cpu = Case::new(&more, seen, 60, true, &Device::flex());
        let ((found, loss, own), (expected, theirs, statistics)) = (case.written(false), on_cpu.written(false));
        assert!((loss - theirs).abs() <= 1e-5 * theirs, "{more}: a loss of {loss}, {theirs} on the CPU");
        let zero = case.network().zero_gradient();
        for ((name, found), (_, expected)) in found.iter().zip(&expected).filter(|((name, _), _)| !zero.contains(name))
        {
            let (found, expected) = (found.as_deref(), expected.as_deref());
            close(&format!("{more}: {name} on the CPU"), found.unwrap_or(&[]), expected.unwrap_or(&[]), 5e-4);
        }
        own.iter().zip(&statistics).for_each(|(own, cpu)| close(&format!("{more}: statistics"), own, cpu, 1e-5));
    }
    let case = Case::new(&json!({ "mlp": { "hidden": 8 } }), true, 10_000, true, &device);
    case.holds("10,000 patches", 2e-3);
    assert_eq!(case.written(false).0, case.written(true).0);
}
