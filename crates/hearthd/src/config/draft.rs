//! A configuration that may have mistakes, so that all of them can be reported at once.

use std::{collections::BTreeSet, path::Path};

use hearthd_config::Mistakes;

use super::{Config, Problem, Problems, Source, sections};

/// A file as far as it can be read, and everything that is wrong with it so far.
#[derive(Debug)]
pub struct Draft {
    /// The configuration in the file, with defaults in place of mistakes.
    pub config: Config,
    pub(super) problems: Vec<Problem>,
    pub(super) mistakes: Mistakes,
    /// The place of `[plugins] path`.
    pub(super) plugin_path: Option<usize>,
}

impl Draft {
    /// Reads a file; relative paths in it start at its folder.
    ///
    /// # Errors
    /// Where it cannot be read at all.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        Source::read(path).map(sections::draft)
    }

    /// Returns the configuration with those devices alone whose own tables could be read: of the others, plugins would
    /// complain about what is not in the file.
    pub(crate) fn sound(&self) -> Config {
        let unsound: BTreeSet<&str> = self.problems.iter().filter_map(whose_table).collect();
        let source = &self.config.source;
        let mut sound = self.config.clone();
        sound.devices.retain(|id, _| {
            let place = source.find(id, "config");
            !unsound.contains(id.as_str())
                && place.is_some_and(|at| !self.mistakes.explain(source, at))
        });
        sound
    }

    /// Returns whether the plugins' folders are those that the file means.
    pub(crate) fn knows_plugin_path(&self) -> bool {
        let source = &self.config.source;
        let is_explained = |at| self.mistakes.explain(source, at);
        !self.mistakes.hide_tables()
            && !self.plugin_path.is_some_and(is_explained)
            && !self.problems.iter().any(|problem| problem.key.starts_with("plugins.path"))
    }

    /// Notes a problem with a key of a device, such as `plugin`.
    pub fn add(&mut self, device: &str, key: &str, what: &str) {
        let source = &self.config.source;
        let place = source.find(device, key).map(|at| source.place(at));
        let problem = source.problem_at(place, &format!("devices.{device}.{key}"), what);
        self.problems.push(problem);
    }

    /// Notes the problem that a plugin has with a key of its device's table.
    pub fn complain(&mut self, device: &str, path: &str, what: &str) {
        self.problems.push(self.config.device_problem(device, path, what));
    }

    /// Notes what is unwise about a key of a device's table.
    pub fn warn(&mut self, device: &str, path: &str, what: &str) {
        let warning = self.config.device_problem(device, path, what);
        self.config.warnings.push(warning);
    }

    /// Notes a problem with the plugins' folders or what is in them.
    pub(crate) fn add_plugin_problem(&mut self, what: &str) {
        let source = &self.config.source;
        let place = self.plugin_path.map(|at| source.place(at));
        self.problems.push(source.problem_at(place, "plugins.path", what));
    }

    /// Returns everything that is wrong.
    pub fn into_problems(self) -> Problems {
        self.problems.into()
    }

    /// Returns the configuration if nothing is wrong with it.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn finish(self) -> Result<Config, Problems> {
        if self.problems.is_empty() { Ok(self.config) } else { Err(self.problems.into()) }
    }
}

/// Returns the device whose own table a problem is in.
fn whose_table(problem: &Problem) -> Option<&str> {
    let (device, _) = problem.key.strip_prefix("devices.")?.split_once(".config")?;
    Some(device)
}
