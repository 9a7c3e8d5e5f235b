//! Labels of pods as typed -> what a filter looks for.

use super::{Item, Pattern, list, pattern};
use crate::output::filter::{Label, List};

/// A label that can match something.
#[derive(Clone, Debug)]
pub(super) struct LabelPattern {
    key: String,
    value: Option<Pattern>,
}

impl LabelPattern {
    fn covers(&self, other: &Self) -> bool {
        let value = match (&self.value, &other.value) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(value), Some(other)) => value.covers(other),
        };
        self.key == other.key && value
    }
}

/// The items of a flag.
pub(super) fn labels(items: &[Item<LabelPattern>]) -> Result<List<Label>, String> {
    let List { include, exclude } = list("--label", items, LabelPattern::covers)?;
    let labels = |all: Vec<LabelPattern>| {
        let label = |one: LabelPattern| Label { key: one.key, value: one.value.map(|value| value.glob) };
        all.into_iter().map(label).collect()
    };
    Ok(List { include: labels(include), exclude: labels(exclude) })
}

/// Keys are whole: a wildcard in one would match what nobody means.
pub(super) fn label(text: &str) -> Result<LabelPattern, String> {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    if key.is_empty() || !key.chars().all(is_key) {
        return Err("write a label's key, or KEY=VALUE, as app=web; only the value may have wildcards".to_owned());
    }
    Ok(LabelPattern { key: key.to_owned(), value: value.map(pattern).transpose()? })
}
