//! Which run is applied: a recorded one, or an exported model.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::super::Common;
use crate::data::Image;
use crate::error::{Error, Result};
use crate::record::RecordedRun;
use crate::run::{Model, Request, Session};
use crate::spec::{BASE_VARIANT, Kinds, Run, RunSpec, to_json};
use crate::{record, report, spec};

/// A recorded run that is applied to other images than its own.
pub struct Chosen {
    /// The run.
    pub run: Run,
    /// What is recorded of it.
    pub recorded: RecordedRun,
    /// The folder of the experiment that it is recorded under.
    pub folder: PathBuf,
    key: String,
    epoch: usize,
    model: Option<Model>,
}

impl Chosen {
    /// The run that `id` names, recorded below `results`.
    ///
    /// # Errors
    /// None of this name or several, one that failed, or one that this program would not make so.
    pub fn find(id: &str, results: &Path) -> Result<Chosen> {
        let kinds = report::kinds();
        let mut recorded = record::find_run(results, id, &kinds)?;
        let found = recorded.runs.swap_remove(0);
        if let Some(message) = &found.failure {
            return Err(Error::usage(format!("run {} failed: {message}", found.id), "choose one that did not"));
        }
        Ok(Chosen {
            run: declared(&found.spec, &kinds)?,
            folder: recorded.folder,
            key: found.value(&["key"]).and_then(toml::Value::as_str).unwrap_or_default().into(),
            epoch: found.value(&["epoch"]).and_then(toml::Value::as_integer).unwrap_or_default() as usize,
            recorded: found,
            model: None,
        })
    }

    /// The run of the exported model in a folder.
    ///
    /// # Errors
    /// No model, a damaged one, or one of another format.
    pub fn exported(folder: &Path) -> Result<Chosen> {
        let model = Model::open(folder)?;
        let chosen = Chosen::find(&format!("{}/{}", model.experiment, model.run), &model.results())?;
        Ok(Chosen { model: Some(model), ..chosen })
    }

    /// A session for it. That of a model writes into a folder in `out`, which is to be kept for as long as the session.
    ///
    /// # Errors
    /// A folder that cannot be written, and whatever may be wrong with a model.
    pub fn session(&self, common: &Common, out: &Path) -> Result<(Option<TempDir>, Session)> {
        let Some(model) = &self.model else {
            return Ok((None, self.own_session(common)?));
        };
        let scratch = scratch_in(out)?;
        let session = model.session(common.resources(), scratch.path(), common.progress()?)?;
        Ok((Some(scratch), session))
    }

    /// A session on the device that the run is recorded for.
    ///
    /// # Errors
    /// Another device or precision, whose stages are none of the run's; a store that cannot be written.
    pub fn own_session(&self, common: &Common) -> Result<Session> {
        let told = |key: &str| self.recorded.value(&["provenance", key]).and_then(toml::Value::as_str);
        let (kind, precision) = (told("device").unwrap_or_default(), told("precision"));
        if kind != common.device.kind.name() || precision.is_some_and(|own| own != common.precision.name()) {
            let wanted = match precision {
                Some(precision) => format!("--device {kind} --precision {precision}"),
                None => format!("--device {kind}"),
            };
            let what =
                format!("run {} was made with {wanted}, and its stages have keys of their own", self.run.spec.id);
            let help = "say the same here; its model, once exported (`dmad export model`), serves every device";
            return Err(Error::usage(what, help));
        }
        Session::open(common.resources(), common.catalog()?, common.progress()?)
    }

    /// Its application to images, of a class where one is named.
    pub fn request<'a>(&'a self, class: Option<&'a str>, images: &'a [Image]) -> Request<'a> {
        let exported = self.model.as_ref().map(|model| model.program.as_str());
        Request { run: &self.run, recorded_key: &self.key, epoch: self.epoch, class, images, exported }
    }
}

/// The run of recorded settings, whatever its experiment declares today.
fn declared(spec: &RunSpec, kinds: &Kinds) -> Result<Run> {
    let mut file = to_json(spec);
    file["seeds"] = json!([spec.seed]);
    file["variant"] = match spec.variant.as_str() {
        BASE_VARIANT => json!([]),
        name => json!([{ "name": name }]),
    };
    file.as_object_mut().map(|file| file.remove("seed"));
    let text = toml::to_string(&file).unwrap_or_else(|fault| unreachable!("a record is plain data: {fault}"));
    let experiment = spec::load_built_in(Path::new("run.toml"), &[("run.toml", &text)], kinds)?;
    experiment.runs.into_iter().find(|run| run.spec.id == spec.id).ok_or_else(|| {
        let what = format!("run {} is recorded, but this program's defaults make another run of its settings", spec.id);
        Error::usage(what, "do it again with `dmad run`")
    })
}

/// A folder in `folder` that is removed when it is dropped.
///
/// # Errors
/// A folder that cannot be written.
pub fn scratch_in(folder: &Path) -> Result<TempDir> {
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    tempfile::Builder::new().prefix(".dmad-").tempdir_in(folder).map_err(Error::io("create a folder in", folder))
}
