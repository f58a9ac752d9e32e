//! Verdicts on published numbers, and claims.

use std::path::Path;

use dmad::data::Catalog;
use dmad::metrics::bootstrap::{ClassValue, ImageStatistic, Interval, Resampling, ScoredClass, ScoredImage};
use dmad::metrics::{Definitions, MetricName};
use dmad::paper::claims::{Answer, Evidence, Why, class_evidence, decide, image_evidence};
use dmad::paper::settings::PaperSettings;
use dmad::paper::verdict::{
    Conditions, Ours, Outcome, PaperConditions, Reason, Tally, Tolerances, judge, reasons, tally,
};
use dmad::paper::{PrintedValue, Published};
use dmad::record::{Recorded, read_experiment};
use dmad::report::verdicts::Paper;
use dmad::spec::Said;

use crate::program::{EXPERIMENT, Sandbox};

const TABLE: &str = "table,dataset,class,method,variant,anomalies_per_class,metric,value
table1,visa,candle,dmad,full,0,image_auroc,90.0
table1,visa,mean,dmad,full,0,image_auroc,90.0
table1,visa,candle,dmad,full,0,image_ap,70.5
table1,visa,mean,dmad,full,0,image_ap,70.5
";

fn cells() -> Vec<PrintedValue> {
    Published::parse(TABLE, Path::new("table.csv")).expect("a table").cells().to_vec()
}

fn ours(values: &[f64]) -> Ours {
    Ours { values: values.to_vec(), ..Ours::default() }
}

fn outcome(cell: &PrintedValue, value: f64) -> Outcome {
    judge(cell, Some(&ours(&[value])), &Tolerances::default()).outcome
}

#[test]
fn every_metric_has_its_tolerance_for_classes_and_for_means_and_its_ends_belong_to_it() {
    for (cell, tolerance) in cells().iter().zip([4.0, 1.0, 8.0, 3.0]) {
        let printed = cell.value.value();
        assert_eq!(judge(cell, None, &Tolerances::default()).tolerance, tolerance);
        for (value, expected) in [
            (printed, Outcome::Reproduced),
            (printed + tolerance, Outcome::Reproduced),
            (printed - tolerance, Outcome::Reproduced),
            (printed + tolerance + 0.01, Outcome::Better),
            (printed - tolerance - 0.01, Outcome::Worse),
        ] {
            assert_eq!(outcome(cell, value), expected, "{} {value}", cell.key);
        }
    }
    let strict = Tolerances { auroc_class: 0.5, ..Tolerances::default() };
    assert_eq!(judge(&cells()[0], Some(&ours(&[91.0])), &strict).outcome, Outcome::Better);
}

#[test]
fn a_verdict_shows_mean_spread_seeds_interval_and_difference() {
    let cells = cells();
    let interval = Interval { estimate: 92.0, low: 90.5, high: 93.5, n: 880 };
    let three =
        Ours { values: vec![91.0, 92.0, 93.0], interval: Some(interval), readings: Vec::new(), reasons: Vec::new() };
    let verdict = judge(&cells[0], Some(&three), &Tolerances::default());
    assert_eq!((verdict.mean, verdict.sd, verdict.seeds), (Some(92.0), Some(1.0), 3));
    assert_eq!((verdict.difference, verdict.interval), (Some(2.0), Some(interval)));
    let one = judge(&cells[0], Some(&ours(&[91.0])), &Tolerances::default());
    assert_eq!((one.mean, one.sd, one.seeds), (Some(91.0), None, 1));
    let none = judge(&cells[0], None, &Tolerances::default());
    assert_eq!((none.mean, none.difference, none.outcome), (None, None, Outcome::NotRun));
}

#[test]
fn a_number_under_other_conditions_is_shown_but_not_judged() {
    let cells = cells();
    let because = vec![Reason::Subsampled, Reason::Labelled("oracle".into())];
    let labelled = Ours { reasons: because.clone(), ..ours(&[90.0]) };
    let verdict = judge(&cells[0], Some(&labelled), &Tolerances::default());
    assert_eq!((verdict.difference, verdict.outcome), (Some(0.0), Outcome::NotComparable(because)));
    let failed = Ours { reasons: vec![Reason::NoValue("run failed".into())], ..ours(&[]) };
    let verdict = judge(&cells[0], Some(&failed), &Tolerances::default());
    assert_eq!(verdict.outcome, Outcome::NotComparable(vec![Reason::NoValue("run failed".into())]));
    assert_eq!(verdict.mean, None);
    let silent = judge(&cells[0], Some(&ours(&[])), &Tolerances::default()).outcome;
    assert_eq!(silent, Outcome::NotComparable(vec![Reason::NoValue("nothing is recorded of it".into())]));
}

