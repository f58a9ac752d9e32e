//! Claims, verdicts and rankings by the real commands, on the committed records of `fixture`, and the strictness of
//! `[[claim]]` and `[[table]]`.

use serde_json::Value as Json;

use crate::fixture;
use crate::program::{EXPERIMENT, Sandbox, place};

fn judged() -> Sandbox {
    let sandbox = Sandbox::new();
    fixture::copy_to(&sandbox.path("results"));
    sandbox
}

#[test]
fn the_fixture_yields_all_claim_answers_with_ties_one_seed_and_missing_classes() {
    let sandbox = judged();
    let out = sandbox.dmad(&["report", "results/judged", "--format", "json"]);
    assert_eq!(out.code, 1, "a run is missing: {}", out.stderr);
    let json: Json = serde_json::from_str(&out.stdout).expect("JSON");
    let claims = json["claims"].as_array().expect("claims");
    let expected = [
        ("ten seen anomalies help", "supported", ""),
        ("ten seen anomalies help in localisation by more than one point", "undecided", "the interval contains"),
        ("the rival is better", "not supported", ""),
        ("the twin is better", "undecided", "a tie in every resample"),
        ("the near one is better", "undecided", "the interval contains"),
        ("once is better than the rival", "undecided", "seed 1 is not there for both"),
        ("half of the classes are better than the rival", "undecided", "class bottle is not there for both"),
        ("in the classes that are there it is better than the rival", "supported", ""),
        ("what was never run is better", "undecided", "nothing that both variants have"),
        ("once, with ten, is better than one seen anomaly", "undecided", "one seed"),
    ];
    assert_eq!(claims.len(), expected.len());
    for (claim, (text, standing, because)) in claims.iter().zip(expected) {
        let found = (claim["text"].as_str(), claim["standing"].as_str());
        assert_eq!(found, (Some(text), Some(standing)), "{claim}");
        assert!(claim["because"].as_str().expect("text").contains(because), "{claim}");
    }
    let (low, high) = (claims[0]["low"].as_f64().expect("a number"), claims[0]["high"].as_f64().expect("a number"));
    assert!(low > 0.0 && low < high && high < 20.0, "{low} {high}");
    let text = sandbox.dmad(&["report", "results/judged"]).stdout;
    for words in ["Claims.", "the twin is better\n  undecided (a tie in every resample)", "claimed by more than 1"] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
    let csv = std::fs::read_to_string(sandbox.path("results/judged/tables/claims.csv")).expect("a file");
    assert_eq!(csv.lines().count(), 11);
}

