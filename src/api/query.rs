//! Query parameters: read strictly, and refused by name where a route does not know them.
//!
//! What a route knows is what the OpenAPI document says of it, so that the two cannot differ.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

use super::error::shorten;
use super::{ApiError, ErrorType};

/// The parameters of each route, by path and method.
#[derive(Clone, Debug)]
pub(super) struct Known(Arc<HashMap<String, HashMap<Method, HashSet<String>>>>);

impl Known {
    /// What the document says.
    pub(super) fn of(document: &OpenApi) -> Self {
        let mut known = HashMap::new();
        for (path, item) in &document.paths.paths {
            let mut methods = HashMap::new();
            for (method, operation) in operations(item) {
                let names = operation.parameters.iter().flatten();
                let names = names.filter_map(|parameter| match parameter {
                    RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
                        Some(parameter.name.clone())
                    }
                    RefOr::T(_) | RefOr::Ref(_) => None,
                });
                methods.insert(method, names.collect());
            }
            known.insert(path.clone(), methods);
        }
        Self(Arc::new(known))
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    [
        (Method::GET, &item.get),
        (Method::HEAD, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// Refuses a parameter that the route does not know.
pub(super) async fn known_only(
    State(Known(known)): State<Known>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if !query.is_empty()
        && let Some(path) = request.extensions().get::<MatchedPath>()
        && let Some(known) = known
            .get(path.as_str())
            .and_then(|methods| methods.get(request.method()))
    {
        let unknown = match pairs(query) {
            Ok(pairs) => pairs.into_iter().find(|(name, _)| !known.contains(name)),
            Err(error) => return error.into_response(),
        };
        if let Some((name, _)) = unknown {
            let mut names: Vec<&str> = known.iter().map(String::as_str).collect();
            names.sort_unstable();
            let detail = if names.is_empty() {
                "is unknown; this request takes none".to_owned()
            } else {
                format!("is unknown; this request takes {}", names.join(", "))
            };
            return ApiError::parameter(&name, detail).into_response();
        }
    }
    next.run(request).await
}

/// The parameters of a query in order, decoded.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name), decode(value)) {
                (Some(name), Some(value)) => Ok((name, value)),
                (Some(name), None) => Err(ApiError::parameter(
                    &name,
                    "has a value that is no percent-encoded UTF-8 text",
                )),
                (None, _) => Err(ApiError::new(
                    ErrorType::BadRequest,
                    format!(
                        "query parameter {} is no percent-encoded UTF-8 text",
                        shorten(name)
                    ),
                )),
            }
        })
        .collect()
}

/// The one value of a parameter that may be given once.
pub(super) fn once(slot: &mut Option<String>, name: &str, value: String) -> Result<(), ApiError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ApiError::parameter(name, "is given twice")),
    }
}

/// Undoes the encoding of forms: `+` is a blank, `%41` an `A`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_strictly() {
        let found = pairs("a=1&b=x%20y+z&&c&d=%C3%BC=").unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(found, [("a", "1"), ("b", "x y z"), ("c", ""), ("d", "ü=")]);
        for wrong in ["a=%", "a=%4", "a=%zz", "a=%ff", "%ff=a", "a=%+1"] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
    }
}
