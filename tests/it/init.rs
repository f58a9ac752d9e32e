//! `dmad init`: what it writes for a folder of every layout runs at once.

use crate::program::{Outcome, Sandbox, finished};

/// A folder of its own with the images of the usual sandbox, and no catalog but what `init` writes.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::remove_file(sandbox.path("datasets.toml")).expect("removed");
    sandbox
}

/// Copies an image of the usual dataset.
fn copy(sandbox: &Sandbox, from: &str, to: &str) {
    let bytes = std::fs::read(sandbox.path(&format!("data/parts/{from}"))).unwrap_or_else(|e| panic!("{from}: {e}"));
    sandbox.write(to, bytes);
}

/// Runs `init`, then plans and runs what it has written.
fn init_and_run(sandbox: &Sandbox, folder: &str, words: &[&str]) -> Outcome {
    let name = folder.rsplit('/').next().expect("a name");
    let init = sandbox.dmad(&["init", folder]);
    init.says(0, &[]);
    for word in words {
        assert!(init.stdout.contains(word), "{word:?} is not in:\n{}", init.stdout);
    }
    let file = format!("{name}.toml");
    assert!(init.stdout.contains(&format!("dmad run {file}")), "{}", init.stdout);
    let text = std::fs::read_to_string(sandbox.path(&file)).expect("written");
    assert!(text.contains("minutes on a") && text.contains("protocol.*") && text.contains("image.size"), "{text}");
    sandbox.dmad(&["data", "verify", name]).says(0, &[]);
    let plan = sandbox.dmad(&["plan", &file]);
    plan.says(0, &[]);
    let run = sandbox.dmad(&["run", &file]);
    run.says(0, &[]);
    run
}

#[test]
fn a_folder_in_mvtecs_layout_runs_as_it_was_written() {
    let sandbox = sandbox();
    let run = init_and_run(&sandbox, "data/parts", &["layout mvtec", "train/good", "disc", "3 (cut 3)", "64 × 64"]);
    assert_eq!(finished(&run.events), (2, 0));
    assert!(run.stdout.contains("nearest_normal"), "{}", run.stdout);
    let entry = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("written");
    assert!(
        entry.contains("[dataset.parts]") && entry.contains("root = \"parts\""),
        "from the data folder on: {entry}"
    );
    assert!(entry.contains("# counts.\"disc\" = { train = 4, test_good = 2, test_bad = 3 }"), "{entry}");
    // With its # removed the line holds.
    sandbox.write("datasets.toml", entry.replace("# counts", "counts"));
    sandbox.dmad(&["data", "verify", "parts"]).says(0, &[]);
}

#[test]
fn one_class_alone_is_recognised_as_that() {
    let sandbox = sandbox();
    init_and_run(&sandbox, "data/parts/disc", &["layout mvtec", "disc"]);
    let entry = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("written");
    assert!(entry.contains("classes = [\"disc\"]") && entry.contains("root = \"parts\""), "{entry}");
}

#[test]
fn a_folder_in_visas_layout_runs_as_it_was_written() {
    let sandbox = sandbox();
    let mut rows = String::from("object,split,label,image,mask\n");
    for image in 0..4 {
        let path = format!("disc/Data/Images/Normal/{image:03}.png");
        copy(&sandbox, &format!("disc/train/good/{image:03}.png"), &format!("images/{path}"));
        rows += &format!("disc,train,normal,{path},\n");
    }
    for image in 0..2 {
        let path = format!("disc/Data/Images/Normal/1{image:02}.png");
        copy(&sandbox, &format!("disc/test/good/{image:03}.png"), &format!("images/{path}"));
        rows += &format!("disc,test,normal,{path},\n");
        let (path, mask) =
            (format!("disc/Data/Images/Anomaly/{image:03}.png"), format!("disc/Data/Masks/Anomaly/{image:03}.png"));
        copy(&sandbox, &format!("disc/test/cut/{image:03}.png"), &format!("images/{path}"));
        copy(&sandbox, &format!("disc/ground_truth/cut/{image:03}_mask.png"), &format!("images/{mask}"));
        rows += &format!("disc,test,anomaly,{path},{mask}\n");
    }
    sandbox.write("images/split_csv/2cls_fewshot.csv", rows);
    init_and_run(&sandbox, "images", &["layout visa", "split_csv/2cls_fewshot.csv", "2 (anomaly 2)"]);
    // The folder is not below the data folder, so its whole path stands there.
    let entry = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("written");
    assert!(entry.contains("split = \"2cls_fewshot\"") && entry.contains("root = \"/"), "{entry}");
}

