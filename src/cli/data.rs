//! `dmad data`: what datasets are known, whether they are whole, and the synthetic ones as files.
//!
//! Owns: this command's arguments and output. Does not own: any check (`data`).

use super::fetch::{Fetching, Offer};
use crate::console::say;
use crate::data::catalog::{Catalog, Counts, DatasetEntry, Declared};
use crate::data::digest::Digests;
use crate::data::index::{self, Image, Index, Labelled, Source, Survey};
use crate::data::{image as images, import, verify};
use crate::error::{Error, Result};
use crate::fetch::{Wanted, download, is_archive_name, sha256_of};
use clap::Subcommand;
use comfy_table::{Table, presets};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What `dmad data` can do.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the known datasets: layout, whether they are there, size, licence.
    #[command(after_help = "Examples:\n  dmad data list\n  dmad data list --data /srv/images --format json")]
    List,
    /// Download a dataset of the catalog and unpack it: resumed where it broke off, checked by digest and by its counts.
    #[command(after_help = "Examples:\n  dmad data fetch visa --yes\n  \
                            dmad data fetch btad --from https://mirror.example/btad.zip\n\
                            Where a site wants a form to be filled in first (mvtec_ad), download the archive in a browser, then:\n  \
                            dmad data import mvtec_ad mvtec_anomaly_detection.tar.xz")]
    Fetch {
        /// Dataset, as `dmad data list` names it.
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        from: Fetching,
        /// Keep the archive when it is unpacked.
        #[arg(long)]
        keep: bool,
    },
    /// Unpack an archive (.tar, .tar.gz, .tar.xz, .zip) of a dataset of the catalog to where it belongs.
    #[command(after_help = "Examples:\n  dmad data import mvtec_ad mvtec_anomaly_detection.tar.xz\n  \
                            dmad data import visa VisA_20220922.tar --data /srv/images")]
    Import {
        /// Dataset, as `dmad data list` names it.
        #[arg(value_name = "NAME")]
        name: String,
        /// The archive.
        #[arg(value_name = "ARCHIVE")]
        archive: PathBuf,
    },
    /// Check datasets: files, declared counts, image and mask headers, training images in the test set; every fault is listed.
    #[command(after_help = "Examples:\n  dmad data verify            all that are there\n  \
                            dmad data verify mvtec_ad visa --data /srv/images\n  \
                            dmad data verify mini --deep   decode everything")]
    Verify {
        /// Datasets; none = all that are there.
        names: Vec<String>,
        /// Decode every image and mask.
        #[arg(long)]
        deep: bool,
    },
    /// Write a synthetic dataset as PNG files: classes in MVTec's layout, textures as folders.
    #[command(after_help = "Examples:\n  dmad data synthesize out/synthetic\n  \
                            dmad data synthesize out/textures --dataset synthetic_textures")]
    Synthesize {
        /// Folder to write; it must be new or empty.
        out: PathBuf,
        /// Which synthetic dataset.
        #[arg(long, default_value = "synthetic")]
        dataset: String,
    },
    /// Draw a sheet of synthetic anomalies: image, texture, mask, mixed image, what a method learns from.
    #[command(after_help = "Examples:\n  dmad data anomalies sheet.png\n  \
                            dmad data anomalies sheet.png --dataset mini --class screw --textures dtd_mini")]
    Anomalies(super::anomalies::Anomalies),
}

/// Runs the command; true = all is well.
///
/// # Errors
/// A wrong catalog, an unknown name, an unwritable folder. Faults of datasets are not errors: they are the output.
pub fn run(command: &DataCommand, catalog: &Catalog, data_root: &Path, json: bool) -> Result<bool> {
    match command {
        DataCommand::List => list(catalog, data_root, json).map(|()| true),
        DataCommand::Fetch { name, from, keep } => {
            fetch(catalog.get(name)?, from, *keep, data_root)?;
            verify_all(catalog, data_root, std::slice::from_ref(name), false, json)
        }
        DataCommand::Import { name, archive } => {
            import::import(catalog.get(name)?, archive, data_root)?;
            verify_all(catalog, data_root, std::slice::from_ref(name), false, json)
        }
        DataCommand::Verify { names, deep } => verify_all(catalog, data_root, names, *deep, json),
        DataCommand::Synthesize { out, dataset } => {
            let files = synthesize(catalog.get(dataset)?, out)?;
            if json {
                let fields = json!({ "dataset": dataset, "folder": out.display().to_string(), "files": files });
                super::print(&fields.to_string())?;
            } else {
                super::print(&format!("{dataset}: {files} files in {}", out.display()))?;
            }
            Ok(true)
        }
        DataCommand::Anomalies(wanted) => super::anomalies::run(wanted, catalog, data_root, json).map(|()| true),
    }
}

