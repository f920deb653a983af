//! The sections of a program's manual page below its command line: exit status, files, examples.

use clap_mangen::roff::{Roff, bold, italic, roman};

/// The further sections of one program's page.
pub(crate) struct Sections {
    pub(crate) exit_status: &'static [(u8, &'static str)],
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// What a command does, and the command.
    pub(crate) examples: &'static [(&'static str, &'static str)],
    pub(crate) see_also: &'static str,
}

impl Sections {
    /// Writes them.
    pub(crate) fn roff(&self) -> String {
        let mut page = Roff::new();
        page.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in self.exit_status {
            page.control("TP", []);
            page.text([bold(code.to_string())]);
            page.text([roman(*meaning)]);
        }
        page.control("SH", ["FILES"]);
        for (path, what) in self.files {
            page.control("TP", []);
            page.text([italic(*path)]);
            page.text([roman(*what)]);
        }
        page.control("SH", ["EXAMPLES"]);
        for (what, command) in self.examples {
            page.control("TP", []);
            page.text([roman(*what)]);
            page.text([bold(*command)]);
        }
        page.control("SH", ["SEE ALSO"]);
        page.text([roman(self.see_also)]);
        page.render()
    }
}

pub(crate) const HEARTHD: Sections = Sections {
    exit_status: &[
        (0, "Done. For a request: the device has carried it out."),
        (
            1,
            "The device answered that it did not carry out the request. Its status and reason are printed. For `hearthd plugin \
             try`: a line of the script did not come true.",
        ),
        (64, "The command line is wrong."),
        (65, "A file has the wrong content, such as a plugin that would not load."),
        (66, "A file that was named cannot be read."),
        (69, "No connection to the broker, or no hub serves the device."),
        (70, "A fault of hearthd itself."),
        (73, "A file cannot be created."),
        (74, "Reading or writing failed."),
        (
            75,
            "No answer in time; try again. For the daemon: another daemon uses the state directory.",
        ),
        (77, "The broker refuses the account, or what the account wants to do."),
        (78, "The configuration is wrong; each problem is a line with its place."),
    ],
    files: &[
        (
            "/etc/hearthd/hearthd.toml",
            "The configuration; see hearthd.toml(5). The variable HEARTHD_CONFIG names another file.",
        ),
        (
            "/etc/hearthd/mqtt-password",
            "The password of the hub's account; systemd gives the service a copy.",
        ),
        (
            "/var/lib/hearthd/state.redb",
            "The data that survives a restart: sessions, wills, requests, the states of the devices.",
        ),
        ("/usr/lib/hearthd/plugins/*.so", "The plugins."),
    ],
    examples: &[
        ("Switch a lamp, and print its answer:", "hearthd request light-in-bedroom power ON"),
        ("List the devices and their condition:", "hearthd devices"),
        ("Show the outcomes of the hub's last wills:", "hearthd will"),
        (
            "Check a configuration, and print every problem:",
            "hearthd check --config /etc/hearthd/hearthd.toml",
        ),
        ("Test whether the broker does what the hub needs:", "hearthd doctor"),
        ("Let a phone in, by a QR code:", "hearthd pair \"Anna's phone\""),
        (
            "Write what node_exporter's textfile collector reads:",
            "hearthd metrics --output /var/lib/prometheus/node-exporter/hearthd.prom",
        ),
        ("Make a plugin crate that builds and passes its own test:", "hearthd plugin new blinds"),
        ("Make a device in Python, with its test:", "hearthd plugin new blinds --language python"),
        (
            "Test a plugin by a script, without a hub:",
            "hearthd plugin try blinds.so --script steps.txt",
        ),
    ],
    see_also: "hearthd.toml(5), hearth-broker(1), systemctl(1), /usr/share/doc/hearthd/README.md",
};

pub(crate) const HEARTH_BROKER: Sections = Sections {
    exit_status: &[
        (0, "Done, or ended by SIGTERM."),
        (64, "The command line is wrong."),
        (65, "The account exists already, or does not exist."),
        (69, "The broker cannot listen on an address."),
        (70, "A fault of hearth-broker itself."),
        (71, "A fault of the system, such as no random numbers."),
        (73, "The accounts file or the storage cannot be written."),
        (74, "Reading or writing failed."),
        (78, "The configuration is wrong; each problem is a line with its place."),
    ],
    files: &[
        ("/etc/hearthd/hearth-broker.toml", "The configuration; see hearth-broker.toml(5)."),
        (
            "/etc/hearthd/hearth-broker-accounts.toml",
            "The accounts that `hearth-broker account` makes.",
        ),
        ("/var/lib/hearth-broker", "Sessions, queued and retained messages."),
    ],
    examples: &[
        ("Make an account for a phone:", "hearth-broker account add phone --role resident"),
        (
            "Make an account for Zigbee2MQTT, with the topics of its default set-up:",
            "hearth-broker account add zigbee2mqtt --for zigbee2mqtt",
        ),
        (
            "Make a code that lets one device in within five minutes, as account `phone`:",
            "hearth-broker account code phone",
        ),
        ("List the accounts that may log in:", "hearth-broker account list"),
        ("Check the configuration, and print every problem:", "hearth-broker check"),
    ],
    see_also: "hearth-broker.toml(5), hearthd(1), mosquitto_pub(1), mosquitto_rr(1)",
};

pub(crate) const HEARTH_WEB: Sections = Sections {
    exit_status: &[
        (0, "Done, or ended by SIGTERM."),
        (64, "The command line is wrong."),
        (69, "hearth-web cannot listen on an address."),
        (71, "A fault of the system."),
        (78, "The configuration or a certificate is wrong; each problem is a line with its place."),
    ],
    files: &[
        ("/etc/hearthd/hearth-web.toml", "The configuration; see hearth-web.toml(5)."),
        (
            "/etc/hearthd/web-certificate.pem, /etc/hearthd/web-key.pem",
            "The certificate and key for HTTPS, if the configuration has [tls]. The group hearth-clients must be able to read the key.",
        ),
        ("/run/hearth-clients/broker.sock", "The broker's socket."),
    ],
    examples: &[
        ("Serve the page now and after each start:", "systemctl enable --now hearth-web"),
        ("Check the configuration, and print every problem:", "hearth-web check"),
        ("Print the addresses of the page:", "hearth-web address"),
    ],
    see_also: "hearth-web.toml(5), hearth-broker(1), hearthd(1)",
};
