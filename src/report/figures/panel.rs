//! Axes, panels, legends and titles, as all kinds of figures use them.

use std::sync::Arc;

use super::canvas::{Align, Mark, Picture, Scene, text_width};
use super::lines::{broken, fit, shorten};
use super::style::{BLACK, Color, Dash, GAP, GREY, HAIR, Ink, LINE, MARKER, PALE, SMALL, TEXT, colour, marker};
use crate::maps::heat;

/// From values to places on a line, with labelled ticks.
#[derive(Clone, Debug)]
pub struct Axis {
    pub low: f64,
    pub high: f64,
    /// Labelled values.
    pub ticks: Vec<(f64, String)>,
    /// Whether equal ratios, and not equal differences, are equally long.
    pub log: bool,
}

impl Axis {
    /// An axis that holds `low` to `high` and ends at round values, with about `count` steps.
    pub fn round(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let step = round_step((high - low) / count.max(1) as f64);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let ticks = (first as i64..=last as i64).map(|i| i as f64 * step).map(|v| (v, number(v, decimals))).collect();
        Axis { low: first * step, high: last * step, ticks, log: false }
    }

    /// A logarithmic axis that holds `low` to `high`, both above 0, with powers of ten labelled, or numbers between them too
    /// where there are few.
    pub fn logarithmic(low: f64, high: f64) -> Self {
        let (low, high) = if high > low * 1.01 { (low, high) } else { (low / 1.5, high * 1.5) };
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let steps: &[f64] = match last - first {
            0..=1 => &[1.0, 2.0, 3.0, 5.0, 7.0],
            2..=3 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let all = (first..=last).flat_map(|power| steps.iter().map(move |step| (step * 10f64.powi(power), power)));
        let held = all.filter(|(value, _)| *value >= low * 0.999 && *value <= high * 1.001);
        let ticks = held.map(|(value, power)| (value, scientific(value, power))).collect();
        let margin = (high / low).powf(0.04);
        Axis { low: low / margin, high: high * margin, ticks, log: true }
    }

    /// An axis of percent that holds `low` to `high`, never beyond 0 and 100.
    pub fn percent(low: f64, high: f64, count: usize) -> Self {
        let margin = ((high - low) * 0.08).max(0.2);
        let mut axis = Axis::round((low - margin).max(0.0), (high + margin).min(100.0), count);
        axis.high = axis.high.min(100.0);
        axis.ticks.retain(|(value, _)| *value <= 100.0);
        axis
    }

    /// One place for each label.
    pub fn labels(labels: &[String]) -> Self {
        let ticks = labels.iter().enumerate().map(|(i, label)| (i as f64, label.clone())).collect();
        Axis { low: -0.5, high: labels.len() as f64 - 0.5, ticks, log: false }
    }

    /// How far along it a value lies, from 0 to 1.
    pub fn share(&self, value: f64) -> f64 {
        match self.log {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        }
    }

    /// The value that lies a share of the axis further on.
    pub fn moved(&self, value: f64, share: f64) -> f64 {
        match self.log {
            true => value * (self.high / self.low).powf(share),
            false => value + share * (self.high - self.low),
        }
    }
}

/// A number of some power of ten, short.
fn scientific(value: f64, power: i32) -> String {
    match power {
        -3..=4 => number(value, (-power).max(0) as usize),
        _ => format!("{:.0}e{power}", value / 10f64.powi(power)),
    }
}

fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') { text.replace('-', "") } else { text }
}

/// The next of 1, 2, 5 times a power of ten.
fn round_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= raw * 0.999).unwrap_or(10.0 * power)
}

/// A rectangle with axes; its edges are those of the data.
#[derive(Clone, Debug)]
pub struct Panel {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
    pub x: Axis,
    pub y: Axis,
}

impl Panel {
    /// What the labels of a vertical axis take of the width.
    pub fn margin(y: &Axis, y_name: &str) -> f64 {
        let widest = y.ticks.iter().map(|(_, label)| text_width(label, SMALL)).fold(0.0, f64::max);
        GAP + if y_name.is_empty() { 0.0 } else { TEXT + GAP } + widest + GAP
    }

