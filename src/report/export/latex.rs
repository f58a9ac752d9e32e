//! Tables for a paper: LaTeX with booktabs, the best number in bold, the second underlined.
//!
//! Owns: the `tabular`. Does not own: which numbers are best (`marks`), float, caption and label, which belong to the paper that
//! includes the file.

use super::{Exporter, Sheet};
use crate::metrics::MetricName;
use crate::record::MEAN;
use crate::report::Rendered;
use crate::report::claims::{self, Checked};
use crate::report::marks::{Mark, marks};
use crate::report::pivot::{Cell, Column, Pivot};
use crate::report::ranking::{Ranked, Ranking};
use crate::spec::Dimension;

pub struct Latex;

impl Exporter for Latex {
    fn ending(&self) -> Option<&'static str> {
        Some("tex")
    }

    fn table(&self, table: &Rendered) -> String {
        tabular(&table.pivot, &table.title)
    }

    /// What belongs below the table: title, number of seeds, labels, definitions, what is missing; and how variants compare.
    fn beside(&self, table: &Rendered) -> Vec<(&'static str, String)> {
        let compared = (!table.rankings.is_empty()).then(|| ("_ranking.tex", rankings(table)));
        let told: Vec<String> = table.notes.iter().map(|note| as_in_heads(note)).collect();
        [("_notes.tex", notes(&table.title, &told))].into_iter().chain(compared).collect()
    }

    fn claims(&self, checked: &[Checked]) -> String {
        let row = |item: &Checked| {
            let [claim, compared, _, claimed, difference, seeds, answer, _] = item.row();
            // One claim of several swept variants has several answers; one that names its variants in full says itself what
            // was compared.
            let named = [&item.claim.better, &item.claim.than].map(|side| side.variant());
            let is_named = item.arms.each_ref().map(|arm| &arm.variant) == named;
            let which = if is_named { item.dataset().into_owned() } else { compared };
            let [claim, which, claimed, answer] = [claim, which, claimed, answer].map(|text| escaped(&text));
            vec![claim, which, claimed, in_math(&difference), seeds, answer]
        };
        let head = ["claim", "dataset", "claimed", "difference [95 %]", "seeds", "answer"];
        let sheet = Sheet::new(&head.map(escaped).each_ref().map(String::as_str), checked.iter().map(row));
        plain("p{0.38\\linewidth}lllll", &sheet) + "\n" + &notes("Claims", &[claims::NOTE.into()])
    }
}

/// Title and notes of a table as running text, a line each.
pub fn notes(title: &str, notes: &[String]) -> String {
    let line = |text: &str| escaped(&text.replace('\n', " "));
    let notes: String = notes.iter().map(|note| format!("{}\n", line(note))).collect();
    match title.trim() {
        "" => notes,
        title => format!("\\textbf{{{}.}}\n{notes}", line(title)),
    }
}

/// A note that begins with a metric, by the name that heads of tables have for it.
fn as_in_heads(note: &str) -> String {
    let rest = |metric: &MetricName| note.strip_prefix(metric.as_str()).filter(|rest| rest.starts_with([':', ' ']));
    let told = MetricName::ALL.iter().find_map(|metric| Some(metric.kind().words.to_string() + rest(metric)?));
    told.unwrap_or_else(|| note.into())
}

/// How the variants compare by each metric, each below a line that says with what.
fn rankings(table: &Rendered) -> String {
    let group = |(number, ranking): (usize, &Ranking)| {
        let rule = if number > 0 { "\\midrule\n" } else { "" };
        let place = |place: &Ranked| {
            let (mean, difference) = (Cell::Value(place.mean, place.sd, place.seeds), place.difference.as_ref());
            let difference = difference.map(|evidence| in_math(&claims::difference(evidence)));
            vec![
                escaped(&place.label),
                set(&mean, Mark::None),
                place.seeds.to_string(),
                difference.unwrap_or_default(),
                escaped(&ranking.remark(place)),
            ]
        };
        let title = vec![format!(
            "{rule}\\multicolumn{{5}}{{l}}{{{}}}",
            escaped(&ranking.title_by(ranking.metric.kind().words))
        )];
        std::iter::once(title).chain(ranking.places.iter().map(place)).collect::<Vec<_>>()
    };
    let head = ["variant", "mean", "seeds", "difference {[}95 \\%]", ""];
    plain("lrrll", &Sheet::new(&head, table.rankings.iter().enumerate().flat_map(group)))
}

