//! How far the bench is, on a terminal.

use super::BenchError;
use super::options::BenchTarget;
use super::plan::{BenchPlan, StorePair};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

const BAR: &str = "{bar:30} {pos}/{len}  {msg}  {elapsed} gone";
const TICK: Duration = Duration::from_millis(200);

/// The bar, one step for each run.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn over(plan: &BenchPlan) -> Result<Self, BenchError> {
        let style = ProgressStyle::with_template(BAR)
            .map_err(|cause| format!("the progress bar cannot be drawn: {cause}"))?;
        let counting = match plan.through {
            BenchTarget::Http => 1,
            BenchTarget::Storage => 0,
        };
        let runs = plan.pairs.len() * plan.connections.len() * (2 * plan.repeat + counting);
        let bar = ProgressBar::new(runs as u64).with_style(style);
        bar.enable_steady_tick(TICK);
        Ok(Self(bar))
    }

    pub(super) fn begin(&self, pair: StorePair, connections: usize, what: &str) {
        self.0
            .set_message(format!("{pair}, {connections} at a time: {what}"));
    }

    pub(super) fn done(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
