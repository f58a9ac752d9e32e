//! Datasets: what is known (`catalog`), what is on disk (`index`, `layouts`), pixels (`decode`, `image`, `mask`), content
//! digests (`digest`, `listed`), and which images train, which test (`protocol`).
//!
//! Owns: everything between a folder of photographs and a split. Does not own: features, scores, metrics.

pub mod catalog;
pub mod decode;
pub mod digest;
pub mod image;
pub mod import;
pub mod index;
pub mod layouts;
pub mod listed;
pub mod mask;
pub mod outline;
pub mod protocol;
mod python_random;
pub mod thumbnail;
pub mod verify;

pub use catalog::Catalog;
pub use digest::{Digest, Digests, hex, list_digest};
pub use image::{check_geometry, load, load_rgb, square};
pub use index::{Image, Index, Labelled, Source, first_fault, index, survey};
pub use listed::Listed;
pub use mask::{evaluation_mask, known_evaluation_mask, nearest_training_mask, training_mask};
pub use protocol::{ClassSplit, SeenAnomaly, Split, Truth, split};
