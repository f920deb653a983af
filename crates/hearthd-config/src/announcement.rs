//! How other machines find a program by name: service files of avahi, which answers for this machine by multicast DNS.

use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A service in the form of DNS-SD (RFC 6763), such as `_mqtt._tcp` on port 1883.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The type.
    pub kind: &'static str,
    /// The port.
    pub port: u16,
}

/// Lists the services at addresses that other machines can reach; port 0 is none that anybody could know.
pub fn reachable(kind: &'static str, listen: &[SocketAddr]) -> BTreeSet<Service> {
    let others = listen.iter().filter(|at| !at.ip().to_canonical().is_loopback() && at.port() != 0);
    others.map(|address| Service { kind, port: address.port() }).collect()
}

/// Writes the service file of a program, or removes it where there is nothing to announce. Without avahi it does nothing.
///
/// # Errors
/// The file that cannot be written or removed.
pub fn announce(folder: &Path, program: &str, services: &BTreeSet<Service>) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let file = folder.join(format!("{program}.service"));
    if services.is_empty() {
        return match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let text = service_file(program, services);
    if fs::read_to_string(&file).is_ok_and(|before| before == text) {
        return Ok(());
    }
    // avahi reads a file as soon as it is there: it gets a whole one, under a name that it does not take.
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    // avahi has a user of its own, and the unit of a program has a umask for secrets.
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
    fs::rename(&new, &file)
}

/// Returns the folder in which avahi looks.
pub fn folder() -> PathBuf {
    "/etc/avahi/services".into()
}

fn service_file(program: &str, services: &BTreeSet<Service>) -> String {
    let each: String = services
        .iter()
        .map(|Service { kind, port }| {
            format!("  <service>\n    <type>{kind}</type>\n    <port>{port}</port>\n  </service>\n")
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" standalone='no'?>\n<!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n\
         <!-- Written by {program} when it starts, from its `listen`; removed when it ends. -->\n\
         <service-group>\n  <name replace-wildcards=\"yes\">{program} on %h</name>\n{each}</service-group>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn loopback_and_ports_that_nobody_knows_are_not_announced() {
        let loopback = ["127.0.0.1:1883", "[::1]:1883", "[::ffff:127.0.0.1]:1883", "0.0.0.0:0"];
        assert!(reachable("_mqtt._tcp", &listen(&loopback)).is_empty());
        let ports =
            reachable("_mqtt._tcp", &listen(&["0.0.0.0:1883", "[::]:1883", "10.0.0.1:1884"]));
        assert_eq!(ports.iter().map(|it| it.port).collect::<Vec<_>>(), [1883, 1884]);
    }

    #[test]
    fn the_file_comes_and_goes_with_what_there_is_to_announce() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hearth-web.service");
        let services = reachable("_http._tcp", &listen(&["[::]:8080"]));
        // As with the umask of a unit, the draft is its owner's alone.
        let draft = folder.path().join("hearth-web.new");
        fs::write(&draft, "").unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
        announce(folder.path(), "hearth-web", &services).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("<type>_http._tcp</type>\n    <port>8080</port>"), "{text}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        announce(folder.path(), "hearth-web", &BTreeSet::new()).unwrap();
        announce(folder.path(), "hearth-web", &BTreeSet::new()).unwrap();
        assert!(!file.exists());
        // Where there is no avahi, there is no folder, and none is made.
        let missing = folder.path().join("avahi");
        announce(&missing, "hearth-web", &services).unwrap();
        assert!(!missing.exists());
    }
}
