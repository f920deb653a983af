//! The manifest of a new crate, and the workspace around it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A cargo workspace that the new crate lies in.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) root: PathBuf,
    /// Whether its list of members names the crate already.
    pub(super) is_member: bool,
}

impl Workspace {
    /// Finds the workspace around a folder.
    pub(super) fn around(folder: &Path) -> Option<Self> {
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

/// Reads the manifest in a folder, if there is one.
pub(super) fn read_manifest(folder: &Path) -> Option<toml::Table> {
    let text = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let table: toml::Table = toml::from_str(&text).ok()?;
    Some(table)
}

/// Fills in the manifest of a new crate.
pub(super) fn manifest(template: &str, sdk: &Path, workspace: Option<&Workspace>) -> String {
    let sdk = format!("{{ path = {} }}", toml::Value::from(sdk.display().to_string()));
    let apart = match workspace {
        Some(Workspace { is_member: false, .. }) => {
            "\n# Apart from the workspace around it.\n[workspace]\n"
        }
        Some(_) | None => "",
    };
    template.replace("\"{sdk}\"", &sdk).replace("# {apart}\n", apart)
}
