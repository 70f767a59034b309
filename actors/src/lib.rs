//! The supervision tree of a Crane node.

pub mod tool;
