//! The gallery of test images: their scores by run, which the page's script shows, and the names of small pictures beside the
//! page.
//!
//! Owns: what the script is given, as JSON, and the controls. Does not own: the pictures (`record::album`), or what the script
//! makes of it (`gallery.js`).

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, PreEscaped, html};
use serde_json::{Value as Json, json};

use crate::error::Result;
use crate::record::{Album, ImageRow, Recorded, RecordedRun, read_album};
use crate::report::frame::{distinct, groups};
use crate::spec::{DisplayNames, RunSpec, canonical_json, to_json};

/// At most so many scores are on a page, about ten bytes each; the first seeds of all variants come first.
const SCORES: usize = 1_000_000;
/// At most so many runs are there to choose from.
const RUNS: usize = 500;

pub fn gallery(recorded: &Recorded) -> Result<Markup> {
    let mut runs: Vec<&RecordedRun> = recorded.runs.iter().filter(|run| run.failure.is_none()).collect();
    let all = runs.len();
    fit(&mut runs)?;
    if runs.is_empty() {
        return Ok(html! {});
    }
    let names = &recorded.experiment.names;
    let (mut given, label) = (Given::default(), labels(&runs, names));
    for run in &runs {
        given.add(recorded, run, label(&run.spec))?;
    }
    let has_pictures = given.views.iter().any(|(_, pictures)| pictures.iter().any(Option::is_some));
    Ok(html! {
        p.about {
            "Test images of a run, or of two side by side. An image is right where its score is above the threshold and it is anomalous, or below and normal. "
            "The threshold begins where F1 on these test images is best, which nobody knows beforehand. Arrow keys go from image to image, Enter opens one."
        }
        @if runs.len() < all { p.about { "Of " (all) " runs the first " (runs.len()) " by seed are here; all are in images.parquet." } }
        @if !has_pictures { p.about { "There are no small pictures beside this page; " code { "dmad run" } " makes them." } }
        noscript { p.missing { "The gallery needs the page's own script." } }
        (controls())
        p { output #g-counts role="status" {} }
        div #g-list role="listbox" tabindex="0" aria-label="Test images" { div #g-space role="presentation" {} }
        p.about {
            "Colours of maps: " span.scale {} " low to high, from the 2nd to the 99.8th percentile of the patch scores of a class in its run. The yellow line runs around the truth. "
            "The pictures are small copies of the datasets' images, in the folder " code { "gallery" } " beside this page; a dataset's licence may not allow passing them on."
        }
        (large())
        script #g-data type="application/json" { (PreEscaped(given.json(names))) }
    })
}

fn controls() -> Markup {
    let select = |name: &str, label: &str, options: &[(&str, &str)]| {
        html! { label class=[["run", "other"].contains(&name).then_some("wide")] { (label) select id={ "g-" (name) } { @for (value, text) in options { option value=(value) { (text) } } } } }
    };
    let slider = |name: &str, label: &str| {
        html! {
            label.wide {
                span { (label) " " output id={ "g-" (name) "-shown" } {} }
                input id={ "g-" (name) } type="range" min="0" max="1" step="1" value="0";
            }
        }
    };
    html! {
        div.controls role="group" aria-label="What the gallery shows" {
            (select("run", "Run", &[]))
            (select("other", "Beside it", &[("", "none")]))
            (select("class", "Class", &[("", "all")]))
            (select("defect", "Defect", &[("", "all")]))
            (select("verdict", "Right or wrong", &[
                ("", "all"), ("right", "right"), ("wrong", "wrong"), ("missed", "missed anomalies"), ("false", "false alarms"),
                ("found", "found anomalies"), ("normal", "normal, passed"), ("disagree", "the two runs disagree"),
            ]))
            (select("sort", "Order", &[
                ("high", "highest score first"), ("low", "lowest score first"), ("wrong", "worst errors first"),
                ("apart", "where the two runs differ most"), ("path", "as in the dataset"),
            ]))
            (slider("threshold", "Threshold"))
            div.wide.g-pair hidden { (slider("threshold-other", "Threshold of the second run")) }
            label.tick { input #g-map type="checkbox" checked; "map over image" }
            label { "Strength of the map" input #g-strength type="range" min="10" max="100" value="65"; }
            label.tick { input #g-truth type="checkbox"; "truth" }
            div { button #g-best type="button" { "Best F1" } }
        }
    }
}

/// The dialog of one image.
fn large() -> Markup {
    html! {
        dialog #g-dialog aria-labelledby="g-title" {
            h3 #g-title {}
            div #g-parts {}
            p { code #g-path {} }
            div.buttons {
                button #g-previous type="button" { "← Previous" }
                button #g-next type="button" { "Next →" }
                button #g-close type="button" { "Close" }
            }
        }
    }
}

/// What a run is called among the others: what it has that others have not.
fn labels(runs: &[&RecordedRun], names: &DisplayNames) -> impl Fn(&RunSpec) -> String {
    let told = |own: &RunSpec| {
        let (seen, dataset) = (format!("{} seen", own.protocol.seen.count), names.of(&own.dataset).into_owned());
        [seen, dataset, format!("seed {}", own.seed)]
    };
    let all: Vec<[String; 3]> = runs.iter().map(|run| told(&run.spec)).collect();
    let differing = [0, 1, 2].map(|part| distinct(all.iter().map(|own| &own[part])).len() > 1);
    move |own| {
        let differing = told(own).into_iter().zip(differing).filter(|(_, differs)| *differs).map(|(part, _)| part);
        std::iter::once(names.of(&own.variant).into_owned()).chain(differing).collect::<Vec<_>>().join(", ")
    }
}

/// Leaves out the last seeds where there are more runs or scores than fit.
fn fit(runs: &mut Vec<&RecordedRun>) -> Result<()> {
    let by_seed = groups(runs.iter().enumerate().map(|(place, run)| (run.spec.seed, place)));
    let (mut sum, mut kept) = (0, BTreeSet::new());
    for place in by_seed.into_iter().flat_map(|(_, places)| places).take(RUNS) {
        sum += runs[place].images()?.len();
        if sum > SCORES && !kept.is_empty() {
            break;
        }
        kept.insert(place);
    }
    let mut place = 0..;
    runs.retain(|_| place.next().is_some_and(|place| kept.contains(&place)));
    Ok(())
}

/// What the script is given.
#[derive(Default)]
struct Given {
    sets: Vec<(String, Set)>,
    /// By dataset and geometry: the name of each image's picture.
    views: Vec<(String, Vec<Option<String>>)>,
    runs: Vec<Json>,
}

/// The test images that any run has of a dataset.
#[derive(Default)]
struct Set {
    classes: Names,
    defects: Names,
    places: BTreeMap<(String, String), usize>,
    paths: Vec<String>,
    /// Numbers of class and defect, and whether it is anomalous.
    images: Vec<(usize, usize, bool)>,
}

/// Texts by number.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn number(&mut self, name: &str) -> usize {
        self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.into());
            self.0.len() - 1
        })
    }
}

