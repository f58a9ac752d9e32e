//! A grid of test images: the image, the outline of its truth, and the map of each run.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::canvas::{Align, Mark, Picture, Scene};
use super::lines::fit;
use super::panel::{colour_bar, footnote};
use super::style::{BLACK, GAP, GREY, SMALL};
use super::{Drawing, Kind, NO_BREAK, Notes, Shared, Strip, run_label, titled};
use crate::data::decode::{self, Pixels};
use crate::data::thumbnail::png;
use crate::error::{Error, Result};
use crate::maps::{coloured, shown_range};
use crate::record::{self, ImageRow, Recorded, RecordedRun};
use crate::report::export::csv::{line, quoted};
use crate::spec::{DisplayNames, Need, RunSpec, Selection, WantedImages};

const CELL: f64 = 420.0;

/// Between tiles.
const SPACE: f64 = GAP * 0.5;

/// Lines that [`fit`] makes of a name at most.
const MOST_LINES: usize = 4;

struct Column<'a> {
    label: String,
    run: &'a RecordedRun,
    images: &'a [ImageRow],
}

struct Row {
    class: String,
    path: String,
    image: Pixels,
    truth: Pixels,
}

/// A grid of test images: the image, the outline of its truth, and the anomaly map of each run.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Maps {
    /// Classes shown; [] = all.
    classes: Vec<String>,
    /// Test images, as paths relative to the dataset's root; [] = anomalous images evenly through the ranks of their
    /// scores in the first run shown, which for one image per class is that of median score.
    images: Vec<String>,
    /// How many images of each class, where `images` names none.
    #[schemars(range(min = 1, max = 20))]
    per_class: usize,
}

impl Default for Maps {
    fn default() -> Self {
        Maps { classes: Vec::new(), images: Vec::new(), per_class: 1 }
    }
}

impl Maps {
    fn wanted(&self) -> WantedImages {
        WantedImages { classes: self.classes.clone(), images: self.images.clone(), per_class: self.per_class }
    }
}

impl Kind for Maps {
    const NAME: &'static str = "maps";
    const ABOUT: &'static str = "Test images with their truth and anomaly maps.";
    const SHARED: Shared = &[
        ("variants", "Variants shown, one column each, in this order; [] = all."),
        ("seen_anomalies", "Numbers of seen anomalies, one column each; [] = each variant's largest."),
        ("seed", ""),
    ];

    fn need(&self) -> Option<Need> {
        Some(Need::Pictures(self.wanted()))
    }

    fn draw(&self, selection: &Selection, recorded: &Recorded, notes: &mut Notes) -> Result<Option<Drawing>> {
        let shown = notes.shown(selection);
        shown.iter().filter(|spec| recorded.finished(spec).is_none()).for_each(|spec| notes.say_not_recorded(spec));
        let mut scene = titled(selection);
        let mut csv = String::from("class,path,run,variant,seen_anomalies,image_score,darkest,brightest\n");
        let mut strips = Vec::new();
        for (first, chosen) in record::chosen_pictures(recorded, selection, &self.wanted())? {
            let rows = rows(first, &chosen, &self.images, notes)?;
            let columns = columns(recorded, &first.spec.dataset, &shown)?;
            if !rows.is_empty() {
                columns.iter().for_each(|column| notes.draws(&column.run.id));
                section(&mut scene, &rows, (&columns, &recorded.experiment.names), &mut csv, &mut strips)?;
            }
        }
        for class in self.classes.iter().filter(|class| !strips.iter().any(|strip: &Strip| strip.class == **class)) {
            notes.say(format!("no picture of class \"{class}\" can be shown"));
        }
        if strips.is_empty() {
            return Ok(None);
        }
        colour_bar(&mut scene, ["low", "high anomaly score"], 2.0 * CELL, 0.5 * GAP);
        footnote(
            &mut scene,
            "Colours reach from the 2nd to the 99.8th percentile of the scores of a class in its column.",
        );
        Ok(Some(Drawing { strips, ..Drawing::new(scene, csv) }))
    }
}

