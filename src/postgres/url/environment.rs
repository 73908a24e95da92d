//! Completes a URL from libpq's environment variables, so that what works for psql works here.

use super::refused;
use guestbook_core::error::Result;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

const PORT: u16 = 5432;

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The URL up to its `?` with missing ports added: without one the driver takes its default.
///
/// # Errors
/// As [`complete`].
pub(super) fn with_ports(base: &str, variable: Variable<'_>) -> Result<String> {
    let (Some(ports), Some((scheme, rest))) = (variable("PGPORT"), base.split_once("://")) else {
        return Ok(base.to_owned());
    };
    let ports: Vec<u16> = ports
        .split(',')
        .map(|port| number("PGPORT", port))
        .collect::<Result<_>>()?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let with_port = |(at, host): (usize, &str)| {
        let lacks = !host.is_empty() && (host.ends_with(']') || !host.contains(':'));
        match ports.get(at).or(ports.first()).filter(|_| lacks) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    };
    let hosts: Vec<_> = hosts.split(',').enumerate().map(with_port).collect();
    Ok(format!("{scheme}://{user}{}{path}", hosts.join(",")))
}

/// Completes the parameters of a URL.
///
/// # Errors
/// Names the variable that cannot be read.
pub(super) fn complete(config: &mut Config, variable: Variable<'_>) -> Result<()> {
    if config.get_hosts().is_empty() {
        for host in variable("PGHOST").iter().flat_map(|hosts| hosts.split(',')) {
            config.host(host);
        }
    }
    if config.get_ports().is_empty() {
        for port in variable("PGPORT").iter().flat_map(|ports| ports.split(',')) {
            config.port(number("PGPORT", port)?);
        }
    }
    if let (None, Some(user)) = (config.get_user(), variable("PGUSER")) {
        config.user(user);
    }
    if let (None, Some(database)) = (config.get_dbname(), variable("PGDATABASE")) {
        config.dbname(database);
    }
    if let (None, Some(name)) = (config.get_application_name(), variable("PGAPPNAME")) {
        config.application_name(name);
    }
    if let (None, Some(seconds)) = (config.get_connect_timeout(), variable("PGCONNECT_TIMEOUT")) {
        let seconds: u64 = number("PGCONNECT_TIMEOUT", &seconds)?;
        if seconds > 0 {
            config.connect_timeout(Duration::from_secs(seconds));
        }
    }
    if config.get_password().is_none()
        && let Some(password) = variable("PGPASSWORD").or_else(|| from_file(config, variable))
    {
        config.password(password);
    }
    Ok(())
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    let read = text.trim().parse();
    read.map_err(|_| refused(&format!("{name} is no number that is possible")))
}

/// The password from a file of `host:port:database:user:password`, as libpq finds it. A file that others may read is not used.
fn from_file(config: &Config, variable: Variable<'_>) -> Option<String> {
    let at_home = || Some(Path::new(&variable("HOME")?).join(".pgpass"));
    let file = variable("PGPASSFILE").map(PathBuf::from).or_else(at_home)?;
    let mode = file.metadata().ok()?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %file.display(), "the password file may be read by others and is not used; chmod 0600");
        return None;
    }
    let host = match config.get_hosts().first()? {
        Host::Tcp(name) => name.clone(),
        Host::Unix(_) => "localhost".to_owned(),
    };
    let port = config.get_ports().first().unwrap_or(&PORT).to_string();
    let user = config.get_user()?;
    let database = config.get_dbname().unwrap_or(user);
    let text = fs::read_to_string(file).ok()?;
    find(&text, [&host, &port, database, user])
}