#[test]
fn the_fixture_yields_all_five_verdicts_with_intervals_and_a_scoreboard() {
    let sandbox = judged();
    let out = sandbox.dmad(&["verdict", "results/judged", "--format", "json", "--all"]);
    assert_eq!(out.code, 1, "something is off: {}", out.stderr);
    let json: Json = serde_json::from_str(&out.stdout).expect("JSON");
    let find = |class: &str, seen: u64, method: &str, metric: &str| -> Json {
        let own = |row: &&Json| {
            row["dataset"] == "mvtec_ad"
                && row["class"] == class
                && row["anomalies_per_class"] == seen
                && row["method"] == method
                && row["metric"] == metric
        };
        json.as_array().expect("rows").iter().find(own).cloned().unwrap_or_else(|| panic!("{class} {seen} {metric}"))
    };
    for (class, seen, method, verdict) in [
        ("toothbrush", 0, "dmad", "reproduced"),
        ("carpet", 0, "dmad", "better"),
        ("bottle", 0, "dmad", "worse"),
        ("mean", 0, "dmad", "not comparable"),
        ("cable", 0, "dmad", "not run"),
        ("toothbrush", 0, "uniad", "not run"),
        ("toothbrush", 10, "dmad", "reproduced"),
        ("toothbrush", 5, "dmad", "not run"),
    ] {
        let row = find(class, seen, method, "image_auroc");
        assert_eq!(row["verdict"], verdict, "{row}");
        let has_interval = row["low"].is_number() && row["high"].is_number();
        assert_eq!(has_interval, verdict != "not run", "{row}");
    }
    let mean = find("mean", 0, "dmad", "image_auroc");
    let because = mean["because"][0].as_str().expect("a reason");
    assert!(because.contains("182 anomalous and 60 normal test images instead of 1258"), "{because}");
    assert_eq!((&mean["tolerance"], &mean["experiment"]), (&0.5.into(), &"judged".into()));
    let one = find("toothbrush", 1, "dmad", "image_auroc");
    assert_eq!((&one["seeds"], one["sd"].is_null(), one["low"].is_number()), (&1.into(), true, true), "{one}");
    sandbox.write("never.toml", EXPERIMENT.replace("title = \"parts\"", "reproduces = \"table4\""));
    let out = sandbox.dmad(&["verdict", "results/judged", "never.toml"]);
    assert_eq!(out.code, 1, "{}", out.stderr);
    let board = &out.stdout[out.stdout.find("Scoreboard").expect("a scoreboard")..];
    let line = |name: &str| -> Vec<String> {
        let line = board.lines().find(|line| line.trim_start().starts_with(name)).expect("a line");
        line.split_whitespace().map(str::to_string).collect()
    };
    let (judged, never, all) = (line("judged"), line("never"), line("all"));
    assert_eq!((judged[1].as_str(), never[1].as_str()), ("table1", "table4"));
    assert_eq!(never[2], never[7], "everything of table4 is not run");
    sandbox.write("figure.toml", EXPERIMENT);
    let out = sandbox.dmad(&["verdict", "results/judged", "never.toml", "figure.toml"]);
    assert!(out.stderr.contains("figure.toml: reproduces no table of the paper, passed over"), "{}", out.stderr);
    assert!(out.stdout.ends_with(board), "{}", out.stdout);
    sandbox.dmad(&["verdict", "figure.toml"]).says(2, &["does not say which table it reproduces"]);
    let number = |cells: &[String], place: usize| cells[place].parse::<usize>().expect("a number");
    assert_eq!(number(&all, 1), number(&judged, 2) + number(&never, 2));
}

#[test]
fn a_number_in_another_setting_is_not_comparable_and_the_reason_names_the_key() {
    let study = std::fs::read_to_string(fixture::study()).expect("a study");
    let verdict = |edit: &str| -> Json {
        let sandbox = Sandbox::new();
        sandbox.write("judged.toml", study.replace("[method]\nname = \"dmad\"\n", edit));
        fixture::make(&sandbox.path("results"), &sandbox.path("judged.toml"));
        let out = sandbox.dmad(&["verdict", "results/judged", "--format", "json"]);
        let json: Json = serde_json::from_str(&out.stdout).unwrap_or_else(|_| panic!("{}", out.stderr));
        let own = |row: &&Json| {
            (&row["class"], &row["method"]) == (&"toothbrush".into(), &"dmad".into())
                && row["anomalies_per_class"] == 10
                && row["metric"] == "image_auroc"
        };
        json.as_array().expect("rows").iter().find(own).expect("a verdict").clone()
    };
    let method = "[method]\nname = \"dmad\"\n";
    for (edit, reason) in [
        (format!("{method}train.epochs = 1\n"), "train.epochs 1, the paper 48"),
        (format!("{method}mlp.hidden = 8\n"), "mlp.hidden 8, the paper 1024"),
        (format!("{method}noise.std = 0.5\n"), "noise.std 0.5, the paper 0.015"),
        (
            format!("{method}bank.outlier.coreset = {{ projection = 0 }}\n"),
            "bank.outlier.coreset.projection 0, the paper ",
        ),
        (format!("[image]\nsize = 128\n{method}"), "image.size 128, the paper 256"),
        (format!("[features]\npatch = 1\n{method}"), "features.patch 1, the paper 3"),
        (
            format!("[backbone]\nlayers = [\"layer1\", \"layer2\"]\n{method}"),
            "backbone.layers [\"layer1\",\"layer2\"], ",
        ),
        (format!("[backbone]\nname = \"resnet18\"\n{method}"), "other weights (resnet18 imagenet instead of "),
    ] {
        let found = verdict(&edit);
        assert_eq!(found["verdict"], "not comparable", "{edit}: {found}");
        let because = found["because"].as_array().expect("reasons");
        assert!(because.iter().any(|told| told.as_str().is_some_and(|told| told.starts_with(reason))), "{found}");
    }
    let found = verdict(method);
    assert_eq!(
        (&found["verdict"], &found["readings"][0]),
        (&"reproduced".into(), &"protocol.seen.sampler chacha".into())
    );
    let found = verdict(&format!("{method}bank.center.std = 0.1\n"));
    assert_eq!(found["verdict"], "reproduced", "a reading that the paper allows: {found}");
    assert_eq!(found["because"][0], "reading: bank.center.std 0.1", "{found}");
    let found = verdict(&format!("{method}noise.std = 0.05\n"));
    assert_eq!((&found["verdict"], &found["readings"][0]), (&"reproduced".into(), &"noise.std 0.05".into()), "a range");
}

