//! What somebody meets who begins: catalogs of their own, all faults at once, questions before long work, few words on demand.

use crate::program::{EXPERIMENT, Sandbox, command};

#[test]
fn a_catalog_of_ones_own_adds_to_the_one_that_is_built_in() {
    let sandbox = Sandbox::new();
    let list = sandbox.dmad(&["data", "list", "--format", "json"]);
    for name in ["\"parts\"", "\"mvtec_ad\"", "\"synthetic_textures\""] {
        assert!(list.stdout.contains(name), "no {name} in {}", list.stdout);
    }
    // An entry of the same name takes the place of the built-in one.
    sandbox.write("datasets.toml", "[dataset.dtd]\nlayout = \"folder\"\nroot = \"cloth\"\nlicence = \"mine\"\n");
    let shown = sandbox.dmad(&["data", "verify", "dtd"]);
    shown.says(0, &[]);
    assert!(shown.stdout.contains("2 classes, 4 train"), "{}", shown.stdout);
}

#[test]
fn everything_that_is_absent_is_said_at_once_with_what_would_do_without() {
    let sandbox = Sandbox::new();
    let text = EXPERIMENT
        .replace("dataset = \"parts\"", "dataset = \"mvtec_ad\"")
        .replace("[\"stride8\", \"stride16\"]", "[\"layer2\"]")
        .replace("efficientnet_lite0", "resnet18")
        .replace("bank.outlier.dataset = \"cloth\"", "bank.outlier.dataset = \"dtd\"");
    sandbox.write("experiment.toml", text);
    let words = ["weights of resnet18", "efficientnet_lite0", "mvtec_ad` is expected", "dtd", "synthetic_textures"];
    sandbox.dmad(&["run", "experiment.toml"]).says(2, &words);
    let plan = sandbox.dmad(&["plan", "experiment.toml"]);
    plan.says(1, &[]);
    for word in words {
        assert!(plan.stdout.contains(word), "no {word} in {}", plan.stdout);
    }
    assert!(!plan.stdout.contains("cannot be planned  "), "no table of nothing: {}", plan.stdout);
}

#[test]
fn what_the_machine_has_no_memory_for_is_not_begun_unless_it_is_said_twice() {
    let sandbox = Sandbox::new();
    // A batch of a million images of 64 patches, of which the network keeps what it did.
    let huge = ["--set", "method.train.batch=1000000000", "--set", "method.mlp.hidden=16384"];
    let begun = sandbox.dmad(&[&["run", "experiment.toml"], &huge[..]].concat());
    begun.says(2, &["GB of memory", "that this machine has", "--yes"]);
    assert!(!sandbox.path("results/experiment/runs").exists(), "nothing was begun");
}

#[test]
fn quiet_leaves_results_and_errors() {
    let sandbox = Sandbox::new();
    let quiet = sandbox.dmad(&["run", "experiment.toml", "-q"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "nothing but the tables");
    assert!(quiet.stdout.contains("image_auroc"), "{}", quiet.stdout);
    sandbox.dmad(&["run", "absent.toml", "--quiet"]).says(2, &["error: ", "absent.toml"]);
    sandbox.dmad(&["devices", "--precision", "tf32", "-q"]).says(2, &["error: ", "--device"]);
    sandbox.edit(&[("train.epochs = 1", "train.epochs = 1\ntrain.lr_mlp = 1e30")]);
    sandbox
        .dmad(&["run", "experiment.toml", "-q", "--set", "method.train.epochs=3"])
        .says(1, &["failed: ", "again: dmad run"]);
}

#[test]
fn a_run_that_is_up_to_date_says_so_and_not_that_it_runs() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["is up to date"]);
}

#[test]
fn a_terminal_of_ascii_gets_ascii_and_programs_get_what_there_is() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[("title = \"parts\"", "title = \"Schrauben · ein Maß\"")]);
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[]);
    let run = |language: &str, more: &[&str]| {
        let mut own = command(&sandbox.path(""), &[&["report", "experiment.toml"], more].concat());
        let out = own.env("LC_ALL", language).output().expect("the program starts");
        String::from_utf8(out.stdout).expect("UTF-8")
    };
    let (ascii, utf8) = (run("C", &[]), run("C.UTF-8", &[]));
    assert!(utf8.contains('─') && !ascii.contains('─') && ascii.contains("-----"), "{ascii}");
    assert!(ascii.contains("Maß"), "names are what they are");
    assert_eq!(run("C", &["--format", "json"]), run("C.UTF-8", &["--format", "json"]));
}

