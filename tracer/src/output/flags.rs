//! The names of numbers: flags and errnos, as the public headers have them.

use crate::operation::Syscall;

/// Flags of mount(2): `sys/mount.h` and `linux/mount.h`, bit by bit.
const MS: &[(u64, &str)] = &[
    (1, "MS_RDONLY"),
    (1 << 1, "MS_NOSUID"),
    (1 << 2, "MS_NODEV"),
    (1 << 3, "MS_NOEXEC"),
    (1 << 4, "MS_SYNCHRONOUS"),
    (1 << 5, "MS_REMOUNT"),
    (1 << 6, "MS_MANDLOCK"),
    (1 << 7, "MS_DIRSYNC"),
    (1 << 8, "MS_NOSYMFOLLOW"),
    (1 << 10, "MS_NOATIME"),
    (1 << 11, "MS_NODIRATIME"),
    (1 << 12, "MS_BIND"),
    (1 << 13, "MS_MOVE"),
    (1 << 14, "MS_REC"),
    (1 << 15, "MS_SILENT"),
    (1 << 16, "MS_POSIXACL"),
    (1 << 17, "MS_UNBINDABLE"),
    (1 << 18, "MS_PRIVATE"),
    (1 << 19, "MS_SLAVE"),
    (1 << 20, "MS_SHARED"),
    (1 << 21, "MS_RELATIME"),
    (1 << 22, "MS_KERNMOUNT"),
    (1 << 23, "MS_I_VERSION"),
    (1 << 24, "MS_STRICTATIME"),
    (1 << 25, "MS_LAZYTIME"),
];

/// Flags of umount2(2): `sys/mount.h`.
const UMOUNT: &[(u64, &str)] = &[(1, "MNT_FORCE"), (2, "MNT_DETACH"), (4, "MNT_EXPIRE"), (8, "UMOUNT_NOFOLLOW")];

/// A mount's attributes: the kernel's internal `MNT_*` of `linux/mount.h` (left), the public `MOUNT_ATTR_*` of
/// `uapi/linux/mount.h`, and the option that mountinfo shows for it (`fs/proc_namespace.c`).
const ATTRIBUTES: &[(u32, &str, &str)] = &[
    (0x01, "MOUNT_ATTR_NOSUID", "nosuid"),
    (0x02, "MOUNT_ATTR_NODEV", "nodev"),
    (0x04, "MOUNT_ATTR_NOEXEC", "noexec"),
    (0x08, "MOUNT_ATTR_NOATIME", "noatime"),
    (0x10, "MOUNT_ATTR_NODIRATIME", "nodiratime"),
    (0x20, "MOUNT_ATTR_RELATIME", "relatime"),
    (RDONLY, "MOUNT_ATTR_RDONLY", "ro"),
    (0x80, "MOUNT_ATTR_NOSYMFOLLOW", "nosymfollow"),
];

/// `MNT_READONLY` of `linux/mount.h`.
const RDONLY: u32 = 0x40;
/// The bits of the public attributes that are one field, the access times; 0 in it is relatime.
const PUBLIC_ATIME: u64 = 0x70;

/// Flags of `move_mount(2)`, `uapi/linux/mount.h`.
const MOVE_MOUNT: &[(u64, &str)] = &[
    (0x001, "MOVE_MOUNT_F_SYMLINKS"),
    (0x002, "MOVE_MOUNT_F_AUTOMOUNTS"),
    (0x004, "MOVE_MOUNT_F_EMPTY_PATH"),
    (0x010, "MOVE_MOUNT_T_SYMLINKS"),
    (0x020, "MOVE_MOUNT_T_AUTOMOUNTS"),
    (0x040, "MOVE_MOUNT_T_EMPTY_PATH"),
    (0x100, "MOVE_MOUNT_SET_GROUP"),
    (0x200, "MOVE_MOUNT_BENEATH"),
];

/// Flags of fsmount(2), `uapi/linux/mount.h`.
const FSMOUNT: &[(u64, &str)] = &[(1, "FSMOUNT_CLOEXEC"), (2, "FSMOUNT_NAMESPACE")];

/// `AT_*` of `uapi/linux/fcntl.h`, as far as mount calls take them.
const AT: &[(u64, &str)] =
    &[(0x100, "AT_SYMLINK_NOFOLLOW"), (0x800, "AT_NO_AUTOMOUNT"), (0x1000, "AT_EMPTY_PATH"), (0x8000, "AT_RECURSIVE")];

/// Flags of `open_tree(2)`, `uapi/linux/mount.h`, beside those of [`AT`]. `OPEN_TREE_CLOEXEC` is `O_CLOEXEC`.
const OPEN_TREE: &[(u64, &str)] =
    &[(1, "OPEN_TREE_CLONE"), (2, "OPEN_TREE_NAMESPACE"), (0o2_000_000, "OPEN_TREE_CLOEXEC")];

