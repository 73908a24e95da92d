//! A search over everything: proposed by the index, read from the tables.

use super::scan::{IndexScan, Scored};
use super::{IndexEvent, IndexMode, IndexState, VectorIndex};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{
    Filters, Hit, Limit, MessageId, ModelId, QuantizedQuery, Score, SearchResults, Vector, square,
};
use guestbook_storage::database::{Candidate, CandidateRequest};
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the first search waits for the index that it wakes: small stores are done by then.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How long a search waits until what was stored before it has been taken in.
const NEWS_WAIT: Duration = Duration::from_millis(100);
/// Messages proposed at first, at least: some may be gone, or not be of the platform that is asked for.
const PROPOSED: usize = 64;
/// How many more are proposed each time that too few remain.
const DEEPER: usize = 8;
/// Messages read from the tables at a time.
const READ_TOGETHER: usize = 10_000;

/// A search over everything, by meaning.
#[derive(Clone, Debug)]
pub struct GlobalQuery {
    /// Whose vectors are compared.
    pub model: ModelId,
    /// What is looked for.
    pub vector: Vector,
    /// How many hits at most.
    pub k: Limit,
    /// Which messages.
    pub filters: Filters,
}

/// What was found, and in what.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalResults {
    /// The hits, and how many messages were searched.
    pub findings: SearchResults,
    /// How far the index was.
    pub index: IndexState,
}

impl VectorIndex {
    pub(super) async fn search(&self, asked: &GlobalQuery) -> Result<GlobalResults> {
        if self.indexing == IndexMode::Off {
            let context = "the index over all messages is off; start the server with --search-index lazy (or on)";
            return Err(Error::new(
                ErrorKind::Conflict,
                "service",
                "search",
                context,
            ));
        }
        self.wake().await;
        let hits = self.nearest(asked).await?;
        let status = self.status();
        Ok(GlobalResults {
            findings: SearchResults {
                hits,
                searched: status.searched,
                of: status.of,
            },
            index: status.state,
        })
    }

    /// Makes sure that the index is made, and that it knows what was stored here before.
    async fn wake(&self) {
        if !self.awake.send_replace(true) {
            let mut complete = self.complete.subscribe();
            let waiting = complete.wait_for(|complete| *complete);
            let _ = tokio::time::timeout(FIRST_WAIT, waiting).await; // late: the answer says how far it is
        }
        let (reply, heard) = oneshot::channel();
        if self.news.try_send(IndexEvent::Asked(reply)).is_ok() {
            let _ = tokio::time::timeout(NEWS_WAIT, heard).await; // late: as above
        }
    }

    async fn nearest(&self, asked: &GlobalQuery) -> Result<Vec<Hit>> {
        let mut scan = IndexScan {
            probe: QuantizedQuery::new(&asked.vector),
            filters: asked.filters.clone(),
            depth: PROPOSED.max(asked.k.get() * 4),
        };
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        loop {
            let proposed = self.scan(&scan).await?;
            let is_all = proposed.len() < scan.depth;
            let new = proposed.into_iter().map(|(_, id)| id);
            let new: Vec<_> = new.filter(|id| seen.insert(*id)).collect();
            for ids in new.chunks(READ_TOGETHER) {
                let missing = asked.k.get() - found.len();
                if missing == 0 {
                    break;
                }
                let proposal = CandidateRequest {
                    ids: ids.to_vec(),
                    platform: asked.filters.platform,
                    limit: missing,
                };
                found.extend(self.read_proposed(&asked.model, proposal).await?);
            }
            if found.len() >= asked.k.get() || is_all {
                break;
            }
            scan.depth = scan.depth.saturating_mul(DEEPER);
        }
        Ok(hits(found, &scan.probe, &asked.filters))
    }

    async fn scan(&self, scan: &IndexScan) -> Result<Vec<Scored>> {
        let ended = |_| {
            Error::new(
                ErrorKind::Unavailable,
                "service",
                "search",
                "the service is stopping",
            )
        };
        let _turn = self.scanning.acquire().await.map_err(ended)?;
        let (scan, segments) = (scan.clone(), self.rows().segments());
        let scanning = tokio::task::spawn_blocking(move || scan.run(&segments));
        scanning.await.map_err(|cause| {
            let context = "the scan of the index ended badly";
            Error::caused(ErrorKind::Internal, "service", "search", context, cause)
        })
    }

    async fn read_proposed(
        &self,
        model: &ModelId,
        proposal: CandidateRequest,
    ) -> Result<Vec<Candidate>> {
        let (ids, limit) = (proposal.ids.clone(), proposal.limit);
        let is_complete = proposal.platform.is_none();
        let now = self.clock.now();
        let found = self.corpus.candidates(model, proposal, now).await?;
        if is_complete && found.len() < limit {
            let there: HashSet<MessageId> = found.iter().map(|it| it.message.id).collect();
            let gone: Vec<_> = ids.into_iter().filter(|id| !there.contains(id)).collect();
            self.tell(|| (!gone.is_empty()).then_some(IndexEvent::Changed(gone)));
        }
        Ok(found)
    }
}

/// By what the tables have, and in the order that all searches share.
fn hits(found: Vec<Candidate>, probe: &QuantizedQuery, filters: &Filters) -> Vec<Hit> {
    let hit = |candidate: Candidate| {
        let cells = candidate.vector.components();
        let score = Score::new(probe.cosine(probe.dot(cells)?, square(cells)));
        let hit = Hit::new(candidate.conversation, candidate.message, score);
        filters.reaches(score).then_some(hit)
    };
    let mut hits: Vec<_> = found.into_iter().filter_map(hit).collect();
    hits.sort_by_key(|hit| std::cmp::Reverse((hit.score, hit.place())));
    hits
}
