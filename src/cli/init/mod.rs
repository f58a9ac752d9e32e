//! `dmad init`: from a folder of images to an experiment that runs.
//!
//! Owns: this command's arguments and output, and that nothing is overwritten. Does not own: what layout a folder has
//! (`data::layouts`), what is written (`files`).

mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Value as Json, json};

use super::Common;
use crate::console::say;
use crate::data::catalog::{Catalog, DatasetEntry};
use crate::data::index::{self, ClassIndex, Index};
use crate::data::layouts::{self, Found, Row};
use crate::data::{image, verify};
use crate::error::{Error, Result};
use crate::store::write_atomically;

/// Write an experiment for a folder of images, and its entry of datasets.toml.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad init photos/shelf                    writes shelf.toml, and an entry `shelf` in datasets.toml
  dmad init /srv/images/caps --name caps_line2 --out study
  dmad init --quickstart                    writes quickstart.toml, which needs no image of anybody's

The folder is recognised as one of:
  mvtec    CLASS/train/good, CLASS/test/good, CLASS/test/DEFECT, CLASS/ground_truth/DEFECT/NNN_mask.png
  visa     CLASS/Data/Images, CLASS/Data/Masks, split_csv/SPLIT.csv
  btad     CLASS/train/ok, CLASS/test/{ok,ko}, CLASS/ground_truth/ko
  mvtec2, real_iad, elpv   as the datasets of these names are unpacked
  folder   CATEGORY/*.jpg: normal images alone; nothing is measured, and `dmad predict` draws maps of others
What is written runs at once, in minutes on a CPU, with a backbone and outlier textures that are inside the program.")]
pub struct Args {
    /// Folder of a dataset, or of one class of it
    #[arg(value_name = "FOLDER", required_unless_present = "quickstart")]
    folder: Option<PathBuf>,
    /// Write the experiment on drawn images that the README begins with
    #[arg(long, conflicts_with_all = ["folder", "name"])]
    quickstart: bool,
    /// Folder to write into
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Name of the dataset, the experiment and its file [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// What is known of the folder.
struct Survey {
    name: String,
    row: &'static Row,
    found: Found,
    /// The folder as the entry names it.
    root: String,
    index: Index,
    /// Widths and heights of the images of each class: least and greatest.
    sizes: Vec<[(usize, usize); 2]>,
}

/// The experiment that the README begins with.
const QUICKSTART: &str = include_str!("../../../experiments/quickstart.toml");

/// Writes it, for whoever has the program without its repository.
fn quickstart(out: &Path, common: &Common, as_json: bool) -> Result<()> {
    let path = if out == Path::new(".") { "quickstart.toml".into() } else { out.join("quickstart.toml") };
    if path.exists() {
        return Err(Error::usage(format!("{} is there already", path.display()), "name another folder with --out"));
    }
    std::fs::create_dir_all(out).map_err(Error::io("create", out))?;
    // Its schema lies in the repository.
    let text: String =
        QUICKSTART.lines().filter(|line| !line.starts_with("#:")).map(|line| format!("{line}\n")).collect();
    write_atomically(&path, text.as_bytes())?;
    super::print(&match as_json {
        true => json!({ "experiment": path }).to_string(),
        false => {
            let file = super::quoted(&path.to_string_lossy());
            format!("Wrote {}. Next:\n  dmad run {file}{}", path.display(), common.given())
        }
    })
}

/// Writes both files and says what was found and what comes next.
///
/// # Errors
/// A folder in no known layout or with faults, a name that is taken, files that are there or cannot be written.
pub(super) fn run(args: &Args, common: &Common, as_json: bool) -> Result<()> {
    if args.quickstart {
        return quickstart(&args.out, common, as_json);
    }
    let survey = survey(args, common)?;
    // As it is typed where it lies here.
    let into = |name: &str| if args.out == Path::new(".") { name.into() } else { args.out.join(name) };
    let experiment = into(&format!("{}.toml", survey.name));
    let catalog = common.datasets.clone().unwrap_or_else(|| into("datasets.toml"));
    if experiment.exists() {
        let what = format!("{} is there already", experiment.display());
        return Err(Error::usage(what, "give another --name, or another folder with --out"));
    }
    let entry = entry(&survey, &catalog)?;
    let text = files::experiment(&survey, &experiment);
    std::fs::create_dir_all(&args.out).map_err(Error::io("create", &args.out))?;
    write_atomically(&catalog, entry.as_bytes())?;
    write_atomically(&experiment, text.as_bytes())?;
    for note in survey.index.unread().into_iter().chain(super::turned(&verify::turned(&survey.index))) {
        say!("note: {note}");
    }
    match as_json {
        true => super::print(&format!("{:#}", told_json(&survey, &experiment, &catalog))),
        false => super::print(&told(&survey, &experiment, &catalog, common)),
    }
}

/// Recognises the folder and reads it.
fn survey(args: &Args, common: &Common) -> Result<Survey> {
    let named = args.folder.as_deref().unwrap_or(Path::new("."));
    let folder = named.canonicalize().map_err(Error::io("read", named))?;
    if !folder.is_dir() {
        return Err(Error::data(named, "is no folder", "name the folder that holds the images"));
    }
    let (row, found) = layouts::recognise(&folder)?;
    check_classes(&found)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        // As it is called here, where it is a link.
        None => plain_name(named.file_name().map_or(folder.as_path(), Path::new)),
    };
    check_name(&name)?;
    let root = root(&found.root, &common.data_root())?;
    let declared = files::entry(&name, row, &found, &root, None);
    let catalog = Catalog::parse(declared, Path::new("datasets.toml"))?;
    let index = read(catalog.get(&name)?, &common.data_root())?;
    let sizes = index.classes.iter().map(sizes).collect::<Result<_>>()?;
    Ok(Survey { name, row, found, root, index, sizes })
}

/// All that is wrong with a dataset, where something is.
fn read(entry: &DatasetEntry, data: &Path) -> Result<Index> {
    const SHOWN: usize = 3;
    let index::Survey { index, mut faults } = index::survey(entry, data, None)?;
    if faults.is_empty() {
        faults = verify::headers(&index);
    }
    match faults.len() {
        0 => Ok(index),
        1 => Err(faults.swap_remove(0)),
        count => {
            let shown: Vec<String> = faults.iter().take(SHOWN).map(|fault| format!("\n  {fault}")).collect();
            let what = format!(
                "layout {} fits, but {count} faults are in it, such as{}",
                entry.declared.layout,
                shown.concat()
            );
            Err(Error::data(&index.root, what, faults[0].help().unwrap_or("correct them")))
        }
    }
}

/// A name made of a folder's, of letters, digits, - and _.
fn plain_name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    match name.trim_matches('_') {
        "" => "images".into(),
        name => name.into(),
    }
}

/// Refuses names of class folders that nothing can be written for.
fn check_classes(found: &Found) -> Result<()> {
    if let Some(class) = found.classes.iter().find(|class| *class == index::MEAN) {
        return Err(index::named_mean(&found.root.join(class)));
    }
    match found.classes.iter().find(|class| class.contains(char::is_control)) {
        Some(class) => {
            let what = format!("the name of its class {class:?} has a character that no line of a file shows");
            Err(Error::data(&found.root, what, "rename the folder"))
        }
        None => Ok(()),
    }
}

fn check_name(name: &str) -> Result<()> {
    let fine = (1..=200).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    match (fine, name) {
        (_, "datasets") => {
            Err(Error::usage("an experiment called `datasets` would have the catalog's file", "give another --name"))
        }
        (true, _) => Ok(()),
        (false, _) => Err(Error::usage(
            format!("`{name}` cannot be the name of a dataset"),
            "use letters, digits, - and _ in --name",
        )),
    }
}

/// A dataset's folder as its entry names it: from the data folder on where it is in there, else from the root of all.
fn root(folder: &Path, data: &Path) -> Result<String> {
    let inside = data.canonicalize().ok().and_then(|data| Some(folder.strip_prefix(data).ok()?.to_path_buf()));
    // The data folder itself has no name from there.
    let path = inside.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| folder.into());
    let text = path.to_str().map(str::to_string);
    text.ok_or_else(|| Error::data(folder, "the path is not valid UTF-8", "rename its folders"))
}

/// Least and greatest width and height of a class's images, from their headers.
fn sizes(class: &ClassIndex) -> Result<[(usize, usize); 2]> {
    let labelled = class.train_anomalies.iter().chain(&class.test).map(|labelled| &labelled.image);
    let images: Vec<_> = class.train.iter().chain(labelled).collect();
    let sizes: Vec<(usize, usize)> = images.par_iter().map(|image| image::size(image)).collect::<Result<_>>()?;
    let of = |pick: fn(&(usize, usize)) -> usize| sizes.iter().map(pick).min().zip(sizes.iter().map(pick).max());
    let ((least_width, width), (least_height, height)) = of(|size| size.0).zip(of(|size| size.1)).unwrap_or_default();
    Ok([(least_width, least_height), (width, height)])
}

/// The catalog's text with the new entry.
fn entry(survey: &Survey, path: &Path) -> Result<String> {
    let Survey { name, row, found, root, index, .. } = survey;
    let own = files::entry(name, row, found, root, Some(index));
    let (before, known) = match path.is_file() {
        false => (files::CATALOG_HEAD.to_string(), Catalog::parse(String::new(), path)?),
        true => {
            let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
            (text.clone(), Catalog::parse(text, path)?)
        }
    };
    if known.names().any(|other| other == name) {
        let what = format!("{} has a dataset `{name}` already", path.display());
        return Err(Error::usage(what, "give another --name, or remove that entry"));
    }
    let text = format!("{}\n\n{own}", before.trim_end());
    // Where the file writes its datasets in braces, nothing can be added behind them.
    Catalog::parse(text.clone(), path)?;
    Ok(text)
}

/// How many test images each kind of defect has.
fn defects(class: &ClassIndex) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    class.test.iter().filter(|l| l.anomalous).for_each(|l| *kinds.entry(l.defect.as_str()).or_default() += 1);
    kinds
}

/// How many anomalies have a mask.
fn masks(class: &ClassIndex) -> usize {
    class.train_anomalies.iter().chain(&class.test).filter(|labelled| labelled.mask.is_some()).count()
}

fn told(survey: &Survey, experiment: &Path, catalog: &Path, common: &Common) -> String {
    let Survey { name, row, found, index, .. } = survey;
    let head = ["class", "train", "test normal", "test anomalous", "masks", "sizes"];
    let rows = index.classes.iter().zip(&survey.sizes).map(|(class, [least, most])| {
        let counts = class.counts();
        let kinds: Vec<String> = defects(class).into_iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let anomalous = match kinds.is_empty() {
            true => "0".into(),
            false => format!("{} ({})", counts.test_bad, kinds.join(", ")),
        };
        let train = match counts.train_bad {
            0 => counts.train.to_string(),
            bad => format!("{} + {bad} anomalous", counts.train),
        };
        let size = |(width, height): (usize, usize)| format!("{width} × {height}");
        let sizes = if least == most { size(*least) } else { format!("{} to {}", size(*least), size(*most)) };
        vec![class.name.clone(), train, counts.test_good.to_string(), anomalous, masks(class).to_string(), sizes]
    });
    let table = crate::cli::terminal::table(&head, rows);
    let file = super::quoted(&experiment.to_string_lossy());
    // A catalog that is not the one of this folder has to be named.
    let own = catalog.parent().is_none_or(|parent| parent.as_os_str().is_empty());
    let datasets = match own || common.datasets.is_some() {
        true => String::new(),
        false => format!(" --datasets {}", super::quoted(&catalog.to_string_lossy())),
    };
    let options = format!("{datasets}{}", common.given());
    format!(
        "{}: layout {} ({}), since {}\n{table}\nWrote {} and the entry `{name}` of {}. Next:\n  dmad plan {file}{options}\n  dmad run {file}{options}",
        found.root.display(),
        row.name,
        row.files,
        found.why,
        experiment.display(),
        catalog.display()
    )
}

fn told_json(survey: &Survey, experiment: &Path, catalog: &Path) -> Json {
    let Survey { name, row, found, root, index, .. } = survey;
    let classes = index.classes.iter().zip(&survey.sizes).map(|(class, [least, most])| {
        json!({
            "class": class.name, "counts": class.counts(), "defects": defects(class), "masks": masks(class),
            "smallest": [least.0, least.1], "largest": [most.0, most.1],
        })
    });
    json!({
        "name": name, "layout": row.name, "why": found.why, "root": root, "classes": classes.collect::<Json>(),
        "experiment": experiment.display().to_string(), "datasets": catalog.display().to_string(),
    })
}
