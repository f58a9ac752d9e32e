//! Runs of earlier forms of an experiment, and tables and figures over any key: by the real program.

use serde_json::Value as Json;

use crate::program::Sandbox;

/// PatchCore on the sandbox's parts, the bank's ratio swept.
const SWEPT: &str = "dataset = \"parts\"\nseeds = [0, 1]\nimage.size = 64\nevaluation.size = 64\n\
    metrics = [\"image_auroc\"]\nmethod.name = \"patchcore\"\nfeatures.aggregation = \"concat\"\n\
    backbone = { name = \"efficientnet_lite0\", weights = \"imagenet\" }\n\
    sweep.\"method.bank.normal.ratio\" = [1.0, 0.05, 0.25]\n\
    [[variant]]\nname = \"three\"\nmethod.score.neighbours = 3\n";

fn listed(sandbox: &Sandbox, conditions: &[&str]) -> Vec<Json> {
    let mut arguments = vec!["runs", "list", "--format", "json"];
    conditions.iter().for_each(|condition| arguments.extend(["--where", condition]));
    let out = sandbox.dmad(&arguments);
    let rows: Json = serde_json::from_str(&out.stdout).unwrap_or_else(|fault| panic!("{fault}: {}", out.stderr));
    rows.as_array().expect("rows").clone()
}

#[test]
fn runs_of_an_earlier_form_of_an_experiment_are_listed_dated_shown_compared_and_used() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    let before = listed(&sandbox, &[])[0].clone();
    assert_eq!(before["state"], "ok");
    let date = before["recorded"].as_str().expect("a date");
    assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{date}");
    sandbox.edit(&[("bank.normal.ratio = 0.05", "bank.normal.ratio = 0.1")]);
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    let rows = listed(&sandbox, &[]);
    assert_eq!(rows.len(), 2, "{rows:?}");
    let id = before["run"].as_str().expect("an id");
    let earlier = listed(&sandbox, &["state=earlier", "method=d*"]);
    assert_eq!(earlier.iter().map(|row| &row["run"]).collect::<Vec<_>>(), [&before["run"]]);
    assert_eq!(earlier[0]["image_auroc"], before["image_auroc"]);
    assert!(listed(&sandbox, &["seed=1"]).is_empty());
    sandbox.dmad(&["runs", "list", "--where", "stat=earlier"]).says(2, &["did you mean `state`?"]);
    let now = listed(&sandbox, &["state=ok"])[0]["run"].as_str().expect("an id").to_string();
    let [shown, compared] =
        [&["runs", "show", id][..], &["runs", "diff", id, &now]].map(|own| sandbox.dmad(own).stdout);
    for words in ["ratio = 0.05", "date = ", "host = ", "command = \"run experiment.toml"] {
        assert!(shown.contains(words), "{words} is not in {shown}");
    }
    assert!(compared.contains("method.bank.normal.ratio"), "{compared}");
    let image = "data/parts/disc/test/cut/000.png";
    sandbox.dmad(&["predict", "--run", id, image, "--out", "out"]).says(0, &["1 pictures"]);
    // A declared experiment of which nothing is recorded hides no earlier run.
    std::fs::remove_dir_all(sandbox.path("results/experiment/runs").join(&now)).expect("removed");
    assert_eq!(listed(&sandbox, &["state=earlier"]).len(), 1);
}

#[test]
fn a_record_names_the_content_of_its_dataset_as_verify_prints_it() {
    let sandbox = Sandbox::new();
    let digest = || {
        let out = sandbox.dmad(&["data", "verify", "parts", "--format", "json"]);
        let json: Json = serde_json::from_str(&out.stdout).unwrap_or_else(|fault| panic!("{fault}: {}", out.stderr));
        json[0]["digest"].as_str().unwrap_or_else(|| panic!("{json}")).to_string()
    };
    let before = digest();
    assert!(sandbox.dmad(&["data", "verify", "parts"]).stdout.contains(&format!("digest {before}")));
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    let run = listed(&sandbox, &[])[0]["run"].as_str().expect("an id").to_string();
    let shown = sandbox.dmad(&["runs", "show", &run]).stdout;
    assert!(shown.contains(&format!("whole_dataset_digest = \"{before}\"")), "{shown}");
    sandbox.mask("data/parts/disc/ground_truth/cut/000_mask.png", 64, false);
    assert_ne!(digest(), before, "masks belong to a dataset");
}