impl Set {
    fn place(&mut self, row: &ImageRow) -> usize {
        let key = (row.class.clone(), row.path.clone());
        if let Some(&known) = self.places.get(&key) {
            return known;
        }
        let place = self.paths.len();
        self.paths.push(row.path.clone());
        self.images.push((self.classes.number(&row.class), self.defects.number(&row.defect), row.label));
        self.places.insert(key, place);
        place
    }

    fn json(&self, names: &DisplayNames) -> Json {
        let classes: Vec<_> = self.classes.0.iter().map(|class| names.of(class)).collect();
        let column = |of: fn(&(usize, usize, bool)) -> usize| self.images.iter().map(of).collect::<Vec<usize>>();
        json!({
            "classes": classes, "defects": self.defects.0, "path": self.paths,
            "class": column(|own| own.0), "defect": column(|own| own.1), "anomalous": column(|own| own.2.into()),
        })
    }
}

/// The number of the item of this name, a new one where there is none.
fn numbered<T: Default>(list: &mut Vec<(String, T)>, name: &str) -> usize {
    list.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        list.push((name.into(), T::default()));
        list.len() - 1
    })
}

impl Given {
    fn add(&mut self, recorded: &Recorded, run: &RecordedRun, label: String) -> Result<()> {
        let rows = run.images()?;
        let number = numbered(&mut self.sets, &run.spec.dataset);
        let set = &mut self.sets[number].1;
        let images: Vec<usize> = rows.iter().map(|row| set.place(row)).collect();
        let in_order = images.iter().enumerate().all(|(place, image)| place == *image);
        let album = read_album(&recorded.folder, run);
        let mut maps = json!({});
        for (class, sheet) in album.iter().flat_map(|album| &album.maps) {
            maps[set.classes.number(class).to_string()] = json!(sheet);
        }
        let view = album.map(|album| self.view(run, &images, &album));
        self.runs.push(json!({
            "id": run.id, "label": label, "set": number, "view": view, "maps": maps,
            "images": (!in_order).then_some(images),
            "scores": rows.iter().map(|row| rounded(row.score)).collect::<Vec<f64>>(),
        }));
        Ok(())
    }

    /// The number of the view that a run's pictures belong to; runs of one geometry share theirs.
    fn view(&mut self, run: &RecordedRun, images: &[usize], album: &Album) -> usize {
        let name = format!("{} {}", run.spec.dataset, canonical_json(&to_json(&run.spec.image)));
        let number = numbered(&mut self.views, &name);
        let pictures = &mut self.views[number].1;
        for (&image, own) in images.iter().zip(&album.images) {
            if pictures.len() <= image {
                pictures.resize(image + 1, None);
            }
            let file = own.image.rsplit('/').next().unwrap_or_default();
            pictures[image] = Some(file.trim_end_matches(".jpg").to_string());
        }
        number
    }

    /// As JSON that ends no script.
    fn json(&self, names: &DisplayNames) -> String {
        let sets: Vec<Json> = self.sets.iter().map(|(_, set)| set.json(names)).collect();
        let views: Vec<Json> = self.views.iter().map(|(_, pictures)| json!({ "pictures": pictures })).collect();
        json!({ "sets": sets, "views": views, "runs": self.runs }).to_string().replace('<', "\\u003c")
    }
}

/// Six digits are more than can be seen.
fn rounded(score: f64) -> f64 {
    format!("{score:.5e}").parse().unwrap_or(score)
}
