//! Rows of many columns as points of a plane: principal components, then t-SNE.
//!
//! Owns: the arithmetic, which repeats to the byte for any number of threads. Does not own: which rows (`run::gallery`), or
//! the drawing (`report::figures`).

mod divergence;
mod pca;
mod tsne;

pub use pca::{Components, principal_components};
pub use tsne::{Embedded, Hyperparameters, tsne};
