//! `guestbook bench`: the same workload on any set of pairs of stores, in one run.
//!
//! Imports `service`, `storage`, `core` and `chart`; what opens stores is lent by the binary ([`Backends`]). Begin with [`run`].
//!
//! | module | holds |
//! |---|---|
//! | `options`, `plan` | what is measured, checked before anything is started |
//! | `workload` | who says what, from a seed |
//! | `backends` | what the binary lends: opening stores, by their URLs |
//! | `scratch_stores` | stores of the bench's own, where no data of anybody's is |
//! | `server`, `process` | a server in a process of its own, and what it uses |
//! | `wire`, `storage`, `target` | the two ways to the stores |
//! | `load` | as many as possible (closed loop), and at a given rate (open loop) |
//! | `counting` | what counting would slow: batches and fsyncs, in a pass of its own |
//! | `measure` | a pair, from its first to its last figure |
//! | `figure`, `report`, `compare` | the figures, their spread, and what has changed |
//! | `table`, `charts`, `page` | how they are shown |

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

mod backends;
mod charts;
mod compare;
mod counting;
mod figure;
mod load;
mod machine;
mod measure;
mod options;
mod page;
mod plan;
mod process;
mod progress;
mod report;
mod scratch_stores;
mod server;
mod storage;
mod table;
mod target;
mod wire;
mod workload;

pub use backends::{Backends, StoreSettings};
pub use options::{BenchOptions, BenchTarget, ReadWriteMix};

use measure::Series;
use plan::BenchPlan;
use progress::Progress;
use report::BenchReport;
use scratch_stores::ScratchSpace;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Why it cannot be measured: one line for a person, saying what to do next.
pub type BenchError = String;

/// Measures; what is to be shown. Ends early when `interrupted` does, and takes away what it has made in any case.
///
/// # Errors
/// [`BenchError`] if something is asked for that cannot be measured, a store fails, or a file cannot be written.
pub async fn run(
    backends: Arc<dyn Backends>,
    stores: StoreSettings,
    options: &BenchOptions,
    interrupted: impl Future<Output = ()>,
) -> Result<String, BenchError> {
    let plan = BenchPlan::of(&*backends, &stores, options)?;
    // Both before an hour of measuring, and not after it.
    let earlier = options.compare.as_deref().map(compare::read).transpose()?;
    if let Some(folder) = &options.out {
        make(folder)?;
    }
    let space = ScratchSpace::new(backends, stores, &plan);
    let measured = tokio::select! {
        measured = measure(&space, &plan) => measured,
        () = interrupted => Err("interrupted; nothing was reported".into()),
    };
    // Also after a failure: what the bench has made goes with it.
    let cleaned = space.clear().await;
    let report = BenchReport::of(&plan, measured?);
    cleaned?;
    let mut shown = table::of(&report, options.ignore_durability);
    if let Some(earlier) = &earlier {
        shown.push_str(&compare::table(earlier, &report));
    }
    if let Some(folder) = &options.out {
        save(folder, &report, options.ignore_durability)?;
        let page = folder.join("index.html");
        shown.push_str(&format!("\n{} has the charts\n", page.display()));
    }
    Ok(shown)
}

/// Measures each pair in turn, again and again, so that what changes on the machine meanwhile meets all alike.
async fn measure(space: &ScratchSpace, plan: &BenchPlan) -> Result<Vec<Series>, BenchError> {
    let progress = Progress::over(plan)?;
    let mut all: Vec<_> = plan.pairs.iter().cloned().map(Series::new).collect();
    for round in 0..plan.repeat {
        for series in &mut all {
            measure::round(space, plan, series, round, &progress).await?;
        }
    }
    Ok(all)
}

fn make(folder: &Path) -> Result<(), BenchError> {
    std::fs::create_dir_all(folder).map_err(|cause| unwritable(folder, &cause))
}

fn save(folder: &Path, report: &BenchReport, is_ranked_anyway: bool) -> Result<(), BenchError> {
    let json = serde_json::to_string_pretty(report)
        .map_err(|cause| format!("the report cannot be written: {cause}"))?;
    let page = page::of(report, is_ranked_anyway);
    let mut files = charts::files(report, is_ranked_anyway);
    files.extend([("report.json".into(), json), ("index.html".into(), page)]);
    for (name, text) in files {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(|cause| unwritable(&file, &cause))?;
    }
    Ok(())
}

fn unwritable(path: &Path, cause: &io::Error) -> BenchError {
    format!(
        "--out: {} cannot be written: {cause}; choose another folder",
        path.display()
    )
}
