//! A disk for the store's tests: it remembers what was done to it, and can be full.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Database, DatabaseError, StorageBackend};
use rustix::io::Errno;

use super::file::builder;
use crate::sync::lock;

/// A disk that remembers the order of what was done to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    image: Arc<Mutex<Vec<u8>>>,
    done: Arc<Mutex<Vec<Step>>>,
    full: Arc<AtomicBool>,
    /// What every read fails with.
    failure: Arc<Mutex<Option<Errno>>>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Write { at: usize, data: Vec<u8> },
    Resize(usize),
    Sync,
}

impl Step {
    /// Does the step; of a write perhaps only so many bytes.
    pub(super) fn apply(&self, image: &mut Vec<u8>, most: usize) {
        match self {
            Self::Write { at, data } => {
                let data = &data[..data.len().min(most)];
                let end = at + data.len();
                image.resize(image.len().max(end), 0);
                image[*at..end].copy_from_slice(data);
            }
            Self::Resize(length) => image.resize(*length, 0),
            Self::Sync => {}
        }
    }
}

impl Disk {
    pub(super) fn with(image: Vec<u8>) -> Self {
        Self { image: Arc::new(Mutex::new(image)), ..Self::default() }
    }

    /// From now on nothing can be written, or can again.
    pub(super) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// From now on nothing can be read, or can again.
    pub(super) fn fail_reads(&self, failure: Option<Errno>) {
        *lock(&self.failure) = failure;
    }

    pub(super) fn image(&self) -> Vec<u8> {
        lock(&self.image).clone()
    }

    fn step(&self, step: Step) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        step.apply(&mut lock(&self.image), usize::MAX);
        lock(&self.done).push(step);
        Ok(())
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        lock(&self.done).clone()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.image).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if let Some(failure) = *lock(&self.failure) {
            return Err(failure.into());
        }
        let at = offset as usize;
        let image = lock(&self.image);
        let data = image.get(at..at + out.len());
        out.copy_from_slice(data.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.step(Step::Resize(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(Step::Write { at: offset as usize, data: data.to_vec() })
    }
}

/// Makes or opens a store on a disk.
pub(super) fn open(disk: Disk) -> Result<Database, DatabaseError> {
    builder().create_with_backend(disk)
}