#[test]
fn an_error_in_a_file_is_told_once() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[("dataset = \"parts\"", "dataset = \"partz\"")]);
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    out.says(2, &["experiment.toml:3:", "did you mean `parts`?"]);
    assert_eq!(out.stderr.matches("there is no dataset").count(), 1, "{}", out.stderr);
    assert_eq!(out.stderr.matches("known: ").count(), 1, "{}", out.stderr);
}

#[test]
fn short_help_is_of_the_command_alone() {
    let sandbox = Sandbox::new();
    let (short, long) = (sandbox.dmad(&["schema", "-h"]), sandbox.dmad(&["schema", "--help"]));
    assert!(!short.stdout.contains("--device-memory") && long.stdout.contains("--device-memory"), "{}", short.stdout);
    assert!(long.stdout.contains("Options of all commands:"), "{}", long.stdout);
}

#[test]
fn a_list_of_nothing_is_no_fault() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["runs", "list"]).says(0, &["no run is recorded here"]);
    std::fs::create_dir_all(sandbox.path("results/begun/runs")).expect("a folder");
    sandbox.write("results/begun/experiment.toml", EXPERIMENT);
    sandbox.write("results/begun/runs.jsonl", "");
    sandbox.dmad(&["runs", "list"]).says(0, &["no run is recorded yet"]);
}

#[test]
fn status_is_that_of_the_experiment_as_it_was_set() {
    let sandbox = Sandbox::new();
    let set = ["--set", "method.train.epochs=2"];
    sandbox.dmad(&[&["run", "experiment.toml"], &set[..]].concat()).says(0, &[]);
    assert_eq!(sandbox.dmad(&["status", "experiment.toml"]).code, 1);
    let out = sandbox.dmad(&[&["status", "experiment.toml"], &set[..]].concat());
    assert_eq!(out.code, 0, "{}", out.stdout);
}

#[test]
fn images_that_are_shown_turned_are_named_and_webp_is_read() {
    let sandbox = Sandbox::new();
    let image = image::open(sandbox.path("data/parts/disc/train/good/000.png")).expect("an image");
    let mut webp = std::io::Cursor::new(Vec::new());
    image.write_to(&mut webp, image::ImageFormat::WebP).expect("written");
    std::fs::remove_file(sandbox.path("data/parts/disc/train/good/000.png")).expect("removed");
    let webp = webp.into_inner();
    sandbox.write("data/parts/disc/train/good/000.webp", &webp);
    sandbox.dmad(&["data", "verify", "parts", "--deep"]).says(0, &[]);

    let mut jpeg = std::io::Cursor::new(Vec::new());
    image.write_to(&mut jpeg, image::ImageFormat::Jpeg).expect("written");
    // An EXIF segment that says: turned by a quarter (orientation 8).
    let exif = b"\xFF\xE1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0\0\0\0\0";
    let jpeg = jpeg.into_inner();
    std::fs::remove_file(sandbox.path("data/parts/disc/train/good/001.png")).expect("removed");
    sandbox.write("data/parts/disc/train/good/001.jpg", [&jpeg[..2], exif, &jpeg[2..]].concat());
    let out = sandbox.dmad(&["data", "verify", "parts"]);
    out.says(0, &[]);
    assert!(out.stdout.contains("1 images, such as disc/train/good/001.jpg, say by their EXIF"), "{}", out.stdout);

    sandbox.write("data/parts/disc/train/good/000.webp", &webp[..webp.len() - 30]);
    let cut = sandbox.dmad(&["data", "verify", "parts", "--deep"]);
    assert!(cut.code != 0 && (cut.stdout.clone() + &cut.stderr).contains("cut off"), "{}{}", cut.stdout, cut.stderr);
}

#[test]
fn tables_of_commands_fit_the_terminal_or_are_whole_where_there_is_none() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[]);
    for arguments in [&["plan", "experiment.toml", "--stages"][..], &["runs", "list"]] {
        let widest = |columns: Option<&str>| {
            let mut command = crate::program::command(sandbox.path(".").as_path(), arguments);
            command.env_remove("COLUMNS").envs(columns.map(|columns| ("COLUMNS", columns)));
            let out = command.output().expect("started");
            let text = String::from_utf8(out.stdout).expect("text");
            let table = text.lines().filter(|line| !line.starts_with("To do") && !line.starts_with("Nothing"));
            (table.map(|line| line.trim_end().chars().count()).max().expect("lines"), text)
        };
        let ((whole, _), (narrow, text)) = (widest(None), widest(Some("72")));
        assert!(whole > 72 && narrow <= 72, "{arguments:?}: {whole}, {narrow}\n{text}");
    }
}

