//! The folder and file shapes datasets come in, one module each.

pub mod synthetic;
