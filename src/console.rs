//! Messages to the user. A reader that has gone (`dmad run … 2>&1 | head`) is no reason to end a study.

use std::fmt::Arguments;
use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// Characters of a line that are shown: a file may have lines of megabytes.
const SHOWN: usize = 2000;

static HUSHED: AtomicBool = AtomicBool::new(false);

/// From now on nothing is said but errors.
pub fn hush() {
    HUSHED.store(true, Ordering::Relaxed);
}

/// Lines on standard error, unless nothing is to be said; what cannot be written is lost.
pub fn line(text: Arguments) {
    if !HUSHED.load(Ordering::Relaxed) {
        error(text);
    }
}

/// Lines on standard error in any case.
pub fn error(text: Arguments) {
    let text = plain(&text.to_string());
    let lines: Vec<String> = text.split('\n').map(|line| dyed(&short(line), is_coloured())).collect();
    drop(writeln!(std::io::stderr().lock(), "{}", lines.join("\n")));
}

/// What a line begins with, and its colour on terminals that have some.
const DYES: [(&str, &str); 3] = [("error:", "1;31"), ("note:", "33"), ("  help:", "36")];

/// A line whose first word has a colour, and what failed in it.
fn dyed(line: &str, is_coloured: bool) -> String {
    let dye = |word: &str, code: &str| format!("\u{1b}[{code}m{word}\u{1b}[0m");
    if !is_coloured {
        return line.into();
    }
    if let Some((word, code)) = DYES.iter().find(|(word, _)| line.starts_with(word)) {
        return dye(word, code) + &line[word.len()..];
    }
    line.replacen(" FAILED: ", &format!(" {}: ", dye("FAILED", DYES[0].1)), 1)
}

/// Whether messages have colours: on a terminal that knows them, unless `NO_COLOR` is set.
fn is_coloured() -> bool {
    static COLOURED: OnceLock<bool> = OnceLock::new();
    *COLOURED.get_or_init(|| {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        std::io::stderr().is_terminal() && !is_dumb && !is_set("NO_COLOR")
    })
}

/// A line of progress as it is shown above a bar.
pub fn above_a_bar(text: &str) -> String {
    dyed(&plain(text), is_coloured())
}

fn short(line: &str) -> String {
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line.into(),
    }
}

/// Text without control characters, which a terminal would obey: names and titles come from files.
pub fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Text as [`printable`] gives it, with what the program draws of its own in ASCII where the terminal is said to have
/// nothing else.
pub fn plain(text: &str) -> String {
    let text = printable(text);
    match is_ascii_only() {
        true => text.chars().map(|c| in_ascii(c).map_or_else(|| c.to_string(), str::to_string)).collect(),
        false => text,
    }
}

/// Whether the terminal is said to know ASCII alone: the first of the variables that is set says so.
fn is_ascii_only() -> bool {
    static ONLY: OnceLock<bool> = OnceLock::new();
    *ONLY.get_or_init(|| {
        let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let language = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
        language.is_some_and(|language| ["C", "POSIX"].contains(&language.as_str()))
    })
}

/// What stands for a character that the program writes, where there is ASCII alone.
fn in_ascii(c: char) -> Option<&'static str> {
    Some(match c {
        '─' | '━' | '–' | '−' => "-",
        '│' | '┃' => "|",
        '╭' | '╮' | '╰' | '╯' | '├' | '┤' | '┬' | '┴' | '┼' => "+",
        '×' => "x",
        '±' => "+-",
        '…' => "...",
        '·' => "|",
        '\u{a0}' => " ",
        '≤' => "<=",
        '≥' => ">=",
        '→' => "->",
        _ => return None,
    })
}

/// `eprintln!` for whoever may have nobody to talk to.
macro_rules! say {
    ($($text:tt)*) => { $crate::console::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// The same for errors and questions, which are told also where nothing else is to be said.
macro_rules! insist {
    ($($text:tt)*) => { $crate::console::error(format_args!($($text)*)) };
}
pub(crate) use insist;

/// Text in lines of `width` characters, broken between words.
pub fn folded(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.into() };
    let (mut out, mut length) = (String::new(), 0);
    for word in text.split(' ') {
        let letters = word.chars().count();
        if length > 0 && length + 1 + letters > width {
            out.push('\n');
            length = 0;
        } else if length > 0 {
            out.push(' ');
            length += 1;
        }
        out += word;
        length += letters;
    }
    out
}

/// A time as people say it.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.5 => "1 s".into(),
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Seconds between two lines about bytes, where there is no terminal.
const PATIENCE_SECONDS: f64 = 10.0;

/// How many bytes of something are through, how fast, and how long the rest takes: a bar on a terminal, else now and then a
/// line.
pub struct Meter {
    label: String,
    from: u64,
    total: Option<u64>,
    started: Instant,
    spoke: Instant,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Begins at byte `from` of `total`, where that is known.
    pub fn new(label: &str, from: u64, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new).with_position(from);
            let style = "{wide_msg} {bytes} of {total_bytes}, {bytes_per_sec}, about {eta} left";
            bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(plain(label));
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        Meter { label: plain(label), from, total, started: now, spoke: now, bar }
    }

    /// So many bytes are through.
    pub fn at(&mut self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if self.spoke.elapsed().as_secs_f64() > PATIENCE_SECONDS => {
                self.spoke = Instant::now();
                line(format_args!("{}", self.told(done, self.started.elapsed().as_secs_f64())));
            }
            None => {}
        }
    }

    fn told(&self, done: u64, seconds: f64) -> String {
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        let speed = done.saturating_sub(self.from) as f64 / seconds.max(1e-3);
        let rate = format!("{:.1} MB/s", speed / 1e6);
        match self.total {
            Some(total) if speed > 0.0 => {
                let left = duration(total.saturating_sub(done) as f64 / speed);
                format!("{}: {} of {} MB, {rate}, about {left} left", self.label, megabytes(done), megabytes(total))
            }
            _ => format!("{}: {} MB, {rate}", self.label, megabytes(done)),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.as_ref().inspect(|bar| bar.finish_and_clear());
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(super::plain("a\u{1b}[31mb\r\n\tc\u{9b}"), "a\u{fffd}[31mb\u{fffd}\n\tc\u{fffd}");
    }

    #[test]
    fn colours_mark_what_a_line_is() {
        for line in ["error: no file", "note: 2 images", "  help: name one", "  3f2a FAILED: the loss is not finite"] {
            assert_eq!(super::dyed(line, false), line);
            let dyed = super::dyed(line, true);
            let bare = ["1;31", "33", "36", "0"]
                .iter()
                .fold(dyed.clone(), |text, code| text.replace(&format!("\u{1b}[{code}m"), ""));
            assert!(dyed.contains("\u{1b}[0m") && bare == line, "{dyed}");
        }
        assert_eq!(super::dyed("an error: of another", true), "an error: of another");
    }

    #[test]
    fn the_time_left_is_that_of_what_has_come_since_the_start() {
        let meter = super::Meter::new("file", 10_000_000, Some(40_000_000));
        assert_eq!(meter.told(20_000_000, 5.0), "file: 20.0 of 40.0 MB, 2.0 MB/s, about 10 s left");
        assert_eq!(super::Meter::new("file", 0, None).told(3_000_000, 1.0), "file: 3.0 MB, 3.0 MB/s");
    }
}
