use super::*;

fn declare(declaration: &str) -> Declaration {
    Declaration::parse("property", declaration.as_bytes()).unwrap()
}

fn read(declaration: &Declaration, payload: &str) -> Result<String, u16> {
    declaration
        .read(payload.as_bytes(), None, Some("ON"))
        .map(|value| value.as_text().to_owned())
        .map_err(|rejection| code(rejection.fault))
}

/// The status that the hub answers with.
fn code(fault: Fault) -> u16 {
    match fault {
        Fault::Unreadable => 400,
        Fault::Unknown => 404,
        Fault::ContentType => 415,
        Fault::NotAcceptable => 422,
    }
}

#[test]
fn the_declarations_of_a_device_that_is_added_are_read_together() {
    let read = |json: &str| Declaration::parse_all(json).map(|all| all.len());
    assert_eq!(read(r#"{"power": {"type": "switch"}, "level": {"type": "integer"}}"#), Ok(2));
    assert_eq!(read("{}"), Ok(0));
    assert!(read("[]").unwrap_err().starts_with("no JSON object: "));
    let taken = "`status` is taken: the hub says there how the device is";
    assert_eq!(read(r#"{"status": {"type": "text"}}"#), Err(taken.into()));
    assert!(read(r#"{"power": {"type": "lamp"}}"#).unwrap_err().contains("`power`"));
}

#[test]
fn an_event_has_kinds_and_no_state() {
    let bell = declare(r#"{"type": "event", "values": ["press", "double"], "title": "Bell"}"#);
    assert!(bell.has_event("double") && !bell.has_event("triple"));
    assert!(!bell.retained && bell.not_readable().is_some());
    let described =
        serde_json::json!({"type": "event", "values": ["press", "double"], "title": "Bell"});
    assert_eq!(bell.describe(), described);
    assert_eq!(bell.read(b"press", None, None).unwrap_err().fault, Fault::NotAcceptable);
    assert_eq!(bell.read_json(&"press".into(), None).unwrap_err().fault, Fault::NotAcceptable);
    assert!(bell.read_state("press").is_err());
    for wrong in [
        r#"{"type": "event"}"#,
        r#"{"type": "event", "values": ["failed"]}"#,
        r#"{"type": "event", "values": ["Press"]}"#,
        r#"{"type": "event", "values": [""]}"#,
        r#"{"type": "event", "values": ["press"], "access": "rw"}"#,
        r#"{"type": "event", "values": ["press"], "retained": true}"#,
    ] {
        assert!(Declaration::parse("bell", wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn a_switch_takes_the_words_that_people_use() {
    let power = declare(r#"{"type":"switch"}"#);
    for (payload, value) in
        [("ON", "ON"), ("off", "OFF"), ("true", "ON"), ("0", "OFF"), ("toggle", "OFF")]
    {
        assert_eq!(read(&power, payload), Ok(value.into()), "{payload}");
    }
    assert_eq!(read(&power, "banana"), Err(400));
    let bell = declare(r#"{"type":"switch","access":"w"}"#);
    assert_eq!((read(&bell, "ON"), read(&bell, "TOGGLE")), (Ok("ON".into()), Err(400)));
}

#[test]
fn a_number_keeps_to_its_range_and_steps() {
    let target = declare(r#"{"type":"number","min":5,"max":30,"step":0.5,"unit":"°C"}"#);
    assert_eq!(read(&target, "21.5"), Ok("21.5".into()));
    assert_eq!(read(&target, " 21.0 "), Ok("21".into()));
    assert_eq!(read(&target, "29.7"), Err(422));
    assert_eq!(read(&target, "31"), Err(422));
    for unreadable in ["warm", "NaN", "inf", ""] {
        assert_eq!(read(&target, unreadable), Err(400), "{unreadable}");
    }
    let rejection = target.read(b"29.7", None, None).unwrap_err();
    assert_eq!(
        rejection.message,
        "`29.7` is not acceptable: `property` takes a number from 5 to 30 in steps of 0.5 °C"
    );
}

/// Each as plain text, as JSON text and, where it is one, as a JSON number or truth value.
#[test]
fn the_table_of_values_holds_in_every_form() {
    for row in include_str!("../tests/values.txt").lines().filter(|row| !row.starts_with('#')) {
        let [declaration, written, value] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("three columns, not {row}");
        };
        let declaration = declare(match declaration {
            "switch" => r#"{"type":"switch"}"#,
            "integer" => r#"{"type":"integer","min":-1000,"max":1000}"#,
            "even" => r#"{"type":"integer","min":0,"max":100,"step":2}"#,
            "long" => r#"{"type":"integer"}"#,
            "number" => r#"{"type":"number","min":5,"max":30,"step":0.5}"#,
            "fine" => r#"{"type":"number","min":0,"max":1,"step":0.1}"#,
            "choice" => r#"{"type":"enum","values":["off","heat","2"]}"#,
            "text" => r#"{"type":"text"}"#,
            other => panic!("no declaration `{other}`"),
        });
        let is_taken = |form: &str, read: Result<Value, Rejection>| {
            let read = read.map(|value| value.as_text().to_owned());
            let read = read.unwrap_or_else(|_| "refused".into());
            assert_eq!(read, value, "{row} as {form}");
        };
        let current = Some("ON");
        is_taken("plain text", declaration.read(written.as_bytes(), None, current));
        is_taken("JSON text", declaration.read_json(&json!(written), current));
        let literal: Option<Json> = serde_json::from_str(written).ok();
        if let Some(literal) = literal.filter(|_| declaration.values != Values::Text) {
            is_taken("JSON", declaration.read_json(&literal, current));
        }
        if written.eq_ignore_ascii_case("TOGGLE") && declaration.values == Values::Switch {
            assert!(declaration.read_state(written).is_err(), "no state");
        } else {
            is_taken("a state", declaration.read_state(written));
        }
    }
}

#[test]
fn a_refusal_shows_what_is_invisible() {
    let level = declare(r#"{"type":"integer","min":0,"max":100,"unit":"%"}"#);
    let refusal = |payload: &str| level.read(payload.as_bytes(), None, None).unwrap_err().message;
    let expectation = "cannot be read: `property` takes a whole number from 0 to 100 %";
    for (payload, shown) in [
        ("\u{feff}50", "\\u{feff}50"),
        ("5\u{200b}0", "5\\u{200b}0"),
        ("5\n0", "5\\n0"),
        ("50.5", "50.5"),
        ("it's \"fünfzig\"", "it's \"fünfzig\""),
    ] {
        assert_eq!(refusal(payload), format!("`{shown}` {expectation}"));
    }
    assert_eq!(refusal(&"x".repeat(61)), format!("`{}...` {expectation}", "x".repeat(60)));
}

#[test]
fn a_fine_step_leaves_no_binary_noise() {
    let fine = declare(r#"{"type":"number","min":0,"max":1,"step":0.1}"#);
    assert_eq!(read(&fine, "0.30000000000000004"), Ok("0.3".into()));
}

#[test]
fn content_types_decide_how_a_payload_is_read() {
    let level = declare(r#"{"type":"integer","min":0,"max":100}"#);
    let read = |payload: &[u8], content_type| {
        level.read(payload, content_type, None).map_err(|rejection| code(rejection.fault))
    };
    assert_eq!(read(b"42", Some("text/plain; charset=utf-8")).unwrap().as_text(), "42");
    assert_eq!(read(b"42", Some("application/json")).unwrap().as_json(), &json!(42));
    assert_eq!(read(b"4.2", Some("application/json")), Err(400));
    assert_eq!(read(b"{", Some("application/json")), Err(400));
    assert_eq!(read(b"42", Some("image/png")), Err(415));
    assert_eq!(read(b"\xff", None), Err(400));
}

#[test]
fn a_read_only_property_is_not_written() {
    let action = declare(r#"{"type":"enum","values":["off","idle"],"access":"r"}"#);
    assert_eq!(read(&action, "idle"), Err(422));
    assert_eq!(action.read_state("idle").unwrap().as_text(), "idle");
}

#[test]
fn a_wrong_declaration_is_refused() {
    let refused = |name: &str, text: &str| Declaration::parse(name, text.as_bytes()).is_err();
    assert!(refused("set", r#"{"type":"switch"}"#));
    assert!(refused("Power", r#"{"type":"switch"}"#));
    assert!(refused("power", r#"{"type":"lever"}"#));
    assert!(refused("power", r#"{"type":"switch","colour":"red"}"#));
    assert!(refused("power", r#"{"type":"integer","min":2,"max":1}"#));
    assert!(refused("power", r#"{"type":"number","step":0}"#));
    assert!(refused("power", r#"{"type":"enum"}"#));
}
