//! Weights files, names, digests, and sameness of the backbone's forward pass.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dmad::backbone::weights::{self, StateDict, Weight};
use dmad::backbone::{ARCHITECTURES, Architecture, Backbone, Kind};
use dmad::cli::weights::import;
use dmad::error::Error;
use dmad::spec;

use crate::{generator, util};

fn lite0(weights: &str, layers: &[&str]) -> spec::Backbone {
    let layers = layers.iter().map(|layer| layer.to_string()).collect();
    spec::Backbone { name: "efficientnet_lite0".into(), layers, weights: weights.into(), ..Default::default() }
}

fn random_state(name: &str) -> StateDict {
    let spec = spec::Backbone { name: name.into(), layers: vec![], weights: "random".into(), ..Default::default() };
    weights::resolve(&spec, Path::new("none"), 0).expect("random weights need no file").state
}

/// Loads `path` as ResNet-18 weights and returns the complaint and the advice.
fn complaint(path: &Path) -> (String, String) {
    let spec = spec::Backbone {
        name: "resnet18".into(),
        layers: vec![],
        weights: path.display().to_string(),
        ..Default::default()
    };
    let error = Backbone::load(&spec, Path::new("none"), 0, &Device::flex()).err().expect("the file must be refused");
    assert!(matches!(error, Error::Weights { .. }), "another kind of error: {error}");
    assert!(error.to_string().contains(&path.display().to_string()), "no path in: {error}");
    (error.to_string(), error.help().expect("advice").to_string())
}

fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

#[test]
fn a_weights_file_that_is_empty_cut_or_something_else_is_refused_with_advice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = folder.path().join("whole.safetensors");
    weights::write(&whole, &random_state("resnet18")).expect("written");
    let bytes = std::fs::read(&whole).expect("read back");
    for (name, bytes) in [
        ("empty.pth", &b""[..]),
        ("empty.safetensors", b""),
        ("text.pth", b"<html>404 not found</html>"),
        ("text.safetensors", b"<html>404 not found</html>"),
        ("nozip.pth", b"PK\x03\x04 and then nothing of the kind"),
        ("cut.safetensors", &bytes[..bytes.len() / 2]),
        ("short.safetensors", &bytes[..100]),
    ] {
        let (what, help) = complaint(&file(&folder, name, bytes));
        assert!(what.contains("empty") || what.contains("file that can be read"), "{name}: {what}");
        assert!(help.contains("damaged"), "{name}: {help}");
    }
    let absent = folder.path().join("absent.pth");
    let spec = spec::Backbone {
        name: "resnet18".into(),
        layers: vec![],
        weights: absent.display().to_string(),
        ..Default::default()
    };
    let error = weights::resolve(&spec, folder.path(), 0).err().expect("an error");
    assert!(error.to_string().contains("absent.pth"), "{error}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn a_pytorch_file_cut_anywhere_is_refused_and_never_a_panic() {
    let weights_dir = util::weights();
    let bytes = std::fs::read(weights_dir.join("efficientnet-lite0-57934424.pth")).expect("the weights");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for length in [1, 20, 200, 5_000, 30_000, 60_000, 100_000, 1_000_000, 10_000_000] {
        let path = file(&folder, "cut.pth", &bytes[..length]);
        let spec = lite0(&path.display().to_string(), &[]);
        let error = weights::resolve(&spec, folder.path(), 0).err().unwrap_or_else(|| panic!("{length} bytes passed"));
        assert!(matches!(error, Error::Weights { .. }), "{length} bytes: {error}");
    }
    // Under its published name the digest tells first.
    file(&folder, "efficientnet-lite0-57934424.pth", &bytes[..10_000_000]);
    let error = weights::resolve(&lite0("imagenet", &[]), folder.path(), 0).err().expect("an error");
    assert!(error.to_string().contains("SHA-256"), "{error}");
}

#[test]
fn a_pickle_that_calls_a_program_is_refused_and_the_program_does_not_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let witness = folder.path().join("witness");
    let command = format!("touch {}", witness.display());
    let call = [b"cos\nsystem\n(X", &(command.len() as u32).to_le_bytes()[..], command.as_bytes(), b"tR"].concat();
    let plain = [b"\x80\x02", &call[..], b"."].concat();
    let inside = [b"\x80\x02}X\x0c\0\0\0conv1.weight", &call[..], b"s."].concat();
    for (name, bytes) in [("plain.pth", plain), ("inside.pth", inside)] {
        let (what, _) = complaint(&file(&folder, name, &bytes));
        assert!(what.contains("no tensors") || what.contains("file that can be read"), "{name}: {what}");
    }
    assert!(!witness.exists(), "the pickle ran a program");
}