    /// A panel over the whole width of a scene, from its present end; room for axis labels is left. `height` is that of
    /// the data, unless the scene has another. The scene grows.
    pub fn below(
        scene: &mut Scene,
        title: &str,
        height: f64,
        (x, x_name): (Axis, &str),
        (y, y_name): (Axis, &str),
    ) -> Self {
        let left = Panel::margin(&y, y_name).max(scene.margin);
        let height = scene.panel_height.unwrap_or(height);
        heading(scene, title, left);
        let top = scene.height + GAP;
        let last = x.ticks.last().map_or(0.0, |(_, label)| text_width(label, SMALL) / 2.0);
        let panel = Panel { left, top, right: scene.width - last.max(GAP) - 4.0, bottom: top + height, x, y };
        let labels = panel.frame(scene);
        scene.height = panel.bottom + GAP + labels;
        if !x_name.is_empty() {
            let middle = (panel.left + panel.right) / 2.0;
            scene.text(x_name, (middle, scene.height + TEXT * 0.6), TEXT, Align::Center, BLACK);
            scene.height += TEXT * 1.2;
        }
        if !y_name.is_empty() {
            scene.upright(y_name, (GAP + TEXT * 0.4, (panel.top + panel.bottom) / 2.0), TEXT, BLACK);
        }
        scene.height += GAP;
        panel
    }

    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (right, up) = (self.x.share(x) * (self.right - self.left), self.y.share(y) * (self.bottom - self.top));
        (self.left + right, self.bottom - up)
    }

    /// Grid, frame, tick labels; returns the height of the labels below.
    fn frame(&self, scene: &mut Scene) -> f64 {
        for (value, label) in &self.y.ticks {
            let y = self.at(self.x.low, *value).1;
            scene.line(vec![(self.left, y), (self.right, y)], PALE, HAIR, Dash::SOLID);
            scene.text(label, (self.left - GAP * 0.7, y), SMALL, Align::Right, BLACK);
        }
        let room = (self.right - self.left) / self.x.ticks.len().max(1) as f64 - GAP;
        let rows_of = |label: &str| fit(label, room.max(4.0 * SMALL), SMALL);
        let widest = |label: &str| rows_of(label).iter().map(|row| text_width(row, SMALL)).fold(0.0, f64::max);
        // Where labels would run into each other, they run upwards.
        let crowded = self.x.ticks.iter().any(|(_, label)| widest(label) > room + 0.5 * GAP);
        let longest = self.x.ticks.iter().map(|(_, label)| text_width(label, SMALL)).fold(0.0, f64::max);
        let mut lines = 1;
        for (value, label) in &self.x.ticks {
            let x = self.at(*value, self.y.low).0;
            scene.line(vec![(x, self.bottom), (x, self.bottom + 6.0)], BLACK, HAIR, Dash::SOLID);
            if crowded && self.x.ticks.len() > 1 {
                scene.upright(label, (x, self.bottom + GAP + text_width(label, SMALL) / 2.0), SMALL, BLACK);
                continue;
            }
            let rows = rows_of(label);
            for (number, row) in rows.iter().enumerate() {
                let y = self.bottom + GAP + SMALL * (0.5 + number as f64);
                scene.text(row, (x, y), SMALL, Align::Center, BLACK);
            }
            lines = lines.max(rows.len());
        }
        let corners = [(self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)];
        scene.line(corners.to_vec(), BLACK, HAIR, Dash::SOLID);
        if crowded && self.x.ticks.len() > 1 { longest } else { SMALL * lines as f64 }
    }

    /// A line with a marker on every point, or on some eight of many.
    pub fn series(&self, scene: &mut Scene, number: usize, ink: Ink, points: &[(f64, f64)]) {
        let places: Vec<(f64, f64)> = points.iter().map(|&(x, y)| self.at(x, y)).collect();
        scene.line(places.clone(), ink, LINE, Dash::of(number));
        let every = if points.len() <= 15 { 1 } else { points.len() / 8 };
        let marked = places.into_iter().skip(number % every).step_by(every);
        marked.for_each(|place| marker(scene, number, place, MARKER, ink));
    }

    /// The area between lower and upper values.
    pub fn band(&self, scene: &mut Scene, ink: Ink, band: &[(f64, f64, f64)]) {
        if band.len() > 1 {
            let lower = band.iter().map(|&(x, low, _)| self.at(x, low));
            let upper = band.iter().rev().map(|&(x, _, high)| self.at(x, high));
            scene.marks.push(Mark::Area { points: lower.chain(upper).collect(), ink: ink.mix(0.15) });
        }
    }

    /// A vertical bar of error around a value.
    pub fn error(&self, scene: &mut Scene, ink: Ink, x: f64, (low, high): (f64, f64)) {
        let (bottom, top) = (self.at(x, low.max(self.y.low)), self.at(x, high.min(self.y.high)));
        scene.line(vec![bottom, top], ink, HAIR + 1.0, Dash::SOLID);
        for (x, y) in [bottom, top] {
            scene.line(vec![(x - MARKER, y), (x + MARKER, y)], ink, HAIR + 1.0, Dash::SOLID);
        }
    }
}

