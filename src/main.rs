//! The `dmad` program; everything is in the library.

fn main() -> std::process::ExitCode {
    // A library behind Vulkan writes a line for every device that it looks at where this is unset, though nothing is shown.
    if cfg!(feature = "wgpu") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread has been started.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
    dmad::cli::main()
}
