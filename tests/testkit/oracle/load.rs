//! Clients that speak to nodes, each one thing after the other, and note everything in the oracle.

use super::Oracle;
use crate::process::Running;
use chrono::SecondsFormat;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Longer than any request may take, by far.
const PATIENCE: Duration = Duration::from_secs(30);
/// The wait after a request that was not done.
const BACKOFF: Duration = Duration::from_millis(25);
/// How long a message is sent again before it is given up.
const INSISTENCE: Duration = Duration::from_secs(40);

/// Where the nodes listen; one that is started again listens elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Nodes(Arc<RwLock<Vec<SocketAddr>>>);

impl Nodes {
    pub fn of(nodes: &[&Running]) -> Self {
        let addresses = nodes.iter().map(|node| node.client.address).collect();
        Self(Arc::new(RwLock::new(addresses)))
    }

    pub fn set(&self, place: usize, node: &Running) {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        nodes[place] = node.client.address;
    }

    fn get(&self, turn: usize) -> SocketAddr {
        let nodes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        nodes[turn % nodes.len()]
    }
}

/// How much to send.
#[derive(Clone, Debug)]
pub struct Plan {
    pub clients: usize,
    pub guests: usize,
    /// Requests of each client at most.
    pub requests: usize,
    /// Between two requests of a client.
    pub pause: Duration,
}

impl Plan {
    /// A few clients in the background, as long as they are let.
    pub fn light() -> Self {
        Self {
            clients: 6,
            guests: 8,
            requests: 2_000,
            pause: Duration::from_millis(10),
        }
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    pub fn start(oracle: &Arc<Oracle>, nodes: &Nodes, plan: Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..plan.clients {
            let (plan, stop) = (plan.clone(), Arc::clone(&stop));
            let mut client = Talker::new(number, oracle, nodes);
            clients.spawn(async move { client.talk(&plan, &stop).await });
        }
        Self { stop, clients }
    }

    /// Lets each client end what it is doing.
    pub async fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
    }

    /// Leaves the clients to themselves: what they were doing is not known.
    pub fn abandon(self) {}

    /// Waits until every client has sent everything.
    pub async fn complete(mut self) {
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
    }
}

/// One client.
#[derive(Debug)]
pub struct Talker {
    number: usize,
    oracle: Arc<Oracle>,
    nodes: Nodes,
    http: reqwest::Client,
    turn: usize,
}

/// How a request ended.
enum Answer {
    Done(String),
    /// A 503 or 507, or a connection that ended before an answer.
    NotKnown,
    /// Another error; it is in the oracle already.
    Wrong,
}

