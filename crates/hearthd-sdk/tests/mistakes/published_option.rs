//! A published value is of a type that no property has.

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, NoConfig, Property};

struct Lamp(Context);

impl Device for Lamp {
    const KIND: &'static str = "lamp";
    type Config = NoConfig;

    fn properties(_: &NoConfig) -> Vec<Property> {
        vec![Property::switch("power")]
    }

    fn create(_: NoConfig, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        Ok(Self(context))
    }

    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        self.0.publish("power", Some(true)); //~ `Value` implements `From<bool>`
        Ok(Answer::Done)
    }
}

hearthd_sdk::export!(Lamp);

fn main() {}
