//! `guestbook sql`: one read-only statement. An sqlite3 shell of another version must not open a file in use: before
//! SQLite 3.51.3 two connections could damage the write-ahead log.

use super::printed::Escaped;
use super::{CliError, StoreUrls};
use crate::config::Cli;
use crate::console;
use crate::open::query;
use guestbook_storage::RowSink;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

pub(super) async fn run(cli: &Cli, statement: &str) -> Result<ExitCode, CliError> {
    let places = StoreUrls::of(cli)?;
    places.require_tables()?;
    let mut printer = Printer::default();
    let answered = query(&places.database, statement, &mut printer).await;
    console::outcome(printer.finish())?; // also what was found before a failure
    answered.map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each row, as it is found.
#[derive(Default)]
struct Printer {
    waiting: Vec<u8>,
    failure: Option<io::Error>,
}

/// How much gathers before it is written.
const GATHERED: usize = 64 << 10; // bytes

impl Printer {
    fn line<'a>(&mut self, cells: impl Iterator<Item = &'a str>) -> ControlFlow<()> {
        for (index, cell) in cells.enumerate() {
            let separator = if index == 0 { "" } else { "|" };
            write!(self.waiting, "{separator}{}", Escaped(cell)).expect("a Vec takes every byte");
        }
        self.waiting.push(b'\n');
        match self.waiting.len() < GATHERED {
            true => ControlFlow::Continue(()),
            false => self.write(),
        }
    }

    fn write(&mut self) -> ControlFlow<()> {
        let written = console::write(&self.waiting);
        self.waiting.clear();
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(cause) => {
                self.failure = Some(cause);
                ControlFlow::Break(())
            }
        }
    }

    fn finish(mut self) -> io::Result<()> {
        if self.failure.is_none() {
            let _ = self.write(); // its failure is kept
        }
        self.failure.map_or(Ok(()), Err)
    }
}

impl RowSink for Printer {
    fn columns(&mut self, names: &[String]) -> ControlFlow<()> {
        self.line(names.iter().map(String::as_str))
    }

    fn row(&mut self, cells: &[Option<String>]) -> ControlFlow<()> {
        self.line(cells.iter().map(|cell| cell.as_deref().unwrap_or("NULL")))
    }
}
