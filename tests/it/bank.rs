//! Banks: searches and selections against brute force, on data with many ties.

use crate::generator::features;
use crate::util::{covering_radius, gather};
use dmad::bank::coreset::{Start, coreset_size, greedy};
use dmad::bank::distance::squared_distance;
use dmad::bank::neighbours::{NO_ROW, Nearest, k_nearest, nearest};
use dmad::bank::project::{Projection, ProjectionKind};
use dmad::matrix::{Matrix, Rows};
use dmad::random::{Purpose, Stream, stream};

/// Random rows; with `levels` > 0 the values are few whole numbers, so most distances tie and rows repeat.
fn random_rows(rows: usize, cols: usize, levels: usize, index: u64) -> Matrix {
    let mut stream = stream(77, Purpose::Synthetic, index);
    let data = (0..rows * cols)
        .map(|_| if levels > 0 { stream.below(levels) as f32 } else { (stream.uniform() * 4.0 - 1.0) as f32 })
        .collect();
    Matrix::new(data, cols)
}

/// The plain double loop over the one definition of distance.
pub fn brute_force(queries: Rows, bank: Rows, k: usize, allowed: impl Fn(usize, usize) -> bool) -> Nearest {
    let mut out = Nearest::default();
    for i in 0..queries.len() {
        let mut all: Vec<(f64, usize)> = (0..bank.len())
            .filter(|&j| allowed(i, j))
            .map(|j| (squared_distance(queries.row(i), bank.row(j)), j))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for rank in 0..k {
            let (squared, row) = all.get(rank).copied().unwrap_or((f64::INFINITY, NO_ROW as usize));
            out.index.push(row as u32);
            out.distance.push(squared.sqrt() as f32);
        }
    }
    out
}

/// The plain greedy algorithm, one sweep for each pick.
pub fn plain_greedy(rows: Rows, count: usize, start: &Start) -> Vec<usize> {
    let distance = |i: usize, j: usize| squared_distance(rows.row(i), rows.row(j)).sqrt();
    let (mut picks, mut far): (Vec<usize>, Vec<f64>) = match start {
        Start::Row(row) => (vec![*row], (0..rows.len()).map(|i| distance(i, *row)).collect()),
        Start::MeanOf(starts) => {
            let mean = |i: usize| starts.iter().map(|&s| distance(i, s)).sum::<f64>() / starts.len() as f64;
            (vec![], (0..rows.len()).map(mean).collect())
        }
    };
    while picks.len() < count {
        let pick = (0..rows.len()).fold(0, |best, i| if far[i] > far[best] { i } else { best });
        picks.push(pick);
        for (i, far) in far.iter_mut().enumerate() {
            *far = far.min(distance(i, pick));
        }
    }
    picks
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool").install(work)
}

/// Rows projected, or `None` when nothing is to be done.
fn project(rows: Rows, dims: usize, kind: ProjectionKind, draws: &mut Stream) -> dmad::error::Result<Option<Matrix>> {
    let Some(projection) = Projection::draw(rows.cols(), dims, kind, draws)? else { return Ok(None) };
    let mut out = Matrix::zeros(rows.len(), dims);
    projection.apply(rows, out.data_mut());
    Ok(Some(out))
}

#[test]
fn neighbours_are_those_of_the_double_loop_whatever_the_ties_and_widths() {
    for (case, &(queries, rows, cols, levels)) in [
        (300, 1, 7, 0),
        (1, 2500, 1, 3),
        (513, 2049, 3, 3),
        (200, 1500, 33, 2),
        (150, 1200, 600, 0),
        (40, 1100, 4096, 2),
        (260, 1025, 257, 1),
    ]
    .iter()
    .enumerate()
    {
        let bank = random_rows(rows, cols, levels, case as u64);
        let asked = random_rows(queries, cols, levels, 100 + case as u64);
        let expected = brute_force(asked.view(), bank.view(), 1, |_, _| true);
        assert_eq!(nearest(asked.view(), &[bank.view()], None).unwrap(), expected, "case {case}");
        let k = 9.min(rows);
        let expected = brute_force(asked.view(), bank.view(), k, |_, _| true);
        assert_eq!(k_nearest(asked.view(), bank.view(), k).unwrap(), expected, "case {case}, {k} neighbours");
    }
}

