//! The figures with their captions, and the pictures of grids of maps one by one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{Markup, html};

use crate::report::figures::{DrawnFigure, Figures, Strip};

/// All figures; each opens large.
pub fn list(figures: &Figures) -> Markup {
    let missing = |figure: &DrawnFigure| {
        let beginning = format!("figure {}: ", figure.number);
        figures.missing.iter().filter_map(move |note| note.strip_prefix(&beginning).map(str::to_string))
    };
    html! {
        @if !figures.drawn.is_empty() {
            div.grid { "\n" @for own in &figures.drawn {
                figure {
                    (picture(own.svg.as_bytes(), "svg+xml", &title(own), None))
                    figcaption {
                        b { (title(own)) }
                        ". " (own.about)
                        @for note in &own.notes { " " (note) }
                        @for note in missing(own) { " Missing: " (note) "." }
                    }
                }
                "\n"
            } }
        }
    }
}

fn title(figure: &DrawnFigure) -> String {
    match figure.title.as_str() {
        "" => format!("Figure {}", figure.number),
        title => format!("Figure {}: {title}", figure.number),
    }
}

/// The pictures of all grids of maps, one strip for each test image.
pub fn strips(figures: &Figures) -> Markup {
    // The first is the image itself, which the gallery falls back on where its own pictures are not there.
    let path = |number: usize, strip: &Strip| (number == 0).then(|| strip.path.clone());
    html! {
        @for strip in figures.drawn.iter().flat_map(|figure| &figure.strips) {
            h3 { (strip.caption) } "\n"
            div.strip { "\n" @for (number, (label, png)) in strip.pictures.iter().enumerate() {
                figure { (picture(png, "png", label, path(number, strip))) figcaption { (label) } } "\n"
            } }
            "\n"
        }
    }
}

/// An image inside the page, which opens large; `path` is that of the test image that it is.
fn picture(bytes: &[u8], kind: &str, alt: &str, path: Option<String>) -> Markup {
    html! {
        button type="button" {
            img alt=(alt) loading="lazy" data-path=[path] src={ "data:image/" (kind) ";base64," (BASE64.encode(bytes)) };
        }
    }
}
