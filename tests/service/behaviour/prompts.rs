//! Answers to prompts, while they are put.

use guestbook::core::{Content, PromptScope, PromptSetting, content_hash};
use guestbook::embed::openai::OpenAiOptions;
use guestbook::embedder::{EmbedderSpec, open};
use guestbook::service::{PromptHit, PromptLookup, PromptPut};
use guestbook_testkit::service_harness::Plan;
use guestbook_testkit::service_harness::words::until;
use std::sync::Arc;

const PROMPT: &str = "What is your refund policy?";

fn setting() -> PromptSetting {
    PromptSetting {
        scope: PromptScope::parse("tenant:a").unwrap(),
        model: "model".into(),
        temperature: None,
        max_tokens: None,
        context_hash: content_hash("you are helpful"),
    }
}

fn lookup(prompt: &str) -> PromptLookup {
    PromptLookup {
        setting: setting(),
        prompt: Content::from_stored(prompt),
        guest: None,
        semantic: true,
    }
}

fn keep() -> PromptPut {
    PromptPut {
        setting: setting(),
        prompt: Content::from_stored(PROMPT),
        response: Content::from_stored("thirty days"),
        generation_ms: 1.0,
        input_tokens: 1,
        output_tokens: 1,
        ttl: None,
        semantic: true,
    }
}

/// What a lookup finds of an answer that is put after it looked for the very prompt, and before it compares.
async fn found_late(prompt: &'static str) -> PromptHit {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan::folder(&folder);
    plan.embedder = open(&EmbedderSpec::Static, OpenAiOptions::default()).unwrap();
    let harness = plan.start().ready().await;
    harness.tables.hold(&["prompts_near"]);
    let (service, tables) = (harness.service.clone(), Arc::clone(&harness.tables));
    let looking = tokio::spawn(async move { service.lookup(&lookup(prompt)).await });
    until("the prompts are about to be compared", async || {
        tables.count("prompts_near") == 1
    })
    .await;
    harness.service.keep(keep()).await.unwrap();
    harness.tables.release();
    let found = looking.await.unwrap().unwrap();
    harness.stop().await;
    found.expect("an answer that is there")
}

#[tokio::test]
async fn an_answer_to_the_very_prompt_is_exact_also_when_it_is_put_during_the_lookup() {
    let found = found_late(PROMPT).await;
    assert_eq!(found.answer.response.as_str(), "thirty days");
    assert_eq!(found.score, None);
    assert_eq!(
        found_late("What is  your refund policy? ").await.score,
        None
    );
    let other = found_late("What's your policy on refunds?").await;
    assert!(other.score.is_some(), "it is another prompt");
}
