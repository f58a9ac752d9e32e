//! The one integration test binary. Module names say what is tested; test names are sentences.

mod gen_oracle;
mod synthetic;
mod util;
