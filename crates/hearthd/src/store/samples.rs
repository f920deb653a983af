//! What earlier versions have stored: `tests/samples` says how each file was made.

use hearthd_core::{
    Acknowledgement, KnownPrefix, Outcome, Published, RequestKey, Status, topic::Prefix,
};
use serde_json::json;

use super::*;

/// Opens a copy of the file that a version has left.
fn sample(version: &str) -> Contents {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/samples");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(samples.join(version).join(FILE), folder.path().join(FILE)).unwrap();
    let (store, contents) = Store::open(folder.path(), |_| true, |_| {}).unwrap();
    store.close();
    for aside in ["state.corrupt", "state.newer"] {
        assert!(!folder.path().join(aside).exists(), "it was put aside");
    }
    contents
}

#[test]
fn the_memory_of_0_1_0_is_read() {
    let memory = sample("0.1.0").kept.memory;
    let prefix = Prefix::parse("alice").unwrap();
    assert_eq!(memory.prefix, Some(KnownPrefix { prefix: Some(prefix.clone()) }));
    assert_eq!(memory.broker.as_deref(), Some("127.0.0.1:40547"));
    let [consumed, clean] = &memory.decided[..] else { panic!("{:?}", memory.decided) };
    assert_eq!(consumed.generation.to_string(), "f74351f5d1bc7513a986dab41dfdb7b8");
    assert_eq!((consumed.outcome, consumed.clean), (Outcome::Consumed, false));
    assert_eq!(consumed.connected_at, "2026-11-28T15:24:36Z");
    assert_eq!(consumed.decided_at, "2026-11-28T15:24:37Z");
    let [Acknowledgement { responder, payload, status, before_fence, .. }] =
        &consumed.acknowledgements[..]
    else {
        panic!("{consumed:?}")
    };
    assert_eq!((responder.as_deref(), payload.as_str()), (Some("guardian"), "boiler off"));
    assert_eq!((*status, *before_fence), (Some(200), true));
    assert_eq!(clean.generation.to_string(), "91301de68f8c14203f04a7dc610cfe0e");
    assert_eq!((clean.outcome, clean.clean), (Outcome::NotPublished, true));
    let [open] = &memory.open[..] else { panic!("{:?}", memory.open) };
    assert_eq!(open.generation.to_string(), "dc09deed1069665f0f74a9ecf6c28a19");
    assert_eq!(open.prefix, Some(prefix));
    assert_eq!(open.connected_at, "2026-11-28T15:24:37Z");
    assert!(open.connected && open.subscribed && !open.clean && !open.seen, "{open:?}");
    let guarded = &memory.guarded["alice/hub/hearthd-attic/presence light-in-bedroom/power"];
    assert_eq!(guarded[..], [b"sample will of a".to_vec()]);
}

#[test]
fn the_journal_and_the_device_states_of_0_1_0_are_read() {
    check_journal("0.1.0");
    check_devices("0.1.0");
}

/// All samples are made by the same requests.
#[track_caller]
fn check_journal(version: &str) {
    let journal = sample(version).kept.journal;
    let read: Vec<_> = journal
        .iter()
        .map(|record| {
            let name = match &record.key {
                RequestKey::Correlated { correlation_data, .. }
                | RequestKey::Guard { correlation_data, .. } => correlation_data,
                RequestKey::Packet(id) => panic!("{id}"),
            };
            let answer = record.answer.as_ref();
            let answer = answer.map(|answer| (answer.status, text(&answer.payload)));
            (text(name), format!("{}/{}", record.device, record.property), answer)
        })
        .collect();
    let light = || "light-in-bedroom/power".to_owned();
    let setting = r#"{"mode":"heat","target_temperature":21.5}"#;
    let target = "living-room/target_temperature".into();
    let expected = [
        ("sample on", light(), Some((Status::Ok, "ON"))),
        ("sample toggle", light(), Some((Status::Ok, "OFF"))),
        ("sample set", "living-room/set".into(), Some((Status::Ok, setting))),
        ("sample refusal", target, Some((Status::Unprocessable, ""))),
        ("sample will of a", light(), Some((Status::Ok, "OFF"))),
        ("sample intent", "ledger/line".into(), None),
    ];
    assert_eq!(read, expected);
    for (index, record) in journal.iter().enumerate() {
        let is_guard = matches!(record.key, RequestKey::Guard { .. });
        assert_eq!(is_guard, index == 4, "{record:?}");
        let topic = if is_guard {
            "alice/response/hearthd-attic/will"
        } else {
            "alice/response/phone/sample"
        };
        assert_eq!(record.reply.response_topic.as_deref(), Some(topic), "{record:?}");
        assert_eq!(record.reply.expires.is_some(), index == 0, "{record:?}");
        assert_eq!(record.delivered, record.answer.is_some(), "{record:?}");
    }
    let refusal = journal[3].answer.as_ref().unwrap();
    assert_eq!(refusal.property.as_deref(), Some("target_temperature"));
    assert_eq!(refusal.value.as_deref(), Some("99"));
}

