//! Figures: each kind is drawn from records, to the same bytes every time; what is missing is said in words.

use std::path::{Path, PathBuf};

use dmad::record::{Recorded, read_embedding, write_embedding};
use dmad::report::{FIGURES as KINDS, Figures, draw_figures, write_figures};
use dmad::spec::{Experiment, Need, Selection, load, schema_of};

use crate::lab::{Lab, study, trial, variant, with};

/// One of each kind.
const FIGURES: &str = r#"
[[figure]]
kind = "curve"
metrics = ["image_auroc", "pixel_pro"]

[[figure]]
kind = "bars"
title = "A title that is too long for one line of a column of a paper, and is broken"

[[figure]]
kind = "learning"

[[figure]]
kind = "histogram"
bins = 5

[[figure]]
kind = "maps"
per_class = 2

[[figure]]
kind = "tsne"
epochs = 60
"#;

/// Two seeds, with and without seen anomalies, every epoch scored.
fn document(figures: &str) -> String {
    let text = with(&study("dmad"), &[("seeds", "[0, 1]"), ("method.train.select", "\"best_test\"")]);
    format!("{text}\n[sweep]\n\"protocol.seen.count\" = [0, 2]\n{figures}")
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).map(|list| list.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    paths.sort();
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    paths.into_iter().map(|path| (name(&path), std::fs::read(&path).expect("readable"))).collect()
}

fn figures_of(lab: &Lab, experiment: &Experiment) -> Figures {
    let recorded = lab.recorded(experiment);
    let figures = draw_figures(&recorded).unwrap_or_else(|e| panic!("{e}"));
    write_figures(&recorded, &figures).unwrap_or_else(|e| panic!("{e}"));
    figures
}

/// Files below a folder whose names begin with `start`.
fn below(folder: &Path, start: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in entries.collect::<std::collections::BTreeSet<_>>() {
        if path.is_dir() {
            out.extend(below(&path, start));
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)) {
            out.push(path);
        }
    }
    out
}

#[test]
fn every_kind_is_drawn_and_repeats_to_the_byte() {
    let lab = Lab::new();
    let (experiment, _) = lab.run("all", &document(FIGURES));
    let made = figures_of(&lab, &experiment);
    assert_eq!(made.missing, Vec::<String>::new());
    let folder = lab.results(&experiment).join("figures");
    let first = files(&folder);
    assert_eq!(first.len(), 24, "four files for each of six figures");
    for (name, bytes) in &first {
        if name.ends_with(".png") {
            let image = image::load_from_memory(bytes).unwrap_or_else(|e| panic!("{name}: {e}")).into_rgb8();
            assert_eq!(image.width(), 1004, "{name}: 8.5 cm at 300 dots per inch");
            let dots = bytes.windows(9).any(|w| w == b"pHYs\x00\x00\x2e\x23\x00");
            assert!(dots, "{name} does not say that it has 300 dots per inch");
            let inked = image.pixels().filter(|pixel| pixel.0 != [255; 3]).count();
            assert!(inked * 50 > (image.width() * image.height()) as usize, "{name}: {inked} pixels are not white");
            let edge = (0..image.height()).any(|y| image.get_pixel(image.width() - 1, y).0 != [255; 3]);
            assert!(!edge, "{name}: something runs over the right edge");
        } else if name.ends_with(".svg") {
            let text = String::from_utf8(bytes.clone()).expect("text");
            assert!(text.starts_with("<svg width=\"8.5"), "{name}: {}", &text[..60]);
            assert!(text.contains("sans-serif") && text.trim_end().ends_with("</svg>"), "{name}");
            let words = text.matches("<text ").count();
            assert!(words > 3 && words == text.matches(" textLength=\"").count(), "{name}: widths depend on fonts");
            assert_eq!(
                text.contains("data:image/png"),
                name == "figure5.svg",
                "{name}: pictures are in the grid alone"
            );
        } else if name.ends_with(".pdf") {
            assert!(bytes.starts_with(b"%PDF-") && bytes.len() > 4000, "{name}");
        } else {
            assert!(bytes.iter().filter(|b| **b == b'\n').count() > 2, "{name} has data");
        }
    }
    std::fs::remove_dir_all(&folder).expect("removed");
    figures_of(&lab.again(), &experiment);
    assert!(files(&folder) == first, "another session draws the same bytes");
}

