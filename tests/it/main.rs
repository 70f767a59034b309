//! Tests of the whole: one binary, a file a topic.

mod architecture;
mod cli;
mod client;
mod cluster;
mod crash;
mod examples;
mod http;
pub(crate) mod operate;
mod program;
mod server;
mod service;
