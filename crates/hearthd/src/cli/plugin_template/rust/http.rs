//! The `my-lamp` plugin of hearthd: a plug in the network with an HTTP interface.
//!
//! It suits a plug that tells `{"ison": true}` at its URL, and is switched by `?turn=on` and `?turn=off`, as many do.

use std::error::Error;
use std::time::Duration;

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Problems, Property, Span};

/// The table `[devices.ID.config]`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the plug tells its state.
    url: String,
    /// The time between two questions how the plug is.
    #[serde(default = "ten_seconds")]
    poll: Span,
}

pub struct Plug {
    config: Config,
    context: Context,
    http: ureq::Agent,
}

/// What the plug tells.
#[derive(serde::Deserialize)]
struct Told {
    ison: bool,
}

/// Named once, so that the compiler finds a typo.
const POWER: &str = "power";
const POLL: u32 = 0;
/// A call that waits for the plug holds up this device alone; keep this below the device's `deadline`, which is 5 s.
const PATIENCE: Duration = Duration::from_secs(3);

impl Device for Plug {
    const KIND: &'static str = "my-lamp";
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        if !config.url.starts_with("http://") {
            problems.add("url", format!("`{}` does not start with http://", config.url));
        }
        if config.poll < Span::seconds(1) {
            problems.add("poll", "is less than a second");
        }
    }

    fn properties(_: &Config) -> Vec<Property> {
        vec![Property::switch(POWER)]
    }

    fn create(config: Config, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        // Without a proxy, since the plug is in the same network.
        let http = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None);
        let mut plug = Self { config, context, http: http.build().into() };
        plug.timer(POLL);
        Ok(plug)
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(on) = changes.switch(POWER) {
            self.ask(if on { "?turn=on" } else { "?turn=off" })?;
        }
        Ok(Answer::Done)
    }

    fn timer(&mut self, _id: u32) {
        // The device's status has the reason, if there is one.
        let _ = self.ask("");
        self.context.set_timer(POLL, self.config.poll.0);
    }
}

impl Plug {
    /// Asks the plug, and publishes what it tells; or reports why there is no answer.
    fn ask(&self, query: &str) -> Result<(), Failure> {
        match self.fetch(query) {
            Ok(told) => {
                self.context.publish(POWER, told.ison);
                self.context.reachable();
                Ok(())
            }
            Err(error) => {
                self.context.unreachable(error.to_string());
                Err(Failure::unreachable(error.to_string()))
            }
        }
    }

    fn fetch(&self, query: &str) -> Result<Told, Box<dyn Error>> {
        let url = format!("{}{query}", self.config.url);
        let text = self.http.get(url).call()?.body_mut().read_to_string()?;
        Ok(serde_json::from_str(&text)?)
    }
}

fn ten_seconds() -> Span {
    Span::seconds(10)
}

hearthd_sdk::export!(Plug);

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use hearthd_sdk::FailureKind;
    use hearthd_sdk::harness::{Reply, TestDevice};
    use serde_json::json;

    use super::Plug;

    /// Plays a plug on a thread, and returns its URL. After `?turn=off` it answers nothing more.
    fn fake_plug() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/relay/0", listener.local_addr().unwrap());
        thread::spawn(move || {
            let mut on = false;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let request = lines.next().unwrap();
                lines.find(|line| line.is_empty());
                if request.contains("turn=off") {
                    return;
                }
                on |= request.contains("turn=on");
                write!(stream, "HTTP/1.0 200 OK\r\n\r\n{}", json!({"ison": on})).unwrap();
            }
        });
        url
    }

    #[test]
    fn it_switches_the_plug_and_tells_what_the_plug_tells() {
        let mut device = TestDevice::<Plug>::new(json!({"url": fake_plug(), "poll": "10s"}));
        assert_eq!(device.published("power").as_deref(), Some("OFF"));
        assert!(device.set("power", "ON").is_done());
        device.advance(Duration::from_secs(10));
        let told: Vec<_> = device.take_published().into_iter().map(|(_, power)| power).collect();
        assert_eq!(told, ["OFF", "ON", "ON"]);
    }

    #[test]
    fn a_plug_that_has_gone_is_unreachable() {
        let mut device = TestDevice::<Plug>::new(json!({"url": fake_plug()}));
        assert_eq!(device.unreachable(), None);
        let Reply::Failed(failure) = device.set("power", "OFF") else { panic!("it has answered") };
        assert_eq!(failure.kind(), FailureKind::Unreachable);
        device.advance(Duration::from_secs(10));
        assert!(device.unreachable().is_some());
    }

    #[test]
    fn a_plug_that_says_nothing_for_three_seconds_is_unreachable() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let device = TestDevice::<Plug>::new(json!({"url": url}));
        assert!(device.unreachable().unwrap().contains("timeout"));
    }

    #[test]
    fn a_wrong_table_is_refused() {
        for (table, path) in [
            (json!({"url": "https://plug"}), "url"),
            (json!({"url": "http://plug", "poll": 0}), "poll"),
            (json!({"url": "http://plug", "pol": 60}), "pol"),
        ] {
            assert_eq!(TestDevice::<Plug>::problems(&table)[0].path, path);
        }
    }
}