#[test]
fn a_curve_has_the_recorded_means_and_spreads() {
    let lab = Lab::new();
    let (experiment, _) = lab.run("curve", &document("[[figure]]\nkind = \"curve\""));
    figures_of(&lab, &experiment);
    let csv = std::fs::read_to_string(lab.results(&experiment).join("figures/figure1.csv")).expect("data");
    let recorded = lab.recorded(&experiment);
    for seen in [0, 2] {
        let values: Vec<f64> = recorded
            .metrics
            .iter()
            .filter(|r| r.class == "mean" && r.metric == "image_auroc" && r.seen_anomalies == seen)
            .filter_map(|r| r.value)
            .collect();
        assert_eq!(values.len(), 2);
        let mean = 100.0 * (values[0] + values[1]) / 2.0;
        let deviation = 100.0 * (values[0] - values[1]).abs() / 2f64.sqrt();
        let line =
            csv.lines().find(|line| line.contains(&format!("\"full\",\"{seen}\""))).unwrap_or_else(|| panic!("{csv}"));
        let fields: Vec<f64> = line.split(',').skip(4).take(3).filter_map(|f| f.parse().ok()).collect();
        assert!(
            (fields[0] - mean).abs() < 1e-9 && (fields[1] - deviation).abs() < 1e-9,
            "{line}: {mean} ± {deviation}"
        );
    }
}

#[test]
fn variants_that_are_further_samplings_are_a_band_of_one_line() {
    let lab = Lab::new();
    let more = "[[variant]]\nname = \"again\"\nprotocol.seen.seed = 5\nsweep.\"protocol.seen.count\" = [2]\n\
                [[variant]]\nname = \"other\"\nmethod.name = \"patchcore\"\nmethod.bank.normal.projection = 0\nsweep.\"protocol.seen.count\" = [0]\n\
                [[figure]]\nkind = \"curve\"\nlines = \"method\"\n[[figure]]\nkind = \"curve\"\nlines = \"variant\"\n\
                [[figure]]\nkind = \"maps\"\nvariants = [\"again\", \"full\"]";
    let more = more.replace("protocol.seen.seed = 5", "protocol.seen.seed = 5\nprotocol.seen.sampler = \"python\"");
    let text = document(&more).replace("[sweep]", "[sweep]\n\"protocol.seen.sampler\" = [\"python\"]");
    let (experiment, _) = lab.run("samplings", &text);
    figures_of(&lab, &experiment);
    let csv = |number: usize| {
        let path = lab.results(&experiment).join(format!("figures/figure{number}.csv"));
        std::fs::read_to_string(path).expect("data")
    };
    let line = csv(1).lines().find(|line| line.contains("\"dmad\",\"2\"")).expect("two seen").to_string();
    assert!(line.ends_with(",2") && !line.contains(",,"), "a range over two samplings: {line}");
    let columns: Vec<String> =
        csv(3).lines().skip(1).take(2).map(|l| l.split(',').nth(3).unwrap_or("").into()).collect();
    assert_eq!(columns, ["\"again\"", "\"full\""], "as the figure lists them");
    assert!(!csv(1).contains("again") && csv(2).contains("\"again\",\"2\""), "{}{}", csv(1), csv(2));
    assert!(csv(1).contains("\"patchcore\",\"0\""), "another method is a line of its own: {}", csv(1));
}

