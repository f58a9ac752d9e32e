//! What the user sees while a study runs: one line with an ETA in a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::record::Results;
use crate::spec::Run;

/// Progress on stderr.
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    prefix: Mutex<String>,
    started: Instant,
}

impl Progress {
    /// A bar where stderr is a terminal, lines where it is not.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style =
                ProgressStyle::with_template("{bar:24} {pos}/{len} runs, {elapsed} gone, about {eta} left · {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Progress { bar, quiet: false, prefix: Mutex::default(), started: Instant::now() }
    }

    /// Says nothing (tests, machine-readable output).
    pub fn silent() -> Self {
        Progress { bar: None, quiet: true, prefix: Mutex::default(), started: Instant::now() }
    }

    /// A run begins.
    pub fn run(&self, number: usize, total: usize, run: &Run) {
        let spec = &run.spec;
        let prefix = format!("{} · {} seen · seed {}", spec.variant, spec.protocol.seen.count, spec.seed);
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(number as u64);
            bar.set_message(prefix.clone());
        } else {
            self.line(&format!("run {}/{total} {} {prefix} ({})", number + 1, spec.id(), spec.dataset));
        }
        if let Ok(mut current) = self.prefix.lock() {
            *current = prefix;
        }
    }

    /// How far a stage is.
    pub fn stage(&self, label: &str, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            let prefix = self.prefix.lock().map(|prefix| prefix.clone()).unwrap_or_default();
            let count = if total > 0 { format!(" {done}/{total}") } else { String::new() };
            bar.set_message(format!("{prefix} · {label}{count}"));
        }
    }

    /// A stage was computed.
    pub fn stage_done(&self, label: &str, seconds: f64) {
        if self.bar.is_none() && seconds >= 1.0 {
            self.line(&format!("  {label}: {seconds:.1} s"));
        }
    }

    /// A run is recorded.
    pub fn done(&self, run: &Run, results: &Results, seconds: f64) {
        let shown = ["image_auroc", "pixel_auroc", "pixel_pro"].iter().filter_map(|name| {
            let row = results.means.iter().find(|row| row.metric == **name)?;
            Some(format!("{name} {:.1}", row.value? * 100.0))
        });
        let line = format!("  {} done in {seconds:.1} s: {}", run.spec.id(), shown.collect::<Vec<_>>().join(", "));
        self.line(&line);
    }

    /// A run failed.
    pub fn failed(&self, run: &Run, message: &str) {
        self.line(&format!("  {} FAILED: {message}", run.spec.id()));
    }

    /// Something worth knowing.
    pub fn note(&self, text: &str) {
        self.line(&format!("note: {text}"));
    }

    /// The study is over.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(text),
            None => eprintln!("[{:>7.1}s] {text}", self.started.elapsed().as_secs_f64()),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}
