//! All routes in one table, from which the router and the access tests are made. A route cannot be added anywhere else, and
//! must state whether it is open.

use super::{
    App, auth, chats, global_search, messages, operations, problem, prompts, search, session, users,
};
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};

/// Who may use a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouteAccess {
    /// Everyone: monitoring has no key.
    Open,
    /// Clients with the key, if the server has one.
    Guarded,
}

/// A route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; `{name}` stands for a segment.
    pub path: &'static str,
    /// The access.
    pub access: RouteAccess,
}

/// Every route of [`super::router`].
pub fn routes() -> Vec<Route> {
    table().routes
}

fn table() -> RouteTable {
    let chat = "/v1/guest/chat/{guest_id}";
    let verify = "/v1/guest/verify/{guest_id}";
    RouteTable::default()
        .open(Method::GET, "/health", operations::health)
        .open(Method::GET, "/readyz", operations::ready)
        .guarded(Method::GET, chat, chats::history)
        .guarded(Method::POST, chat, messages::post)
        .guarded(Method::DELETE, chat, chats::delete)
        .guarded(
            Method::POST,
            "/v1/guest/chat/{guest_id}/batch",
            messages::post_guest_batch,
        )
        .guarded(Method::POST, "/v1/messages/batch", messages::post_batch)
        .guarded(
            Method::GET,
            "/v1/guest/chat/{guest_id}/search",
            search::guest,
        )
        .guarded(
            Method::GET,
            "/v1/guest/chat/{guest_id}/context",
            search::context,
        )
        .guarded(Method::GET, "/v1/user/{user_id}/search", search::user)
        .guarded(
            Method::GET,
            "/v1/guest/session/{guest_id}",
            session::session,
        )
        .guarded(Method::POST, "/v1/guest/migrate/{guest_id}", users::migrate)
        .guarded(
            Method::GET,
            "/v1/user/{user_id}/conversations",
            users::conversations,
        )
        .guarded(Method::GET, "/v1/conversation/{id}", users::conversation)
        .guarded(Method::POST, "/v1/search", global_search::search)
        .guarded(Method::POST, "/v1/cache/lookup", prompts::lookup)
        .guarded(Method::GET, "/v1/cache", prompts::stats)
        .guarded(Method::PUT, "/v1/cache", prompts::keep)
        .guarded(Method::DELETE, "/v1/cache", prompts::forget)
        .guarded(Method::GET, verify, operations::verify_guest)
        .guarded(Method::POST, verify, operations::repair_guest)
        .guarded(Method::GET, "/v1/verify", operations::verify)
        .guarded(Method::POST, "/v1/verify", operations::repair)
}

/// The list of routes and the two routers they are in.
#[derive(Default)]
struct RouteTable {
    routes: Vec<Route>,
    open: Router<App>,
    guarded: Router<App>,
}

impl RouteTable {
    fn open<H: Handler<T, App>, T: 'static>(
        self,
        method: Method,
        path: &'static str,
        handler: H,
    ) -> Self {
        self.add(RouteAccess::Open, method, path, handler)
    }

    fn guarded<H: Handler<T, App>, T: 'static>(
        self,
        method: Method,
        path: &'static str,
        handler: H,
    ) -> Self {
        self.add(RouteAccess::Guarded, method, path, handler)
    }

    fn add<H: Handler<T, App>, T: 'static>(
        mut self,
        access: RouteAccess,
        method: Method,
        path: &'static str,
        handler: H,
    ) -> Self {
        let filter = MethodFilter::try_from(method.clone())
            .expect("the methods of the table are HTTP's own");
        match access {
            RouteAccess::Open => self.open = self.open.route(path, on(filter, handler)),
            RouteAccess::Guarded => self.guarded = self.guarded.route(path, on(filter, handler)),
        }
        self.routes.push(Route {
            method,
            path,
            access,
        });
        self
    }
}

/// The table as a router. Unknown paths are guarded, too: without the key nobody learns the routes and their methods.
pub(super) fn guarded(app: &App) -> Router<App> {
    let RouteTable { open, guarded, .. } = table();
    let guarded = guarded
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(app.clone());
    // A layer on the routes themselves would be inside them, and each would add its `Allow` to the refusal.
    let guarded = Router::new()
        .fallback_service(guarded)
        .layer(from_fn_with_state(app.clone(), auth::require_key));
    open.method_not_allowed_fallback(problem::no_such_method)
        .merge(guarded)
}
