//! What is tried: a plugin file, or a program that the plugin `program` runs.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value as Json, json};

use super::Refusal;
use crate::{cli::exit, plugin::identity::Identity};

/// A plugin file, and the table of the device.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) plugin: PathBuf,
    pub(super) table: Json,
    pub(super) is_program: bool,
}

impl Subject {
    /// Finds out what a file is.
    ///
    /// # Errors
    /// Where it is neither, or the plugin `program` is missing.
    pub(super) fn find(file: &Path, table: Json) -> Result<Self, Refusal> {
        let place = file.display();
        let data =
            std::fs::read(file).map_err(|error| (exit::NO_INPUT, format!("{place}: {error}")))?;
        let is_object = file.extension().is_some_and(|extension| extension == "so");
        if is_object || Identity::claimed(&data).is_ok() {
            return Ok(Self { plugin: file.to_owned(), table, is_program: false });
        }
        let table = with_command(file, table)?;
        let plugin = program_plugin(std::env::current_exe().ok().as_deref())?;
        Ok(Self { plugin, table, is_program: true })
    }
}

/// Adds the command that starts the program, unless the table has one.
fn with_command(file: &Path, mut table: Json) -> Result<Json, Refusal> {
    let Some(entries) = table.as_object_mut().filter(|entries| !entries.contains_key("command"))
    else {
        return Ok(table);
    };
    let whole = file
        .canonicalize()
        .map_err(|error| (exit::NO_INPUT, format!("{}: {error}", file.display())))?;
    let can_run = whole.metadata().is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    if !can_run {
        let file = file.display();
        let text = format!(
            "{file} is no plugin, and no program that can be run: make it executable, or name what runs it in the table, \
             such as command = [\"python3\", \"{file}\"]"
        );
        return Err((exit::DATA, text));
    }
    entries.insert("command".into(), json!([whole]));
    Ok(table)
}

/// Finds the plugin `program`: where the package has it, or where it is built.
fn program_plugin(own: Option<&Path>) -> Result<PathBuf, Refusal> {
    let folder = own.and_then(Path::parent).unwrap_or(Path::new("/usr/bin"));
    let places = [
        folder.join("libhearthd_plugin_program.so"),
        folder.join("../lib/hearthd/plugins/program.so"),
    ];
    let missing = || {
        let places = places.each_ref().map(|place| place.display().to_string()).join(", ");
        (
            exit::NO_INPUT,
            format!("the plugin `program`, which runs programs, is in none of {places}"),
        )
    };
    places.iter().find(|place| place.exists()).cloned().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_by_its_path_or_as_its_table_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lamp.py");
        std::fs::write(&file, "#!/usr/bin/env python3\n").unwrap();
        let given = json!({"command": ["python3", "lamp.py"]});
        assert_eq!(with_command(&file, given.clone()).unwrap(), given);
        let (code, error) = with_command(&file, json!({})).unwrap_err();
        assert_eq!(code, exit::DATA);
        assert!(error.contains("command = [\"python3\", "), "{error}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let table = with_command(&file, json!({})).unwrap();
        assert_eq!(table["command"][0], file.canonicalize().unwrap().to_str().unwrap());
    }

    #[test]
    fn the_plugin_for_programs_is_beside_this_program_or_where_the_package_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("bin/hearthd");
        let (code, error) = program_plugin(Some(&own)).unwrap_err();
        assert!(code == exit::NO_INPUT && error.contains("plugins/program.so"), "{error}");
        let packaged = folder.path().join("lib/hearthd/plugins");
        std::fs::create_dir_all(&packaged).unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::fs::write(packaged.join("program.so"), "").unwrap();
        assert!(program_plugin(Some(&own)).unwrap().ends_with("lib/hearthd/plugins/program.so"));
    }
}
