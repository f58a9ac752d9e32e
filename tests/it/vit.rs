//! Vision transformers: counts, weights files, invariants of the forward pass, and methods on top of them.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use dmad::backbone::vit::{Form, Transformer};
use dmad::backbone::weights::{self, StateDict, Weight};
use dmad::backbone::{Architecture, Backbone};
use dmad::spec::{self, Positions};

use crate::lab::{Lab, study, with};
use crate::oracle_vit::{hash_weights, planes};
use crate::{generator, util};

const SMALL: Form = Form { width: 64, depth: 3, heads: 4, registers: 4, grid: 5 };

fn values(tensor: Tensor<3>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("f32")
}

/// The output behind the final normalisation.
fn last(form: &Form, state: &StateDict, input: Vec<f32>, size: [usize; 2]) -> Vec<f32> {
    let network = Transformer::new(form, &[form.depth], Positions::Offset, state, &Device::flex());
    values(network.tokens(input, size).pop().expect("a tap"))
}

fn far(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn backbone(name: &str, layers: &[&str], weights: &str) -> spec::Backbone {
    let layers = layers.iter().map(|layer| layer.to_string()).collect();
    spec::Backbone { name: name.into(), layers, weights: weights.into(), ..Default::default() }
}

#[test]
fn parameters_and_tensors_are_as_many_as_published() {
    // All but the mask token, which serves training alone.
    for (name, parameters, tensors) in [
        ("dinov2_vits14", 22_056_576 - 384, 174),
        ("dinov2_vits14_reg", 22_058_112 - 384, 175),
        ("dinov2_vitb14", 86_580_480 - 768, 174),
        ("dinov2_vitb14_reg", 86_583_552 - 768, 175),
    ] {
        let architecture = Architecture::find(name).expect("known");
        let found = architecture.tensors(&architecture.taps(&[]).expect("the default"));
        let count: usize = found.iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
        assert_eq!((count, found.len()), (parameters, tensors), "{name}");
    }
}

#[test]
fn operations_and_memory_are_foretold() {
    let small = Architecture::find("dinov2_vits14").expect("known");
    let base = Architecture::find("dinov2_vitb14_reg").expect("known");
    // Multiplications by the published counts: 31.7e9 at 448 pixels, 78.8e9 at 392.
    for (architecture, side, expected) in [(small, 448, 31.7e9), (base, 392, 78.8e9)] {
        let taps = architecture.taps(&["block11".into()]).expect("a tap");
        let found = architecture.operations(&taps, side) / 2.0;
        assert!((found / expected - 1.0).abs() < 0.01, "{}: {found}", architecture.name);
        // The attention's weights are the most of it, twice.
        let tokens = (side / 14).pow(2) + 5;
        let heads = architecture.form().heads;
        let memory = architecture.memory_bytes(&taps, side);
        assert!(memory > 8 * heads * tokens * (tokens - 4) && memory < 100 << 20, "{memory}");
    }
    let shallow = small.taps(&["block0".into()]).expect("a tap");
    let deep = small.taps(&["block11".into()]).expect("a tap");
    let ratio = small.operations(&deep, 448) / small.operations(&shallow, 448);
    assert!((8.0..12.0).contains(&ratio), "{ratio}");
}

/// The file as timm has it: no token for masks; with registers the class has its position already.
fn as_timm(state: &StateDict, form: &Form) -> StateDict {
    let mut state: StateDict = state.clone();
    state.remove("mask_token");
    if let Some(registers) = state.remove("register_tokens") {
        let table = state.remove("pos_embed").expect("a table").values;
        let class = state.get_mut("cls_token").expect("the class");
        class.values.iter_mut().zip(&table).for_each(|(token, position)| *token += position);
        let shape = vec![1, form.grid * form.grid, form.width];
        state.insert("pos_embed".into(), Weight { shape, values: table[form.width..].to_vec() });
        state.insert("reg_token".into(), registers);
    }
    state
}

#[test]
fn weights_files_of_both_namings_give_the_same_tokens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for form in [SMALL, Form { registers: 0, ..SMALL }] {
        let published = hash_weights(&form, 170);
        let prefixed = |state: &StateDict| -> StateDict {
            state.iter().map(|(name, weight)| (format!("model.backbone.{name}"), weight.clone())).collect()
        };
        let timm = as_timm(&published, &form);
        let outputs: Vec<Vec<f32>> = [published.clone(), timm.clone(), prefixed(&published), prefixed(&timm)]
            .iter()
            .map(|state| {
                let path = folder.path().join("weights.safetensors");
                weights::write(&path, state).expect("written");
                let read = dmad::backbone::vit::layout::read(&path, &form, form.depth).expect("it fits");
                assert_eq!(read.len(), form.tensors(form.depth).len());
                last(&form, &read, planes(0, 56, 56), [56, 56])
            })
            .collect();
        assert!(outputs[1..].iter().all(|other| far(&outputs[0], other) <= 1e-5));
    }
}