#[test]
fn tables_show_what_was_not_run_and_what_nobody_has_built_in_the_declared_order() {
    let sandbox = judged();
    let out = sandbox.dmad(&["report", "results/judged"]);
    let markdown = std::fs::read_to_string(sandbox.path("results/judged/tables/table1.md")).expect("a table");
    let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with('|')).collect();
    let first: Vec<&str> = rows.iter().map(|row| row.split('|').nth(1).expect("a cell").trim()).collect();
    assert_eq!(first, ["class", "---", "bottle", "toothbrush", "carpet", "mean"]);
    assert!(rows[0].contains("0 seen · dra · ") || rows[0].contains("0 seen · dra"), "{}", rows[0]);
    assert!(rows[2].contains("not available") && !rows[2].contains("|  |"), "{}", rows[2]);
    let tex = std::fs::read_to_string(sandbox.path("results/judged/tables/table1.tex")).expect("a table");
    for words in
        ["\\begin{tabular}", "\\toprule", "\\textbf{", "\\underline{", "$\\pm$", "not available", "\\bottomrule"]
    {
        assert!(tex.contains(words), "{words} is not in:\n{tex}");
    }
    let costs = std::fs::read_to_string(sandbox.path("results/judged/tables/costs.csv")).expect("costs");
    assert!(costs.lines().nth(1).is_some_and(|line| line.contains(",\"full\",0,0,")), "{costs}");
    let ranked = std::fs::read_to_string(sandbox.path("results/judged/tables/table2.md")).expect("a table");
    assert!(ranked.lines().any(|line| line.starts_with("| absent") && line.contains("not run")), "{ranked}");
    let ranking = std::fs::read_to_string(sandbox.path("results/judged/tables/table2_ranking.csv")).expect("a ranking");
    let places: Vec<Vec<&str>> = ranking.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let image: Vec<&Vec<&str>> = places.iter().filter(|place| place[1] == "image_auroc").collect();
    assert!(image[0].join(",").contains("the best") && image[0][2] == "1", "{ranking}");
    // "part" has fewer classes: whatever its mean is, it is not ranked among the others.
    assert!(image.last().expect("a place").join(",").contains("part"), "{ranking}");
    let worst = image.iter().find(|place| place.join(",").contains("rival")).expect("the rival").join(",");
    let numbers: Vec<f64> = worst.split(',').filter_map(|cell| cell.parse().ok()).collect();
    assert!(numbers.iter().any(|&number| number < -10.0), "far below the best: {worst}");
    assert!(out.stdout.contains("difference to the best") && out.stdout.contains("not told apart from the best"));
}

#[test]
fn a_narrow_terminal_gets_a_block_per_metric_and_no_line_that_is_too_long() {
    let sandbox = judged();
    let report = |columns: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dmad"));
        let output = command
            .args(["report", "results/judged"])
            .env("COLUMNS", columns)
            .current_dir(sandbox.path("."))
            .output()
            .expect("the program starts");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let table = |text: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| *line != "Made-up records to judge").skip(1);
        lines.take_while(|line| !line.starts_with("Percent")).map(|line| line.trim_end().to_string()).collect()
    };
    let (wide, narrow) = (table(&report("500")), table(&report("60")));
    let heads = |lines: &[String]| lines.iter().filter(|line| line.trim_start().starts_with("class")).count();
    assert_eq!(heads(&wide), 1);
    assert!(heads(&narrow) > 1, "{}", narrow.join("\n"));
    assert!(narrow.iter().all(|line| line.chars().count() <= 60), "{}", narrow.join("\n"));
}