#[test]
fn a_folder_that_another_file_of_the_same_name_wrote_is_said_to_change_hands() {
    let sandbox = Sandbox::new();
    let text = sandbox.edit(&[("title = \"parts\"", "title = \"parts\"\nname = \"one\"")]);
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    let again = sandbox.dmad(&["run", "./experiment.toml"]);
    assert!(!again.stderr.contains("same `name`"), "{}", again.stderr);
    sandbox.write("other.toml", text);
    sandbox.dmad(&["run", "other.toml"]).says(0, &["experiment.toml, which has the same `name` as other.toml"]);
    let again = sandbox.dmad(&["run", "other.toml"]);
    assert!(!again.stderr.contains("same `name`"), "{}", again.stderr);
}

#[test]
fn tables_and_figures_are_ordered_by_any_setting() {
    let sandbox = Sandbox::new();
    let shown = "[[table]]\nrows = \"method.bank.normal.ratio\"\ncolumns = [\"variant\"]\n\
        [[table]]\nrows = \"variant\"\ncolumns = [\"method.bank.normal.ratio\"]\n\
        [[figure]]\nkind = \"curve\"\nx = \"method.bank.normal.ratio\"\n\
        [[figure]]\nkind = \"bars\"\nbars = \"method.bank.normal.ratio\"\nvariants = [\"full\"]\n";
    sandbox.write("experiment.toml", SWEPT.to_string() + shown);
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    out.says(0, &["12 runs done"]);
    let read = |name: &str| std::fs::read_to_string(sandbox.path("results/experiment").join(name)).expect("a file");
    let table = read("tables/table1.csv");
    let cells: Vec<&str> = table.lines().skip(1).map(|line| &line[..line.find(" ·").expect("a column")]).collect();
    let expected = ["0.05", "0.25", "1.0"].map(|ratio| ["full", "three"].map(|own| format!("\"{ratio}\",\"{own}")));
    assert_eq!(cells, expected.concat(), "ascending: {table}");
    assert!(table.starts_with("method.bank.normal.ratio,"), "{table}");
    assert!(!table.contains('['), "the name of a variant does not repeat its row: {table}");
    let table = read("tables/table2.csv");
    assert!(table.contains("\"full\",\"ratio 0.05") && table.lines().count() == 7, "{table}");
    let curve = read("figures/figure1.csv");
    let lines: Vec<Vec<&str>> = curve.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 6, "two lines of three points: {curve}");
    assert_eq!(
        lines.iter().map(|line| line[2].trim_matches('"')).collect::<Vec<_>>(),
        ["full", "full", "full", "three", "three", "three"]
    );
    assert_eq!(lines[..3].iter().map(|line| line[3].trim_matches('"')).collect::<Vec<_>>(), ["0.05", "0.25", "1.0"]);
    let recorded = listed(&sandbox, &["variant=full[ratio=0.25]"]);
    let values: Vec<f64> = recorded.iter().filter_map(|row| row["image_auroc"].as_f64()).collect();
    let mean: f64 = lines[1][4].parse().expect("a number");
    assert!((mean - 50.0 * values.iter().sum::<f64>()).abs() < 1e-9, "{mean} of {values:?}");
    let svg = read("figures/figure1.svg");
    assert!(svg.contains(">0.25<") && svg.contains("method.bank.normal.ratio"), "the axis is to scale and named");
    assert_eq!(read("figures/figure2.csv").lines().count(), 4);
}

#[test]
fn a_setting_that_no_run_has_is_refused_at_its_place() {
    let sandbox = Sandbox::new();
    for (shown, words) in [
        ("[[table]]\nrows = \"method.bank.normal.ration\"\n", ["method.bank.normal.ratio", "experiment.toml:14:8"]),
        ("[[table]]\nrows = \"variant\"\ncolumns = [\"clas\"]\n", ["did you mean `class`", "experiment.toml:15:12"]),
        ("[[figure]]\nkind = \"curve\"\nx = \"image.siz\"\n", ["did you mean `image.size`", "experiment.toml:15:5"]),
    ] {
        sandbox.write("experiment.toml", SWEPT.to_string() + shown);
        sandbox.dmad(&["plan", "experiment.toml"]).says(2, &words);
    }
}
