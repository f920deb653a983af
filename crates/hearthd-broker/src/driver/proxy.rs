//! The PROXY protocol, version 2: the client behind a connection from this machine.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Reads the header that starts a connection, and returns the client's address.
///
/// # Errors
/// Where there is no such header, or it tells no address of the Internet.
pub(super) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<IpAddr> {
    let mut start = [0; 16];
    stream.read_exact(&mut start).await?;
    let length = usize::from(u16::from_be_bytes([start[14], start[15]]));
    if start[..12] != SIGNATURE || length > MAX_ADDRESSES {
        return Err(invalid("no header of the PROXY protocol, version 2"));
    }
    let mut addresses = vec![0; length];
    stream.read_exact(&mut addresses).await?;
    match (start[12], start[13] >> 4) {
        (LOCAL, _) => Ok(Ipv4Addr::LOCALHOST.into()),
        (PROXY, INET) => match addresses.first_chunk::<4>() {
            Some(source) => Ok(Ipv4Addr::from(*source).into()),
            None => Err(invalid("a PROXY header without its address")),
        },
        (PROXY, INET6) => match addresses.first_chunk::<16>() {
            Some(source) => Ok(Ipv6Addr::from(*source).into()),
            None => Err(invalid("a PROXY header without its address")),
        },
        _ => Err(invalid("a PROXY header without an address of the Internet")),
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const INET: u8 = 1;
const INET6: u8 = 2;
/// Longest addresses with what may follow them.
const MAX_ADDRESSES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family << 4 | 1]);
        header.extend((addresses.len() as u16).to_be_bytes());
        header.extend(addresses);
        header
    }

    async fn read(bytes: &[u8]) -> Option<IpAddr> {
        read_header(&mut &*bytes).await.ok()
    }

    #[tokio::test]
    async fn the_header_tells_the_clients_address() {
        let v4 = [192, 168, 1, 7, 10, 0, 0, 1, 0, 1, 0, 2];
        let address = Some("192.168.1.7".parse().unwrap());
        assert_eq!(read(&header(PROXY, INET, &v4)).await, address);
        let mut v6 = [0; 36];
        v6[15] = 1;
        assert_eq!(read(&header(PROXY, INET6, &v6)).await, Some("::1".parse().unwrap()));
        assert_eq!(read(&header(LOCAL, 0, &[])).await, Some("127.0.0.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        assert_eq!(read(b"\x10\x0c\0\x04MQTT\x05\0\0\0\0\0\0\0\0\0\0\0").await, None);
        assert_eq!(read(&header(PROXY, INET, &[1, 2])).await, None);
        assert_eq!(read(&header(PROXY, 3, &[0; 216])).await, None);
        assert_eq!(read(&header(PROXY, INET, &[0; 2_000])).await, None);
        assert_eq!(read(&header(0x31, INET, &[0; 12])).await, None);
    }
}
