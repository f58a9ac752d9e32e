//! Datasets: which images there are, how they are read, and what is true of them.

pub mod layouts;
