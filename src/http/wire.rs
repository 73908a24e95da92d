//! The JSON that goes in and out.

mod elements;
mod found;
mod global_search;
mod incoming;
mod outgoing;
mod prompts;

pub(super) use elements::{Elements, Line};
pub(super) use found::{ContextResponse, SearchResponse};
pub(super) use global_search::{GlobalSearchRequest, GlobalSearchResponse};
pub(super) use incoming::{BatchRequest, MessageRequest, MigrationRequest, read, read_object};
pub(super) use outgoing::{
    BackendResponse, ConversationResponse, DeletedResponse, MessageResponse, MigratedResponse,
    ReadyResponse, SavedResponse, SessionItemResponse, SessionResponse,
};
pub use prompts::StatsResponse;
pub(super) use prompts::{
    DeletePromptsResponse, LookupRequest, LookupResponse, PutRequest, PutResponse,
};
