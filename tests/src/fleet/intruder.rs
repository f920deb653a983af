//! One home's account that tries to get at another home, at each node.

use std::sync::Arc;

use super::{
    cluster::access,
    home::{DEVICE, HUB, Home, LINE},
};
use crate::{Client, Failure, Message, Result};

/// Tries all that must be refused, and returns how many attempts that were.
pub(super) async fn try_everything(homes: &[Arc<Home>], ports: [u16; 2]) -> Result<usize> {
    let (Some(own), Some(other)) = (homes.first(), homes.last()) else { return Ok(0) };
    let mut attempts = 0;
    for port in ports {
        let mut intruder = Client::connect(&access(port, &own.name), "intruder").await?;
        if intruder.response_information() != Some(&own.name) {
            return Err(Failure::new("the prefix is not the account's own"));
        }
        for filter in ["#", "+/cmnd/#", "+/response/#", &other.topic("#")] {
            refused(filter, intruder.subscribe(filter).await)?;
            attempts += 1;
        }
        let theirs = other.topic(&format!("cmnd/{DEVICE}/{LINE}"));
        let ours = own.topic(&format!("cmnd/{DEVICE}/{LINE}"));
        let request =
            |topic, response| Message::new(topic, INTRUSION).respond_to(response, INTRUSION);
        let requests = [
            request(theirs, own.topic("response/intruder/1")),
            request(ours, other.topic("response/phone/1")),
            Message::new(other.topic(&format!("hub/{HUB}/presence")), "offline"),
        ];
        for request in requests {
            let what = format!("{} for {:?}", request.topic, request.response_topic);
            refused(&what, intruder.publish(request).await)?;
            attempts += 1;
        }
    }
    Ok(attempts)
}

fn refused(what: &str, done: Result<()>) -> Result<()> {
    match done {
        Ok(()) => Err(Failure(format!("not refused: {what}"))),
        Err(_) => Ok(()),
    }
}

const INTRUSION: &str = "intrusion";
