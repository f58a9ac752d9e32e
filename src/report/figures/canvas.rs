//! A drawing as a list of marks, and its two renderings.
//!
//! Owns: the font, SVG and PNG bytes. Does not own: what is drawn where, PDF (`pdf`). Lengths are dots of 300 per inch. Marks are
//! rendered by plotters; pictures, which its SVG back end would draw dot by dot, lie below all other marks.

use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use plotters::coord::Shift;
use plotters::prelude::*;
pub use plotters::style::text_anchor::HPos as Align;
use plotters::style::text_anchor::{Pos, VPos};

use super::style::{Dash, HAIR, Ink, PALE};
use crate::data::thumbnail::png;
use crate::error::{Error, Result};

pub const RESOLUTION: f64 = 300.0;

/// The PNG is drawn this many times larger and averaged down, because the back end does not smooth edges.
const OVERSAMPLING: usize = 2;

/// How far the back end of dots sets text too high for its capitals and digits to be centred, as a share of its size.
const DOT_DROP: f64 = 0.19;

/// The embedded font's em, and half the height of its capitals, as shares of a text's size, which is ascent and descent.
pub const EM: f64 = 1.0 / 1.164;
pub const HALF_CAPITAL: f64 = 0.5 * 0.729 * EM;

/// What SVG viewers are asked for, in this order; the first is the embedded font.
const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

pub static FONT: &[u8] = include_bytes!("../../../assets/DejaVuSans.ttf");

/// One thing drawn. Later marks cover earlier ones.
pub enum Mark {
    Line {
        points: Vec<(f64, f64)>,
        ink: Ink,
        width: f64,
        dash: Dash,
    },
    Area {
        points: Vec<(f64, f64)>,
        ink: Ink,
    },
    Disc {
        centre: (f64, f64),
        radius: f64,
        ink: Ink,
    },
    /// One line of text, centred vertically on `at`.
    Text {
        text: String,
        at: (f64, f64),
        size: f64,
        align: Align,
        ink: Ink,
        upright: bool,
    },
    /// A picture, stretched to `size`.
    Picture {
        at: (f64, f64),
        size: (f64, f64),
        picture: Arc<Picture>,
    },
}

impl Mark {
    fn moved(mut self, right: f64, down: f64) -> Mark {
        let to = |(x, y): &mut (f64, f64)| (*x, *y) = (*x + right, *y + down);
        match &mut self {
            Mark::Line { points, .. } | Mark::Area { points, .. } => points.iter_mut().for_each(to),
            Mark::Disc { centre: at, .. } | Mark::Text { at, .. } | Mark::Picture { at, .. } => to(at),
        }
        self
    }

    fn scale(&mut self, factor: f64) {
        let to = |(x, y): &mut (f64, f64)| (*x, *y) = (*x * factor, *y * factor);
        match self {
            Mark::Line { points, width, dash, .. } => {
                points.iter_mut().for_each(to);
                *width *= factor;
                dash.scale(factor);
            }
            Mark::Area { points, .. } => points.iter_mut().for_each(to),
            Mark::Disc { centre, radius, .. } => {
                to(centre);
                *radius *= factor;
            }
            Mark::Text { at, size, .. } => {
                to(at);
                *size *= factor;
            }
            Mark::Picture { at, size, .. } => {
                to(at);
                to(size);
            }
        }
    }
}

#[derive(Debug)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// R, G, B of each pixel.
    pub data: Vec<u8>,
}

#[derive(Default)]
pub struct Scene {
    pub width: f64,
    pub height: f64,
    pub marks: Vec<Mark>,
    /// Notes that are kept for a caption; `None` where they are drawn.
    pub notes: Option<Vec<String>>,
    /// Height of a panel's data; `None` = that of its kind.
    pub panel_height: Option<f64>,
    /// The least that is left free beside the data of panels, so that those of several begin at one line.
    pub margin: f64,
}

/// Makes the embedded font known to plotters, once.
fn load_font() {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        if plotters::style::register_font(FAMILY, FontStyle::Normal, FONT).is_err() {
            unreachable!("the embedded font is a font");
        }
    });
}

pub fn text_width(text: &str, size: f64) -> f64 {
    load_font();
    let font = FontDesc::new(FontFamily::Name(FAMILY), size, FontStyle::Normal);
    font.box_size(text).map_or(text.chars().count() as f64 * size * 0.5, |(width, _)| f64::from(width))
}

impl Scene {
    /// An empty drawing `width_cm` wide; its height grows with what is put below.
    pub fn new(width_cm: f64) -> Self {
        Scene { width: (width_cm / 2.54 * RESOLUTION).round(), ..Scene::default() }
    }

