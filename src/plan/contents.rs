//! What artifacts hold, as types: which tensors a stage that reads one may ask for.
//!
//! Owns: names of tensors that more than one stage knows. A type here is never made; it only marks handles.

use crate::error::Result;
use crate::matrix::Rows;
use crate::store::Artifact;

/// What an artifact holds, and how it is looked at.
pub trait Content: Clone + PartialEq + std::fmt::Debug + 'static {
    /// What a reader sees of it.
    type View<'a>;

    /// Looks at an artifact.
    ///
    /// # Errors
    /// An artifact that lacks a tensor, or has one of another type.
    fn open(artifact: &Artifact) -> Result<Self::View<'_>>;
}

/// Contents that have rows which can be searched.
pub trait HasRows: Content {
    /// The tensor that holds them.
    const ROWS: &'static str;
}

/// Contents that neighbours are looked for in, as queries are not.
pub trait IsBank: HasRows {}

/// Contents whose rows tell the image each came from: `image` (`u32::MAX`: none).
pub trait HasImages: HasRows {}

/// Declares a content, its view, and where its rows are.
macro_rules! content {
    ($(#[$doc:meta])* $name:ident, $view:ty, $artifact:ident => $open:expr $(, rows in $rows:literal)?) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        pub enum $name {}

        impl Content for $name {
            type View<'a> = $view;

            fn open($artifact: &Artifact) -> Result<Self::View<'_>> {
                $open
            }
        }

        $(impl HasRows for $name {
            const ROWS: &'static str = $rows;
        })?
    };
}
pub(crate) use content;

content! {
    /// Patch features of images: `features`, (images · patches) × dim, image-major, row-major positions.
    Features, Rows<'a>, artifact => artifact.rows(Self::ROWS), rows in "features"
}
content! {
    /// Rows that tell which of all training rows each is: `rows`, `origin`.
    OriginRows, (Rows<'a>, &'a [u32]), artifact => Ok((artifact.rows(Self::ROWS)?, artifact.u32("origin")?)), rows in "rows"
}
content! {
    /// A bank of rows: `rows`.
    Bank, Rows<'a>, artifact => artifact.rows(Self::ROWS), rows in "rows"
}
content! {
    /// Rows that tell the image each came from: `rows`, `image` (`u32::MAX`: none).
    ImageRows, (Rows<'a>, &'a [u32]), artifact => Ok((artifact.rows(Self::ROWS)?, artifact.u32("image")?)), rows in "rows"
}
impl HasImages for ImageRows {}
impl IsBank for ImageRows {}
impl IsBank for OriginRows {}
impl IsBank for Bank {}

content! {
    /// Nearest neighbours of queries in a bank: `index` (`u32::MAX`: every row was excluded) and `distance`, one of each per query.
    Neighbours, (&'a [u32], &'a [f32]), artifact => Ok((artifact.u32("index")?, artifact.f32("distance")?))
}
content! {
    /// A trained model: its parameters by name, behind the number of the epoch.
    Model, &'a Artifact, artifact => Ok(artifact)
}
content! {
    /// Patch scores: `scores`, epochs × images × patches, higher = more abnormal; where a method has its own rule, also
    /// `image_scores`, epochs × images.
    Scores, &'a Artifact, artifact => Ok(artifact)
}
content! {
    /// Points of a plane: `points`, `parts`, `rows`.
    Embedding, &'a Artifact, artifact => Ok(artifact)
}
content! {
    /// All metrics of a run: `results`, JSON.
    Metrics, &'a [u8], artifact => artifact.u8("results")
}