#[test]
fn each_difference_of_conditions_is_a_reason_of_its_own() {
    let same =
        Conditions { test_images: (80, 800), weights: "wide_resnet50_2 imagenet".into(), ..Conditions::default() };
    let paper = PaperConditions { test_images: Some((80, 800)), weights: Some("wide_resnet50_2 imagenet".into()) };
    assert_eq!(reasons(&same, &paper), []);
    let other = Conditions {
        test_images: (18, 5),
        weights: "efficientnet_lite0 imagenet".into(),
        subsampled: true,
        definition: Some("trapezoid AP".into()),
        labels: vec!["oracle epoch".into()],
    };
    let words: Vec<String> = reasons(&other, &paper).iter().map(Reason::to_string).collect();
    assert_eq!(
        words,
        [
            "other data (18 anomalous and 5 normal test images instead of 80 anomalous and 800 normal test images)",
            "other weights (efficientnet_lite0 imagenet instead of wide_resnet50_2 imagenet)",
            "subsampled images",
            "other definition (trapezoid AP)",
            "oracle epoch",
        ]
    );
    // The number of test images identifies the data; where it is not known, nothing is comparable.
    let unknown = PaperConditions { test_images: None, ..paper };
    assert_eq!(
        reasons(&same, &unknown),
        [Reason::OtherData("nothing identifies the paper's: its dataset has no `counts`".into())]
    );
}

#[test]
fn outcomes_are_counted() {
    let outcomes = [
        Outcome::Reproduced,
        Outcome::NotRun,
        Outcome::Better,
        Outcome::NotRun,
        Outcome::Worse,
        Outcome::NotComparable(vec![Reason::Subsampled]),
    ];
    let expected = Tally { reproduced: 1, better: 1, worse: 1, not_comparable: 1, not_run: 2 };
    assert_eq!(tally(&outcomes), expected);
}

fn evidence(low: f64, high: f64, seeds: usize) -> Evidence {
    let interval = Interval { estimate: (low + high) / 2.0, low, high, n: 100 };
    Evidence { interval: Some(interval), seeds, ..Evidence::default() }
}

#[test]
fn a_claim_stands_or_falls_only_with_its_whole_interval() {
    for (low, high, gain, expected) in [
        (0.1, 0.9, 0.0, Answer::Supported),
        (-0.9, -0.1, 0.0, Answer::NotSupported),
        (-0.1, 0.9, 0.0, Answer::Undecided(Why::Straddles)),
        (0.0, 0.9, 0.0, Answer::Undecided(Why::Straddles)),
        (0.0, 0.0, 0.0, Answer::Undecided(Why::Tie)),
        (0.1, 0.4, 0.5, Answer::NotSupported),
        (0.1, 0.9, 0.5, Answer::Undecided(Why::Straddles)),
        (0.6, 0.9, 0.5, Answer::Supported),
    ] {
        assert_eq!(decide(&evidence(low, high, 3), Said::MoreThan(gain)), expected, "[{low}, {high}] against {gain}");
    }
}

#[test]
fn on_par_is_an_interval_within_the_margin() {
    for (low, high, margin, expected) in [
        (-0.4, 0.3, 0.5, Answer::Supported),
        (-0.6, 0.3, 0.5, Answer::Undecided(Why::Straddles)),
        (0.2, 0.7, 0.5, Answer::Undecided(Why::Straddles)),
        (0.6, 0.9, 0.5, Answer::NotSupported),
        (-2.0, -0.6, 0.5, Answer::NotSupported),
    ] {
        assert_eq!(decide(&evidence(low, high, 3), Said::Within(margin)), expected, "[{low}, {high}] within {margin}");
    }
    assert_eq!(decide(&evidence(-0.1, 0.1, 1), Said::Within(0.5)), Answer::Undecided(Why::OneSeed));
}