#[test]
fn whoever_has_the_program_alone_gets_the_quickstart_and_is_told_of_it() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiments/quickstart.toml"]).says(2, &["no experiment file", "dmad init --quickstart"]);
    sandbox.dmad(&["run", "experimnt.toml"]).says(2, &["did you mean `experiment.toml`?"]);
    sandbox.dmad(&["init", "--quickstart"]).says(0, &[]);
    let plan = sandbox.dmad(&["plan", "quickstart.toml"]);
    plan.says(0, &[]);
    assert!(plan.stdout.contains("nearest_normal"), "{}", plan.stdout);
    sandbox.dmad(&["init", "--quickstart"]).says(2, &["quickstart.toml is there already"]);
    sandbox.dmad(&["init"]).says(2, &["FOLDER"]);
}

#[test]
fn from_another_folder_the_files_beside_an_experiment_are_named_as_they_are_typed() {
    let sandbox = Sandbox::new();
    let other = sandbox.path("other");
    std::fs::create_dir_all(&other).expect("a folder");
    let places = ["--data", "../data"];
    for command in ["plan", "run"] {
        let lost = sandbox.dmad_at(&other, &[&[command, "../experiment.toml"], &places[..]].concat());
        let words =
            ["there is no dataset `parts`", "`../datasets.toml` declares it: add `--datasets ../datasets.toml`"];
        assert_eq!(lost.code, if command == "plan" { 1 } else { 2 }, "{}", lost.stderr);
        for word in words {
            assert!((lost.stdout.clone() + &lost.stderr).contains(word), "{word}: {}{}", lost.stdout, lost.stderr);
        }
    }
    let named = ["plan", "../experiment.toml", "--datasets", "../datasets.toml"];
    sandbox.dmad_at(&other, &[&named, &places[..]].concat()).says(0, &[]);
    sandbox.dmad_at(&other, &["plan", "../experimnt.toml"]).says(2, &["did you mean `../experiment.toml`?"]);
}

#[test]
fn a_key_without_its_section_and_a_fault_of_all_runs_are_told_once() {
    let sandbox = Sandbox::new();
    sandbox
        .dmad(&["plan", "experiment.toml", "--set", "train.epochs=3"])
        .says(2, &["unknown key `train`", "did you mean `method.train`?"]);
    let more = "\n[[variant]]\nname = \"wide\"\nmethod.mlp.hidden = 20\n";
    sandbox.write("experiment.toml", EXPERIMENT.replace("\"parts\"\nseeds", "\"cups\"\nseeds") + more);
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    assert_eq!(
        (out.code, out.stderr.matches("cups").count()),
        (2, out.stderr.matches("error:").count() * 2),
        "{}",
        out.stderr
    );
    assert!(out.stderr.contains("no dataset `cups` (variants \"full\", \"wide\")"), "{}", out.stderr);
    let plan = sandbox.dmad(&["plan", "experiment.toml"]).stdout;
    assert_eq!((plan.matches("Wrong: ").count(), plan.matches("no dataset `cups`").count()), (1, 1), "{plan}");
    assert!(plan.contains("(variants \"full\", \"wide\")") && plan.contains("dataset = \"cups\""), "{plan}");
}

#[test]
fn runs_that_a_figure_lacks_are_counted() {
    let sandbox = Sandbox::new();
    let more = "\n[[figure]]\nkind = \"maps\"\n[[variant]]\nname = \"wide\"\nmethod.mlp.hidden = 20\n\
        [[variant]]\nname = \"small\"\nmethod.mlp.hidden = 8\n";
    sandbox.write("experiment.toml", EXPERIMENT.to_string() + more);
    let ran = sandbox.dmad(&["run", "experiment.toml", "--only", "full"]);
    ran.says(0, &["figure 1: 2 runs are not recorded, such as "]);
    let ran = sandbox.dmad(&["run", "experiment.toml", "--only", "wide"]);
    ran.says(0, &["figure 1: run ", " (small) is not recorded"]);
}

