//! Tells the tests what is at hand: real images, weights and numeric references (`dmad_references`), LaTeX (`dmad_latex`).

/// Folders that tests of real data need.
const REFERENCES: [&str; 3] = ["DMAD_DATA", "DMAD_WEIGHTS", "DMAD_ORACLES"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(dmad_references, dmad_latex)");
    println!("cargo::rerun-if-env-changed=CI");
    REFERENCES.iter().for_each(|name| println!("cargo::rerun-if-env-changed={name}"));
    // Where what is missing must not go unnoticed, the tests that need it run, and fail.
    let demanded = std::env::var("CI").is_ok_and(|value| value == "true");
    if demanded || REFERENCES.iter().all(|name| std::env::var_os(name).is_some()) {
        println!("cargo::rustc-cfg=dmad_references");
    }
    let latex =
        || std::process::Command::new("pdflatex").arg("--version").output().is_ok_and(|out| out.status.success());
    if demanded || latex() {
        println!("cargo::rustc-cfg=dmad_latex");
    }
}