#[test]
fn one_seed_missing_classes_and_nothing_in_common_leave_a_claim_undecided() {
    assert_eq!(decide(&evidence(1.0, 2.0, 1), Said::MoreThan(0.0)), Answer::Undecided(Why::OneSeed));
    assert_eq!(
        decide(&Evidence { interval: None, ..evidence(0.0, 0.0, 1) }, Said::MoreThan(0.0)),
        Answer::Undecided(Why::NoSpread)
    );
    let missing = Evidence { missing: vec!["class b is not there for both".into()], ..evidence(1.0, 2.0, 3) };
    let Answer::Undecided(why) = decide(&missing, Said::MoreThan(0.0)) else { panic!("decided") };
    assert_eq!(why.to_string(), "missing: class b is not there for both");
    assert_eq!(decide(&Evidence::default(), Said::MoreThan(0.0)), Answer::Undecided(Why::NothingInCommon));
}

/// Every class and seed with a value.
fn values(gain: f64, classes: &[&'static str], seeds: &[u64]) -> Vec<ClassValue<'static>> {
    let cells = classes.iter().flat_map(|&class| seeds.iter().map(move |&seed| (class, seed)));
    cells.map(|(class, seed)| ClassValue { class, seed, value: 0.5 + gain + 0.01 * seed as f64 }).collect()
}

#[test]
fn pixel_evidence_compares_what_both_have_and_names_the_rest() {
    let sampling = Resampling::default();
    let whole =
        class_evidence(&["a", "b"], &values(0.02, &["a", "b"], &[0, 1]), &values(0.0, &["a", "b"], &[0, 1]), sampling)
            .expect("evidence");
    let interval = whole.interval.expect("an interval");
    assert!((interval.low - 2.0).abs() < 1e-9 && (interval.high - 2.0).abs() < 1e-9, "{interval:?}");
    assert_eq!((whole.seeds, whole.missing.len()), (2, 0));
    assert_eq!(decide(&whole, Said::MoreThan(0.0)), Answer::Supported);
    assert_eq!(decide(&whole, Said::MoreThan(2.5)), Answer::NotSupported);
    // Classes that the claim is not about are left out silently.
    let narrow = class_evidence(&["a"], &values(0.02, &["a", "b"], &[0, 1]), &values(0.0, &["a"], &[0, 1]), sampling);
    assert_eq!(decide(&narrow.expect("evidence"), Said::MoreThan(0.0)), Answer::Supported);
    let gaps =
        class_evidence(&["a", "b"], &values(0.02, &["a", "b"], &[0, 1, 2]), &values(0.0, &["a"], &[0, 1]), sampling)
            .expect("evidence");
    assert_eq!(gaps.missing, ["class b is not there for both", "seed 2 is not there for both in every class"]);
    assert!(
        gaps.interval.is_some() && matches!(decide(&gaps, Said::MoreThan(0.0)), Answer::Undecided(Why::Missing(_)))
    );
    let nothing = class_evidence(&["a"], &values(0.0, &["a"], &[0]), &values(0.0, &["a"], &[1]), sampling);
    assert_eq!(decide(&nothing.expect("evidence"), Said::MoreThan(0.0)), Answer::Undecided(Why::NothingInCommon));
    let single = class_evidence(&["a"], &values(0.1, &["a"], &[0]), &values(0.0, &["a"], &[0]), sampling);
    assert_eq!(decide(&single.expect("evidence"), Said::MoreThan(0.0)), Answer::Undecided(Why::NoSpread));
}

#[test]
fn image_evidence_is_in_percent_and_counts_images_left_out() {
    let paths: Vec<String> = (0..40).map(|image| format!("{image}.png")).collect();
    let runs = |skip: usize, good: bool| -> Vec<ScoredClass> {
        let score = |image: usize| if good || image % 4 == 3 { (image % 2) as f64 } else { 0.5 };
        let images =
            (skip..40).map(|image| ScoredImage { path: &paths[image], anomalous: image % 2 == 1, score: score(image) });
        [0, 1].map(|seed| ScoredClass { class: "a", seed, images: images.clone().collect() }).to_vec()
    };
    // Without the first 4 images: 18 anomalous, 9 of them found; the others tie with all 18 normals, so the AUROC is 3/4.
    let sampling = Resampling::default();
    let auroc = ImageStatistic::of(MetricName::ImageAuroc, Definitions::default()).expect("an image metric");
    let found = image_evidence(&["a"], &runs(0, true), &runs(4, false), auroc, sampling).expect("evidence");
    let interval = found.interval.expect("an interval");
    assert_eq!((interval.estimate, interval.n, found.left_out, found.seeds), (25.0, 36, 8, 2));
    assert_eq!(decide(&found, Said::MoreThan(0.0)), Answer::Supported);
    assert_eq!(decide(&found, Said::MoreThan(25.0)), Answer::Undecided(Why::Straddles));
    let gone = image_evidence(&["a", "b"], &runs(0, true), &[], auroc, sampling).expect("evidence");
    assert_eq!((gone.interval, gone.missing.len()), (None, 2));
}

/// Printed values of the sandbox's dataset.
fn printed(rows: &[&str]) -> String {
    let head = TABLE.lines().next().expect("a header");
    rows.iter().fold(head.to_string(), |text, row| format!("{text}\ntable9,parts,{row}")) + "\n"
}

#[test]
fn the_program_tells_what_is_not_comparable_and_why_and_what_was_not_run() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let rows =
        ["disc,dmad,full,1,image_auroc,50.0", "mean,dmad,full,1,image_auroc,50.0", "disc,dmad,full,5,image_auroc,50.0"];
    sandbox.write("published.csv", printed(&rows));
    let command = ["verdict", "experiment.toml", "--published", "published.csv"];
    sandbox.dmad(&command).says(2, &["experiment experiment does not say which table", "--table"]);
    sandbox.dmad(&[&command[..], &["--table", "table1"]].concat()).says(2, &["published.csv has no table \"table1\""]);
    let command = [&command[..], &["--table", "table9"]].concat();
    // Data of one's own are known by the numbers that a catalog of one's own declares.
    let catalog = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("a catalog");
    sandbox.write("bare.toml", catalog.replace("counts = ", "# counts = "));
    sandbox.write("declared.toml", format!("reproduces = \"table9\"\n{EXPERIMENT}"));
    let own = sandbox.dmad(&[&command[..], &["--settings", "declared.toml"]].concat()).stdout;
    assert!(own.contains("0 not comparable, 1 not run"), "{own}");
    let command = [&command[..], &["--datasets", "bare.toml"]].concat();
    let out = sandbox.dmad(&command);
    assert_eq!(out.code, 0, "{}{}", out.stdout, out.stderr);
    for words in [
        "other data (nothing identifies the paper's: its dataset has no `counts`)",
        "no file declares the settings behind it",
        "table9: 3 printed values: 0 reproduced, 0 better, 0 worse, 2 not comparable, 1 not run.",
    ] {
        assert!(out.stdout.contains(words), "{words:?} is not in:\n{}", out.stdout);
    }
    let declared = sandbox.dmad(&[&command[..], &["--settings", "declared.toml"]].concat()).stdout;
    assert!(!declared.contains("no file declares") && declared.contains("not comparable"), "{declared}");
    assert!(!out.stdout.contains("dmad 5 image_auroc"), "{}", out.stdout);
    assert!(sandbox.dmad(&[&command[..], &["--all"]].concat()).stdout.contains("dmad 5 image_auroc"));
    let json = sandbox.dmad(&[&command[..], &["--format", "json"]].concat()).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[0]["verdict"], &json[2]["verdict"]), (&"not comparable".into(), &"not run".into()));
    assert!(json[0]["mean"].is_number() && json[2]["mean"].is_null());
}

