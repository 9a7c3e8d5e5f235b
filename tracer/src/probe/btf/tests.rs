//! BTF made by hand, and BTF broken by hand.

use proptest::prelude::*;

use super::*;

/// Puts BTF together: strings as they come, types as words.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Builder {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(text.bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) -> &mut Self {
        self.types.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self
    }

    fn ty(&mut self, name: &str, kind: u32, count: u32, kflag: u32, size_or_type: u32) -> &mut Self {
        let name = self.string(name);
        self.words(&[name, kflag << 31 | kind << 24 | count, size_or_type])
    }

    fn member(&mut self, name: &str, ty: u32, bits: u32) -> &mut Self {
        let name = self.string(name);
        self.words(&[name, ty, bits])
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from(MAGIC.to_le_bytes());
        bytes.extend([1, 0]);
        let (types, strings) = (u32::try_from(self.types.len()).unwrap(), u32::try_from(self.strings.len()).unwrap());
        for word in [24, 0, types, types, strings] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

/// 1 int; 2 struct inner { int a, b }; 3 union { struct inner x; int y } (anonymous); 4 const 2;
/// 5 struct outer { int first:3; anonymous 3; const inner last }; 6 prototype of 2; 7 function.
fn sample() -> Vec<u8> {
    let mut b = Builder::new();
    b.ty("int", 1, 0, 0, 4).words(&[32]);
    b.ty("inner", KIND_STRUCT, 2, 0, 8).member("a", 1, 0).member("b", 1, 32);
    b.ty("", KIND_UNION, 2, 0, 8).member("x", 2, 0).member("y", 1, 0);
    b.ty("", 10, 0, 0, 2);
    b.ty("outer", KIND_STRUCT, 3, 1, 24).member("first", 1, 3 << 24).member("", 3, 64).member("last", 4, 128);
    b.ty("", KIND_FUNC_PROTO, 2, 0, 1).words(&[0, 1, 0, 2]);
    b.ty("work", KIND_FUNC, 0, 0, 6);
    b.bytes()
}

#[test]
fn members_are_found_through_anonymous_unions_and_qualifiers() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.offset("inner", &["b"]), Some(4));
    assert_eq!(btf.offset("outer", &["first"]), Some(0));
    assert_eq!(btf.offset("outer", &["y"]), Some(8));
    assert_eq!(btf.offset("outer", &["x", "b"]), Some(12));
    assert_eq!(btf.offset("outer", &["last", "b"]), Some(20));
    assert_eq!(btf.offset("outer", &["nothing"]), None);
    assert_eq!(btf.offset("nothing", &["a"]), None);
}

#[test]
fn a_function_tells_its_arguments() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.arguments("work"), Some(2));
    assert_eq!(btf.arguments("inner"), None, "a struct is not a function");
}

#[test]
fn what_is_not_btf_is_said() {
    assert_eq!(Btf::parse(b"").unwrap_err(), BtfError::Header);
    assert_eq!(Btf::parse(&[0; 64]).unwrap_err(), BtfError::Header);
    let bytes = sample();
    let cut = Btf::parse(&bytes[..bytes.len() - 1]).unwrap_err();
    assert!(matches!(cut, BtfError::Truncated { what: "the string section", .. }), "{cut}");
}

#[test]
fn an_unknown_kind_is_said() {
    let mut b = Builder::new();
    b.ty("future", 31, 0, 0, 0);
    assert_eq!(Btf::parse(&b.bytes()).unwrap_err(), BtfError::Kind { id: 1, kind: 31 });
}

#[test]
fn a_struct_that_holds_itself_ends() {
    let mut b = Builder::new();
    b.ty("loop", KIND_STRUCT, 1, 0, 8).member("", 1, 0);
    let bytes = b.bytes();
    assert_eq!(Btf::parse(&bytes).unwrap().offset("loop", &["a"]), None);
}

proptest! {
    #[test]
    fn broken_btf_never_panics(at in 0usize..300, byte: u8, cut in 0usize..300) {
        let mut bytes = sample();
        let len = bytes.len();
        bytes[at % len] = byte;
        bytes.truncate(len - cut % len);
        if let Ok(btf) = Btf::parse(&bytes) {
            let _ = (btf.offset("outer", &["x", "b"]), btf.arguments("work"));
        }
    }
}
