//! Kernels on a GPU: the first one behind Vulkan, for which a driver that computes on the CPU will do, or the one that
//! `DMAD_TEST_DEVICE` names (`cuda`). Without a feature that brings GPUs these tests do not exist.

use burn::tensor::Device;
use dmad::bank::coreset::{Start, greedy, greedy_on};
use dmad::bank::neighbours::{nearest, nearest_on};
use dmad::device::check::{FAMILIES, Family, agree};
use dmad::device::{
    Activation, DeviceName, Precision, download, download_ints, draws, found, is_cpu, product, traffic, upload,
};
use dmad::matrix::Matrix;
use dmad::methods::METHODS;
use dmad::random::{Purpose, stream};
use dmad::record::{RecordedRun, read_experiment};
use dmad::report::kinds;
use dmad::run::{CHECKS, CUT_CHECKS};
use dmad::train::{BETAS, Choice, Group, NamedGradients, Optimizer, OptimizerKind, Parameters, Resident};

use crate::lab::{DATASETS, Lab, study, with};
use crate::program::{Sandbox, computed};

/// What a training's last epoch moved between host and device, by name.
fn epoch_traffic(lab: &Lab, text: &str) -> serde_json::Value {
    let (experiment, summary) = lab.run("small", text);
    assert!(summary.failed.is_empty());
    let recorded = lab.recorded(&experiment);
    let training = recorded.runs[0].stages.iter().find(|stage| stage.kind == "training").expect("a training");
    training.note["epoch_traffic"].clone()
}

/// What the tests are about, as `--device` has it.
pub fn device_name() -> String {
    std::env::var("DMAD_TEST_DEVICE").unwrap_or_else(|_| "wgpu".into())
}

/// The device that tests of GPU code run on.
pub fn device() -> Device {
    let DeviceName { kind, number } = device_name().parse().expect("a device");
    found(kind).into_iter().nth(number).expect("a GPU: mesa-vulkan-drivers has a driver for the CPU")
}

fn drawn(rows: usize, cols: usize, index: u64) -> Matrix {
    let mut values = vec![0.0; rows * cols];
    stream(5, Purpose::Synthetic, index).fill_normal(&mut values, 1.0);
    Matrix::new(values, cols)
}

/// Units in the last place between two floats.
fn ulps(a: f32, b: f32) -> i64 {
    let place = |value: f32| {
        let bits = i64::from(value.to_bits() as i32);
        if bits < 0 { i64::from(i32::MIN) - bits } else { bits }
    };
    (place(a) - place(b)).abs()
}

#[test]
fn normals_are_those_of_the_host_within_two_units_in_the_last_place() {
    let device = device();
    let mut worst = 0;
    for (index, shape, std, skipped) in [(0, [1000, 301], 1.0, 0), (1, [77, 13], 0.015, 3), (2, [1, 1], 2.5, 1)] {
        let streams = [(); 2].map(|()| {
            let mut stream = stream(11, Purpose::FeatureNoise, index);
            stream.skip(skipped);
            stream
        });
        let [mut ours, mut theirs] = streams;
        let host = download(draws::normals(&mut ours, shape, std, &Device::flex()));
        let drawn = download(draws::normals(&mut theirs, shape, std, &device));
        assert_eq!(host.len(), drawn.len());
        assert_eq!(ours.bits(), theirs.bits(), "both streams stand at the same place");
        // A sine next to its zero is what rounding the angle to double precision makes it, here and there.
        let far = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs() > 4e-15 * std;
        worst =
            host.iter().zip(&drawn).filter(|pair| far(*pair)).map(|(&a, &b)| ulps(a, b)).max().unwrap_or(0).max(worst);
    }
    println!("largest distance: {worst} units in the last place");
    assert!(worst <= 2, "{worst}");
}

#[test]
fn dropout_is_that_of_the_host_bit_for_bit() {
    let device = device();
    let streams = || (0..3).map(|index| stream(2, Purpose::Dropout, index)).collect::<Vec<_>>();
    let (mut ours, mut theirs) = (streams(), streams());
    for shape in [[3, 7, 11], [3, 4, 4]] {
        let host = download(draws::dropout(&mut ours, 0.3, shape, &Device::flex()));
        assert_eq!(host, download(draws::dropout(&mut theirs, 0.3, shape, &device)));
        assert!(host.contains(&0.0) && host.iter().any(|&value| value > 1.0));
    }
}

