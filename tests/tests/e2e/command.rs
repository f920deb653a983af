//! Programs behind properties, in the daemon.

use hearthd_tests::Result;

use crate::home::{Home, Setup};

#[tokio::test]
async fn a_program_answers_with_its_state_or_with_what_went_wrong() -> Result<()> {
    let mut home = Home::prepare(Setup::Mosquitto, |config| {
        config.plugins = &["light", "thermostat", "command"];
        config.devices += r#"
[devices.desk]
plugin = "command"
[devices.desk.config.properties.height]
type = "integer"
min = 60
max = 130
unit = "cm"
set = { run = ["sh", "-c", "echo \"now at $0 cm\"", "{value}"], state = "output" }
read = { after = "now at ", before = " cm" }
[devices.desk.config.properties.lock]
type = "switch"
set = { run = ["sh", "-c", "echo 'the motor is hot' >&2; exit 1"] }
"#;
    })
    .await?;
    home.daemon.start(&mut home.phone).await?;
    let raised = home.answer("desk/height", "110").await?;
    assert_eq!((raised.status(), raised.text().as_str()), (Some(200), "110"));
    let locked = home.answer("desk/lock", "ON").await?;
    assert_eq!(locked.status(), Some(500), "{}", locked.text());
    let message = locked.property("__stMsg").unwrap_or_default();
    assert!(message.contains("the motor is hot"), "{message}");
    Ok(())
}
