//! `hearthd plugin new`: a plugin or a program that passes its own test, in several languages.

mod cargo;
mod names;
mod templates;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf, absolute},
    process::ExitCode,
};

use super::{exit, fail};
use cargo::{Workspace, manifest, read_manifest};
use names::check_name;
use templates::Template;

/// The arguments of `hearthd plugin new`.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// The name of the plugin and of its kind of device, such as `my-lamp`; in Python, of the program.
    name: String,
    /// The language; a device in Python is a program of the plugin `program`, and needs no compiler.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
    /// What it begins with; Python has no `mqtt`.
    #[arg(long, value_enum, value_name = "TEMPLATE", default_value_t = From::Minimal)]
    from: From,
    /// The folder [default: its name, in the current folder].
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// The SDK's sources, `crates/hearthd-sdk` of a checkout [default: those that this program was built with, or the
    /// package's in /usr/share/hearthd/sdk].
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

/// A language to write a device in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Rust,
    C,
    Python,
}

/// What a new plugin begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// A lamp that remembers whether it is on.
    Minimal,
    /// A plug with an HTTP interface.
    Http,
    /// A board at a serial port.
    Serial,
    /// A lamp with MQTT topics of its own.
    Mqtt,
    /// A thermometer that is read every now and then.
    Sensor,
}

/// Writes the files, and prints the next steps.
pub(super) fn new(new: &New) -> ExitCode {
    match write_files(new) {
        Ok(next) => {
            say!("{next}");
            ExitCode::SUCCESS
        }
        Err((code, error)) => fail(code, error),
    }
}

/// An exit code, and what went wrong.
type Refusal = (u8, String);

/// Writes the files; returns the next steps.
fn write_files(new: &New) -> Result<String, Refusal> {
    let template = Template::find(new.language, new.from).map_err(|error| (exit::USAGE, error))?;
    let folder = folder_of(new)?;
    let sdk = match new.language {
        Language::Rust | Language::C => find_sdk(new.sdk.as_deref(), USUAL.map(Path::new))?,
        Language::Python => PathBuf::new(),
    };
    let workspace = Workspace::around(&folder);
    let include = sdk.join("include").display().to_string();
    let file = |(path, content): &(&str, &str)| {
        let content = named(content, &new.name);
        let content = if *path == "Cargo.toml" {
            manifest(&content, &sdk, workspace.as_ref())
        } else {
            content.replace("@include@", &include)
        };
        (named(path, &new.name), content)
    };
    let files: Vec<_> = template.files.iter().map(file).collect();
    write(&folder, &files)?;
    let table = named(template.table, &new.name);
    Ok(match new.language {
        Language::Rust => steps_of_rust(&new.name, &folder, workspace.as_ref(), &table),
        Language::C => steps_of_c(&new.name, &folder, &table),
        Language::Python => steps_of_python(&new.name, &folder, &table),
    })
}

/// Writes a name into a template, which has it also in the form of a module.
fn named(template: &str, name: &str) -> String {
    let template = template.replace("mqtt-plug", "my-lamp").replace("c-plug", "my-lamp");
    template.replace("my-lamp", name).replace("my_lamp", &name.replace('-', "_"))
}

/// Checks the name, and returns the folder for it.
fn folder_of(new: &New) -> Result<PathBuf, Refusal> {
    let name = &new.name;
    check_name(name)
        .map_err(|why| (exit::USAGE, format!("`{name}` is not a plugin name: {why}")))?;
    let folder = new.path.clone().unwrap_or_else(|| name.into());
    absolute(&folder).map_err(|error| refuse(&folder, &error.to_string()))
}

/// Writes files into a folder: all that are missing, or none.
fn write(folder: &Path, files: &[(String, String)]) -> Result<(), Refusal> {
    for (file, _) in files {
        let path = folder.join(file);
        if path.exists() {
            return Err(refuse(&path, "already exists; nothing was changed"));
        }
    }
    for (file, content) in files {
        let path = folder.join(file);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| refuse(parent, &error.to_string()))?;
        File::create_new(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|error| refuse(&path, &error.to_string()))?;
    }
    Ok(())
}

fn refuse(path: &Path, error: &str) -> Refusal {
    (exit::CANNOT_CREATE, format!("{}: {error}", path.display()))
}

