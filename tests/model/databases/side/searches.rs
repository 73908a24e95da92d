//! Searches and contexts.

use super::{Side, kind, text};
use crate::databases::operations::Operation;
use guestbook::core::{Hit, Limit, Timestamp};
use guestbook::storage::database::{ContextRequest, SearchRequest};

impl Side {
    pub(super) async fn run_search(&mut self, operation: Operation, now: Timestamp) -> String {
        let database = self.database.clone();
        match operation {
            Operation::Search(scope, sought, k) => {
                let asked = SearchRequest {
                    scope,
                    sought,
                    k: Limit::new("k", k).unwrap(),
                    now,
                };
                let found = database.search.search(asked).await.map(|found| {
                    let hits = self.each(found.hits, Self::hit);
                    (hits, found.searched, found.of)
                });
                text(found.map_err(kind))
            }
            Operation::Context(guest, budget, about) => {
                let asked = ContextRequest {
                    guest,
                    budget,
                    about,
                    now,
                };
                text(database.search.context(asked).await.map_err(kind))
            }
            other => panic!("nobody runs {other:?}"),
        }
    }

    fn hit(&mut self, hit: Hit) -> Hit {
        Hit {
            conversation: self.order(hit.conversation),
            ..hit
        }
    }
}
