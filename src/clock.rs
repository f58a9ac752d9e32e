//! Wall and processor time of the whole process, and the machine they were measured on.

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

/// Half of the memory that this machine, or the control group this process is in, has.
pub fn default_memory_bytes() -> u64 {
    let number = |text: String| text.trim().parse::<u64>().ok();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let machine =
        line.and_then(|rest| number(rest.trim().trim_end_matches("kB").into())).map_or(4 << 30, |kib| kib * 1024);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(number);
    group.map_or(machine, |group| group.min(machine)) / 2
}

/// Processor and number of threads: what times can be compared on.
pub fn machine() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| format!("{}, {} threads", processor(), rayon::current_num_threads()))
}

/// The processor's model name.
pub fn processor() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.into(), |(_, name)| name.trim().to_string())
}
