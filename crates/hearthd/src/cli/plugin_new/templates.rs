//! What a new plugin can be made from: for each language, the templates that there are.

use super::{From, Language};

/// A template: its files, and what the hub's configuration says of the device.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) language: Language,
    pub(super) from: From,
    pub(super) files: &'static [(&'static str, &'static str)],
    /// What stands in `[devices.ID.config]`, beside the command of a program.
    pub(super) table: &'static str,
}

impl Template {
    /// Finds the template of a language.
    ///
    /// # Errors
    /// What there is, where there is none.
    pub(super) fn find(language: Language, from: From) -> Result<&'static Self, String> {
        let is_it = |template: &&Self| template.language == language && template.from == from;
        TEMPLATES.iter().find(is_it).ok_or_else(|| {
            let of = |language: Language| {
                let all = TEMPLATES.iter().filter(|template| template.language == language);
                let names: Vec<_> = all.map(|template| name(template.from)).collect();
                format!("--language {}: {}", name(language), names.join(", "))
            };
            let all = [Language::Rust, Language::C, Language::Python].map(of).join("; ");
            format!(
                "there is no template `{}` in {}; there is, with {all}",
                name(from),
                name(language)
            )
        })
    }
}

/// Returns a choice as it is written on the command line.
fn name(choice: impl clap::ValueEnum) -> String {
    let value = choice.to_possible_value().expect("no choice is hidden");
    value.get_name().to_owned()
}

const IGNORED_BY_RUST: (&str, &str) = (".gitignore", "/target\n");
const MANIFEST: (&str, &str) = ("Cargo.toml", include_str!("../plugin_template/rust/Cargo.toml"));
const IGNORED_BY_C: (&str, &str) = (".gitignore", "*.so\n/build\n");
const MAKEFILE: (&str, &str) = ("Makefile", include_str!("../plugin_template/c/Makefile"));

