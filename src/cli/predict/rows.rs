//! The rows of `scores.csv`.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::error::Result;

/// What is said of an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub image: String,
    pub score: Option<f64>,
    /// Pictures, below the folder.
    pub map: String,
    pub overlay: String,
    pub lowest: Option<f32>,
    pub highest: Option<f32>,
    pub threshold: Option<f64>,
    pub anomalous: Option<bool>,
    /// Share of the run's normal test images with lower scores, in percent.
    pub below: Option<f64>,
    pub error: String,
}

fn shown<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map(ToString::to_string).unwrap_or_default()
}

impl Row {
    pub const HEAD: &'static str =
        "image,score,map,map_lowest,map_highest,threshold,anomalous,percent_of_normals_below,overlay,error\n";

    /// A text as it stands in a row, which is one line.
    pub fn on_one_line(text: &str) -> String {
        text.replace('\n', " ")
    }

    pub fn csv(&self) -> String {
        let quoted = |text: &str| match text {
            "" => String::new(),
            text => format!("\"{}\"", Row::on_one_line(text).replace('"', "\"\"")),
        };
        let cells = [
            quoted(&self.image),
            shown(&self.score),
            quoted(&self.map),
            shown(&self.lowest),
            shown(&self.highest),
            shown(&self.threshold),
            shown(&self.anomalous),
            shown(&self.below),
            quoted(&self.overlay),
            quoted(&self.error),
        ];
        cells.join(",") + "\n"
    }

    pub fn json(&self) -> Json {
        json!({
            "image": self.image, "score": self.score, "map": self.map, "overlay": self.overlay, "threshold": self.threshold,
            "anomalous": self.anomalous, "percent_of_normals_below": self.below, "error": self.error,
        })
    }

    pub fn pictures(&self) -> usize {
        [&self.map, &self.overlay].iter().filter(|name| !name.is_empty()).count()
    }
}

/// Rows of all images in their order, those that cannot be read with what is wrong.
pub(super) fn with_faults(rows: Vec<Row>, all: &[PathBuf], looked_at: &[Result<()>]) -> Vec<Row> {
    let mut rows = rows.into_iter();
    let row = |(path, looked): (&PathBuf, &Result<()>)| match looked {
        Ok(()) => rows.next(),
        Err(fault) => Some(Row { image: path.display().to_string(), error: fault.to_string(), ..Row::default() }),
    };
    all.iter().zip(looked_at).filter_map(row).collect()
}