    pub fn text(&mut self, text: impl Into<String>, at: (f64, f64), size: f64, align: Align, ink: Ink) {
        self.marks.push(Mark::Text { text: text.into(), at, size, align, ink, upright: false });
    }

    /// Adds a text that runs from below to above.
    pub fn upright(&mut self, text: impl Into<String>, at: (f64, f64), size: f64, ink: Ink) {
        self.marks.push(Mark::Text { text: text.into(), at, size, align: Align::Center, ink, upright: true });
    }

    pub fn line(&mut self, points: Vec<(f64, f64)>, ink: Ink, width: f64, dash: Dash) {
        self.marks.push(Mark::Line { points, ink, width, dash });
    }

    pub fn rect(&mut self, (left, top): (f64, f64), (right, bottom): (f64, f64), ink: Ink) {
        self.marks.push(Mark::Area { points: vec![(left, top), (right, top), (right, bottom), (left, bottom)], ink });
    }

    /// Adds the thin frame of a rectangle of some width and height.
    pub fn frame(&mut self, (left, top): (f64, f64), (wide, high): (f64, f64)) {
        let (right, bottom) = (left + wide, top + high);
        let corners = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        self.line(corners, PALE, HAIR, Dash::SOLID);
    }

    /// An empty drawing of some width whose panels look as those of this one.
    pub fn part(&self, width: f64) -> Self {
        let notes = self.notes.as_ref().map(|_| Vec::new());
        Scene { width, notes, panel_height: self.panel_height, margin: self.margin, ..Scene::default() }
    }

    /// Puts another drawing on this one, its corner at (`left`, `top`).
    pub fn place(&mut self, other: Scene, left: f64, top: f64) {
        self.marks.extend(other.marks.into_iter().map(|mark| mark.moved(left, top)));
        if let (Some(notes), Some(more)) = (&mut self.notes, other.notes) {
            notes.extend(more);
        }
    }

    /// The same, everything `factor` times as large.
    pub fn scaled(mut self, factor: f64) -> Self {
        (self.width, self.height) = (self.width * factor, self.height * factor);
        self.marks.iter_mut().for_each(|mark| mark.scale(factor));
        self
    }

    /// The drawing as SVG, its size in centimetres.
    pub fn svg(&self) -> Result<String> {
        load_font();
        let (width, height) = (self.width.ceil() as u32, self.height.ceil() as u32);
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
            let drawn = self.marks.iter().filter(|mark| !matches!(mark, Mark::Text { .. }));
            drawn.into_iter().try_for_each(|mark| draw(&area, mark, 1.0)).map_err(fault)?;
            area.present().map_err(fault)?;
        }
        let (Some(start), Some(end)) = (text.find('>'), text.rfind("</svg>")) else { return Err(fault("no SVG")) };
        let cm = |dots: u32| f64::from(dots) / RESOLUTION * 2.54;
        let head = format!(
            "<svg width=\"{:.3}cm\" height=\"{:.3}cm\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#FFFFFF\"/>",
            cm(width),
            cm(height),
        );
        let pictures: String = self.marks.iter().map(embedded).collect();
        let words: String = self.marks.iter().map(written).collect();
        Ok(format!("{head}\n{pictures}{}{words}</svg>\n", text[start + 1..end].trim_start()))
    }

    /// The drawing as PNG, 300 dots per inch.
    pub fn png(&self) -> Result<Vec<u8>> {
        load_font();
        let (width, height) = (self.width.ceil() as usize, self.height.ceil() as usize);
        let (wide, high) = (width * OVERSAMPLING, height * OVERSAMPLING);
        let mut pixels = vec![255u8; 3 * wide * high];
        self.marks.iter().for_each(|mark| paint(&mut pixels, (wide, high), mark));
        {
            let backend = BitMapBackend::with_buffer(&mut pixels, (wide as u32, high as u32));
            let area = backend.into_drawing_area();
            self.marks.iter().try_for_each(|mark| draw(&area, mark, OVERSAMPLING as f64)).map_err(fault)?;
            area.present().map_err(fault)?;
        }
        Ok(png(&averaged(&pixels, width, height), (width, height), Some(RESOLUTION)))
    }
}

type Drawn<DB> = std::result::Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

pub fn fault(what: impl std::fmt::Display) -> Error {
    Error::method(format!("a figure cannot be drawn ({what})"), "report this as a fault of the program")
}