#[test]
fn a_table_of_one_class_shows_that_class_and_what_is_elsewhere_compared_where_it_belongs() {
    let sandbox = judged();
    let copy = std::fs::read_to_string(sandbox.path("results/judged/experiment.toml")).expect("a copy");
    let table = "\n[[table]]\ntitle = \"One class\"\nrows = \"method\"\ncolumns = [\"seen_anomalies\"]\n\
                 metrics = [\"image_auroc\"]\nclasses = [\"bottle\"]\nvariants = [\"full\", \"rival\"]\n\
                 also = [{ name = \"dra\", seen_anomalies = [10] }]\n";
    sandbox.write("results/judged/experiment.toml", &(copy.clone() + table));
    sandbox.dmad(&["report", "results/judged"]);
    let number = copy.matches("[[table]]").count() + 1;
    sandbox.write("results/judged/tables/mine.txt", "a user's own");
    let csv = sandbox.path(&format!("results/judged/tables/table{number}.csv"));
    let csv = std::fs::read_to_string(csv).expect("a table");
    let cell = |start: &str| {
        let line = csv.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {csv}"));
        line[start.len()..].to_string()
    };
    let value = |text: String| text.split(',').next().and_then(|first| first.parse::<f64>().ok()).expect("a number");
    // The class's own 0.90 and 0.80, not the means over the classes.
    assert!((value(cell("\"dmad\",\"0 seen · image_auroc\",")) - 0.90).abs() < 0.02, "{csv}");
    assert!((value(cell("\"patchcore\",\"10 seen · image_auroc\",")) - 0.80).abs() < 0.02, "{csv}");
    assert_eq!(cell("\"patchcore\",\"0 seen · image_auroc\","), ",,0,not declared");
    assert_eq!(cell("\"dra\",\"0 seen · image_auroc\","), ",,0,not declared");
    assert_eq!(cell("\"dra\",\"10 seen · image_auroc\","), ",,0,not available");
    // A table that is no longer declared leaves no file.
    sandbox.write("results/judged/experiment.toml", &copy);
    sandbox.dmad(&["report", "results/judged"]);
    assert!(!sandbox.path(&format!("results/judged/tables/table{number}.csv")).exists());
    assert!(sandbox.path("results/judged/tables/mine.txt").is_file(), "what is not ours stays");
}

#[test]
fn the_page_has_everything_needs_nothing_and_is_the_same_again() {
    let sandbox = judged();
    let copy = std::fs::read_to_string(sandbox.path("results/judged/experiment.toml")).expect("a copy");
    let figures = "\n[[figure]]\nkind = \"bars\"\ntitle = \"Side by side\"\n\n[[figure]]\nkind = \"maps\"\n";
    sandbox.write("results/judged/experiment.toml", &(copy + figures));
    sandbox.dmad(&["report", "results/judged"]);
    let read = || std::fs::read_to_string(sandbox.path("results/judged/report.html")).expect("a page");
    let page = read();
    for words in [
        "<h2>Missing</h2>",
        "<h2>Tables</h2>",
        "<h2>Claims</h2>",
        "<h2>Verdicts</h2>",
        "<h2>Figures</h2>",
        "<h2>Costs</h2>",
        "<h2>Provenance</h2>",
        "Figure 1: Side by side",
        "figure 2: ",
        "data:image/svg+xml;base64,PHN2Zy",
        "width=device-width",
        "class=\"best\"",
        " printed values: ",
        " that were not run</summary>",
        "class=\"not-supported\"",
    ] {
        assert!(page.contains(words), "{words} is not on the page");
    }
    let note = "Percent; ± is the standard deviation over seeds";
    assert_eq!(page.matches(note).count(), 1, "what holds for both tables stands once");
    let loads = ["src=\"http", "href=\"http", "url(", "@import", "fetch("];
    assert!(loads.iter().all(|load| !page.contains(load)), "the page needs the network");
    std::fs::remove_file(sandbox.path("results/judged/report.html")).expect("removed");
    sandbox.dmad(&["report", "results/judged"]);
    assert!(page == read(), "the page has changed");
}

