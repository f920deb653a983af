//! A device with a property of every type and access.

use hearthd_tests::Result;
use serde_json::{Value, json};

use crate::assistant::Assistant;

/// Every entity has its ID, name, device, area, state, device class and unit.
pub(crate) async fn shown(home: &Assistant) -> Result<()> {
    for (entity, name, state, device_class, unit) in ENTITIES {
        home.until(&format!("{{{{ states('{entity}') }}}}"), state).await?;
        let attribute = |key: &str| format!("{{{{ state_attr('{entity}', '{key}') }}}}");
        home.until(&attribute("friendly_name"), &format!("Cellar pump {name}")).await?;
        home.until(&attribute("device_class"), device_class).await?;
        home.until(&attribute("unit_of_measurement"), unit).await?;
        home.until(&format!("{{{{ device_attr('{entity}', 'name') }}}}"), "Cellar pump").await?;
        home.until(&format!("{{{{ area_name('{entity}') }}}}"), "Cellar").await?;
    }
    for (template, expected) in [
        ("{{ state_attr('number.pump_limit', 'min') }}", "0.5"),
        ("{{ state_attr('number.pump_limit', 'max') }}", "8.5"),
        ("{{ state_attr('number.pump_limit', 'step') }}", "0.5"),
        ("{{ state_attr('number.pump_speed', 'max') }}", "5.0"),
        ("{{ state_attr('select.pump_program', 'options') | join(' ') }}", "eco turbo"),
        ("{{ state_attr('sensor.pump_phase', 'options') | join(' ') }}", "filling draining"),
        ("{{ state_attr('sensor.pump_energy', 'state_class') }}", "total_increasing"),
        ("{{ state_attr('event.pump_remote', 'event_types') | join(' ') }}", "press double"),
        // These are disabled at first: nobody can use them without thinking.
        ("{{ states.text.pump_say is none and states.text.pump_plan is none }}", "True"),
        ("{{ states.sensor.pump_details is none }}", "True"),
    ] {
        home.until(template, expected).await?;
    }
    Ok(())
}

/// Every entity that takes commands has them done.
pub(crate) async fn obeys(home: &Assistant) -> Result<()> {
    let commands: [(&str, &str, &str, Value, &str, &str); 8] = [
        ("switch", "turn_on", "pump", json!({}), "states('switch.pump_pump')", "on"),
        ("number", "set_value", "speed", json!({ "value": 3 }), "states('number.pump_speed')", "3"),
        (
            "number",
            "set_value",
            "limit",
            json!({ "value": 4.5 }),
            "states('number.pump_limit')",
            "4.5",
        ),
        (
            "select",
            "select_option",
            "program",
            json!({ "option": "turbo" }),
            "states('select.pump_program')",
            "turbo",
        ),
        (
            "text",
            "set_value",
            "label",
            json!({ "value": "attic" }),
            "states('text.pump_label')",
            "attic",
        ),
        ("button", "press", "flush", json!({}), "states('sensor.pump_phase')", "draining"),
        ("button", "press", "rinse", json!({}), "states('sensor.pump_phase')", "filling"),
        (
            "select",
            "select_option",
            "beep",
            json!({ "option": "long" }),
            "state_attr('event.pump_remote', 'event_type')",
            "double",
        ),
    ];
    for (domain, service, property, mut data, shown, expected) in commands {
        data["entity_id"] = format!("{domain}.pump_{property}").into();
        home.call(domain, service, data).await?;
        home.until(&format!("{{{{ {shown} }}}}"), expected).await?;
    }
    Ok(())
}

/// Entity ID, name beside the device's, state, device class, unit.
const ENTITIES: [(&str, &str, &str, &str, &str); 20] = [
    ("switch.pump_pump", "Circulation pump", "off", "None", "None"),
    ("binary_sensor.pump_leak", "Leak", "on", "None", "None"),
    ("button.pump_flush", "Flush", "unknown", "None", "None"),
    ("number.pump_speed", "Speed", "1", "None", "None"),
    ("sensor.pump_starts", "Starts", "17", "None", "None"),
    ("number.pump_limit", "Limit", "2.5", "pressure", "bar"),
    ("sensor.pump_flow_temperature", "Flow temperature", "41.5", "temperature", "°C"),
    ("sensor.pump_energy", "Energy", "12.25", "energy", "kWh"),
    ("sensor.pump_humidity", "Humidity", "55", "humidity", "%"),
    ("select.pump_program", "Program", "eco", "None", "None"),
    ("sensor.pump_phase", "Phase", "filling", "enum", "None"),
    ("binary_sensor.pump_door", "Door", "on", "door", "None"),
    ("button.pump_rinse", "Rinse", "unknown", "None", "None"),
    ("select.pump_beep", "Beep", "unknown", "None", "None"),
    ("text.pump_label", "Label", "cellar", "None", "None"),
    ("sensor.pump_serial", "Serial", "A-1", "None", "None"),
    ("sensor.pump_alert", "Alert", "none", "None", "None"),
    ("binary_sensor.pump_alert_problem", "Alert", "off", "problem", "None"),
    ("event.pump_bell", "Bell", "unknown", "doorbell", "None"),
    ("event.pump_remote", "Remote", "unknown", "button", "None"),
];

pub(crate) const DEVICE: &str = r#"
[devices.pump]
plugin = "gamut"
name = "Cellar pump"
room = "Cellar"
"#;
