//! Messages to the user. A reader that has gone (`dmad run … 2>&1 | head`) is no reason to end a study.

use std::fmt::Arguments;
use std::io::Write as _;

/// A line on standard error; one that cannot be written is lost.
pub fn line(line: Arguments) {
    drop(writeln!(std::io::stderr().lock(), "{}", plain(&line.to_string())));
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
