//! What goes wrong, at the moments of the schedule.

use tokio::time::sleep;

use super::{
    house::{Broker, Home},
    record::Notebook,
    say,
    schedule::{Break, BreakKind, Kill, Victim},
};
use crate::{Fault, Result};

/// Kills a hub, and the broker where it is at hand.
pub(super) async fn kill(
    kills: Vec<Kill>,
    home: &Home,
    mut broker: Option<&mut Broker>,
    notebook: &Notebook,
) -> Result<()> {
    for Kill { after, victim, down } in kills {
        sleep(after).await;
        let now = notebook.now();
        match (victim, &mut broker) {
            (Victim::Broker, Some(broker)) => {
                say(now, &format!("SIGKILL the broker, back after {down:?}"));
                notebook.open().broker_kills.push(now);
                broker.stop()?;
                sleep(down).await;
                broker.start_again().await?;
            }
            (Victim::Hub, _) | (Victim::Broker, None) => {
                let name = home.hub.name();
                say(now, &format!("SIGKILL the hub in the {name}, back after {down:?}"));
                home.kill(notebook, down).await?;
            }
        }
    }
    Ok(())
}

/// Breaks the link of a hub.
pub(super) async fn break_link(breaks: Vec<Break>, home: &Home, notebook: &Notebook) -> Result<()> {
    let proxy = &home.proxy;
    for Break { after, kind, lasting } in breaks {
        sleep(after).await;
        let name = kind.name();
        *notebook.open().faults.entry(name).or_default() += 1;
        let say = |what: &str| say(notebook.now(), &format!("{}: {what}", home.hub.name()));
        match kind {
            BreakKind::Cut => {
                say(name);
                proxy.cut();
            }
            BreakKind::CutWithinAPacket => {
                say(name);
                proxy.cut_within_a_packet();
            }
            BreakKind::Fault(fault) => {
                say(&format!("{fault:?} for {lasting:?}"));
                proxy.set(fault);
                sleep(lasting).await;
                proxy.set(Fault::None);
            }
        }
    }
    Ok(())
}