/// Returns where the SDK's sources are. That is never a registry: anybody may own the name there.
fn find_sdk(given: Option<&Path>, usual: [&Path; 2]) -> Result<PathBuf, Refusal> {
    let at = |path: &Path| {
        let manifest = read_manifest(path)?;
        let name = manifest.get("package")?.get("name")?.as_str();
        path.canonicalize().ok().filter(|_| name == Some("hearthd-sdk"))
    };
    let missing = |place: String, remedy: &str| {
        (exit::NO_INPUT, format!("{place}: no `hearthd-sdk` is there; {remedy}"))
    };
    match given {
        Some(path) => at(path).ok_or_else(|| {
            missing(path.display().to_string(), "give crates/hearthd-sdk of a checkout")
        }),
        None => usual.into_iter().find_map(at).ok_or_else(|| {
            let places = usual.map(|path| path.display().to_string()).join(", ");
            missing(places, "give --sdk with crates/hearthd-sdk of a checkout of hearthd")
        }),
    }
}

fn steps_of_rust(name: &str, folder: &Path, workspace: Option<&Workspace>, table: &str) -> String {
    let member = workspace.filter(|workspace| workspace.is_member);
    let home = member.map_or(folder, |workspace| &workspace.root).display();
    let package = if member.is_some() { format!(" -p {name}") } else { String::new() };
    let object = format!("target/release/lib{}.so", name.replace('-', "_"));
    format!(
        "{name} is in {folder}. Next:

    cd {home}
    cargo test{package}
    cargo build --release{package}
    hearthd plugin check {object}

Copy {object} into a folder of `[plugins] path`, and add to hearthd.toml:

[devices.{name}]
plugin = \"{name}\"
[devices.{name}.config]
{table}",
        folder = folder.display()
    )
}

fn steps_of_c(name: &str, folder: &Path, table: &str) -> String {
    let config = match table {
        "" => String::new(),
        table => format!("\n[devices.{name}.config]\n{table}"),
    };
    format!(
        "{name} is in {folder}. Next:

    cd {folder}
    make test
    hearthd plugin check {name}.so

Copy {name}.so into a folder of `[plugins] path`, and add to hearthd.toml:

[devices.{name}]
plugin = \"{name}\"{config}",
        folder = folder.display()
    )
}

fn steps_of_python(name: &str, folder: &Path, table: &str) -> String {
    let program = folder.join(format!("{name}.py"));
    let test = folder.join(format!("test_{}.py", name.replace('-', "_")));
    let command = toml::Value::from(vec!["python3".to_owned(), program.display().to_string()]);
    format!(
        "{name} is in {folder}. Next:

    python3 {test}

Then add to hearthd.toml:

[devices.{name}]
plugin = \"program\"
[devices.{name}.config]
command = {command}
{table}",
        folder = folder.display(),
        test = test.display()
    )
}

