//! A plugin with a property of every type and access: what is written to a property is its state.

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, NoConfig, Property};

/// A device that does what it is told, and nothing else.
#[derive(Debug)]
struct Gamut {
    context: Context,
}

impl Device for Gamut {
    const KIND: &'static str = "gamut";
    type Config = NoConfig;

    fn properties(_config: &NoConfig) -> Vec<Property> {
        vec![
            Property::switch("pump").title("Circulation pump"),
            Property::switch("leak").read_only(),
            Property::switch("flush").write_only(),
            Property::integer("speed").range(0, 5),
            Property::integer("starts").read_only(),
            Property::number("limit").range(0.5, 8.5).step(0.5).unit("bar"),
            Property::number("flow_temperature").unit("°C").read_only(),
            Property::number("energy").unit("kWh").read_only(),
            Property::number("humidity").unit("%").read_only(),
            Property::choice("program", &["eco", "turbo"]),
            Property::choice("phase", &["filling", "draining"]).read_only(),
            Property::choice("door", &["open", "closed"]).read_only(),
            Property::choice("rinse", &["rinse"]).write_only(),
            Property::choice("beep", &["short", "long"]).write_only(),
            Property::text("label"),
            Property::text("serial").read_only(),
            Property::text("say").write_only(),
            Property::text("alert").read_only(),
            Property::json("details").read_only(),
            Property::json("plan").write_only(),
            Property::event("bell", &["ring"]),
            Property::event("remote", &["press", "double"]),
        ]
    }

    fn create(_config: NoConfig, context: Context, _saved: Option<&[u8]>) -> Result<Self, Failure> {
        context.publish("pump", false);
        context.publish("leak", true);
        context.publish("speed", 1);
        context.publish("starts", 17);
        context.publish("limit", 2.5);
        context.publish("flow_temperature", 41.5);
        context.publish("energy", 12.25);
        context.publish("humidity", 55);
        context.publish("program", "eco");
        context.publish("phase", "filling");
        context.publish("door", "open");
        context.publish("label", "cellar");
        context.publish("serial", "A-1");
        context.publish("alert", "none");
        context.publish("details", r#"{"valve":3}"#);
        Ok(Self { context })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(on) = changes.switch("pump") {
            self.context.publish("pump", on);
        }
        if let Some(speed) = changes.integer("speed") {
            self.context.publish("speed", speed);
        }
        if let Some(limit) = changes.number("limit") {
            self.context.publish("limit", limit);
        }
        for property in ["program", "label"] {
            if let Some(text) = changes.text(property) {
                self.context.publish(property, text);
            }
        }
        if changes.switch("flush").is_some() {
            self.context.publish("phase", "draining");
        }
        if changes.text("rinse").is_some() {
            self.context.publish("phase", "filling");
        }
        if let Some(length) = changes.text("beep") {
            self.context.event("bell", "ring");
            self.context.event("remote", if length == "long" { "double" } else { "press" });
        }
        if let Some(text) = changes.text("say") {
            self.context.publish("alert", text);
        }
        Ok(Answer::Done)
    }
}

hearthd_sdk::export!(Gamut);
