//! The one line of a start that cannot be.

use guestbook_testkit::process::{Place, finish, guestbook, stderr, stdout};
use std::process::Command;

/// A start that must be refused: one line on stderr that has all these words, nothing on stdout, exit code 2.
pub(crate) fn refused(command: Command, words: &[&str]) -> String {
    let output = finish(command);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(stdout(&output), "");
    for word in words {
        assert!(said.contains(word), "{said} has no {word}");
    }
    said
}

/// A start on a free port with one more argument or two.
fn start(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(&["--listen", "127.0.0.1:0"]);
    command.args(arguments);
    command
}

/// What is said to the URL of a PostgreSQL with an unknown sslmode.
const POSTGRES_IS_REFUSED: &str = match cfg!(feature = "postgres") {
    true => "sslmode is one of",
    false => "feature `postgres`",
};

/// What is said to the URL of a Redis without a number for its database.
const REDIS_IS_REFUSED: &str = match cfg!(feature = "redis") {
    true => "number of a database",
    false => "feature `redis`",
};

#[test]
fn redis_url_is_read_where_there_is_no_cache_url() {
    let place = Place::new();
    let mut command = start(&place, &[]);
    command.env("REDIS_URL", "redis://:s3cret@127.0.0.1:1/none");
    let said = refused(command, &["--cache-url", REDIS_IS_REFUSED]);
    assert!(!said.contains("s3cret"));
}

#[test]
fn a_port_in_use_is_refused_and_nothing_is_made() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(
        place.command(&["--listen", &address]),
        &[&address, "--listen"],
    );
    assert!(!place.data().exists());
}

