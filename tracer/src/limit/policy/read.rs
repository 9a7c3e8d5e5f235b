//! PURE: from the YAML tree to a checked [`Policy`]; every refusal says what to write. Touches nothing.

use std::collections::BTreeMap;

use serde_saphyr::Error;

use super::hopeless::hopeless;
use super::yaml::{self, Key, Kind, Node, Spot};
use super::{Glob, Match, Mode, Place, Policy, PolicyError, Rule};
use crate::limit::{Limits, quantity};

/// Keys that this version knows, and those that it will know: the latter are refused by name, since a key that is
/// passed over would limit more, or less, than its author meant.
struct Keys {
    of: &'static str,
    known: &'static [&'static str],
    later: &'static [&'static str],
}

const TOP: Keys =
    Keys { of: "the policy", known: &["mode", "floor", "takeOver", "exempt", "allowDisks", "rules"], later: &[] };
const RULE: Keys = Keys { of: "a rule", known: &["name", "match", "limits"], later: &["claimMayRaiseTo"] };
const MATCH: Keys = Keys {
    of: "`match`",
    known: &["volume", "podUid", "driver", "fstype", "device", "path"],
    later: &["namespace", "pod", "podLabels", "claim", "claimLabels", "storageClass"],
};
const LIMITS: Keys = Keys { of: "limits", known: &["readBps", "writeBps", "readIops", "writeIops"], later: &[] };

/// The kernel refuses 0 with ERANGE and 1 with EINVAL (`tg_set_limit`, block/blk-throttle.c).
const SMALLEST: u64 = 2;
/// Bytes are 64 bits in the kernel, where all ones mean no limit.
const MOST_BYTES: u64 = u64::MAX - 1;
/// Operations are 32 bits in the kernel, where all ones mean no limit: it takes more, and drops the rule silently.
const MOST_OPERATIONS: u64 = 4_294_967_294;

const MATCH_EXAMPLE: &str = "write the volumes it is for, as match: { volume: \"*\" }";

/// The policy in these bytes.
pub(super) fn policy(bytes: &[u8], file: &str) -> Result<Policy, PolicyError> {
    let reader = Reader { file };
    let text = reader.text(bytes)?;
    let root = yaml::parse(text).map_err(|source| reader.no_yaml(source))?;
    reader.policy(root)
}

/// Knows the file's name, for the refusals.
struct Reader<'a> {
    file: &'a str,
}

/// The entries of a map, each once, by name.
type Fields = BTreeMap<String, (Spot, Node)>;