#[test]
fn timm_s_form_of_the_reference_has_the_numbers_of_the_reference() {
    let oracle = util::json(&util::reference("vit.json"));
    for name in ["small_reg", "small_plain"] {
        let form = crate::oracle_vit::form(&oracle[name]["config"]);
        let seed = oracle[name]["weights"]["seed"].as_u64().expect("a seed");
        let (state, expected) = (as_timm(&hash_weights(&form, seed), &form), &oracle[name]["timm_layout"]);
        let count: usize = state.values().map(|weight| weight.values.len()).sum();
        assert_eq!(count as u64, expected["n_values"].as_u64().expect("a number"), "{name}");
        for (key, first) in [("cls_token", "cls_token_first4"), ("pos_embed", "pos_embed_first4")] {
            let own = state[key].values.iter().zip(util::numbers(&expected[first]));
            assert!(own.take(4).all(|(own, expected)| (f64::from(*own) - expected).abs() < 1e-7), "{name} {key}");
        }
    }
}

#[test]
fn files_that_do_not_fit_are_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights.safetensors");
    let complaint = |form: &Form, change: &dyn Fn(&mut StateDict)| {
        let mut state = hash_weights(&SMALL, 170);
        change(&mut state);
        weights::write(&path, &state).expect("written");
        dmad::backbone::vit::layout::read(&path, form, form.depth).expect_err("refused").to_string()
    };
    let plain = Form { registers: 0, ..SMALL };
    assert!(complaint(&plain, &|_| ()).contains("network with registers"));
    let what = complaint(&SMALL, &|state| drop(state.remove("register_tokens")));
    assert!(what.contains("register_tokens is missing"), "{what}");
    let what = complaint(&SMALL, &|state| drop(state.remove("blocks.1.ls2.gamma")));
    assert!(what.contains("blocks.1.ls2.gamma is missing"), "{what}");
    let what = complaint(&Form { grid: 6, ..SMALL }, &|_| ());
    assert!(what.contains("pos_embed has the shape [1, 26, 64]"), "{what}");
    let gated = |state: &mut StateDict| {
        state.insert("blocks.0.mlp.w12.weight".into(), Weight { shape: vec![1], values: vec![0.0] });
    };
    assert!(complaint(&SMALL, &gated).contains("w12"));
    let spoil = |state: &mut StateDict| state.get_mut("norm.bias").expect("there").values[0] = f32::NAN;
    assert!(complaint(&SMALL, &spoil).contains("norm.bias holds values that are not finite"));
}

#[test]
fn absent_weights_are_asked_for_by_file_address_and_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = weights::resolve(&backbone("dinov2_vitb14_reg", &[], "imagenet"), folder.path(), 0).err();
    let error = error.expect("nothing is there");
    assert!(error.to_string().contains("dinov2_vitb14_reg4_pretrain.pth"), "{error}");
    let help = error.help().expect("advice");
    assert!(help.contains("https://") && help.contains("--weights") && help.contains("random"), "{help}");
}

#[test]
fn images_that_are_no_whole_patches_are_refused_by_the_key_that_says_so() {
    let lab = Lab::new();
    let text = with(&study("patchcore"), &[("backbone.name", "\"dinov2_vits14\""), ("backbone.weights", "\"random\"")]);
    let error = lab.try_run("sizes", &text).expect_err("64 is no multiple of 14");
    let (what, help) = (error.to_string(), error.help().unwrap_or_default().to_string());
    let all = format!("{what} {help}");
    assert!(all.contains("14 × 14") && all.contains("image.size") && all.contains("56 or 70"), "{all}");
    let text = with(&study("patchcore"), &[("backbone.positions", "\"size\"")]);
    let error = lab.try_run("positions", &text).expect_err("no table").to_string();
    assert!(error.contains("no table of positions"), "{error}");
}

#[test]
fn methods_that_train_convolutions_refuse_a_transformer() {
    let lab = Lab::new();
    for method in ["rd4ad", "dra", "dm_grd"] {
        let text = with(&study(method), &[("backbone.name", "\"dinov2_vits14\""), ("image.size", "56")]);
        let error = lab.try_run(method, &text).expect_err("refused");
        let all = format!("{error} {}", error.help().unwrap_or_default());
        assert!(all.contains("needs a network of convolutions") && all.contains("resnet18"), "{all}");
    }
}

