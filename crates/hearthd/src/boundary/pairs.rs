//! Slices, and sinks for pairs of slices, that plugin and host lend each other during a call (M1).

#![expect(unsafe_code, reason = "borrowed slices are raw pointers")]

use std::ffi::c_void;

use hearthd_sdk::abi::{Sink, Slice};

/// Key and value pairs that a plugin puts.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Makes a sink that appends to `pairs`.
pub(crate) fn sink(pairs: &mut Pairs) -> Sink {
    unsafe extern "C" fn put(ctx: *mut c_void, key: Slice, value: Slice) {
        // SAFETY: `ctx` is the vector that the sink was made of, and only this call uses it now.
        let pairs = unsafe { &mut *ctx.cast::<Pairs>() };
        // SAFETY: the plugin's slices are valid during the call (M1).
        let key = unsafe { bytes(key) }.to_vec();
        // SAFETY: as above.
        let value = unsafe { bytes(value) }.to_vec();
        if pairs.len() < PAIR_BOUND {
            pairs.push((key, value));
        }
    }
    Sink { ctx: std::ptr::from_mut(pairs).cast(), put }
}

/// Borrows bytes for the time of a call (M1).
pub(crate) fn slice(bytes: &[u8]) -> Slice {
    Slice { ptr: bytes.as_ptr(), len: bytes.len() }
}

/// Reads a borrowed slice.
///
/// # Safety
/// The slice follows M1 and stays valid for `'a`.
pub(crate) unsafe fn bytes<'a>(slice: Slice) -> &'a [u8] {
    if slice.ptr.is_null() || slice.len == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(slice.ptr, slice.len) }
}

/// Reads text, replacing what is not UTF-8.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Reads both sides of each pair.
pub(crate) fn texts(pairs: Pairs) -> Vec<(String, String)> {
    pairs.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

/// What a plugin may put into one sink.
const PAIR_BOUND: usize = 1024;
