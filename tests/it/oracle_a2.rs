//! Oracle A2: EfficientNet-Lite0 with its real weights on real images.

use std::path::Path;

use burn::tensor::Device;
use dmad::backbone::Backbone;
use dmad::features::extract;
use dmad::matrix::Matrix;
use dmad::spec;

use crate::{gen_oracle, util};

fn input(oracles: &Path, name: &str) -> Vec<u8> {
    if name == "gen256" {
        return gen_oracle::image(3, 0, 256);
    }
    let bytes = std::fs::read(oracles.join(format!("a1_{name}_256.npy"))).expect("an array");
    npyz::NpyFile::new(&bytes[..]).expect("an array").into_vec::<u8>().expect("bytes")
}

#[test]
fn a2_lite0_maps_and_aggregated_rows_are_those_of_the_reference() {
    let Some(oracles) = util::oracles() else { return };
    let oracle = util::json(oracles.join("a2_lite0.json"));
    let spec = spec::Backbone { name: "efficientnet_lite0".into(), ..Default::default() };
    let backbone = Backbone::load(&spec, Path::new("none"), 0, &Device::flex()).expect("the embedded weights");
    let concat = spec::Features { aggregation: spec::Aggregation::Concat, ..Default::default() };
    for name in ["tile_grey", "paper_rgb", "gen256"] {
        let image = input(&oracles, name);
        let maps = backbone.forward(&[&image], 256).expect("maps");
        for (map, layer) in maps.into_iter().zip(["stride8", "stride16"]) {
            let values = map.into_data().try_into_vec::<f32>().expect("f32");
            util::check_description(&format!("{name} {layer}"), &values, &oracle[name][layer], 2e-5);
        }
        let mut rows: Vec<Matrix> = Vec::new();
        let keep = |matrix| {
            rows.push(matrix);
            Ok(())
        };
        let shape = extract(&backbone, &concat, 256, 1, 1, |_| Ok(image.clone()), keep).expect("features");
        assert_eq!((shape.height, shape.width, shape.dim), (32, 32, 152));
        let description = &oracle[name]["aggregated_1024x152"];
        util::check_description(&format!("{name} rows"), rows[0].view().data(), description, 2e-5);
    }
}
