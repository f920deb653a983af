//! Exit codes of hearthd's programs: those of sysexits.h.

/// The command line is wrong (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// The input is not acceptable (`EX_DATAERR`).
pub const DATA: u8 = 65;
/// The input does not exist (`EX_NOINPUT`).
pub const NO_INPUT: u8 = 66;
/// The broker cannot be reached, or the program cannot listen on an address (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// An internal fault (`EX_SOFTWARE`).
pub const SOFTWARE: u8 = 70;
/// The system refuses signals, threads or random numbers (`EX_OSERR`).
pub const SYSTEM: u8 = 71;
/// A file cannot be created (`EX_CANTCREAT`).
pub const CANNOT_CREATE: u8 = 73;
/// Reading or writing failed (`EX_IOERR`).
pub const IO: u8 = 74;
/// No answer came in time (`EX_TEMPFAIL`).
pub const NO_ANSWER: u8 = 75;
/// The account may not do that (`EX_NOPERM`).
pub const NOT_AUTHORIZED: u8 = 77;
/// The configuration is wrong (`EX_CONFIG`).
pub const CONFIG: u8 = 78;
