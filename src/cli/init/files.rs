//! The text of what `dmad init` writes: an experiment sized for a CPU, and an entry of the catalog.

use std::path::Path;

use super::Survey;
use crate::data::index::Index;
use crate::data::layouts::{Found, Row};

/// What a new catalog begins with.
pub(super) const CATALOG_HEAD: &str = "\
# Datasets that `dmad` knows when it runs in this folder, beside those built into the program (`dmad data list`).
# `root` is relative to --data DIR (or DMAD_DATA, default ./data), or begins with /.
";

/// Images whose features, banks and trainings a CPU of two cores has done in minutes.
const TRAINED: usize = 400;
const TESTED: usize = 600;
/// Side that the network sees, as far as the images have it.
const SIDE: usize = 256;
/// Anomalies of each class that a second row may learn from, where there are as many again to be tested.
const SEEN: usize = 4;
/// Rows that the bank of a class should have: fewer say little of it.
const BANK_ROWS: usize = 256;

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(names: &[String]) -> String {
    format!("[{}]", names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
}

/// The entry of the catalog; with `index` also what was counted, as a comment that makes it binding.
pub(super) fn entry(name: &str, row: &Row, found: &Found, root: &str, index: Option<&Index>) -> String {
    let keys: String = found.keys.iter().map(|(key, value)| format!("{key} = {}\n", quoted(value))).collect();
    let classes = list(&found.classes);
    let mut text = format!(
        "[dataset.{name}]\nlayout = {}\nroot = {}\n{keys}classes = {classes}\nlicence = \"\"\n",
        quoted(row.name),
        quoted(root)
    );
    let Some(index) = index else { return text };
    text += "# What was found. Without the # of these lines, a run is refused when images come or go.\n";
    for class in &index.classes {
        let counts = class.counts();
        let bad = if counts.train_bad > 0 { format!(", train_bad = {}", counts.train_bad) } else { String::new() };
        text += &format!(
            "# counts.{} = {{ train = {}{bad}, test_good = {}, test_bad = {} }}\n",
            quoted(&class.name),
            counts.train,
            counts.test_good,
            counts.test_bad
        );
    }
    text
}

/// What the experiment says with numbers.
struct Size {
    side: usize,
    ratio: f64,
    train_per_class: usize,
    test_good_per_class: usize,
    test_per_defect: usize,
    tested: bool,
    seen: bool,
}

impl Size {
    fn of(survey: &Survey) -> Size {
        let classes = &survey.index.classes;
        let largest = survey.sizes.iter().map(|[_, (width, height)]| (*width).max(*height)).max().unwrap_or(SIDE);
        let side = SIDE.min(largest.next_multiple_of(32)).max(64);
        let share = |all: usize| (all / classes.len().max(1)).max(1);
        let bounded = |count: usize, most: usize| if count > most { most } else { 0 };
        let counts = || classes.iter().map(|class| class.counts());
        let most = |of: fn(&crate::data::catalog::Counts) -> usize| counts().map(|own| of(&own)).max().unwrap_or(0);
        let kinds = classes.iter().map(|class| super::defects(class).len()).max().unwrap_or(0).max(1);
        let (good, bad) = (share(TESTED) / 3, share(TESTED) * 2 / 3 / kinds);
        let of_kind = classes.iter().flat_map(|class| super::defects(class).into_values()).max().unwrap_or(0);
        let train_per_class = bounded(most(|own| own.train), share(TRAINED).max(8));
        let fewest = counts().map(|own| own.train).min().unwrap_or(1);
        let fewest = if train_per_class > 0 { fewest.min(train_per_class) } else { fewest };
        let patches = (fewest * (side / 8).pow(2)).max(1) as f64;
        // Rounded up, so that the file shows two digits.
        let ratio = ((100.0 * BANK_ROWS as f64 / patches).ceil() / 100.0).clamp(0.02, 1.0);
        let anomalies =
            |own: crate::data::catalog::Counts| if own.train_bad > 0 { own.train_bad + SEEN } else { own.test_bad };
        Size {
            side,
            ratio,
            train_per_class,
            test_good_per_class: bounded(most(|own| own.test_good), good.max(4)),
            test_per_defect: bounded(of_kind, bad.max(4)),
            tested: counts().all(|own| own.test_bad > 0),
            seen: counts().map(anomalies).all(|count| count >= 2 * SEEN),
        }
    }
}

/// The experiment file: it runs as it is, and says what to raise.
pub(super) fn experiment(survey: &Survey, path: &Path) -> String {
    let size = Size::of(survey);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    [
        head(survey, &size, &file),
        protocol(&size),
        network(&size),
        METHOD.replace("RATIO", &size.ratio.to_string()),
        rows(&size),
        shown(&size),
    ]
    .concat()
}

fn head(survey: &Survey, size: &Size, file: &str) -> String {
    let Survey { name, row, index, .. } = survey;
    let images = index.counts().total();
    let classes = match index.classes.len() {
        1 => "1 class".into(),
        count => format!("{count} classes"),
    };
    let metrics = match index.classes.iter().any(|class| super::masks(class) > 0) || !size.tested {
        true => "\"image_auroc\", \"pixel_auroc\", \"pixel_pro\"",
        // Without masks there is nothing to hold a map against.
        false => "\"image_auroc\", \"image_ap\", \"image_f1max\"",
    };
    let what = match size.tested {
        true => String::new(),
        false => "\
# Some class has no anomaly to be tested on, so metrics stay undefined there. What a run is good for without them:
#   dmad runs list                                     names the run
#   dmad predict --run ID PHOTOS --out found           scores and heat maps of other images
"
        .into(),
    };
    format!(
        "\
# The {images} images of `{name}` ({classes}, layout {}): DMAD beside the plain distance to the nearest normal patch.
#   dmad plan {file}       what it would take
#   dmad run {file}        does it; the same again goes on where it was
{what}#
# Nothing has to be downloaded: the backbone and the outlier textures are inside the program. Sized to take minutes on a
# CPU; numbers of this size show that everything works. For numbers to go by, raise one after the other:
#   image.size             what the network sees of an image; 320 or more where defects are small
#   protocol.*             0 = all images, where a number stands below
#   method.train.epochs, method.mlp.hidden, method.train.patches_per_image      48, 1024 and 0 (all) are the paper's
#   backbone               name = \"wide_resnet50_2\" with layers = [\"layer2\", \"layer3\"] is the paper's; `dmad weights fetch
#                          wide_resnet50_2` brings its file
#   method.bank.outlier.dataset     dtd, photographs of textures (`dmad data list`)
#   seeds                  [0, 1, 2]: how much of a difference is chance
# Every key with its meaning: docs/methods/dmad.md; `dmad schema` gives them to an editor.
name = \"{name}\"
title = \"DMAD on {name} (EfficientNet-Lite0)\"
dataset = \"{name}\"
seeds = [0]
metrics = [{metrics}]
",
        row.name
    )
}

fn protocol(size: &Size) -> String {
    let key = |name: &str, value: usize, about: &str| match value {
        0 => String::new(),
        value => format!("{:<38} # {about}\n", format!("{name} = {value}")),
    };
    let keys = [
        key("train_per_class", size.train_per_class, "the first of each class; tables say that images were left out"),
        key("test_good_per_class", size.test_good_per_class, ""),
        key("test_per_defect", size.test_per_defect, "of each kind"),
    ];
    let keys = keys.concat().replace(" # \n", "\n");
    match keys.is_empty() {
        true => String::new(),
        false => format!("\n[protocol]\n{}\n", keys.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")),
    }
}

fn network(size: &Size) -> String {
    format!(
        "
[image]
size = {}

[backbone]
name = \"efficientnet_lite0\"            # ImageNet weights, part of the program
layers = [\"stride8\", \"stride16\"]

[features]
aggregation = \"concat\"
",
        size.side
    )
}

const METHOD: &str = "
[method]
name = \"dmad\"
bank.normal.ratio = RATIO               # share of the patches of normal images that the bank keeps
bank.normal.scope = \"per_class\"
bank.normal.projection = 0
bank.outlier.dataset = \"synthetic_textures\"
bank.outlier.images_per_category = 2
neighbours.exclude_self = true
attention.mode = \"off\"
mlp.hidden = 128
noise.std = 0.4
noise.relative = true
noise.where = \"q\"
train.epochs = 40
train.batch = 8
train.anomaly_batch = 8
train.patches_per_image = 64
train.lr_mlp = 4e-4
train.lr_projection = 2e-4
";

/// The second method, and training with seen anomalies where there are enough.
fn rows(size: &Size) -> String {
    let (seen, sweep) = match size.seen {
        false => (String::new(), ""),
        true => (
            format!(
                "\n[sweep]\n\"protocol.seen.count\" = [0, {SEEN}]            # anomalies of each class that training sees\n"
            ),
            "sweep.\"protocol.seen.count\" = [0]\n",
        ),
    };
    format!(
        "{seen}
[[variant]]
name = \"nearest_normal\"                # no training: the distance to the nearest patch of the bank
method.name = \"patchcore\"
method.bank.normal.ratio = {}
method.bank.normal.scope = \"per_class\"
method.bank.normal.projection = 0
method.score.squared = false
{sweep}",
        size.ratio
    )
}

fn shown(size: &Size) -> String {
    let columns = if size.seen { "\"seen_anomalies\"" } else { "" };
    let maps = if size.tested { "\n[[figure]]\nkind = \"maps\"\n" } else { "" };
    format!(
        "
[[table]]
rows = \"variant\"
columns = [{columns}]

[[table]]
title = \"By class\"
rows = \"class\"
columns = [\"variant\"{}]

[[figure]]
kind = \"learning\"
{maps}",
        if size.seen { ", \"seen_anomalies\"" } else { "" }
    )
}
