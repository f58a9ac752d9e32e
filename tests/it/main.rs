//! The one integration test binary. Module names say what is tested; test names are sentences.

mod backbone;
mod features;
mod gen_oracle;
mod oracle_a2;
mod oracle_a3;
mod oracle_a4;
mod synthetic;
mod util;