#[test]
fn products_are_in_single_precision_and_so_are_their_gradients() {
    let device = device();
    let (a, b) = (drawn(67, 301, 0), drawn(301, 45, 1));
    let exact = |row: usize, col: usize| -> f64 {
        (0..301).map(|at| f64::from(a.view().row(row)[at]) * f64::from(b.view().row(at)[col])).sum()
    };
    let on = |device: &Device| {
        let device = device.clone().autodiff();
        let a = upload(a.view().data().to_vec(), [67, 301], &device).require_grad();
        let b = upload(b.view().data().to_vec(), [301, 45], &device).require_grad();
        let c = product(a.clone(), b.clone());
        let grads = (c.clone() * c.clone()).mean_dim(0).sum_dim(1).backward();
        [c.inner(), a.grad(&grads).expect("tracked"), b.grad(&grads).expect("tracked")].map(download)
    };
    let (ours, theirs) = (on(&Device::flex()), on(&device));
    for (index, value) in theirs[0].iter().enumerate() {
        assert!((f64::from(*value) - exact(index / 45, index % 45)).abs() < 2e-4, "{index}");
    }
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let scale = ours.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-5 * scale));
    }
}

#[test]
fn the_gradient_of_one_output_is_summed_in_segments() {
    // One value after the other, the last ones of 70,000 would lose three of their digits.
    for (rows, columns) in [(70_000, 2), (1, 3), (64, 1), (65, 5), (4097, 1)] {
        let value = |row: usize, column: usize| if column == 0 { 0.1 } else { (row + column) as f32 / rows as f32 };
        let weight = |row: usize| 1.0 + (row % 7) as f32;
        // Among others: a matrix that does not begin its memory, weights that are a column of a wider one.
        let x =
            (0..3 + rows).flat_map(|row: usize| (0..columns).map(move |column| value(row.saturating_sub(3), column)));
        let x = upload(x.collect(), [3 + rows, columns], &device()).slice([3..3 + rows, 0..columns]);
        let weights = upload((0..2 * rows).map(|place| weight(place / 2)).collect(), [rows, 2], &device());
        let out = product(x.transpose(), weights.slice([0..rows, 1..2]));
        assert_eq!(out.dims(), [columns, 1]);
        for (column, found) in download(out).into_iter().enumerate() {
            let exact: f64 = (0..rows).map(|row| f64::from(value(row, column)) * f64::from(weight(row))).sum();
            assert!((f64::from(found) / exact - 1.0).abs() < 1e-6, "{rows} × {columns}: {found} for {exact}");
        }
    }
}

#[test]
fn steps_of_the_optimiser_are_those_of_the_cpu() {
    let shape = [37, 21];
    for kind in [OptimizerKind::Adam, OptimizerKind::Adamw] {
        let after = |device: &Device| {
            let group =
                Group { prefixes: vec!["layer".into()], kind, learning_rate: 0.01, weight_decay: 0.3, betas: BETAS };
            let (mut parameters, mut optimizer) = (Parameters::default(), Optimizer::new(group));
            parameters.insert("layer.weight", drawn(shape[0], shape[1], 20).view().data().to_vec(), shape, device);
            for step in 0..4 {
                // Turned, as gradients of weights come.
                let values = drawn(shape[1], shape[0], 21 + step).view().data().to_vec();
                let mut gradients = NamedGradients::default();
                gradients.add("layer.weight", upload(values, [shape[1], shape[0]], device).transpose());
                optimizer.step(&mut parameters, &gradients, &[]);
            }
            download(parameters.get("layer.weight").inner())
        };
        let (ours, theirs) = (after(&Device::flex().autodiff()), after(&device().autodiff()));
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-6 && ours != drawn(shape[0], shape[1], 20).view().data(), "{kind:?}: {worst}");
    }
}

#[test]
fn kernels_reach_values_beyond_the_first_row_of_cubes() {
    // 32,768 cubes of 256 threads are 8,388,608 values.
    let shape = [40_000, 256];
    let values = drawn(shape[0], shape[1], 8);
    let on = |device: &Device| {
        let row = |value: f32| upload(vec![value; shape[1]], [1, shape[1]], device);
        let x = upload(values.view().data().to_vec(), shape, device);
        download(Activation::new(x, row(0.5), row(0.25), 1e-5, 0.2).rows(None))
    };
    let (ours, theirs) = (on(&Device::flex()), on(&device()));
    let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5 && theirs[shape[0] * shape[1] - 1] != 0.0, "{worst}");
}

