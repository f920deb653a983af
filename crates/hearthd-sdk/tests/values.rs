//! What a device's test takes and refuses is what the hub takes and refuses: both read one table.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_sdk::{Answer, Changes, Context, Device, Failure, NoConfig, Property};
use serde_json::{Value, json};

/// A device with a property of each declaration of the table.
struct Table {
    context: Context,
}

impl Device for Table {
    const KIND: &'static str = "table";
    type Config = NoConfig;

    fn properties(_: &NoConfig) -> Vec<Property> {
        vec![
            Property::switch("switch"),
            Property::integer("integer").range(-1000, 1000),
            Property::integer("even").range(0, 100).step(2),
            Property::integer("long"),
            Property::number("number").range(5, 30).step(0.5),
            Property::number("fine").range(0, 1).step(0.1),
            Property::choice("choice", &["off", "heat", "2"]),
            Property::text("text"),
            Property::json("report").write_only(),
        ]
    }

    fn create(_: NoConfig, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        context.publish("switch", true);
        Ok(Self { context })
    }

    /// Publishes what is set; a report says what to publish instead.
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        for (name, value) in changes.iter().filter(|(name, _)| *name != "report") {
            self.context.publish(name, value.clone());
        }
        for (name, text) in changes.json("report").and_then(Value::as_object).into_iter().flatten()
        {
            self.context.publish(name, text.as_str().unwrap_or_default());
        }
        Ok(Answer::Done)
    }
}

/// Returns the state that a command has led to.
fn state_after(property: &str, command: impl FnOnce(&mut TestDevice<Table>) -> Reply) -> String {
    let mut device = TestDevice::<Table>::new(json!({}));
    match command(&mut device) {
        Reply::Done => device.published(property).expect("it publishes what is set"),
        Reply::Failed(_) => "refused".into(),
        other => panic!("{property}: {other:?}"),
    }
}

#[test]
fn the_table_of_values_holds_in_every_form() {
    let table = include_str!("../../hearthd-property/tests/values.txt");
    for row in table.lines().filter(|row| !row.starts_with('#')) {
        let [property, written, value] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("three columns, not {row}");
        };
        assert_eq!(state_after(property, |device| device.set(property, written)), value, "{row}");
        let text = |device: &mut TestDevice<Table>| device.set_all(json!({ property: written }));
        assert_eq!(state_after(property, text), value, "{row} as JSON text");
        let literal = serde_json::from_str::<Value>(written).ok();
        if let Some(literal) = literal.filter(|_| property != "text") {
            let literal =
                |device: &mut TestDevice<Table>| device.set_all(json!({ property: literal }));
            assert_eq!(state_after(property, literal), value, "{row} as JSON");
        }
        let published = catch_unwind(AssertUnwindSafe(|| {
            let report = json!({ property: written }).to_string();
            state_after(property, |device| device.set("report", &report))
        }));
        let is_state = !written.eq_ignore_ascii_case("TOGGLE");
        let expected = if is_state { value } else { "refused" };
        assert_eq!(published.unwrap_or("refused".into()), expected, "{row} as a state");
    }
}

/// A device that asks for what it has not declared.
struct Mistaken;

impl Device for Mistaken {
    const KIND: &'static str = "mistaken";
    type Config = NoConfig;

    fn properties(_: &NoConfig) -> Vec<Property> {
        vec![Property::switch("power"), Property::integer("level"), Property::text("mistake")]
    }

    fn create(_: NoConfig, _: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        match changes.text("mistake") {
            Some("name") => drop(changes.switch("pwoer")),
            Some("type") => drop(changes.switch("level")),
            Some("any") => drop(changes.get("levle")),
            _ => assert_eq!((changes.switch("power"), changes.integer("level")), (None, Some(7))),
        }
        Ok(Answer::Done)
    }
}

#[test]
fn a_property_asked_for_by_a_name_or_a_type_that_is_not_declared_ends_the_test() {
    for (mistake, said) in [
        ("name", "`pwoer` is not declared; there is: power, level, mistake"),
        ("type", "`level` is declared as integer, and asked for as switch"),
        ("any", "`levle` is not declared"),
    ] {
        let panic = catch_unwind(|| TestDevice::<Mistaken>::new(json!({})).set("mistake", mistake));
        let panic = panic.expect_err(mistake);
        let text = panic.downcast_ref::<String>().expect("the message was formatted");
        assert!(text.contains(said), "{text}");
    }
    let mut device = TestDevice::<Mistaken>::new(json!({}));
    assert!(device.set("level", "7").is_done(), "what does not change is no mistake");
}
