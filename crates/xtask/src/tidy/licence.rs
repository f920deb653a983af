//! Licence expressions, as crates give theirs (SPDX, annex D).

use std::collections::BTreeSet;

/// Returns whether some choice that an expression leaves has allowed licences alone.
///
/// # Errors
/// Where it is no expression.
pub(super) fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> Result<bool, String> {
    // Crates of long ago have `/` in place of OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = Words { words: spaced.split_whitespace().collect(), allowed };
    words.words.reverse();
    let verdict = words.any_of();
    match words.words.pop() {
        _ if verdict.is_none() => Err(format!("`{expression}` is no licence expression")),
        None => Ok(verdict == Some(true)),
        Some(left) => Err(format!("`{expression}`: `{left}` is not expected there")),
    }
}

/// What is left of an expression, the next word last.
struct Words<'e> {
    words: Vec<&'e str>,
    allowed: &'e BTreeSet<String>,
}

impl Words<'_> {
    fn any_of(&mut self) -> Option<bool> {
        let mut verdict = self.all_of()?;
        while self.skip("OR") {
            verdict |= self.all_of()?;
        }
        Some(verdict)
    }

    fn all_of(&mut self) -> Option<bool> {
        let mut verdict = self.one()?;
        while self.skip("AND") {
            verdict &= self.one()?;
        }
        Some(verdict)
    }

    fn one(&mut self) -> Option<bool> {
        if self.skip("(") {
            let verdict = self.any_of()?;
            return self.skip(")").then_some(verdict);
        }
        let mut licence = self.words.pop().filter(|word| !SIGNS.contains(word))?.to_owned();
        if self.skip("WITH") {
            licence = format!("{licence} WITH {}", self.words.pop()?);
        }
        Some(self.allowed.contains(&licence))
    }

    fn skip(&mut self, word: &str) -> bool {
        self.words.pop_if(|next| *next == word).is_some()
    }
}

const SIGNS: [&str; 5] = ["OR", "AND", "WITH", "(", ")"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_choice_must_be_allowed_as_a_whole() {
        let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        let check = |expression| is_allowed(expression, &allowed);
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "GPL-3.0/MIT",
            "MIT AND ISC",
            "(MIT OR X) AND ISC",
            "X OR MIT AND ISC",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(check(good), Ok(true), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND X", "(MIT OR ISC) AND X", "Apache-2.0", "MIT WITH X", "mit"]
        {
            assert_eq!(check(bad), Ok(false), "{bad}");
        }
        for nonsense in ["", "MIT ISC", "MIT OR", "(MIT", "MIT)", "OR"] {
            assert!(check(nonsense).is_err(), "{nonsense}");
        }
    }
}