#[test]
fn neighbours_are_those_of_the_cpu_on_ties_duplicates_and_groups() {
    let device = device();
    let (queries, mut bank) = (drawn(700, 40, 2), drawn(1500, 40, 3));
    // Rows of the bank twice, queries in the bank, rows that differ in the last place, and a crowd around one point.
    let values = bank.data_mut();
    values.copy_within(0..40 * 200, 40 * 1200);
    values[40 * 300..40 * 320].copy_from_slice(&queries.view().data()[..40 * 20]);
    for row in 400..500 {
        let (from, to) = (40 * 399, 40 * row);
        values.copy_within(from..from + 40, to);
        values[to + row % 40] = values[to + row % 40].next_up();
    }
    let parts = [bank.view().slice(0..1100), bank.view().slice(1100..1500)];
    let (own, theirs): (Vec<u32>, Vec<u32>) = ((0..700).map(|i| i % 5).collect(), (0..1500).map(|i| i % 5).collect());
    let groups = Some((own.as_slice(), theirs.as_slice()));
    let alone = Some((&[1u32; 700][..], &[1u32; 1500][..]));
    let rows = bank.view();
    // Cut factors leave more in question, here a hundred rows of a crowd, and the same answers.
    for precision in [Precision::F32, Precision::Tf32] {
        let on = (&device, precision);
        for groups in [None, groups, alone] {
            let expected = nearest(queries.view(), &parts, groups).unwrap();
            assert_eq!(nearest_on(on, queries.view(), &parts, groups).unwrap(), expected, "{precision:?}");
        }
        assert_eq!(nearest_on(on, rows, &[rows], None).unwrap(), nearest(rows, &[rows], None).unwrap());
    }
}

/// Rows whose width is no multiple of what CUDA aligns rows to.
#[test]
fn rows_of_a_step_are_gathered_as_on_the_cpu() {
    let (rows, counts) = (drawn(60, 37, 9), [20, 7, 33]);
    let gathered = |device: &Device| {
        let mut start = 0;
        let images = counts.map(|count| {
            start += count;
            rows.view().slice(start - count..start)
        });
        let resident = Resident::new(images.into_iter(), device);
        let some = resident.some(vec![2, 0, 1], &[vec![32, 0, 5], vec![], vec![6, 6]]);
        let of = |choice: &Choice| (download(resident.gather(choice)), download_ints(resident.numbers(choice)));
        [of(&some), of(&resident.all(vec![1, 1])), of(&resident.all(vec![1, 0]))]
    };
    assert_eq!(gathered(&device().autodiff()), gathered(&Device::flex()));
    assert_eq!(gathered(&device())[0].1, [59, 27, 32, 26, 26]);
}

#[test]
fn coresets_are_those_of_the_cpu_pick_for_pick() {
    let device = device();
    let mut rows = drawn(4000, 24, 4);
    rows.data_mut().copy_within(0..24 * 500, 24 * 3000);
    let parts = [rows.view().slice(0..1700), rows.view().slice(1700..4000)];
    for start in [Start::Row(17), Start::MeanOf(vec![3, 999, 2500])] {
        assert_eq!(greedy_on(&device, &parts, 900, &start).unwrap(), greedy(&parts, 900, &start).unwrap());
    }
    let all = greedy_on(&device, &parts, 4000, &Start::Row(0)).unwrap();
    assert_eq!(all, greedy(&parts, 4000, &Start::Row(0)).unwrap());
}

/// Scores of patches (of images, where a method has no others) of a small study's runs, one after the other.
fn scores(lab: &Lab, text: &str) -> Vec<f32> {
    let (experiment, summary) = lab.run("small", text);
    assert!(summary.failed.is_empty(), "{:?}", summary.failed.iter().map(|failed| &failed.message).collect::<Vec<_>>());
    let recorded = lab.recorded(&experiment);
    let of_run = |run: &RecordedRun| {
        ["tile", "wood"].map(|class| run.patch_scores(class).unwrap_or_else(|e| panic!("{e}")).1).concat()
    };
    recorded.runs.iter().flat_map(of_run).collect()
}

