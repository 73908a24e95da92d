//! What became of one message in each of its seven places, in the words clients read.

/// Whether a row was there before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RowState {
    /// This message began it.
    Created,
    /// This message advanced it.
    Updated,
}

impl RowState {
    /// The word in the receipt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
        }
    }
}

/// Whether the expiring list has the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListState {
    /// It has.
    Stored,
    /// Not yet; the list is repaired from the tables without being asked.
    Pending,
    /// It had, and the list has expired since (only in a replayed answer).
    Expired,
}

impl ListState {
    /// The word in the receipt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }
}

/// What became of a message's vector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EmbeddingState {
    /// It has its row.
    Stored,
    /// The model works off the request path and has not answered yet.
    Pending,
    /// The model refused it, or could not be reached in all tries; the cause is kept.
    Failed,
    /// The text holds nothing the model knows, so there is no vector to keep.
    Nothing,
    /// The service runs without an embedder.
    Off,
}

impl EmbeddingState {
    /// The word in the receipt and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Nothing => "none",
            Self::Off => "off",
        }
    }

    /// Reads the word of the tables.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Stored,
            Self::Pending,
            Self::Failed,
            Self::Nothing,
            Self::Off,
        ];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// The receipt of one message. Steps 3, 6 and 7 of a recorded message have only one possible state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// Step 1.
    pub list: ListState,
    /// Step 2.
    pub conversation: RowState,
    /// Step 4.
    pub embedding: EmbeddingState,
    /// Step 5.
    pub usage: RowState,
}
