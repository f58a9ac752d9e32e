//! The kernels that are compared, each with its inputs loaded before the clock starts.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use dmad::backbone::Backbone;
use dmad::bank::coreset::{Start, greedy};
use dmad::bank::neighbours::nearest;
use dmad::bank::project::{Projection, ProjectionKind};
use dmad::data::image::load_rgb;
use dmad::data::index::{Image, Source};
use dmad::device::download;
use dmad::embed::{Hyperparameters, tsne};
use dmad::matrix::Matrix;
use dmad::metrics::{Definitions, image_metrics, pixel_metrics};
use dmad::random::{Purpose, stream};
use dmad::spec;
use rayon::prelude::*;
use serde_json::Value as Json;

use crate::generated_maps::{Held, Memory};
use crate::npy::Array;
use crate::{Kernel, Request};

/// Loads the inputs of what a request names.
pub fn prepare(request: &Request) -> Kernel {
    match request.kernel.as_str() {
        "metrics" => metrics(request),
        "coreset" => coreset(request),
        "neighbours" => neighbours(request),
        "backbone" => backbone(request),
        "decode" => decode(request),
        "embed" => embed(request),
        other => panic!("no kernel is called {other}"),
    }
}

/// The texts of a list.
pub fn words(list: &Json) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(String::from)).collect()
}

fn rows(array: Array) -> Matrix {
    let cols = array.shape[1];
    Matrix::new(array.into_singles(), cols)
}

/// Those that others have as well, in the order in which they are answered.
const METRICS: [&str; 7] =
    ["image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "pixel_pro"];

/// The seven metrics of maps and masks; an image scores the maximum of its map.
fn metrics(request: &Request) -> Kernel {
    let (maps, masks) = (request.array("maps"), request.array("masks"));
    let (width, pixels) = (maps.shape[2], maps.shape[1] * maps.shape[2]);
    let (maps, masks) = (maps.into_singles(), masks.into_bytes());
    let held = maps.chunks_exact(pixels).zip(masks.chunks_exact(pixels));
    let images = Memory(held.map(|(scores, mask)| Held::new(width, scores.to_vec(), mask.to_vec())).collect());
    drop((maps, masks));
    Box::new(move || {
        let definitions = Definitions::default();
        let report = pixel_metrics(&images, &definitions).expect("metrics of pixels");
        let (scores, labels): (Vec<f64>, Vec<bool>) =
            report.images.iter().map(|facts| (facts.highest, facts.anomalous)).unzip();
        let mut all = image_metrics(&scores, &labels, &definitions).expect("metrics of images");
        all.extend(report.metrics);
        let value = |name: &str| {
            let own = all.iter().find(|metric| metric.name.as_str() == name).expect("a metric of this name");
            own.value.expect("defined")
        };
        vec![("values", Array::doubles(METRICS.map(value).to_vec()))]
    })
}

fn coreset(request: &Request) -> Kernel {
    let (rows, count, start) = (rows(request.array("rows")), request.number("count"), request.number("start"));
    let dims = request.number("projection");
    Box::new(move || {
        let mut draws = stream(0, Purpose::CoresetProjection, 0);
        let drawn = Projection::draw(rows.cols(), dims, ProjectionKind::Gaussian, &mut draws).expect("a projection");
        let projected = drawn.map(|projection| {
            let mut out = Matrix::zeros(rows.len(), dims);
            projection.apply(rows.view(), out.data_mut());
            out
        });
        let picks = greedy(&[projected.as_ref().unwrap_or(&rows).view()], count, &Start::Row(start)).expect("picks");
        vec![("picks", Array::numbers(picks.iter().map(|&row| row as u32).collect()))]
    })
}

fn neighbours(request: &Request) -> Kernel {
    let (queries, bank) = (rows(request.array("queries")), rows(request.array("bank")));
    Box::new(move || {
        let found = nearest(queries.view(), &[bank.view()], None).expect("neighbours");
        let distances = [found.distance.len()];
        vec![("index", Array::numbers(found.index)), ("distance", Array::singles(&distances, found.distance))]
    })
}

/// Maps of normalised planes: images side by side, as `features::extract` runs them on a processor.
fn backbone(request: &Request) -> Kernel {
    let wanted = spec::Backbone {
        name: request.word("backbone").into(),
        layers: words(&request.settings["layers"]),
        weights: request.inputs["weights"].display().to_string(),
        positions: serde_json::from_value(request.settings["positions"].clone()).unwrap_or_default(),
    };
    let backbone = Backbone::load(&wanted, &PathBuf::new(), 0, &Device::flex()).expect("a backbone");
    let planes = request.array("planes");
    let (images, side) = (planes.shape[0], planes.shape[2]);
    let planes = planes.into_singles();
    const NAMES: [&str; 3] = ["map0", "map1", "map2"];
    Box::new(move || {
        let one = |planes: &[f32]| -> Vec<(Vec<usize>, Vec<f32>)> {
            backbone.maps(planes.to_vec(), side).expect("maps").into_iter().map(values).collect()
        };
        let all: Vec<_> = planes.par_chunks_exact(planes.len() / images).map(one).collect();
        let layers = all[0].len();
        let layer = |layer: usize| {
            let mut shape = all[0][layer].0.clone();
            shape[0] = images;
            let values: Vec<&[f32]> = all.iter().map(|maps| maps[layer].1.as_slice()).collect();
            (NAMES[layer], Array::singles(&shape, values.concat()))
        };
        (0..layers).map(layer).collect()
    })
}

fn values(map: Tensor<4>) -> (Vec<usize>, Vec<f32>) {
    (map.dims().to_vec(), download(map))
}

/// Files of a list, one path a line, decoded and resized as a backbone sees them.
fn decode(request: &Request) -> Kernel {
    let list = std::fs::read_to_string(&request.inputs["list"]).expect("a list of files");
    let files: Vec<PathBuf> = list.lines().map(PathBuf::from).collect();
    let side = request.number("side");
    let geometry = spec::Geometry { size: side, ..Default::default() };
    Box::new(move || {
        let one = |path: &PathBuf| {
            let image = Image { path: String::new(), source: Source::File(path.clone()) };
            load_rgb(&image, &geometry).expect("an image").data
        };
        let images: Vec<Vec<u8>> = files.par_iter().map(one).collect();
        vec![("images", Array::bytes(&[files.len(), side, side, 3], images.concat()))]
    })
}

fn embed(request: &Request) -> Kernel {
    let (rows, epochs, perplexity) =
        (rows(request.array("rows")), request.number("epochs"), request.number("perplexity"));
    Box::new(move || {
        let wanted = Hyperparameters { perplexity: perplexity as f64, epochs, seed: 0 };
        let found = tsne(rows.view(), &wanted, &|_, _| {}).expect("an embedding");
        let points = found.points.iter().flatten().copied().collect();
        vec![("points", Array::singles(&[rows.len(), 2], points))]
    })
}
