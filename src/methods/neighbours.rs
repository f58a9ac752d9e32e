//! Exact nearest neighbours of rows in a bank, as a stage that several methods have.

use serde::Serialize;
use serde_json::json;

use crate::bank::neighbours::{DEVICE_BYTES, nearest_on};
use crate::device::precision;
use crate::error::{Error, Result};
use crate::plan::{Compute, Computed, Handle, HasImages, HasRows, IsBank, Job, Neighbours, OriginRows, RowsOf, Work};
use crate::store::TensorDecl;

/// A search: whose neighbours, where, and who may not be whose.
#[derive(Serialize)]
pub struct Search {
    queries: RowsOf,
    bank: RowsOf,
    exclude: Exclude,
    #[serde(skip)]
    label: String,
}

/// Who may not be whose neighbour.
#[derive(Serialize)]
enum Exclude {
    /// Everyone may.
    Nothing,
    /// The query with this number plus `first` is not its own neighbour; the bank tells the origin of its rows.
    Itself { first: usize, bank: Handle<OriginRows> },
    /// Queries and bank rows of one image.
    SameImage,
}

impl Search {
    /// A search for the neighbours of every query among all rows of the bank.
    pub fn new<Q: HasRows, B: IsBank>(queries: &Handle<Q>, bank: &Handle<B>, label: String) -> Self {
        Search { queries: queries.into(), bank: bank.into(), exclude: Exclude::Nothing, label }
    }

    /// A search for the neighbours of training patches in a bank of such patches, where none is its own. `first` is the
    /// number of the first query among all training patches.
    pub fn without_itself<C: HasRows>(
        queries: &Handle<C>,
        first: usize,
        bank: &Handle<OriginRows>,
        label: String,
    ) -> Self {
        Search { exclude: Exclude::Itself { first, bank: bank.clone() }, ..Search::new(queries, bank, label) }
    }

    /// A search for the neighbours of patches among those of other images.
    pub fn without_own_image<Q, B>(queries: &Handle<Q>, bank: &Handle<B>, label: String) -> Self
    where
        Q: HasImages,
        B: HasImages + IsBank,
    {
        Search { exclude: Exclude::SameImage, ..Search::new(queries, bank, label) }
    }
}

/// Refuses, before any work, more neighbours of a patch than a bank can have rows; says which keys are to be changed.
///
/// # Errors
/// Too many.
pub fn enough(key: &str, wanted: usize, most: usize, size: &str) -> Result<()> {
    if wanted <= most {
        return Ok(());
    }
    let what = format!("{wanted} neighbours are wanted of a bank of {most} rows");
    Err(Error::usage(what, format!("lower method.{key}, or raise method.{size}")))
}

impl Compute for Search {
    type Output = Neighbours;
    const KIND: &'static str = "neighbours";
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn work(&self) -> Work {
        let (asked, known) = (self.queries.stage.work, self.bank.stage.work);
        let operations = 2.0 * asked.rows as f64 * (known.rows * known.cols) as f64;
        // Bank rows are packed for the search, and each query has a norm and an answer.
        Work::matrix(asked.rows, 2, operations)
            .with_memory(16 * asked.rows + 4 * known.rows * known.cols)
            .on_device(4 * known.rows * known.cols + DEVICE_BYTES, 0)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let (rows, bank) = (job.rows(&self.queries)?, job.rows(&self.bank)?);
        let own: Vec<u32>;
        let groups = match &self.exclude {
            Exclude::Nothing => None,
            Exclude::Itself { first, bank } => {
                own = (*first as u32..).take(rows.len()).collect();
                Some((own.as_slice(), job.open(bank)?.1))
            }
            Exclude::SameImage => Some((job.images(&self.queries)?, job.images(&self.bank)?)),
        };
        let found = nearest_on((&job.device()?, precision()), rows, &[bank], groups)?;
        let count = found.index.len();
        let mut writer = job.create(vec![TensorDecl::u32("index", &[count]), TensorDecl::f32("distance", &[count])])?;
        writer.u32(&found.index)?;
        writer.f32(&found.distance)?;
        Ok(Computed::new(writer, json!({ "queries": count })))
    }
}
