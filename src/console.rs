//! Messages to the user. A reader that has gone (`dmad run … 2>&1 | head`) is no reason to end a study.

use std::fmt::Arguments;
use std::io::Write as _;

/// Characters of a line that are shown: a file may have lines of megabytes.
const SHOWN: usize = 2000;

/// Lines on standard error; what cannot be written is lost.
pub fn line(text: Arguments) {
    let text = plain(&text.to_string());
    let lines: Vec<String> = text.split('\n').map(short).collect();
    drop(writeln!(std::io::stderr().lock(), "{}", lines.join("\n")));
}

fn short(line: &str) -> String {
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line.into(),
    }
}

/// Text without control characters, which a terminal would obey: names and titles come from files.
pub fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// `eprintln!` for whoever may have nobody to talk to.
macro_rules! say {
    ($($text:tt)*) => { $crate::console::line(format_args!($($text)*)) };
}
pub(crate) use say;

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(super::plain("a\u{1b}[31mb\r\n\tc\u{9b}"), "a\u{fffd}[31mb\u{fffd}\n\tc\u{fffd}");
    }
}
