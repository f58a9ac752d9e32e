//! Training steps of the methods that train on images, against PyTorch's of the same network and batch.
//!
//! `cargo bench --bench training` measures ours. With `DMAD_PYTHON` naming a Python that has PyTorch (`pip install torch`), a
//! step of `benches/peers/training.py` follows every one of ours, so that both meet the same machine, and the ratio of each
//! such pair is taken. Weights and images are drawn: what is measured does not depend on them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use burn::tensor::Device;
use dmad::backbone::Architecture;
use dmad::methods::{self, bgad, dra};
use dmad::random::{Purpose, stream};
use dmad::train::{Parameters, Terms, upload};

const ROUNDS: usize = 9;

/// A step that can be taken again and again.
type Step = Box<dyn FnMut() -> Terms>;

/// What makes one for a device.
type Make = fn(&Device) -> Step;

fn drawn(count: usize, index: u64) -> Vec<f32> {
    let mut values = vec![0.0; count];
    stream(0, Purpose::Synthetic, index).fill_normal(&mut values, 1.0);
    values
}

/// Draws the values of a backbone that was not given any: small ones, so that activations stay finite.
fn fill_trunk(parameters: &mut Parameters, device: &Device) {
    let names: Vec<String> =
        parameters.learned_names().filter(|name| name.starts_with("trunk.")).map(String::from).collect();
    for (index, name) in names.iter().enumerate() {
        let shape = parameters.get(name).dims();
        let scale = (2.0 / shape[1] as f32).sqrt();
        let values = drawn(shape[0] * shape[1], index as u64).into_iter().map(|value| value * scale);
        parameters.insert(name, values.collect(), shape, device);
    }
}

/// DRA: 24 labelled images and 5 references of 128 pixels at one scale, ResNet-18 that learns as a whole.
fn dra_step(device: &Device) -> Step {
    let (labelled, references, side) = (24, 5, 128);
    let mut params = dra::Params::default();
    params.network.scales = 1;
    let architecture = Architecture::find("resnet18").expect("known");
    let taps = architecture.taps(&["layer4".into()]).expect("a tap");
    let network = dra::Network::new(&params.network, architecture, &taps);
    let mut parameters = network.initial(None, 0, device);
    fill_trunk(&mut parameters, device);
    let images = labelled + references;
    let images = upload(drawn(images * 3 * side * side, 1), [images, 3, side, side], device);
    let average = upload(vec![1.0 / references as f32; labelled * references], [labelled, references], device);
    let kinds = [dra::Label::Normal, dra::Label::Seen, dra::Label::Pseudo];
    let labels = (0..labelled).map(|image| kinds[image % 3]).collect();
    let batch = dra::Batch { scales: vec![images], labels, average };
    let mut trainer = dra::Trainer::new(&params, network, parameters, true);
    Box::new(move || trainer.step(&batch, [dra::Prior { mean: 0.0, deviation: 1.0 }; 4]))
}

/// BGAD: 4,096 places of a layer of `channels`, eight blocks, a quarter of the places anomalous.
fn bgad_step(channels: usize, device: &Device) -> Step {
    const PLACES: usize = 4096;
    let params = bgad::Params::default();
    let flow = bgad::Flow::new(&params.flow, 0, channels);
    let mut parameters = Parameters::default();
    flow.add(&mut parameters, 0, device);
    let chunk = bgad::Chunk {
        level: 0,
        vectors: upload(drawn(PLACES * channels, 2), [PLACES, channels], device),
        condition: upload(bgad::position_code(params.flow.position, 64, 64), [PLACES, params.flow.position], device),
        anomalous: (0..PLACES).map(|place| place % 4 == 0).collect(),
    };
    let mut trainer = bgad::Trainer::new(&params, vec![flow], parameters);
    Box::new(move || trainer.step(&chunk, false))
}

