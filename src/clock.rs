//! Wall and processor time of the whole process, and the machine they were measured on.
//!
//! Owns: asking the system. Does not own: what is made of the answers.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use sysinfo::{CpuRefreshKind, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

/// A moment on all clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall_start: Instant,
    start: Share,
}

impl Clock {
    /// Now.
    pub fn start() -> Self {
        Clock { wall_start: Instant::now(), start: Ledger::read() }
    }

    /// Seconds since then on the wall.
    pub fn wall_seconds(&self) -> f64 {
        self.wall_start.elapsed().as_secs_f64()
    }

    /// Processor seconds since then, all threads: an equal share of them where stages take turns side by side.
    pub fn cpu_seconds(&self) -> f64 {
        Ledger::read().cpu_seconds - self.start.cpu_seconds
    }

    /// Seconds since then on the wall, shared out among the stages side by side: what they add up to is what has passed.
    pub fn share_seconds(&self) -> f64 {
        Ledger::read().wall_seconds - self.start.wall_seconds
    }
}

/// A stage is at work until this is dropped: seconds are shared out among all that are.
pub struct Turn(());

impl Turn {
    /// One more.
    pub fn begin() -> Turn {
        Ledger::add(1);
        Turn(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        Ledger::add(-1);
    }
}

/// What has passed for one of the stages at work.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    wall_seconds: f64,
    cpu_seconds: f64,
}

/// Sums up shares.
struct Ledger {
    at_work: i64,
    /// What had passed in the whole process when it was last read.
    seen: Option<(Instant, f64)>,
    share: Share,
}

static LEDGER: Mutex<Ledger> =
    Mutex::new(Ledger { at_work: 0, seen: None, share: Share { wall_seconds: 0.0, cpu_seconds: 0.0 } });

impl Ledger {
    /// The shares up to now.
    fn read() -> Share {
        Ledger::add(0)
    }

    /// The same; from now on so many more stages are at work.
    fn add(stages: i64) -> Share {
        let mut ledger = LEDGER.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, cpu) = (Instant::now(), cpu_seconds());
        let (wall_before, cpu_before) = ledger.seen.replace((now, cpu)).unwrap_or((now, cpu));
        let among = ledger.at_work.max(1) as f64;
        ledger.share.wall_seconds += now.saturating_duration_since(wall_before).as_secs_f64() / among;
        ledger.share.cpu_seconds += (cpu - cpu_before) / among;
        ledger.at_work += stages;
        ledger.share
    }
}

/// Universal time to the second, as in 2026-03-01T09:30:00Z.
pub fn date() -> String {
    chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The date, in the same form, of so many seconds after 1970; empty for one that nobody will see.
pub fn date_of(seconds: i64) -> String {
    let then = chrono::DateTime::<chrono::Utc>::from_timestamp(seconds, 0);
    then.map(|then| then.format("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// Seconds from 1970 to a date as [`date`] writes it.
pub fn seconds_of(date: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(date).ok().map(|date| date.timestamp())
}

/// Seconds that have passed since such a date, none for one in the future; `None` for what is no date.
pub fn seconds_since(date: &str) -> Option<f64> {
    let then = chrono::DateTime::parse_from_rfc3339(date).ok()?;
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    Some((now.signed_duration_since(then).num_milliseconds() as f64 / 1e3).max(0.0))
}

/// Milliseconds since 1970.
pub fn milliseconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Name of this machine; empty where it has none.
pub fn host() -> String {
    System::host_name().unwrap_or_default()
}

/// What this process was given, not where the program lies.
pub fn command() -> String {
    std::env::args().skip(1).collect::<Vec<_>>().join(" ")
}

/// Whether this machine has a process of that number.
pub fn is_running(pid: u32) -> bool {
    let own = sysinfo::Pid::from_u32(pid);
    let mut system = System::new();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), true, ProcessRefreshKind::nothing());
    system.process(own).is_some()
}

/// Processor seconds (user and system, all threads) this process has used; 0 where the system does not tell.
pub fn cpu_seconds() -> f64 {
    let Ok(own) = sysinfo::get_current_pid() else { return 0.0 };
    let mut system = System::new();
    let kind = ProcessRefreshKind::nothing().with_cpu();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, kind);
    system.process(own).map_or(0.0, |process| process.accumulated_cpu_time() as f64 / 1e3)
}

/// The most memory this process has held at once, in bytes; 0 where the system does not tell, which is elsewhere than on
/// Linux.
pub fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The memory that this machine, or the control group this process is in, has; 4 GiB where the system does not tell.
pub fn memory_bytes() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    let bytes = system.cgroup_limits().map_or(system.total_memory(), |group| group.total_memory);
    if bytes == 0 { 4 << 30 } else { bytes }
}

/// Half of it.
pub fn default_memory_bytes() -> u64 {
    memory_bytes() / 2
}

/// Processor and number of threads: what times can be compared on.
pub fn machine() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| format!("{}, {} threads", processor(), rayon::current_num_threads()))
}

/// The processor's model name.
pub fn processor() -> String {
    let system = System::new_with_specifics(RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()));
    let brand = system.cpus().first().map(|processor| processor.brand().trim()).filter(|brand| !brand.is_empty());
    brand.unwrap_or(std::env::consts::ARCH).into()
}
