//! Everything that can be done to the files of a list store.

use guestbook_testkit::oracle::Dice;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Db,
    Conf,
    /// The newest snapshot.
    Snap,
}

/// How long a file is afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Nothing,
    Half,
    Anything,
    AllButOneByte,
}

/// Where in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot {
    Head,
    Middle,
    Tail,
    Anywhere,
}

/// What is written over a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over {
    OneBit,
    Zeros(u64),
    Noise(u64),
    /// So many single bytes, anywhere.
    Bytes(u64),
}

/// One way to destroy a list store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    Truncate(Part, To),
    Overwrite(Part, Over, Spot),
    Append(Part, u64),
    Delete(&'static [Part]),
    DeleteBlobs,
    DeleteAllFiles,
    DeleteFolder,
    /// A file in place of the folder.
    FileForFolder,
    /// A folder in place of a file.
    FolderForFile(Part),
    LinkToNowhere,
    /// A strange file of this name.
    Garbage(&'static str),
    /// A segment of the log written to the place of another one, or behind the last.
    Misdirected(Spot),
    /// These files of an older copy; all of them for none named.
    Stale(&'static [Part]),
    /// The same of the store of another database.
    Foreign(&'static [Part]),
    /// Nobody may read or write: root may all the same.
    NoPermissions,
}

/// More than fifty ways.
pub(crate) fn every() -> Vec<Damage> {
    use Damage::*;
    use Part::*;
    let mut all = Vec::new();
    for part in [Db, Conf, Snap] {
        for to in [To::Nothing, To::Half, To::Anything, To::AllButOneByte] {
            all.push(Truncate(part, to));
        }
        for spot in [Spot::Head, Spot::Middle, Spot::Tail] {
            all.push(Overwrite(part, Over::OneBit, spot));
        }
        all.push(Overwrite(part, Over::Bytes(20), Spot::Anywhere));
        all.push(Append(part, 1));
        all.push(Append(part, 100_000));
    }
    for spot in [Spot::Head, Spot::Middle, Spot::Tail] {
        all.push(Overwrite(Db, Over::Zeros(512), spot));
        all.push(Overwrite(Db, Over::Noise(4096), spot));
    }
    all.push(Overwrite(Db, Over::Bytes(1), Spot::Anywhere));
    all.push(Overwrite(Db, Over::Zeros(65_536), Spot::Anywhere));
    all.push(Overwrite(Db, Over::Noise(u64::MAX), Spot::Head));
    all.push(Overwrite(Snap, Over::Noise(u64::MAX), Spot::Head));
    let deleted: [&[Part]; 6] = [
        &[Db],
        &[Conf],
        &[Snap],
        &[Db, Conf],
        &[Db, Snap],
        &[Conf, Snap],
    ];
    all.extend(deleted.map(Delete));
    all.extend([
        DeleteBlobs,
        DeleteAllFiles,
        DeleteFolder,
        FileForFolder,
        LinkToNowhere,
    ]);
    all.extend([FolderForFile(Db), FolderForFile(Conf)]);
    all.extend(["snap.00000000000fffff", "blobs/7777", "db.tmp"].map(Garbage));
    let stale: [&[Part]; 4] = [&[], &[Db], &[Snap], &[Conf]];
    all.extend(stale.map(Stale));
    all.extend(stale.map(Foreign));
    all.extend([Spot::Head, Spot::Tail].map(Misdirected));
    all.push(NoPermissions);
    all
}

/// Copies of other stores.
#[derive(Debug)]
pub(crate) struct Copies<'a> {
    pub(crate) older: &'a Path,
    pub(crate) foreign: &'a Path,
}

impl Damage {
    /// Whether the store is of a kind that a person has to look at: then a refusal in one clear line is right.
    pub(crate) fn may_be_refused(self) -> bool {
        matches!(
            self,
            Self::FileForFolder | Self::LinkToNowhere | Self::NoPermissions
        )
    }

    /// When it is tried: some never go missing, and the stale copy goes first, while it is of the same incarnation as the store.
    pub(crate) fn turn(self) -> u8 {
        match self {
            Self::Stale([]) => 0,
            Self::Misdirected(Spot::Tail) | Self::FileForFolder | Self::DeleteFolder => 1,
            _ => 2,
        }
    }

    /// Does it to the store in `folder`; whether there was anything to do it to.
    pub(crate) fn strike(self, folder: &Path, copies: &Copies<'_>, dice: &mut Dice) -> bool {
        match self {
            Self::Truncate(part, to) => with(folder, part, |file, length| {
                let length = match to {
                    To::Nothing => 0,
                    To::Half => length / 2,
                    To::Anything => dice.roll(length),
                    To::AllButOneByte => length.saturating_sub(1),
                };
                file.set_len(length).unwrap();
            }),
            Self::Overwrite(part, over, spot) => overwrite(folder, part, over, spot, dice),
            Self::Append(part, bytes) => with(folder, part, |file, length| {
                write_at(file, length, &noise(bytes, dice));
            }),
            Self::Delete(parts) => {
                let files: Vec<_> = parts
                    .iter()
                    .filter_map(|part| find(folder, *part))
                    .collect();
                files.iter().for_each(|file| fs::remove_file(file).unwrap());
                files.len() == parts.len()
            }
            Self::DeleteBlobs => fs::remove_dir_all(folder.join("blobs")).is_ok(),
            Self::DeleteAllFiles => {
                fs::remove_dir_all(folder).unwrap();
                fs::create_dir(folder).is_ok()
            }
            Self::DeleteFolder => fs::remove_dir_all(folder).is_ok(),
            Self::FileForFolder => {
                fs::remove_dir_all(folder).unwrap();
                fs::write(folder, "not a folder").is_ok()
            }
            Self::LinkToNowhere => {
                fs::remove_dir_all(folder).unwrap();
                std::os::unix::fs::symlink("/nowhere/at/all", folder).is_ok()
            }
            Self::FolderForFile(part) => find(folder, part).is_some_and(|file| {
                fs::remove_file(&file).unwrap();
                fs::create_dir(&file).is_ok()
            }),
            Self::Garbage(name) => fs::write(folder.join(name), noise(5_000, dice)).is_ok(),
            Self::Misdirected(spot) => misdirect(folder, spot),
            Self::Stale(parts) => replace(folder, copies.older, parts),
            Self::Foreign(parts) => replace(folder, copies.foreign, parts),
            Self::NoPermissions => {
                set_mode(folder, 0o000);
                true
            }
        }
    }

    /// Clears away what a person would have to.
    pub(crate) fn clear(folder: &Path) {
        if folder.is_symlink() || folder.is_file() {
            fs::remove_file(folder).unwrap();
        } else {
            set_mode(folder, 0o755);
            fs::remove_dir_all(folder).unwrap();
        }
    }
}

fn overwrite(folder: &Path, part: Part, over: Over, spot: Spot, dice: &mut Dice) -> bool {
    with(folder, part, |file, length| {
        let place = match spot {
            Spot::Head => dice.roll(length.min(32)),
            Spot::Middle => length / 2 + dice.roll(length.min(4_096) / 2),
            Spot::Tail => length - 1 - dice.roll(length.min(64)),
            Spot::Anywhere => dice.roll(length),
        };
        let room = length - place;
        match over {
            Over::OneBit => flip(file, place, 1 << dice.roll(8)),
            Over::Zeros(count) => {
                let count = usize::try_from(count.min(room)).unwrap();
                write_at(file, place, &vec![0; count]);
            }
            Over::Noise(count) => write_at(file, place, &noise(count.min(room), dice)),
            Over::Bytes(count) => {
                for _ in 0..count {
                    let mask = 1 + u8::try_from(dice.roll(255)).unwrap();
                    flip(file, dice.roll(length), mask);
                }
            }
        }
    })
}

fn flip(file: &mut File, place: u64, mask: u8) {
    use std::os::unix::fs::FileExt;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    write_at(file, place, &[byte[0] ^ mask]);
}

/// sled's.
const SEGMENT: u64 = 512 << 10;

fn misdirect(folder: &Path, spot: Spot) -> bool {
    let Ok(bytes) = fs::read(folder.join("db")) else {
        return false;
    };
    let segment = usize::try_from(SEGMENT).unwrap();
    let segments: Vec<_> = bytes.chunks(segment).collect();
    let (from, to) = match spot {
        // sled panics at a second segment of the same number, if no snapshot tells it to pass by the older ones.
        Spot::Tail => {
            if let Some(snap) = find(folder, Part::Snap) {
                fs::remove_file(snap).unwrap();
            }
            (0, segments.len())
        }
        _ => (segments.len() - 1, 0),
    };
    with(folder, Part::Db, |file, _| {
        write_at(file, to as u64 * SEGMENT, segments[from]);
    }) && from != to
}

/// Puts files of another store in the place of these; all of them for none named.
fn replace(folder: &Path, older: &Path, parts: &[Part]) -> bool {
    if parts.is_empty() {
        fs::remove_dir_all(folder).unwrap();
        copy(older, folder);
        return true;
    }
    parts.iter().all(|part| {
        let (Some(old), Some(new)) = (find(older, *part), find(folder, *part)) else {
            return false;
        };
        fs::remove_file(new).unwrap();
        fs::copy(&old, folder.join(old.file_name().unwrap())).is_ok()
    })
}

/// Opens a file of the store that is not empty.
fn with(folder: &Path, part: Part, work: impl FnOnce(&mut File, u64)) -> bool {
    let Some(path) = find(folder, part) else {
        return false;
    };
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    if length > 0 {
        work(&mut file, length);
    }
    length > 0
}

pub(crate) fn find(folder: &Path, part: Part) -> Option<PathBuf> {
    let named = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    match part {
        Part::Db => named("db"),
        Part::Conf => named("conf"),
        Part::Snap => {
            let entries = fs::read_dir(folder).ok()?.flatten();
            let snaps = entries.map(|entry| entry.path());
            let is_snap = |path: &PathBuf| path.to_string_lossy().contains("/snap.");
            snaps.filter(is_snap).max()
        }
    }
}

fn write_at(file: &mut File, place: u64, bytes: &[u8]) {
    file.seek(SeekFrom::Start(place)).unwrap();
    file.write_all(bytes).unwrap();
}

fn noise(count: u64, dice: &mut Dice) -> Vec<u8> {
    let byte = |_| u8::try_from(dice.roll(256)).unwrap();
    (0..count).map(byte).collect()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(source, target).unwrap();
        }
    }
}