#[track_caller]
fn check_devices(version: &str) {
    let devices = sample(version).devices;
    let state = |id: &str| serde_json::from_slice::<serde_json::Value>(&devices[id]).unwrap();
    assert_eq!(devices.keys().collect::<Vec<_>>(), ["light-in-bedroom", "living-room"]);
    let light = state("light-in-bedroom");
    assert_eq!((&light["on"], &light["brightness"]), (&json!(false), &json!(100)));
    let thermostat = state("living-room");
    assert_eq!((&thermostat["target"], &thermostat["mode"]), (&json!(21.5), &json!("heat")));
}

#[test]
fn the_memory_of_format_1_is_read() {
    let memory = sample(FORMAT_1).kept.memory;
    let prefix = Prefix::parse("alice").unwrap();
    assert_eq!(memory.prefix, Some(KnownPrefix { prefix: Some(prefix.clone()) }));
    assert_eq!(memory.broker.as_deref(), Some("127.0.0.1:36599"));
    let [consumed, clean] = &memory.decided[..] else { panic!("{:?}", memory.decided) };
    assert_eq!(consumed.generation.to_string(), "y2zfmzsy2xfgfrte");
    assert_eq!((consumed.outcome, consumed.published), (Outcome::Consumed, Published::Yes));
    assert_eq!(consumed.decided_at, "2026-11-28T17:12:43Z");
    let [acknowledgement] = &consumed.acknowledgements[..] else { panic!("{consumed:?}") };
    assert_eq!(acknowledgement.responder.as_deref(), Some("guardian"));
    assert_eq!((acknowledgement.status, acknowledgement.before_fence), (Some(200), true));
    assert_eq!((clean.outcome, clean.clean), (Outcome::NotPublished, true));
    let [open] = &memory.open[..] else { panic!("{:?}", memory.open) };
    assert_eq!(open.generation.to_string(), "fznxxzxyxwyxt3vj");
    assert!(open.connected && open.subscribed && !open.clean && !open.seen, "{open:?}");
    let guarded = &memory.guarded["alice/hub/hearthd-attic/presence light-in-bedroom/power"];
    assert_eq!(guarded[..], [b"sample will of a".to_vec()]);
}

#[test]
fn what_was_published_of_devices_is_read_from_format_1() {
    let served = sample(FORMAT_1).kept.served;
    let devices: Vec<_> = served.iter().map(|served| &*served.device).collect();
    assert_eq!(devices, ["ledger", "light-in-bedroom", "living-room"]);
    let light: Vec<_> = served[1].properties.iter().map(|name| &**name).collect();
    assert_eq!(light, ["brightness", "power", "status", "transition"]);
}

#[test]
fn the_journal_and_the_device_states_of_format_1_are_read() {
    check_journal(FORMAT_1);
    check_devices(FORMAT_1);
    let journal = sample(FORMAT_1).kept.journal;
    assert!(journal[..5].iter().all(|record| record.answered_at.is_some()), "{journal:?}");
    assert_eq!(journal[2].names, ["mode", "target_temperature"].map(Into::into));
}

const FORMAT_1: &str = "format-1";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
