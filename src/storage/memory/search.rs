//! Brute-force search: every vector is compared in full, and everything is sorted.

use super::tables::{ChatRow, MemoryTables, MessageRow};
use super::{MemoryDatabase, NAME};
use crate::database::{
    Context, ContextMessage, ContextRequest, RELEVANT, Search, SearchQuery, SearchRequest,
    SearchScope, WordsRequest, no_text_index,
};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{Hit, MessageSummary, ModelId, Score, SearchResults, Vector, Words, choose};

#[async_trait]
impl Search for MemoryDatabase {
    async fn search(&self, request: SearchRequest) -> Result<SearchResults> {
        self.run("search", |tables| tables.search(&request))
    }

    async fn search_words(&self, request: WordsRequest) -> Result<SearchResults> {
        let found = self.run("search_words", |tables| {
            let is_asked_for = tables.settings.text_index;
            is_asked_for.then(|| tables.search_words(&request))
        })?;
        found.ok_or_else(|| no_text_index(NAME))
    }

    async fn context(&self, request: ContextRequest) -> Result<Option<Context>> {
        self.run("context", |tables| tables.context(&request))
    }
}

impl MemoryTables {
    fn search(&self, request: &SearchRequest) -> SearchResults {
        let chats: Vec<_> = match &request.scope {
            SearchScope::Guest(guest) => self.chat_of(guest).into_iter().collect(),
            SearchScope::User(user) => {
                let all = self.conversations.values();
                all.filter(|chat| !chat.is_guests() && chat.conversation.owner == *user)
                    .collect()
            }
        };
        let chats = chats.into_iter().filter(|chat| !chat.is_ended(request.now));
        let rows: Vec<_> = chats.flat_map(|chat| self.rows(chat)).collect();
        let scored = rows.iter().filter_map(|row| match &request.sought {
            SearchQuery::Meaning { model, vector } => Some((row.likeness(model, vector)?, *row)),
            SearchQuery::Text(words) => row.has(words).then_some((Score::FULL, *row)),
        });
        let mut hits: Vec<_> = scored.map(|(score, row)| row.hit(score)).collect();
        let compared = hits.len() as u64;
        hits.sort_by_key(|hit| std::cmp::Reverse((hit.score, hit.place())));
        hits.truncate(request.k.get());
        let of = rows.len() as u64;
        SearchResults {
            hits,
            searched: match request.sought {
                SearchQuery::Meaning { .. } => compared,
                SearchQuery::Text(_) => of,
            },
            of,
        }
    }

    fn search_words(&self, request: &WordsRequest) -> SearchResults {
        let chats = self.conversations.values();
        let chats = chats.filter(|chat| !chat.is_ended(request.now));
        let rows = chats.flat_map(|chat| {
            let platform = chat.conversation.platform;
            self.rows(chat).filter(move |row| {
                let message = &row.message;
                request
                    .filters
                    .admits(message.role, platform, message.sent_at)
            })
        });
        let mut found: Vec<_> = rows.filter(|row| row.has(&request.words)).collect();
        found.sort_by_key(|row| {
            let place = row.hit(Score::FULL).place();
            std::cmp::Reverse((row.message.created_at, place))
        });
        found.truncate(request.k.get());
        let of = self.messages.len() as u64;
        SearchResults {
            hits: found.iter().map(|row| row.hit(Score::FULL)).collect(),
            searched: of,
            of,
        }
    }

    fn context(&self, request: &ContextRequest) -> Option<Context> {
        let chat = self.chat_of(&request.guest)?;
        if chat.is_ended(request.now) {
            return None;
        }
        let rows: Vec<_> = self.rows(chat).collect();
        let mut context = Context::default();
        let mut relevant = Vec::new();
        if let Some((model, vector)) = &request.about {
            let scored = rows.iter().filter_map(|row| {
                let score = row.likeness(model, vector)?;
                Some((score, row.message.sequence))
            });
            relevant = scored.collect();
            context.searched = relevant.len() as u64;
            context.of = rows.len() as u64;
            relevant.sort_by_key(|best| std::cmp::Reverse(*best));
            relevant.truncate(RELEVANT);
        }
        let outline: Vec<_> = rows.iter().map(|row| row.outline()).collect();
        let relevant: Vec<_> = relevant
            .into_iter()
            .map(|(score, at)| (at, score))
            .collect();
        let chosen = choose(request.budget, &outline, &relevant);
        context.messages = chosen
            .into_iter()
            .filter_map(|chosen| self.chosen(chat, chosen.sequence, chosen.why))
            .collect();
        Some(context)
    }

    fn chosen(
        &self,
        chat: &ChatRow,
        sequence: u64,
        why: guestbook_core::InclusionReason,
    ) -> Option<ContextMessage> {
        let row = self.messages.get(chat.sequences.get(&sequence)?)?;
        Some(ContextMessage {
            message: row.message.clone(),
            tokens: row.tokens,
            why,
        })
    }
}

impl MessageRow {
    fn likeness(&self, model: &ModelId, sought: &Vector) -> Option<Score> {
        let stored = self.vector.as_ref().filter(|it| it.model == *model)?;
        stored.vector.cosine(sought).map(Score::new)
    }

    fn has(&self, words: &Words) -> bool {
        words.are_all_in(self.message.content.as_str())
    }

    fn hit(&self, score: Score) -> Hit {
        Hit::new(self.conversation, self.message.clone(), score)
    }

    fn outline(&self) -> MessageSummary {
        MessageSummary {
            sequence: self.message.sequence,
            role: self.message.role,
            tokens: self.tokens,
            bytes: self.message.content.as_str().len() as u64,
        }
    }
}
