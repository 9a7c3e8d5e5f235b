//! Reads the running kernel's BTF: where a struct's member stands, how many arguments a function takes.
//!
//! Our own, because the good crate is LGPL and takes 40 MB, and because the format is small. It touches nothing: bytes
//! come in, and any bytes give an answer or an error. Source: Documentation/bpf/btf.rst.

use thiserror::Error;

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
/// Anonymous structs within structs: deeper than any kernel nests them, so that a loop in broken BTF ends.
const MAX_NESTING: u32 = 16;

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;

/// Why BTF could not be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    /// The header is not BTF's.
    #[error("not BTF: the header is cut off or its magic number is wrong")]
    Header,
    /// A section or a type reaches beyond the end.
    #[error("broken BTF: {what} at byte {at} reaches beyond the end")]
    Truncated {
        /// What reaches beyond.
        what: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// A kind that this reader does not know, whose length is therefore unknown.
    #[error("BTF type {id} has the unknown kind {kind}")]
    Kind {
        /// The type.
        id: u32,
        /// Its kind.
        kind: u32,
    },
}

/// A kernel's types.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins in `types`; type ids count from 1.
    starts: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    /// Members, parameters, values.
    count: usize,
    /// Member offsets hold a bit-field size in their upper byte.
    bit_fields: bool,
    /// A size, or the id of another type.
    reference: u32,
    /// Where its members begin in `types`.
    body: usize,
}

impl<'a> Btf<'a> {
    /// Finds the sections and where each type begins.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let magic = bytes.get(0..2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        let (Some(MAGIC), Some(header), true) = (magic, word(bytes, 4), bytes.len() >= HEADER_BYTES) else {
            return Err(BtfError::Header);
        };
        let section = |at: usize, what| {
            let start = (header as usize).saturating_add(word(bytes, at).unwrap_or_default() as usize);
            let len = word(bytes, at + 4).unwrap_or_default() as usize;
            bytes.get(start..start.saturating_add(len)).ok_or(BtfError::Truncated { what, at: start })
        };
        let (types, strings) = (section(8, "the type section")?, section(16, "the string section")?);
        let mut btf = Self { types, strings, starts: Vec::new() };
        let mut at = 0;
        while at < types.len() {
            let id = u32::try_from(btf.starts.len()).unwrap_or(u32::MAX) + 1;
            let ty = btf.type_at(at).ok_or(BtfError::Truncated { what: "a type", at })?;
            let body = body_bytes(ty).ok_or(BtfError::Kind { id, kind: ty.kind })?;
            btf.starts.push(u32::try_from(at).map_err(|_| BtfError::Truncated { what: "a type", at })?);
            at = ty.body + body;
            if at > types.len() {
                return Err(BtfError::Truncated { what: "a type", at: ty.body });
            }
        }
        Ok(btf)
    }

    /// The byte offset of a member, reached through members of members; anonymous ones are looked into.
    pub fn offset(&self, base: &str, members: &[&str]) -> Option<u32> {
        self.named(base, KIND_STRUCT).find_map(|ty| self.path_offset(ty, members))
    }

    /// How many arguments a function takes; `None` when the kernel has no such function.
    pub fn arguments(&self, function: &str) -> Option<u32> {
        let ty = self.named(function, KIND_FUNC).next()?;
        let prototype = self.by_id(ty.reference).filter(|ty| ty.kind == KIND_FUNC_PROTO)?;
        u32::try_from(prototype.count).ok()
    }

    fn path_offset(&self, ty: Type, members: &[&str]) -> Option<u32> {
        let (first, rest) = members.split_first()?;
        let (bits, inner) = self.member(ty, first, MAX_NESTING)?;
        if rest.is_empty() {
            return Some(bits / 8);
        }
        Some(bits / 8 + self.path_offset(self.resolve(inner)?, rest)?)
    }

    /// A member's offset in bits and its type.
    fn member(&self, ty: Type, wanted: &str, nesting: u32) -> Option<(u32, u32)> {
        (0..ty.count).find_map(|index| {
            let at = ty.body + index * MEMBER_BYTES;
            let (name, inner, offset) = (word(self.types, at)?, word(self.types, at + 4)?, word(self.types, at + 8)?);
            let bits = if ty.bit_fields { offset & 0x00ff_ffff } else { offset };
            if self.is_named(name, wanted) {
                return Some((bits, inner));
            }
            let anonymous = (name == 0 && nesting > 0).then(|| self.resolve(inner)).flatten()?;
            let (within, inner) = self.member(anonymous, wanted, nesting - 1)?;
            Some((bits.checked_add(within)?, inner))
        })
    }

    /// The struct or union behind qualifiers.
    fn resolve(&self, id: u32) -> Option<Type> {
        let mut id = id;
        for _ in 0..MAX_NESTING {
            let ty = self.by_id(id)?;
            match ty.kind {
                KIND_STRUCT | KIND_UNION => return Some(ty),
                // typedef, volatile, const, restrict, type tag
                8..=11 | 18 => id = ty.reference,
                _ => return None,
            }
        }
        None
    }

    fn named(&self, name: &str, kind: u32) -> impl Iterator<Item = Type> {
        self.starts
            .iter()
            .filter_map(|start| self.type_at(*start as usize))
            .filter(move |ty| ty.kind == kind && self.is_named(ty.name, name))
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        let start = self.starts.get(usize::try_from(id.checked_sub(1)?).ok()?)?;
        self.type_at(*start as usize)
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.starts_with(name.as_bytes()) && rest.get(name.len()) == Some(&0)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = word(self.types, at + 4)?;
        Some(Type {
            name: word(self.types, at)?,
            kind: info >> 24 & 0x1f,
            count: (info & 0xffff) as usize,
            bit_fields: info >> 31 == 1,
            reference: word(self.types, at + 8)?,
            body: at + TYPE_BYTES,
        })
    }
}

/// How long a type's body is; `None` for a kind from the future.
fn body_bytes(ty: Type) -> Option<usize> {
    Some(match ty.kind {
        // pointer, forward, typedef, volatile, const, restrict, function, float, type tag
        2 | 7..=11 | KIND_FUNC | 16 | 18 => 0,
        // integer, variable, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        // enum, prototype
        6 | KIND_FUNC_PROTO => ty.count * 8,
        // struct, union, data section, enum64
        KIND_STRUCT | KIND_UNION | 15 | 19 => ty.count * MEMBER_BYTES,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

#[cfg(test)]
mod tests;