/// Downloads and unpacks a dataset, unless it is here.
fn fetch(entry: &DatasetEntry, from: &Fetching, keep: bool, data_root: &Path) -> Result<()> {
    let (name, declared) = (&entry.name, &entry.declared);
    let place = import::place(entry, data_root)?;
    if entry.is_present(data_root) {
        say!("{name} is here already: {}", place.display());
        return Ok(());
    }
    let known = [&declared.archive, &declared.url].into_iter().find(|url| is_archive_name(url));
    let file = known.and_then(|url| url.rsplit('/').next()).unwrap_or(name);
    let Some(url) = from.url(file).or_else(|| known.cloned()) else {
        let what = format!("`{name}` cannot be fetched without you");
        let help = match declared.url.as_str() {
            "" => format!(
                "the catalog does not say where it is; put it into {}, or name its archive with --from URL",
                place.display()
            ),
            url => format!(
                "open {url} in a browser, do what the site wants (a form, an agreement), download the archive, then: dmad data import {name} ARCHIVE"
            ),
        };
        return Err(Error::usage(what, help));
    };
    let (licence, source) = (&declared.licence, &declared.cite);
    from.agree(&Offer { command: "data fetch", name, url: &url, licence, source })?;
    let file =
        url.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).filter(|file| is_archive_name(file));
    let archive = data_root.join(file.unwrap_or(name));
    let sha256 = (!declared.sha256.is_empty()).then_some(declared.sha256.as_str());
    if !archive.is_file() {
        let got = download(&Wanted { url: &url, target: &archive, sha256 })?;
        if sha256.is_none() {
            say!("note: the catalog has no digest of this archive; its SHA-256 is {}", got.sha256);
        }
    }
    // An archive that lay here already may be another one.
    let found = sha256.map(|known| sha256_of(&archive).map(|found| (known, found))).transpose()?;
    if let Some((known, found)) = found.filter(|(known, found)| !found.starts_with(&known.to_lowercase())) {
        let what = format!("is another archive: its SHA-256 is {found}, and {known} was expected");
        return Err(Error::data(&archive, what, format!("remove it, or unpack it with dmad data import {name}")));
    }
    let imported = import::import(entry, &archive, data_root);
    if matches!(&imported, Err(fault) if sha256.is_none() && !fault.is_of_the_disk()) {
        // A page in place of the archive, which would be found here again next time.
        drop(std::fs::remove_file(&archive));
    }
    let files = imported?;
    say!("{files} files unpacked to {}", place.display());
    if keep { Ok(()) } else { std::fs::remove_file(&archive).map_err(Error::io("remove", &archive)) }
}

fn list(catalog: &Catalog, data_root: &Path, json: bool) -> Result<()> {
    let rows: Vec<Value> = catalog.entries().map(|entry| list_row(entry, data_root)).collect();
    if json {
        return super::print(&Value::Array(rows).to_string());
    }
    let columns = ["name", "layout", "present", "classes", "images", "licence"];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns);
    for row in &rows {
        table.add_row(columns.map(|key| match &row[key] {
            Value::Bool(true) if row["whole"] == false => "in part".into(),
            Value::String(text) => text.clone(),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
            Value::Null => "?".into(),
            other => other.to_string(),
        }));
    }
    super::print(&format!("{table}\n\nImages are looked for in {} (--data DIR or DMAD_DATA).", data_root.display()))
}

/// Classes and images as found, or, where the dataset is absent or faulty, as declared (null when nothing is).
fn list_row(entry: &DatasetEntry, data_root: &Path) -> Value {
    let found = index::index(entry, data_root, None).ok().map(|index| (index.classes.len(), index.counts().total()));
    let whole = found.is_some();
    let Declared { layout, counts, licence, url, cite, note, .. } = &entry.declared;
    let declared = (!counts.is_empty()).then(|| (counts.len(), counts.values().map(Counts::total).sum()));
    let (classes, images) = found.or(declared).unzip();
    json!({
        "name": entry.name, "layout": layout, "present": entry.is_present(data_root), "whole": whole,
        "classes": classes, "images": images, "licence": licence, "url": url, "cite": cite, "note": note,
    })
}

fn verify_all(catalog: &Catalog, data_root: &Path, names: &[String], deep: bool, json: bool) -> Result<bool> {
    let entries: Vec<&DatasetEntry> = if names.is_empty() {
        catalog.entries().filter(|entry| entry.is_present(data_root)).collect()
    } else {
        names.iter().map(|name| catalog.get(name)).collect::<Result<_>>()?
    };
    let reports: Vec<Report> = entries.iter().map(|entry| check(entry, data_root, deep)).collect();
    if json {
        super::print(&Value::Array(reports.iter().map(Report::json).collect()).to_string())?;
    } else {
        reports.iter().try_for_each(|report| super::print(report.text().trim_end()))?;
    }
    Ok(reports.iter().all(|report| report.faults.is_empty()))
}

/// What `verify` found of one dataset.
#[derive(Default)]
struct Report {
    dataset: String,
    classes: usize,
    counts: Counts,
    skipped: usize,
    faults: Vec<Error>,
    notes: Vec<String>,
    /// Of its content; `None` where something cannot be read.
    digest: Option<String>,
}

