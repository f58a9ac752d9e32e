//! DMAD against the reference numbers: forward pass, losses, gradients, optimiser steps.

use burn::tensor::{Device, Gradients, Tensor};
use dmad::bank::neighbours::nearest;
use dmad::matrix::{Matrix, Rows};
use dmad::methods::Parameters as _;
use dmad::methods::dmad::{Network, Params, PatchRows, Trainer};
use dmad::spec::{MethodContext, to_json};
use dmad::train::{BatchNormMode, Parameters, download, upload};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::generator;
use crate::util::{check_description, gather, json as read_json, numbers, reference, without_waiting};

const DIM: usize = 64;
const HIDDEN: usize = 128;
const NORMAL_ROWS: usize = 512;

fn sha256(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sheet's generated features: banks and queries.
struct Features {
    normal: Matrix,
    abnormal: Matrix,
}

impl Features {
    fn new(oracle: &Json) -> Self {
        let (x, y) = (generator::features(1000, DIM, 41), generator::features(400, DIM, 42));
        assert_eq!(sha256(&x), oracle["sha_X"]);
        assert_eq!(sha256(&y), oracle["sha_Y"]);
        Features { normal: Matrix::new(x, DIM), abnormal: Matrix::new(y, DIM) }
    }

    fn normal_bank(&self) -> Rows<'_> {
        self.normal.view().slice(0..300)
    }

    fn abnormal_bank(&self) -> Rows<'_> {
        self.abnormal.view().slice(0..200)
    }

    fn normals(&self) -> Rows<'_> {
        self.normal.view().slice(300..300 + NORMAL_ROWS)
    }

    fn anomalies(&self) -> Rows<'_> {
        self.abnormal.view().slice(200..296)
    }

    /// Queries with their neighbours, as the network takes them.
    fn rows(&self, queries: Rows, device: &Device) -> PatchRows {
        let neighbour = |bank: Rows| {
            let found = nearest(queries, &[bank], None).expect("neighbours");
            let indices: Vec<usize> = found.index.iter().map(|&index| index as usize).collect();
            on(gather(bank, &indices).view(), device)
        };
        PatchRows {
            patch: on(queries, device),
            normal: neighbour(self.normal_bank()),
            abnormal: Some(neighbour(self.abnormal_bank())),
            rows_per_image: vec![queries.len()],
        }
    }
}

fn on(rows: Rows, device: &Device) -> Tensor<2> {
    upload(rows.data().to_vec(), [rows.len(), rows.cols()], device)
}

/// e = 0.015·(twelve uniforms − 6), the same at every step. The uniforms have 24 bits, so the sums are exact.
fn noise(oracle: &Json) -> Vec<f32> {
    let draws = generator::uniforms(52, 0, 0, 12 * NORMAL_ROWS * DIM);
    let noise: Vec<f32> = draws.chunks(12).map(|twelve| (0.015 * (twelve.iter().sum::<f64>() - 6.0)) as f32).collect();
    assert_eq!(sha256(&noise), oracle["noise_sha256"]);
    noise
}

/// The parameters of a case: hash values by the oracle's rule, in the network's own shapes.
fn parameters(network: &Network, names: &[&str], device: &Device) -> Parameters {
    let mut parameters = network.initial(0, device);
    let own: Vec<&str> = names.iter().copied().filter(|name| parameters.contains(name)).collect();
    for name in own {
        let stream = names.iter().position(|known| *known == name).expect("listed") as u64;
        let shape = parameters.get(name).dims();
        let uniforms = generator::uniforms(51, stream, 0, shape[0] * shape[1]);
        let value = |u: f64| match name {
            _ if name.ends_with("running_mean") || name.ends_with("bias") => (u - 0.5) * 0.2,
            _ if name.ends_with("running_var") || name.contains("bn") => 0.5 + u,
            _ => (u - 0.5) * 2.0 * (3.0 / shape[1] as f64).sqrt(),
        };
        let values = uniforms.into_iter().map(|u| value(u) as f32).collect();
        match name.contains("running") {
            true => parameters.insert_buffer(name, values, shape, device),
            false => parameters.insert(name, values, shape, device),
        }
    }
    parameters
}

/// DMAD's parameters with all `auto` values resolved the way a run resolves them.
fn params(attention: bool, seen: bool) -> Params {
    let written = json!({
        "attention": { "mode": if attention { "token" } else { "off" } },
        "mlp": { "hidden": HIDDEN },
    });
    let mut params: Params = dmad::spec::read_params(&written).unwrap_or_else(|fault| panic!("{}", fault.message));
    params.resolve(&MethodContext { seen_count: usize::from(seen) });
    params
}

/// One case of the oracle with everything it needs.
struct Case {
    oracle: Json,
    case: Json,
    params: Params,
    features: Features,
    seen: bool,
}

impl Case {
    fn new(name: &str, attention: bool, seen: bool) -> Self {
        let oracle = read_json(&reference("dmad_step.json"));
        let features = Features::new(&oracle);
        Case { case: oracle[name].clone(), params: params(attention, seen), features, seen, oracle }
    }