#[test]
fn figures_added_later_need_no_run_again() {
    let lab = Lab::new();
    let (experiment, _) = lab.run("later", &document(""));
    let results = lab.results(&experiment);
    let records = |name: &str| below(&results.join("runs"), name);
    assert!(records("embedding").is_empty() && !results.join("figures").exists(), "nobody asked for them");
    let before: Vec<Vec<u8>> = records("run.toml").iter().map(|path| std::fs::read(path).expect("a record")).collect();
    let (experiment, summary) = lab.again().run("later", &document(FIGURES));
    assert_eq!((summary.done, summary.current), (0, 4));
    let after: Vec<Vec<u8>> = records("run.toml").iter().map(|path| std::fs::read(path).expect("a record")).collect();
    assert!(before == after, "records stay as they are");
    assert_eq!(records("embedding").len(), 1, "one run is embedded");
    assert_eq!(records("index.json").len(), 1, "one run holds the pictures");
    assert_eq!(figures_of(&lab, &experiment).missing, Vec::<String>::new());
}

#[test]
fn what_is_missing_is_said_with_the_command_that_makes_it() {
    let lab = Lab::new();
    let (experiment, _) = lab.run("missing", &document(FIGURES));
    figures_of(&lab, &experiment);
    let results = lab.results(&experiment);
    for path in below(&results.join("runs"), "embedding").iter().chain(&below(&results.join("runs"), "index.json")) {
        std::fs::remove_file(path).expect("removed");
    }
    let made = figures_of(&lab, &experiment);
    let said = made.missing.join("\n");
    assert!(
        said.contains("figure 5: 4 pictures of run ") && said.contains("figure 6: the embedding of run "),
        "{said}"
    );
    assert_eq!(said.matches("dmad run ").count(), 2, "{said}");
    let names: Vec<String> = files(&results.join("figures")).into_iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.starts_with("figure5") || name.starts_with("figure6")), "{names:?}");
    assert_eq!(names.len(), 16, "the other figures are drawn");
    std::fs::remove_dir_all(below(&results.join("runs"), "run.toml")[0].parent().expect("a folder")).expect("removed");
    assert!(figures_of(&lab, &experiment).missing[0].contains("1 of the experiment's runs are not recorded"));
}

#[test]
fn an_embedding_of_other_banks_is_not_shown() {
    let lab = Lab::new();
    let figure = "[[figure]]\nkind = \"tsne\"\nepochs = 60\nseed = ";
    let (experiment, _) = lab.run("stale", &document(&format!("{figure}0\n{figure}1")));
    let found = below(&lab.results(&experiment).join("runs"), "embedding");
    assert_eq!(found.len(), 2, "one for each seed");
    std::fs::copy(&found[0], &found[1]).expect("copied");
    let said = figures_of(&lab, &experiment).missing;
    assert_eq!(said.len(), 1, "{said:?}");
    std::fs::write(&found[1], b"nothing of the kind").expect("written");
    let fault = draw_figures(&lab.recorded(&experiment)).map(|_| ()).expect_err("a damaged file is no missing one");
    assert!(fault.to_string().contains("not an embedding"), "{fault}");
}

/// Runs a study with one t-SNE figure in a pool of `threads`; the embedding's file and its points by part.
fn embedding_with(threads: usize) -> Vec<u8> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| {
        let lab = Lab::new();
        let (experiment, _) = lab.run("threads", &document("[[figure]]\nkind = \"tsne\"\nepochs = 60"));
        std::fs::read(&below(&lab.results(&experiment).join("runs"), "embedding")[0]).expect("an embedding")
    })
}

#[test]
fn embeddings_of_banks_repeat_to_the_byte_with_one_and_two_threads() {
    assert!(embedding_with(1) == embedding_with(2));
}

