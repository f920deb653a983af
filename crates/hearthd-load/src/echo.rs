//! The floor of a broker: a responder that does nothing but turn a message round.

use std::io;

use crate::{
    EchoOptions, announce_ready,
    connection::Connection,
    packet::{self, Packet, Publish},
};

/// Echoes until the broker goes.
pub(crate) async fn echo(options: &EchoOptions) -> io::Result<()> {
    let client_id = if options.keep_session { "echo-kept" } else { "echo-socket" };
    let mut connection =
        Connection::open(&options.access, client_id, &options.filter, options.keep_session).await?;
    announce_ready();
    let mut next_id = 0;
    loop {
        connection.take(|packet, out| turn_round(packet, out, &mut next_id)).await?;
        connection.flush().await?;
    }
}

fn turn_round(packet: Packet<'_>, out: &mut Vec<u8>, next_id: &mut u16) -> io::Result<()> {
    let Packet::Publish(request) = packet else { return Ok(()) };
    let Some(topic) = request.response_topic else { return Ok(()) };
    let packet_id = request.packet_id.map(|_| {
        *next_id = next_id.checked_add(1).unwrap_or(1);
        *next_id
    });
    let answer = Publish {
        topic,
        packet_id,
        correlation_data: request.correlation_data,
        payload: request.payload,
        ..Publish::default()
    };
    packet::write_publish(out, &answer);
    if let Some(id) = request.packet_id {
        packet::write_puback(out, id);
    }
    Ok(())
}
