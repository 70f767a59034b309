//! Redirects, followed by hand so that every hop passes the guard.
//!
//! Rules: RFC 9110 section 15.4, and what the Fetch standard says of methods and credentials.

use crane_core::tool::ToolError;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE,
    HeaderName, LOCATION, PROXY_AUTHORIZATION,
};
use reqwest::{Method, Response, StatusCode};

use super::request::Request;

/// Headers that are secrets between the caller and one origin.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// Headers that describe a body.
const OF_THE_BODY: [HeaderName; 4] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_TYPE,
];

/// The request to make instead, if the response says so.
pub(super) fn follow(request: &Request, response: &Response) -> Result<Option<Request>, ToolError> {
    let status = response.status();
    let Some(location) = response.headers().get(LOCATION) else {
        return Ok(None);
    };
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let unusable = || {
        ToolError::permanent(format!(
            "{} answered {status} with a location that cannot be read",
            request.name()
        ))
    };
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| unusable())?;
    let mut next = request.clone();
    next.url = request.url.join(location).map_err(|_| unusable())?;
    next.url.set_fragment(None);
    if becomes_get(status, &request.method) {
        next.method = Method::GET;
        next.body = None;
        for name in OF_THE_BODY {
            next.headers.remove(name);
        }
    }
    if next.url.origin() != request.url.origin() {
        for name in CREDENTIALS {
            next.headers.remove(name);
        }
    }
    Ok(Some(next))
}

fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        StatusCode::SEE_OTHER => *method != Method::GET && *method != Method::HEAD,
        _ => false,
    }
}
