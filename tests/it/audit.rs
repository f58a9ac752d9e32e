//! `dmad audit`: it finds what is wrong in the paper, what is put wrong into a copy of it, and nothing else.

use std::path::Path;

use dmad::paper::Published;
use dmad::paper::audit::{Audit, Disagreement, audit};
use dmad::paper::statements::{EMBEDDED as STATEMENTS, Statements};

use crate::program::Sandbox;

const HEADER: &str = "table,dataset,class,method,variant,anomalies_per_class,metric,value";

/// The eight means whose rows say something else: place, printed, mean of the rows.
const MEANS: [(&str, &str, f64); 8] = [
    ("table1 mvtec_ad mean dra 5 image_ap", "99.1", 93.97),
    ("table1 mvtec_ad mean dmad 5 image_auroc", "98.3", 98.13),
    ("table1 mvtec_ad mean dra 10 image_auroc", "88.4", 89.43),
    ("table1 visa mean simplenet 0 image_auroc", "88.0", 88.38),
    ("table1 visa mean dra 5 image_auroc", "86.9", 86.08),
    ("table3 mvtec_ad mean uniad 0 pixel_auroc", "96.8", 96.91),
    ("table3 mvtec_ad mean simplenet 0 pixel_auroc", "96.5", 96.73),
    ("table3 visa mean simplenet 0 pixel_auroc", "97.5", 97.99),
];

/// The statements that do not follow from the tables.
const STATED: [(&str, &str, f64); 3] = [
    ("text, comparison on VisA, image AP", "42.9", 27.6),
    ("Table 5, macaroni1, pixel AUROC, supervised others", "+1.2", 1.3),
    ("Table 5, macaroni1, pixel AUROC, supervised", "+1.7", 1.8),
];

/// The means that ADer's benchmark contradicts, the first after 100 epochs and the others after 300.
const SOURCES: [(&str, &str, f64); 5] = [
    ("table1 mvtec_ad mean uniad 0 image_auroc", "96.5", 92.5),
    ("table1 mvtec_ad mean simplenet 0 image_auroc", "94.8", 79.2),
    ("table1 mvtec_ad mean simplenet 0 image_ap", "98.1", 90.8),
    ("table3 mvtec_ad mean simplenet 0 pixel_auroc", "96.5", 82.4),
    ("table3 mvtec_ad mean simplenet 0 pixel_ap", "48.0", 24.0),
];

fn paper() -> String {
    dmad::paper::EMBEDDED.to_string()
}

fn audited(table: &str, statements: &str, threshold: Option<f64>) -> Audit {
    let published = Published::parse(table, Path::new("copy.csv")).expect("a table");
    let statements = Statements::parse(statements, Path::new("copy.toml")).expect("statements");
    let second = Published::second(None).expect("the built-in sources");
    audit(&published, &statements, &second, threshold)
}

/// Places of what was found in a paper but not in the untouched one.
fn new_findings(table: &str, statements: &str) -> Vec<(Disagreement, String)> {
    let before = audited(&paper(), STATEMENTS, None).findings;
    let after = audited(table, statements, None).findings;
    after.into_iter().filter(|found| !before.contains(found)).map(|found| (found.kind, found.place)).collect()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} must stand there once");
    text.replace(from, to)
}

#[test]
fn the_papers_eight_means_two_deltas_one_gain_and_five_other_sources_are_found_and_nothing_else() {
    let audit = audited(&paper(), STATEMENTS, None);
    let expected: Vec<_> = MEANS.iter().chain(&STATED).chain(&SOURCES).collect();
    assert_eq!(audit.findings.len(), expected.len(), "{:#?}", audit.findings);
    for (found, (place, printed, recomputed)) in audit.findings.iter().zip(expected) {
        assert_eq!((found.place.as_str(), found.printed.as_str()), (*place, *printed));
        assert!((found.recomputed - recomputed).abs() < 0.006, "{found:?}");
        let printed: f64 = found.printed.parse().expect("a number");
        assert!((found.difference - (printed - found.recomputed)).abs() < 1e-9, "{found:?}");
    }
    let checked = audit.checked;
    // Table 1: 12 columns of two metrics on two datasets; Table 3: 9. Tables 2 and 4 have no rows by class.
    assert_eq!((checked.means, checked.means_without_rows), (48 + 36, 15 + 14));
    // Table 4 repeats four values, Table 5 two rows of three classes with two metrics.
    assert_eq!(checked.repeated, 4 + 12);
    assert_eq!((checked.statements, checked.statements_without_values), (67, 0));
    // VisA's other split, and DRA's one model for each class, contradict nothing.
    assert_eq!((checked.sources, audit.apart.len()), (22, 30));
}

