//! One page with everything: tables that can be sorted, rankings, claims, verdicts, figures, maps, costs, provenance,
//! and what is missing. It needs no network and no other file.
//!
//! Owns: the page. Does not own: anything on it. The same records give the same bytes: no clock, no order of listing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::claims::{self, Checked};
use super::figures::{DrawnFigure, Figures};
use super::marks::{Mark, marks};
use super::pivot::{Cell, Pivot, common_labels, name};
use super::render::shown;
use super::verdicts::because;
use super::{Rendered, stage_costs};
use crate::paper::verdict::{Outcome, Verdict, tally};
use crate::record::{Recorded, RecordedRun};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of an experiment. `verdicts` are those on the table that it reproduces; empty = none.
pub fn page(
    recorded: &Recorded,
    tables: &[Rendered],
    figures: &Figures,
    checked: &[Checked],
    verdicts: &[Verdict],
) -> String {
    let experiment = &recorded.experiment;
    let mut body = Body::default();
    body.section("Missing", missing(recorded, figures));
    body.section("Tables", tables.iter().map(table).collect());
    body.section("Figures", figure_list(figures));
    body.section("Claims", if checked.is_empty() { String::new() } else { claims_table(checked) });
    body.section("Verdicts", if verdicts.is_empty() { String::new() } else { verdicts_table(verdicts) });
    body.section("Maps", gallery(figures));
    body.section("Costs", format!("<div class=\"scroll\"><pre>{}</pre></div>", escaped(&stage_costs(recorded))));
    body.section("Provenance", provenance(recorded));
    let title = escaped(&experiment.title);
    let labels: String = common_labels(recorded)
        .iter()
        .map(|label| format!("<p class=\"label\">All runs: {}</p>", escaped(label)))
        .collect();
    let Body { links, sections } = body;
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>Experiment <code>{}</code>: {} of {} runs \
         recorded.</p>\n{labels}\n<nav>{links}</nav>\n{sections}<dialog><img alt=\"\"></dialog>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        escaped(&experiment.name),
        recorded.runs.len(),
        experiment.runs.len(),
    )
}

/// Sections and the links to them.
#[derive(Default)]
struct Body {
    links: String,
    sections: String,
}

impl Body {
    /// Adds a section unless there is nothing in it.
    fn section(&mut self, title: &str, content: String) {
        if !content.is_empty() {
            let id = title.to_lowercase();
            self.links += &format!("<a href=\"#{id}\">{title}</a>\n");
            self.sections += &format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{content}\n</section>\n");
        }
    }
}

/// Text in which HTML sees nothing but text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn missing(recorded: &Recorded, figures: &Figures) -> String {
    let mut out = String::new();
    for run in recorded.experiment.runs.iter().filter(|run| recorded.missing.contains(&run.spec.id())) {
        let spec = &run.spec;
        let seen = spec.protocol.seen.count;
        let what =
            format!("{}, {}, {seen} seen, seed {}: not run ({})", spec.variant, spec.dataset, spec.seed, spec.id());
        out += &format!("<p class=\"missing\">{}</p>\n", escaped(&what));
    }
    for run in &recorded.runs {
        if let Some(message) = &run.failure {
            let what = format!("{}, seed {}: failed ({}): {message}", run.spec.variant, run.spec.seed, run.id);
            out += &format!("<p class=\"missing\">{}</p>\n", escaped(&what));
        }
    }
    if !recorded.others.is_empty() {
        let what = format!(
            "Recorded with other settings than the experiment's, and not shown: {}",
            recorded.others.join(", ")
        );
        out += &format!("<p class=\"missing\">{}</p>\n", escaped(&what));
    }
    for what in &figures.missing {
        out += &format!("<p class=\"missing\">{}</p>\n", escaped(what));
    }
    out
}

/// A table that can be sorted: head, rows of (text, number to sort by, class).
fn sortable(head: &[String], rows: &[Vec<Field>]) -> String {
    let mut out = "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>".to_string();
    for label in head {
        out += &format!("<th scope=\"col\">{}</th>", escaped(label).replace('\n', "<br>"));
    }
    out += "</tr></thead><tbody>\n";
    for row in rows {
        out += "<tr>";
        for Field { text, value, class } in row {
            let value = value.map(|value| format!(" data-value=\"{value}\"")).unwrap_or_default();
            let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
            out += &format!("<td{class}{value}>{}</td>", escaped(text));
        }
        out += "</tr>\n";
    }
    out + "</tbody></table></div>\n"
}

/// One field of a sortable table.
struct Field {
    text: String,
    value: Option<f64>,
    class: &'static str,
}