impl Report {
    fn fill(&mut self, entry: &DatasetEntry, data_root: &Path, deep: bool) -> Result<()> {
        let Survey { index, faults } = index::survey(entry, data_root, None)?;
        (self.faults, self.classes, self.skipped) = (faults, index.classes.len(), index.skipped.len());
        self.counts = index.counts();
        self.faults.extend(if deep { verify::contents(&index) } else { verify::headers(&index) });
        if self.faults.is_empty() {
            let mut digests = Digests::open(None);
            self.digest = Some(verify::digest(&index, &mut digests)?);
            self.faults = leaks(&index, &mut digests)?;
        }
        self.notes.extend(index.unread());
        self.notes.extend(super::turned(&verify::turned(&index)));
        Ok(())
    }

    fn text(&self) -> String {
        let state = match self.faults.len() {
            0 => "ok".into(),
            1 => "1 fault".into(),
            count => format!("{count} faults"),
        };
        let Report { dataset, classes, counts, skipped, .. } = self;
        let mut text = format!("{dataset}: {state}; {classes} classes, {counts}, {skipped} other files passed over\n");
        for fault in &self.faults {
            let _ = writeln!(text, "  {fault}");
            if let Some(help) = fault.help() {
                let _ = writeln!(text, "    help: {help}");
            }
        }
        if let Some(digest) = &self.digest {
            let _ = writeln!(text, "  digest {digest}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }

    fn json(&self) -> Value {
        let faults: Vec<Value> =
            self.faults.iter().map(|f| json!({ "what": f.to_string(), "help": f.help() })).collect();
        json!({
            "dataset": self.dataset, "ok": self.faults.is_empty(), "classes": self.classes, "counts": self.counts,
            "skipped": self.skipped, "faults": faults, "notes": self.notes,
            "digest": self.digest,
        })
    }
}

fn check(entry: &DatasetEntry, data_root: &Path, deep: bool) -> Report {
    let mut report = Report { dataset: entry.name.clone(), ..Report::default() };
    if let Err(fault) = report.fill(entry, data_root, deep) {
        report.faults.push(fault);
    }
    report
}

/// Test images whose content is also that of a training image.
fn leaks(index: &Index, digests: &mut Digests) -> Result<Vec<Error>> {
    let (plain, labelled) = verify::all_images(index);
    let trained: BTreeMap<_, _> = digests.of(plain.iter().copied())?.into_iter().zip(&plain).collect();
    let tested = digests.of(labelled.iter().map(|labelled| &labelled.image))?;
    let pairs = tested.iter().zip(&labelled).filter_map(|(digest, labelled)| Some((labelled, trained.get(digest)?)));
    let fault = |(labelled, twin): (&&Labelled, &&&Image)| {
        let what = format!("has the content of training image {}", twin.path);
        Error::data(
            labelled.image.place(),
            what,
            "remove one of the two: numbers on images that were trained on are too good",
        )
    };
    Ok(pairs.map(fault).collect())
}

/// Writes all images and masks of a synthetic dataset; returns the number of files.
fn synthesize(entry: &DatasetEntry, out: &Path) -> Result<usize> {
    if entry.layout.folders().is_some() {
        let help = "name a dataset of layout synthetic (see `dmad data list`)";
        return Err(Error::usage(format!("`{}` is not drawn, but read from files", entry.name), help));
    }
    super::is_new(out)?;
    let index = index::index(entry, Path::new(""), None)?;
    let (plain, labelled) = verify::all_images(&index);
    let all: Vec<&Image> = plain.into_iter().chain(labelled.iter().map(|labelled| &labelled.image)).collect();
    let written: Vec<usize> = all.par_iter().map(|image| write_drawing(image, out)).collect::<Result<_>>()?;
    Ok(written.iter().sum())
}

/// Writes one drawing, and its mask where MVTec's layout wants it.
fn write_drawing(image: &Image, out: &Path) -> Result<usize> {
    let Source::Synthetic(drawing) = &image.source else { return Ok(0) };
    let rendered = images::render(drawing)?;
    save(&out.join(&image.path), |path| rendered.rgb.save(path))?;
    let Some(mask) = rendered.mask else { return Ok(1) };
    // Of the class as the dataset calls it, which may be one of several that look alike.
    let class = image.path.split('/').next().unwrap_or_default();
    let path = format!("{class}/ground_truth/{}/{:03}_mask.png", drawing.defect, drawing.index);
    save(&out.join(path), |path| mask.save(path))?;
    Ok(2)
}

fn save(path: &Path, write: impl FnOnce(&Path) -> image::ImageResult<()>) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    write(path).map_err(|e| match e {
        image::ImageError::IoError(source) => Error::io("write", path)(source),
        other => Error::data(path, format!("cannot be written: {other}"), "name another folder"),
    })
}
