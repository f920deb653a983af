//! `set` returns nothing.

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, NoConfig, Property};

struct Lamp;

impl Device for Lamp {
    const KIND: &'static str = "lamp";
    type Config = NoConfig;

    fn properties(_: &NoConfig) -> Vec<Property> {
        vec![Property::switch("power")]
    }

    fn create(_: NoConfig, _: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn set(&mut self, _: &Changes) -> () { //~ expected `Result<Answer, Failure>`, found `()`
        
    }
}

hearthd_sdk::export!(Lamp);

fn main() {}