impl Field {
    fn text(text: impl Into<String>) -> Self {
        Field { text: text.into(), value: None, class: "" }
    }

    fn number(text: impl Into<String>, value: Option<f64>) -> Self {
        Field { text: text.into(), value, class: "" }
    }

    fn long(text: impl Into<String>) -> Self {
        Field { text: text.into(), value: None, class: "text" }
    }
}

fn table(table: &Rendered) -> String {
    let notes: String = table.notes.iter().map(|note| format!("<li>{}</li>", escaped(note))).collect();
    let rankings: String = table
        .rankings
        .iter()
        .map(|ranking| {
            let head = ranking.head().map(String::from);
            let rows: Vec<Vec<Field>> = ranking.rows().into_iter().map(ranked).collect();
            format!("<h3>{}</h3>\n{}", escaped(&ranking.title()), sortable(&head, &rows))
        })
        .collect();
    format!("<h3>{}</h3>\n{}{rankings}<ul class=\"notes\">{notes}</ul>\n", escaped(&table.title), pivot(&table.pivot))
}

/// Texts of a ranking; what begins with a number is sorted by it.
fn ranked(cells: Vec<String>) -> Vec<Field> {
    let number = |text: &str| text.split(' ').next().and_then(|first| first.parse().ok());
    cells.into_iter().map(|text| Field::number(text.clone(), number(&text))).collect()
}

fn pivot(pivot: &Pivot) -> String {
    let labels = pivot.columns.iter().map(|column| column.label());
    let head: Vec<String> = std::iter::once(name(pivot.dimension).to_string()).chain(labels).collect();
    let field = |(cell, mark): (&Cell, &Mark)| match (cell, mark) {
        (Cell::Value(mean, ..), Mark::Best) => Field { text: shown(cell), value: Some(*mean), class: "best" },
        (Cell::Value(mean, ..), Mark::Second) => Field { text: shown(cell), value: Some(*mean), class: "second" },
        (Cell::Value(mean, ..) | Cell::Partial(mean, ..), _) => Field::number(shown(cell), Some(*mean)),
        _ => Field { text: shown(cell), value: None, class: "none" },
    };
    let row = |((label, cells), marks): ((&String, &Vec<Cell>), &Vec<Mark>)| {
        let first = Field::number(label.clone(), label.parse().ok());
        std::iter::once(first).chain(cells.iter().zip(marks).map(field)).collect()
    };
    let rows = pivot.rows.iter().zip(&pivot.cells);
    sortable(&head, &rows.zip(&marks(pivot)).map(row).collect::<Vec<_>>())
}

fn claims_table(checked: &[Checked]) -> String {
    let head = ["claim", "compared", "metric", "gain", "difference [95 %]", "seeds", "answer", "because"];
    let row = |item: &Checked| {
        let answer = item.standing.as_str();
        let class = match answer {
            "supported" => "supported",
            "not supported" => "not-supported",
            _ => "",
        };
        let estimate = item.evidence.interval.map(|interval| interval.estimate);
        vec![
            Field::long(&item.claim.text),
            Field::long(item.compared()),
            Field::text(item.claim.metric.as_str()),
            Field::number(item.claim.gain.to_string(), Some(item.claim.gain)),
            Field::number(item.difference(), estimate),
            Field::number(item.evidence.seeds.to_string(), Some(item.evidence.seeds as f64)),
            Field { text: answer.into(), value: None, class },
            Field::long(item.because()),
        ]
    };
    let rows: Vec<_> = checked.iter().map(row).collect();
    format!("<p>{}</p>\n{}", claims::NOTE, sortable(&head.map(String::from), &rows))
}

