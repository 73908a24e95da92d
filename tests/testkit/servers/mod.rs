//! Real servers for tests: PostgreSQL, PgBouncer, Redis and clusters of it, each private to the test that starts it, and a proxy
//! that stands in for a bad network.
//!
//! Every server listens on a port of 127.0.0.1 that nobody else takes while the test lives, keeps its files in a temporary
//! folder, and is killed and removed when its value is dropped or the process of the test ends, however it ends.
//! A program that is not installed fails the test: nothing passes by being skipped.

mod certificates;
mod keeper;
mod pgbouncer;
mod port;
mod postgres;
mod proxy;
mod raw_lists;
mod redis;
mod shared;

pub use certificates::Certificates;
pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, PostgresOptions};
pub use proxy::Proxy;
pub use redis::{Redis, RedisCluster, RedisOptions};
pub use shared::{SharedDatabase, shared_postgres};

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Does what blocks without holding up the runtime of the test.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}

/// Where a program is; `package` is what brings it. Debian keeps PostgreSQL's own outside of the PATH.
fn program(name: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    versions.sort_by_key(|folder: &PathBuf| {
        let version = folder.file_name().and_then(OsStr::to_str);
        std::cmp::Reverse(version.and_then(|version| version.parse::<u32>().ok()))
    });
    folders.extend(versions.iter().map(|folder| folder.join("bin")));
    let found = folders.iter().map(|folder| folder.join(name));
    found
        .into_iter()
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!(
                "{name} is not installed: apt-get install {package}, or run tests/all, which does"
            )
        })
}

/// Runs a command to its end and returns what it printed; it must succeed.
fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

fn output(command: &mut Command) -> Output {
    command.stdin(std::process::Stdio::null());
    let output = command.output();
    output.unwrap_or_else(|cause| panic!("{command:?}: {cause}"))
}

/// `psql` on a URL or a list of settings: the rows, one a line, cells separated by `|`.
fn psql(connection: &str, sql: &str) -> String {
    let mut command = Command::new(program("psql", "postgresql-client"));
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
    command.args(["-d", connection, "-c", sql]);
    command.env("PGCONNECT_TIMEOUT", "20");
    run(&mut command)
}

/// Lets everyone pass through a folder, so that a server of another user finds its own below it.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}
