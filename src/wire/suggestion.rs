//! What a mistyped name was probably meant to be.

/// The longest word compared, in bytes; the cost grows with the square of it.
const MAX_WORD: usize = 64;

/// The known name that differs least from `word`: by one letter in three at most, two neighbouring
/// letters in the wrong order counting as one.
pub fn closest<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|name| (strsim::osa_distance(&word, name), name));
    let near = distances.filter(|(distance, name)| *distance <= most && *distance < name.len());
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// `; did you mean level?`, or nothing if no known name is near.
pub fn did_you_mean<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    closest(word, known).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_distant_one_is_not() {
        let known = ["level", "stage", "project", "id", "dur"];
        for (word, name) in [
            ("levle", Some("level")),
            ("Level", Some("level")),
            ("stages", Some("stage")),
            ("proejct", Some("project")),
            ("di", Some("id")),
            ("http", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), name, "{word}");
        }
        assert_eq!(closest(&"level".repeat(100), known), None);
        assert_eq!(did_you_mean("levle", known), "; did you mean level?");
        assert_eq!(did_you_mean("http", known), "");
    }
}
