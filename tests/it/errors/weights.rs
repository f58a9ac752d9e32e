//! Faults of weights files name the file and the tensor; those of `backbone.weights` itself point at the key.

use std::fs;
use std::path::{Path, PathBuf};

use dmad::backbone::weights::{self, StateDict};
use dmad::spec::Backbone;

use crate::program::{Sandbox, place};
use crate::util;

/// The embedded weights as tensors.
fn lite0() -> StateDict {
    let layers = vec!["stride8".to_string(), "stride16".to_string()];
    let spec = Backbone { name: "efficientnet_lite0".into(), layers, weights: "imagenet".into(), ..Default::default() };
    weights::resolve(&spec, Path::new("none"), 0).expect("embedded").state
}

/// Runs the experiment with `weights` written by `make` as its weights; it must be refused with the path and `words`.
fn refused(name: &str, make: impl FnOnce(PathBuf), words: &[&str]) {
    let sandbox = Sandbox::new();
    make(sandbox.path(name));
    sandbox.edit(&[("weights = \"imagenet\"", &format!("weights = \"{name}\""))]);
    sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &[&[name], words].concat());
}

/// The embedded weights with a change.
fn changed(change: impl FnOnce(&mut StateDict), words: &[&str]) {
    let make = |path: PathBuf| {
        let mut state = lite0();
        change(&mut state);
        weights::write(&path, &state).expect("written");
    };
    refused("changed.safetensors", make, words);
}

const TENSOR: &str = "_blocks.3._project_conv.weight";

#[test]
fn weights_that_are_not_finite_are_refused() {
    let spoil = |state: &mut StateDict| state.get_mut(TENSOR).expect("the tensor").values[3] = f32::NAN;
    changed(spoil, &[TENSOR, "not finite", "sound training run"]);
}

#[test]
fn weights_that_lack_a_tensor_are_refused() {
    changed(|state| drop(state.remove(TENSOR)), &[TENSOR, "is missing", "backbone.name"]);
}

#[test]
fn weights_of_another_architecture_are_refused() {
    let make = |path: PathBuf| {
        let spec =
            Backbone { name: "resnet18".into(), layers: Vec::new(), weights: "random".into(), ..Default::default() };
        let state = weights::resolve(&spec, Path::new("none"), 0).expect("drawn").state;
        weights::write(&path, &state).expect("written");
    };
    refused("resnet18.safetensors", make, &["another architecture", "backbone.name"]);
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn a_pytorch_file_that_is_cut_off_is_refused() {
    let folder = util::weights();
    let bytes = fs::read(folder.join("efficientnet-lite0-57934424.pth")).expect("the weights");
    for length in [100, 60_000, 2_000_000] {
        refused("cut.pth", |path| fs::write(path, &bytes[..length]).expect("written"), &["damaged"]);
    }
    let sandbox = Sandbox::new();
    sandbox.write("weights/efficientnet-lite0-57934424.pth", &bytes[..2_000_000]);
    let outcome = sandbox.dmad(&["run", "experiment.toml"]);
    outcome.refuses(&sandbox, &["weights/efficientnet-lite0-57934424.pth", "SHA-256", "download it again"]);
}

/// A zip archive with one stored file, which is what PyTorch writes.
fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let crc = content.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    }) ^ u32::MAX;
    let size = (content.len() as u32).to_le_bytes();
    let sizes = [&crc.to_le_bytes()[..], &size, &size, &(name.len() as u16).to_le_bytes(), &[0, 0]].concat();
    let local = [b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0", &sizes[..], name.as_bytes(), content].concat();
    let central = [b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\x21\0", &sizes[..], &[0; 14], name.as_bytes()].concat();
    let lengths = [(central.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes()].concat();
    [&local[..], &central, b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &lengths, &[0, 0]].concat()
}

#[test]
fn a_pickle_that_calls_a_program_is_refused_and_nothing_is_called() {
    // os.system(COMMAND), alone and as the value of a tensor's name.
    let command = "touch witness";
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let call = [b"cos\nsystem\n(", &text(command)[..], b"tR"].concat();
    let alone = [b"\x80\x02", &call[..], b"."].concat();
    let inside = [b"\x80\x02}", &text("_conv_stem.weight")[..], &call, b"s."].concat();
    for (name, bytes) in [
        ("alone.pth", alone.clone()),
        ("inside.pth", inside.clone()),
        ("zipped_alone.pth", zip("archive/data.pkl", &alone)),
        ("zipped_inside.pth", zip("archive/data.pkl", &inside)),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write(name, bytes);
        sandbox.edit(&[("weights = \"imagenet\"", &format!("weights = \"{name}\""))]);
        sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &[name]);
        assert!(!sandbox.path("witness").exists(), "{name} ran a program");
        let outcome = sandbox.dmad(&["weights", "import", name, "--name", "efficientnet_lite0"]);
        outcome.says(2, &[name]);
        assert!(!sandbox.path("witness").exists() && !sandbox.path("weights").exists(), "{name} at import");
    }
}

#[test]
fn an_empty_weights_file_is_refused() {
    for name in ["empty.safetensors", "empty.pth"] {
        refused(name, |path| fs::write(path, b"").expect("written"), &["the file is empty", "damaged"]);
    }
}

#[test]
fn a_weights_file_that_does_not_exist_is_told_at_the_key() {
    let sandbox = Sandbox::new();
    let text = sandbox.edit(&[("weights = \"imagenet\"", "weights = \"imagnet\"")]);
    let at = place("experiment.toml", &text, "\"imagnet\"");
    let words = [at.as_str(), "there is no weights file imagnet", "\"imagenet\", \"random\", or the path"];
    sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &words);
}

#[test]
fn imagenet_weights_that_are_not_here_are_told_with_their_address() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[("\"efficientnet_lite0\"", "\"resnet18\""), ("\"stride8\", \"stride16\"", "\"layer2\"")]);
    let words = ["weights/resnet18-f37072fd.pth", "not here", "https://download.pytorch.org", "--weights"];
    sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &words);
}
