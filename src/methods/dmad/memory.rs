//! DMAD's memory: the banks there are, how patches find their neighbours in them, and both as a computation sees them.

use burn::tensor::Device;
use serde::Serialize;

use super::banks::OutlierBank;
use super::network::PatchRows;
use super::params::{self, Params};
use super::seen::{SeenBank, SeenPatches, SeenRows};
use crate::error::Result;
use crate::matrix::Rows;
use crate::methods::Search;
use crate::plan::{Bank, Graph, Handle, HasRows, ImageRows, Inputs, Job, Neighbours, OriginRows, RowsOf};
use crate::train::upload;

/// The banks that a patch is held against.
#[derive(Clone, Debug, Serialize)]
pub struct Banks {
    /// M_n.
    pub normal: Handle<OriginRows>,
    /// M_o, then M_as with M_p, as far as they are in use.
    pub abnormal: Vec<RowsOf>,
}

/// Patches with their neighbours.
#[derive(Clone, Debug, Serialize)]
pub struct Queries {
    pub rows: RowsOf,
    /// Their neighbours in the normal bank.
    pub normal: Handle<Neighbours>,
    /// Their neighbours in each part of the abnormal bank.
    pub abnormal: Vec<Handle<Neighbours>>,
}

/// What queries are, as far as finding themselves goes.
#[derive(Clone, Copy)]
pub enum Own<'a> {
    /// In no bank.
    Nothing,
    /// Training patches, the first of which has this number among all.
    Normal { first: usize },
    /// Patches of seen anomalies.
    Seen(&'a Handle<SeenRows>),
}

/// The stages of the memory of one model.
pub struct Memory {
    pub banks: Banks,
    /// Abnormal patches of the seen anomalies, where there are any.
    pub seen: Option<Handle<SeenRows>>,
    seen_bank: Option<Handle<ImageRows>>,
    outlier: Option<Handle<Bank>>,
    exclude: params::Neighbours,
}

impl Memory {
    /// Adds the banks to a graph.
    ///
    /// # Errors
    /// Textures that are not there.
    pub fn new<'a>(graph: &mut Graph<'a>, inputs: &'a Inputs, params: &Params) -> Result<Self> {
        let bank = &params.bank;
        let anomalies: Vec<_> = inputs.seen().map(|(class, seen)| (class, seen.clone())).collect();
        let (filter, geometry) = (params.filter.clone().into(), inputs.image.clone().into());
        let patches = SeenPatches { filter, seen: anomalies, geometry, grid: inputs.grid, dim: inputs.dim };
        let seen = (!patches.seen.is_empty()).then(|| graph.add(patches));
        let normal = bank.normal.stage(graph, inputs);
        let outlier = match bank.outlier.enabled {
            true => Some(OutlierBank::stage(graph, inputs, &bank.outlier, bank.outlier_coreset())?),
            false => None,
        };
        let used = seen.as_ref().filter(|_| bank.seen.enabled || bank.center.enabled);
        let center = Some(&bank.center).filter(|center| center.enabled);
        let seen_bank = used.map(|seen| {
            graph.add(SeenBank {
                with_seen: bank.seen.enabled,
                center: center.map(|center| (center.clone().into(), inputs.seed)),
                seen: seen.clone(),
                normal: center.filter(|center| center.relative).map(|_| normal.clone()),
                dim: inputs.dim,
            })
        });
        let abnormal = outlier.iter().map(RowsOf::from).chain(seen_bank.as_ref().map(RowsOf::from)).collect();
        let banks = Banks { normal, abnormal };
        Ok(Memory { banks, seen, seen_bank, outlier, exclude: params.neighbours.clone() })
    }

    /// Adds the neighbour searches of a set of queries; `own` tells who must not find itself.
    pub fn search<C: HasRows>(&self, graph: &mut Graph, queries: &Handle<C>, own: Own, label: &str) -> Queries {
        let (normal_label, label) = (format!("{label}: normal neighbours"), format!("{label}: abnormal neighbours"));
        let normal = match own {
            Own::Normal { first } if self.exclude.exclude_self => {
                Search::without_itself(queries, first, &self.banks.normal, normal_label)
            }
            _ => Search::new(queries, &self.banks.normal, normal_label),
        };
        let normal = graph.add(normal);
        let mut abnormal = Vec::new();
        if let Some(outlier) = &self.outlier {
            abnormal.push(graph.add(Search::new(queries, outlier, label.clone())));
        }
        if let Some(bank) = &self.seen_bank {
            let search = match own {
                Own::Seen(seen) if self.exclude.exclude_same_image => Search::without_own_image(seen, bank, label),
                _ => Search::new(queries, bank, label),
            };
            abnormal.push(graph.add(search));
        }
        Queries { rows: queries.into(), normal, abnormal }
    }
}