#[test]
fn claims_that_no_run_could_answer_are_refused_at_their_place() {
    let sandbox = Sandbox::new();
    let check = |more: &str, needle: &str, words: &[&str]| {
        let text = format!("{EXPERIMENT}\n[[variant]]\nname = \"seen\"\nprotocol.seen.count = 2\n{more}");
        sandbox.write("experiment.toml", &text);
        let out = sandbox.dmad(&["run", "experiment.toml"]);
        out.refuses(&sandbox, words);
        assert!(out.stderr.contains(&place("experiment.toml", &text, needle)), "{needle}: {}", out.stderr);
    };
    let claim = |body: &str| format!("[[claim]]\ntext = \"a\"\n{body}");
    let both = "better = \"full\"\nthan = \"sen\"\nmetric = \"image_auroc\"\n";
    check(&claim(both), "\"sen\"", &["there is no variant \"sen\"", "did you mean `seen`?"]);
    let apart = "better = \"full\"\nthan = \"seen\"\nmetric = \"image_auroc\"\n";
    check(&claim(apart), "[[claim]]", &["no run of \"full\" can be compared with one of \"seen\"", "seen_anomalies"]);
    check(&claim("better = \"full\"\nmetric = \"image_auroc\"\n"), "[[claim]]", &["lacks `than`"]);
    let typo = format!("{both}gian = 1.0\n");
    check(&claim(&typo), "gian", &["unknown key", "did you mean `gain`?"]);
    let wrong = both.replace("image_auroc", "image_auc");
    check(&claim(&wrong), "\"image_auc\"", &["image_auroc"]);
    check("[tolerance]\nauroc_mean = -1.0\n", "-1.0", &["out of range"]);
    check("[[table]]\nrows = \"variant\"\nvariants = [\"fulll\"]\n", "[\"fulll\"]", &["did you mean `full`?"]);
}

#[test]
fn a_claim_of_being_as_good_is_answered_and_excludes_a_gain() {
    let sandbox = judged();
    let copy = std::fs::read_to_string(sandbox.path("results/judged/experiment.toml")).expect("a copy");
    let claim = |rest: &str| {
        let sides = "better = \"full\"\nthan = \"rival\"\nmetric = \"pixel_auroc\"\nseen_anomalies = 10\n";
        sandbox.write("results/judged/experiment.toml", format!("{copy}\n[[claim]]\ntext = \"par\"\n{sides}{rest}"));
        sandbox.dmad(&["report", "results/judged", "--format", "json"])
    };
    let answer = |rest: &str| {
        let out = claim(rest);
        let json: serde_json::Value =
            serde_json::from_str(&out.stdout).unwrap_or_else(|f| panic!("{f}: {}", out.stderr));
        let claims = json["claims"].as_array().expect("claims").clone();
        claims.into_iter().find(|own| own["text"] == "par").expect("the claim")
    };
    let plain = answer("");
    let ends = ["low", "high"].map(|end| plain[end].as_f64().unwrap_or_else(|| panic!("{plain}")).abs());
    let widest = ends[0].max(ends[1]) + 0.1;
    assert_eq!(answer(&format!("within = {widest}\n"))["standing"], "supported");
    assert_eq!(
        answer("within = 0.0\n")["standing"],
        if plain["low"].as_f64() > Some(0.0) { "not supported" } else { "undecided" }
    );
    let table = std::fs::read_to_string(sandbox.path("results/judged/tables/claims.csv")).expect("a file");
    assert!(table.contains("\"within 0\""), "{table}");
    claim("within = 1.0\ngain = 0.5\n").says(2, &["`gain`, or of being as good `within` a margin"]);
}

