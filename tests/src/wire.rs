//! MQTT packets as bytes, for what stands between a client and a broker.

use std::io::{Error, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads one packet, whatever it is.
pub(crate) async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut packet = vec![stream.read_u8().await?];
    while packet.len() == 1 || packet.last().is_some_and(|byte| byte & 0x80 != 0) {
        packet.push(stream.read_u8().await?);
    }
    let bad = || Error::from(ErrorKind::InvalidData);
    let (remaining, header) = length(&packet[1..]).ok_or_else(bad)?;
    packet.resize(1 + header + remaining, 0);
    stream.read_exact(&mut packet[1 + header..]).await?;
    Ok(packet)
}

/// Reads a Variable Byte Integer (MQTT 1.5.5): its value and how many bytes it takes.
pub(crate) fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Writes a Variable Byte Integer.
pub(crate) fn push_length(packet: &mut Vec<u8>, mut value: usize) {
    loop {
        let digit = (value & 0x7F) as u8;
        value >>= 7;
        packet.push(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return;
        }
    }
}
