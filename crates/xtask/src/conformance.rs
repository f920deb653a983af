//! The table of the statements of the MQTT standards, each with the test that shows it.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use hearthd_tests::{Doing, Failure, Result, built::workspace};

/// Writes the table.
pub(crate) fn write() -> Result<()> {
    let (table, problems) = generate()?;
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        return Err(Failure(format!("{} problems", problems.len())));
    }
    let path = workspace().join(TABLE);
    fs::write(&path, table).doing(path.display())
}

/// Returns what is wrong with the list of statements and with the table that was made of it.
pub(crate) fn check() -> Result<Vec<String>> {
    let (table, mut problems) = generate()?;
    let found = fs::read_to_string(workspace().join(TABLE)).unwrap_or_default();
    if problems.is_empty() && found != table {
        problems.push(format!("{TABLE}: is not what `cargo xtask conformance` makes of {LIST}"));
    }
    Ok(problems)
}

/// Makes the table of the list; returns it with the problems of the list.
fn generate() -> Result<(String, Vec<String>)> {
    let path = workspace().join(LIST);
    let text = fs::read_to_string(&path).doing(path.display())?;
    let tests = tests()?;
    let mut table = HEAD.to_owned();
    let mut problems = Vec::new();
    let mut last = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let mut problem = |what: &str| problems.push(format!("{LIST}:{}: {what}", place + 1));
        if let Some(standard) = line.strip_prefix("## ") {
            last.clear();
            let _ = write!(
                table,
                "\n## {standard}\n\n| statement | asks for | shown by |\n|---|---|---|\n"
            );
        } else if !line.is_empty() && !line.starts_with('#') {
            match Statement::parse(line) {
                Ok(statement) => {
                    if statement.order <= last {
                        problem("is out of order, or there twice");
                    }
                    for test in statement.tests.iter().filter(|test| !tests.contains(**test)) {
                        problem(&format!("there is no test `{test}`"));
                    }
                    table += &statement.row();
                    last = statement.order;
                }
                Err(what) => problem(what),
            }
        }
    }
    Ok((table, problems))
}

/// One line of the list.
struct Statement<'l> {
    number: &'l str,
    order: Vec<u32>,
    asks: &'l str,
    tests: Vec<&'l str>,
    reason: &'l str,
}

impl<'l> Statement<'l> {
    fn parse(line: &'l str) -> std::result::Result<Self, &'static str> {
        let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let [number, asks, shown] = parts[..] else {
            return Err("is not NUMBER | WHAT IT ASKS FOR | TESTS or - REASON");
        };
        let order = number.split(['.', '-']).map(str::parse).collect::<std::result::Result<_, _>>();
        let order = order.map_err(|_| "does not begin with a number such as 3.1.2-1")?;
        let (tests, reason) = match shown.strip_prefix('-') {
            Some(reason) => (Vec::new(), reason.trim()),
            None => (shown.split(',').map(str::trim).collect(), ""),
        };
        if tests.is_empty() && reason.is_empty() {
            return Err("has neither a test nor a reason");
        }
        Ok(Self { number, order, asks, tests, reason })
    }

    fn row(&self) -> String {
        let shown: Vec<String> = self.tests.iter().map(|test| link(test)).collect();
        let shown = if shown.is_empty() {
            format!("does not apply: {}", self.reason)
        } else {
            shown.join("; ")
        };
        format!("| {} | {} | {shown} |\n", self.number, self.asks)
    }
}

/// Writes the name of a test as the sentence that it is, with a link to its file.
fn link(test: &str) -> String {
    let (file, name) = test.split_once("::").unwrap_or((test, test));
    format!("[{file}](tests/{file}.rs): {}", name.replace('_', " "))
}

/// Returns the tests of the broker, as `FILE::NAME`.
fn tests() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for binary in ["core", "packet", "driver"] {
        let folder: PathBuf = workspace().join(CRATE).join("tests").join(binary);
        for entry in fs::read_dir(&folder).doing(folder.display())? {
            let path = entry?.path();
            let text = fs::read_to_string(&path).doing(path.display())?;
            let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut lines = text.lines();
            while lines.by_ref().any(|line| line.trim() == "#[test]") {
                let name = lines.next().and_then(|line| line.trim().strip_prefix("fn "));
                if let Some((name, _)) = name.and_then(|name| name.split_once('(')) {
                    found.insert(format!("{binary}/{file}::{name}"));
                }
            }
        }
    }
    Ok(found)
}

const CRATE: &str = "crates/hearthd-broker";
const LIST: &str = "crates/hearthd-broker/conformance.txt";
const TABLE: &str = "crates/hearthd-broker/CONFORMANCE.md";
const HEAD: &str = "# Conformance\n\n\
    Every numbered statement of the OASIS standards that binds a server, in our words, with the tests that show that the \
    bundled broker\nkeeps it, or the reason why it does not apply. The number is that of the standard: 3.1.2-1 is \
    [MQTT-3.1.2-1].\n\n\
    Made by `cargo xtask conformance` from [conformance.txt](conformance.txt); `cargo xtask tidy` compares them.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_a_number_and_a_test_or_a_reason() {
        let good = Statement::parse("3.1.2-10 | Wills go | core/wills::a, core/wills::b").unwrap();
        assert_eq!(good.order, [3, 1, 2, 10]);
        assert_eq!(good.tests, ["core/wills::a", "core/wills::b"]);
        assert_eq!(Statement::parse("1-1 | x | - not here").unwrap().reason, "not here");
        for bad in ["3.1.2-1 | x | -", "3.1.2-1 | x", "x | y | core/wills::a"] {
            assert!(Statement::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_tests_of_the_broker_are_found() {
        let tests = tests().unwrap();
        assert!(tests.contains("core/wills::a_will_is_published_after_its_delay"));
        assert!(!tests.contains("core/wills::watched"), "no test");
    }
}
