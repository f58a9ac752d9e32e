//! What methods share whose student rebuilds the maps of a frozen teacher from a narrow code of them (reverse distillation;
//! docs/methods/rd4ad.md, Computation).
//!
//! Owns: the networks, how far two lists of maps are apart, the teacher's maps of training images. Does not own: losses'
//! weights, training, scores (the methods).

mod bottleneck;
mod cosine;
mod design;
mod student;
mod teacher;

pub use bottleneck::Bottleneck;
pub use cosine::{cosine_maps, flat_distance, place_distance};
pub use design::Design;
pub use student::Student;
pub use teacher::{Maps, Teacher, stack};
