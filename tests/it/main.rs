//! Tests of the whole: one binary, a file a topic.

mod architecture;
mod crash;
