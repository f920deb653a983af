//! Finds the name that a person may have meant.

/// Returns the name that differs least from `wanted`, or one that begins with it; `None` if no name is similar.
pub fn most_similar<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().collect();
    let most = (wanted.len() / 3).clamp(1, MOST_EDITS);
    let rank = |name: &&str| {
        let name: Vec<char> = name.to_lowercase().chars().collect();
        if name.len().abs_diff(wanted.len()) <= most {
            let edits = edits(&wanted, &name);
            if edits <= most {
                return Some(edits);
            }
        }
        (wanted.len() >= LEAST_BEGINNING && name.starts_with(&wanted)).then_some(most + 1)
    };
    let ranked = names.filter_map(|name| Some((rank(&name)?, name)));
    ranked.min().map(|(_, name)| name)
}

/// Counts the characters to insert, delete or replace, and the neighbours to swap, that change one text into the other.
fn edits(from: &[char], to: &[char]) -> usize {
    let mut before = vec![0; to.len() + 1];
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, &c) in from.iter().enumerate() {
        let mut current = vec![row + 1; to.len() + 1];
        for (column, &d) in to.iter().enumerate() {
            let replaced = above[column] + usize::from(c != d);
            let mut least = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && c == to[column - 1] && d == from[row - 1];
            if swapped {
                least = least.min(before[column - 1] + 1);
            }
            current[column + 1] = least;
        }
        before = std::mem::replace(&mut above, current);
    }
    above[to.len()]
}

/// Names with more differences are not similar, whatever their length.
const MOST_EDITS: usize = 3;
/// With fewer characters than this, too many names begin with the text.
const LEAST_BEGINNING: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_insertions_deletions_replacements_and_swaps() {
        let edits = |from: &str, to: &str| {
            edits(&from.chars().collect::<Vec<_>>(), &to.chars().collect::<Vec<_>>())
        };
        for (from, to, expected) in [
            ("", "", 0),
            ("", "lamp", 4),
            ("lamp", "", 4),
            ("lamp", "lamp", 0),
            ("lmap", "lamp", 1),
            ("lam", "lamp", 1),
            ("lampe", "lamp", 1),
            ("lump", "lamp", 1),
            ("kitten", "sitting", 3),
            ("heater", "lamp", 5),
        ] {
            assert_eq!(edits(from, to), expected, "{from} {to}");
            assert_eq!(edits(to, from), expected, "{to} {from}");
        }
    }

    #[test]
    fn the_nearest_name_is_meant_and_a_strange_one_is_not() {
        let names = ["boiler", "lamp", "lamp-2", "light-in-bedroom", "thermostat"];
        for (wanted, expected) in [
            ("lmap", Some("lamp")),
            ("LAMP", Some("lamp")),
            ("lamp2", Some("lamp")),
            ("termostad", Some("thermostat")),
            ("light", Some("light-in-bedroom")),
            ("li", None),
            ("heater", None),
            ("", None),
        ] {
            assert_eq!(most_similar(wanted, names.into_iter()), expected, "{wanted}");
        }
    }
}
