//! `POST /v1/messages/batch`: many guests, each message stored or refused on its own.

use guestbook_testkit::http_harness::client::{
    Answer, assert_problem, contents, said, sequences, with,
};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};

const PATH: &str = "/v1/messages/batch";

fn of(guest: &str, content: &str) -> Value {
    with(said("user", content), "guest_id", json!(guest))
}

/// Good and bad lines, and the field that is at fault in each.
fn mixed() -> Vec<(Value, Option<&'static str>)> {
    let guestless = said("user", "Hello");
    vec![
        (of("a", "one"), None),
        (of("a b", "two"), Some("guest_id")),
        (guestless, Some("guest_id")),
        (of("b", "three"), None),
        (with(of("b", "four"), "role", json!("bot")), Some("role")),
        (of("b", " "), Some("content")),
        (with(of("b", "x"), "timestamp", json!(5)), Some("timestamp")),
        (json!(17), Some("body")),
        (of("a", "five"), None),
    ]
}

async fn post_lines(site: &Site, text: impl Into<reqwest::Body>) -> Answer {
    let request = site.client.request("POST", PATH);
    let request = request.header("Content-Type", "application/x-ndjson");
    Answer::of(request.body(text)).await
}

fn joined(lines: &[Value]) -> String {
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    lines.join("\n") + "\n"
}

/// One answer for each question, in its place.
fn assert_answers(questions: &[(Value, Option<&str>)], answers: &[Value]) {
    assert_eq!(answers.len(), questions.len());
    for ((question, fault), answer) in questions.iter().zip(answers) {
        match fault {
            None => {
                assert_eq!(answer["status"], "saved", "{question}: {answer}");
                assert_eq!(answer["guest_id"], question["guest_id"]);
            }
            Some(field) => {
                assert_problem(answer, 422);
                assert_eq!(answer["field"], *field, "{question}: {answer}");
            }
        }
    }
}

async fn assert_mixed_stored(site: &Site) {
    assert_eq!(contents(&site.client.history("a").await), ["one", "five"]);
    assert_eq!(contents(&site.client.history("b").await), ["three"]);
    assert_eq!(site.client.stored().await, 3);
}

pub(crate) async fn lines_have_one_answer_line_each_in_order(site: &Site) {
    let lines: Vec<_> = mixed().into_iter().map(|(line, _)| line).collect();
    let answers = post_lines(site, joined(&lines)).await.lines();
    assert_answers(&mixed(), &answers);
    assert_mixed_stored(site).await;
}

pub(crate) async fn an_array_has_one_answer_each_in_order(site: &Site) {
    let lines: Vec<_> = mixed().into_iter().map(|(line, _)| line).collect();
    let answers = site.client.post(PATH, &json!(lines)).await.list();
    assert_answers(&mixed(), &answers);
    assert_mixed_stored(site).await;
}

pub(crate) async fn a_line_that_is_no_json_is_a_400_in_its_place(site: &Site) {
    let text = format!("{}\n{{broken\n{}", of("a", "one"), of("a", "two"));
    let answers = post_lines(site, text).await.lines();
    assert_eq!(answers[0]["sequence"], 0);
    assert_problem(&answers[1], 400);
    assert_eq!(answers[2]["sequence"], 1);
}

pub(crate) async fn lines_may_end_with_a_carriage_return_and_the_last_without_an_end(site: &Site) {
    let text = format!("{}\r\n{}", of("a", "one"), of("a", "two"));
    let answers = post_lines(site, text).await.lines();
    assert_eq!(sequences(&answers), [0, 1]);
}

pub(crate) async fn no_line_has_no_answer(site: &Site) {
    assert_eq!(
        post_lines(site, String::new()).await.lines(),
        [] as [Value; 0]
    );
    let answer = site.client.post(PATH, &json!([])).await;
    assert_eq!(answer.list(), [] as [Value; 0]);
}

pub(crate) async fn the_order_of_a_guests_lines_is_kept(site: &Site) {
    // More than the service takes at a time, so that the lines fall into several commits.
    let lines: Vec<_> = (0..1500)
        .map(|number| of(["a", "b", "c"][number % 3], &number.to_string()))
        .collect();
    let answers = post_lines(site, joined(&lines)).await.lines();
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer["sequence"], number / 3, "line {number}");
    }
    let expected: Vec<_> = (0..500).map(|n| (n * 3 + 1).to_string()).collect();
    assert_eq!(contents(&site.client.history("b").await), expected);
}

pub(crate) async fn a_line_repeated_by_its_id_is_replayed_in_its_place(site: &Site) {
    let id = "0192f0c1-2345-7000-8000-0123456789ab";
    let line = with(of("a", "one"), "id", json!(id));
    let other = with(of("a", "other"), "id", json!(id));
    let answers = post_lines(site, joined(&[line.clone(), line, other])).await;
    let answers = answers.lines();
    assert_eq!(answers[0].get("replayed"), None);
    assert_eq!(
        answers[1],
        with(answers[0].clone(), "replayed", json!(true))
    );
    assert_problem(&answers[2], 409);
    assert_eq!(site.client.stored().await, 1);
}

pub(crate) async fn more_than_100_000_messages_at_a_time_are_a_413(site: &Site) {
    let lines = post_lines(site, "{}\n".repeat(100_001)).await;
    lines.problem(413);
    let array = format!("[{}]", vec!["{}"; 100_001].join(","));
    site.client.post_text(PATH, array).await.problem(413);
    let lines = post_lines(site, "{}\n\n".repeat(100_000)).await.lines();
    assert_eq!(lines.len(), 100_000);
}

pub(crate) async fn a_byte_order_mark_before_the_lines_is_skipped(site: &Site) {
    let text = format!("\u{feff}{}", joined(&[of("a", "one"), of("a", "two")]));
    let answers = post_lines(site, text).await.lines();
    assert_eq!(sequences(&answers), [0, 1]);
    let array = format!("\u{feff}{}", json!([of("a", "three")]));
    assert_eq!(
        sequences(&site.client.post_text(PATH, array).await.list()),
        [2]
    );
    // Anywhere else it is a character like any other, and no JSON.
    let text = format!("{}\u{feff}{}", joined(&[of("a", "four")]), of("a", "five"));
    let answers = post_lines(site, text).await.lines();
    assert_eq!(answers[0]["sequence"], 3);
    assert_problem(&answers[1], 400);
}

pub(crate) async fn a_line_that_is_not_utf_8_is_refused_alone_and_by_its_number(site: &Site) {
    let good = |text: &str| format!("{}\r\n", of("a", text)).into_bytes();
    let mut bad = good("Gr\u{fc}\u{df}e");
    bad.retain(|byte| *byte != 0xc3); // as no text in UTF-8 is
    let cut = b"{\"guest_id\":\"a\xff\n".to_vec();
    let body = [
        good("one"),
        b"\r\n".to_vec(),
        bad,
        good("two"),
        cut,
        good("three"),
    ]
    .concat();
    let answers = post_lines(site, body).await.lines();
    assert_eq!(answers.len(), 5);
    for (at, number) in [(1, 3), (3, 5)] {
        assert_problem(&answers[at], 400);
        let detail = answers[at]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("line {number} ")), "{detail}");
    }
    let kept = site.client.history("a").await;
    assert_eq!(contents(&kept), ["one", "two", "three"]);
}
