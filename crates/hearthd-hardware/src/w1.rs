//! The scratchpad of a DS18B20, as the kernel's `w1_slave` file shows it.

/// Reads °C from the text of `w1_slave`, or says why it cannot be believed.
///
/// A bus without a sensor reads zeros, whose check sum is right; a sensor that has just got power reads 85 °C.
pub(crate) fn celsius(text: &str) -> Result<f64, String> {
    let mut lines = text.lines();
    let first = lines.next().ok_or("empty")?;
    let bytes: Vec<u8> = first
        .split_whitespace()
        .map_while(|word| u8::from_str_radix(word, 16).ok().filter(|_| word.len() == 2))
        .collect();
    let bytes: [u8; 9] =
        bytes.try_into().map_err(|_| "cut short: a scratchpad has 9 bytes".to_owned())?;
    if !first.ends_with("YES") || crc(&bytes[..8]) != bytes[8] {
        return Err("the check sum is wrong: a bad cable, or no pull-up resistor".into());
    }
    if bytes == [0; 9] {
        return Err("all zero: the bus is short or the sensor is gone".into());
    }
    // The bytes mean different things in each model of the family; the kernel knows them all.
    let (_, milli) = lines.next().and_then(|line| line.rsplit_once("t=")).ok_or("cut short")?;
    let milli: f64 = milli.trim().parse().map_err(|_| format!("`t={milli}` is not a number"))?;
    let celsius = milli / 1000.0;
    if is_power_on(celsius) { Err(POWER_ON.into()) } else { Ok(celsius) }
}

pub(crate) const POWER_ON: &str = "85 °C: the sensor has just got power and has not measured yet";

/// Returns whether a temperature is what a sensor holds before its first measurement.
pub(crate) fn is_power_on(celsius: f64) -> bool {
    (celsius - 85.0).abs() < 0.001
}

/// The Dallas/Maxim CRC-8.
fn crc(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x8C } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn w1_slave(bytes: [u8; 8], yes: &str, milli: i32) -> String {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (hex, crc) = (hex.join(" "), crc(&bytes));
        format!("{hex} {crc:02x} : crc={crc:02x} {yes}\n{hex} {crc:02x} t={milli}\n")
    }

    const ROOM: [u8; 8] = [0x72, 0x01, 0x4b, 0x46, 0x7f, 0xff, 0x0e, 0x10];

    #[test]
    fn a_real_scratchpad_is_read() {
        let text = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n";
        assert_eq!(celsius(text), Ok(23.125));
        assert_eq!(w1_slave(ROOM, "YES", 23125), text);
        let frost = [0x5e, 0xff, 0x4b, 0x46, 0x7f, 0xff, 0x02, 0x10];
        assert_eq!(celsius(&w1_slave(frost, "YES", -10_125)), Ok(-10.125));
    }

    #[test]
    fn a_wrong_check_sum_is_refused() {
        assert!(celsius(&w1_slave(ROOM, "NO", 23125)).unwrap_err().contains("check sum"));
        let text = w1_slave(ROOM, "YES", 23125).replace("57 : crc=57 YES", "58 : crc=58 YES");
        assert!(celsius(&text).unwrap_err().contains("check sum"));
    }

    #[test]
    fn zeros_and_the_value_at_power_on_are_refused() {
        assert!(celsius(&w1_slave([0; 8], "YES", 0)).unwrap_err().contains("all zero"));
        let power_on = [0x50, 0x05, 0x4b, 0x46, 0x7f, 0xff, 0x0c, 0x10];
        assert_eq!(celsius(&w1_slave(power_on, "YES", 85_000)), Err(POWER_ON.into()));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        for text in ["", "\n", "72 01", "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n"] {
            assert!(celsius(text).is_err(), "{text:?}");
        }
    }
}