/// A title over a panel, as many lines as it needs.
pub fn heading(scene: &mut Scene, title: &str, left: f64) {
    if title.is_empty() {
        return;
    }
    scene.height += GAP;
    let rows = fit(title, scene.width - left - GAP, TEXT);
    rows.iter().for_each(|text| row(scene, text, left, (TEXT, BLACK)));
}

/// A line of text at the present end of the scene. The scene grows.
fn row(scene: &mut Scene, text: &str, left: f64, (size, ink): (f64, Ink)) {
    scene.text(text, (left, scene.height + size * 0.6), size, Align::Left, ink);
    scene.height += size * 1.15;
}

/// Lines that a note may have in a figure, and what its end says where it would have more.
const NOTE_LINES: usize = 8;
const REST: &str = "(the report says all)";

/// Small text below all else, or in the caption.
pub fn footnote(scene: &mut Scene, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(notes) = &mut scene.notes {
        notes.push(text.into());
        return;
    }
    let room = scene.width - 2.0 * GAP;
    let mut rows = broken(text, room, SMALL);
    if rows.len() > NOTE_LINES {
        rows.truncate(NOTE_LINES);
        let last = rows.pop().unwrap_or_default();
        let rest = format!(" {REST}");
        rows.push(shorten(last.trim_end(), room - GAP - text_width(&rest, SMALL), SMALL, true) + &rest);
    }
    rows.iter().for_each(|line| row(scene, &shorten(line.trim_end(), room, SMALL, false), GAP, (SMALL, GREY)));
    scene.height += GAP;
}

/// Adds a bar of the colours of maps, no wider than `widest`, between what its ends mean; `below` is left free under it.
pub fn colour_bar(scene: &mut Scene, [low, high]: [&str; 2], widest: f64, below: f64) {
    const STEPS: usize = 128;
    let data = (0..STEPS).flat_map(|step| heat(step as f64 / (STEPS - 1) as f64)).collect();
    let picture = Arc::new(Picture { width: STEPS, height: 1, data });
    let (y, start) = (scene.height + 0.75 * SMALL, 2.0 * GAP + text_width(low, SMALL));
    let width = (scene.width - start - 2.0 * GAP - text_width(high, SMALL)).min(widest);
    scene.text(low, (GAP, y), SMALL, Align::Left, BLACK);
    scene.marks.push(Mark::Picture { at: (start, y - 0.4 * SMALL), size: (width, 0.8 * SMALL), picture });
    scene.frame((start, y - 0.4 * SMALL), (width, 0.8 * SMALL));
    scene.text(high, (start + width + GAP, y), SMALL, Align::Left, BLACK);
    scene.height += 1.5 * SMALL + below;
}

