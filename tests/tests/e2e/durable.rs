//! What an answer has said is so, whatever happens to the hub the moment after.

use hearthd_tests::Result;

use crate::home::{Home, Setup};

#[tokio::test]
async fn a_device_is_as_it_answered_though_the_hub_was_killed_at_once() -> Result<()> {
    let mut home = Home::start_with(Setup::Bundled, |config| config.devices += APART).await?;
    for round in 0..20 {
        let (what, values) = ASKED[round % ASKED.len()];
        let value = values[round / ASKED.len() % 2];
        let mut request = home.ask(what, value);
        request.at_least_once = round % 2 == 0;
        let answer = home.phone.request(request).await?;
        home.daemon.kill9()?;
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), value), "{what}");
        home.daemon.start(&mut home.phone).await?;
        let state = home.answer(what, "").await?;
        assert_eq!(state.text(), value, "round {round}: {what} after the restart");
    }
    Ok(())
}

/// Each is another value than the one before.
const ASKED: [(&str, [&str; 2]); 3] = [
    ("light-in-bedroom/power", ["ON", "OFF"]),
    ("apart/power", ["ON", "OFF"]),
    ("living-room/mode", ["heat", "off"]),
];

/// A light in a process of its own.
const APART: &str = r#"
[devices.apart]
plugin = "light"
isolation = "process"
[devices.apart.config]
backend = "simulated"
"#;
