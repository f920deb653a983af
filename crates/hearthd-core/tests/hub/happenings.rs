//! What happens once at a device: a button, a doorbell.

use hearthd_core::{Disconnection, Input, PropertyEvent};
use serde_json::{Value, json};

use crate::test_hub::TestHub;

fn pressed(device: &str, property: &str, left_out: u64) -> Input {
    let (device, property) = (device.into(), property.into());
    Input::Happened(PropertyEvent { device, property, event: "press".into(), left_out })
}

#[test]
fn an_event_goes_out_at_once_not_retained_and_in_the_shape_of_all_events() {
    let mut hub = TestHub::online();
    for (left_out, expected) in [
        (0, json!({ "event": "press", "property": "power" })),
        (7, json!({ "event": "press", "property": "power", "left_out": 7 })),
    ] {
        hub.take();
        hub.handle(pressed("lamp", "power", left_out));
        let told = hub.published().pop().expect("it is told");
        assert_eq!(told.topic, "alice/event/lamp");
        assert_eq!((told.retain, told.qos), (false, hearthd_core::QoS::AtLeastOnce));
        assert_eq!(told.user_property("hub"), Some("hub"));
        assert!(told.response_topic.is_none() && told.expiry.is_some(), "{told:?}");
        let facts: Value = serde_json::from_slice(&told.payload).expect("JSON");
        assert_eq!(facts, expected);
        hub.accept_all();
    }
}

#[test]
fn what_happens_while_there_is_no_connection_is_not_told_later() {
    let mut hub = TestHub::online();
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.handle(pressed("lamp", "power", 0));
    hub.advance(std::time::Duration::from_secs(60));
    hub.take();
    hub.go_online(true);
    hub.accept_all();
    assert!(hub.published().iter().all(|m| !m.topic.contains("/event/")), "{:?}", hub.published());
}

#[test]
fn nothing_is_told_of_a_device_or_a_property_that_is_not_there() {
    let mut hub = TestHub::online();
    hub.take();
    hub.handle(pressed("attic", "power", 0));
    hub.handle(pressed("lamp", "nonsense", 0));
    assert_eq!(hub.published(), []);
}
