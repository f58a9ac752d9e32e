//! The one integration test binary. Module names say what is tested; test names are sentences.

mod bank;
mod gen_oracle;
mod oracle_a5;
mod util;
