//! A number as it stands on paper: its value, and how finely it was rounded.

/// A printed decimal number.
#[derive(Clone, Debug, PartialEq)]
pub struct Printed {
    text: String,
    value: f64,
    decimals: u32,
}

impl Printed {
    /// Reads digits with an optional sign and decimal point. `None` for anything else: no exponent, no spaces, no bare
    /// point, so that what is rounded to which digit is never in doubt.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (digits, ""),
        };
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        // Longer numbers are not percentages, and would no longer be exact.
        if whole.is_empty() || digits.len() > 12 || !plain(whole) || !plain(fraction) {
            return None;
        }
        let value = text.parse().ok()?;
        Some(Printed { text: text.into(), value, decimals: fraction.len() as u32 })
    }

    /// The number.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The number as it was printed, sign included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Digits after the point.
    pub fn decimals(&self) -> u32 {
        self.decimals
    }

    /// How far the number may lie from what was rounded to it: half a unit of its last digit.
    pub fn half_unit(&self) -> f64 {
        0.5 * 0.1f64.powi(self.decimals as i32)
    }
}

impl std::fmt::Display for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
