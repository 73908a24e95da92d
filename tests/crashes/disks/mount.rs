//! Disks of our own: a file with a file system in it, or a piece of memory, mounted for one test.
//!
//! A mount outlives its process. So each has a folder whose name says whose it is, dropping it undoes it, also after a panic,
//! and every test first clears away what a killed one has left.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PREFIX: &str = "guestbook-disk-";
/// How long a file system may be in use after its last process has ended.
const RELEASE: Duration = Duration::from_secs(60);
/// `FS_IOC_SHUTDOWN` with `NOLOGFLUSH`, once it is told to: whatever is not on the device by then never will be.
const SHUT_DOWN: &str = r#"$| = 1; open F, "<", $ARGV[0] or die "$ARGV[0]: $!"; $how = pack("L", 2); print "armed\n"; <STDIN>;
    ioctl(F, 0x8004587d, $how) or die "ioctl: $!""#;

/// A mounted file system, gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    point: PathBuf,
    image: Option<PathBuf>,
}

impl Disk {
    /// An ext4 in a file of this size.
    pub(crate) fn ext4(megabytes: u64) -> Result<Self, String> {
        let mut disk = Self::empty()?;
        let image = disk.folder.join("image");
        let sized = File::create(&image).and_then(|file| file.set_len(megabytes << 20));
        sized.map_err(|cause| format!("no room for a disk: {cause}"))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        disk.image = Some(image);
        disk.mount()?;
        Ok(disk)
    }

    /// A file system in memory, with options such as `size=16m`.
    pub(crate) fn memory(options: &str) -> Result<Self, String> {
        let disk = Self::empty()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
        run(mount.arg(&disk.point))?;
        Ok(disk)
    }

    fn empty() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        clear_away();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let point = folder.join("mounted");
        fs::create_dir_all(&point).map_err(|cause| format!("no folder for a disk: {cause}"))?;
        Ok(Self {
            folder,
            point,
            image: None,
        })
    }

    /// Where its files are.
    pub(crate) fn path(&self) -> &Path {
        &self.point
    }

    /// Makes everything ready, so that the power goes in the moment in which [`Switch::off`] is called.
    pub(crate) fn switch(&self) -> Switch {
        let mut command = Command::new("perl");
        command.args(["-e", SHUT_DOWN]).arg(&self.point);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut armed = [0; 6];
        process
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut armed)
            .unwrap();
        Switch { process }
    }

    /// What a machine does that has power again. Nobody may have a file open.
    pub(crate) fn start_again(&self) {
        let since = Instant::now();
        while let Err(reason) = run(Command::new("umount").arg(&self.point)) {
            assert!(since.elapsed() < RELEASE, "{reason}");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Until the kernel has let go of the old file system, mounting its image gives that one again, without power.
        while self.is_attached() {
            assert!(since.elapsed() < RELEASE, "the image is still in use");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.mount().unwrap();
    }

    /// Whether the image still is a block device.
    fn is_attached(&self) -> bool {
        let image = self.image.as_ref().expect("a disk in a file");
        let devices = fs::read_dir("/sys/block").unwrap().flatten();
        let mut files = devices
            .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
        files.any(|file| Path::new(file.trim_end()) == image)
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.image.as_ref().expect("a disk in a file");
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(image)
            .arg(&self.point))
    }

    /// Takes all the room there is; removing the file gives it back.
    pub(crate) fn fill(&self) -> PathBuf {
        let ballast = self.point.join("ballast");
        let mut file = File::create(&ballast).unwrap();
        // The last bytes are taken one page at a time.
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        ballast
    }
}

/// A finger on the mains switch.
pub(crate) struct Switch {
    process: Child,
}

impl Switch {
    /// Cuts the power: everything that was not synced is lost at once, and from then on nothing is written.
    pub(crate) fn off(mut self) {
        self.process.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        undo(&self.folder);
    }
}

/// Undoes a mount, even while a process that is being killed has files open there. A loop device goes with its mount.
fn undo(folder: &Path) {
    let _ = run(Command::new("umount").arg("-l").arg(folder.join("mounted")));
    let _ = fs::remove_dir_all(folder);
}

/// Undoes what processes have left that are no more.
fn clear_away() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(PREFIX).unwrap_or_default();
        let owner = rest.split_once('-').map(|(owner, _)| owner);
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            undo(&entry.path());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output();
    let output = output.map_err(|cause| format!("{command:?} cannot be run: {cause}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