/// A difference with its interval, signs as mathematics has them.
fn in_math(difference: &str) -> String {
    let number = |word: &str| {
        let start = word.len() - word.trim_start_matches('[').len();
        let end = word.trim_end_matches([',', ']']).len();
        let (before, own, after) = (&word[..start], &word[start..end.max(start)], &word[end.max(start)..]);
        let own = if own.starts_with(['+', '-']) { format!("${own}$") } else { escaped(own) };
        escaped(before) + &own + &escaped(after)
    };
    difference.split(' ').map(number).collect::<Vec<_>>().join(" ")
}

/// A `tabular` of cells in LaTeX; columns are as `columns` says in its letters.
fn plain(columns: &str, sheet: &Sheet) -> String {
    let line = |cells: &Vec<String>| format!("{} \\\\\n", cells.join(" & "));
    let rows: String = sheet.rows.iter().map(line).collect();
    format!(
        "% Needs \\usepackage{{booktabs}}.\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{}\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n",
        line(&sheet.head)
    )
}

/// The table as a `tabular`.
fn tabular(pivot: &Pivot, title: &str) -> String {
    let mut out = format!("% {}\n% Needs \\usepackage{{booktabs}}.\n", title.replace('\n', " "));
    out +=
        "% Too wide? \\resizebox{\\columnwidth}{!}{\\input{...}} of graphicx, or fewer `metrics` in the [[table]].\n";
    out += &format!("\\begin{{tabular}}{{l{}}}\n\\toprule\n{}", "r".repeat(pivot.columns.len()), head(pivot));
    out += "\\midrule\n";
    let marks = marks(pivot);
    for (number, (row, cells)) in pivot.rows.iter().zip(&pivot.cells).enumerate() {
        if pivot.dimension == Dimension::Class && row == MEAN && number > 0 {
            out += "\\midrule\n";
        }
        let cells = cells.iter().zip(&marks[number]).map(|(cell, mark)| set(cell, *mark));
        let cells: Vec<String> = std::iter::once(tagged(row)).chain(cells).collect();
        out += &format!("{} \\\\\n", cells.join(" & "));
    }
    out + "\\bottomrule\n\\end{tabular}\n"
}

/// The name of a row, with the letters of its labels above the line.
fn tagged(row: &str) -> String {
    match row.strip_suffix(']').and_then(|row| row.rsplit_once(" [")) {
        Some((name, letters)) => format!("{}\\textsuperscript{{{}}}", escaped(name), escaped(letters)),
        None => escaped(row),
    }
}

/// One line per column dimension, equal neighbours joined, then the metrics.
fn head(pivot: &Pivot) -> String {
    let levels = pivot.columns.first().map_or(0, |column| column.labels.len());
    let mut out = String::new();
    for level in 0..levels {
        let (mut cells, mut rules) = (String::new(), String::new());
        let mut start = 0;
        let same = |a: &Column, b: &Column| a.labels[..=level] == b.labels[..=level];
        for group in pivot.columns.chunk_by(same) {
            let (first, last) = (start + 2, start + 1 + group.len());
            cells += &format!(" & \\multicolumn{{{}}}{{c}}{{{}}}", group.len(), escaped(&group[0].labels[level]));
            rules += &format!("\\cmidrule(lr){{{first}-{last}}}");
            start += group.len();
        }
        out += &format!("{cells} \\\\\n{rules}\n");
    }
    let metrics: String = pivot.columns.iter().map(|column| format!(" & {}", column.metric.kind().words)).collect();
    out + &format!("{}{metrics} \\\\\n", pivot.dimension.head())
}

