//! A server process, its folder, and the certainty that both go away.

use super::{open_to_all, run};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take to be ready, or to be gone: a busy machine is no fault.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for the end of its input, which is the end of the test, kills what runs then with its children, and removes the folder.
/// Each line of the input is the process to kill, or empty when none runs.
const CLEANER: &str = r#"
process=
while read -r line; do process=$line; done
if [ -n "$process" ]; then
    kill -STOP "$process"
    children=$(cat /proc/[0-9]*/stat | awk -v parent="$process" '$4 == parent { print $1 }')
    for child in $children "$process"; do kill -KILL "$child"; done
fi
for try in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 0.1; done
"#;

/// One server process at a time, in a folder of its own.
#[derive(Debug)]
pub(crate) struct Keeper {
    name: &'static str,
    folder: PathBuf,
    process: Mutex<Option<Child>>,
    cleaner: Child,
    /// Held open by this process and no other.
    lifeline: Mutex<Option<ChildStdin>>,
}

impl Keeper {
    /// An empty folder; `name` is what error messages call the server.
    pub(crate) fn new(name: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("guestbook-").tempdir();
        let folder = folder.expect("a temporary folder").keep();
        open_to_all(&folder);
        let mut cleaner = Command::new("sh");
        cleaner.args(["-c", CLEANER, "sh"]).arg(&folder);
        cleaner.stdin(Stdio::piped()).stdout(Stdio::null());
        // Not in the group of the test, which may be killed as a whole.
        cleaner.stderr(Stdio::null()).process_group(0);
        let mut cleaner = cleaner.spawn().expect("sh");
        let lifeline = cleaner.stdin.take();
        Self {
            name,
            folder,
            process: Mutex::new(None),
            cleaner,
            lifeline: Mutex::new(lifeline),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the server and waits until it is ready.
    pub(crate) fn start(&self, mut command: Command, ready: impl Fn() -> bool) {
        let mut process = lock(&self.process);
        assert!(process.is_none(), "{} runs already", self.name);
        let mut log = File::options();
        let log = log.create(true).append(true).open(self.log_file());
        let log = log.unwrap();
        command.stdin(Stdio::null()).process_group(0);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn();
        let child = child.unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
        self.announce(&child.id().to_string());
        let child = process.insert(child);
        let since = Instant::now();
        while !ready() {
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none() && since.elapsed() < DEADLINE,
                "{} does not start, {ended:?}:\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Asks the server to end by a signal, and waits for it. Nothing when none runs.
    pub(crate) fn stop(&self, signal_name: &str) {
        let mut process = lock(&self.process);
        let Some(child) = process.as_mut() else {
            return;
        };
        signal("CONT", &family(child.id()));
        signal(signal_name, &[child.id()]);
        let since = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(
                since.elapsed() < DEADLINE,
                "{} does not stop:\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(PAUSE);
        }
        *process = None;
        self.announce("");
    }

    /// Kills the server and its children, as a power cut would, and waits until they are gone. Nothing when none runs.
    pub(crate) fn kill(&self) {
        let mut process = lock(&self.process);
        let Some(mut child) = process.take() else {
            return;
        };
        let family = freeze(child.id());
        signal("KILL", &family);
        child.wait().unwrap();
        self.announce("");
        let since = Instant::now();
        while family.iter().any(|process| is_alive(*process)) {
            assert!(since.elapsed() < DEADLINE, "{} does not die", self.name);
            std::thread::sleep(PAUSE);
        }
    }

    /// Freezes the server and its children: connections stay, and nothing is answered.
    pub(crate) fn pause(&self) {
        freeze(self.id());
    }

    /// Lets a frozen server go on.
    pub(crate) fn resume(&self) {
        signal("CONT", &family(self.id()));
    }

    /// The process that runs.
    pub(crate) fn id(&self) -> u32 {
        let process = lock(&self.process);
        let child = process.as_ref();
        child
            .unwrap_or_else(|| panic!("no {} runs", self.name))
            .id()
    }

    /// What the server has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn announce(&self, process: &str) {
        let mut lifeline = lock(&self.lifeline);
        let lifeline = lifeline.as_mut().expect("held until the end");
        writeln!(lifeline, "{process}").unwrap();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(lock(&self.lifeline).take());
        let _ = self.cleaner.wait();
        if let Some(mut child) = lock(&self.process).take() {
            let _ = child.wait();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a signal by its name to those that are still there.
fn signal(name: &str, processes: &[u32]) {
    let mut command = Command::new("sh");
    command.args(["-c", r#"for p in "$@"; do kill -s "$0" "$p"; done"#, name]);
    command.args(processes.iter().map(u32::to_string));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let _ = command.status().expect("sh");
}

/// A process and its children. (Each child of PostgreSQL leads a group of its own.)
fn family(parent: u32) -> Vec<u32> {
    let mut found = vec![parent];
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if status(process).is_some_and(|(_, its)| its == parent) {
            found.push(process);
        }
    }
    found
}

/// Freezes a process first, so that it starts no more children, and then those.
fn freeze(parent: u32) -> Vec<u32> {
    signal("STOP", &[parent]);
    let since = Instant::now();
    while status(parent).is_some_and(|(state, _)| !"TZ".contains(state)) {
        assert!(since.elapsed() < DEADLINE, "{parent} does not freeze");
        std::thread::yield_now();
    }
    let family = family(parent);
    signal("STOP", &family);
    family
}

/// State and parent.
fn status(process: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

fn is_alive(process: u32) -> bool {
    status(process).is_some_and(|(state, _)| !"ZX".contains(state))
}

/// PostgreSQL and PgBouncer refuse to run as root: then they run as the user that their packages bring.
pub(crate) fn not_as_root(command: &mut Command) {
    if let Some((user, group)) = servant() {
        command.uid(user).gid(group);
    }
}

/// Gives a file or folder to whoever [`not_as_root`] runs as.
pub(crate) fn give(path: &Path) {
    if let Some((user, group)) = servant() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}

/// The user to become, if we are root.
fn servant() -> Option<(u32, u32)> {
    static SERVANT: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *SERVANT.get_or_init(|| {
        let id = |arguments: &[&str]| -> u32 {
            run(Command::new("id").args(arguments)).parse().unwrap()
        };
        let is_root = id(&["-u"]) == 0;
        is_root.then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
    })
}
