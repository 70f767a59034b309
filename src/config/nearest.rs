//! The name that somebody meant who typed another one.

/// The name that was probably meant: at most a third of it is typed wrong.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Long before this a name is no slip of the fingers, and the table below would be large.
    let name = (name.len() <= 100).then_some(name)?;
    let scored = names.map(|candidate| (distance(name, candidate), candidate));
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= candidate.len()).then_some(candidate)
}

/// Levenshtein's: insertions, deletions and replacements from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_told_from_another_word() {
        let names = ["api.listen", "api.tokens", "tools.http.allow_private"];
        let nearest = |name| nearest(name, names.into_iter());
        assert_eq!(nearest("api.lsten"), Some("api.listen"));
        assert_eq!(nearest("tools.http.alow_private"), Some(names[2]));
        assert_eq!(nearest("completely.different"), None);
    }
}
