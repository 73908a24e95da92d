//! The real binary as a child process, with nothing of this process's environment that it would take as a setting.

use crate::client::Client;
use clap::CommandFactory;
use guestbook::config::Cli;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a process may take to say that it listens, or to end.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Every variable the binary reads.
pub fn variables() -> Vec<String> {
    let command = Cli::command();
    let declared = command
        .get_arguments()
        .filter_map(|argument| argument.get_env());
    let declared = declared.map(|name| name.to_str().unwrap().to_owned());
    let beside = ["REDIS_URL", "GUESTBOOK_EMBEDDER_KEY", "OPENAI_API_KEY"];
    declared.chain(beside.map(str::to_owned)).collect()
}

/// Names that variables had before.
const OLD_VARIABLES: [&str; 3] = [
    "GUESTBOOK_BODIES_LIMIT",
    "GUESTBOOK_ANSWERS_LIMIT",
    "GUESTBOOK_QUEUE",
];

/// The binary that was built with the tests: cargo says where it is, and it stands above the folder of the tests.
pub fn binary() -> PathBuf {
    let told = std::env::var_os("CARGO_BIN_EXE_guestbook").map(PathBuf::from);
    told.unwrap_or_else(|| {
        let tests = std::env::current_exe().unwrap();
        tests.ancestors().nth(2).unwrap().join("guestbook")
    })
}

/// The binary with these arguments and no settings of ours.
pub fn guestbook(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for variable in variables() {
        command.env_remove(variable);
    }
    for variable in ["FAILPOINTS"].iter().chain(&OLD_VARIABLES) {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A folder for data, and commands on it.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn file(&self) -> PathBuf {
        self.data().join("guestbook.db")
    }

    /// A command on this folder's data.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = guestbook(arguments);
        command.arg("--data-dir").arg(self.data());
        command.current_dir(self.path());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments))
    }

    /// Starts a server on a free port.
    pub fn serve(&self) -> Running {
        Running::start(self.command(&["--listen", "127.0.0.1:0"]))
    }

    /// Changes the SQLite file of a stopped server.
    pub fn damage(&self, statements: &str) {
        let connection = rusqlite::Connection::open(self.file()).unwrap();
        connection.execute_batch(statements).unwrap();
    }
}

/// Runs a command to its end, which must come by itself.
pub fn finish(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child);
    Output {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// Reads a pipe to its end on a thread, so that the child never waits for us.
fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    let mut pipe = pipe.unwrap();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        text
    })
}

/// The lines that say where it listens; none when it ended instead. It must do one or the other.
pub fn read_banner(child: &mut Child) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let banner: Vec<_> = lines.by_ref().take(6).map_while(Result::ok).collect();
        let _ = tell.send(banner);
    });
    told.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        child.kill().unwrap();
        panic!("the process neither says where it listens nor ends");
    })
}

/// What was read of a log; nothing of one that is lost.
fn text(log: Option<std::thread::JoinHandle<Vec<u8>>>) -> String {
    let log = log.map_or_else(Vec::new, |reading| reading.join().unwrap());
    String::from_utf8(log).unwrap()
}

pub fn wait(child: &mut Child) -> ExitStatus {
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if since.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("the process did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The kilobytes that a process has held at most, as the kernel counts them.
#[allow(dead_code)] // as above
pub fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

/// What becomes of the log of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Log {
    /// It is read to its end.
    Read,
    /// A pipe whose reader has died.
    ReaderGone,
    /// A pipe that nobody reads.
    Unread,
    /// A disk without room.
    FullDisk,
}

impl Log {
    /// Where nobody takes it.
    #[allow(dead_code)] // as above
    pub const LOST: [Self; 3] = [Self::ReaderGone, Self::Unread, Self::FullDisk];

    /// What a process is to write to, and what has to be kept meanwhile.
    #[allow(dead_code)] // as above
    pub fn open(self) -> (Stdio, Option<PipeReader>) {
        let (reader, writer) = std::io::pipe().unwrap();
        match self {
            Self::Read => (Stdio::piped(), None),
            Self::ReaderGone => (writer.into(), None),
            Self::Unread => (writer.into(), Some(reader)),
            Self::FullDisk => {
                let full = File::options().write(true).open("/dev/full");
                (full.unwrap().into(), None)
            }
        }
    }
}

/// A server that has said where it listens. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pub banner: String,
    pub client: Client,
    /// `None` where the log is lost.
    stderr: Option<std::thread::JoinHandle<Vec<u8>>>,
    /// The end of a pipe that nobody reads.
    #[allow(dead_code)] // as above
    pub unread: Option<PipeReader>,
}

impl Running {
    pub fn start(command: Command) -> Self {
        Self::try_start(command)
            .unwrap_or_else(|(status, log)| panic!("no banner, {status}: {log}"))
    }

    /// As [`Self::start`]; how a process ended that never said where it listens, and what it logged.
    pub fn try_start(command: Command) -> Result<Self, (ExitStatus, String)> {
        Self::try_start_logging(command, Log::Read)
    }

    /// As [`Self::start`], with a log of which this becomes.
    #[allow(dead_code)] // as above
    pub fn start_logging(command: Command, log: Log) -> Self {
        Self::try_start_logging(command, log)
            .unwrap_or_else(|(status, log)| panic!("no banner, {status}: {log}"))
    }

    pub fn try_start_logging(mut command: Command, log: Log) -> Result<Self, (ExitStatus, String)> {
        let (stderr, unread) = log.open();
        command.stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        drop(command); // it holds an end of the pipe
        let stderr = child.stderr.take().map(|pipe| drain(Some(pipe)));
        let banner = read_banner(&mut child);
        let Some(first) = banner.first() else {
            let status = wait(&mut child);
            return Err((status, text(stderr)));
        };
        let address = first.rsplit_once("http://").expect("an address").1;
        let address: SocketAddr = address.trim().parse().unwrap();
        Ok(Self {
            child,
            client: Client::new(address),
            banner: banner.join("\n"),
            stderr,
            unread,
        })
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// As [`Self::signal`], to a server that may have ended by itself.
    #[allow(dead_code)] // as above
    pub fn signal_if_there(&self, name: &str) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", name, &id]).output();
    }

    /// Waits for the end; how it ended and what it logged.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child);
        (status, text(self.stderr.take()))
    }

    /// Sends a signal by its name and waits for the end.
    pub fn ended_by(self, signal: &str) -> (ExitStatus, String) {
        self.signal(signal);
        self.ended()
    }

    /// Stops it as a service manager does; it must end well.
    pub fn stop(self) {
        self.signal("TERM");
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(0), "{log}");
    }

    /// Ends it as a power cut does, but for the disk.
    pub fn kill(self) {
        self.signal("KILL");
        assert_eq!(self.ended().0.code(), None);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
