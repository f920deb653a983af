//! Devices that a device adds and removes while the hub runs.

use std::{collections::BTreeMap, time::Duration};

use hearthd_core::{Answer, Change, DevicePolicy, HubConfig, Input, Message, Output};

use crate::test_hub::{TestHub, config, request};

/// What the hub has with these children of a bridge beside its own devices.
fn with(children: &[&str]) -> BTreeMap<String, DevicePolicy> {
    let mut devices = config().devices;
    for child in children {
        devices.insert((*child).to_owned(), devices["lamp"].clone());
    }
    devices
}

fn add(hub: &mut TestHub, children: &[&str]) {
    hub.handle(Input::Children {
        device: "bridge".into(),
        children: children.join(" ").into(),
        devices: with(children),
        discovery: None,
    });
}

fn request_to(device: &str, data: &'static [u8]) -> Message {
    Message { topic: format!("alice/cmnd/{device}/power"), ..request("ON", data) }
}

/// What the hub did: what it stored of children, and which filters it has asked for and left.
fn done(hub: &TestHub) -> Vec<String> {
    let of_children = |filter: &&String| filter.contains("bridge-");
    let outputs = hub.outputs.iter().filter_map(|output| match output {
        Output::Store { change: Change::Children { device, children }, .. } => {
            Some(vec![format!("store {device}: {}", String::from_utf8_lossy(children))])
        }
        Output::Subscribe(filters) => {
            let filters = filters.iter().map(|it| &it.filter).filter(of_children);
            Some(filters.map(|filter| format!("subscribe {filter}")).collect())
        }
        Output::Unsubscribe(filters) => {
            let filters = filters.iter().filter(of_children);
            Some(filters.map(|filter| format!("unsubscribe {filter}")).collect())
        }
        _ => None,
    });
    outputs.flatten().collect()
}

#[test]
fn a_child_is_in_the_store_before_its_requests_are_asked_for() {
    let mut hub = TestHub::online();
    hub.store_works = false;
    add(&mut hub, &["bridge-hall"]);
    assert_eq!(done(&hub), ["store bridge: bridge-hall"]);
    hub.store_catches_up();
    let filters =
        ["subscribe alice/cmnd/bridge-hall/+", "subscribe alice/state/bridge-hall/status"];
    assert_eq!(done(&hub), filters);
    hub.grant();
    hub.receive(request_to("bridge-hall", b"1"));
    let asked = hub.executed();
    assert_eq!(asked.iter().map(|it| &*it.device).collect::<Vec<_>>(), ["bridge-hall"]);
    hub.answer(&asked[0], Answer::text("ON"));
    assert!(hub.published().iter().any(|it| it.topic == "alice/response/phone/lamp"));
}

#[test]
fn what_came_for_a_child_while_the_hub_was_down_is_carried_out() {
    let mut hub = TestHub::online();
    add(&mut hub, &["bridge-hall"]);
    hub.grant();
    let devices = with(&["bridge-hall"]);
    let mut hub = hub.restarted_with(HubConfig { devices, ..config() }, true);
    assert!(!done(&hub).iter().any(|it| it.starts_with("unsubscribe")), "{:?}", done(&hub));
    hub.receive(Message { expiry: Some(30), ..request_to("bridge-hall", b"1") });
    hub.fence();
    assert_eq!(hub.executed().len(), 1);
}

#[test]
fn a_child_that_is_removed_leaves_nothing_at_the_broker() {
    let mut hub = TestHub::online();
    add(&mut hub, &["bridge-hall", "bridge-porch"]);
    hub.grant();
    hub.take();
    add(&mut hub, &["bridge-porch"]);
    let left = done(&hub);
    assert_eq!(hub.children["bridge"], "bridge-porch");
    for filter in ["alice/cmnd/bridge-hall/+", "alice/state/bridge-hall/status"] {
        assert!(left.contains(&format!("unsubscribe {filter}")), "{left:?}");
    }
    assert!(!left.iter().any(|it| it.starts_with("unsubscribe") && it.contains("porch")));
    // Its retained states are looked for, to be cleared.
    assert!(left.iter().any(|it| it.starts_with("subscribe alice/state/bridge-hall/")), "{left:?}");
    hub.receive(request_to("bridge-hall", b"2"));
    hub.advance(Duration::from_secs(1));
    assert_eq!(hub.executed().len(), 0, "it is nobody's now");
}
