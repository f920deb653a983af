//! A device that adds devices of its own, under the harness.

use std::collections::BTreeMap;
use std::time::Duration;

use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_sdk::{
    Answer, Changes, Child, ChildDeclaration, Context, Deferred, Device, Failure, NoConfig,
    Property,
};
use serde_json::json;

/// A bridge: what is written to `find` is a lamp that it adds, and to `lose` one that it removes.
struct Bridge {
    context: Context,
    lamps: BTreeMap<String, Context>,
    refused: Vec<String>,
}

/// One lamp of the bridge.
struct Lamp {
    context: Context,
    waiting: Option<Deferred>,
}

impl Device for Bridge {
    const KIND: &'static str = "bridge";
    type Config = NoConfig;

    fn properties(_: &NoConfig) -> Vec<Property> {
        vec![Property::text("find"), Property::text("lose"), Property::text("cut")]
    }

    fn may_add(_: &NoConfig) -> bool {
        true
    }

    fn create(_: NoConfig, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        let mut bridge = Self { context, lamps: BTreeMap::new(), refused: Vec::new() };
        let known = saved.map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        for name in known.split_whitespace() {
            bridge.find(name)?;
        }
        Ok(bridge)
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(name) = changes.text("find") {
            self.find(name)?;
        }
        if let Some(name) = changes.text("lose") {
            self.context.children().remove(name);
            if let Some(lamp) = self.lamps.remove(name) {
                lamp.publish("power", true);
            }
        }
        if let Some(name) = changes.text("cut") {
            self.lamps[name].unreachable("no answer over the radio");
        }
        Ok(Answer::Done)
    }

    fn child_refused(&mut self, name: &str, reason: &str) {
        self.lamps.remove(name);
        self.refused.push(format!("{name}: {reason}"));
        self.context.publish("lose", self.refused.join("; "));
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(self.lamps.keys().cloned().collect::<Vec<_>>().join(" ").into_bytes())
    }
}

impl Bridge {
    fn find(&mut self, name: &str) -> Result<(), Failure> {
        let properties = vec![
            Property::switch("power"),
            Property::integer("level").range(0, 100),
            Property::event("button", &["press"]),
        ];
        let declaration = ChildDeclaration::new(properties).kind("light").title("A lamp");
        let lamp = self.context.children().add(name, declaration.room("Hall"), |context| {
            context.publish("power", false);
            Lamp { context, waiting: None }
        })?;
        self.lamps.insert(name.to_owned(), lamp);
        Ok(())
    }
}

impl Child for Lamp {
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(level) = changes.integer("level") {
            self.waiting = Some(self.context.defer());
            self.context.publish("level", level);
            self.context.set_timer(1, Duration::from_secs(2));
            return Ok(Answer::Later);
        }
        if let Some(on) = changes.switch("power") {
            self.context.publish("power", on);
            self.context.event("button", "press");
            tracing::info!(on, "switched");
        }
        Ok(Answer::Done)
    }

    fn timer(&mut self, _: u32) {
        self.context.wake();
    }

    fn wake(&mut self) {
        if let Some(request) = self.waiting.take() {
            request.done();
        }
    }
}

fn bridge() -> TestDevice<Bridge> {
    TestDevice::new(json!({}))
}

#[test]
fn a_device_that_was_added_is_asked_and_tells_by_itself() {
    let mut bridge = bridge();
    assert!(bridge.set("find", "hall").is_done());
    assert!(bridge.set("find", "porch").is_done());
    assert_eq!(bridge.children(), ["hall", "porch"]);
    let mut hall = bridge.child("hall");
    assert_eq!((hall.title(), hall.room()), (Some("A lamp"), Some("Hall")));
    assert!(hall.set("power", "toggle").is_done());
    assert_eq!(hall.published("power").as_deref(), Some("ON"));
    assert_eq!(hall.take_events(), [("button".to_owned(), "press".to_owned())]);
    assert_eq!(hall.logs(), ["INFO switched on=true"], "the line is the child's");
    assert_eq!(bridge.child("porch").published("power").as_deref(), Some("OFF"));
    assert!(bridge.set("cut", "porch").is_done());
    assert_eq!(bridge.child("porch").unreachable().as_deref(), Some("no answer over the radio"));
    assert_eq!(bridge.unreachable(), None, "the bridge itself is there");
}

#[test]
fn a_child_answers_later_by_a_timer_and_a_wake_of_its_own() {
    let mut bridge = bridge();
    bridge.set("find", "hall");
    assert_eq!(bridge.child("hall").set("level", "40"), Reply::Pending);
    bridge.advance(Duration::from_secs(1));
    assert_eq!(bridge.child("hall").reply(), Reply::Pending);
    bridge.advance(Duration::from_secs(1));
    assert_eq!(bridge.child("hall").reply(), Reply::Done);
}

#[test]
fn what_the_hub_refuses_of_a_device_it_refuses_of_a_child() {
    let mut bridge = bridge();
    bridge.set("find", "hall");
    let refused = bridge.child("hall").set("level", "101");
    assert!(matches!(&refused, Reply::Failed(failure) if failure.message().contains("100")));
    for name in ["", "Hall", "a/b", &"x".repeat(60)] {
        let refused = bridge.set("find", &format!(" {name}").replace(' ', ""));
        assert!(matches!(refused, Reply::Failed(_)), "{name}: {refused:?}");
    }
    assert_eq!(bridge.children(), ["hall"]);
}

#[test]
fn of_too_many_children_the_next_one_is_refused() {
    let mut bridge = bridge();
    for n in 0..256 {
        assert!(bridge.set("find", &format!("lamp-{n}")).is_done());
    }
    let Reply::Failed(failure) = bridge.set("find", "one-more") else { panic!("256 at most") };
    assert_eq!(failure.message(), "there are 256 children already");
    assert!(bridge.set("find", "lamp-7").is_done(), "it is there already");
}

#[test]
fn a_child_that_is_gone_says_nothing_any_more() {
    let mut bridge = bridge();
    bridge.set("find", "hall");
    assert!(bridge.set("lose", "hall").is_done(), "a late call is harmless");
    assert_eq!(bridge.children(), Vec::<String>::new());
    bridge.set("find", "porch");
    bridge.refuse_child("porch", "another device has the ID");
    assert_eq!(bridge.children(), Vec::<String>::new());
    assert_eq!(bridge.published("lose").as_deref(), Some("porch: another device has the ID"));
}

#[test]
fn children_are_there_again_after_a_restart() {
    let mut bridge = bridge();
    bridge.set("find", "hall");
    bridge.restart();
    assert_eq!(bridge.children(), ["hall"]);
    assert!(bridge.child("hall").set("power", "ON").is_done());
}

/// A device that adds another without saying so.
struct Silent;

impl Device for Silent {
    const KIND: &'static str = "silent";
    type Config = NoConfig;

    fn properties(_: &NoConfig) -> Vec<Property> {
        Vec::new()
    }

    fn create(_: NoConfig, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        let lamp = ChildDeclaration::new(Vec::new());
        context.children().add("lamp", lamp, |context| Lamp { context, waiting: None })?;
        Ok(Self)
    }

    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        Ok(Answer::Done)
    }
}

#[test]
fn a_kind_that_does_not_say_so_adds_none() {
    let problems = TestDevice::<Silent>::try_new(json!({})).unwrap_err();
    assert!(problems[0].message.starts_with("`Device::may_add` says"), "{problems:?}");
}
