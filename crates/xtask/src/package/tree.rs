//! The files of a package, as they will lie on the machine that it is installed on.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use hearthd_tests::{Doing, Failure, Result};

use crate::provision::stdout_of;

#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    files: BTreeSet<String>,
}

impl Tree {
    /// Begins with an empty folder.
    pub(super) fn create(root: PathBuf) -> Result<Self> {
        match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).doing(root.display());
            }
            _ => {}
        }
        let tree = Self { root, files: BTreeSet::new() };
        tree.make_folders(&tree.root)?;
        Ok(tree)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the files by their paths, which begin below the root.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// Copies a file; returns where it lies.
    pub(super) fn put(&mut self, from: &Path, to: &str, mode: u32) -> Result<PathBuf> {
        let contents = fs::read(from).doing(from.display())?;
        self.write(&contents, to, mode)
    }

    /// Writes a file; returns where it lies.
    pub(super) fn write(&mut self, contents: &[u8], to: &str, mode: u32) -> Result<PathBuf> {
        let path = self.root.join(to);
        self.make_folders(path.parent().unwrap_or(&self.root))?;
        fs::write(&path, contents).doing(path.display())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).doing(path.display())?;
        self.files.insert(to.to_owned());
        Ok(path)
    }

    /// Writes a file compressed, without the time or the name that gzip would add.
    pub(super) fn put_compressed(&mut self, contents: &[u8], to: &str) -> Result<()> {
        let mut gzip = Command::new("gzip")
            .args(["-9", "--no-name", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing("start gzip")?;
        let mut input = gzip.stdin.take().doing("gzip has no input")?;
        // Manuals are a few kilobytes, which a pipe takes at once.
        input.write_all(contents).doing("write to gzip")?;
        drop(input);
        let compressed = gzip.wait_with_output().doing("read from gzip")?;
        if !compressed.status.success() {
            return Err(Failure(format!("gzip: {}", compressed.status)));
        }
        self.write(&compressed.stdout, to, 0o644)?;
        Ok(())
    }

    /// Returns the size when installed, as Debian counts it.
    pub(super) fn kilobytes(&self) -> u64 {
        let sizes = self.files().filter_map(|file| fs::metadata(self.root.join(file)).ok());
        sizes.map(|file| file.len().div_ceil(1024)).sum()
    }

    pub(super) fn md5sums(&self) -> Result<String> {
        let mut md5sum = Command::new("md5sum");
        let installed = self.files().filter(|file| !file.starts_with("etc/"));
        stdout_of(md5sum.args(installed).current_dir(&self.root))
    }

    /// Makes folders that everybody may enter, whatever the umask says.
    fn make_folders(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).doing(folder.display())?;
        for above in folder.ancestors().take_while(|above| above.starts_with(&self.root)) {
            fs::set_permissions(above, fs::Permissions::from_mode(0o755)).doing(above.display())?;
        }
        Ok(())
    }
}
