//! Every heavy stage at growing sizes on whatever device is there, beside what the device can do at most.
//!
//! `cargo bench --bench scale --features cuda` (or `wgpu`) takes the first GPU; `DMAD_DEVICE=cuda:1` names another, `=cpu` the
//! processor. It prints operations, bytes and seconds, and which share that is of the peaks measured first: a large product of
//! matrices, and a copy. A stage grows until it takes longer than `DMAD_SECONDS` (default 5), or has the paper's size.
//! Images, features and weights are drawn: what is measured does not depend on them.

use std::time::Instant;

use burn::tensor::{Device, Tensor};
use dmad::backbone::weights::resolve;
use dmad::backbone::{Architecture, Backbone};
use dmad::bank::coreset::{Start, coreset_size, greedy_on};
use dmad::bank::neighbours::nearest_on;
use dmad::device::{
    Chosen, DeviceKind, DeviceName, Memory, Precision, describe, download, draws, found, held, product, upload,
};
use dmad::features::extract;
use dmad::matrix::Matrix;
use dmad::methods::dmad::{Network, Params, PatchRows, Trainer};
use dmad::random::{Purpose, stream};
use dmad::run::CHECKS;
use dmad::spec;

/// Values of a patch in the paper.
const DIM: usize = 1536;
/// Width of its scoring network.
const HIDDEN: usize = 1024;

/// What a measurement is of, and what it did.
struct Done {
    stage: &'static str,
    size: String,
    operations: f64,
    bytes: f64,
    seconds: f64,
}

/// Measures a stage at one of its sizes, the smallest first; none beyond the last.
type Stage = fn(&Device, usize) -> Option<Done>;

/// What the device can do at most, as measured: operations and bytes a second.
#[derive(Clone, Copy)]
struct Peaks {
    operations: f64,
    bytes: f64,
}

