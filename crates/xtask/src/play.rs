//! `cargo xtask run`: a broker, a daemon and the page for the phone, to play with by hand.

use std::path::Path;

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Failure, HearthBroker, HearthWeb, Result, built::workspace,
};

use crate::{interruption, unless_interrupted};

/// Starts them with their state in `target/hearth-run` and waits for Ctrl-C.
pub(crate) async fn play() -> Result<()> {
    let built = Built::beside_this_program()?;
    built.build()?;
    let folder = workspace().canonicalize()?.join("target/hearth-run");
    let (mut broker, mut hub, mut web) = unless_interrupted(start(&built, &folder)).await?;
    let access = broker.access("phone");
    let program = shown(&built.binary("hearthd"));
    let file = shown(hub.config());
    let login = access.arguments().join(" ");
    println!(
        "A broker, a hub and a page are running; their state and logs are in {}.",
        shown(&folder)
    );
    println!("\nTry in another terminal, from {}:\n", workspace().canonicalize()?.display());
    println!("  {program} request light-in-bedroom power ON --config {file}\n");
    println!(
        "  mosquitto_rr -V 5 {login} -q 1 -t alice/cmnd/light-in-bedroom/power \
         -e alice/response/me/1 -m ON\n"
    );
    println!("  mosquitto_sub -V 5 {login} -q 1 -t 'alice/#' -v\n");
    if let Some((account, password)) = &access.login {
        println!("  In a browser: {}  (account {account}, password {password})\n", web.url());
    }
    println!("Ctrl-C ends them.");
    wait(&mut broker, &mut hub, &mut web).await
}

async fn start(built: &Built, folder: &Path) -> Result<(HearthBroker, Daemon, HearthWeb)> {
    let broker = HearthBroker::start(built, &folder.join("broker")).await?;
    let mut phone = Client::connect(&broker.access("phone"), "xtask").await?;
    let mut config = DaemonConfig::new(broker.access("hub"));
    config.will_delay = "10s";
    let mut hub = Daemon::prepare(built, folder, &config)?;
    hub.start(&mut phone).await?;
    let page = format!("[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port());
    let web = HearthWeb::start(built, &folder.join("web"), &page).await?;
    Ok((broker, hub, web))
}

/// Waits until somebody interrupts, or one of them ends by itself.
async fn wait(broker: &mut HearthBroker, hub: &mut Daemon, web: &mut HearthWeb) -> Result<()> {
    loop {
        if let Some(status) = hub.process()?.ended()? {
            return Err(Failure(format!("hearthd ended: {status}\n{}", hub.log())));
        }
        if let Some(status) = broker.process().ended()? {
            return Err(Failure(format!("hearth-broker ended: {status}\n{}", broker.log())));
        }
        if let Some(status) = web.process().ended()? {
            return Err(Failure(format!("hearth-web ended: {status}\n{}", web.log())));
        }
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {}
            signal = interruption() => {
                println!("\n{}", signal?);
                break;
            }
        }
    }
    // Ctrl-C in a terminal reaches the daemon as well: it may have ended already.
    if hub.process()?.ended()?.is_none() {
        hub.terminate().await?;
    }
    Ok(())
}

/// Shows a path as seen from the workspace, where it is inside.
fn shown(path: &Path) -> String {
    let root = workspace().canonicalize().unwrap_or_default();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.strip_prefix(root).unwrap_or(&path).display().to_string()
}