#[test]
fn a_data_folder_that_cannot_be_made_is_refused() {
    let place = Place::new();
    let file = place.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let below = file.join("data");
    let mut command = guestbook(&["--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(&below);
    refused(command, &[below.to_str().unwrap(), "--data-dir"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_in_use_is_refused_with_the_others_address() {
    let place = Place::new();
    let server = place.serve();
    let address = server.client.address.to_string();
    refused(start(&place, &[]), &["in use", &address]);
    server.client.say("g1", "Hello").await;
    server.stop();
    place.serve().stop();
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
    let place = Place::new();
    place.serve().stop();
    place.damage(
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
         SELECT 999, 'from_the_future', applied_on, checksum FROM refinery_schema_history LIMIT 1",
    );
    let before = content(&place);
    refused(start(&place, &[]), &["newer version"]);
    assert!(content(&place) == before, "the file was changed");
}

/// The bytes of the SQLite file, without the two counters in its head that any look at it may advance.
fn content(place: &Place) -> Vec<u8> {
    let mut bytes = std::fs::read(place.file()).unwrap();
    bytes[24..28].fill(0);
    bytes[92..96].fill(0);
    bytes
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    let text = "this is no database ".repeat(1000);
    std::fs::write(place.file(), &text).unwrap();
    refused(start(&place, &[]), &["damaged"]);
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), text);
}

#[test]
fn a_url_of_another_build_names_the_feature_and_no_secret() {
    let place = Place::new();
    let cases = [
        (
            "--database-url",
            "postgres://user:s3cret@db.example/app?sslmode=perhaps",
            POSTGRES_IS_REFUSED,
        ),
        (
            "--database-url",
            "postgresql://user:s3cret@db.example/app?sslmode=perhaps",
            POSTGRES_IS_REFUSED,
        ),
        (
            "--cache-url",
            "redis://:s3cret@cache.example/none",
            REDIS_IS_REFUSED,
        ),
        (
            "--cache-url",
            "rediss://:s3cret@cache.example/none",
            REDIS_IS_REFUSED,
        ),
    ];
    for (flag, url, words) in cases {
        let said = refused(start(&place, &[flag, url]), &[words, flag]);
        assert!(!said.contains("s3cret") && !said.contains("user"), "{said}");
    }
    assert!(!place.data().exists());
}

#[test]
fn an_unknown_url_is_refused_and_says_what_there_is() {
    let place = Place::new();
    let cases = [
        (
            "--database-url",
            "mysql://user:s3cret@host/db",
            "sqlite:PATH",
        ),
        ("--database-url", "/just/a/path", "sqlite:PATH"),
        ("--database-url", "sqlite:", "sqlite:PATH"),
        ("--cache-url", "memcached://s3cret@host", "sled:PATH"),
        ("--cache-url", "", "sled:PATH"),
    ];
    for (flag, url, words) in cases {
        let said = refused(start(&place, &[flag, url]), &[words, flag]);
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn beyond_loopback_a_key_is_required() {
    for address in ["0.0.0.0:0", "[::]:0", ":0", "127.0.0.1:0,:0"] {
        let place = Place::new();
        let command = place.command(&["--listen", address]);
        refused(command, &["GUESTBOOK_API_KEY", "127.0.0.1"]);
        assert!(!place.data().exists());
    }
}

#[test]
fn an_empty_key_is_refused() {
    let place = Place::new();
    for key in ["", "   "] {
        refused(start(&place, &["--api-key", key]), &["API key is empty"]);
    }
    let mut command = start(&place, &[]);
    command.env("GUESTBOOK_API_KEY", " \n");
    refused(command, &["API key is empty", "GUESTBOOK_API_KEY"]);
}

#[test]
fn settings_without_sense_are_refused_with_their_name() {
    let place = Place::new();
    let cases = [
        ["--listen", "nowhere"],
        ["--list-ttl", "0s"],
        ["--list-ttl", "yesterday"],
        ["--write-queue", "0"],
        ["--content-limit", "0"],
        ["--log-format", "xml"],
        ["--embedder", "magic"],
    ];
    for case in cases {
        let output = finish(start_without_listen(&place, &case));
        assert_eq!(output.status.code(), Some(2), "{case:?}");
        assert!(
            stderr(&output).contains(case[0]),
            "{case:?}: {}",
            stderr(&output)
        );
    }
    assert!(!place.data().exists());
}

#[test]
fn settings_are_still_read_by_the_names_they_had() {
    let place = Place::new();
    let renamed = [
        (
            "bodies-limit",
            "GUESTBOOK_BODIES_LIMIT",
            "body-memory",
            "GUESTBOOK_BODY_MEMORY",
        ),
        (
            "answers-limit",
            "GUESTBOOK_ANSWERS_LIMIT",
            "response-memory",
            "GUESTBOOK_RESPONSE_MEMORY",
        ),
        (
            "queue",
            "GUESTBOOK_QUEUE",
            "write-queue",
            "GUESTBOOK_WRITE_QUEUE",
        ),
    ];
    for (old_flag, old_variable, flag, variable) in renamed {
        let by_flag = start(&place, &[&format!("--{old_flag}"), "0"]);
        let mut by_variable = start(&place, &[]);
        by_variable.env(old_variable, "0");
        for command in [by_flag, by_variable] {
            let output = finish(command);
            assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
            assert!(stderr(&output).contains(flag), "{}", stderr(&output));
        }
        let stores = [
            "--database-url",
            "memory:",
            "--cache-url",
            "memory:",
            "cache",
            "stats",
        ];
        let mut both = place.command(&stores);
        both.env(old_variable, "0").env(variable, "65536");
        // The value is not refused; what comes after it is.
        refused(both, &["tables in memory"]);
    }
}

fn start_without_listen(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env("GUESTBOOK_LISTEN", "127.0.0.1:0");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_in_use_by_another_server_are_refused() {
    let (place, other) = (Place::new(), Place::new());
    let server = place.serve();
    let lists = format!("sled:{}", place.data().join("lists").display());
    refused(start(&other, &["--cache-url", &lists]), &["open already"]);
    server.client.say("g1", "Hello").await;
    server.stop();
}

#[test]
fn durability_is_refused_where_it_is_not_ours_to_keep() {
    let place = Place::new();
    let memory = ["--durability", "full", "--database-url", "memory:"];
    refused(start(&place, &memory), &["--durability", "embedded"]);
    if cfg!(feature = "postgres") {
        let mut command = start(&place, &["--database-url", "postgres://127.0.0.1:1/none"]);
        command.env("GUESTBOOK_DURABILITY", "normal");
        refused(command, &["GUESTBOOK_DURABILITY", "synchronous_commit"]);
    }
    let unknown = finish(start(&place, &["--durability", "some"]));
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("normal"), "{}", stderr(&unknown));
}

/// Every name under a folder.
fn everything_below(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_url_of_a_store_is_a_path_or_refused_and_nothing_is_made() {
    let cases = [
        ("--database-url", "sqlite::memory:", "write `memory:`"),
        ("--database-url", "sqlite:file:x?mode=memory", "no URI"),
        ("--database-url", "sqlite:file:x.db", "sqlite:/var/lib"),
        ("--database-url", "sqlite:FILE:x.db", "sqlite:/var/lib"),
        ("--database-url", "sqlite:x.db?nolock=1", "no parameters"),
        (
            "--database-url",
            "sqlite:x.db?vfs=unix-none",
            "no parameters",
        ),
        ("--database-url", "sqlite:x.db?mode=rwc", "no parameters"),
        ("--database-url", "sqlite:x&cache=shared?", "no parameters"),
        ("--database-url", "sqlite:~/x.db", "$HOME"),
        ("--database-url", "sqlite:", "lacks its path"),
        ("--database-url", "sqlite://", "lacks its path"),
        ("--cache-url", "sled:~/lists", "$HOME"),
        ("--cache-url", "sled:file:lists", "no URI"),
        ("--cache-url", "sled:lists?x=1", "no parameters"),
        ("--cache-url", "sled:", "lacks its path"),
        ("--data-dir", "file:abc", "no URI"),
        ("--data-dir", "~/data", "$HOME"),
        ("--data-dir", ":memory:", "memory:"),
    ];
    for (flag, url, word) in cases {
        for command in [
            &["--listen", "127.0.0.1:0"][..],
            &["sql", "SELECT 1"],
            &["verify"],
        ] {
            let place = Place::new();
            let mut command = guestbook(command);
            command.current_dir(place.path());
            command.args([flag, url]);
            refused(command, &[flag, word]);
            assert_eq!(everything_below(place.path()), [""; 0], "{flag} {url}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_the_name_of_the_file_as_it_stands() {
    for name in ["50%25.db", "a b#c&d.db", "ü.db", "./~x.db", "files:x.db"] {
        let place = Place::new();
        std::fs::create_dir(place.data()).unwrap();
        let url = format!("sqlite:{name}");
        let mut command = guestbook(&["--listen", "127.0.0.1:0", "--database-url", &url]);
        command.args(["--cache-url", "memory:"]);
        command.current_dir(place.data());
        let server = guestbook_testkit::process::Running::start(command);
        server.client.say("g1", "Hello").await;
        server.stop();
        let mut expected = ["guestbook.lock", name.trim_start_matches("./")];
        expected.sort_unstable();
        assert_eq!(everything_below(&place.data()), expected);
    }
}

/// With fewer than it needs it says so, whichever file it is that it cannot open.
#[test]
fn a_limit_of_open_files_is_named_as_the_reason() {
    let mut refusals = 0;
    for limit in 8..32 {
        let place = Place::new();
        let serve = start(&place, &[]);
        let mut command = Command::new("timeout");
        let script = format!("ulimit -n {limit} && exec \"$@\"");
        command.args(["-s", "TERM", "20", "bash", "-c", &script, "bash"]);
        command.arg(serve.get_program()).args(serve.get_args());
        let Err((status, said)) = guestbook_testkit::process::Running::try_start(command) else {
            continue; // it serves, and is killed now
        };
        if status.code() == Some(2) {
            let is_told = said.contains("open files") && said.lines().count() == 1;
            assert!(is_told, "{limit}: {said}");
            refusals += 1;
        }
    }
    assert!(refusals > 3, "it needs so few");
}