#[test]
fn a_missing_tensor_a_wrong_shape_and_a_bad_value_are_called_by_the_tensors_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = "layer2.0.conv1.weight";
    let refused = |change: &dyn Fn(&mut StateDict)| {
        let mut state = random_state("resnet18");
        change(&mut state);
        let path = folder.path().join("changed.safetensors");
        weights::write(&path, &state).expect("written");
        complaint(&path).0
    };
    let at = |state: &mut StateDict, value: f32| state.get_mut(name).expect("the tensor").values[5] = value;
    let what = refused(&|state| drop(state.remove(name)));
    assert!(what.contains(name) && what.contains("missing"), "{what}");
    let what = refused(&|state| {
        state.insert(name.into(), Weight { shape: vec![2, 3], values: vec![0.0; 6] });
    });
    assert!(what.contains(name) && what.contains("another architecture") && what.contains("[2, 3]"), "{what}");
    for value in [f32::NAN, f32::INFINITY] {
        let what = refused(&|state| at(state, value));
        assert!(what.contains(name) && what.contains("not finite"), "{what}");
    }
    let what = refused(&|state| state.get_mut("bn1.running_var").expect("the tensor").values[0] = -0.5);
    assert!(what.contains("bn1.running_var") && what.contains("negative"), "{what}");
}

#[test]
fn sixteen_and_sixty_four_bit_weights_are_read_as_the_numbers_they_are() {
    use safetensors::{Dtype, tensor::TensorView};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = weights::digest(&random_state("resnet18").into_iter().map(rounded_to_bf16).collect());
    for (kind, dtype) in [("bf16", Dtype::BF16), ("f64", Dtype::F64)] {
        let state: StateDict = random_state("resnet18").into_iter().map(rounded_to_bf16).collect();
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = state
            .into_iter()
            .map(|(name, weight)| {
                let values = weight.values.iter();
                let bytes = match dtype {
                    Dtype::BF16 => values.flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect(),
                    _ => values.flat_map(|&v| (v as f64).to_le_bytes()).collect(),
                };
                (name, weight.shape, bytes)
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).expect("a sound tensor"))
        });
        let path = file(&folder, &format!("{kind}.safetensors"), &safetensors::serialize(views, None).expect("bytes"));
        let spec = spec::Backbone {
            name: "resnet18".into(),
            layers: vec![],
            weights: path.display().to_string(),
            ..Default::default()
        };
        assert_eq!(weights::weights_digest(&spec, folder.path(), 0).expect("readable"), expected, "{kind}");
    }
}

fn rounded_to_bf16((name, weight): (String, Weight)) -> (String, Weight) {
    let values = weight.values.iter().map(|value| f32::from_bits(value.to_bits() & 0xffff_0000)).collect();
    (name, Weight { values, ..weight })
}

#[test]
fn absent_imagenet_weights_are_asked_for_by_file_address_and_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = weights::resolve(&spec::Backbone::default(), folder.path(), 0).err().expect("an error");
    let (what, help) = (error.to_string(), error.help().expect("advice").to_string());
    assert!(
        what.contains("wide_resnet50_2-95faca4d.pth") && what.contains(&folder.path().display().to_string()),
        "{what}"
    );
    assert!(help.contains("https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth"), "{help}");
    assert!(help.contains("--weights") && help.contains("random"), "{help}");
}

