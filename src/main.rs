//! The `dmad` program; everything is in the library.

fn main() -> std::process::ExitCode {
    dmad::cli::main()
}