/// The password of the first matching line.
fn find(text: &str, wanted: [&str; 4]) -> Option<String> {
    let about = |line: &str| {
        let mut fields = fields(line);
        let password = fields.get_mut(4).map(std::mem::take)?;
        let is_about = fields
            .iter()
            .zip(wanted)
            .all(|(field, wanted)| field == "*" || field == wanted);
        is_about.then_some(password)
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(about)
}

/// Splits a line at colons; a backslash escapes a colon or a backslash.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let taken = match character {
            ':' => {
                fields.push(String::new());
                continue;
            }
            '\\' => characters.next(),
            other => Some(other),
        };
        if let Some(field) = fields.last_mut() {
            field.extend(taken);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::super::PostgresUrl;
    use super::*;
    use std::io::Write;

    fn read(url: &str, variables: &[(&str, &str)]) -> Result<PostgresUrl> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        PostgresUrl::parse_in(url, &variable)
    }

    #[test]
    fn what_a_url_leaves_out_is_taken_from_the_variables_of_libpq() {
        let variables = [
            ("PGHOST", "db,other"),
            ("PGPORT", "5433,5434"),
            ("PGUSER", "me"),
            ("PGPASSWORD", "s3cret"),
            ("PGDATABASE", "chats"),
            ("PGAPPNAME", "mine"),
            ("PGCONNECT_TIMEOUT", "7"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/ca.pem"),
        ];
        let url = read("postgres://", &variables).unwrap();
        assert_eq!(url.to_string(), "postgres://db:5433,other:5434/chats");
        let config = url.config();
        assert_eq!(config.get_user(), Some("me"));
        assert_eq!(config.get_password(), Some(&b"s3cret"[..]));
        assert_eq!(config.get_application_name(), Some("mine"));
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)));
        let authority = Some(PathBuf::from("/ca.pem"));
        assert_eq!(url.trust, super::super::TlsTrust::Verified { authority });
    }

    #[test]
    fn what_a_url_says_goes_before_the_variables() {
        let variables = [
            ("PGHOST", "other"),
            ("PGUSER", "you"),
            ("PGPASSWORD", "yours"),
            ("PGDATABASE", "others"),
            ("PGSSLMODE", "verify-full"),
        ];
        let url = read("postgres://me:mine@db/chats?sslmode=disable", &variables).unwrap();
        assert_eq!(url.to_string(), "postgres://db:5432/chats");
        assert_eq!(url.config().get_user(), Some("me"));
        assert_eq!(url.config().get_password(), Some(&b"mine"[..]));
        assert_eq!(url.trust, super::super::TlsTrust::Plain);
    }

    #[test]
    fn a_host_without_a_port_takes_that_of_the_variable() {
        let ports = [("PGPORT", "6000")];
        for (url, shown) in [
            ("postgres://me:p%40@db/x", "postgres://db:6000/x"),
            ("postgres://db:1/x", "postgres://db:1/x"),
            ("postgres://a,b:2/x", "postgres://a:6000,b:2/x"),
            ("postgres://[::1]/x", "postgres://::1:6000/x"),
        ] {
            assert_eq!(read(url, &ports).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_named() {
        for name in ["PGPORT", "PGCONNECT_TIMEOUT", "PGSSLMODE"] {
            let error = read("postgres://db/chats", &[(name, "often")]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_password_file_is_read_as_libpq_reads_it() {
        let text = "# host:port:database:user:password\n\
                    db:5432:chats:you:yours\n\
                    d\\:b:*:*:me:colon\n\
                    *:*:chats:me:p\\:a\\\\ss\n";
        assert_eq!(
            find(text, ["db", "5432", "chats", "me"]).as_deref(),
            Some("p:a\\ss")
        );
        assert_eq!(
            find(text, ["d:b", "1", "x", "me"]).as_deref(),
            Some("colon")
        );
        assert_eq!(find(text, ["db", "5432", "others", "me"]), None);
    }

    #[test]
    fn a_password_file_that_others_may_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pass");
        let mut made = fs::File::create(&file).unwrap();
        writeln!(made, "db:5432:chats:me:s3cret").unwrap();
        let variables = [("PGPASSFILE", file.to_str().unwrap())];
        for (mode, expected) in [(0o644, None), (0o600, Some(&b"s3cret"[..]))] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let url = read("postgres://me@db/chats", &variables).unwrap();
            assert_eq!(url.config().get_password(), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_known_is_named_with_what_to_do() {
        for (query, said) in [
            (
                "pgbouncer=true",
                "pgbouncer is not known here: leave it out",
            ),
            ("schema=public", "search_path"),
            (
                "sslmode=require&connection_limit=5",
                "--database-connections",
            ),
            ("colour=s3cret", "parameter colour is not known"),
            (
                "connect_timeout=s3cret",
                "parameter connect_timeout cannot be read",
            ),
        ] {
            let error = read(&format!("postgres://me@db/x?{query}"), &[]).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_password_with_a_question_mark_is_not_taken_for_a_parameter() {
        for url in [
            "postgres://me:pa?s3cret@db/x",
            "postgres://me:pa?s3cret=1@db/x",
        ] {
            let error = read(url, &[]).unwrap_err().to_string();
            assert!(
                error.contains("%3F") && !error.contains("s3cret"),
                "{error}"
            );
        }
    }
}