fn main() {
    // Under `cargo test` benches are compiled and not run.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let name = device_name();
    let memory = Memory { host: dmad::clock::default_memory_bytes(), device: None };
    let device = Chosen::new(name, Precision::F32, memory, CHECKS).get().unwrap_or_else(|e| panic!("{e}"));
    println!("{name}: {}", describe(&device));
    let limit = std::env::var("DMAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5.0);
    let head = ["Gop", "MB", "s", "of ops", "of bytes", "MB held"].map(|word| format!("{word:>9}")).join(" ");
    println!("{:<12} {:>26} {head}", "stage", "size");
    let mut peaks = Peaks { operations: 0.0, bytes: 0.0 };
    let stages: [Stage; 8] = [matrix_product, copy, noise, neighbours, coreset, features, training_step, sparing_step];
    for stage in stages {
        for size in 0.. {
            let Some(done) = stage(&device, size) else { break };
            match done.stage {
                "product" => peaks.operations = peaks.operations.max(done.operations / done.seconds),
                "copy" => peaks.bytes = peaks.bytes.max(done.bytes / done.seconds),
                _ => {}
            }
            print(&done, peaks, held(&device));
            device.memory_cleanup();
            if done.seconds > limit {
                break;
            }
        }
    }
}

/// The device that is asked for, else the first GPU, else the processor.
fn device_name() -> DeviceName {
    if let Ok(text) = std::env::var("DMAD_DEVICE") {
        return text.parse().unwrap_or_else(|fault| panic!("DMAD_DEVICE: {fault}"));
    }
    let gpus = [DeviceKind::Cuda, DeviceKind::Wgpu];
    let kind = gpus.into_iter().find(|kind| !found(*kind).is_empty()).unwrap_or_default();
    DeviceName { kind, number: 0 }
}

fn print(done: &Done, peaks: Peaks, held: Option<u64>) {
    let share = |value: f64, peak: f64| {
        if peak > 0.0 { format!("{:.1} %", 100.0 * value / done.seconds / peak) } else { "".into() }
    };
    println!(
        "{:<12} {:>26} {:>9.1} {:>9.1} {:>9.4} {:>9} {:>9} {:>9}",
        done.stage,
        done.size,
        done.operations / 1e9,
        done.bytes / 1e6,
        done.seconds,
        share(done.operations, peaks.operations),
        share(done.bytes, peaks.bytes),
        held.map(|bytes| format!("{:.0}", bytes as f64 / 1e6)).unwrap_or_default(),
    );
}

/// Seconds of the second and third call, the better of the two: the first compiles kernels.
fn timed(device: &Device, mut work: impl FnMut()) -> f64 {
    let mut once = || {
        let clock = Instant::now();
        work();
        device.sync().unwrap_or_else(|e| panic!("{e:?}"));
        clock.elapsed().as_secs_f64()
    };
    once();
    once().min(once())
}

fn drawn(rows: usize, cols: usize, index: u64, device: &Device) -> Tensor<2> {
    draws::normals(&mut stream(0, Purpose::Synthetic, index), [rows, cols], 1.0, device)
}

/// Rows as features are: a few hidden factors and noise, so that neighbours are told apart as in real banks.
fn patches(rows: usize, cols: usize, index: u64) -> Matrix {
    let mut draws = stream(0, Purpose::Synthetic, index);
    let (mut factors, mut loadings, mut noise) = (vec![0.0; rows * 16], vec![0.0; cols * 16], vec![0.0; rows * cols]);
    draws.fill_normal(&mut factors, 1.0);
    stream(0, Purpose::Synthetic, 0).fill_normal(&mut loadings, 1.0);
    draws.fill_normal(&mut noise, 0.3);
    let cpu = Device::flex();
    let common = product(upload(factors, [rows, 16], &cpu), upload(loadings, [16, cols], &cpu));
    Matrix::new(download(common + upload(noise, [rows, cols], &cpu)), cols)
}

fn matrix_product(device: &Device, size: usize) -> Option<Done> {
    let side = *[512, 1024, 2048, 4096, 8192].get(size)?;
    let (a, b) = (drawn(side, side, 0, device), drawn(side, side, 1, device));
    let seconds = timed(device, || drop(product(a.clone(), b.clone())));
    let operations = 2.0 * (side as f64).powi(3);
    Some(Done { stage: "product", size: format!("{side}³"), operations, bytes: 12.0 * (side * side) as f64, seconds })
}

fn copy(device: &Device, size: usize) -> Option<Done> {
    // Beyond every cache.
    let rows = *[1 << 16, 1 << 18].get(size)?;
    let values = drawn(rows, 1024, 0, device);
    let seconds = timed(device, || drop(values.clone() * 2.0));
    let count = (rows * 1024) as f64;
    Some(Done { stage: "copy", size: format!("{rows} × 1024"), operations: count, bytes: 8.0 * count, seconds })
}

/// The noise of a training step.
fn noise(device: &Device, size: usize) -> Option<Done> {
    let rows = *[1 << 10, 1 << 12, 1 << 15].get(size)?;
    let seconds = timed(device, || drop(drawn(rows, DIM, 0, device)));
    // Two blocks of ChaCha8 and two normals of about eighty operations for a pair.
    let operations = (rows * DIM) as f64 * 350.0;
    Some(Done {
        stage: "noise",
        size: format!("{rows} × {DIM}"),
        operations,
        bytes: 4.0 * (rows * DIM) as f64,
        seconds,
    })
}

fn neighbours(device: &Device, size: usize) -> Option<Done> {
    let (queries, bank) = *[(1 << 10, 1 << 10), (1 << 13, 1 << 12), (1 << 15, 1 << 14), (1 << 17, 74_321)].get(size)?;
    let (asked, known) = (patches(queries, DIM, 2), patches(bank, DIM, 3));
    let seconds = timed(device, || drop(nearest_on((device, Precision::F32), asked.view(), &[known.view()], None)));
    let operations = 2.0 * (queries * bank * DIM) as f64;
    let bytes = 4.0 * (queries * DIM * bank.div_ceil(1024) + bank * DIM + 2 * queries * bank) as f64;
    Some(Done { stage: "neighbours", size: format!("{queries} in {bank}"), operations, bytes, seconds })
}

fn coreset(device: &Device, size: usize) -> Option<Done> {
    let rows = *[1 << 13, 1 << 15, 1 << 17, 1 << 20].get(size)?;
    let (all, picks) = (patches(rows, 128, 4), coreset_size(rows, 0.02));
    let clock = Instant::now();
    drop(greedy_on(device, &[all.view()], picks, &Start::MeanOf(vec![0, 1, 2])));
    let seconds = clock.elapsed().as_secs_f64();
    let operations = 2.0 * (rows * picks * 128) as f64;
    Some(Done {
        stage: "coreset",
        size: format!("{picks} of {rows}"),
        operations,
        bytes: 8.0 * (rows * picks) as f64,
        seconds,
    })
}

fn features(device: &Device, size: usize) -> Option<Done> {
    let images = *[1, 8, 64, 256].get(size)?;
    let architecture = Architecture::find("wide_resnet50_2").expect("known");
    let wanted = spec::Backbone {
        name: architecture.name.into(),
        layers: Vec::new(),
        weights: "random".into(),
        ..Default::default()
    };
    let taps = architecture.taps(&wanted.layers).expect("the default");
    let weights = resolve(&wanted, std::path::Path::new(""), 0).expect("random ones");
    let backbone = Backbone::new(architecture, taps.clone(), wanted.positions, &weights, device);
    let image = |_| Ok(vec![127u8; 256 * 256 * 3]);
    let wide = spec::Features { dim: DIM, pretrain_dim: DIM, ..Default::default() };
    let pass = || {
        extract(&backbone, &wide, 256, images, 8, image, |_| Ok(())).expect("features");
    };
    let seconds = timed(device, pass);
    let operations = architecture.operations(&taps, 256) * images as f64;
    let bytes = (architecture.memory_bytes(&taps, 256) * images) as f64;
    Some(Done { stage: "features", size: format!("{images} of 256²"), operations, bytes, seconds })
}

/// A step of the paper's network (attention, both banks, normalisation) that keeps what its way back needs.
fn training_step(device: &Device, size: usize) -> Option<Done> {
    step(device, size, false)
}

/// The same where memory is short.
fn sparing_step(device: &Device, size: usize) -> Option<Done> {
    step(device, size, true)
}

fn step(device: &Device, size: usize, spares: bool) -> Option<Done> {
    let images = *[1, 4, 16, 32].get(size)?;
    let (rows, device) = (images * 1024, device.clone().autodiff());
    let params: Params = serde_json::from_value(serde_json::json!({
        "attention": { "mode": "token" }, "knowledge": { "batch_norm": "on" }, "loss": { "lambda1": 1.0, "lambda2": 0.0 },
    }))
    .expect("parameters");
    let network = Network::new(&params, DIM, true);
    let parameters = network.initial(0, &device);
    let trainer = Trainer::new(&params, network, parameters);
    let mut trainer = if spares { trainer.sparing() } else { trainer };
    let part = |index: u64| drawn(rows, DIM, index, &device);
    let batch =
        PatchRows { patch: part(0), normal: part(1), abnormal: Some(part(2)), rows_per_image: vec![1024; images] };
    let noise = part(3) * 0.015;
    let seconds = timed(&device, || drop(trainer.step(&batch, noise.clone(), None)));
    // The projection of three parts with both gradients but that of the patches, the value layer; the scoring network sees a patch
    // twice.
    let (square, judged) = (DIM * DIM, 3 * DIM * HIDDEN + 3 * HIDDEN * HIDDEN);
    let operations = 2.0 * (rows * ((8 + 2) * square + 2 * 3 * judged)) as f64;
    // docs/gpu_roofline.py: everything but operands of products.
    let bytes = 29.1e9 * rows as f64 / 32_768.0;
    let stage = if spares { "sparing step" } else { "step" };
    Some(Done { stage, size: format!("{images} × 1024 patches"), operations, bytes, seconds })
}
