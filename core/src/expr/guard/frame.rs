//! The brackets of an expression while it is rewritten, each with what is known of its current element.

/// What a bracket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No bracket: the expression itself.
    Whole,
    /// `(a)`, `(a, b)`, `[a, b]`, `{a: b}`
    Literal,
    /// `f(a)` or `x is t(a)`
    Call,
    /// `x|f(a)`
    Filter,
    /// `x[a]`, or `x[a:b]`
    Subscript,
}

/// An open bracket.
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Where the bracket is in the output.
    pub(super) start: usize,
    /// Where its current element begins in the output.
    pub(super) element: usize,
    /// Words of that element.
    pub(super) words: usize,
    /// Where the current product (operands of `*`, `/` and the like) begins in the output.
    pub(super) product: usize,
    /// The current product has a `*`.
    pub(super) multiplies: bool,
    /// Colons of a subscript: ends of its parts in the output.
    pub(super) colons: Vec<usize>,
}

impl Frame {
    pub(super) fn new(kind: Kind, start: usize, element: usize) -> Self {
        Self {
            kind,
            start,
            element,
            words: 0,
            product: element,
            multiplies: false,
            colons: Vec::new(),
        }
    }
}
