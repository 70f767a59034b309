//! The router's logic with fakes, in paused time: what goes wrong on the way, and what a user sees of it.

mod asking;
mod following;
mod submitting;
pub(crate) mod world;

use std::time::Duration;

use crane_actors::submit::Request;
use crane_core::RunId;

use super::far::Far;
use super::words::{Answer, Told};
use crate::api::{ApiError, ErrorType};

/// A run message without a key.
fn request() -> Request {
    Request {
        prompt: Some("x".to_owned()),
        ..Request::default()
    }
}

/// A run message with one.
fn keyed(key: &str) -> Request {
    Request {
        key: Some(key.to_owned()),
        ..request()
    }
}

#[track_caller]
fn told(answer: Result<Answer, ApiError>) -> Told {
    match answer {
        Ok(Answer::Run(told)) => told,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn text(answer: Result<Answer, ApiError>) -> String {
    String::from_utf8(told(answer).text.to_vec()).unwrap()
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> String {
    let error = answer.unwrap_err();
    assert_eq!(error.error_type, ErrorType::Unavailable, "{error:?}");
    assert!(error.retry_after.is_some());
    error.detail
}

async fn submit(far: &Far, request: Request) -> (RunId, Told) {
    let (run, answer) = far.submit(request, Duration::ZERO).await.unwrap();
    (run, told(Ok(answer)))
}
