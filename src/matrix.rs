//! Row-major f32 matrices: one row per patch. A view may borrow from a memory-mapped artifact.

/// A matrix that owns its values or, as [`Rows`], borrows them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matrix<D = Vec<f32>> {
    data: D,
    cols: usize,
}

/// A borrowed matrix.
pub type Rows<'a> = Matrix<&'a [f32]>;

impl<D: AsRef<[f32]>> Matrix<D> {
    /// Wraps `data`, whose length must be a multiple of `cols`.
    pub fn new(data: D, cols: usize) -> Self {
        let values = data.as_ref().len();
        assert!(cols > 0 && values.is_multiple_of(cols), "{values} values are no rows of {cols}");
        Matrix { data, cols }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.as_ref().len() / self.cols
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.data.as_ref().is_empty()
    }

    /// Values per row.
    pub fn cols(&self) -> usize {
        self.cols
    }
}

impl<'a> Rows<'a> {
    /// All values, row after row.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// One row.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.data[index * self.cols..(index + 1) * self.cols]
    }

    /// Rows `range` as a view.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Rows<'a> {
        Matrix { data: &self.data[range.start * self.cols..range.end * self.cols], cols: self.cols }
    }
}

impl Matrix {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Matrix::new(vec![0.0; rows * cols], cols)
    }

    /// The view of all rows.
    pub fn view(&self) -> Rows<'_> {
        Matrix { data: &self.data, cols: self.cols }
    }

    /// All values, to change in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The values, row after row.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Appends all rows of `other`, which must have the same width.
    pub fn extend(&mut self, other: Rows) {
        assert_eq!(self.cols, other.cols(), "rows of another width");
        self.data.extend_from_slice(other.data());
    }
}
