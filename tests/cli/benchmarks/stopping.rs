//! A bench that is asked to stop, by a person or a service manager, takes everything with it that it has made.

use crate::benchmarks::bench;
use guestbook_testkit::process::{Place, stderr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to be there.
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_bench_that_is_stopped_leaves_nothing() {
    for signal in ["INT", "TERM"] {
        let place = Place::new();
        let arguments = ["--messages", "100000000", "--max-duration", "1h"];
        let mut command = bench(&place, &arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let entries = || std::fs::read_dir(place.path()).unwrap().count();
        let since = Instant::now();
        while entries() == 0 {
            assert!(since.elapsed() < DEADLINE, "it never begins");
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{signal}: {said}");
        assert!(said.contains("interrupted"), "{signal}: {said}");
        assert_eq!(entries(), 0, "{signal}");
    }
}
