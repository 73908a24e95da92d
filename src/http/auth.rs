//! `Authorization: Bearer …`, when the server has a key.

use super::{App, Problem};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use guestbook_core::api_key::ApiKey;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Accepts requests that carry the key, or any request when there is none.
pub(super) async fn require_key(State(app): State<App>, request: Request, next: Next) -> Response {
    match &app.settings.api_key {
        Some(key) if !carries(&request, key) => {
            let detail = "this server wants `Authorization: Bearer <API key>`";
            Problem::new(StatusCode::UNAUTHORIZED, detail).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Compares hashes in constant time, so that timing reveals neither the key nor its length.
fn carries(request: &Request, key: &ApiKey) -> bool {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return false;
    };
    let presented = Sha256::digest(token.trim().as_bytes());
    let wanted = Sha256::digest(key.expose().as_bytes());
    scheme.eq_ignore_ascii_case("bearer")
        && bool::from(presented.as_slice().ct_eq(wanted.as_slice()))
}
