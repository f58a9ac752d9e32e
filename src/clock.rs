//! Wall and processor time of the whole process.

use std::time::Instant;

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// On the wall.
    pub wall_start: Instant,
    /// Processor seconds used by then.
    pub cpu_start: f64,
}

impl Clock {
    /// Now.
    pub fn start() -> Self {
        Clock { wall_start: Instant::now(), cpu_start: cpu_seconds() }
    }

    /// Seconds since then on the wall.
    pub fn wall_seconds(&self) -> f64 {
        self.wall_start.elapsed().as_secs_f64()
    }

    /// Processor seconds since then, all threads.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds() - self.cpu_start
    }
}

/// Processor seconds (user and system, all threads) this process has used; 0 where the system does not tell.
pub fn cpu_seconds() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return 0.0 };
    // The command name (in parentheses) may hold spaces; fields 14 and 15 (user, system) are counted after it.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// The most memory this process has held at once, in bytes; 0 where the system does not tell.
pub fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