#[test]
fn rows_far_from_zero_and_close_to_one_another_are_still_told_apart() {
    let mut bank = random_rows(3000, 64, 0, 1);
    bank.data_mut().iter_mut().for_each(|value| *value = 1000.0 + *value * 1e-3);
    let mut asked = random_rows(100, 64, 0, 2);
    asked.data_mut().iter_mut().for_each(|value| *value = 1000.0 + *value * 1e-3);
    let expected = brute_force(asked.view(), bank.view(), 3, |_, _| true);
    assert_eq!(k_nearest(asked.view(), bank.view(), 3).unwrap(), expected);
}

#[test]
fn a_query_that_is_a_bank_row_is_at_distance_zero_from_its_first_copy() {
    let rows = random_rows(700, 152, 0, 3);
    let mut twice = rows.clone();
    twice.extend(rows.view());
    let found = nearest(rows.view(), &[twice.view()], None).unwrap();
    assert_eq!(found.index, (0..700).collect::<Vec<u32>>());
    assert!(found.distance.iter().all(|&distance| distance == 0.0));
    let all = k_nearest(rows.view().slice(0..5), twice.view(), 1400).unwrap();
    assert_eq!(all, brute_force(rows.view().slice(0..5), twice.view(), 1400, |_, _| true));
}

#[test]
fn rows_of_the_querys_own_group_are_left_out() {
    let bank = random_rows(2100, 5, 3, 4);
    let asked = random_rows(333, 5, 3, 5);
    let query_groups: Vec<u32> = (0..333).map(|i| i % 4).collect();
    let bank_groups: Vec<u32> = (0..2100).map(|j| j / 700).collect();
    let allowed = |i: usize, j: usize| query_groups[i] != bank_groups[j];
    let expected = brute_force(asked.view(), bank.view(), 1, allowed);
    let groups = Some((query_groups.as_slice(), bank_groups.as_slice()));
    assert_eq!(nearest(asked.view(), &[bank.view()], groups).unwrap(), expected);

    let alone = vec![2; 2100];
    let found = nearest(asked.view(), &[bank.view()], Some((&query_groups, &alone))).unwrap();
    for (i, (&row, &distance)) in found.index.iter().zip(&found.distance).enumerate() {
        assert_eq!(row == NO_ROW, query_groups[i] == 2);
        assert_eq!(distance == f32::INFINITY, row == NO_ROW);
    }
}

#[test]
fn noise_around_a_centre_in_a_later_part_changes_nothing_but_the_time() {
    let first = random_rows(1500, 48, 0, 6);
    let mut noise = vec![0.0; 4000 * 48];
    stream(7, Purpose::CenterNoise, 0).fill_normal(&mut noise, 0.01);
    noise.iter_mut().for_each(|value| *value += 1.0);
    // Repeated rows and a copy of a row of the first part: ties within the part and between parts.
    noise.copy_within(0..480, 960);
    noise[480..528].copy_from_slice(first.view().row(77));
    let second = Matrix::new(noise, 48);
    let mut asked = random_rows(200, 48, 0, 8);
    asked.extend(second.view().slice(0..40));
    asked.extend(first.view().slice(70..80));
    let mut joined = first.clone();
    joined.extend(second.view());
    let expected = brute_force(asked.view(), joined.view(), 1, |_, _| true);
    assert_eq!(nearest(asked.view(), &[first.view(), second.view()], None).unwrap(), expected);
    assert_eq!(nearest(asked.view(), &[joined.view()], None).unwrap(), expected);
    assert!(expected.index.iter().any(|&row| row >= 1500) && expected.index.iter().any(|&row| row < 1500));
}