#[test]
fn the_grid_shows_the_anomalous_image_of_median_score() {
    let lab = Lab::new();
    let (experiment, _) = lab.run("median", &document("[[figure]]\nkind = \"maps\"\nseen_anomalies = [0]\nseed = 1"));
    figures_of(&lab, &experiment);
    let csv = std::fs::read_to_string(lab.results(&experiment).join("figures/figure1.csv")).expect("data");
    let recorded: Recorded = lab.recorded(&experiment);
    let run = recorded.runs.iter().find(|r| r.spec.seed == 1 && r.spec.protocol.seen.count == 0);
    let images = run.expect("the run shown").images().unwrap_or_else(|e| panic!("{e}"));
    for class in ["tile", "wood"] {
        let mut scores: Vec<f64> = images.iter().filter(|i| i.class == class && i.label).map(|i| i.score).collect();
        scores.sort_by(f64::total_cmp);
        let median = scores[scores.len() / 2];
        let line =
            csv.lines().find(|line| line.starts_with(&format!("\"{class}\""))).unwrap_or_else(|| panic!("{csv}"));
        assert!(line.contains(&format!(",{median},")), "{line}: median {median} of {scores:?}");
    }
}

#[test]
fn an_embedding_says_itself_what_its_parts_are_and_a_variant_without_banks_keeps_no_other_from_one() {
    let lab = Lab::new();
    let others = variant("none", trial("uniad").study) + &variant("again", "[method]\nscore.top_k = 2\n");
    let shown = "[[figure]]\nkind = \"tsne\"\nepochs = 60\nvariants = [\"none\", \"full\", \"again\"]\n";
    let (experiment, _) = lab.run("parts", &(document(&others) + shown));
    let made = figures_of(&lab, &experiment);
    assert!(made.missing.iter().all(|what| what.contains("has no bank of the wanted parts")), "{:?}", made.missing);
    let [figure] = made.drawn.as_slice() else { panic!("{:?}", made.missing) };
    assert!(figure.svg.contains("M_o (outliers)") && !figure.svg.contains("textures of old"), "{}", figure.svg);
    let Some(Need::Embedding(wanted)) = &experiment.figures[0].need else { panic!("{:?}", experiment.figures) };
    for run in lab.recorded(&experiment).runs.iter().filter(|run| run.spec.variant != "none") {
        let Some(mut own) = read_embedding(run, wanted).unwrap_or_else(|e| panic!("{e}")) else { continue };
        own.about.parts.iter_mut().for_each(|part| part.label = "textures of old".into());
        write_embedding(run, wanted, &own).unwrap_or_else(|e| panic!("{e}"));
    }
    assert!(figures_of(&lab, &experiment).drawn[0].svg.contains("textures of old"));
}

#[test]
fn faults_in_figures_point_at_their_line() {
    let folder = tempfile::tempdir().expect("a folder");
    for (figure, expected) in [
        ("kind = \"pie\"", "`figure[0].kind` cannot be \"pie\""),
        ("title = \"x\"", "`figure[0]` lacks `kind`"),
        ("kind = \"curve\"\nperplexity = 5.0", "unknown key `figure[0].perplexity`"),
        ("kind = \"tsne\"\nperplexty = 5.0", "did you mean `perplexity`?"),
        ("kind = \"tsne\"\npoints = 6000", "`figure[0].points` = 6000 is out of range"),
        ("kind = \"tsne\"\nparts = [\"centre\"]", "`figure[0].parts[0]` cannot be \"centre\""),
        (
            "kind = \"tsne\"\nparts = [\"seen\", \"normals\"]",
            "did you mean `normal`? known: normal, normal_memory, abnormal_memory, outlier, seen, center",
        ),
        ("kind = \"curve\"\nseed = 1", "unknown key `figure[0].seed`"),
        ("kind = \"learning\"\nseed = 1", "unknown key `figure[0].seed`"),
        ("kind = \"bars\"\nseen_anomalies = [1]", "unknown key `figure[0].seen_anomalies`"),
        ("kind = \"bars\"\nvariants = [\"ful\"]", "did you mean `full`?"),
        ("kind = \"maps\"\ndatasets = [\"other\"]", "the experiment has no \"other\""),
        ("kind = \"curve\"\nlines = \"seen_anomalies\"", "`figure[0].lines` is what `x` is"),
    ] {
        let path = folder.path().join("study.toml");
        std::fs::write(&path, document(&format!("[[figure]]\n{figure}\n"))).expect("written");
        let fault = load(&path, &dmad::report::kinds(), &[]).map(|_| ()).expect_err(figure);
        let shown = match &fault {
            dmad::error::Error::Spec(diagnostic) => diagnostic.render(),
            other => panic!("{figure}: {other}"),
        };
        assert!(shown.contains(expected), "{figure}: {shown}");
    }
}

