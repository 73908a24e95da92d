//! What `guestbook backup` and `guestbook restore` share: a bar, and an end that leaves nothing half done.

use super::CliError;
use super::serve::StopSignals;
use crate::open::{CopyObserver, CopyProgress, CopySummary, StopFlag};
use guestbook_core::error::Result as StoreResult;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

const BAR: &str = "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left{msg}";

/// Does the work on a thread of its own, shows how far it is, and in the end what `said` makes of it; SIGINT and SIGTERM end it.
pub(super) async fn copy(
    work: impl FnOnce(&mut CopyObserver) -> StoreResult<CopySummary> + Send + 'static,
    said: impl FnOnce(String) -> String,
) -> Result<(), CliError> {
    let mut signals = StopSignals::new()?;
    let style = ProgressStyle::with_template(BAR)
        .map_err(|cause| format!("the progress bar cannot be drawn: {cause}"))?;
    let (bar, stop, began) = (
        ProgressBar::new(0).with_style(style),
        StopFlag::default(),
        Instant::now(),
    );
    let mut watch = CopyObserver {
        report: Box::new(report_on(bar.clone())),
        stop: stop.clone(),
    };
    let mut working = tokio::task::spawn_blocking(move || work(&mut watch));
    let done = loop {
        tokio::select! {
            done = &mut working => break done,
            _ = signals.received() => stop.ask(), // it ends in a moment, by itself
        }
    };
    bar.finish_and_clear();
    let done = done.map_err(|cause| format!("the copy panicked: {cause}"))?;
    let copied = done.map_err(|error| error.to_string())?;
    let text = said(summary(copied, began.elapsed()));
    signals.print(text + "\n").await
}

fn report_on(bar: ProgressBar) -> impl FnMut(CopyProgress) + Send {
    move |step| match step {
        CopyProgress::Copying { done, total } => {
            bar.set_length(total);
            bar.set_position(done);
        }
        CopyProgress::Checking => bar.set_message("; checking it"),
    }
}

fn summary(copied: CopySummary, took: Duration) -> String {
    let CopySummary {
        messages,
        conversations,
        bytes,
    } = copied;
    format!(
        "{messages} messages of {conversations} conversations, {bytes} bytes in {:.1} s",
        took.as_secs_f64()
    )
}