    fn network(&self) -> Network {
        Network::new(&self.params, DIM, true)
    }

    fn parameters(&self, device: &Device) -> Parameters {
        let names: Vec<&str> =
            self.oracle["names"].as_array().expect("names").iter().filter_map(Json::as_str).collect();
        parameters(&self.network(), &names, device)
    }

    fn trainer(&self, device: &Device) -> Trainer {
        Trainer::new(&self.params, self.network(), self.parameters(device))
    }

    fn anomalies(&self, device: &Device) -> Option<PatchRows> {
        self.seen.then(|| self.features.rows(self.features.anomalies(), device))
    }

    fn check_forward(&self) {
        let device = Device::flex();
        let (network, mut parameters) = (self.network(), self.parameters(&device));
        let expected = &self.case["eval"];
        let mode = BatchNormMode::Evaluate;
        let normals = self.features.rows(self.features.normals(), &device);
        let abnormal = normals.abnormal.clone().expect("a bank");
        for (bank, (name, neighbour)) in [("k_n", normals.normal.clone()), ("k_a", abnormal)].into_iter().enumerate() {
            let knowledge = network.knowledge(&mut parameters, &normals, bank, neighbour, mode);
            check_description(name, &download(knowledge), &expected[name], 1e-5);
        }
        let described = network.describe(&mut parameters, &normals, mode);
        check_description("o", &download(described.clone()), &expected["o"], 1e-5);
        let psi = network.judge(&mut parameters, described, mode);
        check_description("Ψ of normals", &download(psi), &expected["psi_normal"], 1e-5);
        assert_eq!(expected.get("psi_anomaly").is_some(), self.seen);
        if let Some(anomalies) = self.anomalies(&device) {
            let described = network.describe(&mut parameters, &anomalies, mode);
            let psi = network.judge(&mut parameters, described, mode);
            check_description("Ψ of anomalies", &download(psi), &expected["psi_anomaly"], 1e-5);
        }
    }

    fn check_gradients(&self) {
        let device = Device::flex().autodiff();
        let normals = self.features.rows(self.features.normals(), &device);
        let mut trainer = self.trainer(&device);
        let noise = upload(noise(&self.oracle), [NORMAL_ROWS, DIM], &device);
        let (loss, _) = trainer.loss(&normals, noise, self.anomalies(&device).as_ref());
        let gradients = loss.backward();
        let norms = self.case["grad_l2_step1"].as_object().expect("norms");
        let with_gradient = trainer.parameters.learned_names().filter(|name| !name.starts_with("attn.key"));
        assert_eq!(with_gradient.count(), norms.len(), "parameters with a gradient");
        for (name, norm) in norms {
            let found = gradient(&trainer, name, &gradients).unwrap_or_else(|| panic!("{name} has no gradient"));
            self.check_gradient(name, &found, norm.as_f64().expect("a norm"));
        }
        if trainer.parameters.contains("attn.key.weight") {
            assert_eq!(gradient(&trainer, "attn.key.weight", &gradients), None, "the key layer has no effect");
        }
    }

    fn check_gradient(&self, name: &str, found: &[f32], norm: f64) {
        let l2 = found.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        let truly_zero =
            self.oracle["zero_gradient"].as_array().is_some_and(|list| list.iter().any(|zero| zero == name));
        if truly_zero {
            assert!(l2 < 1e-4, "{name}: a true gradient of zero, but the norm is {l2}");
            return;
        }
        assert!((l2 - norm).abs() <= 3e-5 * norm, "{name}: gradient norm {l2}, expected {norm}");
        let samples = &self.case["grad_samples_step1"][name];
        let scale = norm / (found.len() as f64).sqrt();
        for (index, expected) in numbers(&samples["indices"]).iter().zip(numbers(&samples["values"])) {
            let value = f64::from(found[*index as usize]);
            // A row that an f32 places on the other side of a kink changes single gradients, by 3.6e-3 at most as found; their
            // norm moves by 1.6e-5.
            let close = (value - expected).abs() <= 5e-3 * scale.max(expected.abs());
            assert!(close, "gradient of {name}[{index}]: {value}, expected {expected}");
        }
    }

    fn check_training(&self) {
        let device = Device::flex().autodiff();
        let normals = self.features.rows(self.features.normals(), &device);
        let anomalies = self.anomalies(&device);
        let mut trainer = self.trainer(&device);
        let noise = noise(&self.oracle);
        let losses = numbers(&self.case["loss_per_step_f64"]);
        for (step, expected) in losses.iter().enumerate() {
            let noise = upload(noise.clone(), [NORMAL_ROWS, DIM], &device);
            let found = without_waiting(|| trainer.step(&normals, noise, anomalies.as_ref()));
            let total = found.value("loss");
            assert!((total - expected).abs() <= 1e-5 * expected, "step {step}: {total}, expected {expected}");
            if step == 0 {
                let terms = ["normal", "noise", "anomaly"].map(|name| found.value(name));
                for (term, expected) in terms.iter().zip(numbers(&self.case["step1_terms_normal_noise_anomaly"])) {
                    assert!((term - expected).abs() <= 1e-5 * expected, "{terms:?}, expected {expected}");
                }
                self.check_parameters(&trainer.parameters);
            }
        }
        let psi = self.network().evaluate(&mut trainer.parameters.clone(), &normals);
        let expected = &self.case["psi_eval_after_5_steps"];
        check_samples("Ψ after five steps", &psi, expected, deviation(expected));
    }

