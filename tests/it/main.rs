//! The one integration test binary. Module names say what is tested; test names are sentences.

mod data;
mod gen_oracle;
mod oracle_a1;
mod util;
