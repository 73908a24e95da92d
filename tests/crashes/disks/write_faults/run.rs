//! One server with one kind of fault, and one without after it.

use super::{Beginning, Task, is_fatal};
use guestbook_testkit::oracle::{Load, Nodes, OnDisk, Oracle, Plan};
use guestbook_testkit::process::{Running, guestbook};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Bytes of a journal that a few commits more lead to a checkpoint.
const FULL_JOURNAL: u64 = 3_900 * (4_096 + 24);
/// How long a server is spoken to at most, so that it makes the call that is to fail: a commit takes some milliseconds.
const SPEECH: Duration = Duration::from_millis(500);
const SPEECH_PER_CALL: Duration = Duration::from_millis(60);
/// How much longer once the call has failed, so that it shows what becomes of it.
const AFTERWARDS: Duration = Duration::from_millis(400);

/// A data folder as it is after a kill, and what is known of it.
pub(super) struct Template {
    folder: TempDir,
    oracle: Oracle,
}

fn serve(data: &Path) -> Command {
    let mut command = guestbook(&["--listen", "127.0.0.1:0", "--log", "info", "--data-dir"]);
    command.arg(data);
    command
}

async fn started(command: Command) -> Result<Running, (ExitStatus, String)> {
    let starting = tokio::task::spawn_blocking(|| Running::try_start(command));
    starting.await.unwrap()
}

impl Template {
    pub(super) async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let oracle = Arc::new(Oracle::default());
        let node = started(serve(&folder.path().join("data"))).await.unwrap();
        let journal = folder.path().join("data/guestbook.db-wal");
        let plan = Plan {
            clients: 16,
            pause: Duration::ZERO,
            ..Plan::light()
        };
        let load = Load::start(&oracle, &Nodes::of(&[&node]), plan);
        while journal.metadata().map_or(0, |file| file.len()) < FULL_JOURNAL {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        load.finish().await;
        tokio::task::block_in_place(|| node.kill());
        let oracle = oracle.copy();
        Self { folder, oracle }
    }

    /// A folder of its own for one run, and what is known of it.
    fn place(&self, beginning: Beginning) -> (TempDir, Oracle) {
        let place = tempfile::tempdir().unwrap();
        if let Beginning::Nothing = beginning {
            return (place, Oracle::default());
        }
        let mut command = Command::new("cp");
        command.arg("-a").arg(self.folder.path().join("data"));
        assert!(command.arg(place.path()).status().unwrap().success());
        (place, self.oracle.copy())
    }
}

/// What became of one run.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Calls that were made to fail.
    pub(super) failed: usize,
    pub(super) refused_to_start: bool,
    pub(super) ended_itself: bool,
}

/// Does one task; panics when anything is not as it was answered.
pub(super) async fn run(template: &Template, task: Task) -> Outcome {
    let (place, oracle) = template.place(task.beginning);
    let data = place.path().join("data");
    let trace = place.path().join("trace");
    let oracle = Arc::new(oracle);
    let told = |log: &str| format!("{task:?}: {log}");
    let mut outcome = Outcome::default();
    match started(faulty(&serve(&data), &data, &trace, task)).await {
        Ok(node) => {
            let load = Load::start(&oracle, &Nodes::of(&[&node]), Plan::light());
            let (status, log) = spoken_to(node, task.count, &trace).await;
            load.abandon();
            outcome.failed = injected(&trace);
            outcome.ended_itself = status.code() == Some(70);
            let must_end = is_fatal(&task.kind) && outcome.failed > 0;
            let code = if must_end || outcome.ended_itself {
                70
            } else {
                0
            };
            assert_eq!(status.code(), Some(code), "{}", told(&log));
            assert!(acknowledged_after_poison(&log) <= 1, "{}", told(&log));
        }
        Err((status, log)) => {
            outcome.failed = injected(&trace);
            outcome.refused_to_start = true;
            assert_eq!(status.code(), Some(2), "{}", told(&log));
            let lines = log.lines().filter(|line| line.starts_with("guestbook: "));
            let lines: Vec<_> = lines.collect();
            assert_eq!(lines.len(), 1, "{}", told(&log));
            println!("{}", lines[0]);
            assert!(!log.contains("panicked"), "{}", told(&log));
        }
    }
    let node = started(serve(&data)).await;
    let node = node.unwrap_or_else(|(_, log)| panic!("{}", told(&log)));
    let ready = node.client.get("/readyz").await.ok();
    assert_eq!(ready["status"], "ready", "{}", told(&ready.to_string()));
    println!("{task:?}: {outcome:?}");
    let stores = OnDisk::at(&data, &node.client);
    oracle.assert_clean(&stores, &[&node.client]).await;
    tokio::task::spawn_blocking(|| node.stop()).await.unwrap();
    outcome
}

/// Lets the load speak to a server until the call has failed and a while longer, and stops it unless it has stopped itself.
async fn spoken_to(node: Running, count: u32, trace: &Path) -> (ExitStatus, String) {
    let (since, patience) = (Instant::now(), SPEECH + count * SPEECH_PER_CALL);
    while injected(trace) == 0 && since.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(AFTERWARDS).await;
    let ending = tokio::task::spawn_blocking(move || {
        node.signal("TERM");
        node.ended()
    });
    ending.await.unwrap()
}

/// Batches that the log has after the word that the tables are beyond use. One may have been committed before, and be logged
/// by another thread after it.
fn acknowledged_after_poison(log: &str) -> usize {
    let after = log
        .split_once("store poisoned")
        .map_or("", |(_, after)| after);
    let is_commit = |line: &&str| {
        line.contains("batch committed messages=") && !line.contains("batch committed messages=0")
    };
    after.lines().filter(is_commit).count()
}

/// The same command, with calls that fail.
fn faulty(command: &Command, data: &Path, trace: &Path, task: Task) -> Command {
    let Task { kind, count, .. } = task;
    let mut traced = Command::new("strace");
    // The tracer is a process apart, so that the server is our child.
    traced.args([
        "-D",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        "signal=none",
        "-o",
    ]);
    traced.arg(trace);
    traced.arg("-P").arg(data.join(kind.file));
    traced.args(["-e", &format!("trace={}", kind.calls)]);
    let fault = format!("inject={}:error={}:when={count}", kind.calls, kind.error);
    traced.args(["-e", &fault]);
    traced.arg(command.get_program()).args(command.get_args());
    traced
}

fn injected(trace: &Path) -> usize {
    let trace = fs::read_to_string(trace).unwrap_or_default();
    trace.matches("(INJECTED)").count()
}
