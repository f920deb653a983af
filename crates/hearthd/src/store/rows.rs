//! The row of each request in the journal's table.

use std::collections::BTreeMap;

use hearthd_core::RequestKey;

/// The rows of the journal's table, from one write to the next in the order in which requests came.
///
/// They are forgotten in about the same order. So a write touches the table's two ends, where rows in the order of
/// their keys, which are as good as random, would touch most of the file's pages.
#[derive(Debug, Default)]
pub(super) struct Rows {
    by_key: BTreeMap<RequestKey, u64>,
    next: u64,
}

impl Rows {
    /// Notes what the file holds.
    pub(super) fn holding(rows: impl IntoIterator<Item = (u64, RequestKey)>) -> Self {
        let by_key: BTreeMap<_, _> = rows.into_iter().map(|(row, key)| (key, row)).collect();
        let next = by_key.values().max().map_or(0, |last| last + 1);
        Self { by_key, next }
    }

    /// Returns the row of a request, a new one where it has none.
    pub(super) fn of(&mut self, key: &RequestKey) -> u64 {
        if let Some(row) = self.by_key.get(key) {
            return *row;
        }
        let row = self.next;
        self.next += 1;
        self.by_key.insert(key.clone(), row);
        row
    }

    /// Returns the row of a request that is forgotten.
    pub(super) fn forget(&mut self, key: &RequestKey) -> Option<u64> {
        self.by_key.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_its_row_and_no_other_gets_it() {
        let key = RequestKey::Packet;
        let mut rows = Rows::holding([(7, key(2)), (5, key(1))]);
        assert_eq!([1, 2, 3, 4, 3].map(|n| rows.of(&key(n))), [5, 7, 8, 9, 8]);
        assert_eq!([4, 4, 1].map(|n| rows.forget(&key(n))), [Some(9), None, Some(5)]);
        assert_eq!([4, 1].map(|n| rows.of(&key(n))), [10, 11]);
    }
}