fn set(cell: &Cell, mark: Mark) -> String {
    let (mean, sd) = match cell {
        Cell::Value(mean, sd, _) => (mean, sd),
        Cell::Partial(..) => return escaped(&cell.shown()),
        Cell::Undefined(_) | Cell::Failed(_) => return format!("{{\\footnotesize {}}}", cell.shown()),
        Cell::Undeclared => return "--".into(),
        Cell::Missing => return "{\\footnotesize not run}".into(),
        Cell::Unavailable => return "{\\footnotesize not available}".into(),
    };
    let mean = format!("{:.1}", 100.0 * mean);
    let mean = match mark {
        Mark::Best => format!("\\textbf{{{mean}}}"),
        Mark::Second => format!("\\underline{{{mean}}}"),
        Mark::None => mean,
    };
    match sd {
        Some(sd) => format!("{mean} $\\pm$ {:.1}", 100.0 * sd),
        None => mean,
    }
}

/// Text in which LaTeX sees nothing but text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_quoted = false;
    for letter in text.chars() {
        match letter {
            // The first of a pair opens, the second closes.
            '"' => {
                is_quoted = !is_quoted;
                out += if is_quoted { "``" } else { "''" };
            }
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', letter]),
            // After the end of a row LaTeX would take these for an option.
            '[' | '*' => out.extend(['{', letter, '}']),
            '±' => out += "$\\pm$",
            '–' => out += "--",
            '×' => out += "$\\times$",
            '≥' => out += "$\\ge$",
            '≤' => out += "$\\le$",
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_bold_the_second_underlined_and_equal_numbers_are_marked_alike() {
        let column = |method: &str, seen: &str| Column {
            head: vec![(Dimension::SeenAnomalies, seen.into()), (Dimension::Method, method.into())],
            labels: vec![format!("{seen} seen"), method.into()],
            metric: MetricName::ImageAuroc,
        };
        let value = |mean: f64| Cell::Value(mean, Some(0.01), 3);
        let pivot = Pivot {
            dimension: Dimension::Class,
            rows: vec!["a_b".into(), MEAN.into()],
            columns: vec![column("x", "0"), column("y", "0"), column("z", "0"), column("x", "1"), column("dra", "1")],
            cells: vec![
                vec![value(0.9), value(0.9004), value(0.8), value(0.99), Cell::Unavailable],
                vec![value(0.7), value(0.8), value(0.9), Cell::Missing, Cell::Unavailable],
            ],
            labels: Vec::new(),
        };
        let text = tabular(&pivot, "Title");
        assert!(text.starts_with("% Title\n"), "{text}");
        let head = " & \\multicolumn{3}{c}{0 seen} & \\multicolumn{2}{c}{1 seen} \\\\\n\\cmidrule(lr){2-4}\\cmidrule(lr){5-6}\n";
        assert!(text.contains(head), "{text}");
        let first = "a\\_b & \\textbf{90.0} $\\pm$ 1.0 & \\textbf{90.0} $\\pm$ 1.0 & \\underline{80.0} $\\pm$ 1.0 & 99.0 $\\pm$ 1.0 & {\\footnotesize not available} \\\\";
        assert!(text.contains(first), "{text}");
        let mean = "\\midrule\nmean & 70.0 $\\pm$ 1.0 & \\underline{80.0} $\\pm$ 1.0 & \\textbf{90.0} $\\pm$ 1.0 & {\\footnotesize not run}";
        assert!(text.contains(mean), "{text}");
        assert_eq!(in_math("-1.3 [-4.2, +1.7]"), "$-1.3$ {[}$-4.2$, $+1.7$]");
        assert_eq!(in_math("–"), "--");
        for (note, expected) in [
            ("image_auroc: over all images", "image AUROC: over all images"),
            ("image_auroc of full: over all images", "image AUROC of full: over all images"),
            ("image_auroc_x: no metric", "image_auroc_x: no metric"),
        ] {
            assert_eq!(as_in_heads(note), expected);
        }
        assert_eq!(notes("A_b", &["50 %".into()]), "\\textbf{A\\_b.}\n50 \\%\n");
    }
}
