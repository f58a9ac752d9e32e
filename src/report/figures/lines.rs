//! Texts in lines: where they are broken, and where they are cut.

use super::canvas::text_width;

/// A text in lines no wider than `room`: broken at plain spaces, commas, underscores, slashes, and where the point of a sweep
/// and its values begin; cut with … where a word is too long, or where more than four lines would be needed.
pub fn fit(text: &str, room: f64, size: f64) -> Vec<String> {
    let mut lines = broken(text, room, size);
    let more = lines.len() > 4;
    lines.truncate(4);
    let last = lines.len() - 1;
    lines.iter().enumerate().map(|(i, line)| shorten(line.trim_end(), room, size, more && i == last)).collect()
}

/// The text in as many lines as it needs; a word that is too long has one of its own.
pub fn broken(text: &str, room: f64, size: f64) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    let words = text.split_inclusive([' ', '_', '/', ',', '·']).flat_map(before_brackets);
    // What was swept stays with its value where there is room for both.
    let apart = |word: &str| text_width(word.trim_end(), size) > room;
    let parts = |word| str::split_inclusive(word, move |letter: char| letter == '=' && apart(word));
    for word in words.flat_map(parts) {
        let Some(line) = lines.last_mut() else { unreachable!("there is a line") };
        let joined = format!("{line}{word}");
        if line.is_empty() || text_width(joined.trim_end(), size) <= room {
            *line = joined;
        } else {
            lines.push(word.into());
        }
    }
    lines
}

/// A word in two where a bracket opens in it.
fn before_brackets(word: &str) -> impl Iterator<Item = &str> {
    let (name, point) = word.split_at(word.find('[').unwrap_or_default());
    [name, point].into_iter().filter(|part| !part.is_empty())
}

/// The text, or as much of it as fits before a "…".
pub fn shorten(text: &str, room: f64, size: f64, always: bool) -> String {
    if !always && text_width(text, size) <= room {
        return text.to_string();
    }
    let mut kept: Vec<char> = text.chars().collect();
    loop {
        let short: String = kept.iter().chain(std::iter::once(&'…')).collect();
        if kept.len() <= 1 || text_width(&short, size) <= room {
            return short;
        }
        kept.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::style::SMALL;

    #[test]
    fn long_labels_are_broken_and_then_cut() {
        let rows = fit("nearest_normal_random, 4 seen", 260.0, SMALL);
        assert!(rows.len() > 1 && rows.iter().all(|row| text_width(row, SMALL) <= 260.0), "{rows:?}");
        assert_eq!(rows.concat().replace(' ', ""), "nearest_normal_random,4seen");
        for (room, expected) in [(400.0, vec!["full[ratio=0.02]"]), (180.0, vec!["full", "[ratio=0.02]"])] {
            assert_eq!(fit("full[ratio=0.02]", room, SMALL), expected, "in {room}");
        }
        assert_eq!(fit("no_projection[ratio=0.02]", 130.0, SMALL).concat(), "no_projection[ratio=0.02]");
        let cut = fit("Donaudampfschifffahrtsgesellschaft", 120.0, SMALL);
        assert!(cut[0].ends_with('…') && text_width(&cut[0], SMALL) <= 120.0, "{cut:?}");
    }
}