#[test]
fn a_report_with_settings_that_were_never_run_leaves_the_files_of_those_that_were() {
    let sandbox = Sandbox::new();
    // A row that what is set does not reach, so that something is recorded.
    let more = "\n[[figure]]\nkind = \"bars\"\n[[variant]]\nname = \"bank\"\nmethod.name = \"patchcore\"\n\
                method.bank.normal.projection = 0\n";
    sandbox.write("experiment.toml", EXPERIMENT.to_string() + more);
    sandbox.dmad(&["run", "experiment.toml", "--no-gallery"]).says(0, &[]);
    let read = |name: &str| std::fs::read(sandbox.path("results/experiment").join(name)).expect("a file");
    let files = ["tables/table1.tex", "figures/figure1.svg", "report.html"];
    let before = files.map(read);
    let report = sandbox.dmad(&["report", "experiment.toml", "--set", "method.train.epochs=5"]);
    report.says(1, &["1 runs are not recorded with what --set says", "stay as they are"]);
    assert!(report.stdout.contains("not run"), "{}", report.stdout);
    assert!(files.map(read) == before);
    // Without files: everything below results.
    let status = sandbox.dmad(&["status"]);
    status.says(0, &[]);
    assert!(status.stdout.contains("experiment"), "{}", status.stdout);
}

#[test]
fn notes_of_several_tables_are_told_once_and_folded_to_the_terminal() {
    let sandbox = Sandbox::new();
    let tables = "\n[[table]]\nrows = \"class\"\n\n[[table]]\nrows = \"variant\"\n";
    sandbox.write("experiment.toml", EXPERIMENT.to_string() + tables);
    sandbox.dmad(&["run", "experiment.toml", "--no-gallery"]).says(0, &[]);
    let mut report = command(sandbox.path(".").as_path(), &["report", "experiment.toml"]);
    let out = report.env("COLUMNS", "76").output().expect("started");
    let text = String::from_utf8(out.stdout).expect("text");
    assert_eq!((text.matches("Percent; ±").count(), text.matches("Other notes as above.").count()), (1, 1), "{text}");
    assert!(text.lines().all(|line| line.trim_end().chars().count() <= 76), "{text}");
}

#[test]
fn keys_are_listed_with_values_defaults_and_meaning() {
    let sandbox = Sandbox::new();
    let keys = |prefix: &str| sandbox.dmad(&["schema", "--keys", prefix]).stdout;
    let curve = keys("figure.curve");
    for words in ["figure.curve.log_x = true | false [false]", "figure.curve.metrics = ", "Text above the figure."] {
        assert!(curve.contains(words), "{words} is not in {curve}");
    }
    assert!(!curve.contains("figure.bars"), "{curve}");
    let seen = keys("protocol.seen");
    assert!(seen.contains("protocol.seen.count = integer from 0 [0]\n    Seen anomalies per class"), "{seen}");
    assert!(seen.contains("\"python\""), "words of a sampler: {seen}");
    // Every key that the schema has for a method, whatever its method.
    let all = sandbox.dmad(&["schema", "--keys"]).stdout;
    for (method, key) in [("dmad", "bank.center.std"), ("patchcore", "bank.normal.ratio"), ("uniad", "train.epochs")] {
        assert!(all.lines().any(|line| line.starts_with(&format!("method.{method}.{key} = "))), "{method} {key}");
    }
    for words in [
        "claim.within = number from 0.0 to 100.0\n",
        "claim.better = text | table\n",
        "claim.better.seen_anomalies = integer from 0\n",
        "\nname = text\n",
    ] {
        assert!(all.contains(words), "{words} is not in {all}");
    }
    assert!(!all.contains("null"), "{all}");
    for (slip, meant) in [
        ("figure.cure", "figure.curve"),
        ("method.dmad.mlp.hiden", "method.dmad.mlp.hidden"),
        ("claim.beter", "claim.better"),
        ("seds", "seeds"),
    ] {
        let told = sandbox.dmad(&["schema", "--keys", slip]);
        told.says(2, &[&format!("no key begins with `{slip}`"), &format!("did you mean `{meant}`? keys begin with ")]);
        assert!(told.stderr.len() < 500 && told.stderr.contains(", claim, "), "{}", told.stderr);
    }
    let nothing = sandbox.dmad(&["schema", "--keys", "nonsense-of-no-kind"]);
    assert!(nothing.code == 2 && !nothing.stderr.contains("did you mean"), "{}", nothing.stderr);
}
