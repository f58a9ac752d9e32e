//! What the program says of everything that can be wrong outside it: what, where, what to do; and its exit codes.

mod command_line;
mod experiment_file;
mod images;
mod odd_files;
mod weights;

use dmad::error::{Error, suggestion};

#[test]
fn the_nearest_name_is_close_or_none_is_suggested() {
    for (word, known, near) in [
        ("mvtec", &["mvtec_ad", "visa"][..], "did you mean `mvtec_ad`? known: mvtec_ad, visa"),
        ("imagenet", &["mvtec_ad", "visa"], "known: mvtec_ad, visa"),
        ("ratoi", &["scope", "ratio"], "did you mean `ratio`? known: scope, ratio"),
        (
            "wide_resnet50",
            &["wide_resnet50_2", "resnet18"],
            "did you mean `wide_resnet50_2`? known: wide_resnet50_2, resnet18",
        ),
        ("x", &["y"], "known: y"),
        ("größe", &["große"], "did you mean `große`? known: große"),
    ] {
        assert_eq!(suggestion(word, known.iter().copied()), near);
    }
    let error = Error::unknown("dataset", "vist", ["visa"]);
    assert_eq!(
        (error.to_string().as_str(), error.help()),
        ("there is no dataset `vist`", Some("did you mean `visa`? known: visa"))
    );
}
