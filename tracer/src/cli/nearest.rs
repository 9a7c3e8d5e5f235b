//! PURE: the right word for one that was mistyped.

use strsim::jaro_winkler;

/// Below this likeness (0 to 1) a word is another word and not a slip.
const ALIKE: f64 = 0.7;

/// The known word that is most like what was typed, when one is like it at all; upper and lower case are the same.
pub(super) fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let likeness = |word: &&'a str| (jaro_winkler(&typed, &word.to_lowercase()), *word);
    let best = known.iter().map(likeness).max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness > ALIKE).map(|(_, word)| word)
}

/// The remedy behind an unknown word: the nearest one, and all of them.
pub(super) fn or_one_of(typed: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match nearest(typed, known) {
        Some(word) => format!("did you mean `{word}`? There are: {all}"),
        None => format!("write one of: {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_another_word_finds_none() {
        let known = ["mount", "bind", "umount", "detached_copy", "namespace_created"];
        assert_eq!(nearest("mounts", &known), Some("mount"));
        assert_eq!(nearest("unmount", &known), Some("umount"));
        assert_eq!(nearest("Namespace-Created", &known), Some("namespace_created"));
        assert_eq!(nearest("xyz", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(or_one_of("bnd", &known[..2]), "did you mean `bind`? There are: mount, bind");
        assert_eq!(or_one_of("xyz", &known[..2]), "write one of: mount, bind");
    }
}
