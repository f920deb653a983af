//! Notices changes of the accounts file.

use std::{
    ffi::OsStr,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// Watches one file, also one that is replaced, or that is not there yet.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<OwnedFd>,
    file: PathBuf,
}

impl Watch {
    /// Starts to watch.
    ///
    /// # Errors
    /// Where the folder of the file cannot be watched.
    #[expect(
        unsafe_code,
        reason = "tokio takes no file descriptor that it cannot trust to stay open"
    )]
    pub(super) fn start(file: &Path) -> io::Result<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&inotify, folder.unwrap_or(Path::new(".")), flags)?;
        // SAFETY: an `OwnedFd` names the same open file until it is dropped, and is dropped with the `AsyncFd`.
        let inotify = unsafe { AsyncFd::register(inotify) }?;
        Ok(Self { inotify, file: file.to_owned() })
    }

    /// Waits until the file changed.
    pub(super) async fn changed(&self) -> io::Result<()> {
        loop {
            let mut guard = self.inotify.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
            let mut changed = false;
            loop {
                match reader.next() {
                    Ok(event) => {
                        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                        changed |= name == self.file.file_name();
                    }
                    Err(rustix::io::Errno::WOULDBLOCK) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            guard.clear_ready();
            if changed {
                return Ok(());
            }
        }
    }
}