/// Attributes as callers give them, `uapi/linux/mount.h`. The access times are a field of three bits (`MOUNT_ATTR__ATIME`)
/// whose value 0 is relatime.
const PUBLIC_ATTRIBUTES: &[(u64, &str)] = &[
    (0x01, "MOUNT_ATTR_RDONLY"),
    (0x02, "MOUNT_ATTR_NOSUID"),
    (0x04, "MOUNT_ATTR_NODEV"),
    (0x08, "MOUNT_ATTR_NOEXEC"),
    (0x10, "MOUNT_ATTR_NOATIME"),
    (0x20, "MOUNT_ATTR_STRICTATIME"),
    (0x80, "MOUNT_ATTR_NODIRATIME"),
    (0x10_0000, "MOUNT_ATTR_IDMAP"),
    (0x20_0000, "MOUNT_ATTR_NOSYMFOLLOW"),
];

/// The names of a call's flags; a bit without a name is shown as a number.
pub fn call_flags(syscall: Syscall, flags: u64) -> Vec<String> {
    match syscall {
        Syscall::Mount => mount_flags(flags),
        Syscall::Umount => umount_flags(flags),
        Syscall::MoveMount => names(flags, MOVE_MOUNT),
        Syscall::Fsmount => names(flags, FSMOUNT),
        Syscall::OpenTree | Syscall::OpenTreeAttr => names(flags, &[OPEN_TREE, AT].concat()),
        Syscall::MountSetattr => names(flags, AT),
        // They have none.
        Syscall::PivotRoot | Syscall::Fsconfig | Syscall::Clone | Syscall::Clone3 | Syscall::Unshare => {
            names(flags, &[])
        }
    }
}

/// The names of attributes as callers give them.
pub fn public_attributes(attributes: u64) -> Vec<String> {
    names(attributes, PUBLIC_ATTRIBUTES)
}

/// The names of mount(2)'s flags; a bit without a name is shown as a number.
pub fn mount_flags(flags: u64) -> Vec<String> {
    names(flags, MS)
}

/// The names of umount2(2)'s flags.
pub fn umount_flags(flags: u64) -> Vec<String> {
    names(flags, UMOUNT)
}

/// The public names of a mount's attributes; strict access times are the absence of the two others.
pub fn attributes(flags: u32) -> Vec<&'static str> {
    ATTRIBUTES.iter().filter(|(bit, ..)| flags & bit != 0).map(|(_, name, _)| *name).collect()
}

/// The internal flags that a mount's options in mountinfo stand for.
pub fn of_options(options: &[u8]) -> u32 {
    let flag =
        |option: &[u8]| ATTRIBUTES.iter().find(|(.., word)| word.as_bytes() == option).map_or(0, |(bit, ..)| *bit);
    options.split(|byte| *byte == b',').fold(0, |flags, option| flags | flag(option))
}

/// A mount's options, as mountinfo would show them.
pub fn to_options(flags: u32) -> String {
    let access = if flags & RDONLY == 0 { "rw" } else { "ro" };
    let rest = ATTRIBUTES.iter().filter(|(bit, ..)| flags & bit & !RDONLY != 0).map(|(.., word)| *word);
    [access].into_iter().chain(rest).collect::<Vec<_>>().join(",")
}

/// The internal flags of public attributes.
pub fn of_public(attributes: u64) -> u32 {
    let names = public_attributes(attributes);
    let relatime = if attributes & PUBLIC_ATIME == 0 { 0x20 } else { 0 };
    let has = |name: &str| names.iter().any(|known| known == name);
    ATTRIBUTES.iter().filter(|(_, name, _)| has(name)).fold(relatime, |flags, (bit, ..)| flags | bit)
}

fn names(flags: u64, table: &[(u64, &str)]) -> Vec<String> {
    let known = table.iter().fold(0, |known, (bit, _)| known | bit);
    let named = table.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned());
    let rest = flags & !known;
    named.chain((rest != 0).then(|| format!("{rest:#x}"))).collect()
}

/// The name of a positive errno of `asm-generic/errno*.h`, `OK` for 0.
pub fn errno_name(errno: u32) -> String {
    if errno == 0 {
        return "OK".to_owned();
    }
    let found = ERRNOS.iter().find(|(number, _)| *number == errno);
    found.map_or_else(|| format!("E{errno}"), |(_, name)| (*name).to_owned())
}

