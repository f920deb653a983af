//! The program, with a fake broker behind it.

mod bounds;
mod http;
mod piping;
mod site;
