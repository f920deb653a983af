//! The page for phones: how it gets in, how other machines find it, and how it gets a renewed certificate.

use hearthd_tests::{Failure, Result};

use super::{
    Table,
    cases::{ACTIVE, PRESENCE},
    machine::Machine,
};

/// Goes through all of it, in order; afterwards the configuration is that of the package.
pub(super) async fn life(machine: &Machine, table: &mut Table) -> Result<()> {
    let title = "one command serves the page, which logs in over the broker's socket";
    table.row(title, serves_the_page(machine)).await?;
    let title = "avahi finds page and broker by name as long as they run and others can reach them";
    table.row(title, is_found_by_name(machine)).await?;
    let title = "a reload gives page and broker their renewed certificates, and closes nothing";
    table.row(title, renews_certificates(machine)).await
}

async fn serves_the_page(machine: &Machine) -> Result<()> {
    machine.prints("systemctl is-enabled hearth-web || true", "disabled").await?;
    let socket = "/run/hearth-clients/broker.sock";
    machine
        .prints(&format!("stat -c '%a %U %G' {socket}"), "660 hearth-broker hearth-clients")
        .await?;
    machine.done("! runuser -u nobody -- ls /run/hearth-clients 2>/dev/null").await?;
    machine.done("systemctl enable --now hearth-web").await?;
    let status = "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(\"127.0.0.1:8080\"); \
                  print $s \"GET / HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n\"; print scalar <$s>' | tr -d '\\r'";
    machine.prints(status, "HTTP/1.0 200 OK").await?;
    let login = "perl /given/page.pl home";
    machine.prints(&format!("{login} \"$(cat /etc/hearthd/home-password)\""), "0x00").await?;
    machine.prints(&format!("{login} wrong"), "0x86").await?;
    // Its user is one of those that systemd makes for as long as a service runs.
    let user = "stat -c %u /proc/$(systemctl show -P MainPID hearth-web)";
    machine.done(&format!("test $({user}) -ge 61184 -a $({user}) -le 65519")).await?;
    machine.done("! journalctl --no-pager -u hearth-web -p warning -o cat | grep .").await?;
    Ok(())
}

async fn is_found_by_name(machine: &Machine) -> Result<()> {
    machine.done("systemctl is-active --quiet avahi-daemon").await?;
    found(machine, "_http._tcp", "8080").await?;
    // The package's broker listens on this machine alone.
    machine.done("test ! -e /etc/avahi/services/hearth-broker.service").await?;
    machine.done(&format!("cp {BROKER} /root/broker.toml")).await?;
    machine.done(&format!("sed -i 's/^listen = .*/listen = [\"0.0.0.0:1883\"]/' {BROKER}")).await?;
    restart(machine, "hearth-broker").await?;
    found(machine, "_mqtt._tcp", "1883").await?;
    machine.done(&format!("cp /root/broker.toml {BROKER}")).await?;
    restart(machine, "hearth-broker").await?;
    machine.done("test ! -e /etc/avahi/services/hearth-broker.service").await?;
    lost(machine, "_mqtt._tcp").await?;
    // A service that is killed is announced again by its next start, and one that is stopped is not announced.
    machine.done("systemctl kill --signal=KILL hearth-web").await?;
    machine.until("the next page", "systemctl is-active --quiet hearth-web").await?;
    found(machine, "_http._tcp", "8080").await?;
    machine.done("systemctl stop hearth-web").await?;
    machine.done("test ! -e /etc/avahi/services/hearth-web.service").await?;
    lost(machine, "_http._tcp").await?;
    machine.done("systemctl start hearth-web").await?;
    found(machine, "_http._tcp", "8080").await
}

