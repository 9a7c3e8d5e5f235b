//! PURE: what the API server's objects come in: lists, the lines of watches, refusals. Touches nothing.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A list.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct List<T> {
    /// Its version is what a watch begins behind.
    pub metadata: ListMeta,
    /// Its objects; a Go server may write none as null.
    items: Option<Vec<T>>,
}

impl<T> List<T> {
    /// Its objects.
    pub fn items(self) -> Vec<T> {
        self.items.unwrap_or_default()
    }
}

/// What a list says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// Its version.
    pub resource_version: Box<str>,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub struct Event<'a> {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// To what.
    #[serde(borrow)]
    pub object: &'a RawValue,
}

/// What a watch tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventKind {
    /// It is there.
    Added,
    /// It has changed.
    Modified,
    /// It is gone.
    Deleted,
    /// Nothing happened up to this version.
    Bookmark,
    /// The watch is over.
    Error,
}

/// An object of which only the version is read: a bookmark's.
#[derive(Debug, Deserialize)]
pub struct Versioned {
    /// Its metadata.
    pub metadata: ListMeta,
}

/// Why the server does not do what it was asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Refusal {
    /// Its HTTP status.
    pub code: u16,
    /// In the server's words.
    pub message: String,
    /// More of it.
    pub details: Option<RefusalDetails>,
}

/// More of a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RefusalDetails {
    /// Seconds to wait.
    pub retry_after_seconds: Option<u64>,
}