/// Queries with everything mapped.
pub struct OpenQueries<'a> {
    pub rows: Rows<'a>,
    normal: &'a [u32],
    abnormal: Vec<(&'a [u32], &'a [f32])>,
}

/// Banks with everything mapped.
pub struct OpenBanks<'a> {
    /// M_n.
    pub normal: Rows<'a>,
    /// Parts of M_a.
    pub abnormal: Vec<Rows<'a>>,
}

impl Queries {
    pub fn open<'a>(&self, job: &'a Job) -> Result<OpenQueries<'a>> {
        Ok(OpenQueries {
            rows: job.rows(&self.rows)?,
            normal: job.open(&self.normal)?.0,
            abnormal: self.abnormal.iter().map(|found| job.open(found)).collect::<Result<_>>()?,
        })
    }
}

impl Banks {
    pub fn open<'a>(&self, job: &'a Job) -> Result<OpenBanks<'a>> {
        Ok(OpenBanks {
            normal: job.open(&self.normal)?.0,
            abnormal: self.abnormal.iter().map(|bank| job.rows(bank)).collect::<Result<_>>()?,
        })
    }
}

impl<'a> OpenBanks<'a> {
    /// The nearest row over all parts of the abnormal bank; the earlier part wins ties. None when every part excludes
    /// the query.
    fn abnormal_row(&self, queries: &OpenQueries, query: usize) -> Option<&'a [f32]> {
        let found = queries.abnormal.iter().zip(&self.abnormal).filter(|((index, _), _)| index[query] != u32::MAX);
        let best = found.min_by(|((_, a), _), ((_, b), _)| a[query].total_cmp(&b[query]))?;
        Some(best.1.row(best.0.0[query] as usize))
    }
}

/// Rows on the host, before they go to a device.
pub struct HostRows {
    patch: Vec<f32>,
    normal: Vec<f32>,
    abnormal: Vec<f32>,
    rows_per_image: Vec<usize>,
    dim: usize,
}

impl HostRows {
    pub fn new(dim: usize) -> Self {
        HostRows { patch: Vec::new(), normal: Vec::new(), abnormal: Vec::new(), rows_per_image: Vec::new(), dim }
    }

    pub fn len(&self) -> usize {
        self.patch.len() / self.dim
    }

    /// Appends the patches of one image. A patch without abnormal neighbour (all excluded) is its own, d_a = 0.
    pub fn push_image(&mut self, queries: &OpenQueries, banks: &OpenBanks, rows: impl IntoIterator<Item = usize>) {
        let before = self.len();
        for row in rows {
            let patch = queries.rows.row(row);
            self.patch.extend_from_slice(patch);
            self.normal.extend_from_slice(match queries.normal[row] {
                u32::MAX => patch,
                index => banks.normal.row(index as usize),
            });
            if !banks.abnormal.is_empty() {
                self.abnormal.extend_from_slice(banks.abnormal_row(queries, row).unwrap_or(patch));
            }
        }
        self.rows_per_image.push(self.len() - before);
    }

    pub fn upload(self, device: &Device) -> PatchRows {
        let shape = [self.len(), self.dim];
        PatchRows {
            patch: upload(self.patch, shape, device),
            normal: upload(self.normal, shape, device),
            abnormal: (!self.abnormal.is_empty()).then(|| upload(self.abnormal, shape, device)),
            rows_per_image: self.rows_per_image,
        }
    }
}
