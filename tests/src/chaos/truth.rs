//! Whether a repeated answer is still true: by what the hub itself has told since the first one.

use std::collections::BTreeMap;

use super::{plan::Ledger, record::Asked};
use crate::fault_proxy::LinkId;

/// What a hub has answered to requests that set something, in the order in which it did.
#[derive(Debug, Default)]
pub(super) struct Truth {
    count: usize,
    /// When each request was last answered as one that has just been carried out, and in which life of the hub.
    carried_out: BTreeMap<String, (usize, usize)>,
    /// When it was first answered from memory.
    repeated: BTreeMap<String, usize>,
    /// The last answer about each property that was told for the first time.
    last: BTreeMap<(Ledger, bool), Last>,
}

#[derive(Debug)]
struct Last {
    key: String,
    value: String,
    at: usize,
    life: usize,
    link: LinkId,
}

impl Truth {
    /// Notes an answer to a request that was carried out.
    pub(super) fn told(
        &mut self,
        link: LinkId,
        life: usize,
        key: String,
        asked: &Asked,
        value: &str,
    ) {
        self.count += 1;
        let at = self.count;
        let again = self.carried_out.insert(key.clone(), (at, life)).is_some();
        // What was delivered to an earlier life was perhaps carried out in that, before all that came since.
        if again || asked.delivered_to != Some(life) {
            return;
        }
        let value = value.to_owned();
        self.last.insert((asked.ledger, asked.line), Last { key, value, at, life, link });
    }

    /// Judges a repeated answer; returns why it is not true.
    ///
    /// The answers to requests for one device go out in the order in which they were carried out. A message that goes
    /// out again on the next connection is older than it looks.
    pub(super) fn check(
        &mut self,
        link: LinkId,
        life: usize,
        key: &str,
        asked: &Asked,
        value: &str,
    ) -> Option<String> {
        self.count += 1;
        let first_repeat = *self.repeated.entry(key.to_owned()).or_insert(self.count);
        let &(told_at, told_in) = self.carried_out.get(key)?;
        if let Some(last) = self.last.get(&(asked.ledger, asked.line))
            && last.life == life
            && last.at > told_at
            && last.value != value
            && (last.link == link || first_repeat > last.at)
        {
            return Some(format!(
                "{key}: repeated `{value}` after {} set `{}`",
                last.key, last.value
            ));
        }
        // A ledger forgets what it was set to.
        (told_in < life).then(|| format!("{key}: repeated `{value}` of an earlier life"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_true_as_long_as_nothing_else_was_told() {
        let mut truth = Truth::default();
        truth.told(1, 0, "a".into(), &line(), "a");
        assert_eq!(truth.check(1, 0, "a", &line(), "a"), None);
        truth.told(1, 0, "b".into(), &line(), "b");
        let untrue = truth.check(1, 0, "a", &line(), "a");
        assert_eq!(untrue.as_deref(), Some("a: repeated `a` after b set `b`"));
        assert_eq!(truth.check(1, 0, "b", &line(), "b"), None);
        let level = Asked { line: false, ..line() };
        truth.told(1, 0, "c".into(), &level, "7");
        assert_eq!(truth.check(1, 0, "b", &line(), "b"), None, "another property");
    }

    #[test]
    fn a_message_that_goes_out_again_is_judged_by_when_it_first_did() {
        let mut truth = Truth::default();
        truth.told(1, 0, "a".into(), &line(), "a");
        assert_eq!(truth.check(1, 0, "a", &line(), "a"), None);
        truth.told(1, 0, "b".into(), &line(), "b");
        assert_eq!(truth.check(2, 0, "a", &line(), "a"), None);
    }

    #[test]
    fn what_was_carried_out_again_is_true_again() {
        let mut truth = Truth::default();
        for key in ["a", "b", "a"] {
            truth.told(1, 0, key.into(), &line(), key);
        }
        assert_eq!(truth.check(1, 0, "a", &line(), "a"), None);
    }

    #[test]
    fn a_ledger_that_was_killed_has_forgotten() {
        let mut truth = Truth::default();
        truth.told(1, 0, "a".into(), &line(), "a");
        assert!(truth.check(2, 1, "a", &line(), "a").is_some());
    }

    fn line() -> Asked {
        Asked { line: true, delivered_to: Some(0), ..Asked::default() }
    }
}
