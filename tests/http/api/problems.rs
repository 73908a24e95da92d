//! Answers to what there is no route for, and to what fails on our side.

use crate::api::auth::paths;
use guestbook_testkit::http_harness::client::{
    Answer, assert_problem, chat, json_body, said, sequences, with,
};
use guestbook_testkit::http_harness::server::{Pair, Site};
use rusqlite::Connection;
use serde_json::{Value, json};

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What tells of our insides: paths, types, SQL, the place of a panic.
const INTERNALS: [&str; 8] = [
    "src/",
    ".rs",
    "sqlite",
    "SQL",
    "table",
    "panicked",
    "guestbook::",
    "/tmp",
];

fn assert_hides(problem: &Value) {
    let text = problem.to_string();
    for internal in INTERNALS {
        assert!(!text.contains(internal), "{text} shows {internal}");
    }
}

pub(crate) async fn an_unknown_route_is_a_404(site: &Site) {
    let unknown = [
        "/",
        "/v1",
        "/v1/guest",
        "/v1/guest/chat",
        "/v1/guest/chat/",
        "/v1/guest/chat/g1/x",
        "/v2/guest/chat/g1",
        "/health/",
        "/v1/conversation/",
        "/V1/verify",
    ];
    for path in unknown {
        for method in ["GET", "POST"] {
            let answer = Answer::of(site.client.request(method, path)).await;
            answer.problem(404);
        }
    }
}

pub(crate) async fn a_method_a_route_does_not_have_is_a_405_that_lists_those_it_has(site: &Site) {
    for (path, (methods, _)) in paths() {
        let has = |method: &str| methods.iter().any(|has| has == method);
        for method in METHODS.iter().filter(|method| !has(method)) {
            let answer = Answer::of(site.client.request(method, &path)).await;
            answer.problem(405);
            let allow = answer.header("allow").unwrap_or("");
            let mut allowed: Vec<_> = allow.split(',').map(str::trim).collect();
            allowed.retain(|method| *method != "HEAD");
            allowed.sort_unstable();
            let mut expected = methods.clone();
            expected.sort_unstable();
            assert_eq!(allowed, expected, "{method} {path}");
        }
    }
}

pub(crate) async fn head_is_answered_like_get_without_a_body(site: &Site) {
    site.client.say("g1", "Hello").await;
    for path in ["/health", "/v1/guest/chat/g1"] {
        let answer = Answer::of(site.client.request("HEAD", path)).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
}

pub(crate) async fn a_database_that_does_not_answer_is_a_503_that_hides_why(site: &Site) {
    site.expect_damage();
    site.client.say("g1", "Hello").await;
    site.service.parts().database.backend.close().await.unwrap();
    let message = said("user", "Hello");
    let client = &site.client;
    let answers = [
        client.message("g1", &message).await,
        client.get(&chat("g1")).await,
        client.get("/v1/guest/session/g1").await,
        client.delete(&chat("g1")).await,
        client
            .post(
                "/v1/guest/migrate/g1",
                &json!({"authenticated_user_id": "u1"}),
            )
            .await,
        client
            .post("/v1/guest/chat/g1/batch", &json!({"messages": [message]}))
            .await,
        client.get("/v1/user/u1/conversations").await,
        client.get("/v1/user/u1/search?q=hello").await,
        client
            .get("/v1/guest/chat/g1/search?q=hello&mode=text")
            .await,
        client.get("/v1/guest/chat/g1/context?max_tokens=9").await,
        client.get("/v1/verify").await,
    ];
    for answer in answers {
        assert_hides(&answer.problem(503));
        assert!(answer.header("retry-after").is_some());
    }
    let ready = client.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (503, &json!("unavailable"))
    );
    client.get("/health").await.ok();
}

pub(crate) async fn a_database_that_fails_is_told_line_by_line(site: &Site) {
    site.expect_damage();
    site.service.parts().database.backend.close().await.unwrap();
    let good = json!({"guest_id": "g1", "role": "user", "content": "Hello", "timestamp": "2025-12-21T12:00:00Z"});
    let bad = json!({"guest_id": "g1"});
    let request = site.client.request("POST", "/v1/messages/batch");
    let body = json!([good, bad]).to_string();
    let answers = Answer::of(json_body(request, body)).await.list();
    guestbook_testkit::http_harness::client::assert_problem(&answers[0], 503);
    guestbook_testkit::http_harness::client::assert_problem(&answers[1], 422);
    assert_hides(&answers[0]);
}

pub(crate) async fn a_service_that_stops_is_a_503(site: &Site) {
    site.expect_damage();
    site.service.stop().await.unwrap();
    let answer = site.client.message("g1", &said("user", "Hello")).await;
    assert_hides(&answer.problem(503));
}

/// The tables are gone behind the server's back: a defect, and a 500.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_defect_is_a_500_that_hides_its_cause() {
    use guestbook_testkit::http_harness::server::{Pair, Plan};
    let site = Site::open(Pair::SqliteSled, Plan::default()).await;
    site.expect_damage();
    site.client.say("g1", "Hello").await;
    let connection = rusqlite::Connection::open(site.file()).unwrap();
    connection
        .execute_batch("ALTER TABLE message_cache RENAME TO elsewhere")
        .unwrap();
    let answers = [
        site.client.message("g1", &said("user", "Hello")).await,
        site.client.get(&chat("g1")).await,
        site.client.delete(&chat("g1")).await,
    ];
    for answer in answers {
        assert_hides(&answer.problem(500));
    }
    connection
        .execute_batch("ALTER TABLE elsewhere RENAME TO message_cache")
        .unwrap();
    assert_eq!(site.client.history("g1").await.len(), 1);
    site.finish().await;
}

/// Damage by hand, so only where there is a file. The messages of others in the same commit are stored.
pub(crate) async fn a_chat_that_counts_too_few_messages_is_a_500_that_says_how_to_mend_it(
    site: &Site,
) {
    if site.pair == Pair::Memory {
        return;
    }
    for number in 0..3 {
        site.client.say("g1", &format!("{number}")).await;
    }
    let file = Connection::open(site.file()).unwrap();
    let damage = "UPDATE conversation_cache SET message_count = 1";
    assert_eq!(file.execute(damage, []).unwrap(), 1);
    let tells = |problem: &Value| {
        let detail = problem["detail"].as_str().unwrap();
        let next = "guestbook verify --repair --guest g1";
        assert!(detail.contains(next), "{detail}");
        assert_hides(problem);
    };
    let answer = site.client.message("g1", &said("user", "3")).await;
    tells(&answer.problem(500));
    let of = |guest: &str| with(said("user", "3"), "guest_id", json!(guest));
    let lines = json!([of("g2"), of("g1"), of("g3"), of("g2")]);
    let lines = site.client.post("/v1/messages/batch", &lines).await.list();
    assert_problem(&lines[1], 500);
    tells(&lines[1]);
    let others: Vec<_> = [0, 2, 3].map(|at| lines[at].clone()).into();
    assert_eq!(sequences(&others), [0, 0, 1]);
    let repair = site.client.post("/v1/guest/verify/g1", &json!({})).await;
    repair.ok();
    assert_eq!(site.client.say("g1", "3").await["sequence"], 3);
}
