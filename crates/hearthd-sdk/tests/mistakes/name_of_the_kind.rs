//! The name of the kind holds capitals.

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, NoConfig, Property};

struct Lamp;

impl Device for Lamp {
    const KIND: &'static str = "My Lamp";
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

hearthd_sdk::export!(Lamp); //~ `Device::KIND`, takes a-z, 0-9, _ and - alone

fn main() {}
