//! Plain loops with a processor's wide instructions.
//!
//! Programs are built for every processor of a kind; the compiler may use wider instructions only in functions that are called
//! where they are there. Nothing else changes: every value is computed as it stands in the loop, so results are the same.

/// Runs `work`, compiled with AVX-512 where the processor has it. Worth it for loops over some hundreds of values.
#[inline(always)]
pub fn wide<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn with<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions, as just asked.
            return unsafe { with(work) };
        }
    }
    work()
}
