//! Whole lines, broken ones, and any bytes at all.

use proptest::prelude::*;

use super::*;

const HERE: Namespace = Namespace { inum: 4_026_531_841, id: 1 };

fn one(line: &str) -> Listed {
    let mut mounts = parse(line.as_bytes(), HERE).unwrap();
    assert_eq!(mounts.len(), 1);
    mounts.remove(0)
}

fn refusal(text: &str) -> (usize, usize, String) {
    let error = parse(text.as_bytes(), HERE).unwrap_err();
    (error.line, error.offset, error.problem.to_string())
}

#[test]
fn a_line_is_read() {
    let listed = one(
        "36 35 259:1 /mnt1 /mnt\\0402 ro,noatime shared:1 master:2 propagate_from:7 - fuse.sshfs u@h:/x rw,max_read=4\n",
    );
    assert_eq!((listed.mount.id, listed.mount.parent_id), (36, 35));
    assert_eq!(listed.mount.dev, Dev { major: 259, minor: 1 });
    assert_eq!(listed.mount.root.unwrap(), b"/mnt1");
    assert_eq!(listed.mount.path.unwrap(), b"/mnt 2");
    assert_eq!((listed.mount.shared, listed.mount.master, listed.mount.unbindable), (Some(1), Some(2), false));
    assert_eq!(listed.mount.fstype, b"fuse.sshfs");
    assert_eq!(listed.mount.source.unwrap(), b"u@h:/x");
    assert_eq!(flags::attributes(listed.mount.flags), ["MOUNT_ATTR_NOATIME", "MOUNT_ATTR_RDONLY"]);
    assert_eq!(listed.options.merged().text(), "ro,noatime,max_read=4");
    assert_eq!(listed.mount.namespace, Some(HERE));
}

#[test]
fn what_is_rare_is_read_too() {
    let listed = one("1 0 0:1 / / rw,idmapped unbindable later:tag - tmpfs  rw,a=b c");
    assert!(listed.mount.unbindable && listed.idmapped);
    assert_eq!(listed.mount.source.unwrap(), b"", "mounted with an empty source");
    assert_eq!(listed.options.hidden(), 1, "a blank that was not escaped belongs to the options");
    assert_eq!(one("1 0 0:1 / / rw - x y ").options.merged().text(), "rw", "no options of the file system");
    assert!(parse(b"", HERE).unwrap().is_empty());
}

#[test]
fn a_broken_line_is_named_with_its_place() {
    let fine = "36 35 259:1 / /mnt rw - ext4 /dev/sda1 rw\n";
    for (line, at, problem) in [
        ("x 35 259:1 / / rw - a b c", 0, "the mount's id is no number"),
        ("36 +5 259:1 / / rw - a b c", 3, "the parent's id is no number"),
        ("36 4294967296 259:1 / / rw - a b c", 3, "the parent's id is no number"),
        ("36 35 2591 / / rw - a b c", 6, "the device is not MAJOR:MINOR"),
        ("36 35 1:2:3 / / rw - a b c", 6, "the device is not MAJOR:MINOR"),
        ("36 35 1:2 / / rw shared:x - a b c", 17, "the peer group is no number"),
        ("36 35 1:2 / / rw master: - a b c", 17, "the master's peer group is no number"),
        ("36 35", 5, "the line ends before the device"),
        ("36 35 1:2 / / rw shared:1", 25, "the line ends before the separator"),
        ("36 35 1:2 / / rw - ext4 sda", 27, "the line ends before the file system's options"),
    ] {
        assert_eq!(refusal(&format!("{fine}{line}\n{fine}")), (2, fine.len() + at, problem.to_owned()), "{line}");
    }
}

#[test]
fn octal_escapes_are_taken_back() {
    assert_eq!(unescape(b"a\\040\\011\\012\\134\\043b"), b"a \t\n\\#b");
    assert_eq!(unescape(b"\\377"), b"\xff");
    for other in [b"\\400".as_slice(), b"\\08x", b"\\+12", b"\\", b"\\04", b"\\x41"] {
        assert_eq!(unescape(other), other, "{}", other.escape_ascii());
    }
}

/// As the kernel writes a name: `mangle_path` with `" \t\n\\"`, and `mangle` with a `#` too.
fn mangled(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
            other => vec![*other],
        })
        .collect()
}

prop_compose! {
    fn name()(bytes in proptest::collection::vec(1_u8.., 0..30)) -> Vec<u8> { bytes }
}

proptest! {
    #[test]
    fn every_name_comes_back(path in name(), root in name(), source in name(), fstype in name(), id: u32, minor: u32) {
        let mut text = format!("{id} 7 0:{minor} ").into_bytes();
        for field in [&root, &path] {
            text.extend(mangled(field));
            text.push(b' ');
        }
        text.extend(b"rw shared:4294967295 - ");
        for field in [&fstype, &source] {
            text.extend(mangled(field));
            text.push(b' ');
        }
        text.extend(b"rw\n");
        let twice = [text.as_slice(), &text].concat();
        let mounts = parse(&twice, HERE).unwrap();
        prop_assert_eq!(mounts.len(), 2);
        let Mount { id: read, dev, root: r, path: p, fstype: t, source: s, shared, .. } = mounts[1].mount.clone();
        prop_assert_eq!((read, dev.minor, shared), (id, minor, Some(u32::MAX)));
        prop_assert_eq!((r.unwrap(), p.unwrap(), t, s.unwrap()), (root, path, fstype, source));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        if let Err(error) = parse(&bytes, HERE) {
            prop_assert!(error.offset <= bytes.len() && error.line >= 1);
        }
    }

    #[test]
    fn a_line_cut_anywhere_is_read_or_refused_there(cut in 0_usize..64, to: u8, at in 0_usize..64) {
        let mut line = b"36 35 259:1 /a\\040b /mnt rw,noatime shared:1 master:2 - ext4 /dev/x rw".to_vec();
        if let Some(byte) = line.get_mut(at) {
            *byte = to;
        }
        line.truncate(cut);
        if let Err(error) = parse(&line, HERE) {
            prop_assert!(error.offset <= line.len());
        }
    }
}
