//! Laws of a clock that is wrong: it runs ahead, is set back, and is right again.

use crate::Fixture;
use crate::words::*;
use guestbook_core::Window;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

pub async fn a_clock_set_back_takes_no_promise_back(f: &Fixture) {
    let ahead = f.say(noon().plus(HOUR), "g1", "from the future").await;
    let promised = ahead.window.unwrap();
    let back = f.say(noon(), "g1", "and now").await;
    assert_eq!((back.sequence, back.window), (1, Some(promised)));
    assert_eq!(
        f.conversation_audit(back.conversation).await.window,
        Some(promised)
    );
    // From when the right time has caught up, each message prolongs the list again.
    let later = f.say(noon().plus(HOUR * 2), "g1", "later").await;
    let window = Window {
        from: 0,
        expires_at: noon().plus(HOUR * 2 + TTL),
    };
    assert_eq!(later.window, Some(window));
}

pub async fn a_clock_that_was_far_ahead_binds_for_one_ttl_more(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    let far = f
        .say(noon().plus(TTL * 100), "g1", "from the far future")
        .await;
    assert_eq!(
        far.window.unwrap().from,
        1,
        "a silence of the TTL, by that clock"
    );
    let back = f.say(at(1), "g1", "and now").await;
    let window = Window {
        from: 1,
        expires_at: at(1).plus(TTL * 2),
    };
    assert_eq!(back.window, Some(window));
    assert_eq!(
        f.conversation_audit(back.conversation).await.window,
        Some(window)
    );
}

pub async fn messages_keep_their_order_whatever_their_ids_and_times(f: &Fixture) {
    let said = [(9, 2 * HOUR), (1, HOUR), (5, Duration::ZERO), (3, HOUR * 3)];
    for (sequence, (n, ahead)) in (0..).zip(said) {
        let text = format!("message {sequence}");
        let kept = f
            .keep(noon().plus(ahead), plain(repeatable(n, "g1", &text)))
            .await;
        assert_eq!(kept.sequence, sequence);
    }
    let history = f.messages("g1", noon()).await;
    let texts: Vec<_> = history
        .iter()
        .map(|message| message.content.as_str())
        .collect();
    assert_eq!(texts, ["message 0", "message 1", "message 2", "message 3"]);
}

pub async fn entries_are_counted_right_when_an_hour_comes_again(f: &Fixture) {
    f.chatter(noon(), "g1", 2).await;
    f.chatter(noon().plus(HOUR * 25), "g1", 3).await;
    f.chatter(at(10), "g1", 4).await;
    let metrics = f.database.audit.metrics_audit().await.unwrap();
    assert_eq!((metrics.entries, metrics.messages), (9, 9));
    assert_eq!((metrics.hours_expected, metrics.hours_found), (2, 2));
    assert_eq!(metrics.requests, 9);
}

/// The count of a month begins anew whenever the clock shows another month, so a wrong one costs the month's count so far and
/// never the next month's.
pub async fn a_clock_over_the_edge_of_a_month_and_back_counts_right_from_then_on(f: &Fixture) {
    f.chatter(time("2100-06-30T23:50:00Z"), "g1", 3).await;
    f.chatter(time("2100-07-01T00:10:00Z"), "g1", 2).await;
    assert_eq!(f.usage_row("g1").await.monthly_requests_used, 2);
    f.chatter(time("2100-06-30T23:51:00Z"), "g1", 4).await;
    assert_eq!(f.usage_row("g1").await.monthly_requests_used, 4);
    f.chatter(time("2100-07-01T00:00:00Z"), "g1", 1).await;
    let usage = f.usage_row("g1").await;
    assert_eq!((usage.total_requests, usage.monthly_requests_used), (10, 1));
}
