//! Returns the memory of a password check to the system.

/// Makes the allocator return large blocks at once; call it before there is a second thread.
///
/// A check takes 19 MiB. By default, glibc soon keeps several such blocks for each thread that ever made one: more than
/// the 128 MiB that the service may use, and then the service hangs.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's allocator can be told in no other way")]
pub(crate) fn keep_no_large_blocks() {
    const LARGE: libc::c_int = 1 << 20;
    // SAFETY: sets a number; no other thread allocates meanwhile.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Does nothing: other C libraries keep none.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_no_large_blocks() {}
