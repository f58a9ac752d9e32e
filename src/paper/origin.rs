//! Where a printed number comes from, and what its publication says of how it was measured.

use serde::Serialize;

/// Columns that may follow those of a value, in this order.
pub(super) const COLUMNS: [&str; 6] = ["source", "split", "setting", "epochs", "image_size", "url"];
/// What stands where a publication says nothing.
pub const UNSAID: &str = "-";
/// Who printed a value of a file without sources.
pub(super) const PAPER: &str = "the paper";

/// Where a number comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Who published it.
    pub source: String,
    /// Which of a dataset's official splits it is of; unsaid where there is one.
    pub split: String,
    /// `unified` or `per_class`.
    pub setting: String,
    /// Epochs of training.
    pub epochs: String,
    /// Side of the images, in pixels.
    pub image_size: String,
    /// Where it can be read.
    pub url: String,
}

impl Origin {
    /// Reads the fields of `columns`; the message says which is wrong.
    pub(super) fn parse(columns: &[&str], fields: &[&str]) -> Result<Self, String> {
        let field = |name| columns.iter().zip(fields).find(|(column, _)| **column == name).map(|(_, field)| *field);
        let said = |name| field(name).unwrap_or(UNSAID).to_string();
        for name in ["epochs", "image_size"] {
            if said(name) != UNSAID && said(name).parse::<u32>().is_err() {
                return Err(format!("{name} is {}, neither a whole number nor {UNSAID}", said(name)));
            }
        }
        let setting = said("setting");
        if !["unified", "per_class", UNSAID].contains(&setting.as_str()) {
            return Err(format!("setting is {setting}, none of unified, per_class and {UNSAID}"));
        }
        let source = field("source").unwrap_or(PAPER).to_string();
        let [split, epochs, image_size, url] = ["split", "epochs", "image_size", "url"].map(said);
        Ok(Origin { source, split, setting, epochs, image_size, url })
    }

    /// In which conditions two numbers differ: what it is, here, there. Splits must be the same; of the others counts what
    /// both say.
    pub fn differences<'a>(&'a self, other: &'a Origin) -> Vec<[&'a str; 3]> {
        let all = [
            ["split", &self.split, &other.split],
            ["setting", &self.setting, &other.setting],
            ["epochs", &self.epochs, &other.epochs],
            ["image size", &self.image_size, &other.image_size],
        ];
        let is_said = |values: &[&str]| !values.contains(&UNSAID);
        all.into_iter().filter(|all| all[1] != all[2] && (all[0] == "split" || is_said(&all[1..]))).collect()
    }

    /// Setting, training length and size of images, in words.
    pub fn training(&self) -> String {
        let words = |value: &str, what: &str| match value {
            UNSAID => format!("{what} not said"),
            value => format!("{value} {what}"),
        };
        let Origin { setting, epochs, image_size, .. } = self;
        format!("{}, {}, {}", words(setting, "setting"), words(epochs, "epochs"), words(image_size, "pixels"))
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let split = if self.split == UNSAID { "one split".into() } else { format!("split {}", self.split) };
        write!(f, "{} ({split}, {})", self.source, self.training())
    }
}
