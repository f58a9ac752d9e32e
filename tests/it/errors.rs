//! What the program says of everything that can be wrong outside it: what, where, what to do; and its exit codes.

mod command_line;
mod experiment_file;
mod images;
mod odd_files;
mod weights;
