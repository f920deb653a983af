//! The IDs of the configured devices in the shells' completions of `hearthd`.
//!
//! The completions are made when the package is built, and know the commands alone. The IDs are read from the
//! configuration file when the user presses the Tab key; without the right to read it there are none.

use clap_complete::Shell;

/// Adds the IDs to the completion of `hearthd` for a shell.
///
/// # Errors
/// The completion is not as expected, so the IDs have no place in it.
pub(crate) fn with_device_ids(shell: Shell, completion: &str) -> Result<String, String> {
    match shell {
        Shell::Bash => Ok(format!("{completion}\n{BASH}")),
        Shell::Fish => Ok(format!("{completion}\n{FISH}")),
        Shell::Zsh => {
            let (head, body) = completion
                .split_once("\nautoload -U is-at-least\n")
                .filter(|(_, body)| body.contains(ZSH_DEVICE))
                .ok_or("zsh's completion has no place for the IDs of devices")?;
            let body = body.replace(ZSH_DEVICE, ":_hearthd_devices'");
            Ok(format!("{head}\nautoload -U is-at-least\n\n{ZSH}{body}"))
        }
        other => Err(format!("no IDs of devices for {other}")),
    }
}

const BASH: &str = r#"# The IDs of the configured devices, where a command begins with one.
_hearthd_devices() {
    sed -n 's/^\[devices\.\([^].]*\)\].*/\1/p' "${HEARTHD_CONFIG:-/etc/hearthd/hearthd.toml}" 2>/dev/null
}

_hearthd_with_devices() {
    _hearthd "$@"
    case "${COMP_CWORD} ${COMP_WORDS[1]}" in
        "2 request" | "2 describe" | "2 log")
            if [[ ${COMP_WORDS[2]} != -* ]]; then
                COMPREPLY=( $(compgen -W "$(_hearthd_devices)" -- "${COMP_WORDS[2]}") )
            fi
            ;;
    esac
}

complete -F _hearthd_with_devices -o bashdefault -o default hearthd
"#;

const FISH: &str = r#"# The IDs of the configured devices, where a command begins with one.
function __hearthd_devices
    set -q HEARTHD_CONFIG; and set -l file $HEARTHD_CONFIG; or set -l file /etc/hearthd/hearthd.toml
    sed -n 's/^\[devices\.\([^].]*\)\].*/\1/p' $file 2>/dev/null
end

function __hearthd_wants_device
    set -l words (commandline -opc)
    test (count $words) -eq 2; and contains -- $words[2] request describe log
end

complete -c hearthd -n __hearthd_wants_device -f -a "(__hearthd_devices)"
"#;

const ZSH: &str = r#"# The IDs of the configured devices.
_hearthd_devices() {
    local -a devices
    devices=(${(f)"$(sed -n 's/^\[devices\.\([^].]*\)\].*/\1/p' "${HEARTHD_CONFIG:-/etc/hearthd/hearthd.toml}" 2>/dev/null)"})
    _describe 'device' devices
}

"#;

/// How zsh's completion ends the description of an argument that is a device.
const ZSH_DEVICE: &str = "Device ID:_default'";

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn completion(shell: Shell) -> String {
        let mut plain = Vec::new();
        clap_complete::generate(shell, &mut hearthd::cli::command(), "hearthd", &mut plain);
        with_device_ids(shell, &String::from_utf8(plain).unwrap()).unwrap()
    }

    #[test]
    fn bash_offers_the_configured_devices_and_still_the_commands() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("hearthd.toml");
        let text = "[devices.hall-light]\nplugin = \"light\"\n[devices.hall-light.config]\n[devices.heater]\n";
        std::fs::write(&config, text).unwrap();
        let offered = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let script = format!(
                "{}\nCOMP_WORDS=({line} {empty}); COMP_CWORD={}\n\
                 _hearthd_with_devices hearthd \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
                 echo \"${{COMPREPLY[@]}}\"",
                completion(Shell::Bash),
                words.len() - usize::from(!line.ends_with(' ')),
                empty = if line.ends_with(' ') { "''" } else { "" },
            );
            let mut bash = Command::new("bash");
            let output =
                bash.arg("-c").arg(script).env("HEARTHD_CONFIG", &config).output().unwrap();
            assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
        };
        assert_eq!(offered("hearthd request h"), "hall-light heater");
        assert_eq!(offered("hearthd describe hea"), "heater");
        assert_eq!(offered("hearthd descr"), "describe");
    }

    #[test]
    fn fish_and_zsh_have_them_as_well() {
        assert!(completion(Shell::Fish).contains("-a \"(__hearthd_devices)\""));
        let zsh = completion(Shell::Zsh);
        assert!(zsh.matches(":_hearthd_devices'").count() >= 2 && !zsh.contains(ZSH_DEVICE));
    }
}