/// The chosen images whose pictures are recorded.
fn rows(first: &RecordedRun, chosen: &[(String, String)], named: &[String], notes: &mut Notes) -> Result<Vec<Row>> {
    for path in named.iter().filter(|path| !chosen.iter().any(|(_, known)| known == *path)) {
        notes.say(format!("{path} is no test image of run {}", first.id));
    }
    let recorded = record::read_pictures(first)?;
    let (mut rows, mut missing) = (Vec::new(), 0);
    for (class, path) in chosen {
        let Some(picture) = recorded.pictures.iter().find(|picture| picture.path == *path) else {
            missing += 1;
            continue;
        };
        let image = decode::decode(&first.thumbnail(&picture.image))?.into_rgb();
        let truth = decode::decode(&first.thumbnail(&picture.truth))?;
        if (image.width, image.height) != (truth.width, truth.height) {
            let what = "the picture and its truth differ in size";
            return Err(Error::store(first.thumbnail(&picture.truth), what, "remove the folder and run again"));
        }
        rows.push(Row { class: class.clone(), path: path.clone(), image, truth });
    }
    if missing > 0 {
        notes.run_makes(format!("{missing} pictures of run {} are not recorded", first.id));
    }
    Ok(rows)
}

fn columns<'a>(recorded: &'a Recorded, dataset: &str, shown: &[&RunSpec]) -> Result<Vec<Column<'a>>> {
    let runs = shown.iter().filter(|spec| spec.dataset == dataset).filter_map(|spec| recorded.finished(spec));
    runs.map(|run| Ok(Column { label: run_label(recorded, &run.spec, shown), images: run.images()?, run })).collect()
}

fn section(
    scene: &mut Scene,
    rows: &[Row],
    (columns, shown_as): (&[Column], &DisplayNames),
    csv: &mut String,
    strips: &mut Vec<Strip>,
) -> Result<()> {
    let classes: Vec<Cow<str>> = rows.iter().map(|row| shown_as.of(&row.class)).collect();
    let Tiles { left, side, classes } = Tiles::of(scene.width, columns.len() + 2, &classes);
    let at = |column: usize| left + column as f64 * (side + SPACE);
    let labels: Vec<&str> = ["image", "truth"].into_iter().chain(columns.iter().map(|c| c.label.as_str())).collect();
    let names: Vec<Vec<String>> = labels.iter().map(|label| fit(label, side, SMALL * 0.93)).collect();
    let lines = names.iter().map(Vec::len).max().unwrap_or(1);
    scene.height += GAP;
    for (column, name) in names.iter().enumerate() {
        for (number, line) in name.iter().enumerate() {
            let below = (lines - name.len() + number) as f64 + 0.5;
            let place = (at(column) + side / 2.0, scene.height + below * SMALL);
            scene.text(line, place, SMALL * 0.93, Align::Center, BLACK);
        }
    }
    scene.height += lines as f64 * SMALL + GAP * 0.5;
    for (row, lines) in rows.iter().zip(&classes) {
        let top = scene.height;
        for (number, line) in lines.iter().enumerate() {
            // The last line is the next to the tiles.
            let x = left - GAP * 0.7 - SMALL * ((lines.len() - 1 - number) as f64 + 0.6);
            scene.upright(line, (x, top + side / 2.0), SMALL, BLACK);
        }
        let image = Picture { width: row.image.width, height: row.image.height, data: row.image.data.clone() };
        let mut cells = vec![Some(image), Some(outlined(row))];
        for column in columns {
            cells.push(map(column, row, csv)?);
        }
        let (class, path) = (row.class.clone(), row.path.clone());
        let caption = format!("{} · {path}", shown_as.of(&class));
        let mut strip = Strip { class, path, caption, pictures: Vec::new() };
        for (column, cell) in cells.into_iter().enumerate() {
            let Some(picture) = cell else {
                absent(scene, (at(column), top), side);
                continue;
            };
            let label = labels[column].replace(NO_BREAK, " ");
            strip.pictures.push((label, png(&picture.data, (picture.width, picture.height), None)));
            let picture = Arc::new(picture);
            scene.marks.push(Mark::Picture { at: (at(column), top), size: (side, side), picture });
        }
        strips.push(strip);
        scene.height = top + side + SPACE;
    }
    scene.height += GAP * 0.5;
    Ok(())
}