/// As the README of hearth-web says it.
async fn renews_certificates(machine: &Machine) -> Result<()> {
    machine.done(&format!("cp {WEB} /root/web.toml")).await?;
    for file in [BROKER, WEB] {
        machine.done(&format!("sed -i '/^# .tls./,/^# key_file/s/^# //' {file}")).await?;
    }
    machine.done("hearth-broker certificate make").await?;
    restart(machine, "hearth-broker").await?;
    machine.done(INSTALL).await?;
    machine.done("systemctl restart hearth-web").await?;
    let first = machine.done(&serial_in("web")).await?;
    for port in ["8080", "8883"] {
        machine.prints(&serial_at(port), &first).await?;
    }
    found(machine, "_https._tcp", "8080").await?;
    found(machine, "_secure-mqtt._tcp", "8883").await?;
    // Nobody but root and the service reads the key.
    machine.done("! runuser -u nobody -- cat /etc/hearthd/web-key.pem 2>/dev/null").await?;
    machine.done("! runuser -u hearthd -- cat /etc/hearthd/web-key.pem 2>/dev/null").await?;

    let before = pids(machine).await?;
    // Somebody is connected all the while, by the same connection.
    machine.done(CONNECTED).await?;
    let connection = machine.until("a connection with TLS", CONNECTION).await?;
    machine.done("hearth-broker certificate make").await?;
    machine.done(INSTALL).await?;
    let second = machine.done(&serial_in("web")).await?;
    if first == second {
        return Err(Failure(format!("the certificate was not renewed: {first}")));
    }
    // Without a reload the old one stays.
    machine.prints(&serial_at("8080"), &first).await?;
    machine.done("systemctl reload hearth-web hearth-broker").await?;
    for port in ["8080", "8883"] {
        let renewed = format!("test \"$({})\" = '{second}'", serial_at(port));
        machine.until("the renewed certificate", &renewed).await?;
    }
    machine.prints(CONNECTION, &connection).await?;
    machine.done("systemctl stop connected").await?;
    if before != pids(machine).await? {
        return Err(Failure::new("a reload has started a process anew"));
    }

    machine.done(&format!("cp /root/broker.toml {BROKER} && cp /root/web.toml {WEB}")).await?;
    machine.done("rm /etc/hearthd/*.pem && systemctl restart hearth-web").await?;
    restart(machine, "hearth-broker").await
}

/// Starts it anew, and waits until the hub is back.
async fn restart(machine: &Machine, service: &str) -> Result<()> {
    machine.done(&format!("systemctl restart {service}")).await?;
    machine.until("a hub that is ready", ACTIVE).await?;
    let online = format!("test \"$({PRESENCE})\" = online");
    machine.until("a hub that is online", &online).await?;
    Ok(())
}

/// Waits until avahi finds a service of a kind at a port of this machine, as another machine would.
async fn found(machine: &Machine, kind: &str, port: &str) -> Result<()> {
    let browse = format!("avahi-browse --resolve --parsable --terminate --no-db-lookup {kind}");
    let line = format!("{browse} | grep '^=.*hearth.*;{kind};local;.*;{port};'");
    machine.until(&format!("{kind} at port {port}"), &line).await?;
    Ok(())
}

/// Waits until avahi finds no service of a kind any more.
async fn lost(machine: &Machine, kind: &str) -> Result<()> {
    let browse =
        format!("! avahi-browse --parsable --terminate --no-db-lookup {kind} | grep hearth");
    machine.until(&format!("the end of {kind}"), &browse).await?;
    Ok(())
}

async fn pids(machine: &Machine) -> Result<String> {
    machine.done("systemctl show -P MainPID hearth-web hearth-broker").await
}

/// Prints the serial number of the certificate that is shown at a port to whoever trusts the home's authority.
fn serial_at(port: &str) -> String {
    format!(
        "openssl s_client -connect 127.0.0.1:{port} -CAfile /etc/hearthd/authority.pem -verify_return_error \
         -verify_hostname localhost </dev/null 2>/dev/null | openssl x509 -noout -serial"
    )
}

fn serial_in(whose: &str) -> String {
    format!("openssl x509 -noout -serial -in /etc/hearthd/{whose}-certificate.pem")
}

/// Starts a client that stays connected.
const CONNECTED: &str = "systemd-run --quiet --unit=connected mosquitto_sub -V 5 -h 127.0.0.1 -p 8883 \
     --cafile /etc/hearthd/authority.pem -u home -P \"$(cat /etc/hearthd/home-password)\" -t 'home/#'";
/// Prints the client's end of a connection to port 8883.
const CONNECTION: &str = "awk '$3 ~ /:22B3$/ && $4 == \"01\" { print $2 }' /proc/net/tcp | grep .";
const BROKER: &str = "/etc/hearthd/hearth-broker.toml";
const WEB: &str = "/etc/hearthd/hearth-web.toml";
const INSTALL: &str = "install -m 644 /etc/hearthd/broker-certificate.pem /etc/hearthd/web-certificate.pem && \
     install -m 640 -g hearth-clients /etc/hearthd/broker-key.pem /etc/hearthd/web-key.pem";