impl Reader<'_> {
    fn place(&self, at: Spot) -> Place {
        Place { file: self.file.to_owned(), line: at.line, column: at.column }
    }

    fn refuse<T>(&self, at: Spot, what: impl Into<String>, remedy: impl Into<String>) -> Result<T, PolicyError> {
        Err(PolicyError::Refused { at: self.place(at), what: what.into(), remedy: remedy.into() })
    }

    fn no_yaml(&self, source: Error) -> PolicyError {
        let at = self.place(Spot::of_error(&source));
        if matches!(source.without_snippet(), Error::MultipleDocuments { .. }) {
            let (what, remedy) = ("a second YAML document starts here", "keep one policy in a file");
            return PolicyError::Refused { at, what: what.to_owned(), remedy: remedy.to_owned() };
        }
        let (too_much, source) = (matches!(source.without_snippet(), Error::Budget { .. }), Box::new(source));
        if too_much { PolicyError::TooMuch { at, source } } else { PolicyError::Syntax { at, source } }
    }

    fn text<'b>(&self, bytes: &'b [u8]) -> Result<&'b str, PolicyError> {
        str::from_utf8(bytes).map_err(|source| {
            let valid = String::from_utf8_lossy(&bytes[..source.valid_up_to()]);
            PolicyError::NotUtf8 { at: self.place(Spot::behind(&valid)), source }
        })
    }

    fn policy(&self, root: Node) -> Result<Policy, PolicyError> {
        let at = root.at;
        if matches!(root.kind, Kind::Null) {
            return self.refuse(at, "the policy is empty", "write at least rules: []");
        }
        let mut fields = self.fields(root, &TOP)?;
        self.unsupported_list(fields.remove("exempt"), "exempt")?;
        self.unsupported_list(fields.remove("allowDisks"), "allowDisks")?;
        let mode = fields.remove("mode").map_or(Ok(Mode::default()), |(_, node)| self.mode(&node))?;
        let take_over = fields.remove("takeOver").map_or(Ok(false), |(_, node)| self.boolean(&node, "takeOver"))?;
        let floor = fields.remove("floor").map_or(Ok(Policy::DEFAULT_FLOOR), |(_, node)| self.floor(node))?;
        let Some((_, rules)) = fields.remove("rules") else {
            return self.refuse(at, "the policy has no `rules`", "write rules: and a list, which may be []");
        };
        Ok(Policy { mode, floor, take_over, rules: self.rules(rules, floor)? })
    }

    /// The entries of a map with none but known keys, none twice.
    fn fields(&self, node: Node, keys: &Keys) -> Result<Fields, PolicyError> {
        let Kind::Map(entries) = node.kind else {
            let known = keys.known.join(", ");
            return self.refuse(
                node.at,
                format!("{} must be a map", keys.of),
                format!("write keys and values, of {known}"),
            );
        };
        let mut fields = Fields::new();
        for (key, value) in entries {
            self.check_key(&key, keys)?;
            if let Some((first, _)) = fields.get(&key.name) {
                let what = format!("`{}` is there twice, first in line {}", key.name, first.line);
                return self.refuse(key.at, what, "keep one of the two");
            }
            fields.insert(key.name, (key.at, value));
        }
        Ok(fields)
    }

    fn check_key(&self, key: &Key, keys: &Keys) -> Result<(), PolicyError> {
        let known = keys.known.join(", ");
        if keys.known.contains(&key.name.as_str()) {
            return Ok(());
        }
        if keys.later.contains(&key.name.as_str()) {
            let what = format!("`{}` is not supported by this version yet", key.name);
            return self.refuse(key.at, what, format!("it knows {known}"));
        }
        self.refuse(key.at, format!("`{}` is not a key of {}", key.name, keys.of), format!("write one of {known}"))
    }

    /// `exempt` and `allowDisks`: empty they say nothing, filled they would have to be obeyed.
    fn unsupported_list(&self, field: Option<(Spot, Node)>, name: &str) -> Result<(), PolicyError> {
        match field {
            Some((at, node)) if !matches!(&node.kind, Kind::List(items) if items.is_empty()) => self.refuse(
                at,
                format!("`{name}` is not supported by this version yet"),
                format!("write {name}: [] or leave it out"),
            ),
            _ => Ok(()),
        }
    }

    fn mode(&self, node: &Node) -> Result<Mode, PolicyError> {
        match self.word(node, "mode", "observe or enforce")? {
            "observe" => Ok(Mode::Observe),
            "enforce" => Ok(Mode::Enforce),
            "release" => self.refuse(
                node.at,
                "`mode: release` is not supported by this version yet",
                "it knows observe, enforce",
            ),
            other => self.refuse(node.at, format!("`{other}` is not a mode"), "write observe or enforce"),
        }
    }

    fn boolean(&self, node: &Node, name: &str) -> Result<bool, PolicyError> {
        match self.word(node, name, "true or false")? {
            "true" => Ok(true),
            "false" => Ok(false),
            other => self.refuse(node.at, format!("`{other}` is not a boolean"), "write true or false"),
        }
    }

    /// A scalar.
    fn word<'n>(&self, node: &'n Node, name: &str, wanted: &str) -> Result<&'n str, PolicyError> {
        match &node.kind {
            Kind::Text(text) => Ok(text),
            Kind::Null => self.refuse(node.at, format!("`{name}` is empty"), format!("write {wanted}")),
            _ => self.refuse(node.at, format!("`{name}` must be a single value"), format!("write {wanted}")),
        }
    }

    fn floor(&self, node: Node) -> Result<Limits, PolicyError> {
        let mut fields = self.fields(node, &LIMITS)?;
        let mut floor = Policy::DEFAULT_FLOOR;
        for field in &FIELDS {
            let Some((_, node)) = fields.remove(field.key) else {
                continue;
            };
            let value = self.value(&node, field)?;
            if value.is_none() {
                return self.refuse(node.at, format!("the floor of {} cannot be max", field.key), "write a number");
            }
            *(field.of)(&mut floor) = value;
        }
        Ok(floor)
    }

    fn rules(&self, node: Node, floor: Limits) -> Result<Vec<Rule>, PolicyError> {
        let Kind::List(items) = node.kind else {
            return self.refuse(node.at, "`rules` must be a list", "write a - before each rule, or [] for none");
        };
        let mut first_at = BTreeMap::<String, Spot>::new();
        let mut rules = Vec::with_capacity(items.len());
        for item in items {
            let (at, rule) = self.rule(item, floor)?;
            if let Some(first) = first_at.insert(rule.name.clone(), at) {
                let what = format!("two rules are named `{}`, the first in line {}", rule.name, first.line);
                return self.refuse(at, what, "give each its own name");
            }
            rules.push(rule);
        }
        Ok(rules)
    }

    /// A rule, and where its name is.
    fn rule(&self, node: Node, floor: Limits) -> Result<(Spot, Rule), PolicyError> {
        let at = node.at;
        let mut fields = self.fields(node, &RULE)?;
        let Some((_, name)) = fields.remove("name") else {
            return self.refuse(at, "the rule has no `name`", "write one, which decisions and messages will show");
        };
        let text = self.word(&name, "name", "a name, which decisions and messages will show")?;
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return self.refuse(name.at, "the rule's name is empty or has control characters", "write a readable name");
        }
        let Some((_, matches)) = fields.remove("match") else {
            return self.refuse(at, format!("the rule `{text}` has no `match`"), MATCH_EXAMPLE);
        };
        let Some((_, limits)) = fields.remove("limits") else {
            return self.refuse(
                at,
                format!("the rule `{text}` has no `limits`"),
                "write them, as limits: { writeBps: 20M }",
            );
        };
        let rule = Rule {
            name: text.to_owned(),
            matches: self.matches(matches, text)?,
            limits: self.limits(limits, text, floor)?,
        };
        Ok((name.at, rule))
    }

    fn matches(&self, node: Node, rule: &str) -> Result<Match, PolicyError> {
        let at = node.at;
        if matches!(node.kind, Kind::Null) {
            return self.refuse(at, format!("the `match` of rule `{rule}` is empty"), MATCH_EXAMPLE);
        }
        let mut fields = self.fields(node, &MATCH)?;
        if fields.is_empty() {
            return self.refuse(at, format!("the `match` of rule `{rule}` is empty"), MATCH_EXAMPLE);
        }
        let mut globs = |key| fields.remove(key).map_or(Ok(Vec::new()), |(_, node)| self.globs(&node, key));
        Ok(Match {
            volume: globs("volume")?,
            pod_uid: globs("podUid")?,
            fstype: globs("fstype")?,
            path: globs("path")?,
            device: globs("device")?,
            driver: globs("driver")?,
        })
    }

    /// One glob or a list of them; none, or an empty one, would never match.
    fn globs(&self, node: &Node, key: &str) -> Result<Vec<Glob>, PolicyError> {
        let wanted = "a glob or a list of globs, as \"pvc-*\"";
        match &node.kind {
            Kind::List(items) if items.is_empty() => self.refuse(
                node.at,
                format!("`{key}` is an empty list, which matches nothing"),
                format!("write {wanted}"),
            ),
            Kind::List(items) => items.iter().map(|item| self.glob(item, key, wanted)).collect(),
            _ => Ok(vec![self.glob(node, key, wanted)?]),
        }
    }

    fn glob(&self, node: &Node, key: &str, wanted: &str) -> Result<Glob, PolicyError> {
        let text = self.word(node, key, wanted)?;
        if text.is_empty() {
            return self.refuse(
                node.at,
                format!("a glob of `{key}` is empty, which matches nothing"),
                format!("write {wanted}"),
            );
        }
        // Its author would not be told otherwise.
        if let Some((why, instead)) = hopeless(key, text) {
            return self.refuse(node.at, format!("`{key}` {text} matches {why}"), instead);
        }
        Ok(Glob::new(text))
    }

    fn limits(&self, node: Node, rule: &str, floor: Limits) -> Result<Limits, PolicyError> {
        let at = node.at;
        let mut fields = self.fields(node, &LIMITS)?;
        let (mut limits, mut floor) = (Limits::NONE, floor);
        for field in &FIELDS {
            let Some((_, node)) = fields.remove(field.key) else {
                continue;
            };
            let value = self.value(&node, field)?;
            let least = *(field.of)(&mut floor);
            if let (Some(value), Some(least)) = (value, least)
                && value < least
            {
                let what = format!("{} {value} is below the floor of {least}", field.key);
                return self.refuse(node.at, what, format!("write {least} or more, or lower floor.{}", field.key));
            }
            *(field.of)(&mut limits) = value;
        }
        if limits.is_none() {
            let what = format!("the rule `{rule}` limits nothing");
            return self.refuse(
                at,
                what,
                format!("write a number for one of {}, or remove the rule", LIMITS.known.join(", ")),
            );
        }
        Ok(limits)
    }

    /// A number in the range that the kernel obeys, or `max`.
    fn value(&self, node: &Node, field: &Field) -> Result<Option<u64>, PolicyError> {
        let text = self.word(node, field.key, "a quantity, as 20M, or max for no limit")?;
        if text == "max" {
            return Ok(None);
        }
        let value = match quantity::parse(text) {
            Ok(value) => value,
            Err(error) => {
                return self.refuse(node.at, format!("{}: {}", field.key, error.what()), error.remedy());
            }
        };
        if value < SMALLEST {
            let what = format!("{} {text} is refused by the kernel", field.key);
            return self.refuse(node.at, what, format!("write {SMALLEST} or more, or max for no limit"));
        }
        if value > field.most {
            let what =
                format!("{} {text} is above {}, where the kernel drops the limit silently", field.key, field.most);
            return self.refuse(node.at, what, format!("write {} or less, or max for no limit", field.most));
        }
        Ok(Some(value))
    }
}

/// One of the four numbers.
struct Field {
    key: &'static str,
    most: u64,
    of: fn(&mut Limits) -> &mut Option<u64>,
}

const FIELDS: [Field; 4] = [
    Field { key: "readBps", most: MOST_BYTES, of: |limits| &mut limits.read_bps },
    Field { key: "writeBps", most: MOST_BYTES, of: |limits| &mut limits.write_bps },
    Field { key: "readIops", most: MOST_OPERATIONS, of: |limits| &mut limits.read_iops },
    Field { key: "writeIops", most: MOST_OPERATIONS, of: |limits| &mut limits.write_iops },
];