/// DMAD with token attention: so many normal patches and as many pseudo-anomalies, of `dim` values, with their neighbours in both
/// banks; an MLP of four blocks of `hidden`.
fn dmad_step(rows: usize, dim: usize, hidden: usize, device: &Device) -> Step {
    let params: methods::dmad::Params = serde_json::from_value(serde_json::json!({
        "attention": { "mode": "token" }, "knowledge": { "batch_norm": "on" }, "loss": { "lambda1": 1.0, "lambda2": 0.0 },
        "mlp": { "hidden": hidden },
    }))
    .expect("parameters");
    let network = methods::dmad::Network::new(&params, dim, true);
    let parameters = network.initial(0, device);
    let mut trainer = methods::dmad::Trainer::new(&params, network, parameters);
    let part = |index: u64| upload(drawn(rows * dim, index), [rows, dim], device);
    let batch = methods::dmad::PatchRows {
        patch: part(0),
        normal: part(1),
        abnormal: Some(part(2)),
        rows_per_image: vec![rows],
    };
    let noise = part(3) * 0.25;
    Box::new(move || trainer.step(&batch, noise.clone(), None))
}

/// PyTorch in a process of its own: a line names a step, the answer is its seconds.
struct Peer {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Peer {
    /// Nobody where no Python is named.
    fn start() -> Option<Peer> {
        let python = std::env::var_os("DMAD_PYTHON")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/training.py");
        let mut command = Command::new(python);
        // Threads that spin while they wait would take the processor from our next step.
        command.arg(script).env("OMP_WAIT_POLICY", "PASSIVE").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("DMAD_PYTHON starts");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut peer = Peer { child, answers };
        println!("against PyTorch {}", peer.line());
        Some(peer)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer answers");
        assert!(!line.is_empty(), "the peer ended: is PyTorch installed for DMAD_PYTHON?");
        line.trim().to_string()
    }

    fn seconds(&mut self, step: &str) -> f64 {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "{step}").expect("the peer listens");
        self.line().parse().expect("seconds")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.stdin.take()); // it ends with its input
        let _ = self.child.wait();
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(name: &str, step: &mut dyn FnMut() -> Terms, peer: &mut Option<Peer>) {
    let mut own = || {
        let began = Instant::now();
        step().value("loss"); // a step is over when its loss can be read
        began.elapsed().as_secs_f64()
    };
    own();
    if let Some(peer) = peer {
        peer.seconds(name);
    }
    let pairs: Vec<(f64, Option<f64>)> =
        (0..ROUNDS).map(|_| (own(), peer.as_mut().map(|peer| peer.seconds(name)))).collect();
    let ours = median(pairs.iter().map(|pair| pair.0).collect());
    print!("{name}: {:.0} ms a step", 1e3 * ours);
    if pairs[0].1.is_some() {
        let theirs = pairs.iter().map(|pair| pair.1.unwrap_or(f64::NAN));
        let mut ratios: Vec<f64> = pairs.iter().map(|pair| pair.0 / pair.1.unwrap_or(f64::NAN)).collect();
        ratios.sort_by(f64::total_cmp);
        print!(", PyTorch {:.0} ms; ratio of pairs {:.2}", 1e3 * median(theirs.collect()), ratios[ROUNDS / 2]);
        print!(" ({:.2} to {:.2})", ratios[0], ratios[ROUNDS - 1]);
    }
    println!(" (median of {ROUNDS})");
}

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS; // `cargo test --benches` only builds it
    }
    dmad::memory::keep_freed(); // as the program does
    let (device, mut peer) = (Device::flex().autodiff(), Peer::start());
    let wanted = |name: &str| std::env::args().skip(1).all(|word| word.starts_with('-') || name.contains(&word));
    let steps: [(&str, Make); 5] = [
        ("dra", dra_step),
        ("bgad_40", |device| bgad_step(40, device)),
        ("bgad_200", |device| bgad_step(200, device)),
        ("dmad_152", |device| dmad_step(2048, 152, 256, device)),
        ("dmad_1536", |device| dmad_step(4096, 1536, 1024, device)),
    ];
    for (name, step) in steps.into_iter().filter(|(name, _)| wanted(name)) {
        measure(name, &mut step(&device), &mut peer);
    }
    ExitCode::SUCCESS
}