#[test]
fn methods_on_patch_features_run_on_a_transformer_by_toml_alone() {
    let lab = Lab::new();
    for method in ["dmad", "patchcore", "simplenet", "uniad"] {
        let settings = [
            ("backbone.name", "\"dinov2_vits14_reg\""),
            ("backbone.weights", "\"random\""),
            ("backbone.layers", "[\"block1\"]"),
            ("image.size", "112"),
        ];
        let (experiment, summary) = lab.run(method, &with(&study(method), &settings));
        assert!(summary.failed.is_empty(), "{method}: {:?}", summary.failed);
        let recorded = lab.recorded(&experiment);
        let ([_, rows, columns], _) = recorded.runs[0].patch_scores("wood").expect("scores");
        assert_eq!((rows, columns), (8, 8), "{method}");
    }
}

#[test]
fn two_images_at_once_are_each_of_them_alone_and_maps_are_the_tokens_of_patches() {
    let weights = backbone("dinov2_vits14_reg", &["block0", "block1"], "random");
    let network = Backbone::load(&weights, Path::new("none"), 3, &Device::flex()).expect("random weights");
    let images = [0, 1].map(|k| generator::image(7, k, 56));
    let of = |images: &[&[u8]]| -> Vec<Vec<f32>> {
        let maps = network.forward(images, 56).expect("maps");
        maps.into_iter().map(|map| map.into_data().try_into_vec::<f32>().expect("f32")).collect()
    };
    let both = of(&[&images[0], &images[1]]);
    let alone = images.each_ref().map(|image| of(&[image]));
    for (tap, both) in both.iter().enumerate() {
        let joined: Vec<f32> = alone.iter().flat_map(|maps| maps[tap].clone()).collect();
        assert!(far(both, &joined) <= 1e-5);
    }
    let tokens = network.tokens(planes(0, 56, 56), 56).expect("tokens");
    let tokens = values(tokens[1].clone());
    for (place, channel) in [(0, 0), (5, 17), (15, 383)] {
        let token = tokens[(5 + place) * 384 + channel];
        assert!((alone[0][1][channel * 16 + place] - token).abs() <= 1e-5, "{place} {channel}");
    }
}

#[test]
fn without_positions_patches_may_change_places_and_the_class_does_not_notice() {
    let mut state = hash_weights(&SMALL, 170);
    state.get_mut("pos_embed").expect("a table").values.fill(0.0);
    let own = planes(0, 56, 56);
    // The first and the last row of patches change places.
    let mut moved = own.clone();
    for (at, value) in moved.iter_mut().enumerate() {
        let (plane, row, column) = (at / 3136, at / 56 % 56, at % 56);
        let from = match row / 14 {
            0 => row + 42,
            3 => row - 42,
            _ => row,
        };
        *value = own[plane * 3136 + from * 56 + column];
    }
    let (own, moved) = (last(&SMALL, &state, own, [56, 56]), last(&SMALL, &state, moved, [56, 56]));
    let token = |of: &[f32], number: usize| of[number * 64..(number + 1) * 64].to_vec();
    for number in 0..5 {
        assert!(far(&token(&own, number), &token(&moved, number)) < 1e-4, "leading token {number}");
    }
    for place in 0..16 {
        let other = if place / 4 == 0 {
            place + 12
        } else if place / 4 == 3 {
            place - 12
        } else {
            place
        };
        assert!(far(&token(&own, 5 + place), &token(&moved, 5 + other)) < 1e-4, "patch {place}");
    }
}

#[test]
fn a_scale_of_zero_makes_a_block_nothing_registers_matter_and_the_bias_of_keys_does_not() {
    let state = hash_weights(&SMALL, 170);
    let of = |state: &StateDict| last(&SMALL, state, planes(0, 70, 70), [70, 70]);
    let changed = |change: &dyn Fn(&mut StateDict)| {
        let mut other = state.clone();
        change(&mut other);
        of(&other)
    };
    let own = of(&state);
    let without = changed(&|state| {
        for name in ["blocks.1.ls1.gamma", "blocks.1.ls2.gamma"] {
            state.get_mut(name).expect("there").values.fill(0.0);
        }
    });
    let skipped = changed(&|state| {
        for part in
            ["attn.proj", "mlp.fc2"].iter().flat_map(|part| ["weight", "bias"].map(|end| format!("{part}.{end}")))
        {
            state.get_mut(&format!("blocks.1.{part}")).expect("there").values.fill(0.0);
        }
    });
    assert!(far(&without, &skipped) == 0.0 && far(&without, &own) > 0.1);
    let registers = changed(&|state| state.get_mut("register_tokens").expect("there").values.reverse());
    assert!(far(&registers, &own) > 1e-3);
    let keys = changed(&|state| state.get_mut("blocks.0.attn.qkv.bias").expect("there").values[64..128].fill(0.7));
    assert!(far(&keys, &own) < 2e-5, "{}", far(&keys, &own));
}
