//! A sum that keeps what each addition rounds away (Neumaier), so that millions of small terms stay exact to the last
//! digits.
//!
//! Owns: that one accumulator. Does not own: the order of the terms, which callers keep fixed.

/// Compensated f64 accumulator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    total: f64,
    lost: f64,
}

impl Sum {
    /// Adds one finite term.
    pub fn add(&mut self, term: f64) {
        let next = self.total + term;
        self.lost +=
            if self.total.abs() >= term.abs() { (self.total - next) + term } else { (term - next) + self.total };
        self.total = next;
    }

    /// The sum so far.
    pub fn value(&self) -> f64 {
        self.total + self.lost
    }
}
