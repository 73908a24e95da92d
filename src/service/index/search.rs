//! Search over all conversations: candidates from the index, read from the tables.

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

/// How long the first search waits for the index to be built: enough for small stores.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How long a search waits until the index has processed earlier commits.
const EVENTS_WAIT: Duration = Duration::from_millis(100);
/// Candidates of the first round, at least: some may be deleted, or excluded by the platform filter.
const PROPOSED: usize = 64;
/// Growth of the candidates per round while too few hits remain.
const DEEPER: usize = 8;
/// Candidates read from the tables at a time.
const READ_TOGETHER: usize = 10_000;

/// A semantic search over all conversations.
#[derive(Clone, Debug)]
pub struct GlobalQuery {
    /// The model whose vectors are compared.
    pub model: ModelId,
    /// The query's vector.
    pub vector: Vector,
    /// Hits at most.
    pub k: Limit,
    /// The filters on messages.
    pub filters: Filters,
}

/// The hits, and the state of the index they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalResults {
    /// The hits, and how many messages were searched.
    pub findings: SearchResults,
    /// The state of the index.
    pub index: IndexState,
}

impl VectorIndex {
    pub(super) async fn search(&self, query: &GlobalQuery) -> Result<GlobalResults> {
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
        let hits = self.nearest(query).await?;
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

    /// Starts the index if necessary, and waits until it has processed this node's earlier commits.
    async fn wake(&self) {
        if !self.awake.send_replace(true) {
            let mut complete = self.complete.subscribe();
            let waiting = complete.wait_for(|complete| *complete);
            let _ = tokio::time::timeout(FIRST_WAIT, waiting).await; // late: the response has the state of the index
        }
        let (reply, processed) = oneshot::channel();
        if self.sender.try_send(IndexEvent::Flush(reply)).is_ok() {
            let _ = tokio::time::timeout(EVENTS_WAIT, processed).await; // late: as above
        }
    }

    async fn nearest(&self, query: &GlobalQuery) -> Result<Vec<Hit>> {
        let mut scan = IndexScan {
            probe: QuantizedQuery::new(&query.vector),
            filters: query.filters.clone(),
            depth: PROPOSED.max(query.k.get() * 4),
        };
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        loop {
            let proposed = self.scan(&scan).await?;
            let is_all = proposed.len() < scan.depth;
            let new = proposed.into_iter().map(|(_, id)| id);
            let new: Vec<_> = new.filter(|id| seen.insert(*id)).collect();
            for ids in new.chunks(READ_TOGETHER) {
                let missing = query.k.get() - found.len();
                if missing == 0 {
                    break;
                }
                let proposal = CandidateRequest {
                    ids: ids.to_vec(),
                    platform: query.filters.platform,
                    limit: missing,
                };
                found.extend(self.read_proposed(&query.model, proposal).await?);
            }
            if found.len() >= query.k.get() || is_all {
                break;
            }
            scan.depth = scan.depth.saturating_mul(DEEPER);
        }
        Ok(hits(found, &scan.probe, &query.filters))
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
            self.send(|| (!gone.is_empty()).then_some(IndexEvent::Changed(gone)));
        }
        Ok(found)
    }
}

/// Scores the vectors read from the tables, in the order that all searches share.
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
