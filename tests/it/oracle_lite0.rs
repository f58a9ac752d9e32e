//! EfficientNet-Lite0 with its real weights against an independent forward pass.

use std::path::Path;

use burn::tensor::Device;
use dmad::backbone::Backbone;
use dmad::features::extract;
use dmad::matrix::Matrix;
use dmad::spec;
use serde_json::Value as Json;

use crate::{generator, util};

/// Holds maps and aggregated rows of the 256 × 256 `image` against their descriptions.
fn check(name: &str, image: &[u8], expected: &Json) {
    let spec = spec::Backbone { name: "efficientnet_lite0".into(), ..Default::default() };
    let backbone = Backbone::load(&spec, Path::new("none"), 0, &Device::flex()).expect("the embedded weights");
    let concat = spec::Features { aggregation: spec::Aggregation::Concat, ..Default::default() };
    let maps = backbone.forward(&[image], 256).expect("maps");
    for (map, layer) in maps.into_iter().zip(["stride8", "stride16"]) {
        let values = map.into_data().try_into_vec::<f32>().expect("f32");
        util::check_description(&format!("{name} {layer}"), &values, &expected[layer], 2e-5);
    }
    let mut rows: Vec<Matrix> = Vec::new();
    let keep = |matrix| {
        rows.push(matrix);
        Ok(())
    };
    let shape = extract(&backbone, &concat, 256, 1, 1, |_| Ok(image.to_vec()), keep).expect("features");
    assert_eq!((shape.height, shape.width, shape.dim), (32, 32, 152));
    let description = &expected["aggregated_1024x152"];
    util::check_description(&format!("{name} rows"), rows[0].view().data(), description, 2e-5);
}

#[test]
fn lite0s_maps_and_rows_of_a_generated_image_are_those_of_the_reference() {
    check("generated", &generator::image(3, 0, 256), &util::json(&util::reference("lite0.json")));
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn lite0s_maps_and_rows_of_real_images_are_those_of_the_reference() {
    let oracles = util::oracles();
    let expected = util::json(&oracles.join("a2_lite0.json"));
    for name in ["tile_grey", "paper_rgb"] {
        check(name, &util::array::<u8>(&oracles.join(format!("a1_{name}_256.npy"))), &expected[name]);
    }
}
