//! Faults of experiment files point at file, line and column, before any work.

use crate::program::{EXPERIMENT, Sandbox, place};

/// Runs the experiment with `from` replaced by `to`; the fault must stand at `at` and be told with `words`.
fn fault(from: &str, to: &str, at: &str, words: &[&str]) {
    let sandbox = Sandbox::new();
    let text = sandbox.edit(&[(from, to)]);
    let outcome = sandbox.dmad(&["run", "experiment.toml"]);
    let place = place("experiment.toml", &text, at);
    outcome.refuses(&sandbox, &[&[place.as_str()], words].concat());
}

/// Runs the experiment with `more` at its end.
fn fault_at_end(more: &str, at: &str, words: &[&str]) {
    fault("[evaluation]\nsize = 64\n", &format!("[evaluation]\nsize = 64\n{more}"), at, words);
}

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    fault(
        "bank.normal.ratio",
        "bank.normal.ratoi",
        "ratoi",
        &["unknown key `method.bank.normal.ratoi`", "did you mean `ratio`?"],
    );
    fault("[protocol]", "[protocal]", "protocal", &["unknown key `protocal`", "did you mean `protocol`?"]);
}

#[test]
fn a_wrong_type_says_which_is_wanted() {
    fault("size = 64", "size = \"64\"", "\"64\"", &["`image.size` must be an integer, not a string"]);
    fault("seeds = [0]", "seeds = 0", "0\nmetrics", &["`seeds` must be an array, not an integer", "help: write [0]"]);
    fault("seen.count = 1", "seen = 1", "1\n\n[image]", &["`protocol.seen` must be a table"]);
    fault("mlp.hidden = 16", "loss.lambda1 = \"aut\"", "\"aut\"", &["`method.loss.lambda1`", "did you mean `auto`?"]);
    fault(
        "mlp.hidden = 16",
        "mlp.hidden = 1979-05-27",
        "1979",
        &["`method.mlp.hidden` must be an integer, not a date"],
    );
}

#[test]
fn a_value_out_of_range_says_the_limit() {
    fault("ratio = 0.05", "ratio = 1.5", "1.5", &["`method.bank.normal.ratio` = 1.5 is out of range", "at most 1"]);
    fault("ratio = 0.05", "ratio = 0", "0\nbank.normal.projection", &["must be greater than 0"]);
    fault("size = 64", "size = 16", "16", &["`image.size` = 16", "at least 32"]);
    fault("seeds = [0]", "seeds = [-1]", "-1", &["`seeds[0]` = -1", "at least 0"]);
    fault("seeds = [0]", "seeds = []", "[]", &["`seeds` must not be empty"]);
    fault("ratio = 0.05", "ratio = nan", "nan", &["not finite"]);
    fault("size = 64", "size = 99999999999999999999", "999", &["64 bits"]);
}

#[test]
fn settings_that_contradict_each_other_are_told_at_one_of_them() {
    fault("size = 64", "size = 64\nresize = 32", "32", &["image.resize", "at least image.size"]);
    fault(
        "aggregation = \"concat\"",
        "aggregation = \"concat\"\ndim = 64",
        "64\n\n[method]",
        &["features.dim", "leave them out"],
    );
    fault(
        "aggregation = \"concat\"",
        "aggregation = \"concat\"\npatch = 2",
        "2\n\n[method]",
        &["features.patch = 2", "odd"],
    );
}

#[test]
fn a_sweep_over_a_key_that_does_not_exist_is_told_at_the_key() {
    let sweep = |key: &str| format!("[sweep]\n\"{key}\" = [0.1, 0.2]\n");
    let key = "method.bank.normal.ratoi";
    fault_at_end(
        &sweep(key),
        "\"method.bank.normal.ratoi\"",
        &["unknown key `method.bank.normal.ratoi`", "did you mean `ratio`?"],
    );
    fault_at_end(&sweep("protocal.seen.count"), "\"protocal", &["`protocal.seen.count` cannot be swept"]);
    fault_at_end(&sweep("protocol.seen.count"), "0.1, 0.2", &["`protocol.seen.count` must be an integer"]);
}

#[test]
fn an_empty_sweep_is_refused_because_nothing_would_run() {
    fault_at_end("[sweep]\n\"protocol.seen.count\" = []\n", "[]", &["has no value, so nothing would run"]);
}

#[test]
fn an_override_of_a_missing_key_in_a_variant_is_told_at_the_variant() {
    let variant = "[[variant]]\nname = \"v\"\nmethod.bank.centre.enabled = false\n";
    fault_at_end(variant, "centre", &["unknown key `method.bank.centre`", "did you mean `center`?"]);
    fault_at_end(
        "[[variant]]\nname = \"v\"\nmethods.x = 1\n",
        "methods",
        &["unknown key `variant[0].methods`", "did you mean `method`?"],
    );
    fault_at_end("[[variant]]\nmethod.train.epochs = 2\n", "[[variant]]", &["lacks `name`"]);
}