#[test]
fn the_embedded_weights_have_their_digest_and_end_at_stride_16() {
    let nowhere = tempfile::tempdir().expect("a temporary folder");
    let embedded = weights::resolve(&lite0("imagenet", &[]), nowhere.path(), 0).expect("part of the program");
    assert!(embedded.source.contains("part of the program") && !embedded.random);
    let digest = weights::digest(&embedded.state);
    assert_eq!(&digest[..16], "d078db3069d53ae1");
    let error = weights::resolve(&lite0("imagenet", &["stride8", "stride32"]), nowhere.path(), 0).err();
    let error = error.expect("nothing behind stride 16 is embedded").to_string();
    assert!(error.contains("_blocks.11.") && error.contains("missing"), "{error}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn the_embedded_weights_are_those_of_the_published_file() {
    let nowhere = tempfile::tempdir().expect("a temporary folder");
    let embedded = weights::resolve(&lite0("imagenet", &[]), nowhere.path(), 0).expect("part of the program");
    let (digest, weights_dir) = (weights::digest(&embedded.state), util::weights());
    assert_eq!(weights::weights_digest(&lite0("imagenet", &[]), &weights_dir, 0).expect("the file"), digest);
    let path = weights_dir.join("efficientnet-lite0-57934424.pth").display().to_string();
    assert_eq!(weights::weights_digest(&lite0(&path, &[]), nowhere.path(), 0).expect("the file"), digest);
    let shallow = weights::weights_digest(&lite0(&path, &["stride8"]), nowhere.path(), 0).expect("the file");
    assert_ne!(shallow, digest, "the digest is over the tensors in use");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn an_imported_file_loads_and_keeps_the_digest() {
    let weights_dir = util::weights();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = weights_dir.join("efficientnet-lite0-57934424.pth");
    let layers = ["stride4".to_string(), "stride8".to_string()];
    let imported = import(&source, "efficientnet_lite0", &layers, folder.path()).expect("it fits");
    let spec = lite0("imagenet", &["stride4", "stride8"]);
    let origin = weights::origin(&spec, folder.path()).expect("found");
    assert!(matches!(&origin, weights::Origin::File(file) if *file == imported.file), "{origin:?}");
    assert_eq!(weights::weights_digest(&spec, folder.path(), 0).expect("readable"), imported.digest);
    let error = import(&source, "resnet18", &[], folder.path()).expect_err("another architecture").to_string();
    assert!(error.contains("conv1.weight"), "{error}");
    let error = import(&imported.file, "efficientnet_lite0", &layers, folder.path()).expect_err("onto itself");
    assert!(error.to_string().contains("overwrite"), "{error}");
}

#[test]
fn unknown_backbones_and_layers_are_refused_with_the_nearest_name() {
    let error = Architecture::find("wide_resnet50").expect_err("unknown");
    let help = error.help().expect("a list");
    assert!(help.contains("did you mean `wide_resnet50_2`?") && help.contains("efficientnet_lite0"), "{help}");
    let resnet = Architecture::find("resnet18").expect("known");
    let error = resnet.taps(&["layer_2".into()]).expect_err("unknown");
    assert!(error.help().expect("a list").contains("did you mean `layer2`?"), "{error:?}");
    for layers in [["layer3", "layer2"], ["layer2", "layer2"]] {
        let error = resnet.taps(&layers.map(String::from)).expect_err("out of order");
        assert!(error.help().expect("advice").contains("shallow first"), "{error}");
    }
    assert!(Architecture::find("lite").expect_err("unknown").help().expect("a list").contains("resnet18"));
}

#[test]
fn every_map_has_the_channels_and_the_size_that_the_registry_says() {
    for architecture in ARCHITECTURES {
        let layers: Vec<String> = architecture.taps.iter().map(|tap| tap.name.to_string()).collect();
        let spec =
            spec::Backbone { name: architecture.name.into(), layers, weights: "random".into(), ..Default::default() };
        let backbone = Backbone::load(&spec, Path::new("none"), 1, &Device::flex()).expect("random weights");
        assert!(backbone.random && backbone.parameters > 1_000_000);
        let sizes = if architecture.kind() == Kind::Transformer { [42, 56] } else { [32, 45] };
        for side in sizes {
            let image = generator::image(1, 0, side);
            let maps = backbone.forward(&[&image], side).expect("maps");
            let sides = architecture.map_sides(&backbone.taps, side).expect("large enough");
            for ((map, tap), side) in maps.iter().zip(&backbone.taps).zip(sides) {
                assert_eq!(map.dims(), [1, tap.channels, side, side], "{} {}", architecture.name, tap.name);
            }
        }
        assert!(architecture.map_sides(&backbone.taps, 16).is_err(), "too small an image must be refused");
    }
}

#[test]
fn random_weights_follow_the_seed_and_do_not_shift_with_the_depth() {
    let draw = |layers: &[&str], seed| {
        weights::resolve(&lite0("random", layers), Path::new("none"), seed).expect("no file needed").state
    };
    let (deep, shallow) = (draw(&["stride16"], 7), draw(&["stride8"], 7));
    assert!(shallow.len() < deep.len() && shallow.iter().all(|(name, weight)| deep[name] == *weight));
    assert_ne!(weights::digest(&deep), weights::digest(&draw(&["stride16"], 8)));
}

#[test]
fn rows_of_the_registry_agree_with_themselves() {
    for architecture in ARCHITECTURES {
        let name = architecture.name;
        assert_eq!(ARCHITECTURES.iter().filter(|other| other.name == name).count(), 1, "{name} is there twice");
        let taps = architecture.taps(&[]).unwrap_or_else(|fault| panic!("{name}: its default layers: {fault}"));
        assert_eq!(taps.len(), architecture.default_layers.len(), "{name}");
        assert!(architecture.tensors(architecture.taps).len() > taps.len(), "{name}: its plan reaches its deepest tap");
        if let Some(published) = architecture.published {
            if let Some(digest) = published.sha256 {
                let hex = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
                assert!(digest.len() >= 8 && hex, "{name}: {digest}");
            }
            assert!(published.url.starts_with("https://") && !published.licence.is_empty(), "{name}");
        }
        if let Some(embedded) = architecture.embedded {
            let spec = spec::Backbone {
                name: name.into(),
                layers: vec![embedded.deepest.into()],
                weights: "imagenet".into(),
                ..Default::default()
            };
            let found = weights::resolve(&spec, Path::new("none"), 0).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert!(found.source.starts_with(embedded.file), "{}", found.source);
        }
    }
}

#[test]
fn processes_that_write_one_weights_file_at_once_leave_a_whole_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("resnet18.safetensors");
    let state = weights::resolve(&lite0("imagenet", &["stride8"]), Path::new("none"), 0).expect("embedded").state;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope
                .spawn(|| (0..8).for_each(|_| weights::write(&path, &state).unwrap_or_else(|fault| panic!("{fault}"))));
        }
    });
    let files: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(files, ["resnet18.safetensors"], "nothing else is left");
    let spec = lite0(&path.display().to_string(), &["stride8"]);
    assert_eq!(weights::weights_digest(&spec, folder.path(), 0).expect("whole"), weights::digest(&state));
}