#[test]
fn what_cannot_be_searched_is_refused_with_the_reason() {
    let bank = random_rows(10, 4, 0, 9);
    let mut broken = bank.clone();
    broken.data_mut()[4 * 6 + 1] = f32::NAN;
    broken.data_mut()[4 * 8] = f32::INFINITY;
    let empty = Matrix::new(vec![], 4);
    let narrow = random_rows(3, 3, 0, 9);
    for (error, word) in [
        (nearest(bank.view(), &[empty.view()], None).unwrap_err(), "empty"),
        (nearest(narrow.view(), &[bank.view()], None).unwrap_err(), "3 dimensions but the bank has 4"),
        (nearest(bank.view(), &[broken.view()], None).unwrap_err(), "row 6 of the bank"),
        (nearest(broken.view(), &[bank.view()], None).unwrap_err(), "row 6 of the queries"),
        (k_nearest(bank.view(), bank.view(), 11).unwrap_err(), "11 neighbours"),
        (k_nearest(bank.view(), bank.view(), 0).unwrap_err(), "0 neighbours"),
        (greedy(&[broken.view()], 2, &Start::Row(0)).unwrap_err(), "row 6 of the features"),
        (greedy(&[bank.view(), broken.view()], 2, &Start::Row(0)).unwrap_err(), "row 16 of the features"),
        (nearest(bank.view(), &[bank.view(), broken.view()], None).unwrap_err(), "row 16 of the bank"),
        (greedy(&[bank.view(), bank.view()], 2, &Start::Row(20)).unwrap_err(), "rows [20] of 20"),
        (greedy(&[empty.view(), empty.view()], 1, &Start::Row(0)).unwrap_err(), "no rows"),
        (greedy(&[], 0, &Start::Row(0)).unwrap_err(), "no rows"),
        (greedy(&[bank.view()], 11, &Start::Row(0)).unwrap_err(), "11 rows is wanted of only 10"),
        (greedy(&[bank.view()], 2, &Start::Row(10)).unwrap_err(), "cannot start from rows [10]"),
        (greedy(&[bank.view()], 2, &Start::MeanOf(vec![])).unwrap_err(), "cannot start from rows []"),
    ] {
        assert!(error.to_string().contains(word), "{error} does not say {word:?}");
        assert!(error.help().is_some());
    }
    assert_eq!(nearest(empty.view(), &[bank.view()], None).unwrap(), Nearest::default());
}

#[test]
fn the_coreset_is_that_of_the_plain_algorithm_on_ties_duplicates_and_clusters() {
    for (case, &(rows, cols, levels, count)) in
        [(3000, 2, 12, 400), (2500, 3, 4, 70), (2000, 9, 2, 600), (4000, 17, 0, 300), (1030, 300, 0, 1030)]
            .iter()
            .enumerate()
    {
        let rows = random_rows(rows, cols, levels, 200 + case as u64);
        for start in [Start::Row(13), Start::MeanOf(vec![5, 900, 17, 5])] {
            let expected = plain_greedy(rows.view(), count, &start);
            assert_eq!(greedy(&[rows.view()], count, &start).unwrap(), expected, "case {case}, {start:?}");
        }
    }
    let clustered = Matrix::new(features(6000, 24, 5), 24);
    let expected = plain_greedy(clustered.view(), 500, &Start::Row(0));
    assert_eq!(greedy(&[clustered.view()], 500, &Start::Row(0)).unwrap(), expected);
}

/// `rows` cut before each row of `cuts`; equal cuts make empty parts.
fn cut<'a>(rows: Rows<'a>, cuts: &[usize]) -> Vec<Rows<'a>> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    starts.zip(cuts.iter().copied().chain([rows.len()])).map(|(from, to)| rows.slice(from..to)).collect()
}

#[test]
fn a_coreset_of_parts_is_that_of_the_whole_however_it_is_cut() {
    for (case, &(cols, levels, count)) in [(2, 12, 250), (9, 2, 500), (33, 0, 400)].iter().enumerate() {
        let mut rows = random_rows(2600, cols, levels, 300 + case as u64);
        // Copies of early rows in later parts, so that ties are broken across parts.
        rows.data_mut().copy_within(0..300 * cols, 1900 * cols);
        let rows = rows.view();
        for start in [Start::Row(1950), Start::MeanOf(vec![5, 2599, 900, 1300, 5])] {
            let expected = plain_greedy(rows, count, &start);
            let radius = covering_radius(&[rows], &expected);
            for cuts in [
                [].as_slice(),
                &[1],
                &[0, 1300, 1300, 2600],
                &[256, 512, 513, 1949, 1950, 1951],
                &[0, 0, 3, 700, 701, 701, 1000, 1900, 2100, 2100, 2101, 2400, 2599],
            ] {
                let parts = cut(rows, cuts);
                for threads in [1, 3] {
                    let picks = with_threads(threads, || greedy(&parts, count, &start).unwrap());
                    assert_eq!(picks, expected, "case {case}, {start:?}, cuts {cuts:?}, {threads} threads");
                }
                assert_eq!(covering_radius(&parts, &expected), radius, "case {case}, cuts {cuts:?}");
            }
        }
    }
}

