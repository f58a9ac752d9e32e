//! The document of the study: built by a plain LaTeX from what `report` writes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use dmad::spec::{Aggregation, RunSpec, load};

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
    for file in ["table1/tables/table1.tex", "table1/tables/table1_notes.tex", "mini_figure5/figures/figure1.pdf"] {
        assert!(log.replace('\n', "").contains(file), "{file} is not in the document: {log}");
    }
    assert!(log.replace('\n', "").contains("table1/tables/claims.tex"), "{log}");
    assert!(!log.contains("Missing character"), "{log}");
    let (again, _) = build(&place(""), &sandbox.path("again"));
    assert!(first == again, "the same records give the same PDF");
}

/// What each method's page says of its settings outside `[method]`: side of the image, backbone with its layers, and how maps
/// become features.
#[test]
fn every_method_of_the_papers_studies_has_its_own_settings_outside_its_table() {
    let wide = ("wide_resnet50_2", &["layer2", "layer3"][..], Aggregation::Patchcore, 3);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/paper");
    let mut seen = BTreeSet::new();
    for file in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path()) {
        let study = load(&file, &dmad::report::kinds(), &[]).unwrap_or_else(|fault| panic!("{fault}"));
        for RunSpec { image, backbone, features, method, variant, .. } in study.runs.iter().map(|run| &run.spec) {
            let name = method["name"].as_str().expect("a name");
            let (side, dim, (network, layers, aggregation, patch)) = match name {
                "dmad" | "simplenet" => (256, 0, wide),
                "patchcore" => (256, 1024, wide),
                "bgad" => {
                    let layers = &["stride4", "stride8", "stride16"][..];
                    (256, 0, ("tf_efficientnet_b6", layers, Aggregation::Concat, 1))
                }
                "dra" => (448, 0, ("resnet18", &["layer4"][..], Aggregation::Concat, 1)),
                "uniad" => (224, 0, ("efficientnet_b4", &[][..], Aggregation::ConcatDeepest, 1)),
                other => panic!("{other} in {}", file.display()),
            };
            println!("{} {variant}: {image:?} {backbone:?} {features:?}", study.name);
            assert_eq!((image.size, image.resize, backbone.name.as_str()), (side, 0, network), "{variant}");
            assert_eq!((features.aggregation, features.patch, features.dim), (aggregation, patch, dim), "{variant}");
            assert_eq!(
                (backbone.layers.join(" "), backbone.weights.as_str()),
                (layers.join(" "), "imagenet"),
                "{variant}"
            );
            seen.insert(name.to_string());
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["bgad", "dmad", "dra", "patchcore", "simplenet", "uniad"]);
}