#[test]
fn numbers_under_the_papers_conditions_are_judged_by_class_and_mean() {
    let sandbox = Sandbox::new();
    let experiment = "dataset = \"parts\"\nseeds = [0, 1]\nimage.size = 64\nevaluation.size = 64\n\
        backbone = { name = \"efficientnet_lite0\", weights = \"imagenet\" }\nfeatures.aggregation = \"concat\"\n\
        method.name = \"patchcore\"\n[[variant]]\nname = \"few\"\nprotocol.test_good_per_class = 1\n";
    sandbox.write("experiment.toml", experiment);
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    let mut recorded = read_experiment(&sandbox.path("results/experiment"), &dmad::report::kinds()).expect("records");
    let mean = |class: &str| {
        let own = |row: &&dmad::record::MetricRecord| {
            (row.variant.as_str(), row.class.as_str(), row.metric.as_str()) == ("full", class, "image_auroc")
        };
        let values: Vec<f64> = recorded.metrics.iter().filter(own).filter_map(|row| row.value).collect();
        assert_eq!(values.len(), 2);
        50.0 * (values[0] + values[1])
    };
    let (disc, whole) = (mean("disc"), mean("mean"));
    let text = printed(&[
        &format!("disc,patchcore,full,0,image_auroc,{:.1}", (disc - 3.0).max(0.0)),
        &format!("mean,patchcore,full,0,image_auroc,{:.1}", (whole - 3.0).max(0.0)),
        "disc,patchcore,few,0,image_auroc,50.0",
        "disc,patchcore,full,0,pixel_auroc,50.0",
        "disc,patchcore,other,0,image_auroc,50.0",
        "disc,dra,full,0,image_auroc,50.0",
    ]);
    let published = Published::parse(&text, Path::new("published.csv")).expect("a table");
    let catalog = Catalog::load(Some(&sandbox.path("datasets.toml"))).expect("a catalog");
    // The study's own file declares the settings behind what is "printed", here but for the size of maps.
    let declared = |experiment: &str| {
        sandbox.write("declared.toml", format!("reproduces = \"table9\"\n{experiment}"));
        let declared = dmad::spec::load(&sandbox.path("declared.toml"), &dmad::report::kinds(), &[]).expect("settings");
        PaperSettings::of(vec![declared])
    };
    let settings = declared(&experiment.replace("evaluation.size = 64\n", ""));
    let own = declared(experiment);
    let own = Paper { published: &published, settings: &own, catalog: &catalog };
    let own = dmad::report::verdicts::compare(&recorded, own, "table9", &Tolerances::default()).expect("verdicts");
    assert_eq!(own[3].outcome, Outcome::Better, "maps of the size that the published number has");
    let compare = |recorded: &Recorded, catalog: &Catalog| {
        let paper = Paper { published: &published, settings: &settings, catalog };
        let verdicts = dmad::report::verdicts::compare(recorded, paper, "table9", &Tolerances::default());
        verdicts.map(|all| all.into_iter().map(|verdict| (verdict.seeds, verdict.outcome)).collect::<Vec<_>>())
    };
    let found = compare(&recorded, &catalog).expect("verdicts");
    assert_eq!(found[0], (2, Outcome::Reproduced));
    assert_eq!(found[1], (2, Outcome::Better));
    let fewer = "3 anomalous and 1 normal test images instead of 3 anomalous and 2 normal test images";
    assert_eq!(found[2].1, Outcome::NotComparable(vec![Reason::OtherData(fewer.into()), Reason::Subsampled]));
    let maps = Reason::OtherDefinition("maps of 64 instead of 256 pixels".into());
    assert_eq!(found[3].1, Outcome::NotComparable(vec![maps]));
    assert_eq!((&found[4].1, &found[5].1), (&Outcome::NotRun, &Outcome::NotRun));
    // Another catalog, in which the paper's data have more images: the same numbers say nothing.
    let text = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("a catalog");
    sandbox.write("larger.toml", text.replace("test_bad = 3", "test_bad = 30"));
    let larger = Catalog::load(Some(&sandbox.path("larger.toml"))).expect("a catalog");
    let larger = compare(&recorded, &larger).expect("verdicts");
    assert!(larger.iter().take(4).all(|(_, outcome)| matches!(outcome, Outcome::NotComparable(_))), "{larger:?}");
    // A swept variant is meant by its name without the sweep, as in tables and claims; two of them are not told apart.
    let mut swept = |name: &dyn Fn(u64) -> String| {
        let few = recorded.metrics.iter_mut().filter(|row| row.variant.starts_with("few"));
        few.for_each(|row| row.variant = name(row.seed));
        compare(&recorded, &catalog)
    };
    assert_eq!(swept(&|_| "few[ratio=0.1]".into()).expect("verdicts"), found);
    let fault = swept(&|seed| format!("few[ratio=0.{seed}]")).expect_err("two that could be meant").to_string();
    assert!(fault.contains("could be any of the variants few[ratio=0.0], few[ratio=0.1]"), "{fault}");
}
