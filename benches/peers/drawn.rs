//! Seeded inputs that both sides of a comparison read: score maps, rows, patch features of real images, weights.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dmad::backbone::weights::{resolve, write};
use dmad::backbone::{Architecture, Backbone};
use dmad::bank::tile::products;
use dmad::data::image::load_rgb;
use dmad::data::index::{Image, Source};
use dmad::features::extract;
use dmad::matrix::{Matrix, Rows};
use dmad::random::{Purpose, stream};
use dmad::spec;
use serde_json::{Value as Json, json};

use crate::npy::Array;
use crate::{Request, generated_maps, generator};

/// Draws what a request names into the folder or file `out`.
pub fn draw(request: &Request) -> Json {
    match request.kernel.as_str() {
        "draw_maps" => maps(request.number("side"), request.number("images"), &request.out),
        "draw_weights" => weights(request),
        "draw_rows" => {
            let (rows, cols, index) = (request.number("rows"), request.number("cols"), request.number("index") as u64);
            let drawn = match request.word("kind") {
                "correlated" => correlated(rows, cols, 16, index),
                "isotropic" => isotropic(rows, cols, index),
                "clustered" => Matrix::new(generator::features(rows, cols, 3 + index), cols),
                other => panic!("no rows are called {other}"),
            };
            save(drawn, &request.out);
        }
        "draw_features" => {
            let folder = &request.inputs["images"];
            save(of_images(folder, request.number("from"), request.number("images")), &request.out);
        }
        other => panic!("nothing is drawn by {other}"),
    }
    json!({})
}

fn save(rows: Matrix, path: &Path) {
    let shape = [rows.len(), rows.cols()];
    Array::singles(&shape, rows.into_data()).write(path);
}

/// Maps and masks of the metric baselines (`tests/it/generated_maps.rs`).
fn maps(side: usize, images: usize, folder: &Path) {
    let all = generated_maps::bottle(side).0;
    // Evenly, since the good ones come first.
    let kept = spread(all, images);
    let (mut scores, mut masks) = (Vec::new(), Vec::new());
    for held in &kept {
        scores.extend_from_slice(&held.scores);
        masks.extend_from_slice(&held.mask);
    }
    let shape = [kept.len(), side, side];
    Array::singles(&shape, scores).write(&folder.join("maps.npy"));
    Array::bytes(&shape, masks).write(&folder.join("masks.npy"));
}

/// So many of `all`, evenly.
fn spread<T>(all: Vec<T>, count: usize) -> Vec<T> {
    let total = all.len();
    let chosen = |index: usize| (index + 1) * count / total > index * count / total;
    all.into_iter().enumerate().filter(|(index, _)| chosen(*index)).map(|(_, item)| item).collect()
}

/// Rows as features are: hidden factors that all draws share the directions of, and independent noise.
fn correlated(rows: usize, cols: usize, rank: usize, index: u64) -> Matrix {
    let draw = |index: u64, len: usize, deviation: f64| {
        let mut values = vec![0.0; len];
        stream(0, Purpose::Synthetic, index).fill_normal(&mut values, deviation);
        values
    };
    let loadings = draw(0, cols * rank, 1.0);
    let (factors, noise) = (draw(2 * index + 1, rows * rank, 1.0), draw(2 * index + 2, rows * cols, 0.3));
    let mut out = Matrix::zeros(rows, cols);
    products(Rows::new(&factors, rank), Rows::new(&loadings, rank), out.data_mut());
    out.data_mut().iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
    out
}

/// Rows without any direction of their own: the worst case of every filter.
fn isotropic(rows: usize, cols: usize, index: u64) -> Matrix {
    let mut out = Matrix::zeros(rows, cols);
    stream(1, Purpose::Synthetic, index).fill_normal(out.data_mut(), 1.0);
    out
}

fn wanted(name: &str, layers: Vec<String>) -> spec::Backbone {
    spec::Backbone { name: name.into(), layers, weights: "random".into(), ..Default::default() }
}

/// Random weights of a backbone up to its deepest layer, as safetensors.
fn weights(request: &Request) {
    let wanted = wanted(request.word("backbone"), crate::kernels::words(&request.settings["layers"]));
    let state = resolve(&wanted, Path::new(""), 0).expect("random ones").state;
    write(&request.out, &state).expect("written");
}

/// Patch features of images of a folder by WideResNet50-2 with random weights, as 1,536 values.
fn of_images(folder: &Path, from: usize, images: usize) -> Matrix {
    let entries = std::fs::read_dir(folder).expect("a folder of images").flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let architecture = Architecture::find("wide_resnet50_2").expect("known");
    let wanted = wanted(architecture.name, Vec::new());
    let taps = architecture.taps(&wanted.layers).expect("the default");
    let weights = resolve(&wanted, Path::new(""), 0).expect("random ones");
    let backbone = Backbone::new(architecture, taps, wanted.positions, &weights, &Device::flex());
    let wide = spec::Features { dim: 1536, pretrain_dim: 1536, ..Default::default() };
    let whole = spec::Geometry { size: 256, ..Default::default() };
    let image = |index: usize| {
        let source = Source::File(files[from + index].clone());
        Ok(load_rgb(&Image { path: String::new(), source }, &whole)?.data)
    };
    let mut all = Vec::new();
    let sink = |rows: Matrix| {
        all.extend(rows.into_data());
        Ok(())
    };
    extract(&backbone, &wide, 256, images, 8, image, sink).expect("features");
    Matrix::new(all, 1536)
}