#[test]
fn the_program_prints_the_evidence_and_ends_with_1() {
    let sandbox = Sandbox::new();
    let out = sandbox.dmad(&["audit"]);
    assert_eq!(out.code, 1, "{}", out.stderr);
    assert!(out.stdout.starts_with("16 numbers disagree"), "{}", out.stdout);
    let said = MEANS.iter().zip(["mean"; 8]).chain(STATED.iter().zip(["statement"; 3]));
    for ((place, printed, recomputed), kind) in said.chain(SOURCES.iter().zip(["source"; 5])) {
        let is_own = |line: &&str| line.starts_with(&format!(" {kind} ")) && line.contains(&format!(" {place}  "));
        let line = out.stdout.lines().find(is_own).expect(place);
        let cells: Vec<&str> = line.split_whitespace().collect();
        let at = cells.iter().position(|cell| cell == printed).expect(printed);
        assert_eq!(cells[at + 1], format!("{recomputed:.2}"), "{line}");
    }
    let apart = "14 values of DMAD (split 2cls_fewshot, unified setting, epochs not said, pixels not said) against ADer's \
        benchmark (split 1cls, unified setting, 100 epochs, 256 pixels).";
    assert!(out.stdout.contains(apart), "{}", out.stdout);
    assert!(out.stdout.contains("42.9 is itself table1 visa mean uniad 0 image_ap"), "{}", out.stdout);
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.dmad(&["audit", "--format", "json"]).stdout).expect("JSON");
    assert_eq!(json["findings"].as_array().expect("a list").len(), 16);
    assert_eq!(json["findings"][0]["printed"], "99.1");
    assert_eq!(json["checked"]["means"], 84);
}

#[test]
fn a_copy_without_faults_ends_with_0_and_a_broken_one_with_2() {
    let sandbox = Sandbox::new();
    let good = format!(
        "{HEADER}\nt,d,a,m,full,0,image_ap,90.0\nt,d,b,m,full,0,image_ap,80.0\nt,d,mean,m,full,0,image_ap,85.0\n"
    );
    sandbox.write("good.csv", &good);
    let out = sandbox.dmad(&["audit", "good.csv"]);
    assert_eq!(out.code, 0, "{}{}", out.stdout, out.stderr);
    assert!(out.stdout.starts_with("Nothing disagrees.\nChecked: 1 means"), "{}", out.stdout);
    assert!(out.stdout.contains("67 statements about values that the file does not have"), "{}", out.stdout);
    sandbox.write("bad.csv", good.replace("90.0", "9o.0"));
    sandbox.dmad(&["audit", "bad.csv"]).says(2, &["bad.csv: line 2", "9o.0"]);
    sandbox.dmad(&["audit", "none.csv"]).says(2, &["none.csv"]);
    sandbox.dmad(&["audit", "--threshold", "101"]).says(2, &["a number from 0 to 100"]);
    sandbox.write("statements.toml", STATEMENTS);
    let named = ["audit", "good.csv", "--statements", "statements.toml"];
    sandbox.dmad(&named).says(2, &["statements.toml: speaks of table1 visa mean dmad 0 image_auroc", "good.csv"]);
}

#[test]
fn a_fault_put_into_a_mean_or_into_a_row_is_found() {
    let row = "table1,visa,candle,dmad,full,1,image_auroc,";
    let mean = "table1,visa,mean,dmad,full,1,image_auroc,90.9";
    let paper = paper();
    let expected = vec![(Disagreement::Mean, "table1 visa mean dmad 1 image_auroc".to_string())];
    assert_eq!(new_findings(&replaced(&paper, mean, &mean.replace("90.9", "91.2")), STATEMENTS), expected);
    let line = paper.lines().find(|line| line.starts_with(row)).expect("a row");
    let changed = format!("{row}12.5,{}", line.splitn(9, ',').last().expect("where it is from"));
    assert_eq!(new_findings(&replaced(&paper, line, &changed), STATEMENTS), expected);
    // Without a row the mean cannot be recomputed, so nothing may be said of it.
    assert_eq!(new_findings(&replaced(&paper, &format!("{line}\n"), ""), STATEMENTS), []);
}