/// One mark on a plotters area.
fn draw<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, mark: &Mark, scale: f64) -> Drawn<DB> {
    let dot = |(x, y): (f64, f64)| ((x * scale).round() as i32, (y * scale).round() as i32);
    match mark {
        Mark::Line { points, ink, width, dash } => {
            let style = ink.stroke_width((width * scale).round().max(1.0) as u32);
            dash.pieces(points).into_iter().try_for_each(|piece| {
                area.draw(&PathElement::new(piece.into_iter().map(dot).collect::<Vec<_>>(), style))
            })
        }
        Mark::Area { points, ink } => {
            area.draw(&Polygon::new(points.iter().copied().map(dot).collect::<Vec<_>>(), ink.filled()))
        }
        Mark::Disc { centre, radius, ink } => {
            area.draw(&Circle::new(dot(*centre), (radius * scale).round().max(1.0) as i32, ink.filled()))
        }
        Mark::Text { text, at, size, align, ink, upright } => {
            let font = FontDesc::new(FontFamily::Name(FAMILY), size * scale, FontStyle::Normal);
            let font = if *upright { font.transform(FontTransform::Rotate270) } else { font };
            let style = TextStyle::from(font).color(ink).pos(Pos::new(*align, VPos::Center));
            let drop = DOT_DROP * size;
            let down = if *upright { (at.0 + drop, at.1) } else { (at.0, at.1 + drop) };
            area.draw(&Text::new(text.as_str(), dot(down), style))
        }
        Mark::Picture { .. } => Ok(()),
    }
}

/// A text as SVG element; nothing for other marks. It takes the width it was given here also where the viewer has another
/// font, so that no label is cut or runs into another.
fn written(mark: &Mark) -> String {
    let Mark::Text { text, at: (x, y), size, align, ink, upright } = mark else { return String::new() };
    let anchor = match align {
        Align::Left => "start",
        Align::Center => "middle",
        Align::Right => "end",
    };
    let (x, y, turn) = match upright {
        false => (*x, y + HALF_CAPITAL * size, String::new()),
        true => {
            let x = x + HALF_CAPITAL * size;
            (x, *y, format!(" transform=\"rotate(-90 {x:.1} {y:.1})\""))
        }
    };
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\"{turn} text-anchor=\"{anchor}\" font-family=\"{FAMILY}\" font-size=\"{:.1}\" \
         textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"#{:02X}{:02X}{:02X}\" fill-opacity=\"{}\">{escaped}</text>\n",
        size * EM,
        text_width(text, *size),
        ink.0,
        ink.1,
        ink.2,
        ink.3,
    )
}

/// A picture as SVG element; nothing for other marks.
fn embedded(mark: &Mark) -> String {
    let Mark::Picture { at, size, picture } = mark else { return String::new() };
    let [x, y, width, height] = [at.0, at.1, size.0, size.1].map(f64::round);
    let data = BASE64.encode(png(&picture.data, (picture.width, picture.height), None));
    format!(
        "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" href=\"data:image/png;base64,{data}\"/>\n"
    )
}

/// Puts a picture into RGB pixels, bilinear between the centres of its own.
fn paint(pixels: &mut [u8], (wide, high): (usize, usize), mark: &Mark) {
    let Mark::Picture { at, size, picture } = mark else { return };
    let scale = OVERSAMPLING as f64;
    let from = |start: f64| (start.round() * scale) as usize;
    let [left, top, width, height] = [at.0, at.1, size.0, size.1].map(from);
    let Picture { width: columns, height: rows, data } = &**picture;
    let tap = |at: usize, target: usize, source: usize| {
        let place = ((at as f64 + 0.5) * source as f64 / target as f64 - 0.5).clamp(0.0, (source - 1) as f64);
        let low = place as usize;
        (low, (low + 1).min(source - 1), place - low as f64)
    };
    for y in 0..height.min(high.saturating_sub(top)) {
        let (above, below, down) = tap(y, height, *rows);
        for x in 0..width.min(wide.saturating_sub(left)) {
            let (before, after, right) = tap(x, width, *columns);
            let at =
                |row: usize, column: usize, channel: usize| f64::from(data[(row * columns + column) * 3 + channel]);
            for channel in 0..3 {
                let upper = at(above, before, channel) * (1.0 - right) + at(above, after, channel) * right;
                let lower = at(below, before, channel) * (1.0 - right) + at(below, after, channel) * right;
                let place = ((top + y) * wide + left + x) * 3 + channel;
                pixels[place] = (upper * (1.0 - down) + lower * down).round() as u8;
            }
        }
    }
}

/// Means over squares of `OVERSAMPLING` pixels.
fn averaged(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let wide = width * OVERSAMPLING;
    let mut out = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let at = |row: usize, column: usize| usize::from(pixels[(row * wide + column) * 3 + channel]);
                let columns = x * OVERSAMPLING..(x + 1) * OVERSAMPLING;
                let rows = y * OVERSAMPLING..(y + 1) * OVERSAMPLING;
                let sum: usize = rows.flat_map(|row| columns.clone().map(move |column| at(row, column))).sum();
                let area = OVERSAMPLING * OVERSAMPLING;
                out.push(((sum + area / 2) / area) as u8);
            }
        }
    }
    out
}
