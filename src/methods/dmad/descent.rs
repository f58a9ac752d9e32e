//! The gradients of a step, with the way back from the scores to what is known of the patches written out.
//!
//! Descriptions are wide and of two rows for every patch, so they are made a part of the rows at a time, and made again on the
//! way back where memory is short. Parts have a constant size and are added up in order: whether anything was kept changes
//! no number. In front of the projection (attention, the normalisation of the knowledge) the tensor library's graph does it.

use std::ops::Range;

use burn::tensor::Tensor;

use super::network::Network;
use crate::device::{apart, beside, pulled};
use crate::train::{MlpPass, NamedGradients, Parameters, linear_to_norm, product};

/// Patches that are described at a time.
pub const PART_ROWS: usize = 8192;

/// What a group of rows is, as far as losses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Pseudo,
    Seen,
}

/// Rows of one group in front of the projection.
pub(super) struct Known {
    pub kind: Kind,
    /// The patches and what is known of them, rows × C each.
    pub parts: Vec<Tensor<2>>,
    /// What makes pseudo-anomalies of their descriptions.
    pub noise: Option<Tensor<2>>,
}

/// Some rows of a group, and where what comes of them stands among all: with noise, those with it follow those without.
struct Part {
    group: usize,
    rows: Range<usize>,
    scored: Range<usize>,
}

/// The way down from the scores.
pub(super) struct Descent<'a> {
    network: &'a Network,
    /// The groups, no longer tracked.
    groups: Vec<Known>,
    parts: Vec<Part>,
    /// Descriptions, where they were kept.
    described: Option<Vec<Tensor<2>>>,
    pass: MlpPass,
}

impl<'a> Descent<'a> {
    /// Ψ of all groups in training, rows × 1, and the way back. With `keeps` all that it needs is held in memory, else some of it is made
    /// again.
    pub fn ascend(
        network: &'a Network,
        parameters: &mut Parameters,
        groups: Vec<Known>,
        keeps: bool,
    ) -> (Tensor<2>, Descent<'a>) {
        let parts = parts(&groups);
        let mut described = keeps.then(Vec::new);
        let mut entered = Vec::with_capacity(parts.len());
        let mut missing = None;
        for part in &parts {
            let rows = describe(network, parameters, &groups, part);
            let (inner, left_out) = network.mlp().enter(parameters, rows.clone());
            entered.push(inner);
            missing = left_out;
            if let Some(described) = &mut described {
                described.push(rows);
            }
        }
        let missing = missing.map(|bias| bias + shift_of_projections(network, parameters, groups[0].parts.len()));
        let entered = if entered.len() == 1 { entered.remove(0) } else { Tensor::cat(entered, 0) };
        let (scores, pass) = network.mlp().train(parameters, (entered, missing), keeps);
        (scores, Descent { network, groups, parts, described, pass })
    }

    /// Where the scores of a kind stand, in order.
    pub fn scored(&self, kind: Kind) -> Vec<Range<usize>> {
        let of_part = |part: &Part| {
            let (group, Range { start, end }) = (&self.groups[part.group], part.scored.clone());
            let middle = if group.noise.is_some() { start + (end - start) / 2 } else { end };
            match (group.kind == kind, kind) {
                (true, _) => Some(start..middle),
                (false, Kind::Pseudo) if middle < end => Some(middle..end),
                _ => None,
            }
        };
        self.parts.iter().filter_map(of_part).collect()
    }

    /// The gradients of everything from the projection on, where that of the scores is `gradient` (rows × 1), and those of what stands in
    /// front of the projection: group by group, of all parts but the patches, where `wants_known`.
    pub fn descend(
        self,
        parameters: &Parameters,
        gradient: Tensor<2>,
        wants_known: bool,
        found: &mut NamedGradients,
    ) -> Vec<Vec<Tensor<2>>> {
        let Descent { network, groups, parts, described, pass } = self;
        let of_entered = pass.backward(parameters, gradient, found);
        let mut described = described.map(Vec::into_iter);
        let mut of_known: Vec<Vec<Vec<Tensor<2>>>> =
            groups.iter().map(|group| vec![Vec::new(); group.parts.len()]).collect();
        for part in &parts {
            let kept = described.as_mut().and_then(Iterator::next);
            let rows = kept.unwrap_or_else(|| describe(network, parameters, &groups, part));
            let own = slice(&of_entered, &part.scored);
            let of_rows = network.mlp().leave(parameters, rows, own, found);
            let group = &groups[part.group];
            for (number, of_part) in apart(of_rows, group.parts.len(), group.noise.is_some()).into_iter().enumerate() {
                let weight = format!("{}.weight", network.projection(number));
                let given = slice(&group.parts[number], &part.rows);
                found.add(&weight, product(of_part.clone().transpose(), given));
                if wants_known && number > 0 {
                    of_known[part.group][number].push(product(of_part, parameters.plain(&weight)));
                }
            }
        }
        let joined = |mut parts: Vec<Tensor<2>>| if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 0) };
        let of_group =
            |group: Vec<Vec<Tensor<2>>>| group.into_iter().filter(|parts| !parts.is_empty()).map(joined).collect();
        of_known.into_iter().map(of_group).collect()
    }
}

/// Goes on in the graph in front of the projection: the gradients of what `known` was made of, group by group as they were found.
pub(super) fn descend_known(
    parameters: &Parameters,
    known: Vec<Vec<Tensor<2>>>,
    gradients: Vec<Vec<Tensor<2>>>,
    found: &mut NamedGradients,
) {
    let pairs =
        known.into_iter().zip(gradients).flat_map(|(parts, gradients)| parts.into_iter().skip(1).zip(gradients));
    let ends = pairs.map(|(known, gradient)| pulled(known, gradient));
    if let Some(end) = ends.reduce(|all, end| all + end) {
        found.add_graph(parameters, &end.backward());
    }
}

fn parts(groups: &[Known]) -> Vec<Part> {
    let mut end = 0;
    let mut parts = Vec::new();
    for (group, known) in groups.iter().enumerate() {
        let count = known.parts[0].dims()[0];
        for start in (0..count).step_by(PART_ROWS) {
            let rows = start..count.min(start + PART_ROWS);
            let scored = if known.noise.is_some() { 2 * rows.len() } else { rows.len() };
            parts.push(Part { group, rows, scored: end..end + scored });
            end += scored;
        }
    }
    parts
}

/// Descriptions of a part's rows, with noise those with it below them. On a GPU without what the projections' biases add: all rows
/// share it.
fn describe(network: &Network, parameters: &Parameters, groups: &[Known], part: &Part) -> Tensor<2> {
    let group = &groups[part.group];
    let project = |(number, rows): (usize, &Tensor<2>)| {
        linear_to_norm(parameters, network.projection(number), slice(rows, &part.rows)).0
    };
    let projected: Vec<Tensor<2>> = group.parts.iter().enumerate().map(project).collect();
    beside(&projected, group.noise.as_ref().map(|noise| slice(noise, &part.rows)))
}

/// What the biases of the projections of so many parts add to every row behind the first linear layer, as one row.
fn shift_of_projections(network: &Network, parameters: &Parameters, parts: usize) -> Tensor<2> {
    let bias = |part: usize| parameters.plain(&format!("{}.bias", network.projection(part)));
    network.mlp().enter(parameters, Tensor::cat((0..parts).map(bias).collect(), 1)).0
}

fn slice(rows: &Tensor<2>, range: &Range<usize>) -> Tensor<2> {
    let [count, columns] = rows.dims();
    if *range == (0..count) { rows.clone() } else { rows.clone().slice([range.clone(), 0..columns]) }
}