#[test]
fn a_value_that_two_tables_print_differently_is_found_also_under_another_name() {
    let table4 = "table4,mvtec_ad,mean,dmad,full,0,image_auroc,96.3";
    let found = new_findings(&replaced(&paper(), table4, &table4.replace("96.3", "96.4")), STATEMENTS);
    assert!(found.contains(&(Disagreement::Tables, "table4 mvtec_ad mean dmad 0 image_auroc".into())), "{found:?}");
    let table5 = "table5,visa,pcb2,dmad,supervised,10,image_auroc,98.5";
    let found = new_findings(&replaced(&paper(), table5, &table5.replace("98.5", "98.9")), STATEMENTS);
    assert!(
        found.contains(&(Disagreement::Tables, "table5 visa pcb2 dmad supervised 10 image_auroc".into())),
        "{found:?}"
    );
    // One more decimal is no disagreement.
    assert_eq!(new_findings(&replaced(&paper(), table5, &table5.replace("98.5", "98.52")), STATEMENTS).len(), 0);
}

#[test]
fn a_changed_gain_and_a_broken_order_are_found() {
    let gain = replaced(STATEMENTS, "printed = \"5.8\"", "printed = \"5.9\"");
    let expected = vec![(Disagreement::Statement, "text, comparison on VisA, image AUROC".to_string())];
    assert_eq!(new_findings(&paper(), &gain), expected);
    let par = replaced(STATEMENTS, "within = 1.0", "within = 0.1");
    let expected = vec![(Disagreement::Statement, "text and Table 1, MVTec-AD, image AUROC, none seen".to_string())];
    assert_eq!(new_findings(&paper(), &par), expected);
    let attention = "table4,mvtec_ad,mean,dmad,no_center_sampling-attn,10,image_auroc,95.4";
    let found = new_findings(&replaced(&paper(), attention, &attention.replace("95.4", "98.7")), STATEMENTS);
    assert_eq!(found, [(Disagreement::Statement, "text and Table 4, attention with anomalies, image AUROC".into())]);
}

#[test]
fn a_lower_threshold_finds_more_and_rounding_alone_is_never_a_finding_by_default() {
    assert_eq!(audited(&paper(), STATEMENTS, Some(0.05)).findings.len(), 27);
    assert_eq!(audited(&paper(), STATEMENTS, Some(100.0)).findings.len(), 8);
    // Rows of 90.5, 90.5 round to 91, 91 while their mean may be printed as 90.5: half a unit, all of it rounding.
    let whole = |mean: &str| {
        format!("{HEADER}\nt,d,a,m,full,0,image_ap,91\nt,d,b,m,full,0,image_ap,91\nt,d,mean,m,full,0,image_ap,{mean}\n")
    };
    assert_eq!(audited(&whole("90.5"), "", None).findings.len(), 0);
    assert_eq!(audited(&whole("90.4"), "", None).findings.len(), 1);
}

#[test]
fn broken_statements_are_refused_with_their_place() {
    let fault = |text: &str| Statements::parse(text, Path::new("said.toml")).expect_err("broken").to_string();
    let good = "[[difference]]\nplace = \"here\"\nsays = \"more\"\nprinted = \"1.0\"\n\
        of = { table = \"t\", dataset = \"d\", class = \"a\", method = \"m\", anomalies_per_class = 0, metric = \"image_ap\" }\n\
        over = { method = \"n\" }\n";
    assert_eq!(Statements::parse(good, Path::new("said.toml")).expect("statements").differences.len(), 1);
    for (from, to, words) in [
        ("\"1.0\"", "1.0", "said.toml:4:11: invalid type"),
        ("\"1.0\"", "\"one\"", "said.toml:4:11: `printed` is the number"),
        ("class = \"a\", ", "", "said.toml:5:6: the value has no `class`"),
        ("image_ap", "image_app", "said.toml:5:6: image_app is no metric"),
        ("says", "say", "said.toml:3:1: unknown field"),
        ("[[difference]]", "[[difference]", "said.toml:1:"),
    ] {
        let message = fault(&replaced(good, from, to));
        assert!(message.contains(words), "{words:?} is not in {message}");
    }
    let lonely = "[[order]]\nplace = \"here\"\nsays = \"more\"\nrising = [{ table = \"t\" }]\n";
    assert!(fault(lonely).contains("said.toml:4:10: an order needs two values"), "{}", fault(lonely));
}
