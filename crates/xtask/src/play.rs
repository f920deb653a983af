//! `cargo xtask run`: a broker, a daemon and the page for the phone, to play with by hand.

use std::{
    fs::Permissions, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path,
    process::Command,
};

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, Doing, Failure, HearthBroker, HearthWeb, Result,
    built::workspace,
    client::PATIENCE,
    process::{free_port, run},
};

use crate::{interruption, provision::succeed, unless_interrupted};

/// What `cargo xtask run` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The address and port of the page; port 0 picks a free port. The broker listens on 127.0.0.1 in any case.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:0")]
    listen: SocketAddr,
}

/// Starts them with their state in `target/hearth-run` and waits for Ctrl-C.
pub(crate) async fn play(options: &Options) -> Result<()> {
    let built = Built::beside_this_program()?;
    built.build()?;
    let folder = workspace().canonicalize()?.join("target/hearth-run");
    let mut home = unless_interrupted(Home::start(&built, &folder, options.listen)).await?;
    println!(
        "A broker, a hub and a page are running; their state and logs are in {}.",
        shown(&folder)
    );
    println!("\nTry in another terminal, from {}:\n", workspace().canonicalize()?.display());
    println!(
        "  {} request light-in-bedroom power ON --config {}\n",
        shown(&built.binary("hearthd")),
        shown(home.hub.config())
    );
    let login = home.phone.arguments().join(" ");
    println!(
        "  mosquitto_rr -V 5 {login} -q 1 -t alice/cmnd/light-in-bedroom/power \
         -e alice/response/me/1 -m ON\n"
    );
    println!("  mosquitto_sub -V 5 {login} -q 1 -t 'alice/#' -v\n");
    println!("On a phone in the same network, or in a browser of this machine:\n");
    home.pair(&built, &folder).await?;
    println!("\nCtrl-C ends them.");
    wait(&mut home.broker, &mut home.hub, &mut home.web).await
}

/// Starts a page for a broker and a hub that run already, prints its address, and waits for Ctrl-C.
pub(crate) async fn keep(
    built: &Built,
    folder: &Path,
    broker: &mut HearthBroker,
    hub: &mut Daemon,
) -> Result<()> {
    let page = format!("[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port());
    let mut web = HearthWeb::start(built, &folder.join("web"), &page).await?;
    let file = broker.password_file("phone");
    let (url, file) = (web.url(), file.display().to_string());
    let pair =
        ["pair", "--json", "--username", "phone", "--password-file", &file, "--address", &url];
    let paired = run(&built.binary("hearthd"), pair, PATIENCE).await?;
    let paired: serde_json::Value =
        serde_json::from_str(&paired.stdout).doing(format!("hearthd pair: {paired:?}"))?;
    let address = paired["address"].as_str().doing("hearthd pair names no address")?;
    println!("\nThe page of this home, with the login of the account `phone`:\n\n  {address}\n");
    println!("Ctrl-C ends it.");
    wait(broker, hub, &mut web).await
}

/// A home in which each account has a random password, because its page is open to the network.
struct Home {
    broker: HearthBroker,
    hub: Daemon,
    web: HearthWeb,
    /// How programs log in.
    phone: Access,
}

impl Home {
    async fn start(built: &Built, folder: &Path, listen: SocketAddr) -> Result<Self> {
        let place = folder.join("broker");
        std::fs::create_dir_all(&place).doing(place.display())?;
        let mut text =
            format!("home = \"alice\"\n[storage]\ndirectory = {:?}\n", place.join("storage"));
        let mut passwords = Vec::new();
        for account in ["hub", "phone"] {
            let password = random_password()?;
            let file = place.join(format!("{account}.password"));
            write_private(&file, &password)?;
            let role = if account == "hub" { "hub" } else { "resident" };
            text += &format!(
                "[[account]]\nname = {account:?}\nrole = {role:?}\npassword_file = {file:?}\n"
            );
            passwords.push(password);
        }
        let broker = HearthBroker::start_configured(built, &place, &text).await?;
        let mut access = ["phone", "hub"].into_iter().map(|account| Access {
            port: broker.port(),
            login: passwords.pop().map(|password| (account.to_owned(), password)),
        });
        let (phone, of_hub) =
            (access.next().doing("an account")?, access.next().doing("an account")?);
        let mut watcher = Client::connect(&phone, "xtask").await?;
        let mut config = DaemonConfig::new(of_hub);
        config.will_delay = "10s";
        let mut hub = Daemon::prepare(built, folder, &config)?;
        hub.start(&mut watcher).await?;
        let port = if listen.port() == 0 { free_port()? } else { listen.port() };
        let listen = SocketAddr::new(listen.ip(), port).to_string();
        let page = format!(
            "listen = [{listen:?}]\n[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n",
            broker.port()
        );
        let web = HearthWeb::start_on(built, &folder.join("web"), &page, &listen).await?;
        Ok(Self { broker, hub, web, phone })
    }

    /// Gives a phone an account of its own, and has `hearthd pair` print how it logs in.
    async fn pair(&self, built: &Built, folder: &Path) -> Result<()> {
        let program = built.binary("hearthd");
        let config = folder.join("web/hearth-web.toml").display().to_string();
        let address = ["address", "--config", &config];
        let address = run(built.binary("hearth-web"), address, PATIENCE).await?;
        let address = address.stdout.lines().next().map(str::to_owned);
        // Where this machine is in no network, its own browser still finds the page.
        let here = || format!("http://localhost:{}/", self.web.address().port());
        let address = address.unwrap_or_else(here);
        let accounts = folder.join("broker/hearth-broker.toml").display().to_string();
        // That of the run before, if there was one: its password is not known any more.
        let unpair = ["unpair", PHONE, "--broker-config", &accounts];
        run(&program, unpair, PATIENCE).await?;
        let pair = ["pair", PHONE, "--broker-config", &accounts, "--address", &address];
        // It writes to this terminal itself, so that the code has a terminal's colours.
        succeed(Command::new(&program).args(pair))
    }
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).doing("a random password")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).doing(file.display())?;
    std::fs::set_permissions(file, Permissions::from_mode(0o600)).doing(file.display())
}

const PHONE: &str = "phone-of-xtask-run";

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