#[test]
fn a_folder_in_btads_layout_with_enough_anomalies_also_learns_from_some() {
    let sandbox = sandbox();
    for image in 0..4 {
        copy(&sandbox, &format!("disc/train/good/{image:03}.png"), &format!("data/caps/01/train/ok/{image:04}.png"));
    }
    for image in 0..2 {
        copy(&sandbox, &format!("disc/test/good/{image:03}.png"), &format!("data/caps/01/test/ok/{image:04}.png"));
    }
    for image in 0..8 {
        let from = image % 3;
        copy(&sandbox, &format!("disc/test/cut/{from:03}.png"), &format!("data/caps/01/test/ko/{image:04}.png"));
        let mask = format!("data/caps/01/ground_truth/ko/{image:04}.png");
        copy(&sandbox, &format!("disc/ground_truth/cut/{from:03}_mask.png"), &mask);
    }
    let text = |sandbox: &Sandbox| std::fs::read_to_string(sandbox.path("caps.toml")).expect("written");
    let run = init_and_run(&sandbox, "data/caps", &["layout btad", "train/ok", "8 (ko 8)"]);
    assert!(text(&sandbox).contains("\"protocol.seen.count\" = [0, 4]"), "{}", text(&sandbox));
    assert_eq!(finished(&run.events), (3, 0));
}

