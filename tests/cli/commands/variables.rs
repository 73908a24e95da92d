//! Settings at their ends: variables that are empty or hold nonsense, numbers that no machine can carry, keys that no header can.
//!
//! Generated over what the command line declares, so that no setting can be left out.

use crate::commands::refusing::refused;
use clap::{Arg, Command as Declared, CommandFactory};
use guestbook::config::{Cli, Retention};
use guestbook_testkit::process::{Place, Running, finish, guestbook, stderr, variables};
use std::any::TypeId;
use std::process::Command;
use std::time::Duration;

/// What begins a start that touches no files and no fixed port.
const IN_MEMORY: [(&str, &str); 3] = [
    ("listen", "127.0.0.1:0"),
    ("database-url", "memory:"),
    ("cache-url", "memory:"),
];

/// Such a start, where the setting `but` is left to the caller.
fn start(place: &Place, but: &str) -> Command {
    let mut command = guestbook(&[]);
    command.current_dir(place.path());
    for (flag, value) in IN_MEMORY {
        if flag != but {
            command.arg(format!("--{flag}")).arg(value);
        }
    }
    command
}

fn flag(argument: &Arg) -> String {
    argument.get_long().unwrap().to_owned()
}

/// Settings whose value is of one of these types.
fn of_type(command: &Declared, types: &[TypeId]) -> Vec<String> {
    let arguments = command.get_arguments();
    let meant = arguments.filter(|argument| {
        let id = argument.get_value_parser().type_id();
        types.iter().any(|of_type| id == *of_type)
    });
    meant.map(flag).collect()
}

fn durations(command: &Declared) -> Vec<String> {
    of_type(
        command,
        &[TypeId::of::<Duration>(), TypeId::of::<Retention>()],
    )
}

fn numbers(command: &Declared) -> Vec<String> {
    let types = [
        TypeId::of::<usize>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
    ];
    of_type(command, &types)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_variable_is_one_that_is_not_set() {
    let place = Place::new();
    let mut command = guestbook(&["--listen", "127.0.0.1:0"]);
    command.current_dir(place.path());
    command.envs(variables().into_iter().map(|name| (name, "")));
    let server = Running::start(command);
    server.client.say("g1", "Hello").await;
    assert!(server.banner.contains("kept for ever"), "{}", server.banner);
    assert!(place.path().join("guestbook-data/guestbook.db").exists());
    let (status, log) = server.ended_by("TERM");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("stopped"),
        "the default filter logs this: {log}"
    );
}

