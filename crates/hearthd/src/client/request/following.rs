//! Follows what happens to a device, like any client that may read its events.

use std::time::Duration;

use hearthd_core::Message;
use tokio::time::Instant;

use super::{AskError, Asking, REFUSED};
use crate::{client::connection::ConnectionError, config::Config};

/// Passes on every event of a device from now on; returns only when it cannot continue, with the reason.
pub(crate) async fn follow(
    config: &Config,
    device: &str,
    timeout: Duration,
    mut take: impl FnMut(&Message),
) -> AskError {
    match try_follow(config, device, timeout, &mut take).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn try_follow(
    config: &Config,
    device: &str,
    timeout: Duration,
    take: &mut impl FnMut(&Message),
) -> Result<std::convert::Infallible, AskError> {
    let mut asking = Asking::connect(config, Instant::now() + timeout).await?;
    let topic = config.topics.event.build(asking.prefix.as_ref(), &[("device", device)]);
    if asking.connection.subscribe(&topic, false).await? >= REFUSED {
        return Err(ConnectionError::NotAuthorized(format!("a subscription to {topic}")).into());
    }
    loop {
        asking.connection.extend(A_LONG_TIME);
        if let Some(message) = asking.connection.receive().await?
            && message.topic == topic
        {
            take(&message);
        }
    }
}

/// For each wait: a device may be quiet for months.
const A_LONG_TIME: Duration = Duration::from_secs(24 * 60 * 60);
