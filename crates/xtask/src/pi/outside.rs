//! The machine seen and touched from outside, through the emulator's monitor: pins, PWM registers, the thermometer.

use std::path::Path;
use std::time::Duration;

use hearthd_tests::{Doing, Failure, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// A connection to the emulator's monitor.
#[derive(Debug)]
pub(crate) struct Outside {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// What a pin of the Pi does, as its registers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    /// Nobody drives it: what is wired to it decides.
    Released,
    Low,
    High,
    /// Another part of the chip drives it: PWM, I2C and the like.
    Function(u32),
}

/// What a PWM channel of the Pi does, as its registers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PwmChannel {
    pub(crate) enabled: bool,
    pub(crate) inversed: bool,
    /// In ticks of the PWM clock.
    pub(crate) range: u32,
    /// How many ticks of the range are on.
    pub(crate) data: u32,
}

impl Outside {
    /// Connects to the monitor.
    pub(crate) async fn connect(socket: &Path) -> Result<Self> {
        let (read, write) = UnixStream::connect(socket).await.doing("the monitor")?.into_split();
        let mut outside = Self { read: BufReader::new(read), write };
        let _greeting = outside.line().await?;
        outside.execute("qmp_capabilities", json!({})).await?;
        Ok(outside)
    }

    /// Sets the room's temperature, which the sensor measures anew at each reading.
    pub(crate) async fn set_room(&mut self, celsius: f64) -> Result<()> {
        #[expect(clippy::cast_possible_truncation, reason = "a room's temperature")]
        let milli = (celsius * 1000.0).round() as i64;
        let place = format!("/machine/peripheral/{ROOM}");
        let set = json!({"path": place, "property": "temperature", "value": milli});
        self.execute("qom-set", set).await.map(drop)
    }

    /// Reads what a GPIO line does.
    pub(crate) async fn pin(&mut self, line: u32) -> Result<Pin> {
        let select = self.word(GPIO + line / 10 * 4).await?;
        let function = select >> (line % 10 * 3) & 7;
        let level = self.word(GPIO + 0x34 + line / 32 * 4).await? >> (line % 32) & 1;
        Ok(match (function, level) {
            (0, _) => Pin::Released,
            (1, 0) => Pin::Low,
            (1, _) => Pin::High,
            (other, _) => Pin::Function(other),
        })
    }

    /// Reads what a PWM channel does.
    pub(crate) async fn pwm(&mut self, channel: u32) -> Result<PwmChannel> {
        let control = self.word(PWM).await? >> (channel * 8);
        let range = self.word(PWM + 0x10 + channel * 0x10).await?;
        let data = self.word(PWM + 0x14 + channel * 0x10).await?;
        Ok(PwmChannel { enabled: control & 1 != 0, inversed: control & 1 << 4 != 0, range, data })
    }

    /// Reads a register.
    async fn word(&mut self, address: u32) -> Result<u32> {
        let command = format!("xp /1wx {address:#x}");
        let said = self.execute("human-monitor-command", json!({"command-line": command})).await?;
        let said = said.as_str().unwrap_or_default();
        let digits = said.rsplit("0x").next().unwrap_or_default().trim();
        u32::from_str_radix(digits, 16).doing(format!("{command}: {said}"))
    }

    async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut line = json!({"execute": command, "arguments": arguments}).to_string();
        line.push('\n');
        self.write.write_all(line.as_bytes()).await.doing("the monitor")?;
        loop {
            let mut said: Value = serde_json::from_str(&self.line().await?)?;
            if let Some(value) = said.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = said.get("error") {
                return Err(Failure(format!("{command}: {error}")));
            }
            // Anything else is an event that nobody asked for.
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = timeout(ANSWER, self.read.read_line(&mut line)).await;
        match read.doing("the monitor is silent")?.doing("the monitor")? {
            0 => Err(Failure::new("the emulator has ended")),
            _ => Ok(line),
        }
    }
}

/// The emulator answers at once, unless the machine beneath it stands still.
const ANSWER: Duration = Duration::from_secs(30);

/// The ID of the thermometer in the emulator.
pub(crate) const ROOM: &str = "room";
/// Where the BCM2837 has its GPIO registers.
const GPIO: u32 = 0x3f20_0000;
/// Where it has those of PWM; the emulator keeps what is written there.
const PWM: u32 = 0x3f20_c000;
