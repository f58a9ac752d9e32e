//! Time, memory and the machine, as records name them.

#[cfg(target_os = "linux")]
use dmad::clock::peak_memory_bytes;
use dmad::clock::{Clock, default_memory_bytes, processor};

#[test]
fn the_system_tells_time_memory_and_processor() {
    let clock = Clock::start();
    let mut sum = 0u64;
    while clock.wall_seconds() < 0.3 {
        sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
    }
    assert!(clock.cpu_seconds() > 0.01 && clock.cpu_seconds() < 100.0, "{}", clock.cpu_seconds());
    assert!(default_memory_bytes() > 64 << 20, "{}", default_memory_bytes());
    assert!(!processor().is_empty());
    #[cfg(target_os = "linux")]
    assert!(peak_memory_bytes() > 1 << 20, "{}", peak_memory_bytes());
}
