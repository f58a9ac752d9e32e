//! The one integration test binary. Module names say what is tested; test names are sentences.

mod backbone;
mod bank;
mod data;
mod errors;
mod features;
mod gen_oracle;
mod generated_maps;
mod golden;
mod knobs;
mod lab;
mod metrics;
mod metrics_cli;
mod oracle_a1;
mod oracle_a2;
mod oracle_a3;
mod oracle_a4;
mod oracle_a5;
mod oracle_a6;
mod oracle_a7;
mod oracle_b1;
mod program;
mod sameness;
mod spec;
mod synthetic;
mod tidy;
mod util;
