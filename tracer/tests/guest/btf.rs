//! Names of the kernel's types by their numbers, read from `/sys/kernel/btf/vmlinux`: what a link's target is called.
//!
//! Only as much of the format as it takes to walk over the types.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

const FILE: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u32 = 0xeb9f;

/// The names of these types, by number.
pub(crate) fn names(wanted: &[u32]) -> Result<BTreeMap<u32, String>> {
    let bytes = fs::read(FILE).with_context(|| format!("cannot read {FILE}"))?;
    ensure!(word(&bytes, 0)? & 0xffff == MAGIC, "{FILE} does not begin as BTF does");
    let [header, types, types_length, strings] = [4, 8, 12, 16].map(|at| word(&bytes, at));
    let (header, types_length) = (header?, types_length?);
    let (mut at, strings) = (header + types?, header + strings?);
    let end = at + types_length;
    let mut names = BTreeMap::new();
    let mut number = 1;
    while at < end {
        if wanted.contains(&number) {
            names.insert(number, text(&bytes, strings + word(&bytes, at)?)?);
        }
        at += 12 + extra(word(&bytes, at + 4)?)?;
        number += 1;
    }
    Ok(names)
}

/// How many bytes follow a type's first three words.
fn extra(info: u32) -> Result<u32> {
    let (kind, members) = ((info >> 24) & 0x1f, info & 0xffff);
    Ok(match kind {
        // Pointers, forward declarations, typedefs, qualifiers, functions, floats, type tags.
        2 | 7 | 8..=12 | 16 | 18 => 0,
        // Integers, variables, declaration tags.
        1 | 14 | 17 => 4,
        3 => 12,
        // Structures, unions, sections, 64-bit enumerations.
        4 | 5 | 15 | 19 => members * 12,
        // Enumerations and prototypes.
        6 | 13 => members * 8,
        _ => bail!("{FILE} has a kind of type that this walk does not know: {kind}"),
    })
}

fn word(bytes: &[u8], at: u32) -> Result<u32> {
    let at = at as usize;
    let word = bytes.get(at..at + 4).with_context(|| format!("{FILE} ends before byte {at}"))?;
    Ok(u32::from_le_bytes(word.try_into()?))
}

fn text(bytes: &[u8], at: u32) -> Result<String> {
    let rest = bytes.get(at as usize..).with_context(|| format!("{FILE} has no string at {at}"))?;
    let end = rest.iter().position(|byte| *byte == 0).context("a name without an end")?;
    Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
}
