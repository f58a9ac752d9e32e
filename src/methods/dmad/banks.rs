//! The abnormal side of DMAD's memory: M_o, M_as, M_p (paper §3.2, Eq. 4–6; docs/methods/dmad.md, Banks).

use serde_json::{Value as Json, json};

use super::filter::abnormal_patches;
use super::params::{Bank, Center, CenterBank, Filter, OutlierBank, Params, Selection};
use crate::data::training_mask;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, Rows};
use crate::methods::common::{CoresetParams, offsets};
use crate::plan::{Computed, Graph, Inputs, Job, Stage, StageId, Work};
use crate::random::{Purpose, name_index, stream};
use crate::store::TensorDecl;

/// M_o: textures mixed position by position with a random normal image each, thinned by a coreset.
pub fn outlier_bank<'a>(
    graph: &mut Graph<'a>,
    inputs: &'a Inputs,
    params: &OutlierBank,
    coreset: &CoresetParams,
) -> Result<StageId> {
    let mut images = Vec::new();
    for category in inputs.environment.outliers(&params.dataset)? {
        let wanted = params.images_per_category;
        if category.images.len() < wanted {
            let what = format!(
                "category `{}` of `{}` has {} images, {wanted} are wanted",
                category.name,
                params.dataset,
                category.images.len()
            );
            return Err(Error::method(what, "lower `method.bank.outlier.images_per_category`"));
        }
        let mut draws = stream(inputs.seed, Purpose::OutlierImages, name_index(&category.name));
        images.extend(
            draws.choose(category.images.len(), wanted).into_iter().map(|number| category.images[number].clone()),
        );
    }
    let textures = inputs.environment.features(graph, &images, "outlier features")?;
    let (params, coreset) = (params.clone(), coreset.clone());
    let (seed, patches, dim, count) = (inputs.seed, inputs.patches(), inputs.dim, images.len());
    let mut stages = vec![textures];
    if params.beta < 1.0 {
        stages.extend(inputs.classes.iter().map(|class| class.train));
    }
    let mixed = count * patches;
    let work = coreset.work(mixed, params.ratio, dim);
    let work = work.with_memory(work.memory_bytes as usize + 4 * mixed * dim);
    Ok(graph.add(Stage {
        kind: "outlier_bank",
        version: 1,
        params: json!({
            "beta": params.beta, "ratio": params.ratio, "seed": seed,
            "coreset": coreset.json(),
        }),
        inputs: stages,
        images: String::new(),
        weights: String::new(),
        label: "outlier bank".into(),
        work,
        compute: Box::new(move |job| {
            let textures = job.inputs[0].rows("features")?;
            assert_eq!(textures.len(), count * patches, "features of every texture");
            let mut mixed = job.scratch(textures.len(), dim)?;
            mixed.data_mut().copy_from_slice(textures.data());
            if params.beta < 1.0 {
                mix(job, mixed.data_mut(), params.beta, patches * dim, seed)?;
            }
            let picks = coreset.select(job, &[mixed.view()], params.ratio, seed, 1)?;
            let mut writer = job.create(vec![TensorDecl::f32("rows", &[picks.len(), dim])])?;
            picks.iter().try_for_each(|&pick| writer.f32(mixed.view().row(pick)))?;
            Ok(Computed::new(writer, json!({ "rows": picks.len(), "images": count })))
        }),
    }))
}

/// β·F(x_o) + (1 − β)·F(x_n), one random normal image for each texture (Eq. 4).
fn mix(job: &Job, textures: &mut [f32], beta: f64, image_values: usize, seed: u64) -> Result<()> {
    let normals: Vec<Rows> = job.inputs[1..].iter().map(|input| input.rows("features")).collect::<Result<_>>()?;
    let offsets = offsets(&normals);
    let total: usize = normals.iter().map(Rows::len).sum();
    let mut draws = stream(seed, Purpose::OutlierPartner, 0);
    let patches = image_values / normals[0].cols();
    for texture in textures.chunks_exact_mut(image_values) {
        let first = draws.below(total / patches) * patches;
        let part = offsets.partition_point(|&offset| offset <= first) - 1;
        let normal = normals[part].slice(first - offsets[part]..first - offsets[part] + patches);
        for (value, &partner) in texture.iter_mut().zip(normal.data()) {
            *value = (beta * *value as f64 + (1.0 - beta) * partner as f64) as f32;
        }
    }
    Ok(())
}