#[test]
fn keys_of_a_figure_reach_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("study.toml");
    std::fs::write(&path, document("[[figure]]\nkind = \"tsne\"\npoints = 77\nparts = [\"seen\"]\n")).expect("written");
    let experiment = load(&path, &dmad::report::kinds(), &[]).unwrap_or_else(|e| panic!("{e}"));
    let [figure] = experiment.figures.as_slice() else { panic!("{:?}", experiment.figures) };
    let Some(Need::Embedding(wanted)) = &figure.need else { panic!("{figure:?}") };
    assert_eq!((wanted.points, wanted.parts.as_slice(), wanted.perplexity), (77, &["seen".to_string()][..], 30.0));
    assert_eq!(figure.selection.variants, ["full"], "the base where none is named");
    let text = &experiment.resolved;
    std::fs::write(&path, text).expect("written");
    let again = load(&path, &dmad::report::kinds(), &[]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(format!("{:?}", again.figures), format!("{:?}", experiment.figures));
}

#[test]
fn no_kind_declares_a_key_that_all_kinds_share() {
    let shared = schema_of::<Selection>();
    for kind in KINDS.iter().map(|entry| &entry.kind) {
        for (key, property) in (kind.schema)()["properties"].as_object().into_iter().flatten() {
            assert!(shared["properties"].get(key).is_none(), "{}: `{key}`", kind.name);
            assert!(property["description"].is_string(), "{}: `{key}` has no description", kind.name);
        }
        for (key, _) in kind.shared {
            assert!(shared["properties"].get(key).is_some(), "{}: `{key}` is no shared key", kind.name);
        }
    }
}

#[test]
fn the_bank_figure_shows_what_is_kept_of_each_class_and_a_table_says_it() {
    let sandbox = crate::program::Sandbox::new();
    let figure = "\n[[figure]]\nkind = \"bank\"\ntitle = \"kept\"\n\n[[variant]]\nname = \"even\"\nmethod.bank.normal.scope = \"per_class\"\n";
    sandbox.write("experiment.toml", crate::program::EXPERIMENT.to_string() + figure);
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["2 runs done"]);
    let read = |name: &str| std::fs::read_to_string(sandbox.path("results/experiment").join(name)).expect("a file");
    let csv = read("tables/bank.csv");
    assert_eq!(csv, read("figures/figure1.csv"));
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let number = |row: usize, column: usize| rows[row][column].parse::<f64>().expect("a number");
    assert_eq!(rows.iter().map(|row| row[2]).collect::<Vec<_>>(), ["\"disc\"", "\"plate\"", "\"disc\"", "\"plate\""]);
    for row in 0..4 {
        // Four images of 8 × 8 patches, of which a twentieth is kept of both together, or of each.
        assert_eq!(number(row, 4), 256.0, "{csv}");
        assert!((number(row, 6) - 100.0 * number(row, 5) / 256.0).abs() < 1e-9, "{csv}");
    }
    assert_eq!(number(0, 5) + number(1, 5), 25.0, "{csv}");
    assert!((number(2, 6) - 5.0).abs() < 0.5 && (number(3, 6) - 5.0).abs() < 0.5, "{csv}");
    let svg = read("figures/figure1.svg");
    for words in ["patches of the class in the bank (%)", "even: ", "disc"] {
        assert!(svg.contains(words), "{words} is not drawn");
    }
    assert!(read("report.html").contains("rows in the bank"), "the page has the table");
}