#[test]
fn efficientnet_b6_has_the_parameters_names_and_maps_of_timms() {
    let architecture = Architecture::find("tf_efficientnet_b6").expect("known");
    let whole = architecture.tensors(&architecture.taps(&["stride32".into()]).expect("a tap"));
    let learned = whole.iter().filter(|spec| !spec.name.contains(".running_"));
    // 43,040,704 without the last convolution, its normalisation and the classifier.
    let count: usize = learned.map(|spec| spec.shape.iter().product::<usize>()).sum();
    assert_eq!(count, 43_040_704 - 576 * 2304 - 2 * 2304 - 1000 * 2305);
    for (name, shape) in [
        ("conv_stem.weight", vec![56, 3, 3, 3]),
        ("bn1.weight", vec![56]),
        ("blocks.0.0.conv_dw.weight", vec![56, 1, 3, 3]),
        ("blocks.0.0.bn1.bias", vec![56]),
        ("blocks.0.0.se.conv_reduce.weight", vec![14, 56, 1, 1]),
        ("blocks.0.0.conv_pw.weight", vec![32, 56, 1, 1]),
        ("blocks.0.2.bn2.running_var", vec![32]),
        ("blocks.1.0.conv_pw.weight", vec![192, 32, 1, 1]),
        ("blocks.1.0.se.conv_expand.bias", vec![192]),
        ("blocks.4.7.conv_pwl.weight", vec![200, 1200, 1, 1]),
        ("blocks.4.7.bn3.running_mean", vec![200]),
    ] {
        let spec = whole.iter().find(|spec| spec.name == name).unwrap_or_else(|| panic!("{name} is not there"));
        assert_eq!(spec.shape, shape, "{name}");
    }
    let taps = architecture.taps(&[]).expect("defaults");
    assert_eq!(taps.iter().map(|tap| tap.channels).collect::<Vec<_>>(), [40, 72, 200]);
    assert_eq!(architecture.map_sides(&taps, 256).expect("large enough"), [64, 32, 16]);
}

/// "imagenet" also takes what was imported, of which only a note says that it was the published file.
#[test]
fn imported_weights_are_told_from_the_published_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = spec::Backbone { name: "resnet18".into(), weights: "imagenet".into(), ..Default::default() };
    let path = folder.path().join("resnet18.safetensors");
    let published = Architecture::find("resnet18").expect("known").published.expect("published");
    let state = random_state("resnet18");
    for (note, unchecked) in [
        (None, true),
        (Some("00".repeat(32)), true),
        (Some(format!("{}00", published.sha256.expect("a digest"))), false),
    ] {
        match note {
            Some(sha256) => weights::write_imported(&path, &state, sha256),
            None => weights::write(&path, &state),
        }
        .expect("written");
        assert_eq!(weights::are_unchecked(&spec, folder.path()), unchecked);
        weights::resolve(&spec, folder.path(), 0).expect("read");
    }
    std::fs::write(folder.path().join(published.file), "not looked into here").expect("written");
    assert!(
        !weights::are_unchecked(&spec, folder.path()),
        "the published file comes first, and is checked when it is read"
    );
    assert!(!weights::are_unchecked(&spec::Backbone { weights: "random".into(), ..spec }, folder.path()));
}