/// All templates; `my-lamp` stands for the name, also in the names of files, and so do the names in the SDK's example.
const TEMPLATES: &[Template] = &[
    Template {
        language: Language::Rust,
        from: From::Minimal,
        files: &[
            IGNORED_BY_RUST,
            MANIFEST,
            ("src/lib.rs", include_str!("../plugin_template/rust/minimal.rs")),
        ],
        table: "off_after = \"1h\"    # without this line, it stays on",
    },
    Template {
        language: Language::Rust,
        from: From::Http,
        files: &[
            IGNORED_BY_RUST,
            ("Cargo.toml", include_str!("../plugin_template/rust/http.toml")),
            ("src/lib.rs", include_str!("../plugin_template/rust/http.rs")),
        ],
        table: "url = \"http://192.168.1.40/relay/0\"
poll = \"10s\"",
    },
    Template {
        language: Language::Rust,
        from: From::Serial,
        files: &[
            IGNORED_BY_RUST,
            ("Cargo.toml", include_str!("../plugin_template/rust/serial.toml")),
            ("src/lib.rs", include_str!("../plugin_template/rust/serial.rs")),
        ],
        table: "port = \"/dev/ttyUSB0\"
speed = 9600",
    },
    Template {
        language: Language::Rust,
        from: From::Mqtt,
        files: &[
            IGNORED_BY_RUST,
            MANIFEST,
            ("src/lib.rs", include_str!("../plugin_template/rust/mqtt.rs")),
        ],
        table: "topic = \"bulbs/my-lamp\"    # which `[bridges] allow` must name, such as \"bulbs/#\"",
    },
    Template {
        language: Language::Rust,
        from: From::Sensor,
        files: &[
            IGNORED_BY_RUST,
            MANIFEST,
            ("src/lib.rs", include_str!("../plugin_template/rust/sensor.rs")),
        ],
        table: "file = \"/sys/class/thermal/thermal_zone0/temp\"",
    },
    Template {
        language: Language::C,
        from: From::Minimal,
        files: &[
            IGNORED_BY_C,
            MAKEFILE,
            ("plugin.c", include_str!("../plugin_template/c/minimal.c")),
            ("test.txt", include_str!("../plugin_template/c/minimal.txt")),
        ],
        table: "",
    },
    Template {
        language: Language::C,
        from: From::Http,
        files: &[
            IGNORED_BY_C,
            ("Makefile", include_str!("../plugin_template/c/http.mk")),
            ("plugin.c", include_str!("../plugin_template/c/http.c")),
            ("plug.c", include_str!("../plugin_template/c/plug.c")),
            ("test.txt", include_str!("../plugin_template/c/http.txt")),
        ],
        table: "url = \"http://192.168.1.40/relay/0\"",
    },
    Template {
        language: Language::C,
        from: From::Serial,
        files: &[
            IGNORED_BY_C,
            ("Makefile", include_str!("../plugin_template/c/serial.mk")),
            ("plugin.c", include_str!("../plugin_template/c/serial.c")),
            ("board.c", include_str!("../plugin_template/c/board.c")),
            ("test.txt", include_str!("../plugin_template/c/serial.txt")),
        ],
        table: "port = \"/dev/ttyUSB0\"
speed = 9600",
    },
    Template {
        language: Language::C,
        from: From::Mqtt,
        files: &[
            IGNORED_BY_C,
            MAKEFILE,
            ("plugin.c", include_str!("../../../../hearthd-sdk/examples/mqtt_plug.c")),
            ("test.txt", include_str!("../plugin_template/c/mqtt.txt")),
        ],
        table: "",
    },
    Template {
        language: Language::C,
        from: From::Sensor,
        files: &[
            IGNORED_BY_C,
            ("Makefile", include_str!("../plugin_template/c/sensor.mk")),
            ("plugin.c", include_str!("../plugin_template/c/sensor.c")),
            ("thermometer.sh", include_str!("../plugin_template/c/thermometer.sh")),
            ("test.txt", include_str!("../plugin_template/c/sensor.txt")),
        ],
        table: "file = \"/sys/class/thermal/thermal_zone0/temp\"",
    },
    Template {
        language: Language::Python,
        from: From::Minimal,
        files: &[
            ("my-lamp.py", include_str!("../plugin_template/python/minimal.py")),
            ("test_my_lamp.py", include_str!("../plugin_template/python/test_minimal.py")),
        ],
        table: "settings = { off_after = 3600 }    # seconds; without this line, it stays on
properties = { power = { type = \"switch\" } }",
    },
    Template {
        language: Language::Python,
        from: From::Http,
        files: &[
            ("my-lamp.py", include_str!("../plugin_template/python/http.py")),
            ("test_my_lamp.py", include_str!("../plugin_template/python/test_http.py")),
        ],
        table: "settings = { url = \"http://192.168.1.40/relay/0\" }
poll = \"10s\"
properties = { power = { type = \"switch\" } }",
    },
    Template {
        language: Language::Python,
        from: From::Serial,
        files: &[
            ("my-lamp.py", include_str!("../plugin_template/python/serial.py")),
            ("test_my_lamp.py", include_str!("../plugin_template/python/test_serial.py")),
        ],
        table: "settings = { port = \"/dev/ttyUSB0\", speed = 9600 }
properties = { power = { type = \"switch\" }, temperature = { type = \"number\", access = \"r\", unit = \"°C\" } }",
    },
    Template {
        language: Language::Python,
        from: From::Sensor,
        files: &[
            ("my-lamp.py", include_str!("../plugin_template/python/sensor.py")),
            ("test_my_lamp.py", include_str!("../plugin_template/python/test_sensor.py")),
        ],
        table: "settings = { file = \"/sys/class/thermal/thermal_zone0/temp\" }
properties = { temperature = { type = \"number\", access = \"r\", unit = \"°C\" } }",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let error = Template::find(Language::Python, From::Mqtt).unwrap_err();
        let expected = "there is no template `mqtt` in python; there is, with \
                        --language rust: minimal, http, serial, mqtt, sensor; \
                        --language c: minimal, http, serial, mqtt, sensor; \
                        --language python: minimal, http, serial, sensor";
        assert_eq!(error, expected);
        for language in [Language::Rust, Language::C, Language::Python] {
            assert!(Template::find(language, From::Minimal).is_ok(), "{language:?}");
        }
    }
}
