//! DMAD's memory: the banks there are, how patches find their neighbours in them, and both as a computation sees them.

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};
use rayon::prelude::*;
use serde::Serialize;

use super::banks::OutlierBank;
use super::network::PatchRows;
use super::params::{self, Params};
use super::seen::{SeenBank, SeenPatches, SeenRows};
use crate::bank::neighbours::NO_ROW;
use crate::device::{room::written, upload_ints};
use crate::error::Result;
use crate::matrix::Rows;
use crate::methods::Search;
use crate::plan::{Bank, Graph, Handle, HasRows, ImageRows, Inputs, Job, Neighbours, OriginRows, RowsOf};
use crate::train::{Resident, upload};

/// The banks that a patch is held against.
#[derive(Clone, Debug, Serialize)]
pub struct Banks {
    /// M_n.
    pub normal: Handle<OriginRows>,
    /// M_o, then M_as with M_p, as far as they are in use.
    pub abnormal: Vec<RowsOf>,
}

/// Rows that are worth a thread where they are copied.
const ROWS_A_THREAD: usize = 64;

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
    /// The nearest row over all parts of the abnormal bank, as part and number there; the earlier part wins ties. None when
    /// every part excludes the query.
    fn nearest_abnormal(&self, queries: &OpenQueries, query: usize) -> Option<(usize, usize)> {
        let found = queries.abnormal.iter().enumerate().filter(|(_, (index, _))| index[query] != NO_ROW);
        let best = found.min_by(|(_, (_, a)), (_, (_, b))| a[query].total_cmp(&b[query]))?;
        Some((best.0, best.1.0[query] as usize))
    }

    /// The nearest row of the normal bank.
    fn normal_row(&self, queries: &OpenQueries, query: usize) -> Option<&'a [f32]> {
        let number = queries.normal[query];
        (number != NO_ROW).then(|| self.normal.row(number as usize))
    }

    /// The nearest row over all parts of the abnormal bank.
    fn abnormal_row(&self, queries: &OpenQueries, query: usize) -> Option<&'a [f32]> {
        self.nearest_abnormal(queries, query).map(|(part, row)| self.abnormal[part].row(row))
    }

    /// Its number when all parts stand one below the other.
    fn abnormal_number(&self, queries: &OpenQueries, query: usize) -> Option<u32> {
        let (part, row) = self.nearest_abnormal(queries, query)?;
        Some((self.abnormal[..part].iter().map(Rows::len).sum::<usize>() + row) as u32)
    }

    /// Bytes of all banks.
    pub fn bytes(&self) -> u64 {
        self.abnormal.iter().chain([&self.normal]).map(|rows| 4 * rows.data().len() as u64).sum()
    }
}

/// Queries that stay on a device.
pub struct ResidentQueries {
    rows: Resident,
    /// Each row's neighbour in the normal bank.
    normal: Tensor<1, Int>,
    /// Each row's neighbour in the abnormal bank, whose parts stand one below the other.
    abnormal: Option<Tensor<1, Int>>,
}

/// Banks and queries that stay on a device through a training.
pub struct ResidentMemory {
    normal: Tensor<2>,
    abnormal: Option<Tensor<2>>,
    /// Normal images, numbered through all classes.
    pub normals: ResidentQueries,
    /// Seen anomalies.
    pub seen: Option<ResidentQueries>,
}

impl ResidentMemory {
    /// Brings everything to `device`; `seen` has the rows of each image. None where a patch has no neighbour that may be its
    /// own: those are few settings, and the host knows what to do about them.
    pub fn new(
        banks: &OpenBanks,
        normals: &[OpenQueries],
        patches: usize,
        seen: Option<(&OpenQueries, &[Range<usize>])>,
        device: &Device,
    ) -> Option<ResidentMemory> {
        let of_class = |queries: &OpenQueries| {
            (0..queries.rows.len() / patches).map(|image| image * patches..(image + 1) * patches).collect()
        };
        let of_class: Vec<Vec<Range<usize>>> = normals.iter().map(of_class).collect();
        let images: Vec<_> =
            normals.iter().zip(&of_class).map(|(queries, images)| (queries, images.as_slice())).collect();
        let bring = |rows: &[Rows]| {
            let values: Vec<f32> = rows.iter().flat_map(|rows| rows.data()).copied().collect();
            let cols = banks.normal.cols();
            let count = values.len() / cols;
            upload(values, [count, cols], device)
        };
        Some(ResidentMemory {
            normals: ResidentQueries::new(banks, &images, device)?,
            seen: match seen {
                Some(seen) => Some(ResidentQueries::new(banks, &[seen], device)?),
                None => None,
            },
            normal: bring(&[banks.normal]),
            abnormal: (!banks.abnormal.is_empty()).then(|| bring(&banks.abnormal)),
        })
    }