#[test]
fn a_coreset_of_duplicates_repeats_row_zero_once_nothing_is_left_to_cover() {
    let rows = random_rows(2000, 1, 3, 10);
    let picks = greedy(&[rows.view()], 10, &Start::Row(4)).unwrap();
    assert_eq!(picks, plain_greedy(rows.view(), 10, &Start::Row(4)));
    assert_eq!(&picks[3..], &[0; 7]);
    assert!(greedy(&[rows.view()], 0, &Start::Row(4)).unwrap().is_empty());
}

#[test]
fn a_coreset_of_distinct_rows_has_distinct_rows_that_cover_more_as_it_grows() {
    let rows = Matrix::new(features(1500, 16, 9), 16);
    let picks = greedy(&[rows.view()], 1500, &Start::MeanOf(vec![1, 2, 3])).unwrap();
    let mut sorted = picks.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1500).collect::<Vec<_>>(), "every row is in a coreset of all");
    let radii: Vec<f64> =
        [1, 10, 100, 700, 1500].iter().map(|&n| covering_radius(&[rows.view()], &picks[..n])).collect();
    assert!(radii.windows(2).all(|pair| pair[0] >= pair[1]), "{radii:?}");
    assert_eq!(radii[4], 0.0);
}

#[test]
fn a_coreset_size_is_truncated_but_never_zero() {
    // Row counts of the joint MVTec and VisA sets.
    assert_eq!(coreset_size(3_716_096, 0.02), 74_321);
    assert_eq!(coreset_size(1_970_176, 0.02), 39_403);
    assert_eq!(coreset_size(163_856, 0.10), 16_385);
    assert_eq!(coreset_size(30, 0.01), 1);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let rows = Matrix::new(features(9000, 40, 31), 40);
    let asked = Matrix::new(features(3001, 40, 32), 40);
    let work = || {
        let picks = greedy(&[rows.view()], 700, &Start::MeanOf(vec![0, 4000, 8000])).unwrap();
        let bank = gather(rows.view(), &picks);
        let found = k_nearest(asked.view(), bank.view(), 4).unwrap();
        let bits: Vec<u32> = found.distance.iter().map(|distance| distance.to_bits()).collect();
        let projected =
            project(rows.view(), 16, ProjectionKind::Gaussian, &mut stream(1, Purpose::CoresetProjection, 0))
                .unwrap()
                .unwrap();
        let projected: Vec<u32> = projected.into_data().iter().map(|value| value.to_bits()).collect();
        (picks, found.index, bits, projected)
    };
    let expected = with_threads(1, work);
    for threads in [1, 2, 5] {
        assert!(with_threads(threads, work) == expected, "{threads} threads");
    }
}

#[test]
fn a_projection_has_the_declared_spread_and_is_skipped_when_it_would_do_nothing() {
    let rows = Matrix::new(features(400, 512, 51), 512);
    let draw = || stream(3, Purpose::CoresetProjection, 0);
    for (dims, kind) in [(0, ProjectionKind::Uniform), (512, ProjectionKind::Gaussian)] {
        assert_eq!(project(rows.view(), dims, kind, &mut draw()).unwrap(), None);
    }
    assert!(project(rows.view(), 513, ProjectionKind::Uniform, &mut draw()).is_err());
    let norm = |row: &[f32]| row.iter().map(|&value| (value as f64).powi(2)).sum::<f64>();
    for (kind, expected) in [(ProjectionKind::Gaussian, 1.0), (ProjectionKind::Uniform, 128.0 / 512.0 / 3.0)] {
        let projected = project(rows.view(), 128, kind, &mut draw()).unwrap().unwrap();
        assert_eq!((projected.len(), projected.cols()), (400, 128));
        let mean = (0..200)
            .map(|i| {
                let difference = |m: Rows| squared_distance(m.row(i), m.row(399 - i));
                difference(projected.view()) / difference(rows.view())
            })
            .sum::<f64>()
            / 200.0;
        assert!((mean / expected - 1.0).abs() < 0.1, "{kind:?}: {mean}, expected {expected}");
        assert!(norm(projected.view().row(0)) > 0.0);
    }
    // The uniform weights are those of the stream, output by output.
    let mut weights = vec![0.0; 128 * 512];
    draw().fill_uniform(&mut weights, 1.0 / 512f64.sqrt());
    let projected = project(rows.view(), 128, ProjectionKind::Uniform, &mut draw()).unwrap().unwrap();
    let by_hand: f64 = rows.view().row(7).iter().zip(&weights[512 * 5..]).map(|(&a, &b)| a as f64 * b as f64).sum();
    assert!((projected.view().row(7)[5] as f64 - by_hand).abs() < 1e-5);
}
