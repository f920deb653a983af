//! Two kinds of one plugin have the same name.

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

    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        Ok(Answer::Done)
    }
}

hearthd_sdk::export!(Lamp, Lamp); //~ two kinds of this plugin have the same name

fn main() {}