/// Every errno that a mount call or a file system under it is known to return.
const ERRNOS: &[(u32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (15, "ENOTBLK"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (18, "EXDEV"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (30, "EROFS"),
    (34, "ERANGE"),
    (36, "ENAMETOOLONG"),
    (38, "ENOSYS"),
    (40, "ELOOP"),
    (61, "ENODATA"),
    (71, "EPROTO"),
    (74, "EBADMSG"),
    (75, "EOVERFLOW"),
    (95, "EOPNOTSUPP"),
    (101, "ENETUNREACH"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (112, "EHOSTDOWN"),
    (113, "EHOSTUNREACH"),
    (116, "ESTALE"),
    (117, "EUCLEAN"),
    (122, "EDQUOT"),
    (123, "ENOMEDIUM"),
    (124, "EMEDIUMTYPE"),
    (126, "ENOKEY"),
    (127, "EKEYEXPIRED"),
    (128, "EKEYREVOKED"),
    (129, "EKEYREJECTED"),
];

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    /// Each constant of the kernel's public headers by itself: its name is what the function gives for its value.
    macro_rules! equal {
        ($names:expr; $($constant:ident)*) => {
            $(assert_eq!($names(u64::from(linux_raw_sys::general::$constant)), [stringify!($constant)]);)*
        };
    }

    #[test]
    fn flags_equal_the_public_headers_bit_for_bit() {
        equal!(mount_flags;
            MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT MS_MANDLOCK MS_DIRSYNC MS_NOSYMFOLLOW
            MS_NOATIME MS_NODIRATIME MS_BIND MS_MOVE MS_REC MS_SILENT MS_POSIXACL MS_UNBINDABLE MS_PRIVATE MS_SLAVE
            MS_SHARED MS_RELATIME MS_KERNMOUNT MS_I_VERSION MS_STRICTATIME MS_LAZYTIME);
        equal!(umount_flags; MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW);
        equal!(|flags| call_flags(Syscall::MoveMount, flags);
            MOVE_MOUNT_F_SYMLINKS MOVE_MOUNT_F_AUTOMOUNTS MOVE_MOUNT_F_EMPTY_PATH MOVE_MOUNT_T_SYMLINKS
            MOVE_MOUNT_T_AUTOMOUNTS MOVE_MOUNT_T_EMPTY_PATH MOVE_MOUNT_SET_GROUP MOVE_MOUNT_BENEATH);
        equal!(|flags| call_flags(Syscall::Fsmount, flags); FSMOUNT_CLOEXEC);
        for syscall in [Syscall::OpenTree, Syscall::OpenTreeAttr] {
            equal!(|flags| call_flags(syscall, flags);
                OPEN_TREE_CLONE OPEN_TREE_CLOEXEC AT_SYMLINK_NOFOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH AT_RECURSIVE);
        }
        equal!(|flags| call_flags(Syscall::MountSetattr, flags);
            AT_SYMLINK_NOFOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH AT_RECURSIVE);
        equal!(public_attributes;
            MOUNT_ATTR_RDONLY MOUNT_ATTR_NOSUID MOUNT_ATTR_NODEV MOUNT_ATTR_NOEXEC MOUNT_ATTR_NOATIME
            MOUNT_ATTR_STRICTATIME MOUNT_ATTR_NODIRATIME MOUNT_ATTR_IDMAP MOUNT_ATTR_NOSYMFOLLOW);
    }

    #[test]
    fn a_bit_without_a_name_is_a_number() {
        for bit in 0..64 {
            let (flag, shown) = (1u64 << bit, mount_flags(1 << bit));
            assert!(shown.len() == 1 && (shown[0].starts_with("MS_") || shown[0] == format!("{flag:#x}")), "{shown:?}");
        }
        assert_eq!(umount_flags(0x1_0001), ["MNT_FORCE", "0x10000"]);
    }

    #[test]
    fn attributes_and_options_are_two_words_for_one_thing() {
        assert_eq!(to_options(of_options(b"rw,nosuid,relatime")), "rw,nosuid,relatime");
        assert_eq!(to_options(of_options(b"ro,later")), "ro");
        assert_eq!(attributes(of_options(b"ro")), ["MOUNT_ATTR_RDONLY"]);
        assert_eq!(to_options(of_public(0x1)), "ro,relatime");
        assert_eq!(to_options(of_public(0x20_009e)), "rw,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow");
        assert_eq!(to_options(of_public(0x20)), "rw", "strict");
    }

    #[test]
    fn errnos_have_their_names() {
        for (errno, name) in [(Errno::PERM, "EPERM"), (Errno::BUSY, "EBUSY"), (Errno::NODEV, "ENODEV")] {
            assert_eq!(errno_name(errno.raw_os_error().unsigned_abs()), name);
        }
        assert_eq!(errno_name(0), "OK");
        assert_eq!(errno_name(4095), "E4095");
    }
}
