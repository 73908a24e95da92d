//! A service that is being written to while verify looks.

use guestbook_testkit::service_harness::Plan;
use guestbook_testkit::service_harness::words::{alone, guest, saved, says};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn heavy_writing_makes_no_false_difference() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan::folder(&folder);
    plan.settings.sync_mark_interval = Duration::from_millis(30);
    let harness = Arc::new(plan.start().ready().await);
    let (stop, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let (harness, stop, written) = (harness.clone(), stop.clone(), written.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = written.fetch_add(1, Ordering::Relaxed);
                    harness.clock.advance(Duration::from_millis(1));
                    // All on one guest, but one that comes and goes.
                    let name = if writer == 0 {
                        format!("passing-{}", number % 50)
                    } else {
                        "busy".into()
                    };
                    let answers = harness
                        .service
                        .store(alone(says(&name, "words")))
                        .await
                        .unwrap();
                    saved(&answers[0]);
                    if writer == 0 && number % 7 == 0 {
                        harness.service.delete(guest(&name)).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut reports = Vec::new();
    for _ in 0..5 {
        reports.push(harness.verify().await);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(
        written.load(Ordering::Relaxed) > 50,
        "there was something to look at"
    );
    for report in reports {
        assert!(report.ok, "{report:#?}");
    }
    harness.assert_well().await;
    harness.service.stop().await.unwrap();
}