/// The SDK's sources on the machine that this program was built on, and those of the package.
const USUAL: [&str; 2] =
    [concat!(env!("CARGO_MANIFEST_DIR"), "/../hearthd-sdk"), "/usr/share/hearthd/sdk"];

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(folder: &Path) -> New {
        New {
            name: "garden-pump".into(),
            language: Language::Rust,
            from: From::Minimal,
            path: Some(folder.to_owned()),
            sdk: None,
        }
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join(".gitignore");
        fs::write(&manifest, "mine").unwrap();
        let (code, error) = write_files(&arguments(folder.path())).unwrap_err();
        assert_eq!(code, exit::CANNOT_CREATE);
        assert!(error.contains(".gitignore: already exists"), "{error}");
        assert_eq!(fs::read_to_string(&manifest).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_sdk_is_a_path_where_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let wrong =
            New { sdk: Some(folder.path().to_owned()), ..arguments(&folder.path().join("a")) };
        let (code, error) = write_files(&wrong).unwrap_err();
        assert!(code == exit::NO_INPUT && error.contains("no `hearthd-sdk` is there"), "{error}");
        let nothing = folder.path();
        let sources = find_sdk(None, [nothing, Path::new(USUAL[0])]).unwrap();
        assert!(sources.ends_with("crates/hearthd-sdk"), "{sources:?}");
        let (code, error) = find_sdk(None, [nothing, nothing]).unwrap_err();
        assert!(code == exit::NO_INPUT && error.ends_with("of a checkout of hearthd"), "{error}");
        let template = Template::find(Language::Rust, From::Minimal).unwrap();
        let (_, template) = template.files.iter().find(|(path, _)| *path == "Cargo.toml").unwrap();
        let table: toml::Table = toml::from_str(&manifest(template, &sources, None)).unwrap();
        assert_eq!(table["dependencies"]["hearthd-sdk"]["path"].as_str(), sources.to_str());
    }

    #[test]
    fn a_plugin_in_c_finds_the_headers_and_has_its_name_everywhere() {
        for from in [From::Minimal, From::Http, From::Serial, From::Mqtt, From::Sensor] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a");
            let new = New { language: Language::C, from, ..arguments(&path) };
            device_of(&write_files(&new).unwrap());
            let makefile = fs::read_to_string(path.join("Makefile")).unwrap();
            let include =
                makefile.lines().find_map(|line| line.strip_prefix("INCLUDE = ")).unwrap();
            assert!(Path::new(include).join("hearth_plugin.h").exists(), "{include}");
            for file in ["Makefile", "plugin.c", "test.txt"] {
                let text = fs::read_to_string(path.join(file)).unwrap();
                let is_named = text.contains("garden-pump") && !text.contains("my-lamp");
                assert!(is_named, "{from:?}, {file}: {text}");
            }
        }
    }

    #[test]
    fn a_crate_has_the_dependencies_of_its_template_and_its_name_everywhere() {
        for (from, crates) in [
            (From::Minimal, &["hearthd-sdk", "serde", "tracing"][..]),
            (From::Http, &["hearthd-sdk", "serde", "serde_json", "tracing", "ureq"]),
            (From::Serial, &["hearthd-sdk", "rustix", "serde", "tracing"]),
            (From::Mqtt, &["hearthd-sdk", "serde", "tracing"]),
            (From::Sensor, &["hearthd-sdk", "serde", "tracing"]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a");
            device_of(&write_files(&New { from, ..arguments(&path) }).unwrap());
            let manifest = read_manifest(&path).unwrap();
            assert_eq!(manifest["package"]["name"].as_str(), Some("garden-pump"));
            let dependencies = manifest["dependencies"].as_table().unwrap();
            assert_eq!(dependencies.keys().collect::<Vec<_>>(), crates, "{from:?}");
            let code = fs::read_to_string(path.join("src/lib.rs")).unwrap();
            assert!(code.contains("garden-pump") && !code.contains("my-lamp"), "{from:?}: {code}");
        }
    }

    #[test]
    fn a_folder_of_the_sdk_with_the_name_of_a_template_is_written_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let sdk = folder.path().canonicalize().unwrap().join("my-lamp");
        fs::create_dir(&sdk).unwrap();
        fs::copy(Path::new(USUAL[0]).join("Cargo.toml"), sdk.join("Cargo.toml")).unwrap();
        for (language, file) in [(Language::Rust, "Cargo.toml"), (Language::C, "Makefile")] {
            let path = folder.path().join(file);
            let new = New { language, sdk: Some(sdk.clone()), ..arguments(&path) };
            write_files(&new).unwrap();
            let text = fs::read_to_string(path.join(file)).unwrap();
            assert!(text.contains(sdk.to_str().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_program_in_python_has_its_name_everywhere_and_a_table_that_can_be_read() {
        for from in [From::Minimal, From::Http, From::Serial, From::Sensor] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a");
            let new = New { language: Language::Python, from, ..arguments(&path) };
            let device = device_of(&write_files(&new).unwrap());
            let program = Path::new(device["config"]["command"][1].as_str().unwrap());
            assert!(fs::read_to_string(program).unwrap().contains("\"\"\"garden-pump, a device"));
            let test = program.with_file_name("test_garden_pump.py");
            let test = fs::read_to_string(test).unwrap();
            assert!(test.contains("with_name(\"garden-pump.py\")"), "{test}");
            assert_eq!(write_files(&new).unwrap_err().0, exit::CANNOT_CREATE);
        }
    }

    /// Reads the device in what is to be added to the hub's configuration.
    fn device_of(next: &str) -> toml::Value {
        let table: toml::Table = toml::from_str(next.split_once("toml:").unwrap().1).unwrap();
        table["devices"]["garden-pump"].clone()
    }

    #[test]
    fn a_workspace_around_it_is_joined_or_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), "[workspace]\nmembers = [\"plugins/*\"]\n")
            .unwrap();
        let own_workspace = |inside: &str| {
            let crate_folder = folder.path().join(inside);
            write_files(&arguments(&crate_folder)).unwrap();
            read_manifest(&crate_folder).unwrap().contains_key("workspace")
        };
        assert!(!own_workspace("plugins/garden-pump"), "a member by its place");
        assert!(own_workspace("elsewhere/garden-pump"));
    }
}
