//! A machine made of files, for the tests of whatever looks at hardware.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hearthd_hardware::Root;
use tempfile::TempDir;

/// A folder with the files of a machine; it goes when this is dropped.
///
/// # Panics
/// All of it panics where the temporary folder cannot be written or a file is not there.
#[derive(Debug)]
pub struct Machine {
    folder: TempDir,
}

impl Machine {
    /// Makes a machine that has nothing.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    /// Writes files, given as pairs of path and content.
    #[must_use]
    pub fn with(self, files: &[(&str, &str)]) -> Self {
        for (path, content) in files {
            self.write(path, content);
        }
        self
    }

    /// Adds an LED that is driven by nothing.
    #[must_use]
    pub fn with_led(self, name: &str, max_brightness: u32, brightness: u32) -> Self {
        let folder = format!("sys/class/leds/{name}");
        self.write(&format!("{folder}/trigger"), "[none]");
        self.write(&format!("{folder}/max_brightness"), &max_brightness.to_string());
        self.write(&format!("{folder}/brightness"), &brightness.to_string());
        self
    }

    /// Returns what an LED shows.
    pub fn led(&self, name: &str) -> String {
        self.read(&format!("sys/class/leds/{name}/brightness"))
    }

    /// Returns where a path of the machine really is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Returns the folder that is the machine's root.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the machine for those who look things up in it.
    pub fn root(&self) -> Root {
        Root::new(self.folder.path())
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).expect("a file")
    }

    /// Writes a file, and makes the folders above it.
    pub fn write(&self, path: &str, content: &str) {
        std::fs::write(self.below_a_folder(path), content).expect("a file");
    }

    /// Makes a symbolic link to another path of the machine.
    pub fn link(&self, target: &str, link: &str) {
        symlink(self.path(target), self.below_a_folder(link)).expect("a link");
    }

    fn below_a_folder(&self, path: &str) -> PathBuf {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        path
    }
}
