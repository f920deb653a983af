//! `hearthd plugin new`: a crate that builds and passes its own test, or a program that does.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf, absolute},
    process::ExitCode,
};

use super::{exit, fail};

/// The arguments of `hearthd plugin new`.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// The name of the crate and of its kind of device, such as `my-lamp`; in Python, of the program.
    name: String,
    /// The language; a device in Python is a program of the plugin `program`, and needs no compiler.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
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
    Python,
}

/// Writes the crate or the program, and prints the next steps.
pub(super) fn new(new: &New) -> ExitCode {
    let written = match new.language {
        Language::Rust => write_crate(new),
        Language::Python => write_program(new),
    };
    match written {
        Ok(next) => {
            say!("{next}");
            ExitCode::SUCCESS
        }
        Err((code, error)) => fail(code, error),
    }
}

/// An exit code, and what went wrong.
type Refusal = (u8, String);

fn write_crate(new: &New) -> Result<String, Refusal> {
    let name = &new.name;
    let folder = folder_of(new)?;
    let sdk = find_sdk(new.sdk.as_deref(), USUAL.map(Path::new))?;
    let workspace = Workspace::around(&folder);
    let files = [
        ("Cargo.toml".to_owned(), manifest(name, &sdk, workspace.as_ref())),
        (".gitignore".to_owned(), "/target\n".to_owned()),
        ("src/lib.rs".to_owned(), include_str!("plugin_template/lib.rs").replace("my-lamp", name)),
    ];
    write(&folder, &files)?;
    Ok(next_steps(name, &folder, workspace.as_ref()))
}

