//! `guestbook bench`: the same workload on any set of pairs of stores, in one run.
//!
//! | module | holds |
//! |---|---|
//! | `plan` | what is measured, checked before anything is started |
//! | `workload` | who says what, from a seed |
//! | `ground` | stores of the bench's own, where no data of anybody's is |
//! | `server`, `process` | a server in a process of its own, and what it uses |
//! | `wire`, `storage`, `target` | the two ways to the stores |
//! | `load` | as many as possible (closed loop), and at a given rate (open loop) |
//! | `counting` | what counting would slow: batches and fsyncs, in a pass of its own |
//! | `measure` | a pair, from its first to its last figure |
//! | `figure`, `report`, `compare` | the figures, their spread, and what has changed |
//! | `table`, `charts`, `page` | how they are shown |

mod charts;
mod compare;
mod counting;
mod figure;
mod load;
mod machine;
mod measure;
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

use super::CliError;
use super::serve::StopSignals;
use crate::config::{BenchArgs, Cli};
use measure::Series;
use plan::BenchPlan;
use progress::Progress;
use report::BenchReport;
use scratch_stores::ScratchSpace;
use std::io;
use std::path::Path;
use std::process::ExitCode;

pub(super) async fn run(cli: &Cli, args: &BenchArgs) -> Result<ExitCode, CliError> {
    let plan = BenchPlan::of(cli, args)?;
    // Both before an hour of measuring, and not after it.
    let earlier = args.compare.as_deref().map(compare::read).transpose()?;
    if let Some(folder) = &args.out {
        make(folder)?;
    }
    let mut stop = StopSignals::new()?;
    let grounds = ScratchSpace::new(cli, &plan);
    let measured = tokio::select! {
        measured = measure(&grounds, &plan) => measured,
        _ = stop.received() => Err("interrupted; nothing was reported".into()),
    };
    // Also after a failure: what the bench has made goes with it.
    let cleaned = grounds.clear().await;
    let report = BenchReport::of(&plan, measured?);
    cleaned?;
    let mut shown = table::of(&report, args.ignore_durability);
    if let Some(earlier) = &earlier {
        shown.push_str(&compare::table(earlier, &report));
    }
    if let Some(folder) = &args.out {
        save(folder, &report, args.ignore_durability)?;
        let page = folder.join("index.html");
        shown.push_str(&format!("\n{} has the charts\n", page.display()));
    }
    stop.print(shown).await?;
    Ok(ExitCode::SUCCESS)
}

/// Measures each pair in turn, again and again, so that what changes on the machine meanwhile meets all alike.
async fn measure(grounds: &ScratchSpace<'_>, plan: &BenchPlan) -> Result<Vec<Series>, CliError> {
    let progress = Progress::over(plan)?;
    let mut all: Vec<_> = plan.pairs.iter().cloned().map(Series::new).collect();
    for round in 0..plan.repeat {
        for series in &mut all {
            measure::round(grounds, plan, series, round, &progress).await?;
        }
    }
    Ok(all)
}

fn make(folder: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(folder).map_err(|cause| unwritable(folder, &cause))
}

fn save(folder: &Path, report: &BenchReport, is_ranked_anyway: bool) -> Result<(), CliError> {
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

fn unwritable(path: &Path, cause: &io::Error) -> CliError {
    format!(
        "--out: {} cannot be written: {cause}; choose another folder",
        path.display()
    )
}
