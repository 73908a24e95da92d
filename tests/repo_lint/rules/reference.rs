//! The reference in docs/ says what the program does: settings and commands are written from its own `--help`, routes are compared with
//! its table.
//!
//! `GUESTBOOK_WRITE_DOCS=1 cargo test --test tidy` writes what is generated anew.

use crate::rules::source::{read, root};
use clap::{Arg, Command, CommandFactory};
use guestbook::config::Cli;
use guestbook::http::routes;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const SETTINGS: &str = "docs/configuration.md";
const COMMANDS: &str = "docs/operations/commands.md";
const ROUTES: &str = "docs/api.md";

#[test]
fn the_settings_are_those_of_the_program() {
    compare(SETTINGS, "settings", &settings());
}

#[test]
fn the_commands_are_those_of_the_program() {
    compare(COMMANDS, "commands", &commands());
}

/// Compares what stands in a page between `<!-- generated: NAME -->` and `<!-- end of generated -->` with what should, or writes it.
fn compare(page: &str, name: &str, fresh: &str) {
    let text = read(page);
    let (begin, end) = (
        format!("<!-- generated: {name} -->\n"),
        "<!-- end of generated -->",
    );
    let (head, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{page} has lost its line {begin}"));
    let (now, tail) = rest
        .split_once(end)
        .unwrap_or_else(|| panic!("{page} has lost its line {end}"));
    let fresh = format!("\n{fresh}\n");
    if now == fresh {
        return;
    }
    if std::env::var_os("GUESTBOOK_WRITE_DOCS").is_some() {
        let text = format!("{head}{begin}{fresh}{end}{tail}");
        std::fs::write(root().join(page), text).expect("a page that can be written");
        return;
    }
    let lines: BTreeSet<_> = now.lines().collect();
    let changed: Vec<_> = fresh.lines().filter(|line| !lines.contains(line)).collect();
    panic!(
        "{page} is not what the program says; write it anew with GUESTBOOK_WRITE_DOCS=1 cargo test --test tidy. New lines:\n  {}",
        changed.join("\n  ")
    );
}

/// A table for each group of settings, as `--help` groups them.
fn settings() -> String {
    let command = Cli::command();
    let shown = command
        .get_arguments()
        .filter(|argument| argument.get_env().is_some() && !argument.is_hide_set());
    let mut groups: Vec<(&str, Vec<&Arg>)> = Vec::new();
    for argument in shown {
        let heading = argument.get_help_heading().unwrap_or("Options");
        match groups.iter_mut().find(|(name, _)| *name == heading) {
            Some((_, arguments)) => arguments.push(argument),
            None => groups.push((heading, vec![argument])),
        }
    }
    let mut text = String::new();
    for (heading, arguments) in groups {
        let _ = writeln!(text, "## {heading}\n");
        text.push_str("| flag | variable | default | meaning |\n|---|---|---|---|\n");
        for argument in arguments {
            text.push_str(&setting(argument));
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

fn setting(argument: &Arg) -> String {
    let help = Help::of(argument);
    let variable = argument.get_env().unwrap_or_default().to_string_lossy();
    let variables = help.variables.unwrap_or_else(|| variable.into_owned());
    let variables: Vec<_> = variables
        .split(", ")
        .map(|one| format!("`{one}`"))
        .collect();
    format!(
        "| {} | {} | {} | {} |\n",
        flag(argument),
        variables.join(", else "),
        help.default,
        help.meaning
    )
}

/// A section for each command: what it does, and its own options.
fn commands() -> String {
    let mut text = String::new();
    for command in Cli::command().get_subcommands() {
        let deeper: Vec<_> = command.get_subcommands().collect();
        if !command.is_subcommand_required_set() {
            section(
                &format!("guestbook {}", command.get_name()),
                command,
                &mut text,
            );
        }
        for inner in deeper {
            let name = format!("guestbook {} {}", command.get_name(), inner.get_name());
            section(&name, inner, &mut text);
        }
    }
    text.trim_end().to_owned() + "\n"
}

fn section(name: &str, command: &Command, text: &mut String) {
    let about = command.get_about().map(ToString::to_string);
    let _ = writeln!(
        text,
        "### {name}\n\n{}.\n",
        prose(&about.unwrap_or_default())
    );
    let own: Vec<_> = command
        .get_arguments()
        .filter(|argument| !argument.is_global_set() && !argument.is_hide_set())
        .filter(|argument| argument.get_id() != "help")
        .collect();
    if own.is_empty() {
        return;
    }
    text.push_str("| option | default | meaning |\n|---|---|---|\n");
    for argument in own {
        let help = Help::of(argument);
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            option(argument),
            help.default,
            help.meaning
        );
    }
    text.push('\n');
}

/// `--flag`, or the name of what stands without one.
fn flag(argument: &Arg) -> String {
    match argument.get_long() {
        Some(long) => format!("`--{long}`"),
        None => format!("`{}`", argument.get_id().as_str().to_uppercase()),
    }
}

/// The same with what the flag takes: `--guest ID`.
fn option(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values() && argument.get_long().is_some();
    let value = argument.get_value_names().and_then(|names| names.first());
    match value.filter(|_| takes) {
        Some(value) => format!("{} {value}`", flag(argument).trim_end_matches('`')),
        None => flag(argument),
    }
}

/// What `--help` says of an argument, in the cells of a table.
struct Help {
    meaning: String,
    default: String,
    /// Where it is read from, if that is more than one variable.
    variables: Option<String>,
}

impl Help {
    fn of(argument: &Arg) -> Self {
        let mut text = argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let said = taken(&mut text, "[default: ");
        let variables = taken(&mut text, "[env: ");
        let values = match argument.get_action().takes_values() {
            true => argument.get_possible_values(),
            false => Vec::new(),
        };
        let mut meaning = prose(text.trim());
        let names: Vec<_> = values.iter().map(|value| value.get_name()).collect();
        // Where the text does not explain the values, they are listed.
        if names.iter().any(|name| !text.contains(name)) {
            let _ = write!(meaning, ": `{}`", names.join("`, `"));
        }
        Self {
            meaning,
            default: default(argument, said),
            variables,
        }
    }
}

/// The default of an argument: what clap knows, or what the help says in words.
fn default(argument: &Arg, said: Option<String>) -> String {
    let known = argument.get_default_values().iter();
    let known: Vec<_> = known.map(|value| value.to_string_lossy()).collect();
    let is_bytes = argument
        .get_value_names()
        .is_some_and(|names| names[0] == "BYTES");
    match (known.join(","), said) {
        (known, _) if is_bytes => format!("`{known}`{}", in_binary_units(&known)),
        (known, _) if !known.is_empty() && argument.get_action().takes_values() => {
            format!("`{known}`")
        }
        (_, Some(said)) if said.contains(' ') || said == "none" => said,
        (_, Some(said)) => format!("`{said}`"),
        (_, None) => String::new(),
    }
}

fn in_binary_units(bytes: &str) -> String {
    match bytes.parse::<u64>() {
        Ok(bytes) if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => {
            format!(" ({} MiB)", bytes >> 20)
        }
        Ok(bytes) if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => {
            format!(" ({} KiB)", bytes >> 10)
        }
        _ => String::new(),
    }
}

/// Takes `[name: …]` out of a help text.
fn taken(text: &mut String, begin: &str) -> Option<String> {
    let at = text.find(begin)?;
    let inner = text[at + begin.len()..].split(']').next()?.to_owned();
    text.replace_range(at..=at + begin.len() + inner.len(), "");
    Some(inner)
}

/// A help text as Markdown: flags as code, and nothing that would end a cell or begin a tag.
fn prose(text: &str) -> String {
    let quoted = |word: &str| {
        let bare = word
            .trim_start_matches('(')
            .trim_end_matches([',', ';', ')', ':', '.']);
        // `sqlite:PATH`
        let is_form = bare
            .split_once(':')
            .is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_uppercase()));
        match bare.starts_with("--") || bare.contains("://") || is_form {
            true if !word.contains('`') => word.replace(bare, &format!("`{bare}`")),
            _ => word.to_owned(),
        }
    };
    let words: Vec<_> = text.split_whitespace().map(quoted).collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;")
}

#[test]
fn the_routes_are_those_of_the_program() {
    let text = read(ROUTES);
    let table = text.lines().skip_while(|line| *line != "## Routes");
    let rows = table
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("| ") && line.contains("| `/"));
    let mut said = BTreeSet::new();
    for row in rows {
        let mut cells = row.trim_start_matches("| ").split(" | ");
        let (methods, path) = (
            cells.next().unwrap_or_default(),
            cells.next().unwrap_or_default(),
        );
        let path = path.trim_matches('`').split('?').next().unwrap_or_default();
        said.extend(methods.split(", ").map(|method| format!("{method} {path}")));
    }
    let there: BTreeSet<_> = routes()
        .into_iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let missing: Vec<_> = there.difference(&said).cloned().collect();
    assert!(
        missing.is_empty(),
        "add these to the routes table of {ROUTES}: {}",
        missing.join(", ")
    );
    let gone: Vec<_> = said.difference(&there).cloned().collect();
    assert!(
        gone.is_empty(),
        "there are no such routes; remove them from {ROUTES}: {}",
        gone.join(", ")
    );
}
