//! `dmad weights`: what weights there are, and importing weights files.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::fetch::{Fetching, Offer};
use crate::backbone::weights::{self, Origin};
use crate::backbone::{ARCHITECTURES, Architecture};
use crate::console::say;
use crate::error::{Error, Result};
use crate::fetch::{Wanted, download};
use crate::spec;

/// What `dmad weights` can do.
#[derive(Subcommand, Debug)]
#[command(after_help = "Examples:
  dmad weights list
  dmad weights fetch wide_resnet50_2 --yes
  dmad weights fetch resnet18 --from https://mirror.example/weights/
  dmad weights import wide_resnet50_2-95faca4d.pth --name wide_resnet50_2
  dmad weights import own.safetensors --name resnet18 --layers layer2,layer3 --out weights")]
pub(super) enum WeightsCommand {
    /// List the backbones, their layers, and whether their published weights are here.
    List,
    /// Download the published weights of a backbone into the weights folder: resumed where it broke off, checked by digest.
    Fetch {
        /// The backbone, as `dmad weights list` names it.
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        from: Fetching,
    },
    /// Check that a weights file fits a backbone and write what the backbone needs of it as safetensors.
    Import {
        /// A PyTorch state dictionary (.pth, .pt) or a .safetensors file.
        file: PathBuf,
        /// The backbone, as `dmad weights list` names it.
        #[arg(long)]
        name: String,
        /// Keep only what these layers need, shallow first [default: the backbone's default layers].
        #[arg(long, value_delimiter = ',')]
        layers: Vec<String>,
        /// Folder to write NAME.safetensors into [default: the weights folder].
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// Runs the command; results go to stdout, as JSON if `json`.
pub(super) fn run(command: &WeightsCommand, weights_dir: &Path, json: bool) -> Result<()> {
    match command {
        WeightsCommand::List => list(weights_dir, json),
        WeightsCommand::Fetch { name, from } => fetch(name, from, weights_dir, json),
        WeightsCommand::Import { file, name, layers, out } => {
            let folder = out.as_deref().unwrap_or(weights_dir);
            let Imported { file, tensors, digest } = import(file, name, layers, folder)?;
            let file = file.display().to_string();
            super::print(&match json {
                true => format!("{:#}", json!({ "file": file, "tensors": tensors, "digest": digest })),
                false => format!("{file}: {tensors} tensors, digest {digest}"),
            })
        }
    }
}

/// Downloads what a backbone's row names, unless it is here.
fn fetch(name: &str, from: &Fetching, weights_dir: &Path, json: bool) -> Result<()> {
    let architecture = Architecture::find(name)?;
    let Some(published) = architecture.published else {
        let what = format!("no published weights of {name} are known");
        return Err(Error::usage(what, "import a file of your own with `dmad weights import FILE --name NAME`"));
    };
    let target = weights_dir.join(published.file);
    let tell = |state: &str, sha256: Option<&str>| {
        let file = target.display().to_string();
        super::print(&match json {
            true => format!("{:#}", json!({ "name": name, "file": file, "state": state, "sha256": sha256 })),
            false => format!("{name}: {state}, {file}"),
        })
    };
    if target.exists() {
        published.check(&target)?;
        return tell("here already", None);
    }
    let (url, own) = (from.url(published.file), published.url.ends_with(published.file));
    let Some(url) = url.or_else(|| own.then(|| published.url.into())) else {
        let what = format!("the weights of {name} cannot be had by themselves");
        let help = format!("get them from {}, or name their address with --from URL", published.url);
        return Err(Error::usage(what, help));
    };
    let (licence, source) = (published.licence, published.source);
    from.agree(&Offer { command: "weights fetch", name, url: &url, licence, source })?;
    let got = download(&Wanted { url: &url, target: &target, sha256: published.sha256 })?;
    // Where no digest is known, that the file fits is all that can be said of it.
    let taps = architecture.taps(&[])?;
    if let Err(fault) = architecture.read(&target, &taps) {
        std::fs::remove_file(&target).map_err(Error::io("remove", &target))?;
        return Err(fault);
    }
    if published.sha256.is_none() {
        say!("note: nobody has published the digest of this file; it fits {name}, and its SHA-256 is {}", got.sha256);
    }
    tell("fetched", Some(&got.sha256))
}

/// What `import` wrote.
#[derive(Debug)]
pub struct Imported {
    /// The file.
    pub file: PathBuf,
    /// Tensors in it.
    pub tensors: usize,
    /// Digest over them, as recorded with every run that uses them.
    pub digest: String,
}

/// Checks that `file` holds what `layers` of the backbone `name` need, and writes that to `folder`/`name`.safetensors.
pub fn import(file: &Path, name: &str, layers: &[String], folder: &Path) -> Result<Imported> {
    let architecture = Architecture::find(name)?;
    let state = architecture.read(file, &architecture.taps(layers)?)?;
    let target = folder.join(format!("{name}.safetensors"));
    if matches!((file.canonicalize(), target.canonicalize()), (Ok(from), Ok(to)) if from == to) {
        let what = "importing would overwrite the file that is imported";
        return Err(Error::weights(file, what, "name another folder with --out"));
    }
    weights::write_imported(&target, &state, weights::sha256(file)?)?;
    Ok(Imported { file: target, tensors: state.len(), digest: weights::digest(&state) })
}

fn list(weights_dir: &Path, json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for architecture in ARCHITECTURES {
        let published = architecture.published;
        let backbone = spec::Backbone { name: architecture.name.into(), ..Default::default() };
        let found = match weights::origin(&backbone, weights_dir) {
            Ok(Origin::File(path)) => Some(path.display().to_string()),
            Ok(Origin::Embedded(own)) => Some(format!("part of the program (up to {})", own.deepest)),
            Ok(Origin::Random) | Err(_) => None,
        };
        rows.push(json!({
            "name": architecture.name,
            "layers": architecture.taps.iter().map(|tap| tap.name).collect::<Vec<_>>(),
            "default_layers": architecture.default_layers,
            "imagenet": found,
            "file": published.map(|own| own.file),
            "url": published.map(|own| own.url),
            "sha256": published.and_then(|own| own.sha256),
            "licence": published.map(|own| own.licence),
            "source": published.map(|own| own.source),
        }));
    }
    super::print(&if json { format!("{:#}", json!(rows)) } else { table(&rows, weights_dir) })
}

fn table(rows: &[serde_json::Value], weights_dir: &Path) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["backbone", "layers", "published weights", "licence"]);
    for row in rows {
        let layers: Vec<&str> = row["layers"].as_array().into_iter().flatten().filter_map(|v| v.as_str()).collect();
        let place = match (row["imagenet"].as_str(), row["url"].as_str()) {
            (Some(found), _) => format!("here: {found}"),
            (None, Some(url)) => {
                let name = row["name"].as_str().unwrap_or("");
                format!("not here; `dmad weights fetch {name}`, or put {url} into {}", weights_dir.display())
            }
            (None, None) => format!("not here; none known (import your own into {})", weights_dir.display()),
        };
        let licence = row["licence"].as_str().unwrap_or("");
        table.add_row([row["name"].as_str().unwrap_or(""), &layers.join(" "), &place, licence]);
    }
    table.to_string()
}
