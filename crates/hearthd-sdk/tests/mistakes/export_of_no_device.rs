//! The exported type has methods, and does not implement the trait.

use hearthd_sdk::{Answer, Changes, Failure};

struct Lamp;

impl Lamp {
    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        Ok(Answer::Done)
    }
}

hearthd_sdk::export!(Lamp); //~ `Lamp` is not a kind of device

fn main() {}
