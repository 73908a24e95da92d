//! What a start says, and the one line of a start that cannot be.

use crate::client::Answer;
use crate::process::{Place, Running, VARIABLES, finish, guestbook, stderr, stdout};
use std::process::Command;

/// A start that must be refused: one line on stderr that has all these words, nothing on stdout, exit code 2.
fn refused(command: Command, words: &[&str]) -> String {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_banner_says_what_runs_where() {
    let place = Place::new();
    let server = place.serve();
    let banner = &server.banner;
    let address = server.client.address;
    let data = place.data();
    assert!(banner.starts_with(&format!(
        "guestbook {} on http://{address}",
        env!("CARGO_PKG_VERSION")
    )));
    for word in ["sqlite", "sled", "static-256-i8", "24h", "1day", "curl"] {
        let either = ["24h", "1day"].contains(&word);
        assert!(either || banner.contains(word), "{banner} has no {word}");
    }
    for path in [data.join("guestbook.db"), data.join("lists")] {
        assert!(banner.contains(path.to_str().unwrap()), "{banner}");
        assert!(path.exists());
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_banners_request_works_as_it_is_printed() {
    let place = Place::new();
    let server = place.serve();
    let (_, curl) = server.banner.split_once("try it").unwrap();
    let script = curl.trim().to_owned();
    let output = finish({
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(script)
            .env("NO_PROXY", "*")
            .env("no_proxy", "*");
        shell
    });
    assert!(
        stdout(&output).contains("\"status\":\"saved\""),
        "{output:?}"
    );
    assert_eq!(server.client.history("test-guest-001").await.len(), 1);
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_is_the_default_and_stores_in_memory_leave_no_files() {
    let place = Place::new();
    let memory = ["--database-url", "memory:", "--cache-url", "memory:"];
    for first in [None, Some("serve")] {
        let mut command = guestbook(first.as_slice());
        command
            .current_dir(place.path())
            .args(["--listen", "127.0.0.1:0"])
            .args(memory);
        let server = Running::start(command);
        assert_eq!(
            server.client.say("g1", "Hello").await["stored_in"],
            serde_json::json!(["memory", "memory"])
        );
        server.stop();
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_setting_is_also_an_environment_variable() {
    let place = Place::new();
    let mut command = guestbook(&[]);
    command.current_dir(place.path());
    let lists = format!("sled:{}", place.path().join("elsewhere").display());
    let settings = [
        ("GUESTBOOK_LISTEN", "127.0.0.1:0"),
        ("GUESTBOOK_DATA_DIR", "there"),
        ("CACHE_URL", &lists),
        ("GUESTBOOK_API_KEY", "s3cret"),
        ("GUESTBOOK_CONTENT_LIMIT", "10"),
        ("GUESTBOOK_LIST_TTL", "1h"),
        ("GUESTBOOK_EMBEDDER", "none"),
    ];
    let server = Running::start({
        command.envs(settings);
        command
    });
    assert!(!server.banner.contains("s3cret"), "{}", server.banner);
    assert!(server.banner.contains("1h"), "{}", server.banner);
    server.client.get("/v1/verify").await.problem(401);
    let long = crate::client::said("user", "longer than ten").to_string();
    let request = server.client.request("POST", "/v1/guest/chat/g1");
    let request = request.bearer_auth("s3cret");
    Answer::of(crate::client::json_body(request, long))
        .await
        .refuses("content");
    assert!(place.path().join("there/guestbook.db").exists());
    assert!(place.path().join("elsewhere").exists());
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_url_is_read_where_there_is_no_cache_url() {
    let place = Place::new();
    let mut command = start(&place, &[]);
    command.env("REDIS_URL", "redis://:s3cret@127.0.0.1:1/0");
    let said = refused(command, &["feature `redis`"]);
    assert!(!said.contains("s3cret"));
}

#[test]
fn version_lists_the_stores() {
    let said = stdout(&finish(guestbook(&["--version"])));
    for word in [env!("CARGO_PKG_VERSION"), "sqlite", "sled", "memory"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn help_shows_every_setting_with_its_variable_and_its_default() {
    let output = finish(guestbook(&["--help"]));
    assert_eq!(output.status.code(), Some(0));
    let help = stdout(&output);
    for variable in VARIABLES {
        assert!(help.contains(variable), "no {variable}: {help}");
    }
    let defaults = [
        "127.0.0.1:8000",
        "./guestbook-data",
        "24h",
        "30s",
        "65536",
        "8388608",
        "4096",
        "15s",
        "static",
    ];
    for default in defaults {
        assert!(
            help.contains(&format!("[default: {default}]")),
            "no {default}: {help}"
        );
    }
}

#[test]
fn help_never_shows_a_secret_of_the_environment() {
    let mut command = guestbook(&["--help"]);
    for variable in [
        "DATABASE_URL",
        "CACHE_URL",
        "REDIS_URL",
        "GUESTBOOK_API_KEY",
        "OPENAI_API_KEY",
    ] {
        command.env(variable, "s3cret");
    }
    assert!(!stdout(&finish(command)).contains("s3cret"));
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
         SELECT 999, 'from_the_future', applied_on, checksum FROM refinery_schema_history",
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
            "postgres://user:s3cret@db.example/app",
            "feature `postgres`",
        ),
        (
            "--database-url",
            "postgresql://user:s3cret@db.example/app",
            "feature `postgres`",
        ),
        (
            "--cache-url",
            "redis://:s3cret@cache.example",
            "feature `redis`",
        ),
        (
            "--cache-url",
            "rediss://:s3cret@cache.example",
            "feature `redis`",
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
    for address in ["0.0.0.0:0", "[::]:0"] {
        let place = Place::new();
        let command = place.command(&["--listen", address]);
        refused(command, &["GUESTBOOK_API_KEY", "127.0.0.1"]);
        assert!(!place.data().exists());
    }
}

#[test]
fn an_empty_key_is_refused() {
    for key in ["", "   "] {
        let place = Place::new();
        refused(start(&place, &["--api-key", key]), &["API key is empty"]);
        let mut command = start(&place, &[]);
        command.env("GUESTBOOK_API_KEY", key);
        refused(command, &["API key is empty"]);
    }
}

#[test]
fn settings_without_sense_are_refused_with_their_name() {
    let place = Place::new();
    let cases = [
        ["--listen", "nowhere"],
        ["--list-ttl", "0s"],
        ["--list-ttl", "yesterday"],
        ["--queue", "0"],
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

fn start_without_listen(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env("GUESTBOOK_LISTEN", "127.0.0.1:0");
    command
}
