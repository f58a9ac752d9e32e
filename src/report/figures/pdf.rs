//! A drawing as PDF: vectors and text stay such, and the letters that occur are embedded.
//!
//! Owns: what a mark is in PDF. Does not own: the form of the file (`pdf-writer`), which part of a font some letters need
//! (`subsetter`). Nothing of time or machine is in the file, so the same drawing is the same bytes.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::types::{CidFontType, FontFlags, LineCapStyle, LineJoinStyle, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use subsetter::GlyphRemapper;
use ttf_parser::{Face, GlyphId};

use super::canvas::{Align, EM, FONT, HALF_CAPITAL, Mark, Picture, RESOLUTION, Scene, fault, text_width};
use super::style::Ink;
use crate::error::Result;

/// PDF counts in points.
const POINTS_PER_DOT: f64 = 72.0 / RESOLUTION;

/// How far control points of a cubic curve lie along the tangents of a quarter of a circle.
const QUARTER: f64 = 0.552_284_75;

/// Six letters that mark a part of a font, and its name.
const FONT_NAME: Name = Name(b"DMADAA+DejaVuSans");

const SYSTEM: SystemInfo = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const PAGE: Ref = Ref::new(3);
const CONTENT: Ref = Ref::new(4);
const ABOUT: Ref = Ref::new(5);
const TYPE0: Ref = Ref::new(6);
const CID_FONT: Ref = Ref::new(7);
const DESCRIPTOR: Ref = Ref::new(8);
const FONT_DATA: Ref = Ref::new(9);
const UNICODE: Ref = Ref::new(10);
/// Pictures follow.
const FIRST_PICTURE: i32 = 11;

/// What marks need that the page has to list.
struct Drawn<'a> {
    face: Face<'a>,
    content: Content,
    glyphs: GlyphRemapper,
    /// Letters by their numbers in the embedded font, with their widths in thousandths of an em.
    letters: BTreeMap<u16, (char, f32)>,
    /// Opacities in use, by their names.
    opacities: BTreeMap<String, f32>,
    pictures: Vec<&'a Picture>,
}

/// The drawing as PDF of its own size, with `title` for whoever lists files.
pub fn pdf(scene: &Scene, title: &str) -> Result<Vec<u8>> {
    let (width, height) = (scene.width.ceil() * POINTS_PER_DOT, scene.height.ceil() * POINTS_PER_DOT);
    let mut drawn = Drawn {
        face: Face::parse(FONT, 0).map_err(fault)?,
        content: Content::new(),
        glyphs: GlyphRemapper::new(),
        letters: BTreeMap::new(),
        opacities: BTreeMap::new(),
        pictures: Vec::new(),
    };
    // From dots that count downwards to points that count upwards.
    drawn.content.transform(floats([POINTS_PER_DOT, 0.0, 0.0, -POINTS_PER_DOT, 0.0, height]));
    drawn.content.set_line_join(LineJoinStyle::RoundJoin).set_line_cap(LineCapStyle::ButtCap);
    // Pictures lie below all else, as in the other forms.
    let is_picture = |mark: &&Mark| matches!(mark, Mark::Picture { .. });
    scene.marks.iter().filter(is_picture).for_each(|mark| drawn.mark(mark));
    scene.marks.iter().filter(|mark| !is_picture(mark)).for_each(|mark| drawn.mark(mark));

    let mut pdf = Pdf::new();
    // Transparency is of 1.4; LaTeX takes up to 1.5 without a word.
    pdf.set_version(1, 5);
    pdf.catalog(CATALOG).pages(PAGES);
    pdf.pages(PAGES).kids([PAGE]).count(1);
    pdf.document_info(ABOUT).title(TextStr(title)).producer(TextStr("dmad"));
    let mut page = pdf.page(PAGE);
    page.parent(PAGES).media_box(Rect::new(0.0, 0.0, width as f32, height as f32)).contents(CONTENT);
    let mut resources = page.resources();
    resources.fonts().pair(Name(b"F"), TYPE0);
    let mut states = resources.ext_g_states();
    for (name, &opacity) in &drawn.opacities {
        let mut state = states.insert(Name(name.as_bytes())).start::<pdf_writer::writers::ExtGraphicsState>();
        state.stroking_alpha(opacity).non_stroking_alpha(opacity);
    }
    states.finish();
    let mut objects = resources.x_objects();
    for number in 0..drawn.pictures.len() {
        objects.pair(Name(picture_name(number).as_bytes()), picture_ref(number));
    }
    objects.finish();
    resources.finish();
    page.finish();
    for (number, picture) in drawn.pictures.iter().enumerate() {
        write_picture(&mut pdf, picture_ref(number), picture)?;
    }
    write_font(&mut pdf, &drawn)?;
    let content = compressed(drawn.content.finish().as_slice())?;
    pdf.stream(CONTENT, &content).filter(Filter::FlateDecode);
    Ok(pdf.finish())
}

