//! PURE: the globs of a policy's `match` and of the command line's filters. Touches nothing.

/// A pattern for a whole text: `*` is any number of characters, `?` exactly one, the rest itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<char>);

impl Glob {
    /// Every text is a glob.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.chars().collect())
    }

    /// Whether the pattern covers the whole text, in time of at most the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (&self.0, text.chars().collect::<Vec<char>>());
        let (mut at, mut seen) = (0, 0);
        // Behind the last star, and the first character that it does not cover.
        let mut star: Option<(usize, usize)> = None;
        while seen < text.len() {
            match pattern.get(at) {
                Some('*') => {
                    at += 1;
                    star = Some((at, seen));
                }
                Some(wanted) if *wanted == '?' || *wanted == text[seen] => {
                    at += 1;
                    seen += 1;
                }
                _ => match star {
                    Some((behind, covered)) => {
                        at = behind;
                        seen = covered + 1;
                        star = Some((behind, seen));
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, in exponential time.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=text.len()).any(|covered| by_definition(rest, &text[covered..])),
            (Some((p, rest)), Some((t, behind))) => (*p == '?' || p == t) && by_definition(rest, behind),
            _ => false,
        }
    }

    #[test]
    fn whole_texts_only() {
        for (pattern, text, expected) in [
            ("pvc-*", "pvc-1", true),
            ("pvc-*", "xpvc-1", false),
            ("pvc", "pvc-1", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?", "ä", true),
            ("a*b*c", "aXbXbXc", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn as_defined(pattern in "[ab*?]{0,8}", text in "[abc]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = by_definition(&chars(&pattern), &chars(&text));
            prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
        }
    }
}
