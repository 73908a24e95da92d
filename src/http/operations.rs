//! Health, readiness and verify.

use super::deadline::Deadline;
use super::extract::GuestPath;
use super::problem::without_database;
use super::wire::{BackendResponse, ReadyResponse};
use super::{App, Problem};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use guestbook_core::error::{Error, ErrorKind, Result as StoreResult};
use guestbook_service::verify::{VerifyMode, VerifyReport, VerifyScope};
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// A backend without a response by then counts as unavailable.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /health`: the process runs.
pub(super) async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /readyz`: 200 while messages can be read, and stored as long as the disk has space; this needs the database and not the
/// lists.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let parts = app.service.parts();
    let (database, lists, promise) = tokio::join!(
        in_time(parts.database.backend.health()),
        in_time(parts.lists.health()),
        in_time(parts.database.backend.durability())
    );
    let database = app.service.failure().map_or(database, Err);
    let embedder_problem = app.service.embedder_problem();
    let (code, status, without_database) = match (&database, &lists) {
        (Ok(()), Ok(())) if embedder_problem.is_none() => (StatusCode::OK, "ready", ""),
        (Ok(()), _) => (StatusCode::OK, "degraded", ""),
        (Err(cause), _) => without_database(cause),
    };
    for cause in [&database, &lists]
        .into_iter()
        .filter_map(|health| health.as_ref().err())
    {
        tracing::warn!(%cause, "readiness check failed");
    }
    let response = ReadyResponse {
        status,
        database: BackendResponse {
            durability: promise.ok().map(|promise| promise.durability.as_str()),
            ..BackendResponse::new(parts.database.backend.name(), &database, without_database)
        },
        lists: BackendResponse::new(
            parts.lists.name(),
            &lists,
            "messages are stored; their lists follow later",
        ),
        embedder: parts
            .embedder
            .as_ref()
            .map(|embedder| embedder.model().to_string()),
        embedder_problem: embedder_problem.map(|problem| problem.context().to_owned()),
        search_index: app.service.index_status().into(),
        log_dropped: (app.settings.log_dropped)(),
    };
    (code, Json(response)).into_response()
}

async fn in_time<T>(read: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    let late = || {
        Error::new(
            ErrorKind::Unavailable,
            "service",
            "health",
            "it did not answer in time",
        )
    };
    tokio::time::timeout(HEALTH_TIMEOUT, read)
        .await
        .unwrap_or_else(|_| Err(late()))
}

impl App {
    /// Waits, until the deadline, for the permit to verify everything.
    async fn verify_permit(&self, deadline: Deadline) -> Result<SemaphorePermit<'_>, Problem> {
        match deadline.bound(self.verify_limit.acquire()).await {
            Some(Ok(permit)) => Ok(permit),
            _ => Err(Problem::turned_away(
                "everything is being recounted already; try again when that is done",
            )),
        }
    }
}

/// `GET /v1/verify`: verifies everything.
pub(super) async fn verify(
    State(app): State<App>,
    deadline: Deadline,
) -> Result<Json<VerifyReport>, Problem> {
    let _permit = app.verify_permit(deadline).await?;
    Ok(Json(
        app.service
            .verify(&VerifyScope::All, VerifyMode::Look)
            .await?,
    ))
}

/// `POST /v1/verify`: verifies everything and repairs derived data.
pub(super) async fn repair(
    State(app): State<App>,
    deadline: Deadline,
) -> Result<Json<VerifyReport>, Problem> {
    let _permit = app.verify_permit(deadline).await?;
    Ok(Json(
        app.service
            .verify(&VerifyScope::All, VerifyMode::Repair)
            .await?,
    ))
}

/// `GET /v1/guest/verify/{guest_id}`: verifies one guest.
pub(super) async fn verify_guest(
    State(app): State<App>,
    GuestPath(guest): GuestPath,
) -> Result<Json<VerifyReport>, Problem> {
    Ok(Json(
        app.service
            .verify(&VerifyScope::Guest(guest), VerifyMode::Look)
            .await?,
    ))
}

/// `POST /v1/guest/verify/{guest_id}`: verifies one guest and repairs derived data.
pub(super) async fn repair_guest(
    State(app): State<App>,
    GuestPath(guest): GuestPath,
) -> Result<Json<VerifyReport>, Problem> {
    Ok(Json(
        app.service
            .verify(&VerifyScope::Guest(guest), VerifyMode::Repair)
            .await?,
    ))
}