impl<'a> Drawn<'a> {
    fn mark(&mut self, mark: &'a Mark) {
        match mark {
            Mark::Line { points, ink, width, dash } => {
                self.ink(*ink);
                self.content.set_line_width(width.round().max(1.0) as f32);
                dash.pieces(points).iter().for_each(|piece| self.path(piece));
                self.content.stroke();
            }
            Mark::Area { points, ink } => {
                self.ink(*ink);
                self.path(points);
                self.content.close_path().fill_nonzero();
            }
            Mark::Disc { centre, radius, ink } => {
                self.ink(*ink);
                self.disc(*centre, *radius);
            }
            Mark::Text { text, at, size, align, ink, upright } => {
                self.ink(*ink);
                self.text(text, *at, *size, align, *upright);
            }
            Mark::Picture { at: (x, y), size: (width, height), picture } => {
                let name = picture_name(self.pictures.len());
                self.pictures.push(picture);
                self.content.save_state().transform(floats([*width, 0.0, 0.0, -height, *x, y + height]));
                self.content.x_object(Name(name.as_bytes())).restore_state();
            }
        }
    }

    /// The colour and opacity of what follows.
    fn ink(&mut self, Ink(red, green, blue, opacity): Ink) {
        let [r, g, b] = [red, green, blue].map(|part| f32::from(part) / 255.0);
        self.content.set_stroke_rgb(r, g, b).set_fill_rgb(r, g, b);
        let name = format!("O{:.0}", 1000.0 * opacity);
        self.content.set_parameters(Name(name.as_bytes()));
        self.opacities.insert(name, opacity as f32);
    }

    fn path(&mut self, points: &[(f64, f64)]) {
        for (number, &(x, y)) in points.iter().enumerate() {
            let (x, y) = (x as f32, y as f32);
            if number == 0 {
                self.content.move_to(x, y)
            } else {
                self.content.line_to(x, y)
            };
        }
    }

