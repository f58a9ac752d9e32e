//! `dmad audit`: whether the numbers that a paper printed agree with each other, and with those of other publications.
//!
//! Owns: the command line and the printed forms. Does not own: any rule (`paper::audit`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use crate::error::Result;
use crate::paper::Published;
use crate::paper::audit::{self, Audit, Checked, Finding};
use crate::paper::statements::Statements;
use crate::report;

const EXAMPLES: &str = "\
Examples:
  dmad audit                            the paper that this program reproduces
  dmad audit paper/published.csv --threshold 0.5
  dmad audit other.csv --statements other.toml --format json

Exit code 1 means that something was found.";

/// Whether a paper's printed numbers agree with each other: means with their rows, values printed in two tables,
/// printed differences with their operands, claimed orders with the values, values with other publications' (by the
/// tolerances of verdicts; never across splits, or one model for all classes and one for each).
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Printed values: table,dataset,class,method,variant,anomalies_per_class,metric,value, and any of source,split,setting,epochs,image_size,url [default: DMAD's]
    #[arg(value_name = "PUBLISHED.csv")]
    published: Option<PathBuf>,
    /// Printed differences and orders [default: DMAD's, as far as their values are in the file]
    #[arg(long, value_name = "FILE")]
    statements: Option<PathBuf>,
    /// The same quantities from other publications, in the same form [default: ADer's benchmark, the methods' papers and code]
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    /// How far a mean may be from the mean of its rows, in percent [default: 0.1, or more where rounding explains more]
    #[arg(long, value_name = "PERCENT", value_parser = super::percent)]
    threshold: Option<f64>,
}

/// Prints what disagrees; true when nothing does.
///
/// # Errors
/// A file that cannot be read or is not of its form, and statements that were named but do not fit the values.
pub fn run(args: &Args, json: bool) -> Result<bool> {
    let published = args.published.as_deref().map_or_else(Published::embedded, Published::read)?;
    let statements = match &args.statements {
        Some(path) => {
            let own = Statements::read(path)?;
            audit::require_all(&published, &own)?;
            own
        }
        None => Statements::embedded()?,
    };
    let second = Published::second(args.sources.as_deref())?;
    let audit = audit::audit(&published, &statements, &second, args.threshold);
    super::print(&if json { format!("{:#}", json!(audit)) } else { text(&audit) })?;
    Ok(audit.findings.is_empty())
}

fn text(audit: &Audit) -> String {
    let found = &audit.findings;
    let head = match found.len() {
        0 => "Nothing disagrees.".to_string(),
        1 => format!("1 number disagrees with the others. Percent.\n{}", table(found)),
        count => format!("{count} numbers disagree with the others. Percent.\n{}", table(found)),
    };
    let mut apart: BTreeMap<&str, usize> = BTreeMap::new();
    audit.apart.iter().for_each(|finding| *apart.entry(&finding.evidence).or_default() += 1);
    let line = |(origins, count)| format!("\nNo contradiction: {count} values of {origins}.");
    format!("{head}\n{}{}", checked(&audit.checked), apart.into_iter().map(line).collect::<String>())
}

fn table(found: &[Finding]) -> String {
    let head = ["what", "where", "printed", "recomputed", "difference", "evidence"];
    let row = |finding: &Finding| {
        let kind = finding.kind.as_str().to_string();
        let (recomputed, difference) = (format!("{:.2}", finding.recomputed), format!("{:+.2}", finding.difference));
        let Finding { place, printed, evidence, .. } = finding;
        vec![kind, place.clone(), printed.clone(), recomputed, difference, evidence.clone()]
    };
    report::ruled(&head, 2..5, found.iter().map(row))
}

fn checked(checked: &Checked) -> String {
    let Checked { means, means_without_rows, repeated, statements, statements_without_values, sources } = checked;
    let mut text = format!(
        "Checked: {means} means against their rows, {repeated} values printed in two tables, {statements} statements of \
         the text, {sources} values of other publications."
    );
    for (count, what) in [
        (means_without_rows, "means without a row for every class"),
        (statements_without_values, "statements about values that the file does not have"),
    ] {
        if *count > 0 {
            text += &format!("\nNot checked: {count} {what}.");
        }
    }
    text
}
