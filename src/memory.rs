//! How the process asks the system for memory.
//!
//! Owns: settings of the C library's allocator. Does not own: how much memory there is (`clock`) or may be used (`run`).

/// Keeps freed memory for the next allocation. A training step makes and drops hundreds of buffers of some megabytes; glibc
/// would give each back to the system and fetch it anew, page by page, which took two fifths of a training's processor
/// time. Elsewhere than with glibc this does nothing.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const MEGABYTE: i32 = 1 << 20;
        // SAFETY: mallopt only sets numbers of the allocator; it is called before any thread is started.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 32 * MEGABYTE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 256 * MEGABYTE);
            libc::mallopt(libc::M_TOP_PAD, 16 * MEGABYTE);
        }
    }
}