#[test]
fn a_name_that_two_variants_or_the_base_share_is_refused() {
    let row = |name: &str, epochs: usize| format!("[[variant]]\nname = {name}\nmethod.train.epochs = {epochs}\n");
    fault_at_end(
        &(row("\"v\"", 2) + &row(" \"v\"", 3)),
        "\"v\"\nmethod.train.epochs = 3",
        &["variant name \"v\" is taken", "help: every variant needs a name of its own"],
    );
    fault_at_end(&row("\"full\"", 2), "\"full\"", &["variant name \"full\" is taken", "help: \"full\" is the base"]);
}

#[test]
fn includes_in_a_circle_are_told_where_the_circle_closes() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[("# A study of one run.", "include = \"base.toml\"")]);
    let base = "title = \"base\"\ninclude = \"experiment.toml\"\n";
    sandbox.write("base.toml", base);
    let outcome = sandbox.dmad(&["run", "experiment.toml"]);
    outcome.refuses(&sandbox, &[&place("base.toml", base, "\"experiment.toml\""), "include cycle"]);
}

#[test]
fn an_include_that_does_not_exist_is_told_at_the_include() {
    let at = "\"missing.toml\"";
    fault(
        "# A study of one run.",
        "include = \"missing.toml\"",
        at,
        &["included file `missing.toml` does not exist", "relative"],
    );
}

#[test]
fn a_fault_in_an_included_file_names_that_file() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[("# A study of one run.", "include = \"sub/base.toml\"")]);
    let base = "[method]\ntrain.epochs = 1\ntrain.batsh = 2\n";
    sandbox.write("sub/base.toml", base);
    let outcome = sandbox.dmad(&["run", "experiment.toml"]);
    outcome.refuses(&sandbox, &[&place("sub/base.toml", base, "batsh"), "did you mean `batch`?"]);
}

#[test]
fn a_file_that_is_not_utf_8_is_told_where_it_stops_being_so() {
    let sandbox = Sandbox::new();
    let at = EXPERIMENT.find("parts\"").expect("the title");
    let bytes = [&EXPERIMENT.as_bytes()[..at], b"caf\xe9 ", &EXPERIMENT.as_bytes()[at..]].concat();
    sandbox.write("experiment.toml", bytes);
    sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &["experiment.toml:2:13", "not UTF-8"]);
}

#[test]
fn a_syntax_error_is_told_at_its_line() {
    fault("size = 64", "size = = 64", "= 64", &[]);
    fault("[image]", "[image", "\nsize = 64\n\n[backbone]", &["expected `]`"]);
    fault("seeds = [0]", "seeds = [0]\nseeds = [1]", "seeds = [1]", &["duplicate key"]);
}

#[test]
fn unknown_names_are_told_at_their_place_with_the_nearest() {
    fault("\"parts\"\nseeds", "\"part\"\nseeds", "\"part\"", &["there is no dataset `part`", "did you mean `parts`?"]);
    fault("\"dmad\"", "\"dmat\"", "\"dmat\"", &["there is no method \"dmat\"", "did you mean `dmad`?"]);
    fault(
        "\"efficientnet_lite0\"",
        "\"efficientnet_lite\"",
        "\"efficientnet_lite\"",
        &["there is no backbone", "did you mean `efficientnet_lite0`?"],
    );
    fault("\"stride16\"", "\"stride-16\"", "[\"stride8\"", &["no layer \"stride-16\"", "did you mean `stride16`?"]);
    fault(
        "dataset = \"cloth\"",
        "dataset = \"clothes\"",
        "\"clothes\"",
        &["there is no dataset `clothes`", "did you mean `cloth`?"],
    );
    fault(
        "seeds = [0]",
        "seeds = [0]\nclasses = [\"disk\"]",
        "[\"disk\"]",
        &["there is no class of dataset `parts` called `disk`", "did you mean `disc`?"],
    );
    fault(
        "seen.count = 1",
        "seen = { exclude_classes = [\"disk\"] }",
        "[\"disk\"]",
        &["`disk`", "did you mean `disc`?"],
    );
    fault(
        "metrics = [\"image_auroc\"",
        "metrics = [\"auroc\"",
        "\"auroc\"",
        &["`metrics[0]` cannot be \"auroc\"", "image_auroc"],
    );
}

