//! What is wrong with several runs alike, said once.
//!
//! Owns: which texts are one. Does not own: the texts (`error`, `spec`), where they are printed.

use crate::report::frame::{distinct, groups};
use crate::spec::BASE_VARIANT;

/// Names of variants that are shown; the others are counted.
const SHOWN: usize = 4;

/// How a fault names its variant (`spec::Run::fault`).
const MARK: (&str, &str) = (" (variant \"", "\")");

/// The texts without repetition. Those that differ in nothing but the variant are one that names all of them.
pub(super) fn once(texts: impl Iterator<Item = String>) -> Vec<String> {
    let one = |(text, told): (String, Vec<Option<(usize, String)>>)| {
        let Some(place) = told.iter().flatten().map(|(place, _)| *place).next() else { return text };
        let name = |own: &Option<(usize, String)>| own.as_ref().map_or(BASE_VARIANT.into(), |(_, name)| name.clone());
        let (before, after) = text.split_at(place);
        format!("{before} ({}){after}", variants(&distinct(told.iter().map(name))))
    };
    groups(texts.map(apart)).into_iter().map(one).collect()
}

/// A text without its variant, and where that stood; of the base none does.
fn apart(text: String) -> (String, Option<(usize, String)>) {
    let found = text.split_once(MARK.0).and_then(|(before, rest)| Some((before, rest.split_once(MARK.1)?)));
    match found {
        Some((before, (name, after))) => (format!("{before}{after}"), Some((before.len(), name.into()))),
        None => (text, None),
    }
}

fn variants(names: &[String]) -> String {
    let listed = |names: &[String]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    match names {
        [one] => format!("variant \"{one}\""),
        few if few.len() <= SHOWN => format!("variants {}", listed(few)),
        many => format!("variants {} and {} more", listed(&many[..SHOWN - 1]), many.len() - (SHOWN - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::once;

    #[test]
    fn what_is_wrong_with_several_variants_is_said_once_with_their_names() {
        let told = |texts: &[&str]| once(texts.iter().map(|text| text.to_string()));
        let of = |name: &str| format!("a.toml:1:1: no dataset `x` (variant \"{name}\") (known: y)");
        let base = "a.toml:1:1: no dataset `x` (known: y)";
        assert_eq!(told(&[base, base, "other"]), [base, "other"]);
        assert_eq!(told(&[&of("a"), &of("a")]), [of("a")]);
        let both = "a.toml:1:1: no dataset `x` (variants \"full\", \"a\", \"b\") (known: y)";
        assert_eq!(told(&[base, &of("a"), "other", &of("b"), &of("a")]), [both, "other"]);
        let many = told(&["a", "b", "c", "d", "e"].map(of).each_ref().map(String::as_str));
        assert_eq!(many, ["a.toml:1:1: no dataset `x` (variants \"a\", \"b\", \"c\" and 2 more) (known: y)"]);
    }
}