    /// A filled circle, of four curves.
    fn disc(&mut self, (x, y): (f64, f64), radius: f64) {
        let pull = QUARTER * radius;
        let at = |right: f64, down: f64| ((x + right) as f32, (y + down) as f32);
        let start = at(radius, 0.0);
        self.content.move_to(start.0, start.1);
        for (along, across) in
            [((1.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (-1.0, 0.0)), ((-1.0, 0.0), (0.0, -1.0)), ((0.0, -1.0), (1.0, 0.0))]
        {
            let mix = |a: f64, b: f64| at(a * along.0 + b * across.0, a * along.1 + b * across.1);
            let (first, second, end) = (mix(radius, pull), mix(pull, radius), mix(0.0, radius));
            self.content.cubic_to(first.0, first.1, second.0, second.1, end.0, end.1);
        }
        self.content.fill_nonzero();
    }

    /// One line of text, as wide as other forms of the figure draw it.
    fn text(&mut self, text: &str, (x, y): (f64, f64), size: f64, align: &Align, upright: bool) {
        let shown: Vec<(u16, f32)> = text.chars().map(|letter| self.letter(letter)).collect();
        let em = size * EM;
        let natural = f64::from(shown.iter().map(|(_, width)| width).sum::<f32>()) / 1000.0 * em;
        let wanted = text_width(text, size);
        if natural <= 0.0 {
            return;
        }
        let back = match align {
            Align::Left => 0.0,
            Align::Center => wanted / 2.0,
            Align::Right => wanted,
        };
        let matrix = match upright {
            false => [1.0, 0.0, 0.0, -1.0, x - back, y + HALF_CAPITAL * size],
            true => [0.0, -1.0, -1.0, 0.0, x + HALF_CAPITAL * size, y + back],
        };
        let bytes: Vec<u8> = shown.iter().flat_map(|(glyph, _)| glyph.to_be_bytes()).collect();
        self.content.begin_text().set_font(Name(b"F"), em as f32);
        self.content.set_horizontal_scaling((100.0 * wanted / natural) as f32).set_text_matrix(floats(matrix));
        self.content.show(Str(&bytes)).end_text();
    }

    /// The number of a letter in the embedded font, and its width.
    fn letter(&mut self, letter: char) -> (u16, f32) {
        let glyph = self.face.glyph_index(letter).unwrap_or(GlyphId(0));
        let units = f32::from(self.face.units_per_em());
        let width = 1000.0 * f32::from(self.face.glyph_hor_advance(glyph).unwrap_or_default()) / units;
        let number = self.glyphs.remap(glyph.0);
        self.letters.entry(number).or_insert((letter, width));
        (number, width)
    }
}

fn floats(matrix: [f64; 6]) -> [f32; 6] {
    matrix.map(|value| value as f32)
}

fn picture_name(number: usize) -> String {
    format!("P{number}")
}

fn picture_ref(number: usize) -> Ref {
    Ref::new(FIRST_PICTURE + number as i32)
}

fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(fault)
}

fn write_picture(pdf: &mut Pdf, id: Ref, picture: &Picture) -> Result<()> {
    let data = compressed(&picture.data)?;
    let mut image = pdf.image_xobject(id, &data);
    image.filter(Filter::FlateDecode);
    image.width(picture.width as i32).height(picture.height as i32).bits_per_component(8).interpolate(true);
    image.color_space().device_rgb();
    Ok(())
}

/// The letters that were shown, their widths, and what they mean to whoever copies them.
fn write_font(pdf: &mut Pdf, drawn: &Drawn) -> Result<()> {
    let (face, scale) = (&drawn.face, 1000.0 / f32::from(drawn.face.units_per_em()));
    pdf.type0_font(TYPE0)
        .base_font(FONT_NAME)
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(CID_FONT)
        .to_unicode(UNICODE);
    let mut font = pdf.cid_font(CID_FONT);
    font.subtype(CidFontType::Type2).base_font(FONT_NAME).system_info(SYSTEM).font_descriptor(DESCRIPTOR);
    font.default_width(0.0).cid_to_gid_map_predefined(Name(b"Identity"));
    let mut widths = font.widths();
    drawn.letters.iter().for_each(|(&glyph, &(_, width))| {
        widths.consecutive(glyph, [width]);
    });
    widths.finish();
    font.finish();

    let bounds = face.global_bounding_box();
    let [left, bottom, right, top] =
        [bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max].map(|v| f32::from(v) * scale);
    pdf.font_descriptor(DESCRIPTOR)
        .name(FONT_NAME)
        .flags(FontFlags::SYMBOLIC)
        .bbox(Rect::new(left, bottom, right, top))
        .italic_angle(0.0)
        .ascent(f32::from(face.ascender()) * scale)
        .descent(f32::from(face.descender()) * scale)
        .cap_height(f32::from(face.capital_height().unwrap_or(face.ascender())) * scale)
        .stem_v(80.0)
        .font_file2(FONT_DATA);
    let part = subsetter::subset(FONT, 0, &drawn.glyphs).map_err(fault)?;
    pdf.stream(FONT_DATA, &compressed(&part)?).filter(Filter::FlateDecode).pair(Name(b"Length1"), part.len() as i32);
    let mut meaning = UnicodeCmap::new(Name(b"DMAD-UCS"), SYSTEM);
    drawn.letters.iter().for_each(|(&glyph, &(letter, _))| meaning.pair(glyph, letter));
    pdf.cmap(UNICODE, meaning.finish().as_slice());
    Ok(())
}
