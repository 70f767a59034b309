//! What the tests of all tools share, and what holds for each tool.
#![allow(clippy::unwrap_used)]
