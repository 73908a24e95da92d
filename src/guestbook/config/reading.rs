//! From the command line and the environment to settings. An empty variable is one that is not set: that is how Compose and unit
//! files write "nothing".

use super::{Cli, Origins, renamed};
use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command, CommandFactory, Error, FromArgMatches};
use guestbook_core::api_key::ApiKey;
use secrecy::SecretString;
use std::ffi::{OsStr, OsString};
use std::io::Write;

/// Exit code of a command line that cannot be understood, as clap has it.
const MISUSED: i32 = 2;

impl Cli {
    /// Reads the command line and the environment; ends the process when they are wrong: in one line for a wrong value, else
    /// with clap's own words.
    pub fn read() -> Self {
        let line: Vec<_> = std::env::args_os().collect();
        match parse(&line, |_| true) {
            Ok((mut cli, matches)) => {
                cli.origins = Origins::of(&Self::command(), &matches);
                cli.take_further_variables();
                cli
            }
            Err(error) => refuse(error, &line),
        }
    }

    /// What clap does not read: a secret that is no flag, and a second variable for one flag.
    fn take_further_variables(&mut self) {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let keys = ["GUESTBOOK_EMBEDDER_KEY", "OPENAI_API_KEY"];
        self.embedding.embedder_key = keys.into_iter().find_map(variable).map(SecretString::from);
        if self.stores.cache_url.is_none()
            && let Some(url) = variable("REDIS_URL")
        {
            self.stores.cache_url = Some(url);
            self.origins.note("cache-url", "REDIS_URL");
        }
    }
}

/// Reads the line, and of the variables those that are not empty and `may_be_read`.
fn parse(
    line: &[OsString],
    may_be_read: impl Fn(&OsStr) -> bool,
) -> Result<(Cli, ArgMatches), Error> {
    let is_read = |name: &OsStr| {
        may_be_read(name) && std::env::var_os(name).is_some_and(|value| !value.is_empty())
    };
    let keep = |argument: Arg| match argument.get_env().is_some_and(is_read) {
        true => argument,
        false => {
            let old = renamed::old_variable(&argument);
            argument.env(old.filter(|name| is_read(OsStr::new(name))))
        }
    };
    let matches = Cli::command().mut_args(keep).try_get_matches_from(line)?;
    Ok((Cli::from_arg_matches(&matches)?, matches))
}

/// Says what is wrong, and in which variable if it is in one.
fn refuse(error: Error, line: &[OsString]) -> ! {
    match error.kind() {
        // Help names every variable, the empty ones as well.
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Cli::command().get_matches_from(line);
            error.exit()
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 => {
            let mut said = in_one_line(&error);
            if let Some(variable) = culprit(&error, line) {
                said = format!("{said}; the value is that of the variable {variable}");
            }
            // Nobody may be there to read it.
            #[allow(clippy::disallowed_methods)]
            // nothing runs yet that could be held up, and the process ends here
            let _ = writeln!(std::io::stderr(), "guestbook: {said}");
            std::process::exit(MISUSED)
        }
        _ => error.exit(),
    }
}

/// The variable without which this would not have been said.
fn culprit(error: &Error, line: &[OsString]) -> Option<String> {
    let command: Command = Cli::command();
    let said = error.to_string();
    let both = |argument: &'_ Arg| {
        let old = renamed::old_variable(argument).map(OsString::from);
        let own = argument.get_env().map(OsStr::to_owned);
        own.into_iter().chain(old)
    };
    let mut variables = command.get_arguments().flat_map(both);
    let is_meant = |variable: &OsString| {
        let without = parse(line, |name| name != variable);
        without.err().is_none_or(|other| other.to_string() != said)
    };
    let found = variables.find(is_meant)?;
    Some(found.to_string_lossy().into_owned())
}

/// What clap says before it comes to its advice.
fn in_one_line(error: &Error) -> String {
    let text = error.to_string();
    let said = text.lines().take_while(|line| !line.is_empty());
    let said: Vec<_> = said.map(str::trim).collect();
    let said = said.join(" ");
    said.trim_start_matches("error: ").to_owned()
}

/// Reads a key without ever repeating it.
pub(super) fn api_key() -> impl TypedValueParser<Value = ApiKey> {
    KeyParser
}

#[derive(Clone, Copy)]
struct KeyParser;

impl TypedValueParser for KeyParser {
    type Value = ApiKey;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<ApiKey, Error> {
        let text = StringValueParser::new().parse_ref(command, argument, value)?;
        text.parse().map_err(|cause| {
            let said = format!(
                "the API key {cause}; set --api-key or GUESTBOOK_API_KEY to a long random text, such as that of `openssl rand -hex 32`\n"
            );
            Error::raw(ErrorKind::ValueValidation, said).with_cmd(command)
        })
    }
}