impl Talker {
    pub fn new(number: usize, oracle: &Arc<Oracle>, nodes: &Nodes) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        Self {
            number,
            oracle: Arc::clone(oracle),
            nodes: nodes.clone(),
            http: http.build().unwrap(),
            turn: number,
        }
    }

    async fn talk(&mut self, plan: &Plan, stop: &AtomicBool) {
        for request in 0..plan.requests {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let guest = |step: usize| {
                let guest = (self.number * 7 + request * 13 + step) % plan.guests;
                format!("guest-{guest}")
            };
            let with_id = request.is_multiple_of(2);
            match request % 16 {
                5 => self.say_together(&guest(0), 3, with_id).await,
                11 => {
                    self.say_lines(&[guest(0), guest(1), guest(2), guest(0)], with_id)
                        .await
                }
                14 => self.read(&guest(0)).await,
                _ => self.say(&guest(0), with_id).await,
            }
            tokio::time::sleep(plan.pause).await;
        }
    }

    /// One message.
    pub async fn say(&mut self, guest: &str, with_id: bool) {
        let number = self.oracle.sent(self.number, guest, with_id);
        let body = self.message(number, false).to_string();
        let path = format!("/v1/guest/chat/{guest}");
        self.insist(
            &path,
            "application/json",
            body,
            &[number],
            with_id,
            |text| vec![parsed(text)],
        )
        .await;
    }

    /// Several messages of one guest, all or nothing.
    pub async fn say_together(&mut self, guest: &str, count: usize, with_id: bool) {
        let numbers: Vec<_> = (0..count)
            .map(|_| self.oracle.sent(self.number, guest, with_id))
            .collect();
        let messages: Vec<_> = numbers
            .iter()
            .map(|number| self.message(*number, false))
            .collect();
        let body = json!({ "messages": messages }).to_string();
        let path = format!("/v1/guest/chat/{guest}/batch");
        let answers = |text: &str| parsed(text).as_array().cloned().unwrap_or_default();
        self.insist(&path, "application/json", body, &numbers, with_id, answers)
            .await;
    }

    /// A line for each guest.
    async fn say_lines(&mut self, guests: &[String], with_id: bool) {
        let sent = guests
            .iter()
            .map(|guest| self.oracle.sent(self.number, guest, with_id));
        let numbers: Vec<_> = sent.collect();
        let lines: Vec<_> = numbers
            .iter()
            .map(|number| self.message(*number, true).to_string())
            .collect();
        let answers = |text: &str| text.lines().map(parsed).collect();
        let kind = "application/x-ndjson";
        self.insist(
            "/v1/messages/batch",
            kind,
            lines.join("\n"),
            &numbers,
            with_id,
            answers,
        )
        .await;
    }

    async fn read(&mut self, guest: &str) {
        if let Answer::Done(_) = self
            .request("GET", &format!("/v1/guest/chat/{guest}"), None)
            .await
        {
            self.oracle.book().reads += 1;
        }
    }

    /// Deletes a guest's chat, again until it is answered: repeating it is safe.
    pub async fn delete(&mut self, guest: &str) {
        let since = Instant::now();
        while since.elapsed() < INSISTENCE {
            if let Answer::Done(_) = self
                .request("DELETE", &format!("/v1/guest/chat/{guest}"), None)
                .await
            {
                return self.oracle.deleted(guest);
            }
            tokio::time::sleep(BACKOFF).await;
        }
        panic!("{guest} is never deleted");
    }

    /// Signs a guest up, again until it is answered.
    pub async fn migrate(&mut self, guest: &str, user: &str) {
        let (since, path) = (Instant::now(), format!("/v1/guest/migrate/{guest}"));
        let body = json!({ "authenticated_user_id": user }).to_string();
        while since.elapsed() < INSISTENCE {
            let body = Some(("application/json", body.clone()));
            if let Answer::Done(_) = self.request("POST", &path, body).await {
                return self.oracle.migrated(guest, user);
            }
            tokio::time::sleep(BACKOFF).await;
        }
        panic!("{guest} is never migrated");
    }

    /// A guest who comes and is deleted, and one who comes and signs up.
    pub async fn come_and_go(&mut self, round: usize) {
        for step in 0..6 {
            self.say("leaver", step % 2 == 0).await;
            self.say("joiner", step % 2 == 0).await;
        }
        self.delete("leaver").await;
        self.migrate("joiner", &format!("user-{}", round % 2)).await;
    }

    fn message(&self, number: usize, with_guest: bool) -> Value {
        let entry = self.oracle.entry(number);
        let sent_at = entry.sent_at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut message =
            json!({"role": entry.role, "content": entry.content, "timestamp": sent_at});
        if let Some(id) = entry.id {
            message["id"] = id.to_string().into();
        }
        if with_guest {
            message["guest_id"] = entry.guest.into();
        }
        message
    }

    /// Posts messages and notes their answers. Every other client sends those with an id again while their outcome is not
    /// known.
    async fn insist(
        &mut self,
        path: &str,
        kind: &'static str,
        body: String,
        numbers: &[usize],
        with_id: bool,
        answers: impl Fn(&str) -> Vec<Value>,
    ) {
        let since = Instant::now();
        let insists = with_id && self.number.is_multiple_of(2);
        loop {
            let mut is_known = true;
            match self.request("POST", path, Some((kind, body.clone()))).await {
                Answer::Done(text) => {
                    let answers = answers(&text);
                    assert_eq!(answers.len(), numbers.len(), "{text}");
                    for (number, answer) in numbers.iter().zip(&answers) {
                        is_known &= self.note(*number, answer);
                    }
                }
                Answer::NotKnown => {
                    numbers
                        .iter()
                        .for_each(|number| self.oracle.unknown(*number));
                    is_known = false;
                }
                Answer::Wrong => return,
            }
            if is_known {
                return;
            }
            tokio::time::sleep(BACKOFF).await;
            if !insists || since.elapsed() > INSISTENCE {
                return;
            }
        }
    }

    /// Notes the answer to one message; whether it is known what became of it.
    fn note(&self, number: usize, answer: &Value) -> bool {
        if answer["status"] == "saved" {
            self.oracle.saved(number, answer);
            return true;
        }
        // A line of many has a problem of its own.
        self.oracle.unknown(number);
        let mut book = self.oracle.book();
        match answer["status"].as_u64() {
            Some(status @ (503 | 507)) => {
                book.unavailable += 1;
                book.full += usize::from(status == 507);
                false
            }
            _ => {
                book.wrong.push(answer.to_string());
                true
            }
        }
    }

    /// Asks the next node.
    async fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Option<(&'static str, String)>,
    ) -> Answer {
        self.turn += 1;
        let url = format!("http://{}{path}", self.nodes.get(self.turn));
        let mut request = self.http.request(method.parse().unwrap(), url);
        if let Some((kind, body)) = body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let began = Instant::now();
        let answered = async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, response.text().await?))
        };
        let answered = answered.await;
        let mut book = self.oracle.book();
        book.slowest = book.slowest.max(began.elapsed());
        match answered {
            Err(cause) if cause.is_timeout() => {
                book.wrong
                    .push(format!("{method} {path}: no answer within {PATIENCE:?}"));
                Answer::NotKnown
            }
            Err(_) => {
                book.died += 1;
                Answer::NotKnown
            }
            Ok((status @ (503 | 507), headers, _)) if headers.contains_key(RETRY_AFTER) => {
                book.unavailable += 1;
                book.full += usize::from(status == 507);
                Answer::NotKnown
            }
            Ok((200, _, text)) => Answer::Done(text),
            Ok((status, _, text)) => {
                book.wrong.push(format!("{method} {path}: {status} {text}"));
                Answer::Wrong
            }
        }
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|cause| panic!("{cause}: {text}"))
}
