//! The JSON that goes in and out.

mod elements;
mod everything;
mod found;
mod incoming;
mod outgoing;
mod prompts;

pub(super) use elements::{Elements, Line};
pub(super) use everything::{EverythingAnswer, IncomingSearch};
pub(super) use found::{ContextAnswer, FoundAnswer};
pub(super) use incoming::{IncomingBatch, IncomingMessage, IncomingMigration, read, read_object};
pub(super) use outgoing::{
    BackendAnswer, ConversationAnswer, DeletedAnswer, MessageAnswer, MigratedAnswer, ReadyAnswer,
    SavedAnswer, SessionAnswer,
};
pub use prompts::StatsAnswer;
pub(super) use prompts::{
    ForgottenAnswer, IncomingAnswer, IncomingPrompt, KeptAnswerAnswer, LookupAnswer,
};