fn verdicts_table(verdicts: &[Verdict]) -> String {
    let head = ["printed value", "printed", "ours", "seeds", "95 %", "difference", "tolerance", "verdict", "because"];
    let row = |verdict: &Verdict| {
        let number = |value: Option<f64>, text: String| match value {
            Some(value) => Field::number(text, Some(value)),
            None => Field::text("–"),
        };
        let spread = verdict.sd.map(|sd| format!(" ± {sd:.1}")).unwrap_or_default();
        let interval = verdict.interval.map_or("–".into(), |i| format!("[{:.1}, {:.1}]", i.low, i.high));
        let class = match verdict.outcome {
            Outcome::Reproduced | Outcome::Better => "reproduced",
            Outcome::Worse => "worse",
            _ => "none",
        };
        vec![
            Field::text(verdict.cell.key.to_string()),
            Field::number(verdict.cell.value.to_string(), Some(verdict.cell.value.value())),
            number(verdict.mean, format!("{:.1}{spread}", verdict.mean.unwrap_or_default())),
            Field::number(verdict.seeds.to_string(), Some(verdict.seeds as f64)),
            Field::text(interval),
            number(verdict.difference, format!("{:+.1}", verdict.difference.unwrap_or_default())),
            Field::number(format!("{:.1}", verdict.tolerance), Some(verdict.tolerance)),
            Field { text: verdict.outcome.as_str().into(), value: None, class },
            Field::long(because(verdict).join("; ")),
        ]
    };
    let (run, not_run): (Vec<&Verdict>, Vec<&Verdict>) = verdicts.iter().partition(|v| v.outcome != Outcome::NotRun);
    let shown = |verdicts: Vec<&Verdict>| {
        let rows: Vec<_> = verdicts.into_iter().map(row).collect();
        if rows.is_empty() { String::new() } else { sortable(&head.map(String::from), &rows) }
    };
    let count = tally(verdicts.iter().map(|verdict| &verdict.outcome));
    let hidden = match not_run.len() {
        0 => String::new(),
        many => format!("<details><summary>The {many} that were not run</summary>\n{}</details>\n", shown(not_run)),
    };
    format!("<p>{count}</p>\n{}{hidden}", shown(run))
}

/// An image inside the page, which opens large.
fn embedded(bytes: &[u8], kind: &str, caption: &str) -> String {
    let caption = escaped(caption);
    let data = BASE64.encode(bytes);
    format!(
        "<figure><button><img alt=\"{caption}\" src=\"data:image/{kind};base64,{data}\"></button>\
         <figcaption>{caption}</figcaption></figure>\n",
    )
}

fn figure_list(figures: &Figures) -> String {
    let caption = |figure: &DrawnFigure| match figure.title.as_str() {
        "" => format!("Figure {}", figure.number),
        title => format!("Figure {}: {title}", figure.number),
    };
    let each = figures.drawn.iter().map(|figure| embedded(figure.svg.as_bytes(), "svg+xml", &caption(figure)));
    let each: String = each.collect();
    if each.is_empty() { each } else { format!("<div class=\"grid\">\n{each}</div>") }
}

/// The pictures of all grids of maps, one strip for each test image.
fn gallery(figures: &Figures) -> String {
    let mut out = String::new();
    for strip in figures.drawn.iter().flat_map(|figure| &figure.strips) {
        let each: String = strip.pictures.iter().map(|(label, png)| embedded(png, "png", label)).collect();
        out += &format!("<h3>{}</h3>\n<div class=\"gallery\">\n{each}</div>\n", escaped(&strip.caption));
    }
    out
}

fn provenance(recorded: &Recorded) -> String {
    let head = [
        "run",
        "variant",
        "dataset",
        "seen",
        "seed",
        "labels",
        "version",
        "revision",
        "device",
        "processor",
        "threads",
        "seconds",
        "peak GB",
        "dataset digest",
        "weights digest",
    ];
    let row = |run: &RecordedRun| {
        let text = |path: &[&str]| match run.value(path) {
            Some(toml::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "–".into(),
        };
        let number = |path: &[&str]| run.value(path).and_then(|v| v.as_float().or(v.as_integer().map(|i| i as f64)));
        let scaled = |path: &[&str], scale: f64| match number(path) {
            Some(value) => Field::number(format!("{:.1}", value * scale), Some(value)),
            None => Field::text("–"),
        };
        let digest = |text: &str| Field::text(text.chars().take(16).collect::<String>());
        let dirty = run.value(&["environment", "git_dirty"]).and_then(toml::Value::as_bool) == Some(true);
        let revision: String = text(&["environment", "git_revision"]).chars().take(12).collect();
        vec![
            Field::text(&run.id),
            Field::text(&run.spec.variant),
            Field::text(&run.spec.dataset),
            Field::number(run.spec.protocol.seen.count.to_string(), Some(run.spec.protocol.seen.count as f64)),
            Field::number(run.spec.seed.to_string(), Some(run.spec.seed as f64)),
            Field::long(run.labels.join("; ")),
            Field::text(text(&["environment", "crate_version"])),
            Field::text(if dirty { format!("{revision} with changes") } else { revision }),
            Field::text(text(&["provenance", "device"])),
            Field::text(text(&["environment", "cpu"])),
            Field::number(text(&["provenance", "threads"]), number(&["provenance", "threads"])),
            scaled(&["provenance", "wall_seconds"], 1.0),
            scaled(&["provenance", "peak_memory_bytes"], 1e-9),
            digest(&run.dataset_digest),
            digest(&run.weights_digest),
        ]
    };
    sortable(&head.map(String::from), &recorded.runs.iter().map(row).collect::<Vec<_>>())
}
