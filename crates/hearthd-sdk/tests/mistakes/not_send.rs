//! The device holds what must not leave its thread.

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, NoConfig, Property};

struct Lamp {
    seen: std::rc::Rc<u32>,
}

impl Device for Lamp { //~ cannot be sent between threads safely
    const KIND: &'static str = "lamp";
    type Config = NoConfig;

    fn properties(_: &NoConfig) -> Vec<Property> {
        vec![Property::switch("power")]
    }

    fn create(_: NoConfig, _: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        Ok(Self { seen: 0.into() })
    }

    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        Ok(Answer::Done)
    }
}

hearthd_sdk::export!(Lamp);

fn main() {}
