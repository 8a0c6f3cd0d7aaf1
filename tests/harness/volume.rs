//! A small real file system in a mount namespace of its own, that can be filled up and broken.
//!
//! Needs root and a loop device. Where that is not to be had, [`Volume::mount`] says so and gives nothing.

use super::daemon::binary;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The mounted file system. Gone when dropped, with whatever still runs on it.
pub struct Volume {
    /// Holds the namespace for as long as it lives.
    holder: Child,
    image: tempfile::TempDir,
    point: PathBuf,
}

impl Volume {
    /// Makes and mounts one of so many megabytes at `point`. Its files get their room when they are written and not
    /// before, so that it can be full in the middle of one.
    pub fn mount(point: &Path, megabytes: u64) -> Option<Volume> {
        std::fs::create_dir_all(point).unwrap();
        let image = tempfile::tempdir().unwrap();
        let file = image.path().join("image");
        std::fs::File::create(&file).unwrap().set_len(megabytes * 1024 * 1024).unwrap();
        // Without extents there is no fallocate.
        let made =
            Command::new("/sbin/mkfs.ext4").args(["-q", "-F", "-O", "^extent,^64bit"]).arg(&file).output();
        if !made.is_ok_and(|output| output.status.success()) {
            eprintln!("absent: mkfs.ext4; nothing is shown about real file systems that fail");
            return None;
        }
        let script = "mount -o loop,errors=remount-ro \"$0\" \"$1\" && echo mounted && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .args([&file, point])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said.trim() != "mounted" {
            let _ = holder.wait();
            eprintln!("absent: root, or a loop device; nothing is shown about real file systems that fail");
            return None;
        }
        Some(Volume { holder, image, point: point.to_owned() })
    }

    /// A command that becomes the binary under test and sees the volume.
    pub fn daemon(&self) -> Command {
        self.command("env", &["--ignore-signal=XFSZ", binary()])
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let script = "dd if=/dev/zero of=\"$0\" bs=64k 2>/dev/null; dd if=/dev/zero of=\"$0.rest\" bs=512 2>/dev/null; sync; true";
        self.run("sh", &["-c", script, &self.filler()]);
    }

    /// Takes away what [`fill`](Volume::fill) wrote.
    pub fn make_room(&self) {
        self.run("rm", &[&self.filler(), &format!("{}.rest", self.filler())]);
    }

    fn filler(&self) -> String {
        self.point.join("filler").display().to_string()
    }

    /// The file system finds an error in itself: it takes no more writes.
    pub fn find_error(&self) {
        let source = self.run("findmnt", &["-n", "-o", "SOURCE", self.point.to_str().unwrap()]);
        let device = source.trim().trim_start_matches("/dev/").to_owned();
        let mut trigger = std::fs::File::options()
            .write(true)
            .open(format!("/sys/fs/ext4/{device}/trigger_fs_error"))
            .unwrap();
        trigger.write_all(b"the test says so").unwrap();
    }

    /// Another file system, good and empty, takes its place.
    pub fn replace(&self) {
        self.run("mount", &["-t", "tmpfs", "-o", "size=64m", "tmpfs", self.point.to_str().unwrap()]);
    }

    /// It is taken down, checked and mounted again. Nobody may use it.
    pub fn repair(&self) {
        let (point, file) = (self.point.to_str().unwrap(), self.image.path().join("image"));
        self.run("umount", &[point]);
        // 1: errors were corrected.
        let output = self.command("/sbin/e2fsck", &["-f", "-y", file.to_str().unwrap()]).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        self.run("mount", &["-o", "loop,errors=remount-ro", file.to_str().unwrap(), point]);
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.id().to_string(), "--", program]).args(arguments);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output: Output = self.command(program, arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
