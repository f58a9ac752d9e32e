//! How figures look: PDF, size of text, height, logarithmic axes, captions apart, display names.

use std::path::Path;

use crate::program::{EXPERIMENT, Sandbox};

/// A sandbox in which the experiment was run with `more` behind it.
fn run(more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let text = EXPERIMENT
        .replace("seen.count = 1", "")
        .replace("[protocol]\n", "")
        .replace("train.epochs = 1", "train.epochs = 3");
    sandbox.write("experiment.toml", text + "\n[sweep]\n\"protocol.seen.count\" = [1, 2]\n" + more);
    sandbox.dmad(&["run", "experiment.toml", "--no-gallery"]).says(0, &[" 0 failed"]);
    sandbox
}

/// Figures of the records with other figures declared, without doing anything again.
fn redraw(sandbox: &Sandbox, more: &str) -> impl Fn(&str) -> Vec<u8> + use<> {
    let before = std::fs::read_to_string(sandbox.path("experiment.toml")).expect("a file");
    let end = before.find("[[figure]]").unwrap_or(before.len());
    sandbox.write("experiment.toml", before[..end].to_string() + more);
    sandbox.dmad(&["report", "experiment.toml"]).says(0, &["report.html"]);
    let folder = sandbox.path("results/experiment/figures");
    move |name: &str| std::fs::read(folder.join(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

/// The sizes of the texts of an SVG, the largest first.
fn sizes(svg: &str) -> Vec<f64> {
    let all = svg.split("font-size=\"").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok());
    let mut sizes: Vec<f64> = all.collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    sizes
}

fn height_cm(svg: &str) -> f64 {
    svg.split("height=\"").nth(1).and_then(|rest| rest.split("cm").next()?.parse().ok()).expect("a height")
}

#[test]
fn a_pdf_has_text_with_its_font_pictures_and_no_date() {
    let sandbox = run("[[figure]]\nkind = \"maps\"\ntitle = \"Maps (of two) \\\\ classes\"\n");
    let read = redraw(&sandbox, "[[figure]]\nkind = \"maps\"\ntitle = \"Maps\"\n[[figure]]\nkind = \"learning\"\n");
    let pdf = read("figure1.pdf");
    let holds = |pdf: &[u8], words: &str| pdf.windows(words.len()).any(|window| window == words.as_bytes());
    assert!(pdf.starts_with(b"%PDF-1.5") && pdf.trim_ascii_end().ends_with(b"%%EOF"), "a whole file");
    for words in ["/FontFile2", "/ToUnicode", "/Identity-H", "/Subtype/Image", "/Title(Maps)"] {
        assert!(
            holds(&pdf, words) || holds(&pdf, &words.replace('/', " /").trim_start().replace("(", " (")),
            "no {words}"
        );
    }
    assert!(!holds(&pdf, "CreationDate"), "the same drawing is the same bytes");
    // 8.5 cm are 240.9 points.
    assert!(holds(&pdf, "[0 0 240.9"), "its own size: {:?}", String::from_utf8_lossy(&pdf[..400]));
    assert!(!holds(&read("figure2.pdf"), "/Image"), "lines are lines");
    assert!(text(read("figure1.svg")).contains("high anomaly score"), "maps have a bar of their colours");
}

#[test]
fn text_heights_axes_and_captions_are_as_declared() {
    let sandbox = run("");
    let plain =
        redraw(&sandbox, "[[figure]]\nkind = \"curve\"\ntitle = \"A curve\"\n[[figure]]\nkind = \"learning\"\n");
    let (curve, learning) = (text(plain("figure1.svg")), text(plain("figure2.svg")));
    assert!(curve.contains("A curve") && !sandbox.path("results/experiment/figures/figure1_caption.tex").exists());

    let large = "font_pt = 10.5\n";
    let read = redraw(&sandbox, &format!("[[figure]]\nkind = \"curve\"\ntitle = \"A curve\"\n{large}"));
    let larger = text(read("figure1.svg"));
    assert!((sizes(&larger)[0] / sizes(&curve)[0] - 1.5).abs() < 0.01, "{:?} {:?}", sizes(&larger), sizes(&curve));
    assert!(larger.starts_with("<svg width=\"8.5"), "of the same width");

    let read = redraw(&sandbox, "[[figure]]\nkind = \"curve\"\nheight_cm = 9.0\ntitle = \"A curve\"\n");
    let higher = height_cm(&text(read("figure1.svg"))) - height_cm(&curve);
    // What a panel has of itself is half of its width.
    assert!((higher - (9.0 - 4.25)).abs() < 0.1, "{higher}");

    let read = redraw(&sandbox, "[[figure]]\nkind = \"learning\"\nlog_y = true\n");
    assert_ne!(text(read("figure1.svg")), learning, "another axis");

    let read = redraw(&sandbox, "[[figure]]\nkind = \"curve\"\ncaption = \"apart\"\ntitle = \"A curve\"\n");
    let (apart, caption) = (text(read("figure1.svg")), text(read("figure1_caption.tex")));
    assert!(!apart.contains("A curve") && height_cm(&apart) < height_cm(&curve) - 0.5);
    let (comment, caption) = caption.split_once('\n').expect("two lines");
    assert!(
        comment.starts_with('%') && comment.contains("\\caption[Short title]{\\input{figure1_caption}}"),
        "{comment}"
    );
    let about = "Image AUROC against seen anomalies per class.";
    assert!(caption.starts_with(&format!("\\textbf{{A curve.}}\n{about}\n")), "{caption}");
    assert!(caption.contains("All runs: "), "{caption}");
    let page = std::fs::read_to_string(sandbox.path("results/experiment/report.html")).expect("a page");
    assert!(page.contains("All runs: "), "the page's caption has the notes");
    assert!(page.contains(&format!("Figure 1: A curve</b>. {about}")), "what it shows, not what its kind does");
    // A caption is there to be read even where there is no title.
    let more = "bars = \"seen_anomalies\"\nmetrics = [\"image_auroc\", \"pixel_pro\"]\nclass = \"disc\"\n";
    let read = redraw(&sandbox, &format!("[[figure]]\nkind = \"bars\"\ncaption = \"apart\"\n{more}"));
    let caption = text(read("figure1_caption.tex"));
    let about = "Image AUROC and pixel AUPRO by seen anomalies per class, as bars, class disc.";
    assert_eq!(caption.lines().nth(1), Some(about), "{caption}");
}

#[test]
fn equal_ratios_are_equally_long_on_a_logarithmic_axis() {
    let sandbox = Sandbox::new();
    let curve = "[[figure]]\nkind = \"curve\"\nx = \"seed\"\n";
    let text = EXPERIMENT.replace("seeds = [0]", "seeds = [1, 2, 4]");
    sandbox.write("experiment.toml", format!("{text}\n{curve}{curve}log_x = true\n"));
    sandbox.dmad(&["run", "experiment.toml", "--no-gallery"]).says(0, &[" 0 failed"]);
    for (number, share) in [(1, 1.0 / 3.0), (2, 0.5)] {
        let path = sandbox.path(&format!("results/experiment/figures/figure{number}.svg"));
        let svg = std::fs::read_to_string(path).expect("a figure");
        let place = |label: &str| -> f64 {
            let at = svg.find(&format!(">{label}</text>")).unwrap_or_else(|| panic!("no {label}"));
            let start = svg[..at].rfind("<text x=\"").expect("a text");
            svg[start + 9..].split('"').next().and_then(|x| x.parse().ok()).expect("a number")
        };
        let found = (place("2") - place("1")) / (place("4") - place("1"));
        assert!((found - share).abs() < 0.01, "figure {number}: {found}");
    }
}

#[test]
fn an_axis_that_can_be_no_logarithm_says_so() {
    let sandbox = run("");
    let text = std::fs::read_to_string(sandbox.path("experiment.toml")).expect("a file");
    let more = "[[figure]]\nkind = \"curve\"\nlog_x = true\n[[variant]]\nname = \"none\"\nsweep.\"protocol.seen.count\" = [0]\n";
    sandbox.write("experiment.toml", text + more);
    sandbox.dmad(&["run", "experiment.toml", "--no-gallery"]).says(0, &["has no logarithm, so the axis is linear"]);
}

#[test]
fn tables_and_figures_show_the_names_that_are_declared() {
    let sandbox = run(
        "[[figure]]\nkind = \"bars\"\nbars = \"class\"\n[[variant]]\nname = \"wide\"\nmethod.mlp.hidden = 20\n\
                       [[table]]\nrows = \"variant\"\n[names]\nwide = \"Twenty units\"\nfull = \"Ours\"\ndisc = \"Discs\"\n\
                       parts = \"Parts\"\n[[figure]]\nkind = \"curve\"\n[[figure]]\nkind = \"maps\"\n[[claim]]\ntext = \"more\"\n\
                       better = \"wide\"\nthan = \"full\"\nmetric = \"image_auroc\"\n",
    );
    let read = |name: &str| std::fs::read_to_string(sandbox.path("results/experiment").join(name)).expect("a file");
    let (svg, table, bars) = (read("figures/figure2.svg"), read("tables/table1.tex"), read("figures/figure1.svg"));
    assert!(svg.contains("Twenty units") && svg.contains("Ours") && !svg.contains(">full<"), "{svg}");
    assert!(table.contains("Twenty units") && table.contains("Ours"), "{table}");
    assert!(bars.contains("Discs") && bars.contains("plate"), "what has no other name keeps its own");
    names_are_on_the_page_and_in_claims(&read);
    let text = std::fs::read_to_string(sandbox.path("experiment.toml")).expect("a file");
    sandbox.write("experiment.toml", text.replace("[names]\n", "[names]\ncup = \"Cups\"\n"));
    let report = sandbox.dmad(&["report", "experiment.toml"]);
    assert!(report.stdout.contains("Twenty units"), "{}", report.stdout);
    report.says(0, &["[names] has `cup`, and no variant, method, dataset or class is called so (known: "]);
    assert_eq!(report.stderr.matches("[names]").count(), 1, "others are used: {}", report.stderr);
    assert!(
        sandbox.dmad(&["runs", "list"]).stdout.contains("wide"),
        "where things are looked up they are called as in files"
    );
    assert!(Path::new(&sandbox.path("results/experiment/figures/figure2.pdf")).is_file());
}

/// Every part of the page that shows results calls things by the names for readers; only what commands take keeps its own.
fn names_are_on_the_page_and_in_claims(read: &dyn Fn(&str) -> String) {
    let page = read("report.html");
    let section = |name: &str| -> &str {
        let start = page.find(&format!("<h2>{name}</h2>")).unwrap_or_else(|| panic!("no {name}"));
        &page[start..page[start..].find("</section>").map_or(page.len(), |end| start + end)]
    };
    for (name, shown, raw) in [
        ("By class", &["Twenty units", "Ours", "Discs"][..], &[">disc<", "wide", "full,"][..]),
        ("Claims", &["Parts: Twenty units, 1 seen against Ours, 1 seen"], &["wide"]),
        (
            "Gallery",
            &["\"Twenty units, 1 seen\"", "\"classes\":[\"Discs\",\"plate\"]"],
            &["\"label\":\"wide", "\"label\":\"full"],
        ),
        ("Maps", &["Discs · disc/test/cut/"], &[">disc · "]),
        ("Settings", &["<th scope=\"col\">Twenty units</th>"], &["<th scope=\"col\">wide"]),
        ("Bank", &["Parts: Ours, Twenty units", ">Discs<"], &[">disc<", "wide"]),
        ("Costs", &[">Twenty units<", ">Parts<"], &[">wide<", ">parts<"]),
    ] {
        let text = section(name);
        for words in shown {
            assert!(text.contains(words), "{words} is not in {name}: {text}");
        }
        for words in raw {
            assert!(!text.contains(words), "{words} is in {name}: {text}");
        }
    }
    for name in ["tables/claims.md", "tables/claims.tex"] {
        assert!(read(name).contains("Parts"), "{name}");
    }
    assert!(read("tables/claims.csv").contains("\"wide\",\"full\",\"parts\""), "programs read the names in files");
}

#[test]
fn latex_has_its_own_quotes_and_marks_and_no_title_where_there_is_none() {
    let sandbox = run("[[table]]\nrows = \"variant\"\n[[variant]]\nname = \"wide\"\nmethod.mlp.hidden = 20\n\
                       [[figure]]\nkind = \"histogram\"\nvariants = [\"full\", \"wide\"]\ncaption = \"apart\"\n");
    let read = |name: &str| std::fs::read_to_string(sandbox.path("results/experiment").join(name)).expect("a file");
    let (notes, table, caption) =
        (read("tables/table1_notes.tex"), read("tables/table1.tex"), read("figures/figure1_caption.tex"));
    assert!(notes.contains("``mean'' is the unweighted mean") && !notes.contains('"'), "{notes}");
    assert!(
        table.contains("& image AUROC & ") && notes.contains("\nimage AUROC: ") && !notes.contains("\\_auroc"),
        "{notes}"
    );
    assert!(table.contains("wide\\textsuperscript{") && !table.contains("{[}"), "{table}");
    assert!(!caption.contains("\\textbf{"), "a figure without a title: {caption}");
    // Which rows carry what is said where rows differ in it.
    let labels = caption.lines().last().expect("labels");
    assert!(labels.contains("wide: ") && !labels.contains("Some runs"), "{labels}");
    let svg = read("figures/figure1.svg");
    assert!(svg.contains("full"), "a histogram says of which run it is");
}

#[test]
fn a_figure_carries_the_labels_of_the_runs_that_it_draws_and_no_others() {
    let sandbox = run("[[variant]]\nname = \"anew\"\nbackbone.weights = \"random\"\n\
                       [[figure]]\nkind = \"histogram\"\ncaption = \"apart\"\n[[figure]]\nkind = \"bars\"\ncaption = \"apart\"\n\
                       [[figure]]\nkind = \"learning\"\nvariants = [\"anew\"]\ncaption = \"apart\"\n");
    let caption = |number: usize| {
        let path = sandbox.path(&format!("results/experiment/figures/figure{number}_caption.tex"));
        std::fs::read_to_string(path).expect("a caption")
    };
    let (of_full, of_both, of_other) = (caption(1), caption(2), caption(3));
    assert!(!of_full.contains("random") && of_full.contains("All runs: not as published: "), "{of_full}");
    assert!(of_both.contains("anew: random backbone weights."), "{of_both}");
    assert!(of_other.contains("All runs: ") && of_other.contains("random backbone weights"), "{of_other}");
}

#[test]
fn names_beside_and_above_maps_are_whole_and_tell_points_of_a_sweep_apart() {
    let sandbox = run("\"method.mlp.hidden\" = [4, 8]\n[[figure]]\nkind = \"maps\"\nvariants = [\"full[hidden=4]\"]\n\
                       [[figure]]\nkind = \"maps\"\nwidth_cm = 5.0\n[names]\ndisc = \"Discs that are round and quite large\"\n");
    let texts = |number: usize| -> String {
        let path = sandbox.path(&format!("results/experiment/figures/figure{number}.svg"));
        let svg = std::fs::read_to_string(path).expect("a figure");
        let texts =
            svg.split("</text>").filter_map(|part| part.rsplit_once('>').map(|(_, text)| text.replace(' ', "")));
        texts.map(|text| text.trim().to_string()).collect()
    };
    let (wide, narrow) = (texts(1), texts(2));
    assert!(wide.contains("Discsthatareroundandquitelarge") && wide.contains("plate"), "{wide}");
    for head in ["full[hidden=4]", "full[hidden=8]"] {
        assert!(narrow.contains(head), "{head} is not in {narrow}");
    }
}

#[test]
fn what_comes_to_the_same_computation_is_said_so() {
    let sandbox = run(
        "[[table]]\nrows = \"variant\"\n[[variant]]\nname = \"no_filter\"\nmethod.filter.enabled = false\n\
                       sweep.\"protocol.seen.count\" = [0]\n[[variant]]\nname = \"plain\"\nsweep.\"protocol.seen.count\" = [0]\n",
    );
    let report = sandbox.dmad(&["report", "experiment.toml"]);
    let told = "no_filter and plain are the same computation at 0 seen";
    assert!(report.stdout.contains(told), "{}", report.stdout);
}