/// The abnormal patches of all seen anomalies (M_as): `rows`, with the `image` and `class` each came from.
pub fn seen_patches<'a>(graph: &mut Graph<'a>, inputs: &'a Inputs, filter: &Filter) -> StageId {
    let filter = filter.clone();
    let mut stages: Vec<StageId> = Vec::new();
    let mut places = Vec::new();
    for (class, seen) in inputs.seen() {
        let input = stages.iter().position(|&stage| stage == seen.features).unwrap_or_else(|| {
            stages.push(seen.features);
            stages.len() - 1
        });
        places.push((class, input, seen));
    }
    // How much of an image its defect covers is not known before its mask is read.
    let expected = places.len() * inputs.patches().div_ceil(20);
    let digests: Vec<&str> = places.iter().map(|(_, _, seen)| seen.digest.as_str()).collect();
    let numbers: Vec<usize> = places.iter().map(|(_, _, seen)| seen.image).collect();
    let classes: Vec<usize> = places.iter().map(|(class, _, _)| *class).collect();
    graph.add(Stage {
        kind: "seen_patches",
        version: 1,
        params: json!({
            "filter": filter, "images": numbers, "classes": classes, "side": inputs.image.size, "resize": inputs.image.resize,
        }),
        inputs: stages,
        images: blake3::hash(digests.join("\n").as_bytes()).to_hex().to_string(),
        weights: String::new(),
        label: "seen anomalies".into(),
        work: Work::matrix(expected, inputs.dim, (expected * inputs.dim) as f64).with_memory(4 * expected * inputs.dim),
        compute: Box::new(move |job| {
            let (mut rows, mut image_numbers, mut class_numbers) = (Vec::new(), Vec::new(), Vec::new());
            let mut fallbacks = 0;
            for (number, (class, input, seen)) in places.iter().enumerate() {
                let features = job.inputs[*input].rows("features")?;
                let mask = training_mask(&seen.anomaly.image, &seen.anomaly.mask, &inputs.image)?;
                let kept = abnormal_patches(&mask, inputs.image.size, inputs.grid, &filter).map_err(|what| {
                    Error::data(seen.anomaly.image.place(), what, "set `method.filter.on_empty` to nearest or skip")
                })?;
                fallbacks += usize::from(kept.fallback);
                let own = features.slice(seen.image * inputs.patches()..(seen.image + 1) * inputs.patches());
                for patch in kept.patches {
                    rows.extend_from_slice(own.row(patch));
                    image_numbers.push(number as u32);
                    class_numbers.push(*class as u32);
                }
            }
            let count = image_numbers.len();
            let decls = [TensorDecl::f32("rows", &[count, inputs.dim]), TensorDecl::u32("image", &[count]), TensorDecl::u32("class", &[count])];
            let mut writer = job.create(decls.into())?;
            writer.f32(&rows)?;
            writer.u32(&image_numbers)?;
            writer.u32(&class_numbers)?;
            Ok(Computed::new(writer, json!({ "rows": count, "images": places.len(), "without_own_patch": fallbacks })))
        }),
    })
}

/// The bank that seen anomalies give: M_as, then M_p (anomaly center sampling, Eq. 6), N(0, std²) around the centres.
/// `rows`, with the `image` each row of M_as came from (`u32::MAX` for M_p).
pub fn seen_bank<'a>(graph: &mut Graph<'a>, inputs: &Inputs, params: &Bank, seen: StageId, normal: StageId) -> StageId {
    let (params, seed, dim) = (params.clone(), inputs.seed, inputs.dim);
    let mut stages = vec![seen];
    if params.center.enabled && params.center.relative {
        stages.push(normal);
    }
    let seen_rows = graph.stage(seen).work.rows;
    let scattered = if params.center.enabled { (seen_rows as f64 * params.center.count_ratio) as usize } else { 0 };
    let expected = scattered + if params.seen.enabled { seen_rows } else { 0 };
    graph.add(Stage {
        kind: "seen_bank",
        version: 1,
        params: json!({
            "seen": params.seen,
            "center": if params.center.enabled { json!({ "center": params.center, "seed": seed }) } else { Json::Null },
        }),
        inputs: stages,
        images: String::new(),
        weights: String::new(),
        label: "seen bank".into(),
        work: Work::matrix(expected, dim, (expected * dim) as f64).with_memory(4 * expected * dim),
        compute: Box::new(move |job| {
            let seen = job.inputs[0].rows("rows")?;
            let mut images = Vec::new();
            let mut rows = Matrix::zeros(0, dim);
            if params.seen.enabled {
                rows.extend(seen);
                images.extend_from_slice(job.inputs[0].u32("image")?);
            }
            if params.center.enabled && !seen.is_empty() {
                let scale = match params.center.relative {
                    true => standard_deviation(job.inputs[1].rows("rows")?),
                    false => 1.0,
                };
                let scattered = scatter(seen, job.inputs[0].u32("class")?, &params.center, scale, seed);
                rows.extend(scattered.view());
            }
            images.resize(rows.len(), u32::MAX);
            if rows.is_empty() {
                return Err(Error::method(
                    "no seen anomaly has an abnormal patch",
                    "set `method.filter.on_empty` to nearest",
                ));
            }
            let mut writer =
                job.create(vec![TensorDecl::f32("rows", &[rows.len(), dim]), TensorDecl::u32("image", &[rows.len()])])?;
            writer.f32(rows.view().data())?;
            writer.u32(&images)?;
            let own = images.iter().filter(|&&image| image != u32::MAX).count();
            Ok(Computed::new(writer, json!({ "rows": rows.len(), "seen": own, "center": rows.len() - own })))
        }),
    })
}

