//! Locks that outlive a panic.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Takes a lock; a panic elsewhere leaves the data as whole as each assignment left it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition, no longer than `most`.
pub(crate) fn wait<'m, T>(
    condition: &Condvar,
    guard: MutexGuard<'m, T>,
    most: Option<Duration>,
) -> MutexGuard<'m, T> {
    match most {
        Some(most) => condition.wait_timeout(guard, most).unwrap_or_else(PoisonError::into_inner).0,
        None => condition.wait(guard).unwrap_or_else(PoisonError::into_inner),
    }
}
