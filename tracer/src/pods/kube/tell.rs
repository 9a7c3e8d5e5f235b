//! PURE: the answers of the API server -> updates of the view. Touches nothing.

use serde_json::value::RawValue;

use super::{
    ask::What,
    envelope::{Event, EventKind, List, Refusal, Versioned},
    wire::{Wire, WireClaim, WireClass, WirePersistentVolume, WirePod},
};
use crate::pods::{
    objects::{Claim, ClaimKey, Volume},
    view::Update,
};

/// A list that was understood.
#[derive(Debug)]
pub struct Listed {
    /// What it told.
    pub update: Update,
    /// Its version.
    pub version: Box<str>,
    /// Objects that lack what no object can be without.
    pub broken: u64,
}

/// A line of a watch that was understood.
#[derive(Debug)]
pub enum Line {
    /// Something happened; all is told up to this version.
    Update(Update, Box<str>),
    /// All is told up to this version, and perhaps an object was broken.
    Version(Box<str>, Broken),
    /// The watch is over.
    Refused(Refusal),
}

/// Whether an object lacked what none can be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// No.
    No,
    /// Yes.
    Yes,
}

/// What a list says.
pub fn list(what: &What, bytes: &[u8]) -> serde_json::Result<Listed> {
    Ok(match what {
        What::Pods { .. } => {
            let (pods, version, broken) = items::<WirePod>(bytes)?;
            Listed { update: Update::Pods(pods), version, broken }
        }
        What::Classes(kind) => {
            let (classes, version, broken) = items::<WireClass>(bytes)?;
            Listed { update: Update::Classes(*kind, classes), version, broken }
        }
        What::Claim(key) => {
            let (claims, version, broken) = items::<WireClaim>(bytes)?;
            let claim = claims.into_iter().find(|claim| claim.key == *key);
            Listed { update: claim_or_none(key, claim), version, broken }
        }
        What::Volume { name, .. } => {
            let (volumes, version, broken) = items::<WirePersistentVolume>(bytes)?;
            let volume = volumes.into_iter().find(|volume| volume.name == *name);
            Listed { update: volume_or_none(name, volume), version, broken }
        }
    })
}

/// What a single object says; `None` for one that is not what was asked for.
pub fn one(what: &What, bytes: &[u8]) -> serde_json::Result<Option<Update>> {
    Ok(match what {
        What::Claim(key) => {
            let claim = serde_json::from_slice::<WireClaim>(bytes)?.keep().filter(|claim| claim.key == *key);
            claim.map(|claim| Update::Claim(Box::new(claim)))
        }
        What::Volume { name, claim_uid } => {
            let volume = serde_json::from_slice::<WirePersistentVolume>(bytes)?.keep();
            let is_it = |volume: &Volume| volume.name == *name && volume.claim_uid.as_ref() == Some(claim_uid);
            volume.filter(is_it).map(|volume| Update::Volume(Box::new(volume)))
        }
        What::Pods { .. } | What::Classes(_) => None,
    })
}

/// What it means that there is no object of the name that was asked for.
pub fn none(what: &What) -> Option<Update> {
    match what {
        What::Claim(key) => Some(Update::ClaimGone(key.clone())),
        What::Volume { name, .. } => Some(Update::VolumeGone(name.clone())),
        What::Pods { .. } | What::Classes(_) => None,
    }
}

/// What a line of a watch says.
pub fn line(what: &What, bytes: &[u8]) -> serde_json::Result<Line> {
    let event: Event<'_> = serde_json::from_slice(bytes)?;
    let gone = match event.kind {
        EventKind::Error => return Ok(Line::Refused(serde_json::from_str(event.object.get())?)),
        EventKind::Bookmark => return Ok(Line::Version(version(event.object)?, Broken::No)),
        EventKind::Added | EventKind::Modified => false,
        EventKind::Deleted => true,
    };
    let version = version(event.object)?;
    Ok(match update(what, event.object, gone)? {
        Some(update) => Line::Update(update, version),
        None => Line::Version(version, Broken::Yes),
    })
}

fn update(what: &What, object: &RawValue, gone: bool) -> serde_json::Result<Option<Update>> {
    Ok(match what {
        What::Pods { .. } => {
            kept::<WirePod>(object)?.map(|pod| if gone { Update::PodGone(pod.uid) } else { Update::Pod(Box::new(pod)) })
        }
        What::Classes(kind) => kept::<WireClass>(object)?
            .map(|class| if gone { Update::ClassGone(*kind, class.name) } else { Update::Class(*kind, class) }),
        What::Claim(key) => {
            let claim = kept::<WireClaim>(object)?.filter(|claim| claim.key == *key);
            claim.map(|claim| claim_or_none(key, (!gone).then_some(claim)))
        }
        What::Volume { name, .. } => {
            let volume = kept::<WirePersistentVolume>(object)?.filter(|volume| volume.name == *name);
            volume.map(|volume| volume_or_none(name, (!gone).then_some(volume)))
        }
    })
}

fn items<T: Wire>(bytes: &[u8]) -> serde_json::Result<(Vec<T::Kept>, Box<str>, u64)> {
    let list: List<T> = serde_json::from_slice(bytes)?;
    let version = list.metadata.resource_version.clone();
    let (mut kept, mut broken) = (Vec::new(), 0);
    for item in list.items() {
        match item.keep() {
            Some(object) => kept.push(object),
            None => broken += 1,
        }
    }
    Ok((kept, version, broken))
}

fn kept<T: Wire>(object: &RawValue) -> serde_json::Result<Option<T::Kept>> {
    Ok(serde_json::from_str::<T>(object.get())?.keep())
}

fn version(object: &RawValue) -> serde_json::Result<Box<str>> {
    Ok(serde_json::from_str::<Versioned>(object.get())?.metadata.resource_version)
}

fn claim_or_none(key: &ClaimKey, claim: Option<Claim>) -> Update {
    claim.map_or_else(|| Update::ClaimGone(key.clone()), |claim| Update::Claim(Box::new(claim)))
}

fn volume_or_none(name: &str, volume: Option<Volume>) -> Update {
    volume.map_or_else(|| Update::VolumeGone(name.into()), |volume| Update::Volume(Box::new(volume)))
}

#[cfg(test)]
mod tests;