/// Where the tiles of a grid are, and the names beside them.
struct Tiles {
    left: f64,
    side: f64,
    /// Lines of the name beside each row.
    classes: Vec<Vec<String>>,
}

impl Tiles {
    fn of(width: f64, count: usize, classes: &[Cow<str>]) -> Self {
        // Each line of a name takes of the room that the tiles have, and smaller tiles may make another line of it.
        let beside = |lines: usize| {
            let left = GAP + SMALL * lines as f64 + GAP * 0.7;
            let room = width - left - GAP - SPACE * (count - 1) as f64;
            let side = (room / count as f64).floor().min(CELL);
            Tiles { left, side, classes: classes.iter().map(|class| fit(class, side, SMALL)).collect() }
        };
        let has_room = |lines: &usize| beside(*lines).classes.iter().all(|class| class.len() <= *lines);
        beside((1..MOST_LINES).find(has_room).unwrap_or(MOST_LINES))
    }
}

/// A cell for an image that is not in the run's test set.
fn absent(scene: &mut Scene, (left, top): (f64, f64), side: f64) {
    scene.frame((left, top), (side, side));
    for (number, line) in fit("not in its test set", side - GAP, SMALL).iter().enumerate() {
        let place = (left + side / 2.0, top + side / 2.0 + (number as f64 - 0.5) * SMALL);
        scene.text(line, place, SMALL, Align::Center, GREY);
    }
}

/// The image with the outline of its truth: bright with a dark rim, to be seen on any ground.
fn outlined(row: &Row) -> Picture {
    let Pixels { width, height, .. } = row.truth;
    let (channels, reach) = (row.truth.channels, (width / 128).max(1) as isize);
    let inside = |x: isize, y: isize| {
        let (x, y) = (x.clamp(0, width as isize - 1) as usize, y.clamp(0, height as isize - 1) as usize);
        row.truth.data[(y * width + x) * channels] > 127
    };
    // Outside the defect only, so that a small one is not covered.
    let near =
        |x: isize, y: isize, reach: isize| (-reach..=reach).any(|dy| (-reach..=reach).any(|dx| inside(x + dx, y + dy)));
    let mut data = row.image.data.clone();
    for y in 0..height as isize {
        for x in 0..width as isize {
            let colour = match (near(x, y, reach), near(x, y, reach + 1)) {
                _ if inside(x, y) => continue,
                (true, _) => [240, 228, 66],
                (false, true) => [0, 0, 0],
                (false, false) => continue,
            };
            data[(y as usize * width + x as usize) * 3..][..3].copy_from_slice(&colour);
        }
    }
    Picture { width, height, data }
}

/// The anomaly map of a row's image in a run, as colours; None where the run does not test it.
fn map(column: &Column, row: &Row, csv: &mut String) -> Result<Option<Picture>> {
    let own: Vec<&ImageRow> = column.images.iter().filter(|image| image.class == row.class).collect();
    let Some(number) = own.iter().position(|image| image.path == row.path) else { return Ok(None) };
    let spec = &column.run.spec;
    let ([images, height, width], scores) = column.run.patch_scores(&row.class)?;
    if images != own.len() {
        let what = format!("{images} images of class `{}` have scores, {} are listed", row.class, own.len());
        let path = column.run.file("scores.safetensors");
        return Err(Error::store(path, what, "remove the run's folder and run again"));
    }
    let (low, high) = shown_range(&scores);
    let side = spec.map_side();
    let scoring = column.run.scoring()?;
    let patches = &scores[number * height * width..(number + 1) * height * width];
    let map = scoring.map(patches, (height, width), (side, side));
    let data = coloured(&map, (low, high));
    let numbers = format!("{},{},{low},{high}", spec.protocol.seen.count, own[number].score);
    *csv += &line([quoted(&row.class), quoted(&row.path), spec.id.clone(), quoted(&spec.variant), numbers]);
    Ok(Some(Picture { width: side, height: side, data }))
}