#[test]
fn every_method_scores_on_the_gpu_what_it_scores_on_the_cpu() {
    for entry in METHODS {
        let name = entry.kind.name;
        let clock = std::time::Instant::now();
        let text = study(name);
        let (ours, theirs) = (scores(&Lab::new(), &text), scores(&Lab::on(&device_name()), &text));
        assert_eq!(ours.len(), theirs.len());
        let scale = ours.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        println!("{name}: {worst} of {scale}, {:.1} s", clock.elapsed().as_secs_f64());
        // Steps of Adam through a decoder magnify roundings; elsewhere they stay what they are.
        let share = if ["rd4ad", "dm_grd", "dinomaly"].contains(&name) { 0.03 } else { 2e-4 };
        assert!(worst <= share * scale, "{name}: {worst} of {scale}");
    }
}

#[test]
fn a_device_that_computes_something_else_is_refused_by_the_name_of_its_kernels() {
    fn wrong(device: &Device) -> Vec<f32> {
        vec![1.0, if is_cpu(device) { 2.0 } else { 2.1 }]
    }
    const PLANTED: &[Family] = &[Family { name: "planted kernels", run: wrong, tolerance: 1e-3 }];
    let device = device();
    let told = agree(&device_name(), &device, PLANTED).expect_err("refused").to_string();
    assert!(told.contains("planted kernels") && told.contains(&device_name()), "{told}");
    for families in [FAMILIES].iter().chain(CHECKS).chain(CUT_CHECKS) {
        agree(&device_name(), &device, families).unwrap_or_else(|e| panic!("{e}"));
        families.iter().for_each(|family| {
            let clock = std::time::Instant::now();
            (family.run)(&device);
            println!("{}: {:.2} s", family.name, clock.elapsed().as_secs_f64());
        });
    }
}

#[test]
fn the_same_study_leaves_the_same_scores_again() {
    let text = with(&study("dmad"), &[("protocol.seen.count", "2")]);
    let all = [Lab::on(&device_name()), Lab::on(&device_name())].map(|lab| scores(&lab, &text));
    assert_eq!(all[0], all[1]);
}

#[test]
fn a_search_moves_queries_bank_and_answers_once() {
    let (device, rows) = (device(), drawn(3000, 32, 6));
    let before = traffic();
    nearest_on((&device, Precision::F32), rows.view(), &[rows.view()], None).expect("found");
    let moved = traffic() - before;
    let values = 4 * 3000 * 32;
    // A norm for each bank row; a limit and a width for each query.
    assert_eq!(moved.up_bytes, 2 * values + 4 * 3000 * 3);
    // Sixteen rows with their scores, how many they are, and a limit, for each query.
    assert_eq!((moved.down_bytes, moved.waits), (4 * 3000 * (2 * 16 + 2), 4));
}

#[test]
fn a_training_step_moves_numbers_of_images_and_never_waits() {
    for (name, settings) in [
        ("dmad", &[("protocol.seen.count", "2"), ("method.train.patches_per_image", "0")][..]),
        ("dmad", &[("protocol.seen.count", "2"), ("method.train.patches_per_image", "7")]),
        ("simplenet", &[]),
        ("uniad", &[]),
    ] {
        let traffic = epoch_traffic(&Lab::on(&device_name()), &with(&study(name), settings));
        println!("{name}: {traffic}");
        let moved = |key: &str| traffic[key].as_u64().unwrap_or_else(|| panic!("{name}: {traffic}"));
        // One reading of the losses of an epoch, whose steps move numbers of patches at most: the patches of the eight images
        // would be 49,152 bytes.
        assert_eq!(moved("waits"), 1, "{name}");
        assert!(moved("up_bytes") < 1_000 && moved("down_bytes") < 1_000, "{name}: {traffic}");
    }
}

#[test]
fn what_does_not_fit_on_the_device_is_streamed_and_changes_no_score() {
    for name in ["dmad", "simplenet", "uniad"] {
        let text = with(&study(name), &[("protocol.seen.count", "2")]);
        let (roomy, narrow) = (Lab::on(&device_name()), Lab::within_memory(&device_name(), Some(1_000)));
        let up = |lab: &Lab| epoch_traffic(lab, &text)["up_bytes"].as_u64().expect("a number");
        assert!(up(&roomy) < 1_000 && up(&narrow) > 40_000, "{name}");
        assert_eq!(scores(&roomy, &text), scores(&narrow, &text), "{name}");
    }
}