#[test]
fn a_folder_of_normal_images_runs_and_its_model_draws_maps_of_others() {
    let sandbox = sandbox();
    init_and_run(&sandbox, "data/cloth", &["layout folder", "without a test set", "linen", "wool"]);
    let text = std::fs::read_to_string(sandbox.path("cloth.toml")).expect("written");
    assert!(text.contains("dmad predict --run ID"), "{text}");
    let list = sandbox.dmad(&["runs", "list", "--where", "variant=nearest_normal", "--format", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).expect("JSON");
    let id = list[0]["run"].as_str().expect("a run");
    let predicted = sandbox.dmad(&["predict", "--run", id, "data/cloth/wool", "--out", "found"]);
    predicted.says(0, &[]);
    assert!(sandbox.path("found/scores.csv").is_file());
}

#[test]
fn nothing_is_overwritten_and_an_entry_is_added_to_the_catalog_that_is_there() {
    let sandbox = Sandbox::new();
    let before = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("there");
    sandbox.dmad(&["init", "data/parts"]).says(2, &["has a dataset `parts` already", "--name"]);
    sandbox
        .dmad(&["init", "data/parts", "--name", "experiment"])
        .says(2, &["experiment.toml is there already", "--out"]);
    sandbox.dmad(&["init", "data/parts", "--name", "a b"]).says(2, &["`a b` cannot be the name", "letters"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("datasets.toml")).expect("there"), before);
    sandbox.dmad(&["init", "data/parts", "--name", "more"]).says(0, &[]);
    let after = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("there");
    assert!(after.starts_with(before.trim_end()) && after.contains("[dataset.more]"), "{after}");
    sandbox.dmad(&["plan", "more.toml"]).says(0, &[]);
    sandbox.dmad(&["plan", "experiment.toml"]).says(0, &[]);
}

#[test]
fn another_folder_gets_both_files_and_the_command_names_them() {
    let sandbox = sandbox();
    let init = sandbox.dmad(&["init", "data/parts", "--out", "my study", "--format", "json"]);
    init.says(0, &[]);
    let told: serde_json::Value = serde_json::from_str(&init.stdout).expect("JSON alone");
    assert_eq!((&told["layout"], &told["classes"][0]["masks"]), (&"mvtec".into(), &3.into()));
    let init = sandbox.dmad(&["init", "data/parts", "--out", "my study", "--name", "again"]);
    let command = init.stdout.lines().find_map(|line| line.trim().strip_prefix("dmad plan ")).expect("a command");
    assert_eq!(command, "'my study/again.toml' --datasets 'my study/datasets.toml'");
    sandbox.dmad(&["plan", "my study/again.toml", "--datasets", "my study/datasets.toml"]).says(0, &[]);
}

#[test]
fn what_is_nearly_a_layout_is_told_what_is_amiss() {
    let sandbox = sandbox();
    sandbox.dmad(&["init", "nowhere"]).says(2, &["nowhere"]);
    sandbox.dmad(&["init", "experiment.toml"]).says(2, &["is no folder"]);
    std::fs::create_dir_all(sandbox.path("empty/inside")).expect("made");
    sandbox.dmad(&["init", "empty"]).says(2, &["is in no layout", "holds no image", "mvtec (CLASS/train/good"]);
    copy(&sandbox, "disc/train/good/000.png", "a/disc/train/000.png");
    sandbox.dmad(&["init", "a"]).says(2, &["a/disc/train", "in a folder `good` of it"]);
    copy(&sandbox, "disc/train/good/000.png", "b/disc/train/fine/000.png");
    sandbox.dmad(&["init", "b"]).says(2, &["b/disc/train", "has no folder `good`"]);
    copy(&sandbox, "disc/train/good/000.png", "c/good/000.png");
    copy(&sandbox, "disc/test/cut/000.png", "c/scratch/000.png");
    sandbox.dmad(&["init", "c"]).says(2, &["called good and scratch", "NAME/train/good"]);
    copy(&sandbox, "disc/train/good/000.png", "d/disc/Data/Images/Normal/000.png");
    sandbox.dmad(&["init", "d"]).says(2, &["d/split_csv", "spot-diff"]);
    std::fs::remove_file(sandbox.path("data/parts/disc/ground_truth/cut/000_mask.png")).expect("removed");
    sandbox.dmad(&["init", "data/parts"]).says(2, &["000_mask.png", "is missing", "restore it"]);
    assert!(!sandbox.path("parts.toml").exists() && !sandbox.path("datasets.toml").exists());
}

#[test]
fn masks_of_other_names_are_one_fault_that_says_what_they_are_to_be_called() {
    let sandbox = sandbox();
    let folder = sandbox.path("data/parts/disc/ground_truth/cut");
    let rename = |from: &str, to: &str| std::fs::rename(folder.join(from), folder.join(to)).expect("renamed");
    for image in 0..3 {
        rename(&format!("{image:03}_mask.png"), &format!("{image:03}-mask.png"));
    }
    let words = ["3 masks have other names", "rename 000-mask.png to 000_mask.png (or 000.png)"];
    let told = sandbox.dmad(&["init", "data/parts"]);
    told.says(2, &words);
    assert!(!told.stderr.contains("is missing") && !told.stderr.contains("has no image"), "{}", told.stderr);
    // Where one is gone, which is whose is not known.
    std::fs::remove_file(folder.join("002-mask.png")).expect("removed");
    sandbox.dmad(&["init", "data/parts"]).says(2, &["5 faults", "is missing"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_gives_the_experiment_its_own_name() {
    let sandbox = sandbox();
    std::os::unix::fs::symlink(sandbox.path("data/parts"), sandbox.path("goods")).expect("a link");
    sandbox.dmad(&["init", "goods"]).says(0, &[]);
    assert!(sandbox.path("goods.toml").is_file() && !sandbox.path("parts.toml").exists());
    sandbox.dmad(&["plan", "goods.toml"]).says(0, &[]);
}

#[test]
fn defects_without_masks_are_measured_by_image_and_masks_may_be_called_as_their_images() {
    let bare = sandbox();
    for class in ["disc", "plate"] {
        std::fs::remove_dir_all(bare.path(&format!("data/parts/{class}/ground_truth"))).expect("removed");
    }
    let run = init_and_run(&bare, "data/parts", &["layout mvtec", "without masks"]);
    assert_eq!(finished(&run.events), (2, 0));
    assert!(run.stdout.contains("image_f1max") && !run.stdout.contains("pixel_auroc"), "{}", run.stdout);
    let entry = std::fs::read_to_string(bare.path("datasets.toml")).expect("written");
    assert!(entry.contains("masks = \"none\""), "{entry}");
    // Without that line the masks are missed, and the line is named.
    bare.write("datasets.toml", entry.replace("masks = \"none\"\n", ""));
    let missed = bare.dmad(&["data", "verify", "parts"]);
    assert!(missed.code != 0 && (missed.stdout + &missed.stderr).contains("masks = \"none\""), "{}", missed.code);

    let alike = sandbox();
    for class in ["disc", "plate"] {
        for image in 0..3 {
            let folder = alike.path(&format!("data/parts/{class}/ground_truth/cut"));
            std::fs::rename(folder.join(format!("{image:03}_mask.png")), folder.join(format!("{image:03}.png")))
                .expect("renamed");
        }
    }
    let run = init_and_run(&alike, "data/parts", &["layout mvtec"]);
    assert_eq!(finished(&run.events), (2, 0));
    assert!(run.stdout.contains("pixel_auroc"), "{}", run.stdout);
}

#[test]
fn a_class_called_as_the_mean_is_refused_before_anything_is_written_or_run() {
    let sandbox = sandbox();
    std::fs::rename(sandbox.path("data/parts/disc"), sandbox.path("data/parts/mean")).expect("renamed");
    let words = ["parts/mean", "cannot be called `mean`", "rename the folder"];
    sandbox.dmad(&["init", "data/parts"]).says(2, &words);
    assert!(!sandbox.path("parts.toml").exists() && !sandbox.path("datasets.toml").exists());
    // An entry that leaves the classes to what is found.
    sandbox.write("datasets.toml", "[dataset.parts]\nlayout = \"mvtec\"\nroot = \"parts\"\n");
    sandbox.edit(&[("seen.count = 1", "seen.count = 0"), ("bank.outlier.dataset = \"cloth\"\n", "")]);
    let plan = sandbox.dmad(&["plan", "experiment.toml"]);
    assert!(plan.code == 1 && words.iter().all(|word| plan.stdout.contains(word)), "{}", plan.stdout);
    sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &words);
}

#[cfg(unix)]
#[test]
fn a_class_whose_name_is_of_two_lines_is_refused_by_that_name() {
    let sandbox = sandbox();
    std::fs::rename(sandbox.path("data/parts/disc"), sandbox.path("data/parts/a\nb")).expect("renamed");
    let out = sandbox.dmad(&["init", "data/parts"]);
    out.says(2, &["parts: the name of its class \"a\\nb\" has a character", "rename the folder"]);
    assert!(!out.stderr.contains("datasets.toml"), "{}", out.stderr);
    assert!(!sandbox.path("parts.toml").exists() && !sandbox.path("datasets.toml").exists());
}