#[test]
fn a_claim_means_swept_variants_by_their_name_and_pairs_them_with_the_same_sweep() {
    let sandbox = Sandbox::new();
    let study = |claims: &str| {
        "dataset = \"parts\"\nseeds = [0, 1]\nimage.size = 64\nevaluation.size = 64\nmethod.name = \"patchcore\"\n\
         backbone = { name = \"efficientnet_lite0\", weights = \"imagenet\" }\nfeatures.aggregation = \"concat\"\n\
         sweep.\"method.bank.normal.ratio\" = [0.5, 1.0]\n\
         [[variant]]\nname = \"three\"\nmethod.score.neighbours = 3\n\
         [[variant]]\nname = \"plain\"\nsweep = {}\n\
         [[variant]]\nname = \"wide\"\nsweep.\"features.patch\" = [1, 5]\n"
            .to_string()
            + claims
    };
    let claim = |better: &str, than: &str| {
        format!("[[claim]]\ntext = \"a\"\nbetter = \"{better}\"\nthan = \"{than}\"\nmetric = \"image_auroc\"\n")
    };
    for (better, than, expected) in [
        // The same sweep on both sides: like with like.
        ("full", "three", vec!["full[ratio=0.5] three[ratio=0.5]", "full[ratio=1.0] three[ratio=1.0]"]),
        // What was not swept, or by another key, is compared with every point.
        ("full", "plain", vec!["full[ratio=0.5] plain", "full[ratio=1.0] plain"]),
        ("plain", "wide", vec!["plain wide[patch=1]", "plain wide[patch=5]"]),
        ("full[ratio=0.5]", "three", vec!["full[ratio=0.5] three[ratio=0.5]"]),
        ("full[ratio=0.5]", "wide", vec!["full[ratio=0.5] wide[patch=1]", "full[ratio=0.5] wide[patch=5]"]),
        // Named in full, both are meant as they are.
        ("full[ratio=0.5]", "full[ratio=1.0]", vec!["full[ratio=0.5] full[ratio=1.0]"]),
    ] {
        sandbox.write("experiment.toml", study(&claim(better, than)));
        let loaded = dmad::spec::load(&sandbox.path("experiment.toml"), &dmad::report::kinds(), &[]);
        let loaded = loaded.unwrap_or_else(|fault| panic!("{better} against {than}: {fault}"));
        let pairs = loaded.claims[0].comparisons(&loaded.runs);
        let found: Vec<String> = pairs.iter().map(|[a, b]| format!("{} {}", a.variant, b.variant)).collect();
        assert_eq!(found, expected, "{better} against {than}");
    }
    sandbox.write("experiment.toml", study(&claim("full", "full")));
    sandbox.dmad(&["plan", "experiment.toml"]).says(2, &["no run of \"full\" can be compared with one of \"full\""]);
    sandbox.write("experiment.toml", study(&claim("full", "plain")));
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let out = sandbox.dmad(&["report", "experiment.toml", "--format", "json"]);
    let json: Json = serde_json::from_str(&out.stdout).expect("JSON");
    let named = |key: &str| json["claims"].as_array().expect("claims").iter().map(|own| own[key].clone()).collect();
    let (better, than, standing): (Vec<Json>, Vec<Json>, Vec<Json>) =
        (named("better"), named("than"), named("standing"));
    assert_eq!((better, than), (vec!["full[ratio=0.5]".into(), "full[ratio=1.0]".into()], vec!["plain".into(); 2]));
    assert!(standing.iter().all(Json::is_string) && out.code == 0, "{}", out.stderr);
    let tex = std::fs::read_to_string(sandbox.path("results/experiment/tables/claims.tex")).expect("claims");
    assert!(tex.contains("full{[}ratio=0.5], 0 seen against plain"), "{tex}");
    // Differences of a table are of the same points; where several would do, the one that was taken is named.
    let table = "[[table]]\nrows = \"variant\"\nmetrics = [\"image_auroc\"]\nagainst = \"full\"\n";
    sandbox.write("experiment.toml", study(table));
    assert_eq!(sandbox.dmad(&["report", "experiment.toml"]).code, 0);
    let read =
        |name: &str| std::fs::read_to_string(sandbox.path("results/experiment/tables").join(name)).expect("a file");
    let ranking = read("table1_ranking.csv");
    let base = |variant: &str| {
        let own = |line: &&str| line.contains(&format!(",\"{variant}\","));
        let line = ranking.lines().find(own).unwrap_or_else(|| panic!("{variant} in {ranking}"));
        line.rsplit_once(",\"").expect("a last field").1.trim_end_matches('"').to_string()
    };
    for (variant, expected) in [
        ("three[ratio=0.5]", "full[ratio=0.5]"),
        ("three[ratio=1.0]", "full[ratio=1.0]"),
        ("full[ratio=1.0]", "full"),
        ("plain", "full[ratio=0.5]"),
        ("wide[patch=5]", "full[ratio=0.5]"),
    ] {
        assert_eq!(base(variant), expected, "{variant}");
    }
    assert!(read("table1.md").contains("full[ratio=1.0] |"), "the point is named beside its difference");
}