#[test]
fn one_empty_variable_does_not_hide_another_one_for_the_same() {
    let place = Place::new();
    let mut command = start(&place, "cache-url");
    command
        .env("CACHE_URL", "")
        .env("REDIS_URL", "nowhere://s3cret");
    let said = refused(command, &["--cache-url", "REDIS_URL"]);
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn help_names_the_variables_that_are_empty_too() {
    let mut command = guestbook(&["--help"]);
    command.envs(variables().into_iter().map(|name| (name, "")));
    let help = guestbook_testkit::process::stdout(&finish(command));
    for variable in variables() {
        assert!(help.contains(&variable), "no {variable}: {help}");
    }
}

/// What is nonsense for most is a fine name for some.
#[test]
fn nonsense_in_a_variable_is_refused_with_the_name_of_the_variable() {
    let (place, mut taken) = (Place::new(), Vec::new());
    for argument in Cli::command().get_arguments() {
        let Some(variable) = argument.get_env() else {
            continue;
        };
        let mut command = start(&place, &flag(argument));
        command.env(variable, "=?");
        match Running::try_start(command) {
            Ok(_running) => taken.push(flag(argument)),
            Err((status, said)) => {
                assert_eq!(status.code(), Some(2), "{said}");
                assert_eq!(said.lines().count(), 1, "{said}");
                let variable = variable.to_str().unwrap();
                assert!(said.contains(variable), "no {variable}: {said}");
            }
        }
    }
    assert_eq!(taken, ["data-dir", "embedder-model", "api-key"]);
}

#[test]
fn a_flag_that_is_wrong_is_not_blamed_on_a_variable() {
    let place = Place::new();
    let mut command = start(&place, "");
    command
        .args(["--write-queue", "0"])
        .env("GUESTBOOK_WRITE_QUEUE", "7");
    let said = refused(command, &["--write-queue"]);
    assert!(!said.contains("GUESTBOOK_WRITE_QUEUE"), "{said}");
}

/// Refuses a value in one line that names its flag; what it says.
fn refuses(place: &Place, flag: &str, value: &str) -> String {
    let mut command = start(place, flag);
    command.arg(format!("--{flag}={value}"));
    let named = format!("--{flag}");
    refused(command, &[&named])
}

/// Starts with a value, and answers.
async fn takes(place: &Place, flag: &str, value: &str) {
    let mut command = start(place, flag);
    command.arg(format!("--{flag}={value}"));
    let server =
        Running::try_start(command).unwrap_or_else(|(_, said)| panic!("--{flag} {value}: {said}"));
    server.client.get("/readyz").await.ok();
    server.client.get("/v1/guest/chat/g1").await.list();
    let (status, log) = server.ended_by("TERM");
    assert_eq!(status.code(), Some(0), "--{flag} {value}: {log}");
    assert!(!log.contains("panic"), "--{flag} {value}: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duration_that_no_clock_can_carry_is_refused_and_the_longest_one_serves() {
    let place = Place::new();
    let settings = durations(&Cli::command());
    assert!(settings.len() > 8, "{settings:?}");
    for flag in settings {
        for value in ["0s", "1ns", "-1s", "18446744073709551615s", "999999years"] {
            refuses(&place, &flag, value);
        }
        takes(&place, &flag, "36525days").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_nothing_can_carry_is_refused_and_the_largest_one_serves() {
    let place = Place::new();
    let settings = numbers(&Cli::command());
    assert!(settings.len() > 8, "{settings:?}");
    for flag in settings {
        for value in ["0", "-1", "1e3", "18446744073709551616"] {
            refuses(&place, &flag, value);
        }
        let said = refuses(&place, &flag, "18446744073709551615");
        let (_, most) = said.trim().rsplit_once("at most ").unwrap();
        let most: u64 = most.parse().unwrap();
        refuses(&place, &flag, &(most + 1).to_string());
        takes(&place, &flag, &most.to_string()).await;
    }
}

/// Nothing is measured here: what is refused is refused before.
#[test]
fn the_numbers_of_every_command_have_an_end() {
    let place = Place::new();
    for command in Cli::command().get_subcommands() {
        let extremes = [
            (durations(command), "18446744073709551615s"),
            (
                of_type(command, &[TypeId::of::<usize>()]),
                "18446744073709551615",
            ),
        ];
        for (flags, value) in extremes {
            for flag in flags {
                let mut line = guestbook(&[command.get_name()]);
                line.current_dir(place.path())
                    .arg(format!("--{flag}={value}"));
                if command.get_name() == "search" {
                    line.arg("text");
                }
                refused(line, &[&format!("--{flag}")]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_a_line_end_behind_it_is_the_same_for_server_and_commands() {
    let place = Place::new();
    let mut command = place.command(&["--listen", "127.0.0.1:0"]);
    command.env("GUESTBOOK_API_KEY", "s3cret key\r\n");
    let server = Running::start(command);
    let request = server.client.request("GET", "/v1/guest/chat/g1");
    let answer = guestbook_testkit::client::Answer::of(request.bearer_auth("s3cret key")).await;
    assert_eq!(answer.list().len(), 0);
    for key in ["s3cret key", "\ts3cret key\n"] {
        for arguments in [&["verify"][..], &["cache", "stats"], &["cache", "clear"]] {
            let mut command = place.command(arguments);
            command.env("GUESTBOOK_API_KEY", key);
            let output = finish(command);
            assert!(output.status.success(), "{}", stderr(&output));
        }
    }
    server.stop();
}

#[test]
fn a_key_that_no_header_can_carry_is_refused_by_server_and_commands_alike() {
    let place = Place::new();
    for key in ["s3\ncret", "s3cret\u{7f}", "schlüssel-s3cret"] {
        for arguments in [
            &["--listen", "127.0.0.1:0"][..],
            &["verify"],
            &["search", "text"],
            &["cache", "stats"],
        ] {
            let mut command = place.command(arguments);
            command.env("GUESTBOOK_API_KEY", key);
            let said = refused(command, &["no header can carry", "GUESTBOOK_API_KEY"]);
            assert!(!said.contains("cret"), "{said}");
        }
        let mut command = start(&place, "");
        command.args(["--embedder", "openai:http://127.0.0.1:1/v1"]);
        command.env("OPENAI_API_KEY", key);
        let said = refused(command, &["no header can carry", "OPENAI_API_KEY"]);
        assert!(!said.contains("cret"), "{said}");
    }
    assert!(!place.data().exists());
}
