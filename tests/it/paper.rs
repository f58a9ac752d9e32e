//! The document of the study: built by a plain LaTeX from what `report` writes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture;
use crate::program::Sandbox;

/// Builds the document from `results` and returns the PDF and the log.
fn build(results: &Path, out: &Path) -> (Vec<u8>, String) {
    std::fs::create_dir_all(out).expect("a folder");
    let document = format!("\\def\\results{{{}}}\\input{{paper/main.tex}}", results.display());
    let made = Command::new("pdflatex")
        .args(["-interaction=nonstopmode", "-halt-on-error", "-output-directory"])
        .arg(out)
        .arg(document)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("pdflatex");
    let log = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success(), "{log}");
    (std::fs::read(out.join("main.pdf")).expect("a PDF"), log)
}

#[test]
#[cfg_attr(not(dmad_latex), ignore = "needs pdflatex (Debian: texlive-latex-recommended)")]
fn the_document_builds_from_records_the_same_again_and_without_any() {
    let sandbox = Sandbox::new();
    let (_, log) = build(&sandbox.path("results"), &sandbox.path("empty"));
    assert!(!log.contains("/tables/") && !log.contains("Overfull"), "nothing was run: {log}");
    fixture::copy_to(&sandbox.path("results"));
    let copy = std::fs::read_to_string(sandbox.path("results/judged/experiment.toml")).expect("a copy");
    let figures = "\n[[figure]]\nkind = \"bars\"\ntitle = \"50 % & more_\"\n";
    sandbox.write("results/judged/experiment.toml", &(copy + figures));
    sandbox.dmad(&["report", "results/judged"]);
    // Tables of one study on the paper's data, figures of one mini twin.
    let place = |name: &str| -> PathBuf { sandbox.path(&format!("results/{name}")) };
    for name in ["table1", "mini_figure5"] {
        let copied = Command::new("cp").arg("-r").arg(place("judged")).arg(place(name)).status();
        assert!(copied.is_ok_and(|status| status.success()));
    }
    let (first, log) = build(&place(""), &sandbox.path("first"));
    for file in ["table1/tables/table1.tex", "table1/tables/table1_notes.tex", "mini_figure5/figures/figure1.png"] {
        assert!(log.replace('\n', "").contains(file), "{file} is not in the document: {log}");
    }
    assert!(log.replace('\n', "").contains("table1/tables/claims.tex"), "{log}");
    assert!(!log.contains("Missing character"), "{log}");
    let (again, _) = build(&place(""), &sandbox.path("again"));
    assert!(first == again, "the same records give the same PDF");
}