/// What a line of a legend shows beside its text.
#[derive(Clone, Copy, Debug)]
pub enum Legend {
    Line { number: usize, ink: Ink },
    Marker { number: usize, ink: Ink },
    Field { ink: Ink },
}

impl Legend {
    /// Lines with these names, in the colours and dashes of their numbers.
    pub fn lines(names: &[impl ToString]) -> Vec<(Legend, String)> {
        let line =
            |(number, name): (usize, &_)| (Legend::Line { number, ink: colour(number) }, ToString::to_string(name));
        names.iter().enumerate().map(line).collect()
    }
}

/// A legend from the present end of the scene, in as many rows as it needs. The scene grows.
pub fn legend(scene: &mut Scene, items: &[(Legend, String)]) {
    let sample = |key: &Legend| if matches!(key, Legend::Line { .. }) { 84.0 } else { 34.0 };
    scene.height += GAP;
    let mut x = GAP;
    for (key, label) in items {
        let room = scene.width - 3.0 * GAP - sample(key);
        let rows = fit(label, room, SMALL);
        let wide = rows.iter().map(|row| text_width(row, SMALL)).fold(0.0, f64::max);
        let width = sample(key) + GAP + wide;
        if x > GAP && x + width > scene.width - GAP {
            x = GAP;
            scene.height += SMALL * 1.25;
        }
        let y = scene.height + SMALL * 0.6;
        draw_sample(scene, key, x, y, sample(key));
        for (number, row) in rows.iter().enumerate() {
            let below = if number > 0 { SMALL * 1.1 } else { 0.0 };
            scene.height += below;
            scene.text(row, (x + sample(key) + GAP, y + SMALL * 1.1 * number as f64), SMALL, Align::Left, BLACK);
        }
        x += width + 2.0 * GAP;
    }
    scene.height += SMALL * 1.2;
}

fn draw_sample(scene: &mut Scene, key: &Legend, x: f64, y: f64, width: f64) {
    match *key {
        Legend::Line { number, ink } => {
            scene.line(vec![(x, y), (x + width, y)], ink, LINE, Dash::of(number));
            marker(scene, number, (x + width / 2.0, y), MARKER, ink);
        }
        Legend::Marker { number, ink } => marker(scene, number, (x + width / 2.0, y), MARKER, ink),
        Legend::Field { ink } => scene.rect((x, y - 11.0), (x + width, y + 11.0), ink),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_values_and_hold_the_data() {
        for (low, high, first, last, labels) in [
            (93.2, 99.7, 92.0, 100.0, vec!["92", "94", "96", "98", "100"]),
            (0.0, 0.31, 0.0, 0.4, vec!["0.0", "0.1", "0.2", "0.3", "0.4"]),
            (-0.3, 0.3, -0.4, 0.4, vec!["-0.4", "-0.2", "0.0", "0.2", "0.4"]),
        ] {
            let axis = Axis::round(low, high, 4);
            assert!((axis.low - first).abs() < 1e-9 && (axis.high - last).abs() < 1e-9, "{axis:?}");
            assert_eq!(axis.ticks.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(), labels);
        }
        assert_eq!(Axis::percent(99.0, 100.0, 4).high, 100.0);
    }

    #[test]
    fn a_note_without_room_says_where_the_rest_is() {
        let rows = |words: usize| -> Vec<String> {
            let mut scene = Scene::new(8.5);
            footnote(&mut scene, &"settings that are not the published ones; ".repeat(words));
            let texts = scene.marks.iter().filter_map(|mark| match mark {
                Mark::Text { text, .. } => Some(text.clone()),
                _ => None,
            });
            texts.collect()
        };
        let (few, many) = (rows(9), rows(60));
        assert!(few.len() > 4 && few.concat().matches("published").count() == 9, "{few:?}");
        assert!(many.len() == NOTE_LINES && many[NOTE_LINES - 1].ends_with(&format!("… {REST}")), "{many:?}");
        assert!(many.iter().all(|row| text_width(row, SMALL) <= Scene::new(8.5).width - 2.0 * GAP), "{many:?}");
    }
}
