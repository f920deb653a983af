//! stub
pub mod abi;
