//! The configuration does not derive `Deserialize`.

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Property};

struct Config {
    pin: u32,
}

struct Lamp;

impl Device for Lamp {
    const KIND: &'static str = "lamp";
    type Config = Config; //~ consider adding `#[derive(serde::Deserialize)]` to your `Config` type

    fn properties(_: &Config) -> Vec<Property> {
        vec![Property::switch("power")]
    }

    fn create(_: Config, _: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        Ok(Answer::Done)
    }
}

hearthd_sdk::export!(Lamp);

fn main() {}