/// M_p: rows around the centres of the seen patches.
fn scatter(seen: Rows, classes: &[u32], params: &CenterBank, scale: f64, seed: u64) -> Matrix {
    let mut draws = stream(seed, Purpose::CenterNoise, 0);
    let mut out = Matrix::zeros(0, seen.cols());
    let mut row = vec![0.0; seen.cols()];
    for (center, members) in centers(seen, classes, params, seed) {
        for _ in 0..(members as f64 * params.count_ratio) as usize {
            draws.fill_normal(&mut row, params.std * scale);
            row.iter_mut().zip(&center).for_each(|(value, middle)| *value += middle);
            out.extend(Rows::new(&row, seen.cols()));
        }
    }
    out
}

/// Root mean square deviation of all values of a matrix from their mean.
pub fn standard_deviation(rows: Rows) -> f64 {
    let count = rows.data().len().max(1) as f64;
    let mean = rows.data().iter().map(|&v| v as f64).sum::<f64>() / count;
    (rows.data().iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// Centres with the number of rows that each stands for.
fn centers(rows: Rows, classes: &[u32], params: &CenterBank, seed: u64) -> Vec<(Vec<f32>, usize)> {
    let groups: Vec<usize> = match params.center {
        Center::Global => vec![0; rows.len()],
        Center::PerClass => classes.iter().map(|&class| class as usize).collect(),
        Center::Kmeans => kmeans(rows, params.clusters, seed),
    };
    let means = means(rows, &groups);
    match params.center {
        // The released code gives every centre the same number of rows, floor(N / K).
        Center::Kmeans => means.iter().map(|(center, _)| (center.clone(), rows.len() / means.len())).collect(),
        _ => means,
    }
}

fn means(rows: Rows, groups: &[usize]) -> Vec<(Vec<f32>, usize)> {
    let mut sums: std::collections::BTreeMap<usize, (Vec<f64>, usize)> = Default::default();
    for (index, &group) in groups.iter().enumerate() {
        let (sum, members) = sums.entry(group).or_insert_with(|| (vec![0.0; rows.cols()], 0));
        sum.iter_mut().zip(rows.row(index)).for_each(|(total, &value)| *total += value as f64);
        *members += 1;
    }
    let mean = |(sum, members): (Vec<f64>, usize)| {
        (sum.iter().map(|total| (total / members as f64) as f32).collect(), members)
    };
    sums.into_values().map(mean).collect()
}

/// Lloyd's algorithm from random rows, until nothing moves or 100 rounds; the group of every row.
fn kmeans(rows: Rows, clusters: usize, seed: u64) -> Vec<usize> {
    let mut draws = stream(seed, Purpose::CenterStart, 0);
    let mut centers: Vec<Vec<f32>> =
        draws.choose(rows.len(), clusters).into_iter().map(|i| rows.row(i).to_vec()).collect();
    let mut groups = vec![usize::MAX; rows.len()];
    for _ in 0..100 {
        let squared = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| (x as f64 - y as f64).powi(2)).sum::<f64>();
        let nearest = |index: usize| {
            let by_distance = |&a: &usize, &b: &usize| {
                squared(rows.row(index), &centers[a]).total_cmp(&squared(rows.row(index), &centers[b]))
            };
            (0..centers.len()).min_by(by_distance).unwrap_or(0)
        };
        let next: Vec<usize> = (0..rows.len()).map(nearest).collect();
        if next == groups {
            break;
        }
        groups = next;
        let present: std::collections::BTreeSet<usize> = groups.iter().copied().collect();
        for (group, (center, _)) in present.into_iter().zip(means(rows, &groups)) {
            centers[group] = center;
        }
    }
    groups
}

/// The coreset settings that both banks share.
pub fn coreset_params(params: &Params) -> CoresetParams {
    CoresetParams {
        projection: params.bank.normal.projection,
        kind: params.bank.normal.projection_kind,
        approximate: params.bank.normal.selection == Selection::Approximate,
        starts: params.bank.normal.starts,
    }
}