fn write_program(new: &New) -> Result<String, Refusal> {
    let name = &new.name;
    let folder = folder_of(new)?;
    let named = |template: &str| template.replace("my-lamp", name);
    let files = [
        (format!("{name}.py"), named(include_str!("plugin_template/python/lamp.py"))),
        (
            format!("test_{}.py", name.replace('-', "_")),
            named(include_str!("plugin_template/python/test_lamp.py")),
        ),
    ];
    write(&folder, &files)?;
    let program = folder.join(&files[0].0);
    let [program, test] =
        [program, folder.join(&files[1].0)].map(|path| path.display().to_string());
    let command = toml::Value::from(vec!["python3", &program]);
    Ok(format!(
        "{name} is in {folder}. Next:

    python3 {test}

Then add to hearthd.toml:

[devices.{name}]
plugin = \"program\"
[devices.{name}.config]
command = {command}
settings = {{ off_after = 3600 }}    # seconds; without this line, it stays on
properties = {{ power = {{ type = \"switch\" }} }}",
        folder = folder.display()
    ))
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

/// Checks that a name can be a crate's, a kind's and a plugin's (L1: at most 31 bytes).
fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        Err("it must start with a letter of a-z")
    } else if !name.chars().all(fits) {
        Err("it may have only a-z, 0-9 and -")
    } else if name.ends_with('-') || name.contains("--") {
        Err("each - must be between two other characters")
    } else if name.len() > 31 {
        Err("it may have at most 31 characters")
    } else if TAKEN.contains(&name) {
        Err("Rust, cargo or a crate that it is built with has this name")
    } else {
        Ok(())
    }
}

/// Returns where the crate gets the SDK from. That is never a registry: anybody may own the name there.
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

/// A cargo workspace that the new crate lies in.
#[derive(Debug)]
struct Workspace {
    root: PathBuf,
    /// Whether its list of members names the crate already.
    is_member: bool,
}

impl Workspace {
    fn around(folder: &Path) -> Option<Self> {
        folder.ancestors().skip(1).find_map(|root| {
            let manifest = read_manifest(root)?;
            let members = manifest.get("workspace")?.get("members").and_then(|m| m.as_array());
            let inside = folder.strip_prefix(root).ok()?;
            let names = |member: &toml::Value| {
                let member = Path::new(member.as_str().unwrap_or_default());
                member == inside || (member.ends_with("*") && member.parent() == inside.parent())
            };
            let is_member = members.is_some_and(|members| members.iter().any(names));
            Some(Self { root: root.to_owned(), is_member })
        })
    }
}

fn read_manifest(folder: &Path) -> Option<toml::Table> {
    let text = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let table: toml::Table = toml::from_str(&text).ok()?;
    Some(table)
}

fn manifest(name: &str, sdk: &Path, workspace: Option<&Workspace>) -> String {
    let sdk = format!("{{ path = {} }}", toml::Value::from(sdk.display().to_string()));
    let apart = match workspace {
        Some(Workspace { is_member: false, .. }) => {
            "\n# Apart from the workspace around it.\n[workspace]\n"
        }
        Some(_) | None => "",
    };
    include_str!("plugin_template/Cargo.toml")
        .replace("my-lamp", name)
        .replace("\"{sdk}\"", &sdk)
        .replace("# {apart}\n", apart)
}

fn next_steps(name: &str, folder: &Path, workspace: Option<&Workspace>) -> String {
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
off_after = 3600    # seconds; without this line, it stays on",
        folder = folder.display()
    )
}

/// The SDK's sources on the machine that this program was built on, and those of the package.
const USUAL: [&str; 2] =
    [concat!(env!("CARGO_MANIFEST_DIR"), "/../hearthd-sdk"), "/usr/share/hearthd/sdk"];

/// Keywords, folders of cargo's, and crates that it is built with.
const TAKEN: [&str; 64] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "hearthd-sdk",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "serde-json",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tracing",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(folder: &Path) -> New {
        let language = Language::Rust;
        New { name: "garden-pump".into(), language, path: Some(folder.to_owned()), sdk: None }
    }

    #[test]
    fn a_name_is_checked_with_a_reason() {
        assert_eq!(check_name("my-lamp"), Ok(()));
        for name in
            ["", "9lives", "My-Lamp", "my_lamp", "lampe-é", "-x", "x-", "a--b", "type", "std"]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name(&"x".repeat(32)).is_err());
        assert_eq!(check_name(&"x".repeat(31)), Ok(()));
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join(".gitignore");
        fs::write(&manifest, "mine").unwrap();
        let (code, error) = write_crate(&arguments(folder.path())).unwrap_err();
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
        let (code, error) = write_crate(&wrong).unwrap_err();
        assert!(code == exit::NO_INPUT && error.contains("no `hearthd-sdk` is there"), "{error}");
        let nothing = folder.path();
        let sources = find_sdk(None, [nothing, Path::new(USUAL[0])]).unwrap();
        assert!(sources.ends_with("crates/hearthd-sdk"), "{sources:?}");
        let (code, error) = find_sdk(None, [nothing, nothing]).unwrap_err();
        assert!(code == exit::NO_INPUT && error.ends_with("of a checkout of hearthd"), "{error}");
        let table: toml::Table = toml::from_str(&manifest("pump", &sources, None)).unwrap();
        assert_eq!(table["dependencies"]["hearthd-sdk"]["path"].as_str(), sources.to_str());
    }

    #[test]
    fn a_program_in_python_has_its_name_everywhere_and_a_table_that_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let new = New { language: Language::Python, ..arguments(&folder.path().join("a")) };
        let next = write_program(&new).unwrap();
        let table: toml::Table = toml::from_str(next.split_once("toml:").unwrap().1).unwrap();
        let command = &table["devices"]["garden-pump"]["config"]["command"];
        let program = Path::new(command[1].as_str().unwrap());
        assert!(fs::read_to_string(program).unwrap().contains("\"\"\"garden-pump, a device"));
        let test = program.with_file_name("test_garden_pump.py");
        assert!(fs::read_to_string(test).unwrap().contains("with_name(\"garden-pump.py\")"));
        assert_eq!(write_program(&new).unwrap_err().0, exit::CANNOT_CREATE);
    }

    #[test]
    fn a_workspace_around_it_is_joined_or_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), "[workspace]\nmembers = [\"plugins/*\"]\n")
            .unwrap();
        let own_workspace = |inside: &str| {
            let crate_folder = folder.path().join(inside);
            write_crate(&arguments(&crate_folder)).unwrap();
            read_manifest(&crate_folder).unwrap().contains_key("workspace")
        };
        assert!(!own_workspace("plugins/garden-pump"), "a member by its place");
        assert!(own_workspace("elsewhere/garden-pump"));
    }
}