    /// The chosen patches of these images with their neighbours.
    pub fn gather(&self, queries: &ResidentQueries, images: Vec<usize>, chosen: &[Vec<usize>]) -> PatchRows {
        let choice = queries.rows.some(images, chosen);
        let numbers = queries.rows.numbers(&choice);
        let nearest = |(bank, found): (&Tensor<2>, &Tensor<1, Int>)| {
            bank.clone().select(0, found.clone().select(0, numbers.clone()))
        };
        PatchRows {
            patch: queries.rows.gather(&choice),
            normal: nearest((&self.normal, &queries.normal)),
            abnormal: self.abnormal.as_ref().zip(queries.abnormal.as_ref()).map(nearest),
            rows_per_image: choice.counts().to_vec(),
        }
    }
}

impl ResidentQueries {
    /// Queries of several artifacts, each with the rows of its images.
    fn new(banks: &OpenBanks, queries: &[(&OpenQueries, &[Range<usize>])], device: &Device) -> Option<ResidentQueries> {
        let images =
            || queries.iter().flat_map(|(queries, images)| images.iter().map(move |rows| (queries, rows.clone())));
        let normal: Vec<u32> = images().flat_map(|(queries, rows)| &queries.normal[rows]).copied().collect();
        if normal.contains(&NO_ROW) {
            return None;
        }
        let abnormal_numbers = || {
            let of_image = |(queries, rows): (&&OpenQueries, Range<usize>)| {
                rows.map(|row| banks.abnormal_number(queries, row)).collect::<Vec<_>>()
            };
            images().flat_map(of_image).collect::<Option<Vec<u32>>>()
        };
        let abnormal = match banks.abnormal.is_empty() {
            true => None,
            false => Some(upload_ints(&abnormal_numbers()?, device)),
        };
        let rows = Resident::new(images().map(|(queries, rows)| queries.rows.slice(rows)), device);
        Some(ResidentQueries { rows, normal: upload_ints(&normal, device), abnormal })
    }
}

/// Chosen rows of queries, image after image, with their neighbours, brought from the host to `device`.
///
/// A patch without normal or abnormal neighbour (all excluded) is its own: its distance is 0.
pub fn upload_patches<'a>(banks: &OpenBanks<'a>, images: &[(&OpenQueries, Vec<usize>)], device: &Device) -> PatchRows {
    let chosen: Vec<(&OpenQueries, usize)> =
        images.iter().flat_map(|(queries, rows)| rows.iter().map(move |&row| (*queries, row))).collect();
    let each = |find: &dyn Fn(&OpenQueries, usize) -> Option<&'a [f32]>| {
        let rows = chosen.iter().map(|&(queries, row)| find(queries, row).unwrap_or_else(|| queries.rows.row(row)));
        upload_rows(&rows.collect::<Vec<_>>(), banks.normal.cols(), device)
    };
    PatchRows {
        patch: each(&|_, _| None),
        normal: each(&|queries, row| banks.normal_row(queries, row)),
        abnormal: (!banks.abnormal.is_empty()).then(|| each(&|queries, row| banks.abnormal_row(queries, row))),
        rows_per_image: images.iter().map(|(_, rows)| rows.len()).collect(),
    }
}

/// Rows from anywhere on the host as a matrix of `device`, copied together by all threads.
fn upload_rows(rows: &[&[f32]], cols: usize, device: &Device) -> Tensor<2> {
    let copy = |room: &mut [MaybeUninit<f32>]| {
        let places = room.par_chunks_mut(cols).zip(rows).with_min_len(ROWS_A_THREAD);
        places.for_each(|(place, row)| {
            place.write_copy_of_slice(row);
        });
    };
    // SAFETY: there is a place for every row, and each is written whole.
    let values = unsafe { written(rows.len() * cols, copy) };
    upload(values, [rows.len(), cols], device)
}