#[test]
fn a_class_that_no_dataset_has_is_told_at_its_name_before_any_work() {
    for (more, at, key) in [
        ("[[table]]\nrows = \"class\"\nclasses = [\"disc\", \"disk\", \"mean\"]\n", "\"disk\"", "`table[0].classes`"),
        ("[[figure]]\nkind = \"histogram\"\nclasses = [\"disk\"]\n", "\"disk\"", "`figure[0].classes`"),
        (
            "[[figure]]\nkind = \"bars\"\nclass = \"mean\"\n[[figure]]\nkind = \"bars\"\nclass = \"disk\"\n",
            "\"disk\"",
            "`figure[1].class`",
        ),
        (
            "[[variant]]\nname = \"few\"\nmethod.mlp.hidden = 8\n[[claim]]\ntext = \"few do\"\nbetter = \"few\"\n\
             than = \"full\"\nmetric = \"image_auroc\"\nclasses = [\"disk\"]\n",
            "\"disk\"",
            "`claim[0].classes`",
        ),
    ] {
        fault_at_end(
            more,
            at,
            &[key, "there is no class \"disk\" in `parts`", "did you mean `disc`? known: disc, plate"],
        );
    }
    let sandbox = Sandbox::new();
    // A run of one class may well be shown beside those of all; `plan` says what `run` says.
    let shown = |class: &str| format!("[[table]]\nrows = \"class\"\nclasses = [\"{class}\"]\n");
    sandbox.write("experiment.toml", format!("classes = [\"disc\"]\n{}\n{}", EXPERIMENT, shown("plate")));
    sandbox.dmad(&["plan", "experiment.toml"]).says(0, &[]);
    sandbox.write("experiment.toml", format!("{}\n{}", EXPERIMENT, shown("plat")));
    sandbox.dmad(&["plan", "experiment.toml"]).says(2, &["experiment.toml:", "did you mean `plate`?"]);
    // Where the entry declares none, those that are there count.
    let catalog = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("a catalog");
    let bare: Vec<&str> =
        catalog.lines().filter(|line| !line.starts_with("classes") && !line.starts_with("counts")).collect();
    sandbox.write("datasets.toml", bare.join("\n"));
    sandbox.dmad(&["plan", "experiment.toml"]).says(2, &["did you mean `plate`? known: disc, plate"]);
}

#[test]
fn names_for_readers_stand_for_something_and_tell_variants_apart() {
    let variant = "[[variant]]\nname = \"few\"\nmethod.noise.std = 0.2\n";
    let named = |names: &str| format!("{variant}[names]\n{names}\n");
    let words = ["`names`: \"disk\" is no variant, method, dataset, class or value", "did you mean `disc`?", "few"];
    fault_at_end(&named("disk = \"Discs\""), "disk", &words);
    fault_at_end(&named("ful = \"Ours\""), "ful = ", &["did you mean `full`?"]);
    let same = ["`names`: the variants \"full\" and \"few\" are both shown as \"full\"", "give each a name of its own"];
    fault_at_end(&named("few = \"full\""), "\"full\"", &same);
    // Swept variants are told apart by what was swept, and from each other alone.
    let swept = |names: &str| format!("[sweep]\n\"method.mlp.hidden\" = [4, 8]\n{}", named(names));
    let both = ["\"full[hidden=4]\" and \"few[hidden=4]\" are both shown as \"full[hidden=4]\""];
    fault_at_end(&swept("few = \"full\""), "\"full\"", &both);
    let sandbox = Sandbox::new();
    let fine = "few = \"Few\"\ndisc = \"Discs\"\nparts = \"Parts\"\ndmad = \"DMAD\"\nmean = \"all\"\n4 = \"four\"\n\
                \"full[hidden=8]\" = \"Eight\"";
    sandbox.write("experiment.toml", EXPERIMENT.to_string() + &swept(fine));
    sandbox.dmad(&["plan", "experiment.toml"]).says(0, &[]);
    // A file that is included may name more than this experiment has, and what is set may leave less of it.
    sandbox.write("names.toml", "[names]\ncup = \"Cups\"\n");
    sandbox.write("experiment.toml", format!("include = \"names.toml\"\n{EXPERIMENT}"));
    sandbox.dmad(&["plan", "experiment.toml"]).says(0, &[]);
    sandbox.write("experiment.toml", format!("{EXPERIMENT}\n[names]\ndisk = \"Discs\"\n"));
    sandbox.dmad(&["plan", "experiment.toml"]).says(2, &["did you mean `disc`?"]);
    sandbox.dmad(&["plan", "experiment.toml", "--set", "image.size=96"]).says(0, &[]);
}

#[test]
fn more_seen_anomalies_than_there_are_is_told_at_the_count() {
    let words = ["class `disc` of `parts`: 4 seen anomalies are wanted, 3 are available"];
    fault("seen.count = 1", "seen.count = 4", "4\n\n[image]", &words);
    fault_at_end("[sweep]\n\"protocol.seen.count\" = [1, 5]\n", "5]", &["5 seen anomalies are wanted"]);
}

#[test]
fn a_fault_of_one_variant_alone_names_the_variant() {
    let variant = "[[variant]]\nname = \"many\"\nprotocol.seen.count = 9\n";
    fault_at_end(variant, "9\n", &["9 seen anomalies are wanted, 3 are available (variant \"many\")"]);
}

#[test]
fn a_run_that_is_declared_twice_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[("dataset = \"parts\"", "dataset = [\"parts\", \"parts\"]")]);
    sandbox
        .dmad(&["run", "experiment.toml"])
        .refuses(&sandbox, &["experiment.toml", "declares one run twice", "seed 0"]);
    sandbox.edit(&[("seeds = [0]", "seeds = [3, 3]")]);
    sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &["experiment.toml:4:9", "seed 3 is there twice"]);
}
