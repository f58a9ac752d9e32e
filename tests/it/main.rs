//! The one integration test binary. Module names say what is tested; test names are sentences.

mod gen_oracle;
mod generated_maps;
mod metrics;
mod metrics_cli;
mod oracle_a6;
mod util;
