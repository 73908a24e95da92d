//! Files that only their owner may read, in any folder: they contain the guests' messages.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Mode bits of group and others.
const OTHERS: u32 = 0o077;

/// Makes new files of this process private, also those that a library creates. Must be called before any thread runs.
pub fn make_files_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(OTHERS));
}

/// Removes group and other permissions from existing files. Missing files, links and folders are skipped.
pub fn tighten(paths: impl IntoIterator<Item = PathBuf>) {
    let mut tightened = Vec::new();
    for path in paths {
        match tighten_one(&path) {
            Ok(false) => {}
            Ok(true) => tightened.push(path),
            Err(cause) => {
                tracing::warn!(file = %path.display(), %cause, "others may read this file, and its mode cannot be changed");
            }
        }
    }
    if let Some(first) = tightened.first() {
        tracing::warn!(first = %first.display(), files = tightened.len(), "others could read these files; from now on only their owner may");
    }
}

/// Every file in a folder and its subfolders, without links.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return files;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

fn tighten_one(path: &Path) -> io::Result<bool> {
    let Ok(found) = path.symlink_metadata() else {
        return Ok(false);
    };
    let mode = found.permissions().mode();
    if !found.is_file() || mode & OTHERS == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(mode & 0o700))?;
    Ok(true)
}