#[test]
fn a_training_holds_about_the_memory_that_is_foretold() {
    let sandbox = Sandbox::new();
    sandbox.write("datasets.toml", DATASETS);
    let wide = [("method.mlp.hidden", "512"), ("method.train.batch", "8"), ("method.train.patches_per_image", "0")];
    let text = with(&study("dmad"), &wide);
    sandbox.write("small.toml", with(&study("dmad"), &[("method.train.epochs", "1")]));
    let device = device_name();
    sandbox.dmad(&["run", "small.toml", "--device", &device]).says(0, &[]);
    // A process then trains and does little else: what other stages leave on the device would count. Other rates are other models.
    for (rate, memory) in [("0.01", "1GB"), ("0.02", "1MB")] {
        sandbox.write("small.toml", with(&text, &[("method.train.epochs", "1"), ("method.train.lr_mlp", rate)]));
        let plan = sandbox.dmad(&["plan", "small.toml", "--device", &device, "--format", "json"]);
        let plan: serde_json::Value = serde_json::from_str(&plan.stdout).expect("JSON");
        let stages = plan["stages"].as_array().expect("stages");
        let training = stages.iter().find(|stage| stage["kind"] == "training").expect("a training");
        let bytes = |key: &str| training[key].as_u64().expect("bytes");
        sandbox.dmad(&["run", "small.toml", "--device", &device, "--device-memory", memory]).says(0, &[]);
        let runs = read_experiment(&sandbox.path("results/small"), &kinds()).unwrap_or_else(|e| panic!("{e}")).runs;
        let training = runs[0].stages.iter().find(|stage| stage.kind == "training").expect("a training");
        let manifest = std::fs::read(sandbox.path(&format!(".dmad-store/training/{}.json", training.key)));
        let manifest: serde_json::Value = serde_json::from_slice(&manifest.expect("a manifest")).expect("JSON");
        let held = manifest["device_memory_bytes"].as_u64().expect("bytes");
        let foretold = bytes("device_bytes") + if memory == "1GB" { bytes("resident_bytes") } else { 0 };
        // The library carves allocations from pages as large as the largest, whose rests are lost.
        let share = held as f64 / foretold as f64;
        assert!((0.8..1.4).contains(&share), "{memory}: {held} bytes held, {foretold} foretold");
    }
}

#[test]
fn a_device_is_chosen_by_its_number_and_precision_is_a_numeric_class_of_its_own() {
    let sandbox = Sandbox::new();
    let listed = sandbox.dmad(&["devices", "--format", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let rows = listed["devices"].as_array().expect("a list");
    let row = |wanted: &str| rows.iter().find(|row| row["device"] == *wanted).unwrap_or_else(|| panic!("{rows:?}"));
    assert!(row("cpu")["memory_bytes"].as_u64() > Some(0));
    let what = row(&device_name())["what"].as_str().expect("a name").to_string();
    assert!(sandbox.dmad(&["devices"]).stdout.contains(&what));
    let absent = format!("{}:99", device_name().split(':').next().expect("a kind"));
    let refused = sandbox.dmad(&["run", "experiment.toml", "--device", &absent]);
    refused.refuses(&sandbox, &[&format!("there is no {absent}")]);
    let run = |precision: &str| {
        let outcome = sandbox.dmad(&["run", "experiment.toml", "--device", &device_name(), "--precision", precision]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        computed(&outcome.events).len()
    };
    let first = run("f32");
    assert!(first > 5 && run("f32") == 0);
    assert_eq!(run("tf32"), first, "everything that holds a device is another stage");
    let labelled = sandbox.dmad(&["report", "experiment.toml"]).stdout;
    assert!(labelled.contains("networks multiply in TF32"), "{labelled}");
    sandbox.dmad(&["run", "experiment.toml", "--precision", "tf32"]).says(2, &["tf32", "for a GPU"]);
    let folder = sandbox.path("results/experiment/runs");
    let runs: Vec<_> = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    let record = std::fs::read_to_string(runs[0].join("run.toml")).expect("a record");
    assert!(record.contains(&format!("device_name = \"{what}\"")), "the record names the device: {record}");
}
