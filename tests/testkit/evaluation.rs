//! How well a model finds what is meant: `eval_dev.json`, the development half (40 of 83 queries) of the set that chose the
//! built-in one.

use guestbook::core::Vector;
use serde::Deserialize;
use std::collections::HashSet;

/// Messages, and queries with those that are relevant to each.
#[derive(Deserialize)]
pub struct Evaluation {
    corpus: Vec<Message>,
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    /// What a chat would be about; each has five messages.
    topic: String,
    text: String,
}

#[derive(Deserialize)]
struct Query {
    q: String,
    relevant: HashSet<String>,
}

/// The place of the first relevant message for each query, from 1.
pub struct Ranks(Vec<usize>);

impl Evaluation {
    pub fn read() -> Self {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/data/eval_dev.json"
        );
        let set: Self = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!((set.queries.len(), set.corpus.len()), (40, 160));
        set
    }

    pub fn messages(&self) -> Vec<&str> {
        self.corpus
            .iter()
            .map(|message| message.text.as_str())
            .collect()
    }

    pub fn queries(&self) -> Vec<&str> {
        self.queries.iter().map(|query| query.q.as_str()).collect()
    }

    /// Where the vectors of the queries find what is relevant, among those of the messages.
    pub fn ranks(&self, messages: &[Vector], queries: &[Vector]) -> Ranks {
        self.ranks_among(messages, queries, |_, _| true)
    }

    /// The same where each query is asked in a chat of its topic alone: a search within a guest.
    pub fn ranks_in_chats(&self, messages: &[Vector], queries: &[Vector]) -> Ranks {
        let is_there = |query: &Query, message: &Message| {
            let mut same = self.corpus.iter().filter(|it| it.topic == message.topic);
            same.any(|it| query.relevant.contains(&it.id))
        };
        self.ranks_among(messages, queries, is_there)
    }

    fn ranks_among(
        &self,
        messages: &[Vector],
        queries: &[Vector],
        is_searched: impl Fn(&Query, &Message) -> bool,
    ) -> Ranks {
        let rank = |(query, asked): (&Query, &Vector)| {
            let all = self.corpus.iter().zip(messages);
            let mut near: Vec<_> = all
                .filter(|(message, _)| is_searched(query, message))
                .map(|(message, vector)| (asked.cosine(vector).unwrap(), &message.id))
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            let first = near.iter().position(|(_, id)| query.relevant.contains(*id));
            first.unwrap() + 1
        };
        Ranks(self.queries.iter().zip(queries).map(rank).collect())
    }
}

impl Ranks {
    /// R@k: the share of queries with a relevant message among the k nearest.
    pub fn within(&self, k: usize) -> f64 {
        self.0.iter().filter(|rank| **rank <= k).count() as f64 / self.0.len() as f64
    }

    /// MRR: the mean of 1 / rank.
    pub fn mrr(&self) -> f64 {
        self.0.iter().map(|rank| 1.0 / *rank as f64).sum::<f64>() / self.0.len() as f64
    }

    pub fn print(&self) {
        let (first, five, mrr) = (self.within(1), self.within(5), self.mrr());
        println!("R@1 {first:.3}  R@5 {five:.3}  MRR {mrr:.3}");
    }
}