    fn check_parameters(&self, parameters: &Parameters) {
        let mut checked = 0;
        for (name, expected) in self.case["params_after_1_step"].as_object().expect("parameters") {
            if parameters.contains(name) {
                checked += 1;
                check_samples(name, &download(parameters.get(name)), expected, deviation(expected));
            }
        }
        // Without attention its two layers and the batch normalisation of the knowledge are not there at all.
        let unused = if self.params.knowledge.uses_batch_norm() { 0 } else { 8 };
        assert_eq!(checked, self.oracle["names"].as_array().map_or(0, Vec::len) - unused);
    }
}

fn gradient(trainer: &Trainer, name: &str, gradients: &Gradients) -> Option<Vec<f32>> {
    trainer.parameters.get(name).grad(gradients).map(|tensor| {
        let data = tensor.into_data();
        data.try_into_vec::<f32>().expect("f32")
    })
}

/// How far the oracle allows f32 to be from its f64 numbers.
fn deviation(expected: &Json) -> f64 {
    4.0 * expected["f32_maxabs_dev"].as_f64().expect("a deviation") + 1e-6
}

fn check_samples(what: &str, values: &[f32], expected: &Json, tolerance: f64) {
    for (index, sample) in numbers(&expected["indices"]).iter().zip(numbers(&expected["values"])) {
        let value = f64::from(values[*index as usize]);
        assert!((value - sample).abs() <= tolerance, "{what}[{index}]: {value}, expected {sample} ± {tolerance:e}");
    }
}

fn check(name: &str, attention: bool, seen: bool) {
    let case = Case::new(name, attention, seen);
    case.check_forward();
    case.check_gradients();
    case.check_training();
}

#[test]
fn dmad_without_seen_anomalies_follows_the_reference() {
    check("unsup_token", true, false);
}

#[test]
fn dmad_without_attention_follows_the_reference() {
    check("unsup_dist_only", false, false);
}

#[test]
fn dmad_with_seen_anomalies_follows_the_reference() {
    check("semi_dist_only", false, true);
}

#[test]
fn neighbours_in_both_banks_are_those_of_the_reference() {
    let case = Case::new("unsup_token", true, false);
    let f = &case.features;
    for (name, queries, bank) in [
        ("normal_in_Mn", f.normals(), f.normal_bank()),
        ("normal_in_Ma", f.normals(), f.abnormal_bank()),
        ("anom_in_Mn", f.anomalies(), f.normal_bank()),
        ("anom_in_Ma", f.anomalies(), f.abnormal_bank()),
    ] {
        let found: Vec<f64> =
            nearest(queries, &[bank], None).expect("neighbours").index.into_iter().map(f64::from).collect();
        assert_eq!(found, numbers(&case.oracle["nn"][name]), "{name}");
    }
}

#[test]
fn defaults_are_those_of_the_paper() {
    let params = to_json(&Params::default());
    for (key, value) in [
        ("/bank/normal/ratio", json!(0.02)),
        ("/bank/outlier/beta", json!(0.6)),
        ("/bank/outlier/ratio", json!(0.1)),
        ("/bank/center/std", json!(0.01)),
        ("/mlp/blocks", json!(4)),
        ("/mlp/hidden", json!(1024)),
        ("/noise/std", json!(0.015)),
        ("/loss/margin", json!(0.5)),
        ("/train/epochs", json!(48)),
        ("/train/batch", json!(32)),
        ("/train/lr_projection", json!(1e-4)),
        ("/train/lr_mlp", json!(2e-4)),
        ("/train/weight_decay_mlp", json!(1e-5)),
        ("/score/top_k", json!(5)),
    ] {
        assert_eq!(params.pointer(key), Some(&value), "{key}");
    }
    let seen = params_json(true);
    assert_eq!((&seen["loss"]["lambda1"], &seen["loss"]["lambda2"]), (&json!(0.5), &json!(15.0)));
    let unseen = params_json(false);
    assert_eq!((&unseen["loss"]["lambda1"], &unseen["loss"]["lambda2"]), (&json!(1.0), &json!(0.0)));
    assert_eq!((&seen["attention"]["mode"], &unseen["attention"]["mode"]), (&json!("off"), &json!("token")));
}

fn params_json(seen: bool) -> Json {
    let mut params = Params::default();
    params.resolve(&MethodContext { seen_count: usize::from(seen) });
    to_json(&params)
}
