//! What a start says, and where its settings come from.

use guestbook_testkit::client::Answer;
use guestbook_testkit::process::{Place, Running, finish, guestbook, stdout, variables};
use std::process::Command;

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
async fn the_durability_is_said_in_the_banner_and_in_readyz() {
    let place = Place::new();
    for (arguments, level, setting) in [
        (&[][..], "full", "synchronous=FULL"),
        (&["--durability", "normal"], "normal", "synchronous=NORMAL"),
    ] {
        let mut command = place.command(&["--listen", "127.0.0.1:0"]);
        command.args(arguments);
        let server = Running::start(command);
        let said = format!("durability {level}: {setting}");
        assert!(server.banner.contains(&said), "{}", server.banner);
        let ready = server.client.get("/readyz").await.ok();
        assert_eq!(ready["database"]["durability"], level);
        server.stop();
    }
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
    let long = guestbook_testkit::client::said("user", "longer than ten").to_string();
    let request = server.client.request("POST", "/v1/guest/chat/g1");
    let request = request.bearer_auth("s3cret");
    Answer::of(guestbook_testkit::client::json_body(request, long))
        .await
        .refuses("content");
    assert!(place.path().join("there/guestbook.db").exists());
    assert!(place.path().join("elsewhere").exists());
    server.stop();
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
    for variable in variables() {
        assert!(help.contains(&variable), "no {variable}: {help}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_every_step_at_debug_and_no_content() {
    let place = Place::new();
    let mut command = place.command(&["--listen", "127.0.0.1:0"]);
    command.env("GUESTBOOK_LOG", "debug");
    let server = Running::start(command);
    server.client.say("g1", "our flight to Lisbon").await;
    server.signal("TERM");
    let (_, log) = server.ended();
    let steps = [
        "[Conversation] ✓ Created",
        "[Message] ✓ Message stored",
        "[Embeddings] ✓ Embedding stored",
        "[UsageMetrics] ✓ Created new usage metrics record",
        "[CacheMapping] ✓ Created cache_content_mapping entry",
        "batch committed",
    ];
    for step in steps {
        assert!(log.contains(step), "no {step}: {log}");
    }
    assert!(!log.contains("Lisbon"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_can_be_lines_of_json() {
    let place = Place::new();
    let server =
        Running::start(place.command(&["--listen", "127.0.0.1:0", "--log-format", "json"]));
    server.client.say("g1", "Hello").await;
    server.signal("TERM");
    let (_, log) = server.ended();
    let lines = log.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<_> = lines.collect::<Result<_, _>>().unwrap();
    let batch = lines
        .iter()
        .find(|line| line["message"] == "batch committed");
    assert_eq!(batch.unwrap()["messages"], 1, "{log}");
}
